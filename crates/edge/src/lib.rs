//! The edge: each stream is pulled from its origin once, and a publish is passed on to it.
//!
//! ```text
//! viewers ──► play ──► pull ──► search: who has it? ──► upstream::Source ──frames──► hub ──► viewers
//! encoder ──► ingest ──► push ──► search: who owns it? ──► upstream::Sink
//!                └──frames──► hub ──frames──► push
//! HLS ──► hls ──► origin: one request an object
//! ```
//!
//! [`Origins`] knows where the origins are, which of them owns a stream and which of them are alive.

pub mod client;

mod ask;
mod connect;
mod hls;
mod hops;
mod idle;
mod no_stream;
mod origins;
mod pull;
mod push;
mod query;
mod questions;
mod search;
mod seek;
mod silence;
mod turns;
mod upstream;

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tracing::info;
use weir_config::{Changes, Config, Settings};
use weir_hub::{Limits, Registry, Status};
use weir_intake::{Allowance, DemandSignals};
use weir_media::StreamKey;
use weir_rtmp::url::params::Query;

pub use ask::Ask;
pub use hls::{HlsRelay, Kind as HlsKind, NotServed, Object as HlsObject};
pub use hops::{Hops, NodeId};
pub use no_stream::NoStream;
pub use origins::{Name, Origin, Origins};
pub use pull::Answer;
pub use push::{Opened, Push, refusal};
pub use questions::{Protocol, Verdict};
pub use upstream::{Failure, Request};

/// Streams that the origins are asked for at the same time, so that a flood of names is no flood of connections.
const TURNS: usize = 32;

/// Questions that origins hold for us until a stream begins; for more streams than this they are asked again and again.
const HELD_MAX: usize = 256;

/// Everything of an edge.
pub struct Edge {
    id: NodeId,
    settings: Settings,
    registry: Registry,
    audiences: Arc<DemandSignals>,
    origins: Arc<Origins>,
    pulls: pull::Pulls,
    hls: Arc<HlsRelay>,
    pushing: Pushing,
    questions: questions::Questions,
    turns: turns::Turns,
    held: Semaphore,
}

impl Edge {
    /// Begins to look after the origins that `settings` name.
    ///
    /// # Errors
    /// When no random bytes from the system or no resolver.
    pub fn start(
        settings: &Settings,
        registry: &Registry,
        audiences: &Arc<DemandSignals>,
    ) -> io::Result<Arc<Self>> {
        let id = NodeId::random()?;
        info!(id = %id, "this is an edge");
        let config = settings.now();
        let origins = Origins::start(&config.edge)?;
        let hls = HlsRelay::new(Arc::clone(&origins), settings, id.clone(), registry.budget());
        Ok(Arc::new(Self {
            id,
            origins,
            hls,
            settings: settings.clone(),
            registry: registry.clone(),
            audiences: Arc::clone(audiences),
            pulls: pull::Pulls::default(),
            pushing: Pushing::default(),
            questions: questions::Questions::new(settings),
            turns: turns::Turns::new(TURNS),
            held: Semaphore::new(HELD_MAX),
        }))
    }

    /// Where it has its streams from.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Its HLS.
    pub fn hls(&self) -> &Arc<HlsRelay> {
        &self.hls
    }

    /// The streams that it pulls or asks for, and how far that is.
    pub fn pulls(&self) -> Vec<(StreamKey, Answer)> {
        self.pulls.list()
    }

    /// How many streams are being passed on to an origin.
    pub fn pushes(&self) -> usize {
        self.pushing.count()
    }

    /// Waits until nothing is being passed on to an origin any more: the last words of pushes whose encoders have gone.
    pub async fn until_pushed(&self) {
        self.pushing.ended().await;
    }

    /// A viewer of `key` has come, and found the stream here. If its encoder has left, it may have gone to another
    /// edge: the stream is looked for at once.
    pub fn joined(self: &Arc<Self>, key: &StreamKey) {
        if self.registry.status(key) == Some(Status::Lingering) {
            self.adopt(key);
        }
    }

    /// From now on the edge settings of `config` are in force. Streams that come from, or go to, an origin that it does
    /// not name any more move to another.
    ///
    /// # Errors
    /// When the system gives no resolver; then nothing has changed.
    pub fn reconfigure(&self, config: &Config) -> io::Result<()> {
        let before = self.origins.names();
        self.origins.reconfigure(&config.edge)?;
        if before != config.edge.origins {
            self.questions.forget_all();
        }
        self.hls.reconfigure(&config.edge);
        Ok(())
    }

    /// What is put in force from now on.
    fn changes(&self) -> Changes {
        self.settings.changes()
    }

    fn settings(&self) -> Arc<Config> {
        self.settings.now()
    }

    /// What our own log of a stream keeps: its readers are in this process and never far behind.
    fn log_limits(&self) -> Limits {
        weir_intake::log_limits(&self.settings())
    }

    fn request(&self, key: &StreamKey, ask: &Ask) -> Request {
        Request {
            key: key.clone(),
            params: self.forwarded(ask),
            settings: self.settings.clone(),
            hops: ask.hops.and(&self.id),
            wait: Duration::ZERO,
            next: ask.next,
            memory: Allowance::new(self.registry.budget(), &self.settings()),
        }
    }

    fn forwarded(&self, ask: &Ask) -> Query {
        query::forwarded(&ask.params, &self.settings().edge.forward_query)
    }

    /// Whether a request may be passed on. Who asks says so in the log.
    fn check(&self, key: &StreamKey, ask: &Ask) -> Result<(), String> {
        ask.hops.check(&self.id).and_then(|()| query::check(key, &self.forwarded(ask)))
    }

    /// A place for a question that an origin holds, if there is one.
    fn hold(&self) -> Option<SemaphorePermit<'_>> {
        self.held.try_acquire().ok()
    }
}

/// The pushes that are going on, by stream: an encoder that is back at once has two for a moment.
#[derive(Clone, Debug, Default)]
struct Pushing(watch::Sender<HashMap<StreamKey, usize>>);

/// One push that is going on, until this is dropped.
#[derive(Debug)]
struct OnePush {
    pushing: Pushing,
    key: StreamKey,
}

impl Pushing {
    fn begin(&self, key: &StreamKey) -> OnePush {
        self.0.send_modify(|pushes| *pushes.entry(key.clone()).or_default() += 1);
        OnePush { pushing: self.clone(), key: key.clone() }
    }

    fn count(&self) -> usize {
        self.0.borrow().values().sum()
    }

    fn has(&self, key: &StreamKey) -> bool {
        self.0.borrow().contains_key(key)
    }

    async fn ended(&self) {
        // The sender is ours, so that it cannot be gone.
        let _ = self.0.subscribe().wait_for(HashMap::is_empty).await;
    }
}

impl Drop for OnePush {
    fn drop(&mut self) {
        self.pushing.0.send_modify(|pushes| {
            let left = pushes.get_mut(&self.key).map(|count| {
                *count -= 1;
                *count
            });
            if left == Some(0) {
                pushes.remove(&self.key);
            }
        });
    }
}

/// How long to wait before the next attempt. A stream that was there a moment ago is looked for every second at least,
/// since its viewers see a frozen picture. Half of it is chance, so that edges that lost an origin together do not come
/// back together.
fn backoff(tries: u32, is_lost: bool) -> Duration {
    let (first, most) = if is_lost { (100, 1000) } else { (2000, 4000) };
    let full = (first << tries.saturating_sub(1).min(8)).min(most);
    let chance = getrandom::u32().map_or(0, |random| u64::from(random) % (full / 2));
    Duration::from_millis(full - chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_get_rarer_and_are_never_far_apart() {
        for tries in 1..100 {
            let (lost, new) = (backoff(tries, true), backoff(tries, false));
            assert!(
                lost >= Duration::from_millis(50) && lost <= Duration::from_secs(1),
                "{lost:?}"
            );
            assert!(new >= Duration::from_secs(1) && new <= Duration::from_secs(4), "{new:?}");
        }
        assert!(backoff(1, true) <= Duration::from_millis(100));
    }
}
