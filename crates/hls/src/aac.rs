//! AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1) and the ADTS header (1.A.2.2).

mod bits;
mod element;
mod program;

use weir_media::AudioCodec;

use self::{
    bits::Bits,
    element::{ELEMENT_DATA, ELEMENT_FILL, ELEMENT_PAIR, ELEMENT_PROGRAM, ELEMENT_SINGLE},
    program::Program,
};
use crate::error::{BadAudio, Damage, Unsupported};

/// Bytes of an ADTS header without CRC.
const ADTS_HEADER_BYTES: usize = 7;

/// Longest raw access unit: the header has 13 bits for its own and the unit's length.
const UNIT_BYTES_MAX: usize = (1 << 13) - 1 - ADTS_HEADER_BYTES;

/// The sample rates that ADTS can name, in Hz, by their index (14496-3, table 1.18).
const SAMPLE_RATES: [u32; 13] =
    [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

/// A sample rate that is written out counts as the one of the table that it differs from by at most one part in this
/// many. Encoders round (44,056 Hz for NTSC pull-down); 1 % of wrong pitch is the most that goes unheard.
const SAMPLE_RATE_TOLERANCE: u32 = 100;

/// The object types that ADTS has bits for.
const ADTS_OBJECT_TYPES: std::ops::RangeInclusive<u8> = 1..=4;

/// AAC with spectral band replication, signalled explicitly; the core's object type follows.
const OBJECT_SBR: u8 = 5;
/// The same with parametric stereo.
const OBJECT_PS: u8 = 29;

/// What every ADTS header of a track says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Adts {
    /// Object type 1 to 4 (Main, LC, SSR, LTP) of the core coder.
    object_type: u8,
    /// Index into [`SAMPLE_RATES`] of the core coder: half the output rate when SBR doubles it.
    rate_index: u8,
    /// 1 to 7; 0 when `program` says which channels there are.
    channels: u8,
    /// A program config element. Each access unit begins with it, so that each segment can be played by itself.
    program: Vec<u8>,
}

/// Whether an access unit looks like the track's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// It begins with an element that this channel configuration begins with.
    Like,
    /// It does not.
    Unlike,
    /// It begins with what any track may begin with.
    Unknown,
}

impl Adts {
    /// Reads an AudioSpecificConfig as far as ADTS needs it: what follows (sync extensions) is left alone, because
    /// decoders find SBR and PS in the data itself.
    pub fn parse(config: &[u8]) -> Result<Self, BadAudio> {
        let fields = Fields::read(config).ok_or(BadAudio::Damaged(Damage::AudioConfig {
            codec: AudioCodec::Aac,
            len: config.len(),
        }))?;
        fields.to_adts().map_err(BadAudio::Unsupported)
    }

    /// Appends `unit` with its header to `out`.
    pub fn frame(&self, unit: &[u8], out: &mut Vec<u8>) -> Result<(), Damage> {
        let Some(first) = unit.first() else { return Err(Damage::Empty) };
        if has_header(unit) && unit.len() <= UNIT_BYTES_MAX {
            out.extend_from_slice(unit);
            return Ok(());
        }
        let brings_program = first >> 5 == ELEMENT_PROGRAM;
        let program = if brings_program { &[] } else { &self.program[..] };
        let max = UNIT_BYTES_MAX - program.len();
        if unit.len() > max {
            return Err(Damage::AudioTooLong { len: unit.len(), max });
        }
        out.extend_from_slice(&self.header(program.len() + unit.len()));
        out.extend_from_slice(program);
        out.extend_from_slice(unit);
        Ok(())
    }

    /// Whether `unit` may be one of this track, by the element it begins with (14496-3, table 1.19).
    pub fn likeness(&self, unit: &[u8]) -> Likeness {
        match (unit.first().map_or(ELEMENT_FILL, |first| first >> 5), self.channels) {
            (ELEMENT_DATA | ELEMENT_FILL, _) | (ELEMENT_SINGLE | ELEMENT_PAIR, 0) => {
                Likeness::Unknown
            }
            (ELEMENT_PROGRAM, 0) | (ELEMENT_PAIR, 2) | (ELEMENT_SINGLE, 1 | 3..) => Likeness::Like,
            _ => Likeness::Unlike,
        }
    }

    fn header(&self, unit_bytes: usize) -> [u8; ADTS_HEADER_BYTES] {
        // `frame` keeps the sum within 13 bits.
        let len = (unit_bytes + ADTS_HEADER_BYTES).to_be_bytes();
        let [high, low] = [len[len.len() - 2], len[len.len() - 1]];
        [
            0xFF,
            0xF1, // MPEG-4, layer 0, no CRC
            (self.object_type - 1) << 6 | self.rate_index << 2 | self.channels >> 2,
            self.channels << 6 | high >> 3,
            high << 5 | low >> 3,
            low << 5 | 0x1F, // buffer fullness 0x7FF: variable bit rate
            0xFC,            // one access unit
        ]
    }
}

/// Whether `unit` has an ADTS header of its own, as some encoders send it. No raw one begins so: it would begin with
/// its end (14496-3, table 4.85).
fn has_header(unit: &[u8]) -> bool {
    let [0xFF, second, _, high, middle, low, _, _, ..] = *unit else { return false };
    let length = usize::from(high & 3) << 11 | usize::from(middle) << 3 | usize::from(low >> 5);
    second & 0xF6 == 0xF0 && (ADTS_HEADER_BYTES + 1..=unit.len()).contains(&length)
}

/// The head of an AudioSpecificConfig.
struct Fields {
    object_type: u8,
    rate: Rate,
    channels: u8,
    /// With channel configuration 0, if it could be read.
    program: Option<Program>,
}

enum Rate {
    Index(u8),
    Hertz(u32),
}

impl Fields {
    /// Nothing when the record ends early or uses a reserved rate index.
    fn read(config: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(config);
        let mut object_type = object_type(&mut bits)?;
        let rate = rate(&mut bits)?;
        let channels = bits.take_u8(4)?;
        if matches!(object_type, OBJECT_SBR | OBJECT_PS) {
            self::rate(&mut bits)?; // the output's, twice the core's
            object_type = self::object_type(&mut bits)?;
        }
        let has_program = channels == 0 && ADTS_OBJECT_TYPES.contains(&object_type);
        let program = has_program.then(|| program(&mut bits)).flatten();
        Some(Self { object_type, rate, channels, program })
    }

    fn to_adts(&self) -> Result<Adts, Unsupported> {
        if !ADTS_OBJECT_TYPES.contains(&self.object_type) {
            return Err(Unsupported::AacObjectType(self.object_type));
        }
        let rate_index = match self.rate {
            Rate::Index(index) => index,
            Rate::Hertz(hertz) => nearest_rate(hertz).ok_or(Unsupported::AacSampleRate(hertz))?,
        };
        let (channels, program) = match &self.program {
            Some(program) => match program.channel_configuration() {
                Some(channels) => (channels, Vec::new()),
                None => (0, program.element()),
            },
            None if (1..=7).contains(&self.channels) => (self.channels, Vec::new()),
            // ADTS has three bits for what has four.
            None => match Program::of_configuration(self.channels, self.object_type, rate_index) {
                Some(program) => (0, program.element()),
                None => return Err(Unsupported::AacChannels(self.channels)),
            },
        };
        Ok(Adts { object_type: self.object_type, rate_index, channels, program })
    }
}

fn nearest_rate(hertz: u32) -> Option<u8> {
    let near = |rate: &u32| hertz.abs_diff(*rate) <= rate / SAMPLE_RATE_TOLERANCE;
    SAMPLE_RATES.iter().position(near).and_then(|index| u8::try_from(index).ok())
}

/// The program config element at the end of a GASpecificConfig (14496-3, 4.4.1).
fn program(bits: &mut Bits<'_>) -> Option<Program> {
    bits.take(1)?; // frameLengthFlag
    if bits.take(1)? == 1 {
        bits.take(14)?; // coreCoderDelay
    }
    bits.take(1)?; // extensionFlag
    Program::read(bits)
}

/// GetAudioObjectType: five bits, or the escape 31 and six more.
fn object_type(bits: &mut Bits<'_>) -> Option<u8> {
    match bits.take_u8(5)? {
        31 => Some(32 + bits.take_u8(6)?),
        short => Some(short),
    }
}

fn rate(bits: &mut Bits<'_>) -> Option<Rate> {
    match bits.take_u8(4)? {
        15 => bits.take(24).map(Rate::Hertz),
        index if usize::from(index) < SAMPLE_RATES.len() => Some(Rate::Index(index)),
        _reserved => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn adts(object_type: u8, rate_index: u8, channels: u8) -> Result<Adts, BadAudio> {
        Ok(Adts { object_type, rate_index, channels, program: Vec::new() })
    }

    /// Bit fields as (value, width), padded to bytes.
    fn pack(fields: &[(u32, usize)]) -> Vec<u8> {
        let bits: Vec<bool> = fields
            .iter()
            .flat_map(|&(value, width)| (0..width).rev().map(move |bit| value >> bit & 1 == 1))
            .collect();
        bits.chunks(8)
            .map(|byte| byte.iter().enumerate().map(|(at, &bit)| u8::from(bit) << (7 - at)).sum())
            .collect()
    }

    #[test]
    fn reads_what_common_encoders_send() {
        assert_eq!(Adts::parse(&[0x12, 0x10]), adts(2, 4, 2), "LC, 44.1 kHz, stereo");
        assert_eq!(Adts::parse(&[0x11, 0x90, 0x56, 0xE5, 0x00]), adts(2, 3, 2), "sync extension");
    }

    #[test]
    fn explicit_sbr_and_ps_give_the_core_coder() {
        let he = pack(&[(5, 5), (7, 4), (2, 4), (4, 4), (2, 5), (0, 3)]);
        assert_eq!(Adts::parse(&he), adts(2, 7, 2), "HE-AAC: 22.05 kHz core");
        let he2 = pack(&[(29, 5), (6, 4), (1, 4), (3, 4), (2, 5), (0, 3)]);
        assert_eq!(Adts::parse(&he2), adts(2, 6, 1), "HE-AAC v2: mono core");
    }

    #[test]
    fn a_written_rate_is_taken_when_the_table_has_it_nearly() {
        let at = |hertz| pack(&[(2, 5), (15, 4), (hertz, 24), (2, 4), (0, 3)]);
        assert_eq!(Adts::parse(&at(48_000)), adts(2, 3, 2));
        assert_eq!(Adts::parse(&at(44_056)), adts(2, 4, 2));
        let refused = BadAudio::Unsupported(Unsupported::AacSampleRate(40_000));
        assert_eq!(Adts::parse(&at(40_000)), Err(refused));
    }

    #[test]
    fn what_adts_has_no_bits_for_is_unsupported() {
        let unsupported = |fields: &[(u32, usize)]| Adts::parse(&pack(fields)).unwrap_err();
        assert_eq!(
            unsupported(&[(2, 5), (3, 4), (0, 4), (0, 3)]),
            BadAudio::Unsupported(Unsupported::AacChannels(0)),
            "a program config element that is not there"
        );
        assert_eq!(
            unsupported(&[(31, 5), (10, 6), (3, 4), (2, 4)]),
            BadAudio::Unsupported(Unsupported::AacObjectType(42)),
            "xHE-AAC, by the escape"
        );
    }

    #[test]
    fn a_short_or_reserved_configuration_is_damage() {
        for config in [&[][..], &[0x12], &pack(&[(2, 5), (13, 4), (2, 4)])] {
            let damage = Damage::AudioConfig { codec: AudioCodec::Aac, len: config.len() };
            assert_eq!(Adts::parse(config), Err(BadAudio::Damaged(damage)), "{config:?}");
        }
    }

    #[test]
    fn a_header_has_the_bits_of_the_standard() {
        let adts = adts(2, 4, 2).unwrap();
        let mut out = Vec::new();
        adts.frame(&[0xAA; 371], &mut out).unwrap();
        // ffmpeg -c:a aac -f adts writes the same for a frame of 378 bytes.
        assert_eq!(out[..7], [0xFF, 0xF1, 0x50, 0x80, 0x2F, 0x5F, 0xFC]);
        assert_eq!(out.len(), 378);
    }

    #[test]
    fn units_that_have_a_header_get_no_other() {
        let adts = adts(2, 4, 2).unwrap();
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        adts.frame(&[0x21, 0xAA, 0xBB], &mut once).unwrap();
        adts.frame(&once, &mut twice).unwrap();
        assert_eq!(once, twice);
        // A length that is not there: whatever it is, it is framed.
        twice.clear();
        adts.frame(&once[..8], &mut twice).unwrap();
        assert_eq!(twice.len(), 7 + 8);
    }

    #[test]
    fn units_without_a_length_are_refused() {
        let adts = adts(2, 4, 2).unwrap();
        let mut out = Vec::new();
        assert_eq!(adts.frame(&[], &mut out), Err(Damage::Empty));
        let damage = Damage::AudioTooLong { len: 8185, max: 8184 };
        assert_eq!(adts.frame(&[0; 8185], &mut out), Err(damage));
        assert_eq!(adts.frame(&[0; 8184], &mut out), Ok(()));
    }

    /// As ffmpeg's encoder writes it for three channels: left, right, and one for low frequencies.
    fn two_point_one() -> Vec<u8> {
        let head = [(2, 5), (3, 4), (0, 4), (0, 3), (0, 4), (1, 2), (3, 4)];
        let counts = [(1, 4), (0, 4), (0, 4), (1, 2), (0, 3), (0, 4), (0, 3)];
        let elements = [(1, 1), (0, 4), (0, 4)];
        let mut config = pack(&[&head[..], &counts, &elements].concat());
        config.extend_from_slice(b"\x04weir");
        config
    }

    #[test]
    fn a_program_config_element_goes_before_each_unit() {
        let adts = Adts::parse(&two_point_one()).unwrap();
        assert_eq!((adts.object_type, adts.rate_index, adts.channels), (2, 3, 0));
        let elements = [(0, 4), (1, 2), (3, 4), (1, 4), (0, 4), (0, 4), (1, 2), (0, 3), (0, 4)];
        let program = pack(&[&[(5, 3)], &elements[..], &[(0, 3), (1, 1), (0, 4), (0, 4)]].concat());
        let program = [program, vec![0]].concat();
        let mut out = Vec::new();
        adts.frame(&[0x21, 0xAA], &mut out).unwrap();
        assert_eq!(out[7..], [&program[..], &[0x21, 0xAA]].concat(), "without its comment");
        assert_eq!(usize::from(out[4]) << 3 | usize::from(out[5] >> 5), out.len());
        out.clear();
        adts.frame(&[0xA1, 0xAA], &mut out).unwrap();
        assert_eq!(out[7..], [0xA1, 0xAA], "it has one");
    }

    #[test]
    fn channels_that_adts_has_no_number_for_are_described_by_a_program() {
        for (number, behind) in [(11, [(0, 1), (1, 4)]), (12, [(1, 1), (2, 4)])] {
            let adts = Adts::parse(&pack(&[(2, 5), (3, 4), (number, 4), (0, 3)])).unwrap();
            assert_eq!(adts.channels, 0);
            let head = [(5, 3), (0, 4), (1, 2), (3, 4), (2, 4), (1, 4), (1, 4), (1, 2), (0, 10)];
            let elements = [(0, 1), (0, 4), (1, 1), (0, 4), (1, 1), (1, 4)];
            let program = pack(&[&head[..], &elements, &behind, &[(0, 4)]].concat());
            assert_eq!(adts.program, [program, vec![0]].concat(), "{number}");
        }
        for number in [8, 13, 14] {
            let refused = BadAudio::Unsupported(Unsupported::AacChannels(number));
            let config = pack(&[(2, 5), (3, 4), (number.into(), 4), (0, 3)]);
            assert_eq!(Adts::parse(&config), Err(refused));
        }
    }

    #[test]
    fn a_program_of_a_usual_layout_is_named_by_its_number() {
        let layout = |counts: &[(u32, usize)], elements: &[(u32, usize)]| {
            let head = [(2, 5), (3, 4), (0, 4), (0, 3), (0, 4), (1, 2), (3, 4)];
            Adts::parse(
                &[pack(&[&head[..], counts, &[(0, 10)], elements].concat()), vec![0]].concat(),
            )
        };
        let stereo = layout(&[(1, 4), (0, 4), (0, 4), (0, 2)], &[(1, 1), (0, 4)]);
        assert_eq!(stereo, adts(2, 3, 2));
        let surround = [(0, 1), (0, 4), (1, 1), (0, 4), (1, 1), (1, 4), (0, 4)];
        assert_eq!(layout(&[(2, 4), (0, 4), (1, 4), (1, 2)], &surround), adts(2, 3, 6));
    }

    #[test]
    fn units_tell_whether_they_are_of_the_track() {
        let likeness = |channels, first| adts(2, 3, channels).unwrap().likeness(&[first]);
        assert_eq!([likeness(2, 0x21), likeness(1, 0x01), likeness(6, 0x01)], [Likeness::Like; 3]);
        assert_eq!(
            [likeness(2, 0x01), likeness(1, 0x21), likeness(2, 0xE0)],
            [Likeness::Unlike; 3]
        );
        assert_eq!(likeness(2, 0xC0), Likeness::Unknown, "a fill element");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(config in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(adts) = Adts::parse(&config) {
                prop_assert!((1..=4).contains(&adts.object_type) && adts.channels <= 7);
                prop_assert_eq!(adts.channels == 0, !adts.program.is_empty());
                prop_assert!(adts.program.len() < 60);
            }
        }
    }
}
