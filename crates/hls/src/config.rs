//! What the caller chooses: lengths and names.

use std::time::Duration;

/// How a stream is segmented and listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Segment length aimed at: a segment ends at the first key frame that is at least this far from its start.
    pub target: Duration,
    /// Segments listed. More are listed while fewer would last less than three target durations (RFC 8216, 6.2.2).
    pub window: usize,
    /// The stream's name in the names of its segments ([`SegmentName`](crate::SegmentName)).
    pub name: String,
    /// What stands before the files of keys in their URIs; nothing if they are beside the playlist.
    pub key_base: String,
}

impl Config {
    /// Segments of 2 s, six of them listed.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            target: Duration::from_secs(2),
            window: 6,
            name: name.into(),
            key_base: String::new(),
        }
    }
}
