//! What decoder configuration records are worth.

use weir_media::{AudioCodec, Content, Frame, VideoCodec};

/// How much of a configuration there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rating {
    /// It is cut, or lacks what a decoder needs.
    Poor,
    /// It can be read, and hardly any encoder sends such a thing.
    Unusual,
    /// All that can be asked for; of AAC, which channels.
    Whole(Option<Channels>),
}

/// The channel configuration of AAC (ISO/IEC 14496-3, table 1.19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channels(u8);

/// The elements that an access unit of AAC may begin with, by its first three bits (14496-3, table 4.85).
const ELEMENT_SINGLE: u8 = 0;
const ELEMENT_PAIR: u8 = 1;
const ELEMENT_DATA: u8 = 4;
const ELEMENT_PROGRAM: u8 = 5;
const ELEMENT_FILL: u8 = 6;

/// Sample rates that have a number in an AudioSpecificConfig; 15 is one that is written out.
const RATES: u8 = 13;
const RATE_WRITTEN: u8 = 15;

impl Rating {
    /// That of a configuration.
    pub fn of(frame: &Frame) -> Self {
        let record = &frame.payload[..];
        let is_whole = match frame.content {
            Content::AudioConfig(AudioCodec::Aac) => return Self::of_aac(record),
            Content::VideoConfig(VideoCodec::Avc) => avcc(record).is_some(),
            Content::VideoConfig(VideoCodec::Hevc) => hvcc(record).is_some(),
            _ => true,
        };
        if is_whole { Self::Whole(None) } else { Self::Poor }
    }

    /// AudioSpecificConfig, 14496-3, 1.6.2.1.
    fn of_aac(record: &[u8]) -> Self {
        let [first, second, ..] = *record else { return Self::Poor };
        let object_type = first >> 3;
        if !matches!(object_type, 1..=5 | 29) {
            // Also the escape 31, behind which the others are.
            return if object_type == 0 { Self::Poor } else { Self::Unusual };
        }
        let rate = (first & 7) << 1 | second >> 7;
        let channels = match rate {
            rate if rate < RATES => second >> 3 & 0x0F,
            // 24 bits of rate are between.
            RATE_WRITTEN => match record.get(4) {
                Some(fifth) => fifth >> 3 & 0x0F,
                None => return Self::Poor,
            },
            _reserved => return Self::Poor,
        };
        Self::Whole(Some(Channels(channels)))
    }
}

impl Channels {
    /// Whether `unit` begins as one of these channels does; nothing if any may begin so.
    pub fn is_like(self, unit: &[u8]) -> Option<bool> {
        match (unit.first()? >> 5, self.0) {
            (ELEMENT_DATA | ELEMENT_FILL, _) | (ELEMENT_SINGLE | ELEMENT_PAIR, 0) => None,
            (ELEMENT_PROGRAM, 0) | (ELEMENT_PAIR, 2) | (ELEMENT_SINGLE, 1 | 3..) => Some(true),
            _ => Some(false),
        }
    }
}

/// AVCDecoderConfigurationRecord, 14496-15, 5.3.3.1, with a set of each kind. Some encoders write the version as 0.
fn avcc(record: &[u8]) -> Option<()> {
    let mut rest = record.get(5..)?;
    for mask in [0x1F, 0xFF] {
        let (count, tail) = rest.split_first()?;
        rest = sets(tail, usize::from(count & mask))?;
    }
    Some(())
}

/// HEVCDecoderConfigurationRecord, 14496-15, 8.3.3.1, with a set of each kind.
fn hvcc(record: &[u8]) -> Option<()> {
    const NEEDED: [u8; 3] = [32, 33, 34];
    let (arrays, mut rest) = record.get(22..)?.split_first()?;
    let mut kinds = Vec::new();
    for _ in 0..*arrays {
        let [kind, high, low, tail @ ..] = rest else { return None };
        kinds.push(kind & 0x3F);
        rest = sets(tail, usize::from(u16::from_be_bytes([*high, *low])))?;
    }
    NEEDED.iter().all(|kind| kinds.contains(kind)).then_some(())
}

/// Takes `count` NAL units, at least one, each after its length in two bytes.
fn sets(mut rest: &[u8], count: usize) -> Option<&[u8]> {
    for _ in 0..count {
        let [high, low, tail @ ..] = rest else { return None };
        rest = tail.get(usize::from(u16::from_be_bytes([*high, *low]))..)?;
    }
    (count > 0).then_some(rest)
}
