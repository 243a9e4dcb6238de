//! The settings of streams, which every vhost can have its own of.

use std::{path::PathBuf, time::Duration};

use serde_json::json;

use super::{
    kind::{Element, Json, Many, Maybe, Secrets, Text, section},
    mount::{LiveFormat, Mount},
    multitrack::{Encoder, Server, Step},
    record::MaybeTemplate,
    scalar::{DURATION_PATTERN, File, Folder, Switch, Time, Whole, Word, Words},
    value::{self, Human, Problem},
};

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
/// The longest a video frame may wait to be merged with others; SRS users go up to 1 s (`mw_latency`).
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// Shorter segments are more requests than media.
const SEGMENT_MIN: u64 = SECOND / 2;
/// A viewer starts three segments behind (RFC 8216 section 6.3.3).
const SEGMENT_MAX: u64 = 60 * SECOND;
/// A live playlist has to hold three target durations (RFC 8216 section 6.2.2).
const SEGMENTS_MIN: u64 = 3;
/// Who has a key has all segments of it: with segments of two seconds, five hours.
const SEGMENTS_PER_KEY_MAX: u64 = 10_000;
/// Every viewer fetches the whole playlist once a segment.
const SEGMENTS_MAX: u64 = 1000;
/// Each viewer of low latency asks twice in this time, for the playlist and for the part; shorter parts are hardly more
/// than the headers of the requests for them.
const PART_MIN: Duration = Duration::from_millis(100);
/// Longest end of a stream's name, in bytes: what tells sizes apart is a word.
const ENDING_MAX: usize = 64;
/// No part is longer than its segment.
const PART_MAX: Duration = Duration::from_millis(SEGMENT_MAX);

/// Whoever waits longer than a day for a viewer waits for ever.
const UNWATCHED_MAX: u64 = 24 * HOUR;

section! {
    /// How publishers are treated.
    Publish / PublishOverride {
        /// How long a stream outlives its publisher: one that returns in time finds its viewers still connected.
        linger: Duration = Duration::from_secs(10), Time<0, ABSENCE_MAX>;
        /// How long a publisher may send nothing before it is disconnected.
        idle_timeout: Duration = Duration::from_secs(10), Time<IDLE_TIMEOUT_MIN, ABSENCE_MAX>;
        /// How long a publisher at an origin may go unwatched before it is disconnected; 0s for ever.
        unwatched_timeout: Duration = Duration::ZERO, Time<0, UNWATCHED_MAX>;
        /// What happens when a stream that has a publisher is published again.
        conflict: Conflict = Conflict::TakeoverIfIdle, Word<Conflict>;
        /// The FLV file that viewers are shown while the publisher is away, for `linger`; none shows nothing.
        fallback: Option<PathBuf> = None, Maybe<File>;
        /// The sizes that OBS is told to send side by side when it asks for the configuration of a multitrack stream,
        /// the largest first; empty for none.
        multitrack: Vec<Step> = Vec::new(), Many<Step>;
        /// What encodes them.
        multitrack_encoder: Encoder = Encoder::Auto, Encoder;
        /// The server that they are sent to; empty for the host that OBS has asked.
        multitrack_server: String = String::new(), Server;
    }
}

section! {
    /// How viewers are treated.
    Play / PlayOverride {
        /// When frames are sent to viewers.
        flush: Flush = Flush::Video, Flush;
        /// How long a viewer waits for a stream that nobody publishes.
        wait: Duration = Duration::from_secs(10), Time<0, ABSENCE_MAX>;
        /// Whether a new viewer starts with the latest group of pictures, instead of the next one.
        gop: bool = true, Switch;
        /// How long a viewer may read nothing before it is disconnected.
        stall_timeout: Duration = Duration::from_secs(30), Time<STALL_TIMEOUT_MIN, ABSENCE_MAX>;
        /// How far a viewer may fall behind before it skips to the newest group of pictures.
        window: Duration = Duration::from_secs(10), Time<WINDOW_MIN, WINDOW_MAX>;
        /// In which formats streams are served as one file without an end, over HTTP and WebSocket.
        formats: Vec<LiveFormat> = LiveFormat::all(), Many<Word<LiveFormat>>;
        /// Paths under which streams are found in a format, in place of `/APP/STREAM.EXTENSION`. The first that fits
        /// counts.
        mounts: Vec<Mount> = Vec::new(), Many<Mount>;
    }
}

section! {
    /// The HLS output.
    Hls / HlsOverride {
        /// Whether streams are segmented.
        enabled: bool = true, Switch;
        /// Where segments and playlists are written; nowhere, if it is empty.
        dir: PathBuf = PathBuf::from("./data/hls"), Folder;
        /// Minimum length of a segment; it ends before the next key frame.
        segment: Duration = Duration::from_secs(2), Time<SEGMENT_MIN, SEGMENT_MAX>;
        /// How many segments a playlist lists.
        window: usize = 6, Whole<usize, SEGMENTS_MIN, SEGMENTS_MAX>;
        /// The container of the segments.
        container: Container = Container::Auto, Word<Container>;
        /// Length of the parts of a segment, for low latency; 0 for no parts.
        part: Duration = Duration::ZERO, Parts;
        /// Streams that are published one by one and offered as one to choose from: what their names have after the
        /// name that viewers ask for.
        ladder: Vec<String> = Vec::new(), Many<Ending>;
        /// Whether segments are encrypted (AES-128). Then they have no parts.
        encrypt: bool = false, Switch;
        /// After how many segments the key is another one.
        segments_per_key: u32 = 10, Whole<u32, 1, SEGMENTS_PER_KEY_MAX>;
        /// Where players find the folders of apps with the keys; empty for where the playlist is.
        key_url: String = String::new(), KeyUrl;
        /// Where the playlist that players load first is below `dir` and in URLs: a template of `{vhost}`, `{app}` and
        /// `{stream}`; empty for `{app}/{stream}.m3u8`.
        playlist_path: String = String::new(), MaybeTemplate;
        /// Where segments are below `dir` and in URLs: a template such as `{app}/{stream}-{number}.ts`; empty for names
        /// that nobody can guess, beside the playlist.
        segment_path: String = String::new(), MaybeTemplate;
        /// What stands before the paths of segments in playlists; empty for relative paths.
        segment_url: String = String::new(), KeyUrl;
    }
}

impl Hls {
    /// Length of the parts of a segment, if there are any.
    pub fn parts(&self) -> Option<Duration> {
        Some(self.part).filter(|part| !part.is_zero() && !self.encrypt)
    }
}

/// What HLS segments are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// MPEG-TS, if it carries all tracks of the stream and there are no parts; otherwise fragmented MP4.
    Auto,
    /// MPEG-TS.
    Ts,
    /// Fragmented MP4.
    Fmp4,
}

/// 0, or a duration that a part may have.
#[derive(Debug)]
pub struct Parts;

/// What the name of one stream has after the name of another.
#[derive(Debug)]
pub struct Ending;

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

impl Words for Conflict {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("reject", Self::Reject),
        ("takeover", Self::Takeover),
        ("takeover_if_idle", Self::TakeoverIfIdle),
    ];
}

impl Words for Container {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("ts", Self::Ts), ("fmp4", Self::Fmp4)];
}

impl Text for Parts {
    type Value = Duration;

    fn parse(text: &str) -> Result<Duration, Problem> {
        let (min, max) = (Human(PART_MIN), Human(PART_MAX));
        let fix = format!("use 0s for no parts, or a duration from {min} to {max}, such as 200ms");
        let duration = value::parse_duration(text).map_err(|what| Problem::new(what, &*fix))?;
        if duration.is_zero() || (PART_MIN..=PART_MAX).contains(&duration) {
            return Ok(duration);
        }
        let (than, limit) = if duration < PART_MIN { ("shorter", min) } else { ("longer", max) };
        Err(Problem::new(format!("{text} is {than} than {limit}"), fix))
    }

    fn show(value: &Duration, _: Secrets) -> Json {
        Human(*value).to_string().into()
    }

    fn schema() -> Json {
        let range = format!("0s, or from {} to {}.", Human(PART_MIN), Human(PART_MAX));
        json!({ "type": "string", "pattern": DURATION_PATTERN, "description": range })
    }
}

impl Text for Ending {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        let fix = "write what the names of the streams have after the common part, such as _720p";
        if text.contains('/') {
            return Err(Problem::new("has a slash: the streams of a ladder are in one app", fix));
        }
        if text.len() > ENDING_MAX {
            return Err(Problem::new(format!("is longer than {ENDING_MAX} bytes"), fix));
        }
        Ok(text.to_owned())
    }

    fn show(value: &String, _: Secrets) -> Json {
        value.clone().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[^/]*$", "maxLength": ENDING_MAX })
    }
}

impl Element for Ending {
    const EXPECTED: &'static str = "the end of a stream's name or a list of them";
    const WRITE: &'static str = "the end of a name such as _720p; [] means none";
    const MAY_BE_NUMBER: bool = true;
}

/// The beginning of a URL, or nothing.
#[derive(Debug)]
pub struct KeyUrl;

/// The URL is in the playlist, with each segment.
const KEY_URL_MAX: usize = 500;

impl Text for KeyUrl {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        const FIX: &str =
            "write the beginning of a URL, such as https://keys.example.com/weir, or nothing";
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_plain =
            |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '?' | '#' | '\\');
        let is_url = rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(is_plain));
        if text.len() > KEY_URL_MAX {
            return Err(Problem::new(format!("longer than {KEY_URL_MAX} bytes"), FIX));
        }
        match text.is_empty() || is_url {
            true => Ok(text.trim_end_matches('/').to_owned()),
            false => {
                Err(Problem::new(format!("`{text}` is no URL that a file can be added to"), FIX))
            }
        }
    }

    fn show(value: &String, _: Secrets) -> Json {
        value.as_str().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(https?://[^\"<>?#\\\\]+)?$" })
    }
}

impl Text for Flush {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        const FIX: &str = "use 0ms, video, or a duration up to 1s";
        if text == "video" {
            return Ok(Self::Video);
        }
        match value::parse_duration(text) {
            Ok(Duration::ZERO) => Ok(Self::Each),
            Ok(duration) if duration <= FLUSH_MAX => Ok(Self::Every(duration)),
            Ok(_) => {
                let max = Human(FLUSH_MAX);
                Err(Problem::new(format!("{text} is longer than {max}"), FIX))
            }
            Err(what) => Err(Problem::new(what, FIX)),
        }
    }

    fn show(value: &Self, _: Secrets) -> Json {
        match value {
            Self::Each => "0ms".into(),
            Self::Video => "video".into(),
            Self::Every(period) => Human(*period).to_string().into(),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [
            { "const": "video" },
            { "type": "string", "pattern": DURATION_PATTERN, "description": "A duration up to 1s." },
        ] })
    }
}
