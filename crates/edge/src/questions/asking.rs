//! Asking the origins, and what comes of it for a viewer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    time::{Instant as TokioInstant, sleep, timeout_at},
};
use weir_config::Upstream;
use weir_hub::Status;
use weir_media::StreamKey;
use weir_rtmp::{message::MayPlay, server::PlayRefusal};
use weir_upstream::{Asker, asker, words};

use super::{Answered, Protocol, Verdict, answers::Digest, digest, digest_of_vhost, link::Unasked};
use crate::{
    Ask, Edge, Failure, HlsKind, HlsObject, NoStream, Origin, Request,
    search::{self, Connected},
    upstream,
};

/// How often an origin that has closed its connection is asked again for the same: once, on another connection.
const ATTEMPTS: u32 = 2;

/// How often viewers of a stream that is here are asked for again while no origin answers.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How long a viewer whose wait is over stays for the answer to its question.
const GRACE: Duration = Duration::from_secs(1);

/// How long an origin is waited for that is asked where a stream is. One that is late is asked to play, as if it had
/// not been asked before.
const LOCATE_TIME: Duration = Duration::from_millis(500);

/// Where a stream is, as far as origins that answer questions know.
pub enum Located {
    /// No origin has it.
    Nowhere,
    /// These have it, or are not known to have it not.
    Perhaps(Vec<Arc<Origin>>),
}

/// What is asked, of whichever origin.
#[derive(Clone, Copy)]
struct Question<'a> {
    /// For which stream, with which parameters.
    request: &'a Request,
    /// On whose behalf.
    asker: Asker,
    /// What the viewer wants the stream by.
    protocol: Protocol,
}

impl Edge {
    /// Whether the one who asks may have `key`, as the origins say, or have said a moment ago. When they cannot be
    /// asked, whoever they have let in not long ago may.
    pub async fn may_play(
        self: &Arc<Self>,
        key: &StreamKey,
        ask: &Ask,
        protocol: Protocol,
    ) -> Verdict {
        if let Err(reason) = self.check(key, ask) {
            return Verdict::No(reason.into());
        }
        let request = self.request(key, ask);
        let mut known = self.questions.known(&request, protocol, Instant::now());
        while known.is_none() {
            let asked = self.ask_once(&request, ask, protocol).await;
            // An answer for another protocol, or for somebody else of a vhost that is not open any more, is none here.
            known = match asked {
                Some(verdict) => Some(verdict),
                None => self.questions.known(&request, protocol, Instant::now()),
            };
        }
        let verdict = known.unwrap_or(Verdict::Yes { any: false });
        match &verdict {
            Verdict::Away(_) if self.questions.was_let_in(&request, protocol) => {
                Verdict::Yes { any: false }
            }
            _ => verdict,
        }
    }

    /// Asks, or joins those who ask the same. None if the answer is about something else.
    async fn ask_once(
        self: &Arc<Self>,
        request: &Request,
        ask: &Ask,
        protocol: Protocol,
    ) -> Option<Verdict> {
        let vhost = request.key.vhost();
        let own_protocol = self.questions.links.any_foreign().then_some(protocol);
        let (mut answers, is_mine) = {
            let mut state = self.questions.lock();
            // One question for all whose parameters made no difference so far.
            let was_open = state.open.contains_key(vhost);
            let id = if was_open { digest_of_vhost(vhost) } else { digest(request, own_protocol) };
            match state.flights.get(&id) {
                Some(answers) => (answers.subscribe(), !was_open),
                None => {
                    let (done, answers) = watch::channel(None);
                    state.flights.insert(id, done.clone());
                    let flight = InFlight { edge: Arc::clone(self), id, done };
                    tokio::spawn(flight.run(request.clone(), asker(ask.peer), protocol));
                    (answers, true)
                }
            }
        };
        // Else it ended in the moment in which it was joined.
        let answered = answers.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
        let Answered { verdict, protocol: about } = answered?;
        let is_for_all = matches!(verdict, Verdict::Yes { any: true } | Verdict::Away(_));
        let is_for_this = about.is_none_or(|about| about == protocol);
        (is_for_all || (is_mine && is_for_this)).then_some(verdict)
    }

    /// Asks the origins, side by side if they are slow.
    async fn ask_origins(self: &Arc<Self>, question: Question<'_>) -> Answered {
        self.origins.ready().await;
        let order = self.origins.order(&question.request.key);
        let asked = search::race(order, |origin, connected| async move {
            self.ask_one(&origin, question, &connected).await
        });
        let verdict = match asked.await {
            Ok((_, answered)) => return answered,
            Err(Failure::Missing(why)) => Verdict::Absent(why.into()),
            Err(Failure::Unreachable(why) | Failure::Busy(why)) => Verdict::Away(why.into()),
            Err(Failure::Refused { code, description }) => Verdict::No(said(&code, &description)),
        };
        let is_any_foreign = self.questions.links.any_foreign();
        Answered { verdict, protocol: is_any_foreign.then_some(question.protocol) }
    }

    async fn ask_one(
        self: &Arc<Self>,
        origin: &Arc<Origin>,
        question: Question<'_>,
        connected: &Connected,
    ) -> Result<Answered, Failure> {
        let settings = self.settings();
        let (upstream, dead_after) = (settings.edge.protocol, settings.edge.dead_after);
        let Question { request, asker, protocol } = question;
        match self.question(origin, request, asker, dead_after, connected).await {
            Ok(MayPlay { refusal: None, any, .. }) => {
                Ok(Answered { verdict: Verdict::Yes { any }, protocol: None })
            }
            Ok(MayPlay { refusal: Some((code, description)), .. }) => {
                let description = words(&description);
                if code == PlayRefusal::StreamNotFound.code() {
                    return Err(Failure::Missing(description));
                }
                let reason = said(&words(&code), &description);
                Ok(Answered { verdict: Verdict::No(reason), protocol: None })
            }
            Err(Unasked::Foreign | Unasked::Closed) => {
                self.ask_foreign(origin, question, connected).await
            }
            // Where streams come over HTTP, nothing else may be reachable.
            Err(Unasked::Failed(Failure::Unreachable(_))) if upstream == Upstream::Flv => {
                self.ask_foreign(origin, question, connected).await
            }
            // HTTP carries names that RTMP does not.
            Err(Unasked::Failed(Failure::Missing(_)))
                if upstream == Upstream::Flv || protocol == Protocol::Hls =>
            {
                self.ask_foreign(origin, question, connected).await
            }
            Err(Unasked::Failed(failure)) => Err(failure),
        }
    }

    /// Asks on the connection for questions. Once it is its turn, the answer has to come within `limit`.
    async fn question(
        &self,
        origin: &Arc<Origin>,
        request: &Request,
        asker: Asker,
        limit: Duration,
        connected: &Connected,
    ) -> Result<MayPlay, Unasked> {
        if !origin.scheme.is_rtmp() {
            return Err(Unasked::Foreign);
        }
        let question = upstream::question(origin, request).map_err(Unasked::Failed)?;
        for _ in 0..ATTEMPTS {
            let link = self.questions.links.to(origin, &self.origins);
            match link.ask(question.clone(), request, asker, limit, connected).await {
                Err(Unasked::Closed) => {}
                asked => return asked,
            }
        }
        Err(Unasked::Closed)
    }

    /// Has an origin play that knows no questions, until it has decided.
    async fn ask_foreign(
        self: &Arc<Self>,
        origin: &Arc<Origin>,
        Question { request, asker, protocol }: Question<'_>,
        connected: &Connected,
    ) -> Result<Answered, Failure> {
        let settings = self.settings();
        let (upstream, dead_after) = (settings.edge.protocol, settings.edge.dead_after);
        match protocol {
            Protocol::Live => {
                let _turn = self.turns.turn(asker).await;
                upstream::may_play(origin, upstream, request, dead_after, connected).await?;
            }
            Protocol::Hls => {
                let object = HlsObject { key: request.key.clone(), kind: HlsKind::Playlist };
                self.hls.may_fetch(&object, request).await?;
            }
        }
        Ok(Answered { verdict: Verdict::Yes { any: false }, protocol: Some(protocol) })
    }

    /// Lets a viewer in, if the origins do; false if they have not decided, so that they have to be asked again once
    /// the stream is here.
    ///
    /// # Errors
    /// Why it is not let in.
    pub async fn admit(
        self: &Arc<Self>,
        key: &StreamKey,
        ask: &Ask,
        protocol: Protocol,
        deadline: TokioInstant,
    ) -> Result<bool, NoStream> {
        loop {
            let is_here = self.registry.status(key) == Some(Status::Live);
            let asked = timeout_at(deadline + GRACE, self.may_play(key, ask, protocol)).await;
            let silent =
                |_| Verdict::Away(format!("the origins have not answered for {key}").into());
            match asked.unwrap_or_else(silent) {
                Verdict::Yes { any } => {
                    if !any && protocol == Protocol::Live {
                        self.note(key, ask, true);
                    }
                    return Ok(true);
                }
                Verdict::No(reason) => return Err(NoStream::Refused(reason.to_string())),
                Verdict::Absent(reason) if is_here => {
                    return Err(NoStream::Missing(reason.to_string()));
                }
                Verdict::Away(reason) if is_here => {
                    if TokioInstant::now() >= deadline {
                        return Err(NoStream::Unavailable(reason.to_string()));
                    }
                    tokio::select! {
                        () = sleep(ASK_AGAIN) => {}
                        () = self.origins.changed() => {}
                    }
                }
                Verdict::Absent(_) | Verdict::Away(_) => return Ok(false),
            }
        }
    }

    /// Where `request` would find its stream, before it is asked for: one question to each origin, all at once. The
    /// first one that has it is enough.
    pub(crate) async fn locate(
        &self,
        request: &Request,
        asker: Asker,
        order: Vec<Arc<Origin>>,
    ) -> Located {
        let questions = order.iter().enumerate().map(|(at, origin)| async move {
            let connected = Connected::default();
            let asked = self.question(origin, request, asker, LOCATE_TIME, &connected).await;
            (at, asked.ok().map(|answer| answer.here))
        });
        let mut questions: FuturesUnordered<_> = questions.collect();
        let (mut there, mut without) = (None, Vec::new());
        while there.is_none()
            && let Some((at, here)) = questions.next().await
        {
            match here {
                Some(true) => there = Some(at),
                Some(false) => without.push(at),
                None => {}
            }
        }
        if !order.is_empty() && without.len() == order.len() {
            return Located::Nowhere;
        }
        // Those that say nothing may have it as well.
        let others = (0..order.len()).filter(|at| Some(*at) != there && !without.contains(at));
        let all = there.into_iter().chain(others);
        Located::Perhaps(all.map(|at| Arc::clone(&order[at])).collect())
    }

    /// Takes note of what `ask` shows. A pull that has asked in vain so far is told of what an origin accepts.
    pub(crate) fn note(&self, key: &StreamKey, ask: &Ask, accepted: bool) {
        let is_here = |key: &StreamKey| self.registry.status(key).is_some();
        // What makes no difference need not be remembered.
        if self.questions.is_open(key.vhost()) {
            return;
        }
        let is_new = self.questions.note(&self.request(key, ask), accepted, is_here);
        if is_new && accepted {
            self.pulls.wake(key);
        }
    }
}

fn said(code: &str, description: &str) -> Arc<str> {
    format!("the origin answered {code}: {description}").into()
}

/// A question on its way. It is over when it is dropped.
struct InFlight {
    edge: Arc<Edge>,
    id: Digest,
    done: watch::Sender<Option<Answered>>,
}

impl InFlight {
    async fn run(self, request: Request, asker: Asker, protocol: Protocol) {
        let question = Question { request: &request, asker, protocol };
        let answered = tokio::select! {
            answered = self.edge.ask_origins(question) => answered,
            // Nobody wants to know any more.
            () = self.done.closed() => return,
        };
        let kept = self.edge.settings().edge.give_up;
        self.edge.questions.keep(&request, asker, &answered, kept);
        self.edge.questions.lock().flights.remove(&self.id);
        self.done.send_replace(Some(answered));
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.edge.questions.lock();
        // Another one may be on its way meanwhile.
        let is_own = |done: &watch::Sender<_>| done.same_channel(&self.done);
        if state.flights.get(&self.id).is_some_and(is_own) {
            state.flights.remove(&self.id);
        }
    }
}
