//! The connection to an origin on which it is asked who may play: one an origin, kept while there are questions.
//!
//! Many questions are on their way at a time, and are answered in any order. An origin that knows no questions is
//! noted as foreign for a while.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use weir_config::Settings;
use weir_rtmp::{
    client::Event,
    message::{MayPlay, QUESTION_BYTES_MAX, QUESTIONS_MAX, Question},
};
use weir_upstream::{client::RtmpClient, words};

use crate::{
    Failure, Origin, Origins, Request,
    search::Connected,
    turns::{Asker, Turn, Turns},
    upstream,
};

/// How long a connection without questions is kept: shorter than origins keep one that does nothing (30 s), so that it
/// is this end that closes it.
const IDLE: Duration = Duration::from_secs(15);

/// After a connection that failed no other is tried for so long: what waits is told the same.
const PAUSE: Duration = Duration::from_millis(200);

/// For how long an origin that knows no questions is not tried again: it may be updated one day.
const FOREIGN: Duration = Duration::from_secs(60);

/// The connections to all origins.
#[derive(Debug)]
pub struct Links {
    settings: Settings,
    list: Mutex<HashMap<SocketAddr, Arc<Link>>>,
}

/// The way to one origin.
#[derive(Debug)]
pub struct Link {
    origin: Arc<Origin>,
    inbox: mpsc::Sender<Asked>,
    turns: Turns,
    known: Arc<Known>,
}

/// What is known of an origin.
#[derive(Debug, Default)]
struct Known {
    connected: AtomicBool,
    foreign: Mutex<Option<Instant>>,
}

/// A question on its way.
struct Asked {
    question: Question,
    request: Request,
    answer: oneshot::Sender<Result<MayPlay, Unasked>>,
    /// When it has to be answered.
    by: Instant,
    _turn: Turn,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// The origin knows no questions.
    Foreign,
    /// It has closed the connection, as servers do that stop: it can be asked on another one.
    Closed,
    /// It cannot be asked, or has not answered.
    Failed(Failure),
}

impl Links {
    /// None yet.
    pub fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone(), list: Mutex::default() }
    }

    /// Whether an origin is known to be foreign.
    pub fn any_foreign(&self) -> bool {
        self.list().values().any(|link| link.known.is_foreign())
    }

    /// The way to `origin`; ways to those that are not among `origins` any more are closed.
    pub fn to(&self, origin: &Arc<Origin>, origins: &Origins) -> Arc<Link> {
        // Another origin may be there by now, or TLS.
        if let Some(link) = self.list().get(&origin.address)
            && link.origin.is_same(origin)
        {
            return Arc::clone(link);
        }
        let mut list = self.list();
        let addresses: Vec<_> = list.keys().copied().collect();
        // Another lock is not taken under this one.
        drop(list);
        let is_gone = |at: &SocketAddr| *at == origin.address || !origins.has_address(*at);
        let gone: Vec<_> = addresses.into_iter().filter(is_gone).collect();
        list = self.list();
        gone.iter().for_each(|address| drop(list.remove(address)));
        let link = list.entry(origin.address).or_insert_with(|| {
            let (inbox, questions) = mpsc::channel(QUESTIONS_MAX);
            let known = Arc::<Known>::default();
            let task = Task {
                origin: Arc::clone(origin),
                settings: self.settings.clone(),
                known: Arc::clone(&known),
            };
            tokio::spawn(task.run(questions));
            Arc::new(Link {
                origin: Arc::clone(origin),
                inbox,
                turns: Turns::new(QUESTIONS_MAX),
                known,
            })
        });
        Arc::clone(link)
    }

    /// Closes all of them, once what is being asked is answered.
    pub fn forget(&self) {
        self.list().clear();
    }

    fn list(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Link>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_foreign(&self) -> bool {
        self.foreign().is_some_and(|until| Instant::now() < until)
    }

    fn foreign(&self) -> MutexGuard<'_, Option<Instant>> {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Asks for `asker`, in its turn; `connected` is set once there is a connection.
    ///
    /// # Errors
    /// When there is no answer within `limit`, or none at all.
    pub async fn ask(
        &self,
        question: Question,
        request: &Request,
        asker: Asker,
        limit: Duration,
        connected: &Connected,
    ) -> Result<MayPlay, Unasked> {
        if self.known.is_foreign() {
            return Err(Unasked::Foreign);
        }
        // The time that others have is not the origin's.
        connected.store(true, Relaxed);
        let turn = self.turns.turn(asker).await;
        connected.store(self.known.connected.load(Relaxed), Relaxed);
        let (answer, answered) = oneshot::channel();
        let by = Instant::now() + limit;
        let asked = Asked { question, request: request.clone(), answer, by, _turn: turn };
        let gone = || Unasked::Failed(Failure::Busy("the origin is no longer in use".to_owned()));
        self.inbox.send(asked).await.map_err(|_| gone())?;
        match timeout(limit, answered).await {
            Ok(answered) => answered.unwrap_or_else(|_| Err(gone())),
            Err(_) => {
                let why = format!("no answer to a question within {limit:?}");
                Err(Unasked::Failed(Failure::Unreachable(why)))
            }
        }
    }
}

/// What keeps the connection.
struct Task {
    origin: Arc<Origin>,
    settings: Settings,
    known: Arc<Known>,
}

/// The questions that are on their way.
#[derive(Default)]
struct Waiting {
    asked: HashMap<u32, Asked>,
    bytes: usize,
    last: u32,
}

impl Task {
    async fn run(self, mut questions: mpsc::Receiver<Asked>) {
        let mut failed: Option<(Instant, Failure)> = None;
        while let Some(first) = questions.recv().await {
            if self.known.is_foreign() {
                first.end(Err(Unasked::Foreign));
                continue;
            }
            if let Some((_, failure)) = failed.as_ref().filter(|it| it.0.elapsed() < PAUSE) {
                first.end(Err(Unasked::Failed(failure.clone())));
                continue;
            }
            let dead_after = self.settings.now().edge.dead_after;
            let connecting = upstream::questions(
                &self.origin,
                &first.request,
                dead_after,
                &self.known.connected,
            );
            match connecting.await {
                Ok((client, at_once)) if at_once > 0 => {
                    converse(client, at_once.min(QUESTIONS_MAX), first, &mut questions).await;
                }
                Ok(_) | Err(Failure::Refused { .. } | Failure::Missing(_)) => {
                    *self.known.foreign() = Some(Instant::now() + FOREIGN);
                    first.end(Err(Unasked::Foreign));
                }
                Err(failure) => {
                    // Whoever has come meanwhile waited for the same connection.
                    failed = Some((Instant::now(), failure.clone()));
                    first.end(Err(Unasked::Failed(failure)));
                }
            }
            self.known.connected.store(false, Relaxed);
        }
    }
}

/// Asks on a connection until it is of no further use, or has had no questions for a while.
async fn converse(
    mut client: RtmpClient,
    at_once: usize,
    first: Asked,
    questions: &mut mpsc::Receiver<Asked>,
) {
    let mut waiting = Waiting::default();
    let mut next = Some(first);
    let mut is_leaving = false;
    loop {
        if let Some(asked) = next.take() {
            next = waiting.ask(&mut client, asked, at_once);
        }
        if is_leaving && waiting.asked.is_empty() {
            break;
        }
        let oldest = waiting.asked.values().map(|asked| asked.by).min();
        // The answer may be on its way for as long again: then nobody waits for it any more.
        let late = oldest.map_or_else(|| Instant::now() + IDLE, |by| by + IDLE);
        tokio::select! {
            event = client.event() => match event {
                Ok(Event::Answer { id, answer }) => waiting.answered(id, answer),
                Ok(Event::Ended { .. } | Event::Refused { .. } | Event::ReconnectRequested { .. }) => {
                    is_leaving = true;
                }
                Ok(_) => {}
                Err(lost) => {
                    let failure = upstream::lost_question(&lost);
                    return waiting.fail(next, &failure.map_or(Unasked::Closed, Unasked::Failed));
                }
            },
            asked = questions.recv(), if next.is_none() && !is_leaving => match asked {
                Some(asked) => next = Some(asked),
                // Nobody asks this origin any more.
                None => is_leaving = true,
            },
            () = sleep_until(late) => break,
        }
    }
    waiting.fail(next, &Unasked::Closed);
}

impl Waiting {
    /// Asks, unless too much is on its way.
    fn ask(&mut self, client: &mut RtmpClient, asked: Asked, at_once: usize) -> Option<Asked> {
        let bytes = asked.question.bytes();
        if self.asked.len() >= at_once || self.bytes + bytes > QUESTION_BYTES_MAX {
            return Some(asked);
        }
        self.last = self.last.wrapping_add(1);
        self.bytes += bytes;
        client.ask(self.last, asked.question.clone());
        self.asked.insert(self.last, asked);
        None
    }

    fn answered(&mut self, id: u32, answer: Result<MayPlay, String>) {
        let Some(asked) = self.asked.remove(&id) else { return };
        self.bytes -= asked.question.bytes();
        let busy = |why: String| Unasked::Failed(Failure::Busy(words(&why)));
        asked.end(answer.map_err(busy));
    }

    fn fail(self, next: Option<Asked>, why: &Unasked) {
        for asked in self.asked.into_values().chain(next) {
            asked.end(Err(why.clone()));
        }
    }
}

impl Asked {
    fn end(self, answer: Result<MayPlay, Unasked>) {
        // Whoever asked may have left.
        let _ = self.answer.send(answer);
    }
}
