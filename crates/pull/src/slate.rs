//! What a file has to be to stand in for a stream.

use std::path::Path;

use weir_config::file;
use weir_media::{AudioCodec, Content, Init, InitSlot, Timestamp, Track, VideoCodec};

use crate::tags::Tags;

/// How much of a file is looked at, in milliseconds of its time and in bytes of its tags. What begins later is not
/// known.
const LOOK_MILLIS: u32 = 3000;
const LOOK_BYTES: usize = 16 * 1024 * 1024;

/// What the tracks of a stream or a file are coded with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Its pictures, if there are some.
    pub video: Option<VideoCodec>,
    /// Its sound, if there is some.
    pub audio: Option<AudioCodec>,
}

impl Kinds {
    /// Those of the file at `path`, by its first seconds. It may wait for the disk.
    ///
    /// # Errors
    /// When it cannot be read, is no FLV, or a viewer cannot start at its beginning: a sentence.
    pub fn of_file(path: &Path) -> Result<Self, String> {
        let file = file::open(path).map_err(|error| format!("it cannot be opened: {error}"))?;
        let (mut tags, mut kinds) = (Tags::new(Box::new(file), 0), Self::default());
        let (mut first, mut bytes, mut has_key) = (None, 0, false);
        while bytes < LOOK_BYTES {
            let Some(tag) = tags.read().map_err(|why| why.to_string())? else { break };
            bytes += tag.body.len();
            let Ok(frame) = weir_flv::to_frame(&tag, Timestamp::ZERO, 0) else { continue };
            let is_media = matches!(frame.content, Content::Video { .. } | Content::Audio(_));
            if is_media
                && tag.timestamp.saturating_sub(*first.get_or_insert(tag.timestamp)) > LOOK_MILLIS
            {
                break;
            }
            match frame.content {
                Content::Video { codec, key, .. } => {
                    kinds.video = Some(codec);
                    has_key |= key;
                }
                Content::Audio(codec) => kinds.audio = Some(codec),
                _ => {}
            }
        }
        match kinds {
            Self { video: None, audio: None } => Err("it has no media".to_owned()),
            Self { video: Some(_), .. } if !has_key => {
                Err("it has no key frame at its beginning".to_owned())
            }
            kinds => Ok(kinds),
        }
    }

    /// Whether a file of these can stand in for a stream of `others`, of which `init` is known.
    ///
    /// # Errors
    /// Why it cannot: the end of a sentence.
    pub fn stands_in_for(self, others: Self, init: &Init) -> Result<(), String> {
        let more = |frame: &weir_media::Frame| {
            matches!(
                frame.init_slot(),
                Some(InitSlot::Config(Track::Video(1..) | Track::Audio(1..)))
            )
        };
        if init.frames().any(more) {
            return Err("the stream has several tracks of a kind".to_owned());
        }
        if others == Self::default() {
            return Err("the stream has had no media".to_owned());
        }
        if self != others {
            return Err(format!("the file has {self}, the stream {others}"));
        }
        Ok(())
    }
}

impl std::fmt::Display for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.video, self.audio) {
            (Some(video), Some(audio)) => write!(f, "{video} and {audio}"),
            (Some(video), None) => write!(f, "{video} without sound"),
            (None, Some(audio)) => write!(f, "{audio} without pictures"),
            (None, None) => f.write_str("no media"),
        }
    }
}
