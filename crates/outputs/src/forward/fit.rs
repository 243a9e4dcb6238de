//! What of a stream a target can take.

use std::sync::Arc;

use bytes::Bytes;
use tracing::warn;
use weir_flv::{audio, video};
use weir_media::{AudioCodec, Content, Frame, StreamKey, Track, VideoCodec};
use weir_rtmp::Capabilities;
use weir_upstream::Fit;

use super::status::{State, Status};

/// Kinds of things that are named when they are left out; more come only from a publisher that invents codecs.
const NAMED_MAX: usize = 8;

/// Frames as one target takes them, on one connection.
pub struct Fitting {
    key: StreamKey,
    status: Arc<Status>,
    /// What it has said of itself; none for a target of classic RTMP.
    takes: Option<Capabilities>,
    /// Whether it takes all there is.
    takes_all: bool,
    /// The tracks that it gets if it takes one of each kind: those that come first.
    first_video: Option<u8>,
    first_audio: Option<u8>,
    /// What was left out.
    left_out: Vec<String>,
}

impl Fitting {
    /// For a target that has said this of itself, or takes all.
    pub fn new(
        key: &StreamKey,
        status: &Arc<Status>,
        takes: Option<Capabilities>,
        takes_all: bool,
    ) -> Self {
        Self {
            key: key.clone(),
            status: Arc::clone(status),
            takes,
            takes_all,
            first_video: None,
            first_audio: None,
            left_out: Vec::new(),
        }
    }

    /// The body for the target; or what is left out.
    fn adapt(&mut self, frame: &Frame) -> Result<Option<Bytes>, String> {
        if self.takes_all {
            return Ok(Some(frame.body.clone()));
        }
        match frame.track {
            Track::Data => Ok(Some(frame.body.clone())),
            Track::Video(id) => {
                let is_enhanced = frame.body.first().is_some_and(|first| first & 0x80 != 0);
                match frame.content {
                    Content::VideoConfig(codec) | Content::Video { codec, .. }
                        if !self.takes_video(codec) =>
                    {
                        return Err(codec.to_string());
                    }
                    // Nothing of classic RTMP.
                    Content::Opaque if is_enhanced && self.takes.is_none() => return Ok(None),
                    Content::VideoInfo(codec)
                        if self.takes.is_none() || !self.takes_video(codec) =>
                    {
                        return Ok(None);
                    }
                    _ => {}
                }
                if !is_enhanced || self.takes_multitrack() {
                    return Ok(Some(frame.body.clone()));
                }
                if *self.first_video.get_or_insert(id) != id {
                    return Err("all video tracks but the first".to_owned());
                }
                let Ok(header) = video::parse(&frame.body) else { return Ok(None) };
                let data = &frame.body[header.payload];
                Ok(Some(video::encode(header.frame_type, header.packet, data)))
            }
            Track::Audio(id) => {
                let is_enhanced = frame.body.first().is_some_and(|first| first >> 4 == 9);
                match frame.content {
                    Content::AudioConfig(codec) | Content::Audio(codec)
                        if !self.takes_audio(codec) =>
                    {
                        return Err(codec.to_string());
                    }
                    Content::Opaque if is_enhanced && self.takes.is_none() => return Ok(None),
                    Content::AudioInfo(codec)
                        if self.takes.is_none() || !self.takes_audio(codec) =>
                    {
                        return Ok(None);
                    }
                    _ => {}
                }
                if !is_enhanced || self.takes_multitrack() {
                    return Ok(Some(frame.body.clone()));
                }
                if *self.first_audio.get_or_insert(id) != id {
                    return Err("all audio tracks but the first".to_owned());
                }
                let Ok(header) = audio::parse(&frame.body) else { return Ok(None) };
                let data = &frame.body[header.payload];
                Ok(Some(audio::encode(header.packet, data)))
            }
        }
    }

    fn takes_multitrack(&self) -> bool {
        self.takes.as_ref().is_some_and(Capabilities::takes_multitrack)
    }

    /// What has been there since FLV began, everybody takes.
    fn takes_video(&self, codec: VideoCodec) -> bool {
        if matches!(codec, VideoCodec::Avc | VideoCodec::Legacy(_)) {
            return true;
        }
        let known = self.takes.as_ref().zip(video::four_cc_of(codec));
        known.is_some_and(|(takes, four_cc)| takes.takes_video(four_cc))
    }

    fn takes_audio(&self, codec: AudioCodec) -> bool {
        if matches!(codec, AudioCodec::Aac | AudioCodec::Mp3 | AudioCodec::Legacy(_)) {
            return true;
        }
        let known = self.takes.as_ref().zip(audio::four_cc_of(codec));
        known.is_some_and(|(takes, four_cc)| takes.takes_audio(four_cc))
    }

    fn leave_out(&mut self, what: String) {
        if self.left_out.contains(&what) || self.left_out.len() >= NAMED_MAX {
            return;
        }
        self.left_out.push(what);
        let target = self.status.now().target;
        let why = format!("the target does not take {}", self.left_out.join(", "));
        warn!(stream = %self.key, to = target, reason = why, "forward without a part of the stream");
        self.status.fail(State::Partly, &why);
    }
}

impl Fit for Fitting {
    fn fit(&mut self, frame: &Frame) -> Option<Bytes> {
        match self.adapt(frame) {
            Ok(body) => {
                self.status.sent(body.as_ref().map_or(0, Bytes::len));
                body
            }
            Err(what) => {
                self.leave_out(what);
                None
            }
        }
    }

    fn skipped(&mut self, frames: u64) {
        self.status.skipped(frames);
    }
}

#[cfg(test)]
mod tests {
    use weir_flv::{
        Tag, TagKind, to_frame,
        video::{FrameType, Packet},
    };
    use weir_media::{DEFAULT_VHOST, Timestamp};

    use super::*;

    fn fitting(takes: Option<Capabilities>, takes_all: bool) -> (Fitting, Arc<Status>) {
        let key = StreamKey::new(DEFAULT_VHOST, "live", "cam").expect("a name");
        let status = Arc::new(Status::new("rtmp://a:1935".to_owned()));
        (Fitting::new(&key, &status, takes, takes_all), status)
    }

    fn frame(kind: TagKind, body: Bytes) -> Frame {
        to_frame(&Tag { kind, timestamp: 0, body }, Timestamp::ZERO, 0).expect("a frame")
    }

    fn picture(codec: VideoCodec) -> Frame {
        let packet = Packet::Coded { codec, composition: 40 };
        frame(TagKind::Video, video::encode(FrameType::Key, packet, b"picture"))
    }

    /// `OneTrack` with the id 3, H.264.
    fn of_track(id: u8) -> Frame {
        let mut body = b"\x96\x01avc1".to_vec();
        body.push(id);
        body.extend(b"\x00\x00\x28picture");
        frame(TagKind::Video, body.into())
    }

    #[test]
    fn a_target_of_classic_rtmp_gets_what_that_has() {
        let (mut fitting, status) = fitting(None, false);
        let classic = picture(VideoCodec::Avc);
        assert_eq!(fitting.fit(&classic), Some(classic.body.clone()));
        assert_eq!(status.now().error, None);
        assert_eq!(fitting.fit(&picture(VideoCodec::Hevc)), None);
        let opus = audio::encode(audio::Packet::Coded(AudioCodec::Opus), b"sound");
        assert_eq!(fitting.fit(&frame(TagKind::Audio, opus)), None);
        let now = status.now();
        assert_eq!(now.state, State::Partly);
        assert_eq!(now.error.as_deref(), Some("the target does not take HEVC, Opus"));
        assert_eq!(now.bytes, classic.body.len() as u64);
    }

    #[test]
    fn codecs_go_to_who_takes_them() {
        let takes = Capabilities {
            video_four_cc_info_map: vec![("hvc1".to_owned(), 4)],
            ..Capabilities::default()
        };
        let (mut fitting, _) = fitting(Some(takes), false);
        let hevc = picture(VideoCodec::Hevc);
        assert_eq!(fitting.fit(&hevc), Some(hevc.body.clone()), "the same message");
        assert_eq!(fitting.fit(&picture(VideoCodec::Av1)), None);
        let (mut all, status) = self::fitting(None, true);
        assert!(all.fit(&picture(VideoCodec::Av1)).is_some() && status.now().error.is_none());
    }

    #[test]
    fn without_multitrack_the_first_track_goes_alone_and_in_plain_messages() {
        for takes in [None, Some(Capabilities::default())] {
            let (mut fitting, status) = fitting(takes, false);
            assert_eq!(fitting.fit(&of_track(3)), Some(picture(VideoCodec::Avc).body));
            assert_eq!(fitting.fit(&of_track(4)), None);
            let error = status.now().error.expect("it is said");
            assert!(error.contains("all video tracks but the first"), "{error}");
        }
        let takes = Capabilities { caps_ex: 2, ..Capabilities::default() };
        let (mut fitting, _) = fitting(Some(takes), false);
        for id in [3, 4] {
            assert_eq!(fitting.fit(&of_track(id)), Some(of_track(id).body));
        }
    }
}
