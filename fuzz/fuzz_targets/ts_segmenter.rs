//! Frames of any kind, order and content: segments are whole MPEG-TS packets of bounded length, and playlists name
//! them. The same frames as CMAF: parts belong to a segment, which has their bytes and lasts as long as they do.
//! And the same as files without an end, whose pieces are whole packets and boxes.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use weir_hls::{
    Begin, Config, Container, Endless, EndlessForm, Event, Expected, Form, Lengths, Nonce,
    Playlist, SEGMENT_BYTES_MAX, Segment, Segmenter,
};
use weir_media::{AudioCodec, Content, Frame, Timestamp, Track, VideoCodec};

/// The length and first byte of an MPEG-TS packet (ISO/IEC 13818-1, section 2.4.3.2).
const PACKET_BYTES: usize = 188;
const SYNC_BYTE: u8 = 0x47;

/// One frame may go beyond the limit on segments, as TS packs it.
const SEGMENT_SLACK: usize = 1024 * 1024;

const NONCE: Nonce = Nonce::new(0);

const AVCC: &[u8] = include_bytes!("records/avcc");
const HVCC: &[u8] = include_bytes!("records/hvcc");
const ASC: &[u8] = include_bytes!("records/asc");

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    VideoConfig { codec: Video, record: Record<'a> },
    AudioConfig { codec: Audio, record: Record<'a> },
    Picture { codec: Video, key: bool, composition: i16, units: Vec<(u8, &'a [u8])> },
    RawPicture { codec: Video, key: bool, composition: i32, payload: &'a [u8] },
    Sound { codec: Audio, payload: &'a [u8] },
    Advance { millis: u16 },
    Jump { millis: i32 },
    NewEpoch,
    Skipped,
}

/// A decoder configuration record: that of a real encoder for the codec, or anything.
#[derive(Arbitrary, Debug)]
enum Record<'a> {
    Real,
    Any(&'a [u8]),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Video {
    Avc,
    Hevc,
    Av1,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Audio {
    Aac,
    Mp3,
    Opus,
}

impl Video {
    fn codec(self) -> VideoCodec {
        match self {
            Self::Avc => VideoCodec::Avc,
            Self::Hevc => VideoCodec::Hevc,
            Self::Av1 => VideoCodec::Av1,
        }
    }

    fn record(self) -> &'static [u8] {
        match self {
            Self::Avc => AVCC,
            Self::Hevc | Self::Av1 => HVCC,
        }
    }
}

impl Audio {
    fn codec(self) -> AudioCodec {
        match self {
            Self::Aac => AudioCodec::Aac,
            Self::Mp3 => AudioCodec::Mp3,
            Self::Opus => AudioCodec::Opus,
        }
    }
}

impl Record<'_> {
    fn bytes(&self, real: &'static [u8]) -> Bytes {
        match self {
            Self::Real => Bytes::from_static(real),
            Self::Any(bytes) => Bytes::copy_from_slice(bytes),
        }
    }
}

/// NAL units as MP4 and FLV frame them: a length of 4 bytes before each.
fn length_prefixed(units: &[(u8, &[u8])]) -> Bytes {
    let framed = units.iter().flat_map(|(header, rest)| {
        let length = u32::try_from(1 + rest.len()).expect("inputs are short");
        length.to_be_bytes().into_iter().chain([*header]).chain(rest.iter().copied())
    });
    framed.collect()
}

/// The time and epoch of the next frame.
#[derive(Default)]
struct Clock {
    dts: i64,
    epoch: u32,
}

impl Clock {
    fn frame(&self, track: Track, content: Content, payload: Bytes) -> Frame {
        let dts = Timestamp::from_millis(self.dts);
        Frame {
            track,
            dts,
            epoch: self.epoch,
            content,
            stray: false,
            body: payload.clone(),
            payload,
        }
    }

    /// The frame that a step stands for, if it stands for one.
    fn step(&mut self, step: &Step) -> Option<Frame> {
        let (video, audio) = (Track::Video(0), Track::Audio(0));
        Some(match step {
            Step::VideoConfig { codec, record } => {
                self.frame(video, Content::VideoConfig(codec.codec()), record.bytes(codec.record()))
            }
            Step::AudioConfig { codec, record } => {
                self.frame(audio, Content::AudioConfig(codec.codec()), record.bytes(ASC))
            }
            Step::Picture { codec, key, composition, units } => {
                let composition = i32::from(*composition);
                let content = Content::Video { codec: codec.codec(), key: *key, composition };
                self.frame(video, content, length_prefixed(units))
            }
            Step::RawPicture { codec, key, composition, payload } => {
                let content =
                    Content::Video { codec: codec.codec(), key: *key, composition: *composition };
                self.frame(video, content, Bytes::copy_from_slice(payload))
            }
            Step::Sound { codec, payload } => {
                self.frame(audio, Content::Audio(codec.codec()), Bytes::copy_from_slice(payload))
            }
            Step::Advance { millis } => {
                self.dts = self.dts.saturating_add(i64::from(*millis));
                return None;
            }
            Step::Jump { millis } => {
                self.dts = self.dts.saturating_add(i64::from(*millis));
                return None;
            }
            Step::NewEpoch => {
                self.epoch = self.epoch.wrapping_add(1);
                return None;
            }
            Step::Skipped => return None,
        })
    }
}

fn check(segment: &Segment) {
    let data = &segment.data;
    assert!(!data.is_empty() && data.len() <= SEGMENT_BYTES_MAX + SEGMENT_SLACK);
    assert_eq!(data.len() % PACKET_BYTES, 0, "a segment ends inside a packet");
    assert!(data.chunks(PACKET_BYTES).all(|packet| packet[0] == SYNC_BYTE), "the framing is lost");
}

/// What has come of the open segment.
#[derive(Default)]
struct Parts {
    is_open: bool,
    bytes: usize,
    duration: Duration,
}

impl Parts {
    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Init(init) => assert!(!self.is_open && &init[4..8] == b"ftyp"),
                Event::Begin { .. } => {
                    assert!(!self.is_open);
                    *self = Self { is_open: true, ..Self::default() };
                }
                Event::Part { data, duration, .. } => {
                    assert!(self.is_open && &data[4..8] == b"moof");
                    self.bytes += data.len();
                    self.duration += duration;
                }
                Event::Segment(segment) => {
                    assert!(std::mem::take(&mut self.is_open));
                    let bytes = segment.data.len();
                    assert_eq!((bytes, segment.duration), (self.bytes, self.duration));
                    assert!(bytes <= SEGMENT_BYTES_MAX + SEGMENT_SLACK);
                }
            }
        }
    }
}

/// Lists whole segments.
fn list(playlist: &mut Playlist, events: Vec<Event>) {
    for event in events {
        match event {
            Event::Begin { discontinuity, program_date_time } => {
                playlist.begin(Begin { discontinuity, ..Begin::at(program_date_time) });
            }
            Event::Segment(segment) => {
                check(&segment);
                let name = playlist.file(NONCE, Form::Ts);
                playlist.push(&name, segment.duration);
                let text = playlist.render_plain();
                assert!(text.contains(&name), "the playlist does not name the segment {name}");
            }
            Event::Init(_) | Event::Part { .. } => panic!("MPEG-TS has none"),
        }
    }
}

/// The same stream as files without an end.
struct Files(Vec<(EndlessForm, Endless)>);

impl Files {
    fn new() -> Self {
        let forms = [EndlessForm::Ts, EndlessForm::Mp4, EndlessForm::Mp3, EndlessForm::Aac];
        let expected = Expected { pictures: true, sound: true };
        Self(forms.map(|form| (form, Endless::new(form, expected))).into())
    }

    fn push(&mut self, frame: &Frame) {
        for (form, file) in &mut self.0 {
            file.push(frame, matches!(frame.content, Content::Audio(AudioCodec::Mp3)));
            for piece in file.take() {
                assert!(!piece.data.is_empty());
                match form {
                    EndlessForm::Ts => {
                        assert_eq!(piece.data.len() % PACKET_BYTES, 0, "a piece ends in a packet");
                        assert!(piece.data.chunks(PACKET_BYTES).all(|it| it[0] == SYNC_BYTE));
                    }
                    EndlessForm::Mp4 => assert_eq!(&piece.data[4..8], b"moof"),
                    EndlessForm::Mp3 | EndlessForm::Aac => {}
                }
            }
        }
    }

    fn skip(&mut self) {
        self.0.iter_mut().for_each(|(_, file)| file.skip());
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let second = Duration::from_secs(1);
    let lengths = Lengths { target: 2 * second, longest: 3 * second, part: Some(second / 5) };
    let mut cmaf = Segmenter::new(Container::Mp4, lengths);
    let mut parts = Parts::default();
    let mut segmenter = Segmenter::new(Container::Ts, Lengths::new(2 * second));
    let mut playlist = Playlist::new(&Config::new("fuzz"));
    let mut files = Files::new();
    let (mut clock, mut wall) = (Clock::default(), Duration::from_secs(1_700_000_000));
    for step in &steps {
        wall += Duration::from_millis(40);
        if matches!(step, Step::Skipped) {
            list(&mut playlist, segmenter.skipped());
            parts.take(cmaf.skipped());
            files.skip();
        }
        if let Some(frame) = clock.step(step) {
            list(&mut playlist, segmenter.push(&frame, wall));
            parts.take(cmaf.push(&frame, wall));
            files.push(&frame);
        }
    }
    parts.take(cmaf.finish());
    assert!(!parts.is_open);
    list(&mut playlist, segmenter.finish());
});
