//! Why a stream cannot be had in a format, and in which it can.

use std::fmt;

use weir_hls::{Ended, EndlessForm};
use weir_media::{AudioCodec, VideoCodec};

use crate::format::Container;

/// Why a stream cannot be had in a format. Shown, it says where it can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    why: String,
    /// The extensions of what has room for the stream, the best first.
    instead: Vec<&'static str>,
}

/// What the tracks of a stream are coded with.
pub type Codecs = (Option<VideoCodec>, Option<AudioCodec>);

impl Unfit {
    /// Whether `form` has no room for a stream of these tracks: a file of sound goes without pictures, and no other
    /// goes without anything.
    pub(crate) fn check(form: EndlessForm, codecs: Codecs) -> Result<(), Self> {
        why_not(form, codecs).map_or(Ok(()), |why| Err(Self::new(why, codecs)))
    }

    /// What has come of the stream by now cannot be in a file.
    pub(crate) fn ended(why: Ended, codecs: Codecs) -> Self {
        Self::new(why.to_string(), codecs)
    }

    fn new(why: String, codecs: Codecs) -> Self {
        let fits = |container: &Container| match container {
            Container::Flv => true,
            Container::Endless(form) => why_not(*form, codecs).is_none(),
        };
        let fitting = Container::ALL.into_iter().filter(fits);
        Self { why, instead: fitting.map(Container::extension).collect() }
    }
}

fn why_not(form: EndlessForm, (video, audio): Codecs) -> Option<String> {
    if !form.has_pictures() {
        return match audio {
            None => Some("the stream has no sound".to_owned()),
            Some(codec) if form.carries_audio(codec) => None,
            Some(codec) => Some(format!("the stream's sound is {codec}")),
        };
    }
    let video = video.filter(|codec| !form.carries_video(*codec)).map(|codec| codec.to_string());
    let audio = audio.filter(|codec| !form.carries_audio(*codec)).map(|codec| codec.to_string());
    let codecs: Vec<_> = [video, audio].into_iter().flatten().collect();
    (!codecs.is_empty()).then(|| format!("{} cannot carry {}", form.name(), codecs.join(" and ")))
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { why, instead } = self;
        write!(f, "{why}; it can be played as .{}", instead.join(", ."))
    }
}

impl std::error::Error for Unfit {}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(form: EndlessForm, video: Option<VideoCodec>, audio: Option<AudioCodec>) -> String {
        Unfit::check(form, (video, audio))
            .map_or_else(|unfit| unfit.to_string(), |()| String::new())
    }

    #[test]
    fn what_a_file_has_no_room_for_is_named_and_where_there_is_room() {
        use {AudioCodec as A, EndlessForm as F, VideoCodec as V};
        let av1 = said(F::Ts, Some(V::Av1), Some(A::Opus));
        assert_eq!(av1, "MPEG-TS cannot carry AV1 and Opus; it can be played as .flv, .mp4");
        let speex = said(F::Mp4, Some(V::Avc), Some(A::Legacy(11)));
        assert_eq!(speex, "MP4 cannot carry FLV audio codec 11; it can be played as .flv");
        let mp3 = said(F::Mp3, Some(V::Avc), Some(A::Aac));
        assert_eq!(mp3, "the stream's sound is AAC; it can be played as .flv, .mp4, .ts, .aac");
        let silent = said(F::Aac, Some(V::Avc), None);
        assert_eq!(silent, "the stream has no sound; it can be played as .flv, .mp4, .ts");
        assert_eq!(said(F::Aac, Some(V::Legacy(2)), Some(A::Aac)), "");
        assert_eq!(said(F::Ts, Some(V::Hevc), None), "");
    }
}
