//! What comes of frames: segments, their parts, and what they need.

use std::time::Duration;

use bytes::Bytes;

use crate::error::Damage;

/// Bytes after which a segment is cut wherever it is: it is built in memory, and a publisher that never sends a second
/// key frame must not grow it. 32 MiB hold 10 s of 25 Mb/s.
pub const SEGMENT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Length at which a segment is cut wherever it is. The longest GOP that encoders make by default is 250 frames, 25 s
/// at ten frames a second; one longer than a minute is never meant for HLS, and each viewer would wait for it.
pub const SEGMENT_DURATION_MAX: Duration = Duration::from_secs(60);

/// What segments are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// MPEG-TS: each segment is whole in itself.
    Ts,
    /// Fragmented MP4, as CMAF has it: segments need an init segment, and can have parts.
    Mp4,
}

/// What comes out, in this order: `Init` where it is another one than before, `Begin`, parts, `Segment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The init segment of what follows; none in MPEG-TS.
    Init(Bytes),
    /// A segment begins. Without parts it is complete by now.
    Begin {
        /// Whether it does not continue the one before it: another codec configuration, another timeline, or lost
        /// frames.
        discontinuity: bool,
        /// When its first frame arrived, since the Unix epoch.
        program_date_time: Duration,
    },
    /// A part of it is there.
    Part {
        /// One fragment.
        data: Bytes,
        /// To the decoding time of the next part's first frame.
        duration: Duration,
        /// Whether decoding can begin with it.
        independent: bool,
    },
    /// It is complete.
    Segment(Segment),
}

/// A complete segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// All of it. In MPEG-TS it begins with the tables that a player needs; of parts it has their bytes one after the
    /// other.
    pub data: Bytes,
    /// From its first decoding time to that of the next segment; at an interruption, to the end of its last frame. The
    /// sum of its parts' durations.
    pub duration: Duration,
    /// As in [`Event::Begin`].
    pub discontinuity: bool,
    /// As in [`Event::Begin`].
    pub program_date_time: Duration,
    /// How many pictures it has.
    pub pictures: u32,
}

/// Frames that were left out because they are damaged, or of another codec than their track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// How many.
    pub frames: u64,
    /// What was wrong with the newest one.
    pub last: Damage,
}
