//! The registry's inside.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use weir_media::StreamKey;

use crate::{
    Budget, Demand, Limits, PublishSettings, Refused, Start, Totals, Wake,
    cursor::Cursor,
    stream::{Calls, Interest, Stream},
    sync::{Arc, Mutex, lock},
};

/// Limits of a log before its publisher has said its own.
const LIMITS: Limits = Limits { bytes: 64 << 20, window: Duration::from_secs(2) };

/// The registry's inside, which handles keep a reference to.
///
/// Lock order: the map, then a stream. No callback is made, and no waker dropped, with either held.
pub(crate) struct StreamTable {
    pub(crate) streams: Mutex<HashMap<StreamKey, Arc<Stream>>>,
    pub(crate) budget: Budget,
    pub(crate) totals: Totals,
    pub(crate) demand: Option<Arc<dyn Demand>>,
    /// Woken when a linger begins, so that somebody calls [`Registry::expire`](crate::Registry::expire) in time.
    pub(crate) lingering: Option<Arc<dyn Wake>>,
}

impl StreamTable {
    /// Makes a new publisher the one of `key`: its stream, its id there, and who is to be woken.
    pub(crate) fn occupy(
        &self,
        key: &StreamKey,
        settings: PublishSettings,
        now: Instant,
    ) -> Result<(Arc<Stream>, u64, Calls), Refused> {
        let mut streams = lock(&self.streams);
        let stream = self.stream(&mut streams, key);
        if let Some(heard) = stream.heard() {
            settings.conflict.decide(heard, now)?;
        }
        let (id, calls) = stream.occupy(settings, now);
        Ok((stream, id, calls))
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

    /// Takes a reader of `key` in: its stream, its id there, its place, and whether it is the first that counts as
    /// demand.
    pub(crate) fn add_reader(
        &self,
        key: &StreamKey,
        interest: Interest,
        start: Start,
        wake: Arc<dyn Wake>,
    ) -> (Arc<Stream>, u64, Cursor, bool) {
        // The map stays locked until the reader is in, so that `reader_left` cannot remove the stream in between.
        let mut streams = lock(&self.streams);
        let stream = self.stream(&mut streams, key);
        let (id, cursor, first) = stream.add_reader(interest, start, wake);
        (stream, id, cursor, first)
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
