//! AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1) and the ADTS header (1.A.2.2).

use weir_media::AudioCodec;

use crate::{
    error::{Damage, Unsupported},
    tracks::BadAudio,
};

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

/// AAC with spectral band replication, signalled explicitly; the core's object type follows.
const OBJECT_SBR: u8 = 5;
/// The same with parametric stereo.
const OBJECT_PS: u8 = 29;

/// What every ADTS header of a track says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Adts {
    /// Object type 1 to 4 (Main, LC, SSR, LTP) of the core coder.
    object_type: u8,
    /// Index into [`SAMPLE_RATES`] of the core coder: half the output rate when SBR doubles it.
    rate_index: u8,
    /// 1 to 7.
    channels: u8,
}

impl Adts {
    /// Reads an AudioSpecificConfig as far as ADTS needs it: what follows (GASpecificConfig, sync extensions) is left
    /// alone, because decoders find SBR and PS in the data itself.
    pub fn parse(config: &[u8]) -> Result<Self, BadAudio> {
        let fields = Fields::read(config).ok_or(BadAudio::Damaged(Damage::AudioConfig {
            codec: AudioCodec::Aac,
            len: config.len(),
        }))?;
        fields.to_adts().map_err(BadAudio::Unsupported)
    }

    /// Appends `unit` with its header to `out`.
    pub fn frame(&self, unit: &[u8], out: &mut Vec<u8>) -> Result<(), Damage> {
        match unit.len() {
            0 => return Err(Damage::Empty),
            len if len > UNIT_BYTES_MAX => {
                return Err(Damage::AudioTooLong { len, max: UNIT_BYTES_MAX });
            }
            _ => {}
        }
        out.extend_from_slice(&self.header(unit.len()));
        out.extend_from_slice(unit);
        Ok(())
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

/// The head of an AudioSpecificConfig.
struct Fields {
    object_type: u8,
    rate: Rate,
    channels: u8,
}

enum Rate {
    Index(u8),
    Hertz(u32),
}

impl Fields {
    /// Nothing when the record ends early or uses a reserved rate index.
    fn read(config: &[u8]) -> Option<Self> {
        let mut bits = Bits { data: config, at: 0 };
        let object_type = bits.object_type()?;
        let rate = bits.rate()?;
        let channels = bits.take_u8(4)?;
        if !matches!(object_type, OBJECT_SBR | OBJECT_PS) {
            return Some(Self { object_type, rate, channels });
        }
        bits.rate()?; // the output's, twice the core's
        Some(Self { object_type: bits.object_type()?, rate, channels })
    }

    fn to_adts(&self) -> Result<Adts, Unsupported> {
        if !(1..=4).contains(&self.object_type) {
            return Err(Unsupported::AacObjectType(self.object_type));
        }
        if !(1..=7).contains(&self.channels) {
            return Err(Unsupported::AacChannels(self.channels));
        }
        let rate_index = match self.rate {
            Rate::Index(index) => index,
            Rate::Hertz(hertz) => nearest_rate(hertz).ok_or(Unsupported::AacSampleRate(hertz))?,
        };
        Ok(Adts { object_type: self.object_type, rate_index, channels: self.channels })
    }
}

fn nearest_rate(hertz: u32) -> Option<u8> {
    let near = |rate: &u32| hertz.abs_diff(*rate) <= rate / SAMPLE_RATE_TOLERANCE;
    SAMPLE_RATES.iter().position(near).and_then(|index| u8::try_from(index).ok())
}

/// Reads big-endian bit fields.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next `count` bits, at most 24.
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for at in self.at..self.at + count {
            let byte = self.data.get(at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - at % 8) & 1);
        }
        self.at += count;
        Some(value)
    }

    fn take_u8(&mut self, count: usize) -> Option<u8> {
        self.take(count).and_then(|value| u8::try_from(value).ok())
    }

    /// GetAudioObjectType: five bits, or the escape 31 and six more.
    fn object_type(&mut self) -> Option<u8> {
        match self.take_u8(5)? {
            31 => Some(32 + self.take_u8(6)?),
            short => Some(short),
        }
    }

    fn rate(&mut self) -> Option<Rate> {
        match self.take_u8(4)? {
            15 => self.take(24).map(Rate::Hertz),
            index if usize::from(index) < SAMPLE_RATES.len() => Some(Rate::Index(index)),
            _reserved => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn adts(object_type: u8, rate_index: u8, channels: u8) -> Result<Adts, BadAudio> {
        Ok(Adts { object_type, rate_index, channels })
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
            "a program config element"
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
        let adts = Adts { object_type: 2, rate_index: 4, channels: 2 };
        let mut out = Vec::new();
        adts.frame(&[0xAA; 371], &mut out).unwrap();
        // ffmpeg -c:a aac -f adts writes the same for a frame of 378 bytes.
        assert_eq!(out[..7], [0xFF, 0xF1, 0x50, 0x80, 0x2F, 0x5F, 0xFC]);
        assert_eq!(out.len(), 378);
    }

    #[test]
    fn units_without_a_length_are_refused() {
        let adts = Adts { object_type: 2, rate_index: 4, channels: 2 };
        let mut out = Vec::new();
        assert_eq!(adts.frame(&[], &mut out), Err(Damage::Empty));
        let damage = Damage::AudioTooLong { len: 8185, max: 8184 };
        assert_eq!(adts.frame(&[0; 8185], &mut out), Err(damage));
        assert_eq!(adts.frame(&[0; 8184], &mut out), Ok(()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(config in proptest::collection::vec(any::<u8>(), 0..24)) {
            if let Ok(adts) = Adts::parse(&config) {
                prop_assert!((1..=4).contains(&adts.object_type) && (1..=7).contains(&adts.channels));
            }
        }
    }
}
