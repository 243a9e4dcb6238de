//! The writing end of a stream.

use std::time::{Duration, Instant};

use weir_media::{AudioCodec, Frame, Init, StreamKey, VideoCodec};

use crate::{Ended, PublishSettings, Tracks, stream::Stream, stream_table::StreamTable, sync::Arc};

/// The one writer of a stream. Dropping it starts the stream's linger.
pub struct Publisher {
    stream: Arc<Stream>,
    table: Arc<StreamTable>,
    id: u64,
}

impl Publisher {
    pub(crate) fn new(stream: Arc<Stream>, table: Arc<StreamTable>, id: u64) -> Self {
        Self { stream, table, id }
    }

    /// Appends `frame`, whose `dts` holds the publisher's own 32-bit time; readers see it on the stream's timeline.
    ///
    /// # Errors
    /// [`Ended`] when another publisher has taken the stream over.
    pub fn push(&mut self, frame: Frame, now: Instant) -> Result<(), Ended> {
        self.stream.push(self.id, frame, now)
    }

    /// Says which tracks the metadata promises, so that readers need not wait to find out. No track at all is no
    /// promise.
    pub fn expect(&mut self, tracks: Tracks) {
        self.stream.expect(self.id, tracks);
    }

    /// The stream waits for another publisher for `linger` at least, once this one has gone.
    pub fn linger_at_least(&mut self, linger: Duration) {
        self.stream.linger_at_least(self.id, linger);
    }

    /// From now on this is the linger of the stream once this publisher has gone.
    pub fn set_linger(&mut self, linger: Duration) {
        self.stream.set_linger(self.id, linger);
    }

    /// The stream's name.
    pub fn key(&self) -> &StreamKey {
        &self.stream.key
    }

    /// Readers that count as demand.
    pub fn demand(&self) -> usize {
        self.stream.demand()
    }

    /// What the tracks that flow are coded with, as they came last: pictures, and sound.
    pub fn codecs(&self) -> (Option<VideoCodec>, Option<AudioCodec>) {
        self.stream.codecs()
    }

    /// What has been announced by now.
    pub fn init(&self) -> Arc<Init> {
        self.stream.init()
    }

    /// Leaves the stream to a stand-in, without a moment in which it has no publisher. The stream is the stand-in's
    /// until its next publisher comes, which is never refused because of it: `conflict` says nothing of stand-ins, not
    /// even in `settings`. `None` if the stream is not this publisher's any more.
    pub fn stand_in(self, settings: PublishSettings, now: Instant) -> Option<Self> {
        let id = self.stream.stand_in(self.id, settings, now)?;
        Some(Self::new(Arc::clone(&self.stream), Arc::clone(&self.table), id))
    }

    /// Leaves the stream at `now`; the linger counts from here.
    pub fn leave(self, now: Instant) {
        self.leave_at(now);
    }

    fn leave_at(&self, now: Instant) {
        if self.stream.leave(self.id, now) {
            self.table.linger_began();
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // After `leave` the stream is not this publisher's any more, and this does nothing.
        self.leave_at(Instant::now());
    }
}
