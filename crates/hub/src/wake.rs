//! How readers and publishers learn that something has happened.

/// How a reader learns that there is something to read, or that the stream's [`Status`](crate::Status) changed.
///
/// Called on the publisher's thread, for each flush and reader: an implementation sets a flag or wakes a task, and no
/// more. A call says "since you last read", so read once after subscribing and once after each call. One call may still
/// come after the reader has been dropped.
pub trait Wake: Send + Sync + 'static {
    /// There is something new.
    fn wake(&self);
}
