//! Script data: its name, and `onMetaData`.

use std::{borrow::Cow, ops::Range};

use bytes::{BufMut, Bytes, BytesMut};
use weir_media::Content;

use crate::{
    Error,
    amf0::{Decoder, Object, Value, encode_property, marker},
    limits::BODY_BYTES_MAX,
};

const ON_META_DATA: &str = "onMetaData";

/// The first value of script data that a publisher wants kept and sent to viewers, as an AMF0 string. It is an
/// instruction to the server and no part of what viewers get.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

/// Longest name of a track that is taken over, in bytes: what a menu has room for.
const NAME_BYTES_MAX: usize = 100;

/// Longest language tag that is taken over (RFC 5646, 4.4.1).
const LANGUAGE_BYTES_MAX: usize = 35;

/// What a publisher says of one of its audio tracks, for people who choose one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AudioLabel {
    /// What it is called.
    pub name: Option<String>,
    /// Its language, as a tag of RFC 5646.
    pub language: Option<String>,
}

/// The properties of an `onMetaData` message.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata(Object);

impl Metadata {
    /// Reads script data, with or without `@setDataFrame`; `None` if it is something other than metadata, or metadata
    /// without an object.
    ///
    /// # Errors
    /// If it is not AMF0 within the limits of [`amf0::decode`](crate::amf0::decode).
    pub fn parse(body: &[u8]) -> Result<Option<Self>, Error> {
        let mut decoder = Decoder::new(strip(body));
        if decoder.value()?.as_str() != Some(ON_META_DATA) || decoder.rest().is_empty() {
            return Ok(None);
        }
        Ok(match decoder.value()? {
            Value::Object(object) | Value::EcmaArray(object) | Value::Typed { object, .. } => {
                Some(Self(object))
            }
            _ => None,
        })
    }

    /// All properties.
    pub fn properties(&self) -> &Object {
        &self.0
    }

    /// Whether the publisher says that there is audio; `None` if it says nothing about either kind.
    ///
    /// A hint, as the encoder saw it when it started. FFmpeg names only the kinds that it sends, so a kind that is not
    /// mentioned next to one that is counts as absent.
    pub fn has_audio(&self) -> Option<bool> {
        let [audio, video] = [self.says(&AUDIO), self.says(&VIDEO)];
        audio.or(video.map(|_| false))
    }

    /// Whether the publisher says that there is video; as [`Metadata::has_audio`].
    pub fn has_video(&self) -> Option<bool> {
        let [audio, video] = [self.says(&AUDIO), self.says(&VIDEO)];
        video.or(audio.map(|_| false))
    }

    /// What is said of an audio track in `audioTrackIdInfoMap` (Enhanced RTMP v2, "Enhancing onMetaData"). That leaves
    /// the properties of a track open: a name is taken from `name` or `title`, a language from `language` or `lang`.
    pub fn audio_label(&self, track: u8) -> AudioLabel {
        let map = self.0.get("audioTrackIdInfoMap").and_then(Value::as_object);
        let track = map.and_then(|map| map.get(&track.to_string())).and_then(Value::as_object);
        let text = |names: [&str; 2]| {
            let said = names.into_iter().find_map(|name| track?.get(name)?.as_str());
            said.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        AudioLabel {
            name: text(["name", "title"]).filter(|name| name.len() <= NAME_BYTES_MAX),
            language: text(["language", "lang"]).filter(|language| is_language(language)),
        }
    }

    /// What is said about one kind. The codec id is a number (a FourCC as one, in FFmpeg since Enhanced RTMP) or a name
    /// (Flash Media Live Encoder); 0 means none.
    fn says(&self, kind: &Kind) -> Option<bool> {
        let said = |name| match self.0.get(name)? {
            Value::Number(codec) => Some(*codec != 0.0),
            Value::String(codec) => Some(!codec.is_empty()),
            Value::Boolean(present) => Some(*present),
            tracks => tracks.as_object().map(|tracks| !tracks.is_empty()),
        };
        kind.properties.iter().find_map(|name| said(name))
    }
}

/// Whether this looks like a language tag: subtags of letters and digits, the first of letters.
fn is_language(text: &str) -> bool {
    let is_subtag = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let language = text.split('-').next().unwrap_or_default();
    text.len() <= LANGUAGE_BYTES_MAX
        && text.split('-').all(is_subtag)
        && language.len() >= 2
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// The properties that tell whether a kind of media is there, the most reliable first.
struct Kind {
    properties: [&'static str; 3],
}

const AUDIO: Kind = Kind { properties: ["audiocodecid", "hasAudio", "audioTrackIdInfoMap"] };
const VIDEO: Kind = Kind { properties: ["videocodecid", "hasVideo", "videoTrackIdInfoMap"] };

/// Takes `@setDataFrame` off script data, without a copy: what viewers get.
pub fn normalize(body: &Bytes) -> Bytes {
    body.slice_ref(strip(body))
}

/// The reverse: puts `@setDataFrame` before metadata, for a server that it is published to. FMS and those that follow
/// it keep metadata for later viewers only then.
///
/// Other script data comes back unchanged, and so does metadata that would be too long with it.
pub fn for_server(body: &[u8]) -> Cow<'_, [u8]> {
    const METADATA: &[u8] = b"\x02\x00\x0aonMetaData";
    if !body.starts_with(METADATA) || body.len() + SET_DATA_FRAME.len() > BODY_BYTES_MAX {
        return Cow::Borrowed(body);
    }
    Cow::Owned([SET_DATA_FRAME, body].concat())
}

fn strip(body: &[u8]) -> &[u8] {
    body.strip_prefix(SET_DATA_FRAME).unwrap_or(body)
}

/// Sets string properties (`server`, `server_version`) of an `onMetaData` message; its other properties keep their
/// bytes.
///
/// A body that is not such a message, or cannot be read, comes back unchanged.
pub fn with_server(body: &Bytes, properties: &[(&str, &str)]) -> Bytes {
    let Ok(Some(layout)) = Layout::parse(body) else { return body.clone() };
    let out = layout.rewrite(body, properties);
    if out.len() > BODY_BYTES_MAX { body.clone() } else { out }
}

/// What metadata says of sound and of pictures, as encoders call it.
const AUDIO_NAMES: &[&str] = &[
    "audiocodecid",
    "audiodatarate",
    "audiosamplerate",
    "audiosamplesize",
    "audiochannels",
    "stereo",
    "audioTrackIdInfoMap",
];
const VIDEO_NAMES: &[&str] =
    &["videocodecid", "videodatarate", "framerate", "width", "height", "videoTrackIdInfoMap"];

/// Has an `onMetaData` message tell of the kinds that there are: `hasAudio` and `hasVideo` are changed where they are
/// there and wrong, and what else is known to be about a kind that is not there is left out. Other properties keep
/// their bytes.
///
/// A body that is not such a message, or cannot be read, comes back unchanged.
pub fn with_tracks(body: &Bytes, audio: bool, video: bool) -> Bytes {
    let Ok(Some(layout)) = Layout::parse(body) else { return body.clone() };
    let is_there = |name: &str| match name {
        "hasAudio" => Some(audio),
        "hasVideo" => Some(video),
        _ => None,
    };
    let is_wrong = |name: &str| {
        (!audio && AUDIO_NAMES.contains(&name)) || (!video && VIDEO_NAMES.contains(&name))
    };
    let mut properties = Vec::with_capacity(body.len());
    let mut count: u32 = 0;
    for (name, range) in layout.properties.iter().filter(|(name, _)| !is_wrong(name)) {
        count = count.saturating_add(1);
        match is_there(name) {
            Some(is) => encode_property(name, &Value::Boolean(is), &mut properties),
            None => properties.extend_from_slice(&body[range.clone()]),
        }
    }
    if properties == body[layout.start..layout.end] {
        return body.clone();
    }
    let mut out = [&body[..layout.start], &properties, &body[layout.end..]].concat();
    if let Some(at) = layout.count {
        out[at..at + 4].copy_from_slice(&count.to_be_bytes());
    }
    if out.len() > BODY_BYTES_MAX { body.clone() } else { out.into() }
}

/// Where the parts of a metadata message are.
struct Layout<'a> {
    /// Where the count of properties is, if the object is an ECMA array.
    count: Option<usize>,
    /// Where the properties begin.
    start: usize,
    /// Each property's name and its bytes, the name included.
    properties: Vec<(Cow<'a, str>, Range<usize>)>,
    /// Where the properties end and the object end begins.
    end: usize,
}

impl<'a> Layout<'a> {
    fn parse(body: &'a [u8]) -> Result<Option<Self>, Error> {
        let prefix = body.len() - strip(body).len();
        let mut decoder = Decoder::new(strip(body));
        if decoder.value()?.as_str() != Some(ON_META_DATA) || decoder.rest().is_empty() {
            return Ok(None);
        }
        let count = match decoder.marker()? {
            marker::OBJECT => None,
            marker::ECMA_ARRAY => {
                let at = prefix + decoder.position();
                decoder.ecma_count()?;
                Some(at)
            }
            _ => return Ok(None),
        };
        let start = prefix + decoder.position();
        let mut properties = Vec::new();
        let mut end = start;
        while let Some(name) = decoder.property_name()? {
            decoder.value()?;
            let next = prefix + decoder.position();
            properties.push((name, end..next));
            end = next;
        }
        Ok(Some(Self { count, start, properties, end }))
    }

    fn rewrite(&self, body: &[u8], added: &[(&str, &str)]) -> Bytes {
        let mut tail = Vec::new();
        for (name, value) in added {
            encode_property(name, &Value::from(*value), &mut tail);
        }
        tail.extend_from_slice(&body[self.end..]);
        let mut out = BytesMut::with_capacity(self.end + tail.len());
        out.put_slice(&body[..self.start]);
        let mut count = added.len();
        for (_, range) in self.properties.iter().filter(|(name, _)| !is_named(added, name)) {
            out.put_slice(&body[range.clone()]);
            count += 1;
        }
        out.put_slice(&tail);
        if let Some(at) = self.count {
            let count = u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
            out[at..at + count.len()].copy_from_slice(&count);
        }
        out.freeze()
    }
}

fn is_named(properties: &[(&str, &str)], name: &str) -> bool {
    properties.iter().any(|(added, _)| *added == name)
}

/// What the name of script data says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) content: Content,
    /// What follows the name.
    pub(crate) payload: Range<usize>,
}

/// Reads the name of script data without `@setDataFrame`. What follows is not read: a metadata object that is broken is
/// still the publisher's metadata, and players read it as well as they can.
pub(crate) fn parse_name(body: &[u8]) -> Result<Script, Error> {
    let mut decoder = Decoder::new(body);
    if body.is_empty() {
        return Ok(Script { content: Content::Opaque, payload: 0..0 });
    }
    let content = match decoder.value()?.as_str() {
        Some(ON_META_DATA) => Content::Metadata,
        _ => Content::Data,
    };
    Ok(Script { content, payload: decoder.position()..body.len() })
}

#[cfg(test)]
mod tests;
