//! All streams of a process.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use weir_media::StreamKey;

use crate::{
    Budget, Flush, Limits, Publisher, Reader, Start, Status, StreamStats, Totals, Wake,
    stream::{Calls, Expiry, Interest, Stream},
    sync::{Arc, Mutex, lock},
};

/// Limits of a log before its publisher has said its own.
const LIMITS: Limits = Limits { bytes: 64 << 20, window: Duration::from_secs(2) };

/// All streams of a process, by name. Cloning gives another handle to the same registry.
#[derive(Clone)]
pub struct Registry {
    shelf: Arc<Shelf>,
}

/// Hears of streams that are wanted, so that an edge can pull them.
///
/// Called without a lock held, so calls of two threads may come in either order: an implementation takes them as a hint
/// to look at [`Registry::demand`].
pub trait Demand: Send + Sync + 'static {
    /// The first reader came.
    fn wanted(&self, key: &StreamKey);
    /// The last reader left.
    fn unwanted(&self, key: &StreamKey);
}

/// What a publisher brings to its stream.
pub struct PublishSettings {
    /// How long the stream waits for another publisher after this one has gone.
    pub linger: Duration,
    /// What happens when the stream has a publisher.
    pub conflict: Conflict,
    /// When readers are woken.
    pub flush: Flush,
    /// What the stream's log keeps.
    pub limits: Limits,
    /// Woken when another publisher takes the stream over.
    pub replaced: Arc<dyn Wake>,
}

/// What happens when a stream that has a publisher is published again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The new one is refused.
    Reject,
    /// The new one replaces the old one.
    Takeover,
    /// The new one replaces the old one if that has been silent for this long.
    TakeoverIfIdle(Duration),
}

/// The stream has a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// And keeps it.
    #[error("the stream is being published already")]
    Taken,
    /// It is silent at the moment: if it is not heard before `idle_at`, the stream may be taken.
    #[error("the stream is being published already")]
    MaybeDead {
        /// When it will have been silent for long enough.
        idle_at: Instant,
    },
}

/// The registry's inside, which handles keep a reference to.
///
/// Lock order: the map, then a stream. No callback is made, and no waker dropped, with either held.
pub(crate) struct Shelf {
    streams: Mutex<HashMap<StreamKey, Arc<Stream>>>,
    budget: Budget,
    totals: Totals,
    demand: Option<Arc<dyn Demand>>,
    /// Woken when a linger begins, so that somebody calls [`Registry::expire`] in time.
    lingering: Option<Arc<dyn Wake>>,
}

impl Registry {
    /// An empty registry whose logs share `budget`. `lingering` is woken whenever a linger begins: then
    /// [`Registry::expire`] has a new answer.
    pub fn new(
        budget: Budget,
        demand: Option<Arc<dyn Demand>>,
        lingering: Option<Arc<dyn Wake>>,
    ) -> Self {
        let streams = Mutex::new(HashMap::new());
        Self {
            shelf: Arc::new(Shelf {
                streams,
                budget,
                totals: Totals::default(),
                demand,
                lingering,
            }),
        }
    }

    /// Makes the caller the publisher of `key`.
    ///
    /// # Errors
    /// [`Refused`] when the stream has a publisher that `settings.conflict` protects.
    pub fn publish(
        &self,
        key: &StreamKey,
        settings: PublishSettings,
        now: Instant,
    ) -> Result<Publisher, Refused> {
        let (publisher, calls) = self.shelf.occupy(key, settings, now)?;
        calls.make();
        Ok(publisher)
    }

    /// A reader of `key`, whether or not it is published; it counts as demand.
    pub fn subscribe(&self, key: &StreamKey, start: Start, wake: Arc<dyn Wake>) -> Reader {
        let (reader, first) = self.shelf.add_reader(key, Interest::Demand, start, wake);
        if first && let Some(demand) = &self.shelf.demand {
            demand.wanted(key);
        }
        reader
    }

    /// A reader that follows the stream without being a reason to have it: a segmenter, a recorder, an observer.
    pub fn follow(&self, key: &StreamKey, start: Start, wake: Arc<dyn Wake>) -> Reader {
        self.shelf.add_reader(key, Interest::Passive, start, wake).0
    }

    /// Ends the lingers that are over; returns when the next one will be.
    pub fn expire(&self, now: Instant) -> Option<Instant> {
        let (mut next, mut ended) = (None, Vec::new());
        lock(&self.shelf.streams).retain(|_, stream| match stream.expire(now) {
            Expiry::None => true,
            Expiry::Until(until) => {
                next = Some(next.map_or(until, |next: Instant| next.min(until)));
                true
            }
            Expiry::Ended(calls) => {
                ended.push(calls);
                false
            }
        });
        ended.into_iter().for_each(Calls::make);
        next
    }

    /// Gives every stream that is being published the flush and the limits that `settings` says, from its next frame
    /// on.
    pub fn reconfigure(&self, settings: impl Fn(&StreamKey) -> (Flush, Limits)) {
        let streams: Vec<_> = lock(&self.shelf.streams).values().cloned().collect();
        for stream in streams {
            let (flush, limits) = settings(&stream.key);
            stream.reconfigure(flush, limits);
        }
    }

    /// Makes every log as small as it has to be while the budget is spent. Those that are appended to do so themselves,
    /// but a publisher may be silent.
    pub fn shrink(&self) {
        let streams: Vec<_> = lock(&self.shelf.streams).values().cloned().collect();
        streams.iter().for_each(|stream| stream.shrink());
    }

    /// Readers of `key` that count as demand.
    pub fn demand(&self, key: &StreamKey) -> usize {
        lock(&self.shelf.streams).get(key).map_or(0, |stream| stream.demand())
    }

    /// What the stream is doing; none if nobody publishes or reads it.
    pub fn status(&self, key: &StreamKey) -> Option<Status> {
        lock(&self.shelf.streams).get(key).map(|stream| stream.status())
    }

    /// Figures of all streams, in no order, but for those that nobody publishes or waits for: who only
    /// [follows](Self::follow) one makes none.
    pub fn stats(&self) -> Vec<StreamStats> {
        let streams: Vec<_> = lock(&self.shelf.streams).values().cloned().collect();
        let stats = streams.iter().map(|stream| stream.stats());
        stats.filter(|stream| stream.status != Status::Waiting || stream.readers > 0).collect()
    }

    /// What all streams have taken in since the start.
    pub fn totals(&self) -> &Totals {
        &self.shelf.totals
    }

    /// The budget that the logs share.
    pub fn budget(&self) -> &Budget {
        &self.shelf.budget
    }
}

impl Conflict {
    /// Whether a publisher that was last heard at `heard` has to give way at `now`.
    fn decide(self, heard: Instant, now: Instant) -> Result<(), Refused> {
        match self {
            Self::Takeover => Ok(()),
            Self::Reject => Err(Refused::Taken),
            Self::TakeoverIfIdle(idle) => match heard.checked_add(idle) {
                Some(idle_at) if idle_at <= now => Ok(()),
                Some(idle_at) => Err(Refused::MaybeDead { idle_at }),
                None => Err(Refused::Taken),
            },
        }
    }
}

impl Shelf {
    fn occupy(
        self: &Arc<Self>,
        key: &StreamKey,
        settings: PublishSettings,
        now: Instant,
    ) -> Result<(Publisher, Calls), Refused> {
        let mut streams = lock(&self.streams);
        let stream = self.stream(&mut streams, key);
        if let Some(heard) = stream.heard() {
            settings.conflict.decide(heard, now)?;
        }
        let (id, calls) = stream.occupy(settings, now);
        Ok((Publisher::new(stream, Arc::clone(self), id), calls))
    }

    /// The stream named `key`, which has not ended: streams end, and leave the map, with the map locked.
    fn stream(
        &self,
        streams: &mut HashMap<StreamKey, Arc<Stream>>,
        key: &StreamKey,
    ) -> Arc<Stream> {
        let fresh = || {
            let (budget, totals) = (self.budget.clone(), self.totals.clone());
            Arc::new(Stream::new(key.clone(), LIMITS, budget, totals))
        };
        Arc::clone(streams.entry(key.clone()).or_insert_with(fresh))
    }

    fn add_reader(
        self: &Arc<Self>,
        key: &StreamKey,
        interest: Interest,
        start: Start,
        wake: Arc<dyn Wake>,
    ) -> (Reader, bool) {
        // The map stays locked until the reader is in, so that `reader_left` cannot remove the stream in between.
        let mut streams = lock(&self.streams);
        let stream = self.stream(&mut streams, key);
        let (id, cursor, first) = stream.add_reader(interest, start, wake);
        (Reader::new(stream, Arc::downgrade(self), id, cursor), first)
    }

    pub(crate) fn reader_left(&self, stream: &Arc<Stream>, last_demand: bool) {
        if last_demand && let Some(demand) = &self.demand {
            demand.unwanted(&stream.key);
        }
        let mut streams = lock(&self.streams);
        let same = streams.get(&stream.key).is_some_and(|known| Arc::ptr_eq(known, stream));
        if same && stream.is_idle() {
            streams.remove(&stream.key);
        }
    }

    pub(crate) fn linger_began(&self) {
        if let Some(lingering) = &self.lingering {
            lingering.wake();
        }
    }
}

#[cfg(test)]
mod tests;
