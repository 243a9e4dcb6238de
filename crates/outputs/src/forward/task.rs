//! The task that sends one stream to one target.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{info, warn};
use weir_clients::counts::COUNTS;
use weir_flv::amf0;
use weir_hub::{Reader, Start, Status as StreamStatus};
use weir_intake::{Allowance, WakeSignal};
use weir_media::StreamKey;
use weir_tls::client::Spoken;
use weir_upstream::{
    Broken, Call, Dry, Failure, Feed, Hops, Secure, Sink, backoff, connect_to_name, pause,
};

use super::{
    fit::Fitting,
    ground::{Ground, Stopping},
    status::{State, Status},
    target::{Place, Wanted},
};

/// How long a target may say nothing, though it is pinged, and take no data. A player at its other end would have given
/// up by then; one that reads again is sent the newest group at once.
const SILENT_MAX: Duration = Duration::from_secs(5);

/// A connection that lasted this long was a good one: the next loss is a new story. Longer than [`SILENT_MAX`]: a
/// target that never reads lasts that long each time.
const LASTED: Duration = Duration::from_secs(10);

/// The first pause after a refusal, and the longest, in milliseconds: platforms take more for an abuse.
const REFUSED_PAUSE: u64 = 250;
const REFUSED_PAUSE_MAX: u64 = 4000;

/// Sends one stream to one target.
pub struct Task {
    /// The stream.
    pub key: StreamKey,
    /// The target.
    pub wanted: Wanted,
    /// The servers that the stream has come through.
    pub hops: Arc<Mutex<Hops>>,
    /// How it is doing.
    pub status: Arc<Status>,
    /// What it shares with others.
    pub ground: Arc<Ground>,
    /// Closed when the target is not wanted any more.
    pub stop: watch::Receiver<()>,
}

/// Why a task need not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The stream has ended.
    Ended,
    /// The target is not wanted any more, or the process stops.
    Leaves,
}

/// What ends a task.
struct Watch {
    reader: Reader,
    signal: Arc<WakeSignal>,
    stop: watch::Receiver<()>,
    stopping: watch::Receiver<Stopping>,
}

impl Task {
    /// Sends the stream, over one connection after the other, until it ends or the target is not wanted any more.
    pub async fn run(&self) -> Over {
        let watch = &mut Watch::new(self);
        let place = Place::of(&self.wanted.target, &self.key);
        let (mut tries, mut is_again) = (0, false);
        loop {
            self.status.set(State::Connecting);
            let opened = tokio::select! {
                over = watch.over() => return over,
                opened = self.open(place.as_ref()) => opened,
            };
            let since = Instant::now();
            let (state, why) = match opened {
                Ok(sink) => {
                    let target = &self.wanted.target;
                    info!(stream = %self.key, to = %target, again = is_again, "forward began");
                    is_again = true;
                    self.status.set(State::Sending);
                    match self.deliver(sink, watch).await {
                        Ok(over) => {
                            info!(stream = %self.key, to = %target, "forward ended");
                            return over;
                        }
                        Err(broken) => {
                            COUNTS.forwards_lost.increase();
                            lost(broken)
                        }
                    }
                }
                Err(failure) => {
                    COUNTS.forward_failures.increase();
                    failed(failure)
                }
            };
            let why = place.as_ref().map_or(why.clone(), |place| place.hide(why));
            // A target that stays away is one line.
            if self.status.fail(state, &why) {
                let target = &self.wanted.target;
                warn!(stream = %self.key, to = %target, reason = why, "forward lost: the target is tried again");
            }
            tries = if since.elapsed() >= LASTED { 1 } else { tries + 1 };
            tokio::select! {
                over = watch.over() => return over,
                () = sleep(pause_after(state, tries)) => {}
            }
        }
    }

    /// Asks the target to take the stream.
    async fn open(&self, place: Option<&Place>) -> Result<Sink, Failure> {
        let said =
            |text: &str| Failure::Refused { code: String::new(), description: text.to_owned() };
        let place = place.ok_or_else(|| said("RTMP has no URL for this stream at this target"))?;
        let hops = self.hops.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if hops.is_long() {
            return Err(said("the stream has been forwarded too often: is this a loop?"));
        }
        let by = Instant::now() + SILENT_MAX;
        let (target, connected) = (&self.wanted.target, AtomicBool::new(false));
        let tls = match target.is_tls() {
            true => {
                let trusted = self.ground.trusts.of(&self.wanted.ca).await;
                Some(trusted.map_err(|error| Failure::Unreachable(error.to_string()))?)
            }
            false => None,
        };
        let server = target.server();
        let secure = tls.as_deref();
        let secure = secure.map(|tls| Secure { tls, host: &server.host, spoken: Spoken::Silent });
        let connecting = connect_to_name((&server.host, server.port), secure, by, &connected);
        let mut extra = amf0::Object::new();
        extra.push(Hops::FIELD, hops.and(&self.ground.id).to_string());
        let call = Call {
            url: place.url.clone(),
            extra,
            wait: Duration::ZERO,
            dead_after: SILENT_MAX,
            memory: Allowance::new(self.ground.registry.budget(), &self.ground.settings.now()),
        };
        Sink::publish(connecting, call, &AtomicBool::new(false)).await
    }

    /// Sends the stream over one connection until that is over. What waits when the stream ends is written, and the
    /// target is told.
    async fn deliver(&self, mut sink: Sink, watch: &mut Watch) -> Result<Over, Broken> {
        let takes = sink.session().capabilities().cloned();
        let takes_all = takes.is_none() && self.wanted.assume_enhanced;
        let mut fitting = Fitting::new(&self.key, &self.status, takes, takes_all);
        let mut feed = Feed::new(&self.ground.registry, &self.key);
        // Otherwise it is fed from the stream that is watched.
        if watch.has_ended() {
            drop(feed);
            sink.close().await;
            return Ok(Over::Ended);
        }
        let dry = tokio::select! {
            dry = feed.run(&mut sink, &mut fitting) => Some(dry),
            () = watch.leaves() => None,
        };
        let over = match dry {
            Some(Dry::Broken(broken)) => return Err(broken),
            Some(Dry::Ended) => Over::Ended,
            None => {
                // That the target may be gone is no matter now.
                let _ = feed.send(&mut sink, &mut fitting).await;
                Over::Leaves
            }
        };
        drop(feed);
        sink.close().await;
        Ok(over)
    }
}

impl Watch {
    fn new(Task { key, ground, stop, .. }: &Task) -> Self {
        let signal = Arc::new(WakeSignal::default());
        let reader = ground.registry.follow(key, Start::NextGroup, Arc::clone(&signal) as _);
        Self { reader, signal, stop: stop.clone(), stopping: ground.stopping.subscribe() }
    }

    /// Resolves when the target is not wanted any more, or the process stops and leaves the stream to the next one.
    async fn leaves(&mut self) {
        loop {
            let stopping = *self.stopping.borrow_and_update();
            let is_gone = self.reader.status() != StreamStatus::Live;
            match stopping {
                Stopping::Now => return,
                Stopping::WithPublishers if is_gone => return,
                Stopping::WithPublishers => tokio::select! {
                    () = self.signal.rang() => {}
                    _ = self.stopping.changed() => {}
                    Err(_) = self.stop.changed() => return,
                },
                Stopping::No => tokio::select! {
                    _ = self.stopping.changed() => {}
                    Err(_) = self.stop.changed() => return,
                },
            }
        }
    }

    /// Whether the stream has ended. One that waits is another one of that name, which nobody publishes.
    fn has_ended(&self) -> bool {
        matches!(self.reader.status(), StreamStatus::Ended | StreamStatus::Waiting)
    }

    /// The same as [`leaves`](Self::leaves), and when the stream ends.
    async fn over(&mut self) -> Over {
        let signal = Arc::clone(&self.signal);
        loop {
            if self.has_ended() {
                return Over::Ended;
            }
            tokio::select! {
                () = self.leaves() => return Over::Leaves,
                () = signal.rang() => {}
            }
        }
    }
}

/// How long to wait after so many attempts. One that refuses may still have the connection of the process that this one
/// has replaced, or be about to start: it is asked again soon, and then more and more seldom.
fn pause_after(state: State, tries: u32) -> Duration {
    match state {
        State::Refused => pause(tries, REFUSED_PAUSE, REFUSED_PAUSE_MAX),
        _ => backoff(tries, true),
    }
}

/// What a connection was lost by, for people.
fn lost(broken: Broken) -> (State, String) {
    match broken {
        Broken::Lost(lost) => (State::Waiting, lost.why),
        Broken::Decided(why) => (State::Refused, why),
    }
}

/// Why there is no connection, for people. Who only closes it may be about to start.
fn failed(failure: Failure) -> (State, String) {
    const CLOSED: &str = "NetConnection.Connect.Closed";
    match failure {
        Failure::Refused { code, description } if code == CLOSED => (State::Waiting, description),
        Failure::Refused { code, description } if code.is_empty() => (State::Refused, description),
        Failure::Refused { code, description } => {
            (State::Refused, format!("it answered {code}: {description}"))
        }
        Failure::Unreachable(why) | Failure::Missing(why) | Failure::Busy(why) => {
            (State::Waiting, why)
        }
    }
}
