//! All streams of a process.

use std::{collections::HashMap, time::Instant};

use weir_media::StreamKey;

use crate::{
    Budget, Demand, Flush, Limits, PublishSettings, Publisher, Reader, Refused, Start, Status,
    StreamStats, Totals, Wake,
    stream::{Calls, Expiry, Interest},
    stream_table::StreamTable,
    sync::{Arc, Mutex, lock},
};

/// All streams of a process, by name. Cloning gives another handle to the same registry.
#[derive(Clone)]
pub struct Registry {
    table: Arc<StreamTable>,
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
            table: Arc::new(StreamTable {
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
        let (stream, id, calls) = self.table.occupy(key, settings, now)?;
        let publisher = Publisher::new(stream, Arc::clone(&self.table), id);
        calls.make();
        Ok(publisher)
    }

    /// A reader of `key`, whether or not it is published; it counts as demand.
    pub fn subscribe(&self, key: &StreamKey, start: Start, wake: Arc<dyn Wake>) -> Reader {
        let (reader, first) = self.reader(key, Interest::Demand, start, wake);
        if first && let Some(demand) = &self.table.demand {
            demand.wanted(key);
        }
        reader
    }

    /// A reader that follows the stream without being a reason to have it: a segmenter, a recorder, an observer.
    pub fn follow(&self, key: &StreamKey, start: Start, wake: Arc<dyn Wake>) -> Reader {
        self.reader(key, Interest::Passive, start, wake).0
    }

    fn reader(
        &self,
        key: &StreamKey,
        interest: Interest,
        start: Start,
        wake: Arc<dyn Wake>,
    ) -> (Reader, bool) {
        let (stream, id, cursor, first) = self.table.add_reader(key, interest, start, wake);
        (Reader::new(stream, Arc::downgrade(&self.table), id, cursor), first)
    }

    /// Ends the lingers that are over; returns when the next one will be.
    pub fn expire(&self, now: Instant) -> Option<Instant> {
        let (mut next, mut ended) = (None, Vec::new());
        lock(&self.table.streams).retain(|_, stream| match stream.expire(now) {
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
        let streams: Vec<_> = lock(&self.table.streams).values().cloned().collect();
        for stream in streams {
            let (flush, limits) = settings(&stream.key);
            stream.reconfigure(flush, limits);
        }
    }

    /// Makes every log as small as it has to be while the budget is spent. Those that are appended to do so themselves,
    /// but a publisher may be silent.
    pub fn shrink(&self) {
        let streams: Vec<_> = lock(&self.table.streams).values().cloned().collect();
        streams.iter().for_each(|stream| stream.shrink());
    }

    /// Readers of `key` that count as demand.
    pub fn demand(&self, key: &StreamKey) -> usize {
        lock(&self.table.streams).get(key).map_or(0, |stream| stream.demand())
    }

    /// Whether `key` has a publisher that the stream cannot simply be taken from: one that is no stand-in.
    pub fn is_taken(&self, key: &StreamKey) -> bool {
        lock(&self.table.streams).get(key).is_some_and(|stream| stream.heard().is_some())
    }

    /// What the stream is doing; none if nobody publishes or reads it.
    pub fn status(&self, key: &StreamKey) -> Option<Status> {
        lock(&self.table.streams).get(key).map(|stream| stream.status())
    }

    /// Figures of all streams, in no order, but for those that nobody publishes or waits for: who only
    /// [follows](Self::follow) one makes none.
    pub fn stats(&self) -> Vec<StreamStats> {
        let streams: Vec<_> = lock(&self.table.streams).values().cloned().collect();
        let stats = streams.iter().map(|stream| stream.stats());
        stats.filter(|stream| stream.status != Status::Waiting || stream.readers > 0).collect()
    }

    /// Figures of one stream, if it is published or waited for.
    pub fn stats_of(&self, key: &StreamKey) -> Option<StreamStats> {
        let stream = lock(&self.table.streams).get(key).cloned()?;
        let stats = stream.stats();
        (stats.status != Status::Waiting || stats.readers > 0).then_some(stats)
    }

    /// What all streams have taken in since the start.
    pub fn totals(&self) -> &Totals {
        &self.table.totals
    }

    /// The budget that the logs share.
    pub fn budget(&self) -> &Budget {
        &self.table.budget
    }
}

#[cfg(test)]
mod tests;
