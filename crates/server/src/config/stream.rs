//! The settings of streams, which every vhost can have its own of.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};

use super::value;

/// Declares a section that vhosts can override: the section with its defaults, and its partial form, in which every
/// key may be missing. Both come from one list, so that a key cannot be forgotten in one of them. Behind the default
/// stands the function that reads the key.
macro_rules! overridable {
    (
        $(#[doc = $doc:literal])*
        $section:ident / $partial:ident {
            $( $(#[doc = $key_doc:literal])* $key:ident: $type:ty = $default:expr, $read:literal; )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $section { $( $(#[doc = $key_doc])* pub $key: $type, )* }

        #[doc = concat!("The keys of [`", stringify!($section), "`] that a vhost sets.")]
        #[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $partial {
            $( $(#[doc = $key_doc])* #[serde(deserialize_with = $read)] pub $key: Option<$type>, )*
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $( $key: $default, )* }
            }
        }

        impl $partial {
            /// These keys, and `base` for the others.
            pub fn over(&self, base: &$section) -> $section {
                let Self { $( $key, )* } = self.clone();
                $section { $( $key: $key.unwrap_or_else(|| base.$key.clone()), )* }
            }
        }

        impl<'de> Deserialize<'de> for $section {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok($partial::deserialize(from)?.over(&Self::default()))
            }
        }
    };
}

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;

/// Encoders send a keep-alive or a frame each second at least; less would cut live ones.
const IDLE_TIMEOUT_MIN: u64 = SECOND;
/// A stream that nobody publishes keeps its log, and a silent connection its buffers.
const ABSENCE_MAX: u64 = HOUR;
/// A player on a mobile network stops reading for a second now and then.
const STALL_TIMEOUT_MIN: u64 = SECOND;
/// Below one group of pictures nearly every viewer would skip.
const WINDOW_MIN: u64 = SECOND;
/// What a viewer may fall behind is memory of the stream.
const WINDOW_MAX: u64 = 600 * SECOND;
/// Shorter segments are more requests than media.
const SEGMENT_MIN: u64 = SECOND / 2;
/// A viewer starts three segments behind (RFC 8216 section 6.3.3).
const SEGMENT_MAX: u64 = 60 * SECOND;
/// A live playlist has to hold three target durations (RFC 8216 section 6.2.2).
const SEGMENTS_MIN: u64 = 3;
/// Every viewer fetches the whole playlist once a segment.
const SEGMENTS_MAX: u64 = 1000;

overridable! {
    /// How publishers are treated.
    Publish / PublishOverride {
        /// How long a stream outlives its publisher: one that comes back in time finds its viewers still there.
        linger: Duration = Duration::from_secs(10), "value::duration::<_, _, 0, ABSENCE_MAX>";
        /// How long a publisher may send nothing before it is cut.
        idle_timeout: Duration = Duration::from_secs(10), "value::duration::<_, _, IDLE_TIMEOUT_MIN, ABSENCE_MAX>";
        /// What happens when a stream that has a publisher is published again.
        conflict: Conflict = Conflict::TakeoverIfIdle, "value::required";
    }
}

overridable! {
    /// How viewers are treated.
    Play / PlayOverride {
        /// When what a publisher sent is passed on.
        flush: Flush = Flush::Video, "value::required";
        /// How long a viewer waits for a stream that nobody publishes.
        wait: Duration = Duration::from_secs(10), "value::duration::<_, _, 0, ABSENCE_MAX>";
        /// Whether a new viewer starts with the latest group of pictures, and not with the next one.
        gop: bool = true, "value::flag";
        /// How long a viewer may take nothing of what is sent before it is cut.
        stall_timeout: Duration = Duration::from_secs(30), "value::duration::<_, _, STALL_TIMEOUT_MIN, ABSENCE_MAX>";
        /// How far a viewer may fall behind before it skips to the newest group of pictures.
        window: Duration = Duration::from_secs(10), "value::duration::<_, _, WINDOW_MIN, WINDOW_MAX>";
    }
}

overridable! {
    /// The HLS output.
    Hls / HlsOverride {
        /// Whether streams are segmented.
        enabled: bool = true, "value::flag";
        /// Where segments and playlists are written.
        dir: PathBuf = PathBuf::from("./data/hls"), "value::path";
        /// How long a segment is at least; it ends before the next key frame.
        segment: Duration = Duration::from_secs(2), "value::duration::<_, _, SEGMENT_MIN, SEGMENT_MAX>";
        /// How many segments a playlist lists.
        window: usize = 6, "value::whole::<_, usize, _, SEGMENTS_MIN, SEGMENTS_MAX>";
    }
}

/// What happens when a stream that has a publisher is published again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The newcomer is refused.
    Reject,
    /// The newcomer replaces the publisher.
    Takeover,
    /// The newcomer replaces a publisher that is silent or half-dead, and is refused otherwise.
    TakeoverIfIdle,
}

/// When what a publisher sent is passed on to viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Each frame at once.
    Each,
    /// Each video frame at once, and audio with the next video frame: half the sends, and no picture waits.
    Video,
    /// Together what came in this time.
    Every(Duration),
}
