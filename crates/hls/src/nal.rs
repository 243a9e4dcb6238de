//! NAL units of H.264 and HEVC: from what encoders put into a message (ISO/IEC 14496-15: each after its length; or, as
//! some do, the byte stream format) to the byte stream format (Annex B of both standards).

use weir_media::VideoCodec;

use crate::error::Damage;

pub(crate) const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// What a NAL unit is, as far as the conversion cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Delimiter,
    /// Which one: 0 VPS, 1 SPS, 2 PPS.
    ParameterSet(usize),
    /// A part of a picture; `idr`: of one that decoding can start at.
    Slice {
        idr: bool,
    },
    /// Nothing without the picture before it.
    Trailer,
    /// Something for the picture after it.
    Other,
}

/// The place of sequence parameter sets, which say how large pictures are, in [`Kind::ParameterSet`].
pub(crate) const SPS: usize = 1;

/// All kinds of parameter sets that a decoder needs, as bits.
pub(crate) fn complete(codec: VideoCodec) -> u8 {
    if codec == VideoCodec::Hevc { 0b111 } else { 0b110 }
}

/// What the NAL unit with this first byte is: H.264, table 7-1; HEVC, table 7-1.
pub(crate) fn kind(codec: VideoCodec, first_byte: u8) -> Kind {
    if codec == VideoCodec::Hevc {
        match first_byte >> 1 & 0x3F {
            unit @ 0..=31 => Kind::Slice { idr: (16..=21).contains(&unit) },
            unit @ 32..=34 => Kind::ParameterSet(usize::from(unit) - 32),
            35 => Kind::Delimiter,
            36..=38 | 40 => Kind::Trailer,
            _ => Kind::Other,
        }
    } else {
        match first_byte & 0x1F {
            unit @ (1..=5 | 19..=21) => Kind::Slice { idr: unit == 5 },
            unit @ (7 | 8) => Kind::ParameterSet(usize::from(unit) - 6),
            9 => Kind::Delimiter,
            10..=12 => Kind::Trailer,
            _ => Kind::Other,
        }
    }
}

/// How NAL units are told apart in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each comes after its length of so many bytes.
    Lengths(usize),
    /// Each comes after a start code.
    StartCodes,
}

/// What is in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    pub framing: Framing,
    /// Whether it can be read in one way only.
    pub is_plain: bool,
    /// The parameter sets in it, as bits.
    pub sets: u8,
    /// Whether a picture is in it, or a part of one.
    pub has_picture: bool,
    /// Whether that is one that decoding can start at.
    pub has_idr: bool,
    /// Whether its first part is not the first of a picture.
    pub continues: bool,
}

impl Survey {
    /// Looks through `unit`. A message that can be read in both ways is read like those before it.
    pub fn of(
        codec: VideoCodec,
        unit: &[u8],
        length_bytes: usize,
        has_start_codes: bool,
    ) -> Result<Self, Damage> {
        let by_length = Self::framed(codec, unit, Framing::Lengths(length_bytes));
        if !begins_with_start_code(unit) {
            return by_length;
        }
        let is_plain = by_length.is_err();
        match by_length {
            Ok(survey) if !has_start_codes => Ok(Self { is_plain, ..survey }),
            _ => Self::framed(codec, unit, Framing::StartCodes)
                .map(|survey| Self { is_plain, ..survey }),
        }
    }

    fn framed(codec: VideoCodec, unit: &[u8], framing: Framing) -> Result<Self, Damage> {
        let mut survey = Self {
            framing,
            is_plain: true,
            sets: 0,
            has_picture: false,
            has_idr: false,
            continues: false,
        };
        let mut is_empty = true;
        each_nal(unit, framing, |nal| {
            match kind(codec, nal[0]) {
                Kind::Delimiter => return,
                Kind::ParameterSet(which) => survey.sets |= 1 << which,
                Kind::Slice { idr } => {
                    if !survey.has_picture {
                        survey.continues = !is_first_slice(codec, nal);
                    }
                    survey.has_picture = true;
                    survey.has_idr |= idr;
                }
                Kind::Trailer | Kind::Other => {}
            }
            is_empty = false;
        })?;
        if is_empty { Err(Damage::Empty) } else { Ok(survey) }
    }
}

/// Whether a part of a picture is the first one: H.264, 7.3.3 (`first_mb_in_slice` is 0, which is one bit that is set);
/// HEVC, 7.3.6.1 (`first_slice_segment_in_pic_flag`).
fn is_first_slice(codec: VideoCodec, nal: &[u8]) -> bool {
    let at = match (codec, nal[0] & 0x1F) {
        (VideoCodec::Hevc, _) => 2,
        (_, 1 | 2 | 5) => 1,
        // Partitions and layers come after what they belong to.
        _ => return false,
    };
    nal.get(at).is_some_and(|byte| byte & 0x80 != 0)
}

/// Appends a NAL unit with its start code.
pub(crate) fn put(nal: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&START_CODE);
    out.extend_from_slice(nal);
}

/// Whether the byte stream format begins here.
pub(crate) fn begins_with_start_code(unit: &[u8]) -> bool {
    matches!(unit, [0, 0, 1, ..] | [0, 0, 0, 1, ..])
}

/// Calls `each` with the NAL units of a message, none of them empty: some encoders send empty ones, which mean nothing.
/// Others put several with start codes behind one length.
pub(crate) fn each_nal(
    unit: &[u8],
    framing: Framing,
    mut each: impl FnMut(&[u8]),
) -> Result<(), Damage> {
    let Framing::Lengths(length_bytes) = framing else {
        split(unit, &mut each);
        return Ok(());
    };
    let mut at = 0;
    while at < unit.len() {
        let rest = &unit[at..];
        let Some((length, rest)) = rest.split_at_checked(length_bytes) else {
            return Err(Damage::NalLength { at, claimed: length_bytes, left: rest.len() });
        };
        let claimed = length.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
        let Some(nal) = rest.get(..claimed) else {
            return Err(Damage::NalLength { at, claimed, left: rest.len() });
        };
        match nal {
            [] => {}
            _ if begins_with_start_code(nal) => split(nal, &mut each),
            _ => each(nal),
        }
        at += length_bytes + claimed;
    }
    Ok(())
}

/// Calls `each` with the NAL units between start codes.
fn split(unit: &[u8], each: &mut impl FnMut(&[u8])) {
    let mut rest = unit;
    while let Some(begin) = start_code(rest) {
        rest = &rest[begin + 3..];
        let end = start_code(rest).unwrap_or(rest.len());
        // Zeros before a start code are its first byte, or padding (H.264, B.1).
        let len = rest[..end].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if len > 0 {
            each(&rest[..len]);
        }
        rest = &rest[end..];
    }
}

/// Where the next three bytes of a start code are.
fn start_code(data: &[u8]) -> Option<usize> {
    data.windows(3).position(|window| window == [0, 0, 1])
}
