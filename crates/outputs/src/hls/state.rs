//! What there is of a stream's HLS, and how long it is kept.

use std::time::Duration;

use weir_hub::Status;

/// How long the files of an ended stream stay, as SRS's `hls_dispose`: viewers play to the end, and a publisher that
/// returns continues the playlist.
pub const DISPOSE: Duration = Duration::from_secs(120);

/// What there is of a stream's HLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No segment is complete yet.
    Starting,
    /// There is a playlist.
    Playable,
    /// Segments cannot be made, and whatever the playlist lists has been played by now; the sentence says why.
    Failing(String),
    /// There is one, without a track that MPEG-TS cannot carry; the sentence says which.
    Partly(String),
    /// Nothing that MPEG-TS can carry; the sentence says why.
    Unsupported(String),
}

impl State {
    /// Whether there is a playlist.
    pub const fn is_playable(&self) -> bool {
        matches!(self, Self::Playable | Self::Partly(_))
    }
}

/// Whether the process is going to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stopping {
    /// It is not.
    No,
    /// Each stream is written as long as it has its publisher.
    WithPublishers,
    /// All that there is is written now.
    Now,
}

/// Whether the stream has a publisher, or had one a moment ago.
pub const fn is_published(status: Status) -> bool {
    matches!(status, Status::Live | Status::Lingering)
}
