//! H.264 and HEVC: from length-prefixed NAL units (ISO/IEC 14496-15) to the byte stream format (Annex B of both
//! standards).

use weir_media::VideoCodec;

use crate::error::Damage;

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Access unit delimiters with start code, for any kind of picture. Apple's HLS authoring rules ask for one at each
/// access unit.
const AVC_DELIMITER: [u8; 6] = [0, 0, 0, 1, 0x09, 0xF0];
const HEVC_DELIMITER: [u8; 7] = [0, 0, 0, 1, 0x46, 0x01, 0x50];

/// What a NAL unit is, as far as the conversion cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Delimiter,
    /// Bit 0: VPS, 1: SPS, 2: PPS.
    ParameterSet(u8),
    Other,
}

/// All parameter sets that a decoder needs, as bits of [`Kind::ParameterSet`].
fn complete(codec: VideoCodec) -> u8 {
    if codec == VideoCodec::Hevc { 0b111 } else { 0b110 }
}

fn kind(codec: VideoCodec, first_byte: u8) -> Kind {
    if codec == VideoCodec::Hevc {
        match first_byte >> 1 & 0x3F {
            32 => Kind::ParameterSet(0b001),
            33 => Kind::ParameterSet(0b010),
            34 => Kind::ParameterSet(0b100),
            35 => Kind::Delimiter,
            _ => Kind::Other,
        }
    } else {
        match first_byte & 0x1F {
            7 => Kind::ParameterSet(0b010),
            8 => Kind::ParameterSet(0b100),
            9 => Kind::Delimiter,
            _ => Kind::Other,
        }
    }
}

/// A decoder configuration record, ready for conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParameterSets {
    codec: VideoCodec,
    /// Bytes of the length before each NAL unit: 1, 2 or 4.
    length_bytes: usize,
    /// The record's NAL units with start codes.
    annex_b: Vec<u8>,
}

impl ParameterSets {
    /// AVCDecoderConfigurationRecord, 14496-15, 5.3.3.1. What follows the picture parameter sets is not needed.
    pub fn parse_avcc(record: &[u8]) -> Option<Self> {
        let mut reader = Reader(record);
        let head = reader.take(6)?;
        let length_bytes = length_bytes(head[4])?;
        let mut annex_b = Vec::new();
        reader.nal_units(usize::from(head[5] & 0x1F), &mut annex_b)?;
        let pictures = reader.take(1)?[0];
        reader.nal_units(usize::from(pictures), &mut annex_b)?;
        (head[0] == 1).then_some(Self { codec: VideoCodec::Avc, length_bytes, annex_b })
    }

    /// HEVCDecoderConfigurationRecord, 14496-15, 8.3.3.1. All arrays are kept: besides the parameter sets encoders put
    /// SEI messages there that hold for the whole stream (HDR mastering data).
    pub fn parse_hvcc(record: &[u8]) -> Option<Self> {
        let mut reader = Reader(record);
        let head = reader.take(23)?;
        let length_bytes = length_bytes(head[21])?;
        let mut annex_b = Vec::new();
        for _ in 0..head[22] {
            reader.take(1)?;
            let count = reader.u16()?;
            reader.nal_units(count, &mut annex_b)?;
        }
        Some(Self { codec: VideoCodec::Hevc, length_bytes, annex_b })
    }

    /// Appends the access unit to `out` in byte stream format: an access unit delimiter first; then, for a key frame
    /// that does not bring its own, the parameter sets; then its NAL units as they are.
    ///
    /// # Errors
    /// A NAL unit that is cut short, or no NAL unit at all; `out` then has a part of the unit in it.
    pub fn convert(&self, unit: &[u8], key: bool, out: &mut Vec<u8>) -> Result<(), Damage> {
        let brought = self.survey(unit)?;
        if self.codec == VideoCodec::Hevc {
            out.extend_from_slice(&HEVC_DELIMITER);
        } else {
            out.extend_from_slice(&AVC_DELIMITER);
        }
        if key && brought & complete(self.codec) != complete(self.codec) {
            out.extend_from_slice(&self.annex_b);
        }
        for nal in self.units(unit) {
            let nal = nal?;
            if kind(self.codec, nal[0]) != Kind::Delimiter {
                out.extend_from_slice(&START_CODE);
                out.extend_from_slice(nal);
            }
        }
        Ok(())
    }

    /// Which parameter sets the access unit has in itself.
    fn survey(&self, unit: &[u8]) -> Result<u8, Damage> {
        let (mut sets, mut empty) = (0, true);
        for nal in self.units(unit) {
            match kind(self.codec, nal?[0]) {
                Kind::ParameterSet(bit) => sets |= bit,
                Kind::Delimiter => continue,
                Kind::Other => {}
            }
            empty = false;
        }
        if empty { Err(Damage::Empty) } else { Ok(sets) }
    }

    /// The NAL units of an access unit, none of them empty.
    fn units<'a>(&self, unit: &'a [u8]) -> Units<'a> {
        Units { unit, at: 0, length_bytes: self.length_bytes }
    }
}

/// `lengthSizeMinusOne`, the low two bits; three bytes are not allowed.
fn length_bytes(byte: u8) -> Option<usize> {
    match byte & 3 {
        2 => None,
        minus_one => Some(usize::from(minus_one) + 1),
    }
}

/// Takes a configuration record apart; nothing when it is too short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<usize> {
        let bytes = self.take(2)?;
        Some(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    }

    /// `count` NAL units, each after its length in two bytes.
    fn nal_units(&mut self, count: usize, annex_b: &mut Vec<u8>) -> Option<()> {
        for _ in 0..count {
            let len = self.u16()?;
            let nal = self.take(len)?;
            if !nal.is_empty() {
                annex_b.extend_from_slice(&START_CODE);
                annex_b.extend_from_slice(nal);
            }
        }
        Some(())
    }
}

struct Units<'a> {
    unit: &'a [u8],
    at: usize,
    length_bytes: usize,
}

impl<'a> Iterator for Units<'a> {
    type Item = Result<&'a [u8], Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        // Some encoders send empty NAL units; they mean nothing.
        loop {
            if self.at >= self.unit.len() {
                return None;
            }
            match self.read() {
                Ok([]) => {}
                Ok(nal) => return Some(Ok(nal)),
                Err(damage) => {
                    self.at = self.unit.len();
                    return Some(Err(damage));
                }
            }
        }
    }
}

impl<'a> Units<'a> {
    fn read(&mut self) -> Result<&'a [u8], Damage> {
        let at = self.at;
        let rest = &self.unit[at..];
        let Some((length, rest)) = rest.split_at_checked(self.length_bytes) else {
            return Err(Damage::NalLength { at, claimed: self.length_bytes, left: rest.len() });
        };
        let claimed = length.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
        let Some(nal) = rest.get(..claimed) else {
            return Err(Damage::NalLength { at, claimed, left: rest.len() });
        };
        self.at = at + self.length_bytes + claimed;
        Ok(nal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPS: [u8; 4] = [0x67, 0x64, 0, 31];
    const PPS: [u8; 2] = [0x68, 0xEB];

    fn avcc(length_minus_one: u8) -> Vec<u8> {
        let mut record = vec![1, 0x64, 0, 31, 0xFC | length_minus_one, 0xE1, 0, 4];
        record.extend_from_slice(&SPS);
        record.extend_from_slice(&[1, 0, 2]);
        record.extend_from_slice(&PPS);
        record
    }

    fn hvcc() -> Vec<u8> {
        let mut record = vec![1; 23];
        (record[21], record[22]) = (0xFF, 3);
        for nal_type in [32_u8, 33, 34] {
            record.extend_from_slice(&[nal_type, 0, 1, 0, 2, nal_type << 1, 1]);
        }
        record
    }

    fn annex_b(nals: &[&[u8]]) -> Vec<u8> {
        nals.iter().flat_map(|nal| [&START_CODE[..], nal].concat()).collect()
    }

    fn convert(sets: &ParameterSets, unit: &[u8], key: bool) -> Result<Vec<u8>, Damage> {
        let mut out = Vec::new();
        sets.convert(unit, key, &mut out).map(|()| out)
    }

    #[test]
    fn a_key_frame_gets_delimiter_and_parameter_sets() {
        let sets = ParameterSets::parse_avcc(&avcc(3)).unwrap();
        let unit = [0, 0, 0, 2, 0x65, 0x88, 0, 0, 0, 1, 0x0C];
        assert_eq!(
            convert(&sets, &unit, true).unwrap(),
            annex_b(&[&[9, 0xF0], &SPS, &PPS, &[0x65, 0x88], &[0x0C]])
        );
        assert_eq!(
            convert(&sets, &unit, false).unwrap(),
            annex_b(&[&[9, 0xF0], &[0x65, 0x88], &[0x0C]])
        );
    }

    #[test]
    fn delimiter_and_parameter_sets_of_the_encoder_are_not_doubled() {
        let sets = ParameterSets::parse_avcc(&avcc(0)).unwrap();
        let unit = [2, 9, 0x10, 2, 0x67, 0x42, 2, 0x68, 0xCE, 2, 0x65, 0x88];
        assert_eq!(
            convert(&sets, &unit, true).unwrap(),
            annex_b(&[&[9, 0xF0], &[0x67, 0x42], &[0x68, 0xCE], &[0x65, 0x88]])
        );
    }

    #[test]
    fn hevc_gets_its_three_sets() {
        let sets = ParameterSets::parse_hvcc(&hvcc()).unwrap();
        let unit = [0, 0, 0, 3, 0x26, 1, 0xAF];
        assert_eq!(
            convert(&sets, &unit, true).unwrap(),
            annex_b(&[&[0x46, 1, 0x50], &[64, 1], &[66, 1], &[68, 1], &[0x26, 1, 0xAF]])
        );
    }

    #[test]
    fn lengths_of_one_two_and_four_bytes() {
        for (minus_one, unit) in [(0, &[1, 0x41][..]), (1, &[0, 1, 0x41]), (3, &[0, 0, 0, 1, 0x41])]
        {
            let sets = ParameterSets::parse_avcc(&avcc(minus_one)).unwrap();
            assert_eq!(convert(&sets, unit, false).unwrap(), annex_b(&[&[9, 0xF0], &[0x41]]));
        }
        assert_eq!(ParameterSets::parse_avcc(&avcc(2)), None, "three bytes are not allowed");
    }

    #[test]
    fn a_length_past_the_end_is_damage() {
        let sets = ParameterSets::parse_avcc(&avcc(3)).unwrap();
        let damage = Damage::NalLength { at: 5, claimed: 0xFFFF_FFFF, left: 1 };
        let unit = [0, 0, 0, 1, 0x41, 0xFF, 0xFF, 0xFF, 0xFF, 0x41];
        assert_eq!(convert(&sets, &unit, false), Err(damage));
        let damage = Damage::NalLength { at: 5, claimed: 4, left: 2 };
        assert_eq!(convert(&sets, &unit[..7], false), Err(damage));
        assert_eq!(convert(&sets, &[], true), Err(Damage::Empty));
        assert_eq!(convert(&sets, &[0, 0, 0, 0], true), Err(Damage::Empty));
    }

    #[test]
    fn a_record_cut_short_anywhere_is_refused() {
        let (avcc, hvcc) = (avcc(3), hvcc());
        assert!((0..avcc.len()).all(|len| ParameterSets::parse_avcc(&avcc[..len]).is_none()));
        assert!((0..hvcc.len()).all(|len| ParameterSets::parse_hvcc(&hvcc[..len]).is_none()));
    }

    proptest! {
        #[test]
        fn nal_units_come_out_as_they_went_in(
            nals in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 1..6),
            key: bool,
        ) {
            let sets = ParameterSets::parse_avcc(&avcc(1)).unwrap();
            let slices: Vec<Vec<u8>> = nals.into_iter().map(|mut nal| { nal[0] = 0x41; nal }).collect();
            let unit: Vec<u8> = slices
                .iter()
                .flat_map(|nal| [&u16::try_from(nal.len()).unwrap().to_be_bytes()[..], nal].concat())
                .collect();
            let out = convert(&sets, &unit, key).unwrap();
            let expected: Vec<&[u8]> = slices.iter().map(Vec::as_slice).collect();
            prop_assert!(out.ends_with(&annex_b(&expected)));
        }

        #[test]
        fn any_bytes_are_converted_or_refused(
            record in proptest::collection::vec(any::<u8>(), 0..60),
            unit in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            for sets in [ParameterSets::parse_avcc(&record), ParameterSets::parse_hvcc(&record)].into_iter().flatten() {
                let _ = convert(&sets, &unit, true);
            }
        }
    }
}
