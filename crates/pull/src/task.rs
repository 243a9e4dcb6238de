//! One pull: it asks, takes the stream in, and asks again when it is lost.
//!
//! ```text
//! asking ──a tag comes──► flowing ──lost──► waiting ──► asking ...   (the stream lingers, as after any publisher)
//!    │                       │ an encoder has taken the stream: it gives way until that stream has ended
//!    └── on demand: nobody waits, or watches any more ──► over
//! ```

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use weir_clients::{
    counts::COUNTS,
    end::{Side, seconds},
};
use weir_config::When;
use weir_hub::{Conflict, PublishSettings, Start, Status};
use weir_intake::{Allowance, Fault, Intake, WakeSignal, announce, flush, log_limits};
use weir_media::StreamKey;
use weir_upstream::{Ask, Asker, Asking, Hops, asker, pause};

use crate::{
    known::{Known, State, Why},
    shared::Shared,
    source::{Gone, Source},
};

/// How long a stream is asked for again that nobody waits for any more, so that a storm of requests is one question.
const REMEMBER: Duration = Duration::from_secs(2);

/// How long the other server may hold the question until the stream begins: then it comes at once.
const HOLD: Duration = Duration::from_secs(10);

/// A connection that lasted this long was a good one: the next loss is a new story.
const LASTED: Duration = Duration::from_secs(5);

/// The first pause between two attempts, which doubles, and the longest, in milliseconds. A pull is one stream: to ask
/// for it every few seconds for days disturbs nobody.
const PAUSE: u64 = 250;
const PAUSE_MAX: u64 = 5000;

/// How often it is looked whether anybody watches a stream that is pulled on demand: viewers of HLS have no connection
/// whose end could be waited for.
const LOOK: Duration = Duration::from_millis(500);

/// What pulls one stream.
pub struct Task {
    pulls: Arc<Shared>,
    key: StreamKey,
    known: Arc<Known>,
    /// Who asked for it first.
    asker: Asker,
    /// What that has come through, this node included.
    hops: Hops,
    /// The stream in our hub, while it flows.
    intake: Option<Intake>,
    /// Attempts in a row that brought nothing.
    tries: u32,
}

/// Why a pull is over.
enum Over {
    /// Nobody watches.
    Unwanted,
    /// The stream is published here now.
    Published,
    /// It is not configured any more, or the process stops.
    Stopped,
}

/// Why a source is not read any more.
enum Relayed {
    Unwanted,
    Published,
    Lost(String),
    /// It never was: whoever decides does not let it be published.
    Refused(String),
}

impl Task {
    /// One that is about to begin.
    pub fn new(pulls: &Arc<Shared>, key: &StreamKey, known: &Arc<Known>, ask: &Ask) -> Self {
        Self {
            pulls: Arc::clone(pulls),
            key: key.clone(),
            known: Arc::clone(known),
            asker: asker(ask.peer),
            hops: ask.hops.and(&pulls.id),
            intake: None,
            tries: 0,
        }
    }

    /// Pulls until it is over.
    pub async fn run(mut self) {
        let known = Arc::clone(&self.known);
        let over = loop {
            let over = tokio::select! {
                () = known.stop.rang() => Over::Stopped,
                over = Box::pin(self.until_over()) => over,
            };
            // Whoever came in this moment has found the pull running.
            let is_over =
                || !matches!(over, Over::Unwanted) || !is_wanted(&self.pulls, &known, &self.key);
            if self.pulls.remove_if(&self.key, &known, is_over) {
                break over;
            }
        };
        let reason = match over {
            Over::Unwanted => "no viewers left",
            Over::Published => "the stream is published here now",
            Over::Stopped => "it is not configured any more, or the server stops",
        };
        if let Some(mut intake) = self.intake.take() {
            let is_unwanted = matches!(over, Over::Unwanted);
            intake.publisher.set_linger(if is_unwanted { Duration::ZERO } else { self.linger() });
        }
        info!(stream = %self.key, from = %self.known.entry.pull.from, reason, "pull ended");
    }

    async fn until_over(&mut self) -> Over {
        loop {
            // One that flowed is over.
            self.intake = None;
            let unwanted = unwanted(
                Arc::clone(&self.pulls),
                Arc::clone(&self.known),
                self.key.clone(),
                REMEMBER,
            );
            let mut unwanted = pin!(unwanted);
            if self.tries > 0 {
                self.say(State::Waiting);
                tokio::select! {
                    () = sleep(pause(self.tries, PAUSE, PAUSE_MAX)) => {}
                    () = &mut unwanted => return Over::Unwanted,
                }
                COUNTS.pull_retries.increase();
            }
            if self.pulls.registry.is_taken(&self.key) {
                self.say(State::GivesWay);
                if self.known.entry.pull.when == When::Demand {
                    return Over::Published;
                }
                info!(stream = %self.key, "it is published here: the pull waits until that stream has ended");
                self.vacancy().await;
            }
            self.say(State::Asking);
            let opened = tokio::select! {
                opened = self.open() => opened,
                () = &mut unwanted => return Over::Unwanted,
            };
            match opened {
                Err(why) => self.on_failure(why),
                Ok(source) => {
                    let since = Instant::now();
                    match self.relay(source).await {
                        Relayed::Lost(why) => self.on_lost(&why, since),
                        Relayed::Refused(text) => {
                            self.on_failure(Why { is_missing: false, text });
                        }
                        Relayed::Published => {}
                        Relayed::Unwanted => return Over::Unwanted,
                    }
                }
            }
        }
    }

    /// Ends when whoever publishes the stream here has gone, and it has ended.
    async fn vacancy(&self) {
        loop {
            let signal = Arc::new(WakeSignal::default());
            // Before it is looked at, so that nothing is missed.
            let _observer =
                self.pulls.registry.follow(&self.key, Start::NextGroup, Arc::clone(&signal) as _);
            match self.pulls.registry.status(&self.key) {
                Some(Status::Live | Status::Lingering) => signal.rang().await,
                _ => return,
            }
        }
    }

    async fn open(&self) -> Result<Source, Why> {
        let entry = &self.known.entry;
        // Those that are configured one by one need not wait for each other.
        let _turn = match entry.pull.when {
            When::Demand => Some(self.pulls.turns.turn(self.asker).await),
            When::Always => None,
        };
        let config = self.pulls.settings.now();
        // What it has left there is known here: it must not come round in a circle.
        let next = self.pulls.registry.status(&self.key) == Some(Status::Lingering);
        // Whoever waits for it wants an answer in time.
        let wait = match entry.pull.when {
            When::Demand => HOLD.min(config.vhost(self.key.vhost()).play.wait),
            When::Always => HOLD,
        };
        let asking = Asking { hops: &self.hops, wait, next };
        let memory = Allowance::new(self.pulls.registry.budget(), &config);
        Source::open(entry, &self.key, asking, memory).await
    }

    /// Takes the stream in until it is over or lost.
    async fn relay(&mut self, mut source: Source) -> Relayed {
        let Shared { registry, settings, host, .. } = &*self.pulls;
        let config = settings.now();
        if registry.budget().is_full() {
            return Relayed::Lost("no memory for another stream (limits.memory)".to_owned());
        }
        let mut permit = match host.may_publish(&self.key).await {
            Ok(permit) => permit,
            Err(why) => return Relayed::Refused(why),
        };
        let replaced = Arc::new(WakeSignal::default());
        let vhost = config.vhost(self.key.vhost());
        let published = PublishSettings {
            linger: vhost.publish.linger,
            // Never an encoder that publishes here.
            conflict: Conflict::Reject,
            flush: announce(flush(&vhost.play)),
            limits: log_limits(&config),
            replaced: Arc::clone(&replaced) as _,
        };
        let Ok(publisher) = registry.publish(&self.key, published, Instant::now().into_std())
        else {
            return Relayed::Published;
        };
        permit.begin(&self.key);
        host.began(&self.key);
        let from = &self.known.entry.pull.from;
        info!(stream = %self.key, from = %from, "pull began");
        self.say(State::Flowing(std::time::Instant::now()));
        let linger = self.known.entry.pull.linger;
        let unwanted =
            unwanted(Arc::clone(&self.pulls), Arc::clone(&self.known), self.key.clone(), linger);
        let (mut unwanted, mut taken_over) = (pin!(unwanted), pin!(replaced.rang()));
        let intake = self.intake.insert(Intake::new(publisher, &format_args!("pull {from}")));
        loop {
            let tag = tokio::select! {
                tag = source.next() => tag,
                () = &mut unwanted => return Relayed::Unwanted,
                () = &mut taken_over => return Relayed::Published,
            };
            let tag = match tag {
                Ok(tag) => tag,
                Err(Gone { why }) => return Relayed::Lost(why),
            };
            permit.took(tag.body.len());
            match intake.take(&tag, Instant::now().into_std()) {
                Ok(()) => {}
                Err(Fault::Replaced) => return Relayed::Published,
                Err(Fault::Broken(why)) => return Relayed::Lost(why),
            }
        }
    }

    /// The stream goes on to linger, as after any publisher, or its fallback is shown.
    fn on_lost(&mut self, why: &str, since: Instant) {
        let (entry, lasted) = (&self.known.entry, since.elapsed());
        let text = entry.pull.from.masked(why);
        warn!(
            stream = %self.key, from = %entry.pull.from, side = Side::Upstream.label(), reason = text,
            seconds = seconds(lasted), "pull lost"
        );
        COUNTS.pulls_lost.increase();
        self.tries = if lasted >= LASTED { 0 } else { self.tries + 1 };
        if let Some(intake) = self.intake.take() {
            let linger = self.linger();
            let mut publisher = intake.publisher;
            publisher.set_linger(linger);
            let is_watched =
                publisher.demand() > 0 || self.pulls.quotas.is_watched_over_hls(&self.key);
            if !self.pulls.fallback.show(publisher, linger) && is_watched {
                self.pulls.host.lost(&self.key, linger);
            }
        }
        self.known.progress.send_modify(|progress| {
            progress.losses += 1;
            progress.last_failure = Some(text);
        });
    }

    fn on_failure(&mut self, why: Why) {
        self.tries = self.tries.saturating_add(1);
        if self.tries == 1 {
            let from = &self.known.entry.pull.from;
            warn!(stream = %self.key, from = %from, side = Side::Upstream.label(), reason = why.text, "pull failed");
        }
        self.known.progress.send_modify(|progress| {
            progress.state = State::Waiting;
            progress.last_failure = Some(why.text.clone());
            progress.failure = Some(why);
        });
    }

    fn linger(&self) -> Duration {
        self.pulls.settings.now().vhost(self.key.vhost()).publish.linger
    }

    fn say(&self, state: State) {
        self.known.progress.send_modify(|progress| {
            progress.state = state;
            if matches!(state, State::Flowing(_)) {
                progress.failure = None;
            }
        });
    }
}

fn is_wanted(pulls: &Shared, known: &Known, key: &StreamKey) -> bool {
    known.progress.receiver_count() > 0
        || pulls.registry.demand(key) > 0
        || pulls.quotas.is_watched_over_hls(key)
}

/// Ends when nobody has wanted the stream for `limit`; never for one that is pulled always.
async fn unwanted(pulls: Arc<Shared>, known: Arc<Known>, key: StreamKey, limit: Duration) {
    if known.entry.pull.when == When::Always {
        return std::future::pending().await;
    }
    let mut since = Instant::now();
    loop {
        if is_wanted(&pulls, &known, &key) {
            since = Instant::now();
        } else if since.elapsed() >= limit {
            return;
        }
        sleep(LOOK.min(limit).max(Duration::from_millis(50))).await;
    }
}
