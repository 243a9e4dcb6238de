//! Pulling: one connection to an origin for each stream that somebody watches.
//!
//! ```text
//! asking ──a tag comes──► flowing ──lost──► asking again, viewers stay ──edge.give_up──► over
//!    │ nobody waits           │ nobody watches for edge.linger, or the origin ends the stream
//!    └────────────────────────┴──► over
//! ```

use std::{
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tracing::{info, warn};
use weir_clients::{
    counts::COUNTS,
    detail::Detail,
    end::{Side, seconds},
    events::{EVENTS, EventKind},
};
use weir_config::{Changes, Config};
use weir_hub::{Conflict, PublishSettings, Status};
use weir_intake::{Fault, Intake, WakeSignal, announce, flush};
use weir_media::StreamKey;
use weir_upstream::{Asker, Lost, Source, asker, backoff};

use super::{
    Ask, Edge, Failure, NoStream, Origin, Request,
    idle::{Idle, Limit},
    pulls::{Answer, Known},
    questions::Located,
    search,
    seek::{HOLD, Seek},
    silence::{self, Activity},
    upstream::open_source,
};

/// How long an answer is remembered after nobody wants it any more, so that a storm of requests is one question.
const REMEMBER: Duration = Duration::from_secs(2);

/// How long a viewer whose wait is over stays for an answer that is on its way: an origin that holds the question
/// answers at that very moment, and a viewer that may not wait at all has to let it be asked.
const GRACE: Duration = Duration::from_secs(1);

/// How long a stream is pulled that nobody watches.
const LINGER: Limit = |config| config.edge.linger;

/// A connection that lasted this long was a good one: the next loss is a new story.
const LASTED: Duration = Duration::from_secs(5);

impl Edge {
    /// Has `key` pulled for a viewer that waits for it, and ends when the viewer need not wait any longer: at
    /// `deadline`, or a little later if no origin has answered by then.
    pub async fn denied(
        self: &Arc<Self>,
        key: &StreamKey,
        ask: &Ask,
        deadline: Instant,
    ) -> NoStream {
        let wait = deadline.duration_since(Instant::now());
        let request = self.request(key, ask);
        self.note(key, ask, false);
        loop {
            if let Some(reason) = self.questions.refusal(&request) {
                return NoStream::Refused(reason.to_string());
            }
            let mut answers = match self.pull(key, ask, wait) {
                Ok(Some(answers)) => answers,
                // It is published here.
                Ok(None) => {
                    sleep_until(deadline).await;
                    return NoStream::Missing(format!("nobody publishes {key}"));
                }
                Err(reason) => {
                    warn!(stream = %key, reason, "refused");
                    return NoStream::Refused(reason);
                }
            };
            loop {
                let answer = answers.borrow_and_update().clone();
                if let Some(reason) = self.questions.refusal(&request) {
                    return NoStream::Refused(reason.to_string());
                }
                let verdict = match answer {
                    Answer::Asking(said) => said,
                    Answer::Flowing { .. } => {
                        Some(NoStream::Missing(format!("{key} has no key frame to start at")))
                    }
                };
                let (verdict, until) = match verdict {
                    Some(verdict) => (verdict, deadline),
                    None => {
                        let silent = format!("the origins have not answered for {key}");
                        (NoStream::Unavailable(silent), deadline + GRACE)
                    }
                };
                tokio::select! {
                    changed = answers.changed() => if changed.is_err() { break },
                    () = sleep_until(until) => return verdict,
                }
            }
        }
    }

    /// A viewer of `key` has come, and found the stream here. If its encoder has left, it may have gone to another
    /// edge: the stream is looked for at once.
    pub fn joined(self: &Arc<Self>, key: &StreamKey) {
        if self.registry.status(key) == Some(Status::Lingering) {
            self.adopt(key);
        }
    }

    /// Looks for `key` elsewhere for the viewers whose encoder has just left us: it may have gone to another edge.
    pub(crate) fn adopt(self: &Arc<Self>, key: &StreamKey) {
        // One that is being passed on still is looked for when that is over.
        if self.registry.demand(key) == 0 || self.pushing.has(key) {
            return;
        }
        let mut pulls = self.pulls.lock();
        if !pulls.contains_key(key) {
            let ask = Ask { next: true, ..Ask::default() };
            pulls.insert(key.clone(), self.begin(key, &ask, HOLD));
        }
    }

    /// The answers to the question for `key`, which is asked if it is not being asked already. None when the stream is
    /// published here.
    fn pull(
        self: &Arc<Self>,
        key: &StreamKey,
        ask: &Ask,
        wait: Duration,
    ) -> Result<Option<watch::Receiver<Answer>>, String> {
        let mut pulls = self.pulls.lock();
        if let Some(answers) = pulls.get(key) {
            // One that came back to us must not wait for itself.
            self.check(key, ask)?;
            return Ok(Some(answers.answers.clone()));
        }
        let status = self.registry.status(key);
        if status == Some(Status::Live) {
            return Ok(None);
        }
        self.check(key, ask)?;
        let ask = Ask { next: ask.next || status == Some(Status::Lingering), ..ask.clone() };
        let known = self.begin(key, &ask, wait);
        let answers = known.answers.clone();
        pulls.insert(key.clone(), known);
        Ok(Some(answers))
    }

    fn begin(self: &Arc<Self>, key: &StreamKey, ask: &Ask, wait: Duration) -> Known {
        let (answer, answers) = watch::channel(Answer::Asking(None));
        let others = Arc::<WakeSignal>::default();
        let pull = Pull {
            asker: asker(ask.peer),
            others: Arc::clone(&others),
            request: self.request(key, ask),
            edge: Arc::clone(self),
            wait,
            answer,
            intake: None,
            replaced: Arc::default(),
            lost: None,
            tries: 0,
        };
        tokio::spawn(pull.run());
        Known { answers, others }
    }
}

struct Pull {
    edge: Arc<Edge>,
    request: Request,
    /// Who came first, and waits for it.
    asker: Asker,
    /// Rung when there are other parameters to ask with.
    others: Arc<WakeSignal>,
    /// How long the first viewer waits.
    wait: Duration,
    answer: watch::Sender<Answer>,
    /// The stream in our hub, once it has flowed.
    intake: Option<Intake>,
    /// Rung when somebody publishes the stream here.
    replaced: Arc<WakeSignal>,
    /// Since when it has not flowed any more.
    lost: Option<Instant>,
    /// Attempts in a row that brought nothing.
    tries: u32,
}

/// Why a pull is over.
enum Over {
    /// Nobody watches.
    Unwanted,
    /// The stream is published here now.
    Published,
    /// The origin says that the stream has ended.
    Ended,
    /// No origin has had it for so long.
    GivenUp(Duration),
    /// The origins have refused it to everybody who has asked.
    Refused(String),
}

/// Why a connection to an origin is not read any more.
enum Relayed {
    Over(Over),
    Lost(Lost),
    /// Another origin has the stream, and this one has been silent.
    Elsewhere(Arc<Origin>, Source),
}

impl Over {
    fn side_and_reason(&self) -> (Side, String) {
        match self {
            Self::Unwanted => (Side::Peer, "no viewers left".to_owned()),
            Self::Published => (Side::Policy, "the stream is published here now".to_owned()),
            Self::Ended => (Side::Upstream, "the origin ended the stream".to_owned()),
            Self::GivenUp(after) => {
                (Side::Upstream, format!("no origin has had it for {after:?} (edge.give_up)"))
            }
            Self::Refused(reason) => (Side::Upstream, reason.clone()),
        }
    }
}

impl Pull {
    async fn run(mut self) {
        let key = self.request.key.clone();
        let began = Instant::now();
        let mut idle = Idle::new(&self.edge, &key);
        loop {
            let over = self.until_over(&mut idle).await;
            let is_unwanted = matches!(over, Over::Unwanted);
            if is_unwanted {
                let mut pulls = self.edge.pulls.lock();
                // Whoever came in this moment has found the pull running.
                if self.edge.registry.demand(&key) > 0 {
                    continue;
                }
                pulls.remove(&key);
            }
            let (side, reason) = over.side_and_reason();
            info!(
                stream = %key, side = side.label(), reason, seconds = seconds(began.elapsed()),
                "pull ended"
            );
            if matches!(over, Over::GivenUp(_)) && self.edge.registry.demand(&key) > 0 {
                COUNTS.streams_lost.increase();
            }
            // Viewers are told that it is over.
            self.intake = None;
            match over {
                // Its viewers may still be here, and in want of it when the encoder has left.
                Over::Published => {}
                // Whoever comes next may show what is let in.
                Over::Unwanted | Over::Refused(_) => self.edge.questions.forget(&key),
                Over::Ended | Over::GivenUp(_) => {
                    sleep(REMEMBER).await;
                    self.edge.questions.forget(&key);
                }
            }
            if !is_unwanted {
                self.edge.pulls.lock().remove(&key);
            }
            return;
        }
    }

    async fn until_over(&mut self, idle: &mut Idle) -> Over {
        loop {
            let lost = self.lost;
            let linger = if self.intake.is_some() { LINGER } else { |_: &Config| REMEMBER };
            let replaced = Arc::clone(&self.replaced);
            if self.tries > 0 {
                tokio::select! {
                    () = self.rest() => {}
                    () = replaced.rang() => return Over::Published,
                    () = idle.lasts(linger) => return Over::Unwanted,
                    give_up = passed(lost, self.edge.changes()) => return Over::GivenUp(give_up),
                }
                // Nobody is asked for what nobody waits for.
                if !idle.is_watched(linger).await {
                    return Over::Unwanted;
                }
            }
            if self.tries > 0 || self.lost.is_some() {
                COUNTS.pull_retries.increase();
            }
            if let Some(params) = self.edge.questions.choose(&self.request, self.tries) {
                self.request.params = params;
            }
            let found = tokio::select! {
                found = self.search() => found,
                () = replaced.rang() => return Over::Published,
                () = idle.lasts(linger) => return Over::Unwanted,
                give_up = passed(lost, self.edge.changes()) => return Over::GivenUp(give_up),
            };
            match found {
                Ok((mut origin, mut source)) => loop {
                    let since = Instant::now();
                    match self.relay(&origin, source, idle).await {
                        Relayed::Over(over) => return over,
                        Relayed::Lost(lost) => {
                            self.on_lost(&origin, &lost, since);
                            break;
                        }
                        Relayed::Elsewhere(other, there) => (origin, source) = (other, there),
                    }
                },
                Err(Failure::Refused { code, description }) => {
                    if let Some(over) = self.on_refused(&code, description) {
                        return over;
                    }
                }
                Err(failure) => self.on_failure(failure),
            }
        }
    }

    fn on_lost(&mut self, origin: &Arc<Origin>, lost: &Lost, since: Instant) {
        if lost.is_failure {
            origin.failed(&lost.why);
        }
        COUNTS.pulls_lost.increase();
        self.edge.origins.troubled();
        self.lost.get_or_insert_with(Instant::now);
        self.tries = if since.elapsed() >= LASTED { 0 } else { self.tries + 1 };
        warn!(
            stream = %self.request.key, origin = %origin, side = Side::Upstream.label(), reason = lost.why,
            "pull lost: its viewers wait"
        );
        let text = format!("{origin}: {}", lost.why);
        let detail = Detail::new("origin_fault", [&origin.to_string(), &lost.why], &text);
        EVENTS.note(EventKind::PullLost, Some(&self.request.key), None, detail);
    }

    /// The origin refuses these parameters; those of other viewers it may not.
    fn on_refused(&mut self, code: &str, description: String) -> Option<Over> {
        let reason = format!("the origin answered {code}: {description}");
        self.edge.questions.refused(&self.request, &reason);
        // Those who have shown these are told, whatever comes of the others.
        self.answer.send_modify(|_| {});
        if self.edge.questions.choose(&self.request, self.tries).is_some() {
            return None;
        }
        if self.intake.is_none() {
            return Some(Over::Refused(reason));
        }
        self.on_failure(Failure::Refused { code: code.to_owned(), description });
        None
    }

    fn on_failure(&mut self, failure: Failure) {
        self.tries += 1;
        if self.intake.is_some() {
            return;
        }
        let said = NoStream::from(failure);
        if self.tries == 1 {
            info!(stream = %self.request.key, answer = ?said, "asked the origins");
        }
        self.answer.send_replace(Answer::Asking(Some(said)));
    }

    /// Waits until it makes sense to ask again.
    async fn rest(&self) {
        tokio::select! {
            () = sleep(backoff(self.tries, self.is_urgent())) => {}
            () = self.edge.origins.changed() => {}
            () = self.others.rang() => {}
        }
    }

    /// Asks all origins, and lets the first of them hold the question if none has the stream.
    async fn search(&self) -> Result<(Arc<Origin>, Source), Failure> {
        let origins = &self.edge.origins;
        origins.ready().await;
        let key = &self.request.key;
        if self.is_urgent() {
            return self.seek().await;
        }
        let order = origins.order(key);
        if !origins.is_troubled()
            && let ([_], Some(_place)) = (&*order, self.edge.hold())
        {
            // It can as well hold the question at once.
            return self.ask(order, if self.tries == 0 { self.wait.min(HOLD) } else { HOLD }).await;
        }
        let asked = self.ask_all(order.clone()).await;
        let Err(Failure::Missing(reason)) = asked else { return asked };
        if self.intake.is_none() {
            self.answer.send_replace(Answer::Asking(Some(NoStream::Missing(reason.clone()))));
        }
        self.seek().await
    }

    /// Whether viewers see a frozen picture.
    fn is_urgent(&self) -> bool {
        self.lost.is_some() || self.request.next
    }

    /// Asks until somebody has the stream.
    async fn seek(&self) -> Result<(Arc<Origin>, Source), Failure> {
        let (edge, request) = (&self.edge, &self.request);
        let seek = Seek {
            origins: &edge.origins,
            key: &request.key,
            held: &edge.held,
            is_urgent: self.is_urgent(),
        };
        let settings = edge.settings();
        let (protocol, dead_after) = (settings.edge.protocol, settings.edge.dead_after);
        let sought = seek.run(|origin, wait| async move {
            let request = Request { wait, ..request.clone() };
            open_source(&origin, protocol, &request, dead_after, &AtomicBool::default()).await
        });
        sought.await
    }

    /// Asks all origins, none of which is to wait: those first, or alone, of which it is known that they have it. What
    /// is nowhere costs no connection.
    async fn ask_all(&self, order: Vec<Arc<Origin>>) -> Result<(Arc<Origin>, Source), Failure> {
        let order = match self.edge.locate(&self.request, self.asker, order).await {
            Located::Nowhere => {
                let why = format!("nobody publishes {}", self.request.key);
                return Err(Failure::Missing(why));
            }
            Located::Perhaps(order) => order,
        };
        let _turn = self.edge.turns.turn(self.asker).await;
        self.ask(order, Duration::ZERO).await
    }

    async fn ask(
        &self,
        origins: Vec<Arc<Origin>>,
        wait: Duration,
    ) -> Result<(Arc<Origin>, Source), Failure> {
        let settings = self.edge.settings();
        let (protocol, dead_after) = (settings.edge.protocol, settings.edge.dead_after);
        search::race(origins, |origin, connected| {
            let request = Request { wait, ..self.request.clone() };
            async move { open_source(&origin, protocol, &request, dead_after, &connected).await }
        })
        .await
    }

    /// Takes the stream in until it is over, lost, or found elsewhere while its origin is silent.
    async fn relay(
        &mut self,
        origin: &Arc<Origin>,
        mut source: Source,
        idle: &mut Idle,
    ) -> Relayed {
        let edge = Arc::clone(&self.edge);
        let key = self.request.key.clone();
        // Before anything is read of what is in force now.
        let changes = edge.changes();
        source.set_dead_after(edge.settings().edge.dead_after);
        // While it was being looked for, an encoder may have brought it here.
        if self.replaced.rang().now_or_never().is_some() {
            return Relayed::Over(Over::Published);
        }
        let replaced = Arc::new(WakeSignal::default());
        let settings = PublishSettings {
            // A stream that is over is over: what we wait for, we wait for with the publisher in hand.
            linger: Duration::ZERO,
            // Our own, from before the loss; never an encoder that publishes here.
            conflict: if self.intake.is_some() { Conflict::Takeover } else { Conflict::Reject },
            flush: announce(flush(&edge.settings().vhost(key.vhost()).play)),
            limits: edge.log_limits(),
            replaced: Arc::clone(&replaced) as _,
        };
        let Ok(publisher) = edge.registry.publish(&key, settings, Instant::now().into_std()) else {
            return Relayed::Over(Over::Published);
        };
        self.replaced = Arc::clone(&replaced);
        let intake = self.intake.insert(Intake::new(publisher, &format_args!("origin {origin}")));
        edge.origins.found(&key, origin);
        let is_back = self.lost.take().is_some();
        self.answer.send_replace(Answer::Flowing { origin: origin.address, since: Instant::now() });
        info!(stream = %key, origin = %origin, again = is_back, "pull began");
        let mut unwanted = pin!(idle.lasts(LINGER));
        let mut reconfigured = pin!(changed(changes));
        let mut is_dismissed = !edge.origins.has(origin);
        let mut taken_over = pin!(replaced.rang());
        let pulse = Activity::default();
        let (request, present) = (self.request.clone(), Arc::clone(origin));
        let elsewhere = silence::elsewhere(Arc::clone(&edge), request, present, pulse.clone());
        let mut elsewhere = pin!(elsewhere);
        loop {
            if is_dismissed {
                let why = "it was removed from edge.origins".to_owned();
                return Relayed::Lost(Lost { why, is_failure: false });
            }
            let tag = tokio::select! {
                tag = source.next() => tag,
                () = &mut unwanted => return Relayed::Over(Over::Unwanted),
                () = &mut taken_over => return Relayed::Over(Over::Published),
                (config, changes) = &mut reconfigured => {
                    source.set_dead_after(config.edge.dead_after);
                    reconfigured.set(changed(changes));
                    is_dismissed = !edge.origins.has(origin);
                    continue;
                }
                (other, there) = &mut elsewhere => {
                    info!(stream = %key, origin = %origin, "it is silent, but {other} has the stream");
                    return Relayed::Elsewhere(other, there);
                }
            };
            let tag = match tag {
                Ok(Some(tag)) => {
                    pulse.beat();
                    tag
                }
                Ok(None) => return Relayed::Over(Over::Ended),
                Err(lost) => return Relayed::Lost(lost),
            };
            match intake.take(&tag, Instant::now().into_std()) {
                Ok(()) => {}
                Err(Fault::Replaced) => return Relayed::Over(Over::Published),
                Err(Fault::Broken(why)) => {
                    return Relayed::Lost(Lost { why, is_failure: true });
                }
            }
        }
    }
}

/// Ends when `edge.give_up` has passed since `since`, and says how long that is; never without a beginning.
async fn passed(since: Option<Instant>, mut changes: Changes) -> Duration {
    let Some(since) = since else { return std::future::pending().await };
    loop {
        let give_up = changes.now().edge.give_up;
        tokio::select! {
            () = sleep_until(since + give_up) => return give_up,
            _ = changes.next() => {}
        }
    }
}

/// The next configuration, and who tells of the one after it.
async fn changed(mut changes: Changes) -> (Arc<Config>, Changes) {
    (changes.next().await, changes)
}
