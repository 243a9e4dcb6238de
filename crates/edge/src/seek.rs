//! Looking for a stream until one of several origins has it.
//!
//! ```text
//! asked ──no──► holds the question ──its time is over──► asked again
//!   ▲                │ it fails
//!   └── each round, and at any news: those that hold nothing
//! ```

use std::{
    collections::{HashSet, VecDeque},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use weir_media::StreamKey;

use super::{
    Failure, Origin, Origins,
    search::{AT_ONCE_MAX, no_origin, note},
};

/// How long an origin that does not have a stream is asked to hold the question, at most: its own `play.wait` counts
/// too.
pub const HOLD: Duration = Duration::from_secs(10);

/// An origin that says no faster than this does not hold questions.
const HELD: Duration = Duration::from_secs(1);

/// Origins that hold a question for the same stream. The others are asked again and again.
const HOLDERS_MAX: usize = 4;

/// From the first round to the second, where viewers see a frozen picture. Each pause is twice as long as the one
/// before.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest pause, and every one where nobody has seen the stream yet.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Rounds in which the only address is asked once more although it holds the question, each time by this many
/// connections: behind one address may be several origins, and a balancer gives each connection to another one.
const ROUNDS_ALONE: u32 = 5;
const ALONE_AT_ONCE: usize = 2;

/// A stream that is being looked for.
pub struct Seek<'a> {
    /// Who may have it.
    pub origins: &'a Origins,
    /// Its name.
    pub key: &'a StreamKey,
    /// Places for questions that origins hold.
    pub held: &'a Semaphore,
    /// Whether viewers see a frozen picture: all origins that are alive are asked at once, side by side. Else they have
    /// just said that they do not have it.
    pub is_urgent: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Answers at once.
    Asked,
    /// Holds the question since then.
    Held(Instant),
}

/// What came of a question; nothing, if the origin has failed meanwhile or is not one any more.
type Answered<T> = (Arc<Origin>, Kind, Option<Result<T, Failure>>);

/// Questions that are on their way.
struct Questions<'a, T> {
    running: FuturesUnordered<BoxFuture<'a, Answered<T>>>,
    asked: usize,
    holders: HashSet<SocketAddr>,
    /// Those that have said no to a question which they were to hold.
    hasty: HashSet<SocketAddr>,
    waiting: VecDeque<Arc<Origin>>,
}

impl Seek<'_> {
    /// Asks until one has the stream. `open` puts the question to one origin, which may hold it for so long.
    ///
    /// # Errors
    /// The most telling failure, when no question is left that may be answered otherwise.
    pub async fn run<'a, T, F>(
        &'a self,
        open: impl Fn(Arc<Origin>, Duration) -> F + Sync + 'a,
    ) -> Result<(Arc<Origin>, T), Failure>
    where
        T: Send + 'a,
        F: Future<Output = Result<T, Failure>> + Send + 'a,
    {
        let sought = self.origins.seek(self.key);
        let mut news = pin!(self.origins.changed());
        let mut questions = Questions::new();
        let (mut worst, mut round, mut due) = (None, 0, Instant::now());
        if !self.is_urgent {
            due += self.pause(0);
            if let Some(owner) = self.origins.order(self.key).into_iter().next() {
                self.hold(&mut questions, owner, &open);
            }
        }
        loop {
            if due <= Instant::now() {
                questions.waiting = self.candidates(round, &questions.holders);
                due = Instant::now() + self.pause(round);
                round += 1;
            }
            while questions.asked < AT_ONCE_MAX
                && let Some(origin) = questions.waiting.pop_front()
            {
                questions.asked += 1;
                let question = open(Arc::clone(&origin), Duration::ZERO);
                questions.running.push(self.unless_it_fails(origin, Kind::Asked, question));
            }
            if questions.running.is_empty() {
                return Err(worst.unwrap_or_else(no_origin));
            }
            tokio::select! {
                Some((origin, kind, answer)) = questions.running.next() => {
                    questions.is_over(&origin, kind);
                    match answer {
                        Some(Ok(found)) => {
                            origin.succeeded();
                            return Ok((origin, found));
                        }
                        Some(Err(failure)) => {
                            let is_missing = matches!(failure, Failure::Missing(_));
                            let is_over = !self.is_urgent && kind != Kind::Asked;
                            note(&origin, failure, &mut worst);
                            if is_missing && self.may_hold(&questions, &origin) {
                                self.hold(&mut questions, origin, &open);
                            }
                            // Whether anybody waits any longer is another's question.
                            if is_over {
                                return Err(worst.unwrap_or_else(no_origin));
                            }
                        }
                        None => {}
                    }
                    let is_round_over = questions.asked == 0 && questions.waiting.is_empty();
                    if is_round_over && let Some(Failure::Refused { .. }) = &worst {
                        return Err(worst.unwrap_or_else(no_origin));
                    }
                }
                () = sleep_until(due) => {}
                () = &mut news => {
                    news.set(self.origins.changed());
                    due = Instant::now();
                }
                () = sought.found() => due = Instant::now(),
            }
        }
    }

    fn pause(&self, round: u32) -> Duration {
        match self.is_urgent || self.origins.is_troubled() {
            true => (PAUSE * 2_u32.saturating_pow(round)).min(PAUSE_MAX),
            false => PAUSE_MAX,
        }
    }

    /// Who is to be asked in this round.
    fn candidates(&self, round: u32, holders: &HashSet<SocketAddr>) -> VecDeque<Arc<Origin>> {
        let mut order = self.origins.order(self.key);
        // The dead are looked after by others, who tell us.
        if self.is_urgent && order.iter().any(|origin| origin.is_healthy()) {
            order.retain(|origin| origin.is_healthy());
        }
        if let [alone] = &*order
            && holders.contains(&alone.address)
            && round <= ROUNDS_ALONE
            && (self.is_urgent || self.origins.is_troubled())
        {
            return std::iter::repeat_n(Arc::clone(alone), ALONE_AT_ONCE).collect();
        }
        order.into_iter().filter(|origin| !holders.contains(&origin.address)).collect()
    }

    fn may_hold<T>(&self, questions: &Questions<'_, T>, origin: &Origin) -> bool {
        self.is_urgent
            && questions.holders.len() < HOLDERS_MAX
            && !questions.hasty.contains(&origin.address)
            && !questions.holders.contains(&origin.address)
    }

    /// Lets `origin` hold the question, if there is a place.
    fn hold<'a, T, F>(
        &'a self,
        questions: &mut Questions<'a, T>,
        origin: Arc<Origin>,
        open: &(impl Fn(Arc<Origin>, Duration) -> F + Sync + 'a),
    ) where
        T: Send + 'a,
        F: Future<Output = Result<T, Failure>> + Send + 'a,
    {
        let Ok(place) = self.held.try_acquire() else { return };
        questions.holders.insert(origin.address);
        let question = open(Arc::clone(&origin), HOLD).inspect(move |_| drop(place));
        questions.running.push(self.unless_it_fails(origin, Kind::Held(Instant::now()), question));
    }

    /// The answer to a question, which is over as soon as anybody finds that `origin` has failed, or it is none of ours
    /// any more.
    fn unless_it_fails<'a, T: Send + 'a>(
        &'a self,
        origin: Arc<Origin>,
        kind: Kind,
        question: impl Future<Output = Result<T, Failure>> + Send + 'a,
    ) -> BoxFuture<'a, Answered<T>> {
        let was_healthy = origin.is_healthy();
        async move {
            let mut question = pin!(question);
            loop {
                let news = self.origins.changed();
                let has_failed = was_healthy && !origin.is_healthy();
                if has_failed || !self.origins.has(&origin) {
                    return (origin, kind, None);
                }
                tokio::select! {
                    biased;
                    answer = &mut question => return (origin, kind, Some(answer)),
                    () = news => {}
                }
            }
        }
        .boxed()
    }
}

impl<T> Questions<'_, T> {
    fn new() -> Self {
        Self {
            running: FuturesUnordered::new(),
            asked: 0,
            holders: HashSet::new(),
            hasty: HashSet::new(),
            waiting: VecDeque::new(),
        }
    }

    fn is_over(&mut self, origin: &Origin, kind: Kind) {
        match kind {
            Kind::Asked => self.asked -= 1,
            Kind::Held(since) => {
                self.holders.remove(&origin.address);
                if since.elapsed() < HELD {
                    self.hasty.insert(origin.address);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
