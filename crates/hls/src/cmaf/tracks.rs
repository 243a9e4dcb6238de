//! What the tracks of a stream are coded with, and their payloads as MP4 has them.

use bytes::{BufMut as _, Bytes, BytesMut};
use weir_media::{AudioCodec, Content, Frame, Track, VideoCodec};
use weir_mp4::{Muxer, SampleEntry, Unfit};

use crate::{
    error::{Damage, LeftOut},
    nal::{Framing, Kind, each_nal, kind},
    tracks::VideoFormat,
};

/// Most bytes of messages without a picture that wait for the next one.
const AHEAD_MAX: usize = 16 * 1024;

/// A message with a picture in it.
#[derive(Debug)]
pub struct Picture {
    pub frame: Frame,
    /// Whether it does not have the picture's beginning.
    pub continues: bool,
}

/// The tracks as they are now.
#[derive(Debug, Default)]
pub struct Tracks {
    video: Video,
    audio: Audio,
}

#[derive(Debug, Default)]
struct Video {
    codec: Option<VideoCodec>,
    record: Bytes,
    /// For NAL units: how they are told apart.
    format: Option<VideoFormat>,
    entry: Option<SampleEntry>,
    unfit: Option<Unfit>,
    /// NAL units that came without a picture.
    ahead: BytesMut,
    /// Whether none have come for long.
    is_lost: bool,
}

#[derive(Debug, Default)]
struct Audio {
    codec: Option<AudioCodec>,
    record: Bytes,
    entry: Option<SampleEntry>,
    unfit: Option<Unfit>,
    speaks: bool,
}

impl Tracks {
    /// Which tracks cannot be carried.
    pub fn left_out(&self) -> LeftOut {
        let (video, audio) = (&self.video, &self.audio);
        let has_some = video.codec.is_some() && video.unfit.is_none()
            || audio.codec.is_some() && audio.unfit.is_none();
        let (pictures, sound) = (video.unfit.map(Into::into), audio.unfit.map(Into::into));
        let everything = !has_some && (pictures.is_some() || sound.is_some());
        LeftOut { pictures, sound, everything }
    }

    /// Whether pictures set the pace.
    pub fn has_pictures(&self) -> bool {
        let Video { codec, unfit, is_lost, .. } = &self.video;
        codec.is_some() && unfit.is_none() && !is_lost
    }

    /// None have come for long.
    pub fn lose_pictures(&mut self) {
        self.video.is_lost = true;
        self.video.entry = None;
    }

    /// None has come for long.
    pub fn lose_sound(&mut self) {
        self.audio.speaks = false;
    }

    /// Takes a record.
    pub fn configure_video(&mut self, codec: VideoCodec, record: &Bytes) {
        let video = &mut self.video;
        if video.codec == Some(codec) && video.record == record {
            return;
        }
        *video = Video { codec: Some(codec), record: record.clone(), ..Video::default() };
        if matches!(codec, VideoCodec::Avc | VideoCodec::Hevc) {
            video.format = Some(VideoFormat::parse(codec, record).0);
        }
    }

    /// Takes a record.
    pub fn configure_audio(&mut self, codec: AudioCodec, record: &Bytes) {
        let audio = &mut self.audio;
        if audio.codec != Some(codec) || audio.record != record {
            let speaks = audio.speaks;
            *audio =
                Audio { codec: Some(codec), record: record.clone(), speaks, ..Audio::default() };
        }
    }

    /// Takes a packet of sound; whether it can be carried.
    pub fn sound(&mut self, codec: AudioCodec, packet: &[u8]) -> bool {
        if self.audio.codec != Some(codec) {
            self.configure_audio(codec, &Bytes::new());
        }
        let audio = &mut self.audio;
        if audio.entry.is_none() {
            let entry = SampleEntry::audio(codec, &audio.record, packet);
            audio.unfit = entry.as_ref().err().copied();
            audio.entry = entry.ok();
        }
        audio.speaks |= audio.entry.is_some();
        audio.entry.is_some() && !packet.is_empty()
    }

    /// Takes a picture, or a part of one: as MP4 has it, if it has a place.
    pub fn picture(&mut self, frame: &Frame) -> Result<Option<Picture>, Damage> {
        let Content::Video { codec, .. } = frame.content else { return Ok(None) };
        if self.video.codec != Some(codec) {
            self.configure_video(codec, &Bytes::new());
        }
        let video = &mut self.video;
        if frame.payload.is_empty() {
            return Err(Damage::Empty);
        }
        let Some(picture) = video.framed(codec, frame)? else { return Ok(None) };
        let frame = &picture.frame;
        if frame.is_key() && (video.entry.is_none() || codec == VideoCodec::Vp9) {
            let entry = SampleEntry::video(codec, &video.record, &frame.payload);
            video.unfit = entry.as_ref().err().copied();
            video.entry = entry.ok();
            video.is_lost = false;
        }
        Ok(video.entry.is_some().then_some(picture))
    }

    /// Whether pictures in `codec`, with this record if there is one, are coded otherwise than those before.
    pub fn is_other_video(&self, codec: VideoCodec, record: Option<&Bytes>) -> bool {
        let is_same = self.video.codec == Some(codec)
            && record.is_none_or(|record| self.video.record == record);
        self.video.entry.is_some() && !is_same
    }

    /// The same of sound.
    pub fn is_other_audio(&self, codec: AudioCodec, record: Option<&Bytes>) -> bool {
        let is_same = self.audio.codec == Some(codec)
            && record.is_none_or(|record| self.audio.record == record);
        self.audio.entry.is_some() && !is_same
    }

    /// Whether there is sound.
    pub fn speaks(&self) -> bool {
        self.audio.speaks
    }

    /// How the tracks are coded that a segment has from now on.
    pub fn entries(&self, speaks: bool) -> impl Iterator<Item = (Track, &SampleEntry)> {
        let video = self.video.entry.iter().map(|entry| (Track::Video(0), entry));
        let audio = self.audio.entry.iter().filter(move |_| speaks);
        video.chain(audio.map(|entry| (Track::Audio(0), entry)))
    }

    /// Whether a segment that begins now needs another muxer than this.
    pub fn differ_from(&self, muxer: &Muxer) -> bool {
        !muxer.tracks().eq(self.entries(self.audio.speaks))
    }

    /// Whether the muxer has the sound as it is now.
    pub fn has_sound_of(&self, muxer: &Muxer) -> bool {
        muxer.tracks().any(|(track, entry)| {
            track == Track::Audio(0) && self.audio.entry.as_ref() == Some(entry)
        })
    }
}

impl Video {
    /// The picture with lengths before its NAL units, and what came before it in messages of its own; nothing for a
    /// message without a picture.
    fn framed(&mut self, codec: VideoCodec, frame: &Frame) -> Result<Option<Picture>, Damage> {
        let whole = |frame, continues| Picture { frame, continues };
        let Some(format) = &mut self.format else { return Ok(Some(whole(frame.clone(), false))) };
        let survey = format.survey(&frame.payload)?;
        if survey.has_picture && survey.framing != Framing::StartCodes && self.ahead.is_empty() {
            return Ok(Some(whole(marked(frame, survey.has_idr), survey.continues)));
        }
        let mut out = std::mem::take(&mut self.ahead);
        out.reserve(frame.payload.len() + 64);
        let length_bytes = format.length_bytes();
        each_nal(&frame.payload, survey.framing, |nal| {
            if kind(codec, nal[0]) != Kind::Delimiter {
                let len = (nal.len() as u64).to_be_bytes();
                out.put_slice(&len[8 - length_bytes..]);
                out.put_slice(nal);
            }
        })?;
        if !survey.has_picture {
            let len = out.len();
            if len > AHEAD_MAX {
                return Err(Damage::NoPicture { len, max: AHEAD_MAX });
            }
            self.ahead = out;
            return Ok(None);
        }
        let frame = marked(frame, survey.has_idr);
        Ok(Some(whole(Frame { payload: out.freeze(), ..frame }, survey.continues)))
    }
}

/// The frame, as a key frame if it is one that its sender has not marked.
fn marked(frame: &Frame, is_key: bool) -> Frame {
    let content = match frame.content {
        Content::Video { codec, key, composition } => {
            Content::Video { codec, key: key || is_key, composition }
        }
        other => other,
    };
    Frame { content, ..frame.clone() }
}
