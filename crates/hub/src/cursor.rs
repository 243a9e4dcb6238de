//! Where a reader is, and what it reads.

use std::time::Instant;

use weir_media::{Frame, Init};

use crate::sync::Arc;

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

/// What one [`Reader::read`](crate::Reader::read) brought. Kept by the caller and used again, so that reading allocates
/// nothing in the long run.
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
