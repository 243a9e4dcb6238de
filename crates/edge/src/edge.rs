//! What all of an edge shares, and how it is begun.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::sleep,
};
use tracing::info;
use weir_blocking::Pool;
use weir_config::{
    Changes, Config, Fault, Next, Part, Ready, Settings, Unready, file::READ_TIMEOUT,
};
use weir_hub::{Limits, Registry};
use weir_intake::{Allowance, DemandSignals};
use weir_media::StreamKey;
use weir_rtmp::url::params::Query;
use weir_upstream::{NodeId, Turns};

use crate::{
    Ask,
    hls::HlsRelay,
    origins::{NextOrigins, Origins},
    pulls::{Answer, Pulls},
    pushing::Pushing,
    query,
    questions::Questions,
    tls,
    upstream::Request,
};

/// Streams that the origins are asked for at the same time, so that a flood of names is no flood of connections.
const TURNS: usize = 32;

/// Questions that origins hold for us until a stream begins; for more streams than this they are asked again and again.
const HELD_MAX: usize = 256;

/// How often it is looked whether the file of `edge.tls.ca` is another one: authorities are changed days before they
/// end.
const LOOK: Duration = Duration::from_secs(30);

/// Everything of an edge.
pub struct Edge {
    pub(crate) id: NodeId,
    pub(crate) settings: Settings,
    pub(crate) registry: Registry,
    pub(crate) audiences: Arc<DemandSignals>,
    pub(crate) origins: Arc<Origins>,
    pub(crate) pulls: Pulls,
    pub(crate) hls: Arc<HlsRelay>,
    pub(crate) pushing: Pushing,
    pub(crate) questions: Questions,
    pub(crate) turns: Turns,
    pub(crate) held: Semaphore,
}

impl Edge {
    /// Begins to look after the origins that `settings` name.
    ///
    /// # Errors
    /// When no random bytes from the system or no resolver, or what `edge.tls` names is not to be had.
    pub fn start(
        settings: &Settings,
        registry: &Registry,
        audiences: &Arc<DemandSignals>,
    ) -> io::Result<Arc<Self>> {
        let id = NodeId::random()?;
        info!(id = %id, "this is an edge");
        let config = settings.now();
        let origins = Origins::start(&config.edge).map_err(|unready| match unready {
            Unready::System(error) => error,
            Unready::Setting(fault) => io::Error::other(fault),
            // There is nothing before a start.
            Unready::NeedsRestart(_) => io::ErrorKind::Other.into(),
        })?;
        let hls = HlsRelay::new(Arc::clone(&origins), settings, id.clone(), registry.budget());
        Ok(Arc::new(Self {
            id,
            origins,
            hls,
            settings: settings.clone(),
            registry: registry.clone(),
            audiences: Arc::clone(audiences),
            pulls: Pulls::default(),
            pushing: Pushing::default(),
            questions: Questions::new(settings),
            turns: Turns::new(TURNS),
            held: Semaphore::new(HELD_MAX),
        }))
    }

    /// Tries the files that `settings` name.
    ///
    /// # Errors
    /// When one cannot be read, or is not what it should be.
    pub fn check_files(settings: &weir_config::Edge) -> Result<(), Fault> {
        tls::read(settings).map(|_| ())
    }

    /// Takes in another file of `edge.tls.ca` without being asked, reading it in `pool`. Never ends.
    pub async fn renew(self: Arc<Self>, pool: Arc<Pool>) {
        loop {
            sleep(LOOK).await;
            let config = self.settings();
            if config.edge.tls.ca.is_none() {
                continue;
            }
            let read = pool.run_within(READ_TIMEOUT, move || tls::read(&config.edge)).await;
            self.origins.tls().renew(read.and_then(|read| read.map_err(io::Error::other)));
        }
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

    /// What is put in force from now on.
    pub(crate) fn changes(&self) -> Changes {
        self.settings.changes()
    }

    pub(crate) fn settings(&self) -> Arc<Config> {
        self.settings.now()
    }

    /// What our own log of a stream keeps: its readers are in this process and never far behind.
    pub(crate) fn log_limits(&self) -> Limits {
        weir_intake::log_limits(&self.settings())
    }

    pub(crate) fn request(&self, key: &StreamKey, ask: &Ask) -> Request {
        Request {
            key: key.clone(),
            params: self.forwarded(ask),
            page_url: ask.page(),
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
    pub(crate) fn check(&self, key: &StreamKey, ask: &Ask) -> Result<(), String> {
        ask.hops.check(&self.id).and_then(|()| query::check(key, &self.forwarded(ask)))
    }

    /// A place for a question that an origin holds, if there is one.
    pub(crate) fn hold(&self) -> Option<SemaphorePermit<'_>> {
        self.held.try_acquire().ok()
    }
}

/// Streams that come from, or go to, an origin that is not named any more move to another.
impl Part for Edge {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let (origins, config) = (NextOrigins::new(&next.config.edge)?, Arc::clone(&next.config));
        let has_other_token = next.before.edge.token != next.config.edge.token;
        let edge = Arc::clone(&self);
        let show = move || {
            if has_other_token {
                // What origins have said, they have said to an edge that had shown another one.
                edge.questions.begin_anew();
            }
        };
        let follow = move || {
            let before = self.origins.names();
            self.origins.follow(origins);
            if before != config.edge.origins {
                self.questions.forget_all();
            }
            self.hls.reconfigure(&config.edge);
        };
        // Pulls that hear of the configuration look for their origins among those that it names.
        Ok(Ready::after(show).and_before(follow))
    }
}
