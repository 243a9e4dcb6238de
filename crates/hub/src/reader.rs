//! The reading end of a stream: a cursor.

use std::{sync::Weak, time::Instant};

use weir_media::{Frame, Init, StreamKey};

use crate::{
    Tracks,
    registry::Shelf,
    stream::{Status, Stream},
    sync::Arc,
};

/// How a reader learns that there is something to read, or that the stream's [`Status`] changed.
///
/// Called on the publisher's thread, for each flush and reader: an implementation sets a flag or wakes a task, and no
/// more. A call says "since you last read", so read once after subscribing and once after each call. One call may still
/// come after the reader has been dropped.
pub trait Wake: Send + Sync + 'static {
    /// There is something new.
    fn wake(&self);
}

/// Where a new reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the newest group that is there: a picture at once.
    NewestGroup,
    /// At the next group that comes: the least delay. On a stream that is still held back until its tracks are known,
    /// the newest group of that moment.
    NextGroup,
    /// At the oldest group that is there: for readers that want all there is, and not to be at the live edge.
    OldestGroup,
}

/// A frame as a reader gets it.
#[derive(Clone, Debug)]
pub struct Item {
    /// The frame.
    pub frame: Frame,
    /// Set when a group starts here: what somebody who starts here must know first. A reader's first item, and its
    /// first after a skip, always start a group.
    pub group: Option<Arc<Init>>,
}

/// What one [`Reader::read`] brought. Kept by the caller and used again, so that reading allocates nothing in the long
/// run.
#[derive(Debug, Default)]
pub struct Batch {
    /// New frames, oldest first.
    pub items: Vec<Item>,
    /// Frames that the reader missed before `items`, because it was too slow.
    pub skipped: u64,
    /// When the first of `items` came from the publisher; none where it was there before the reader, who starts with
    /// it.
    pub since: Option<Instant>,
    /// Whether there was more to read than was asked for.
    pub has_more: bool,
}

/// A reader's place in a stream. Dropping it ends its demand.
pub struct Reader {
    stream: Arc<Stream>,
    shelf: Weak<Shelf>,
    id: u64,
    cursor: Cursor,
}

/// Where a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// Has not started: wants the newest group, if that is at or after this entry.
    Seeking(u64),
    /// Has not started: wants the oldest group.
    SeekingOldest,
    /// Has read everything before this entry.
    At(u64),
}

impl Reader {
    pub(crate) fn new(stream: Arc<Stream>, shelf: Weak<Shelf>, id: u64, cursor: Cursor) -> Self {
        Self { stream, shelf, id, cursor }
    }

    /// Replaces the contents of `batch` with what is new. After [`Status::Ended`] nothing more comes.
    pub fn read(&mut self, batch: &mut Batch) -> Status {
        self.read_some(batch, usize::MAX)
    }

    /// The same, for readers that keep `batch` while they wait for something else: no more frames than begin within
    /// `bytes_max`, because what they hold is not the log's any more when the log drops it.
    /// [`Batch::has_more`] says that they need not wait for the next call of [`Wake`].
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
        if let Some(shelf) = self.shelf.upgrade() {
            shelf.reader_left(&self.stream, last_demand);
        }
    }
}
