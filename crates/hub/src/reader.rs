//! The reading end of a stream: a cursor.

use std::{sync::Weak, time::Instant};

use weir_media::{AudioCodec, Init, StreamKey, VideoCodec};

use crate::{
    Batch, Status, Tracks, cursor::Cursor, stream::Stream, stream_table::StreamTable, sync::Arc,
};

/// A reader's place in a stream. Dropping it ends its demand.
pub struct Reader {
    stream: Arc<Stream>,
    table: Weak<StreamTable>,
    id: u64,
    cursor: Cursor,
}

impl Reader {
    pub(crate) fn new(
        stream: Arc<Stream>,
        table: Weak<StreamTable>,
        id: u64,
        cursor: Cursor,
    ) -> Self {
        Self { stream, table, id, cursor }
    }

    /// Replaces the contents of `batch` with what is new. After [`Status::Ended`] nothing more comes.
    pub fn read(&mut self, batch: &mut Batch) -> Status {
        self.read_some(batch, usize::MAX)
    }

    /// The same, for readers that keep `batch` while they wait for something else: no more frames than begin within
    /// `bytes_max`, because what they hold is not the log's any more when the log drops it.
    /// [`Batch::has_more`] says that they need not wait for the next call of [`Wake`](crate::Wake).
    pub fn read_some(&mut self, batch: &mut Batch, bytes_max: usize) -> Status {
        batch.items.clear();
        batch.skipped = 0;
        batch.since = None;
        batch.has_more = false;
        self.stream.read(&mut self.cursor, batch, bytes_max)
    }

    /// What the stream is doing.
    pub fn status(&self) -> Status {
        self.stream.status()
    }

    /// How many publishers the stream has had, the present one included.
    pub fn publishers(&self) -> u64 {
        self.stream.publishers()
    }

    /// Whether this reader has a place to start at, so that [`Reader::read`] would bring (or has brought) something.
    pub fn is_started(&self) -> bool {
        self.stream.is_started(self.cursor)
    }

    /// Since when frames wait unannounced for a flush.
    pub fn pending_since(&self) -> Option<Instant> {
        self.stream.pending_since()
    }

    /// The kinds of track that flow: of which something came since a moment ([`SILENT`](crate::SILENT)) before the
    /// newest group.
    pub fn tracks(&self) -> Tracks {
        self.stream.tracks()
    }

    /// What the tracks that flow are coded with, as they came last: pictures, and sound.
    pub fn codecs(&self) -> (Option<VideoCodec>, Option<AudioCodec>) {
        self.stream.codecs()
    }

    /// What the present publisher has announced by now.
    pub fn init(&self) -> Arc<Init> {
        self.stream.init()
    }

    /// The stream's name.
    pub fn key(&self) -> &StreamKey {
        &self.stream.key
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let last_demand = self.stream.remove_reader(self.id);
        if let Some(table) = self.table.upgrade() {
            table.reader_left(&self.stream, last_demand);
        }
    }
}
