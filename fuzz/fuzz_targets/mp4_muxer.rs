//! Records and frames of any kind, order and content: what is written is whole boxes, and data is where it is said to
//! be.
#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use weir_media::{AudioCodec, Content, Frame, Timestamp, Track, VideoCodec};
use weir_mp4::{Fragment, Muxer, SampleEntry};

const AVCC: &[u8] = include_bytes!("records/avcc");
const HVCC: &[u8] = include_bytes!("records/hvcc");
const ASC: &[u8] = include_bytes!("records/asc");

/// Bytes of a box before what is in it.
const HEAD: usize = 8;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    video: Option<(Video, Record<'a>, &'a [u8])>,
    audio: Option<(Audio, Record<'a>, &'a [u8])>,
    steps: Vec<Step<'a>>,
}

/// A configuration record: that of a real encoder, or anything.
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
    Vp9,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Audio {
    Aac,
    Mp3,
    Opus,
    Flac,
    Ac3,
    Eac3,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Frame { is_video: bool, key: bool, composition: i32, payload: &'a [u8], cuts: bool },
    Advance { millis: u16 },
    Jump { millis: i64 },
    Finish,
}

impl Video {
    fn codec(self) -> (VideoCodec, &'static [u8]) {
        match self {
            Self::Avc => (VideoCodec::Avc, AVCC),
            Self::Hevc => (VideoCodec::Hevc, HVCC),
            Self::Av1 => (VideoCodec::Av1, &[0x81, 0, 0x0C, 0]),
            Self::Vp9 => (VideoCodec::Vp9, &[1, 0, 0, 0, 0, 10, 0x82, 1, 1, 1, 0, 0]),
        }
    }
}

impl Audio {
    fn codec(self) -> (AudioCodec, &'static [u8]) {
        match self {
            Self::Aac => (AudioCodec::Aac, ASC),
            Self::Mp3 => (AudioCodec::Mp3, &[]),
            Self::Opus => (AudioCodec::Opus, b"OpusHead\x01\x02\x38\x01\x80\xBB\0\0\0\0\0"),
            Self::Flac => (AudioCodec::Flac, &[0; 34]),
            Self::Ac3 => (AudioCodec::Ac3, &[]),
            Self::Eac3 => (AudioCodec::Eac3, &[]),
        }
    }
}

impl<'a> Record<'a> {
    fn bytes(&self, real: &'static [u8]) -> &'a [u8] {
        match self {
            Self::Real => real,
            Self::Any(bytes) => bytes,
        }
    }
}

/// The boxes in `bytes`, by type and content; they must fill it.
fn boxes(mut bytes: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut boxes = Vec::new();
    while !bytes.is_empty() {
        let size = u32::from_be_bytes(bytes[..4].try_into().expect("a size")) as usize;
        assert!((HEAD..=bytes.len()).contains(&size), "a box is longer than what it is in");
        boxes.push((bytes[4..8].try_into().expect("a type"), &bytes[HEAD..size]));
        bytes = &bytes[size..];
    }
    boxes
}

fn check(fragment: &Fragment) {
    let top = boxes(&fragment.data);
    let [(moof, inside), (mdat, data)] = top[..] else { panic!("moof and mdat") };
    assert_eq!((&moof, &mdat), (b"moof", b"mdat"));
    let mut expected = inside.len() + 2 * HEAD;
    for (kind, track) in boxes(inside).into_iter().filter(|(kind, _)| kind == b"traf") {
        let parts = boxes(track);
        let [_, _, (trun, run)] = parts[..] else { panic!("{kind:?}: {parts:?}") };
        assert_eq!(&trun, b"trun");
        let word = |at: usize| u32::from_be_bytes(run[at..at + 4].try_into().expect("a word"));
        let (flags, count) = (word(0) & 0x00FF_FFFF, word(4) as usize);
        assert_eq!(word(8) as usize, expected, "data is not where the run says it is");
        let fields = (flags >> 8).count_ones() as usize * 4;
        assert_eq!(run.len(), 12 + count * fields);
        expected += (0..count).map(|at| word(12 + at * fields + 4) as usize).sum::<usize>();
    }
    assert_eq!(expected, inside.len() + 2 * HEAD + data.len(), "data that no run has");
    assert!(fragment.end >= fragment.start);
}

fuzz_target!(|input: Input| {
    let mut tracks = Vec::new();
    if let Some((codec, record, key)) = &input.video {
        let (codec, real) = codec.codec();
        let entry = SampleEntry::video(codec, record.bytes(real), key);
        tracks.extend(entry.ok().map(|entry| (Track::Video(0), entry)));
    }
    if let Some((codec, record, packet)) = &input.audio {
        let (codec, real) = codec.codec();
        let entry = SampleEntry::audio(codec, record.bytes(real), packet);
        tracks.extend(entry.ok().map(|entry| (Track::Audio(0), entry)));
    }
    let mut muxer = Muxer::new(tracks);
    let init = muxer.init();
    assert!(
        matches!(boxes(&init)[..], [(ftyp, _), (moov, _)] if &ftyp == b"ftyp" && &moov == b"moov")
    );
    let (mut dts, mut pushed, mut written) = (0_i64, 0, 0);
    for step in &input.steps {
        match step {
            Step::Frame { is_video, key, composition, payload, cuts } => {
                let payload = Bytes::copy_from_slice(payload);
                let (track, content) = if *is_video {
                    let (key, composition) = (*key, *composition);
                    (Track::Video(0), Content::Video { codec: VideoCodec::Avc, key, composition })
                } else {
                    (Track::Audio(0), Content::Audio(AudioCodec::Aac))
                };
                let dts = Timestamp::from_millis(dts);
                let body = payload.clone();
                let frame = Frame { track, dts, epoch: 0, content, stray: false, body, payload };
                if *cuts && let Some(fragment) = muxer.cut(&frame) {
                    check(&fragment);
                    written += 1;
                }
                pushed += usize::from(muxer.push(&frame).is_ok());
            }
            Step::Advance { millis } => dts = dts.saturating_add(i64::from(*millis)),
            Step::Jump { millis } => dts = dts.saturating_add(*millis),
            Step::Finish => {
                if let Some(fragment) = muxer.finish() {
                    check(&fragment);
                    written += 1;
                }
            }
        }
    }
    if let Some(fragment) = muxer.finish() {
        check(&fragment);
        written += 1;
    }
    assert_eq!(muxer.held(), 0);
    assert!(written <= pushed && (written > 0) == (pushed > 0));
});
