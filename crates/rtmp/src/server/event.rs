//! What a server session reports.

use weir_flv::{
    Tag,
    amf0::{Object, Value},
};

use crate::{Capabilities, LeftOut, url::StreamUrl};

/// Something that the client asked for or sent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The client connected and was told so. For logs and hooks; nothing has to be answered.
    Connected(Box<ConnectInfo>),
    /// The client wants to publish: answer with `accept_publish` or `reject_publish`.
    Publish {
        /// The message stream to answer on.
        stream_id: u32,
        /// What it wants to publish.
        url: StreamUrl,
        /// `live`, `record` or `append`; `live` if the client did not say.
        kind: String,
    },
    /// The client wants to play: answer with `accept_play` or `reject_play`.
    Play {
        /// The message stream to answer on.
        stream_id: u32,
        /// What it wants to play.
        url: StreamUrl,
        /// Where to begin, in seconds; negative values ask for a live stream (-1), or for a live or else a recorded
        /// one (-2). FFmpeg and librtmp send milliseconds: -1000, -2000.
        start: f64,
        /// How much to play, in the unit of `start`; negative for all.
        duration: f64,
        /// Whether to forget an earlier playlist.
        reset: bool,
    },
    /// An edge asks whether a viewer may play: answer with `answer_question` or `fail_question`.
    Question {
        /// Joins the answer to the question.
        id: f64,
        /// What the viewer wants to play.
        url: StreamUrl,
        /// The edges that the question has come through, as text.
        hops: String,
        /// The page that the viewer is on, as it says; empty if it does not.
        page_url: String,
    },
    /// A message of the stream that is published on `stream_id`. Aggregate messages are split into their tags; script
    /// data is as it was sent, with `@setDataFrame` in front if the client had it.
    Media {
        /// The message stream of the publish, on whichever one the client sent it.
        stream_id: u32,
        /// The message.
        tag: Tag,
    },
    /// Messages of a publisher, or parts of one, that hold nothing to pass on.
    LeftOut {
        /// The message stream.
        stream_id: u32,
        /// How many, one after the other.
        count: u32,
        /// What is wrong with them.
        why: LeftOut,
    },
    /// The client ended its publish, or no longer waits for an answer.
    EndPublish {
        /// The message stream.
        stream_id: u32,
    },
    /// The client ended its play, or no longer waits for an answer.
    EndPlay {
        /// The message stream.
        stream_id: u32,
    },
    /// The player paused or resumed. It was told that it did.
    Pause {
        /// The message stream.
        stream_id: u32,
        /// Whether it paused.
        paused: bool,
        /// The player's position on the stream's timeline, in milliseconds.
        at_millis: f64,
    },
    /// The player wants audio, or wants none.
    ReceiveAudio {
        /// The message stream.
        stream_id: u32,
        /// Whether it wants it.
        enabled: bool,
    },
    /// The player wants video, or wants none.
    ReceiveVideo {
        /// The message stream.
        stream_id: u32,
        /// Whether it wants it.
        enabled: bool,
    },
    /// The player told how much it buffers.
    BufferLength {
        /// The message stream.
        stream_id: u32,
        /// The length in milliseconds.
        millis: u32,
    },
}

/// Fields in [`ConnectInfo::other`]. FFmpeg sends six, Flash Player eight.
pub const OTHER_FIELDS_MAX: usize = 32;

/// The longest name or string in [`ConnectInfo::other`]: a list of some dozen ids.
pub const OTHER_BYTES_MAX: usize = 1024;

/// What a client says about itself in `connect`. Nothing of it is verified.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectInfo {
    /// The app as the client split it off; [`StreamUrl`] counts.
    pub app: String,
    /// The URL it connects to, without the stream.
    pub tc_url: String,
    /// The page it is embedded in; empty if none.
    pub page_url: String,
    /// The Flash file it runs in; empty if none.
    pub swf_url: String,
    /// Its name and version: `FMLE/3.0 (compatible; FMSc/1.0)`, `LNX 9,0,124,2`, ...
    pub flash_ver: String,
    /// Enhanced RTMP capabilities, if it announced any.
    pub enhanced: Option<Capabilities>,
    /// The other fields of the command object that are numbers, truth values or strings: the first
    /// [`OTHER_FIELDS_MAX`], without those that are longer than [`OTHER_BYTES_MAX`].
    pub other: Object,
}

impl ConnectInfo {
    /// What the command object says.
    pub(super) fn of(object: &Object) -> Self {
        let text = |name| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_other = |&(name, value): &(&str, &Value)| {
            let fits = match value {
                Value::Number(_) | Value::Boolean(_) => true,
                Value::String(text) => text.len() <= OTHER_BYTES_MAX,
                _ => false,
            };
            fits && name.len() <= OTHER_BYTES_MAX && !NAMES.contains(&name)
        };
        let other = object.iter().filter(is_other).take(OTHER_FIELDS_MAX);
        Self {
            app: text(NAMES[0]),
            tc_url: text(NAMES[1]),
            page_url: text(NAMES[2]),
            swf_url: text(NAMES[3]),
            flash_ver: text(NAMES[4]),
            enhanced: Capabilities::announced(object),
            other: other.map(|(name, value)| (name, value.clone())).collect(),
        }
    }
}

/// The names of the command object's fields that [`ConnectInfo`] has fields for.
const NAMES: [&str; 5] = ["app", "tcUrl", "pageUrl", "swfUrl", "flashVer"];

/// Why a publish is refused; the code that the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishRefusal {
    /// `NetStream.Publish.BadName`: somebody else publishes under this name, or it is no valid name.
    BadName,
    /// `NetStream.Publish.Denied`: the client may not publish.
    Denied,
    /// `NetStream.Publish.Failed`: the server cannot take the stream now.
    Failed,
}

impl PublishRefusal {
    /// The status code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadName => "NetStream.Publish.BadName",
            Self::Denied => "NetStream.Publish.Denied",
            Self::Failed => "NetStream.Publish.Failed",
        }
    }
}

/// Why a play is refused; the code that the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlayRefusal {
    /// `NetStream.Play.StreamNotFound`: nobody publishes it.
    StreamNotFound,
    /// `NetStream.Play.Failed`: the client may not play, or the server cannot serve it now.
    Failed,
}

impl PlayRefusal {
    /// The status code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::StreamNotFound => "NetStream.Play.StreamNotFound",
            Self::Failed => "NetStream.Play.Failed",
        }
    }
}
