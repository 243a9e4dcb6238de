//! Segments of low latency, of which an edge has the parts already.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::watch;

use super::{HlsRelay, Landing, landed};
use crate::hls::{cache::Cached, fetch::Fetched, memory::Filling, object::Object};

impl HlsRelay {
    /// A segment that is put together from its parts: no byte of it is asked for twice. None if there is a part that is
    /// neither here nor on its way, or no playlist here says what the parts are; then the origin has to be asked.
    ///
    /// Who asks `alone` has not been let in by the origin yet, which is to decide.
    pub(super) async fn put_together(&self, segment: &Object, alone: bool) -> Option<Fetched> {
        if alone {
            return None;
        }
        let asked = Instant::now();
        let parts = self.lock().cache.parts(segment)?;
        // What is neither here nor coming is known before anything is waited for.
        let parts: Option<Vec<_>> = parts.iter().map(|part| self.find_part(part)).collect();
        let mut whole = Filling::new(&self.memory);
        for part in parts? {
            let part = match part {
                Part::Here(part) => part,
                Part::Coming(landing) => landed(landing).await.ok()?,
            };
            if whole.len() + part.len() > segment.kind.bytes_max() || !whole.push(&part) {
                return None;
            }
        }
        let (body, answered) = (whole.finish(), Instant::now());
        Some(Fetched { body, max_age: None, etag: None, asked, answered })
    }

    fn find_part(&self, part: &Object) -> Option<Part> {
        let mut state = self.lock();
        if let Some(Cached { body, .. }) = state.cache.get(part, Instant::now()) {
            return Some(Part::Here(body));
        }
        let (_, landing) = state.flights.get(&(part.clone(), false, None))?;
        Some(Part::Coming(landing.clone()))
    }
}

/// A part of a segment.
enum Part {
    Here(Bytes),
    /// The playlist lists it already: the origin has it, and is about to answer.
    Coming(watch::Receiver<Landing>),
}
