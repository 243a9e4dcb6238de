//! What a stream says of itself, for people: from its metadata and its decoder configurations.

use weir_media::{AudioCodec, Frame, Init, InitSlot, Track, VideoCodec};

use crate::{amf0::Value, metadata::Metadata};

/// The pictures of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    /// The codec's name.
    pub codec: String,
    /// The profile's name, where the configuration says it.
    pub profile: Option<String>,
    /// The level, such as `3.1`, where the configuration says it.
    pub level: Option<String>,
    /// Pixels in a line, where the metadata says it.
    pub width: Option<u32>,
    /// Lines, where the metadata says it.
    pub height: Option<u32>,
}

/// The sound of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    /// The codec's name.
    pub codec: String,
    /// Samples in a second.
    pub sample_rate: Option<u32>,
    /// Channels.
    pub channels: Option<u8>,
    /// The profile's name, where the configuration says it.
    pub profile: Option<String>,
}

/// What is known of pictures that are coded with `codec`.
pub fn video(codec: VideoCodec, init: &Init) -> Video {
    let said = metadata(init);
    let (profile, level) = match (codec, config(init, |track| matches!(track, Track::Video(_)))) {
        (VideoCodec::Avc, Some([1, profile, _, level, ..])) => {
            (Some(avc_profile(*profile)), Some(tenths(u32::from(*level))))
        }
        // ISO/IEC 14496-15, 8.3.3.1.2: the profile is in the second byte, the level, times 30, in the thirteenth.
        (VideoCodec::Hevc, Some(record)) if record.len() > 12 => {
            (Some(hevc_profile(record[1] & 0x1F)), Some(tenths(u32::from(record[12]) / 3)))
        }
        _ => (None, None),
    };
    let size = |name| number(said.as_ref(), name).filter(|pixels| *pixels > 0);
    Video { codec: video_name(codec), profile, level, width: size("width"), height: size("height") }
}

/// What is known of sound that is coded with `codec`.
pub fn audio(codec: AudioCodec, init: &Init) -> Audio {
    let said = metadata(init);
    let record = config(init, |track| matches!(track, Track::Audio(_)));
    let known = match (codec, record) {
        (AudioCodec::Aac, Some(record)) => aac(record),
        // RFC 7845, 5.1: the count of channels is the tenth byte, and it always plays at 48 kHz.
        (AudioCodec::Opus, Some(head)) if head.starts_with(b"OpusHead") => {
            (Some(48_000), head.get(9).copied(), None)
        }
        _ => (None, None, None),
    };
    let stereo = said.as_ref().and_then(|said| match said.properties().get("stereo")? {
        Value::Boolean(stereo) => Some(1 + u8::from(*stereo)),
        _ => None,
    });
    Audio {
        codec: codec.to_string(),
        sample_rate: known.0.or_else(|| number(said.as_ref(), "audiosamplerate")),
        channels: known.1.or(stereo),
        profile: known.2,
    }
}

/// SRS's name of a codec; the usual one of those that SRS does not know.
fn video_name(codec: VideoCodec) -> String {
    match codec {
        VideoCodec::Avc => "H264".to_owned(),
        VideoCodec::Legacy(4 | 5) => "VP6".to_owned(),
        other => other.to_string(),
    }
}

fn metadata(init: &Init) -> Option<Metadata> {
    Metadata::parse(&init.get(InitSlot::Metadata)?.body).ok().flatten()
}

fn number(said: Option<&Metadata>, name: &str) -> Option<u32> {
    match said?.properties().get(name)? {
        Value::Number(number) if (0.0..=f64::from(u32::MAX)).contains(number) => {
            Some(*number as u32)
        }
        _ => None,
    }
}

/// The configuration of the first track of a kind.
fn config(init: &Init, is_kind: impl Fn(&Track) -> bool) -> Option<&[u8]> {
    let is_config = |frame: &&Frame| matches!(frame.init_slot(), Some(InitSlot::Config(track)) if is_kind(&track));
    init.frames().find(is_config).map(|frame| &*frame.payload)
}

fn tenths(value: u32) -> String {
    match value % 10 {
        0 => (value / 10).to_string(),
        rest => format!("{}.{rest}", value / 10),
    }
}

/// ISO/IEC 14496-10, Annex A, in the words of SRS.
fn avc_profile(idc: u8) -> String {
    let name = match idc {
        66 => "Baseline",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        110 => "High(10)",
        122 => "High(422)",
        144 => "High(444)",
        244 => "High(444+Predictive)",
        _ => OTHER,
    };
    name.to_owned()
}

/// What SRS calls everything that it has no name for.
pub const OTHER: &str = "Other";

/// ISO/IEC 23008-2, Annex A, in the words of SRS.
fn hevc_profile(idc: u8) -> String {
    let name = match idc {
        1 => "Main",
        2 => "Main10",
        3 => "Main Still Picture",
        4 => "Rext",
        _ => OTHER,
    };
    name.to_owned()
}

/// ISO/IEC 14496-3, 1.6.2.1: object type, index of the sample rate and channel configuration, as far as they are in the
/// first two bytes, which holds unless a rate is spelled out.
fn aac(record: &[u8]) -> (Option<u32>, Option<u8>, Option<String>) {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8000, 7350,
    ];
    let [first, second, ..] = *record else { return (None, None, None) };
    let bits = u16::from_be_bytes([first, second]);
    let rate = RATES.get(usize::from(bits >> 7 & 0xF)).copied();
    let channels = match (bits >> 3 & 0xF) as u8 {
        channels @ 1..=6 => Some(channels),
        7 => Some(8),
        _ => None,
    };
    let profile = match bits >> 11 {
        1 => "Main",
        2 => "LC",
        3 => "SSR",
        4 => "LTP",
        5 => "HE",
        29 => "HEv2",
        _ => return (rate, channels, None),
    };
    (rate, channels, Some(profile.to_owned()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_media::{Content, Timestamp};

    use super::*;

    fn frame(track: Track, content: Content, payload: &'static [u8]) -> Frame {
        let payload = Bytes::from_static(payload);
        Frame {
            track,
            dts: Timestamp::ZERO,
            epoch: 0,
            content,
            stray: false,
            body: payload.clone(),
            payload,
        }
    }

    fn init(frames: &[Frame]) -> Init {
        let mut init = Init::default();
        for frame in frames {
            init.update(frame);
        }
        init
    }

    #[test]
    fn pictures_are_described_by_configuration_and_metadata() {
        const METADATA: &[u8] =
            b"\x02\x00\x0aonMetaData\x03\x00\x05width\x00\x40\x94\x00\x00\x00\x00\x00\x00\
            \x00\x06height\x00\x40\x86\x80\x00\x00\x00\x00\x00\x00\x00\x09";
        let avcc = frame(
            Track::Video(0),
            Content::VideoConfig(VideoCodec::Avc),
            &[1, 100, 0, 31, 0xFF, 0xE1],
        );
        let described =
            video(VideoCodec::Avc, &init(&[frame(Track::Data, Content::Metadata, METADATA), avcc]));
        let expected = Video {
            codec: "H264".to_owned(),
            profile: Some("High".to_owned()),
            level: Some("3.1".to_owned()),
            width: Some(1280),
            height: Some(720),
        };
        assert_eq!(described, expected);
        let hvcc = [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 120, 0];
        let hvcc = Bytes::copy_from_slice(&hvcc);
        let hevc = Frame {
            payload: hvcc.clone(),
            body: hvcc,
            ..frame(Track::Video(0), Content::VideoConfig(VideoCodec::Hevc), b"")
        };
        let described = video(VideoCodec::Hevc, &init(&[hevc]));
        assert_eq!(
            (described.profile.as_deref(), described.level.as_deref()),
            (Some("Main10"), Some("4"))
        );
        assert_eq!(video(VideoCodec::Vp9, &Init::default()).profile, None);
    }

    #[test]
    fn sound_is_described_by_its_configuration() {
        let of = |codec, record: &'static [u8]| {
            let init = init(&[frame(Track::Audio(0), Content::AudioConfig(codec), record)]);
            let Audio { sample_rate, channels, profile, .. } = audio(codec, &init);
            (sample_rate, channels, profile)
        };
        let lc = (Some(44_100), Some(2), Some("LC".to_owned()));
        assert_eq!(of(AudioCodec::Aac, &[0x12, 0x10, 0x56, 0xE5, 0x00]), lc);
        let mono = (Some(48_000), Some(1), Some("LC".to_owned()));
        assert_eq!(of(AudioCodec::Aac, &[0x11, 0x88]), mono);
        assert_eq!(of(AudioCodec::Aac, &[0x12]), (None, None, None));
        assert_eq!(of(AudioCodec::Opus, b"OpusHead\x01\x02"), (Some(48_000), Some(2), None));
    }
}
