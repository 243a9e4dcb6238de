//! AV1: AV1CodecConfigurationRecord (AV1-ISOBMFF, 2.3.3) and the sequence header (AV1, 5.5).

use std::borrow::Cow;

use super::record::{Described, size};
use crate::bits::Bits;

/// OBU_SEQUENCE_HEADER (AV1, 6.2.2).
const SEQUENCE_HEADER: u8 = 1;

/// Marker and version, the record's first byte.
const MARKER: u8 = 0x81;

/// Levels above this have a bit for their tier (5.5.1).
const TIERLESS_LEVEL_MAX: u32 = 7;

/// From the record; `key` is where the sequence header is looked for if the record has none.
pub fn av1<'a>(record: &'a [u8], key: &[u8]) -> Option<Described<'a>> {
    let [MARKER, profile_level, flags, _delay, obus @ ..] = record else { return None };
    let (profile, level) = (profile_level >> 5, profile_level & 0x1F);
    let tier = if flags & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match (flags >> 6 & 1, flags >> 5 & 1) {
        (0, _) => 8,
        (_, 0) => 10,
        _ => 12,
    };
    let header = sequence_header(obus).or_else(|| sequence_header(key));
    Some(Described {
        entry: b"av01",
        config: b"av1C",
        record: Cow::Borrowed(record),
        codecs: format!("av01.{profile}.{level:02}{tier}.{depth:02}"),
        size: header.and_then(header_size),
    })
}

/// The sequence header among the OBUs of a record or a temporal unit (5.3.1).
fn sequence_header(mut obus: &[u8]) -> Option<&[u8]> {
    loop {
        let (&header, rest) = obus.split_first()?;
        let rest = if header & 4 == 0 { rest } else { rest.get(1..)? };
        let (len, rest) = if header & 2 == 0 { (rest.len(), rest) } else { leb128(rest)? };
        let (payload, next) = rest.split_at_checked(len)?;
        if header >> 3 & 0xF == SEQUENCE_HEADER {
            return Some(payload);
        }
        obus = next;
    }
}

/// A length of up to eight bytes (4.10.5).
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[at + 1..]));
        }
    }
    None
}

/// `max_frame_width_minus_1` and height (5.5.1).
fn header_size(payload: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(payload);
    bits.skip(4)?; // seq_profile, still_picture
    if bits.bit()? {
        bits.skip(5)?; // reduced_still_picture_header: one level and nothing else
    } else {
        operating_points(&mut bits)?;
    }
    let (width_bits, height_bits) = (bits.take(4)? + 1, bits.take(4)? + 1);
    let (width, height) = (bits.take(width_bits)?, bits.take(height_bits)?);
    size(width + 1, height + 1)
}

fn operating_points(bits: &mut Bits<'_>) -> Option<()> {
    let mut delay_bits = None;
    if bits.bit()? {
        bits.skip(64)?; // num_units_in_display_tick, time_scale
        if bits.bit()? {
            bits.ue()?; // num_ticks_per_picture_minus_1
        }
        if bits.bit()? {
            delay_bits = Some(bits.take(5)? as usize + 1);
            bits.skip(32 + 5 + 5)?;
        }
    }
    let has_display_delay = bits.bit()?;
    for _ in 0..=bits.take(5)? {
        bits.skip(12)?; // operating_point_idc
        if bits.take(5)? > TIERLESS_LEVEL_MAX {
            bits.skip(1)?; // seq_tier
        }
        if let Some(delay_bits) = delay_bits
            && bits.bit()?
        {
            bits.skip(2 * delay_bits + 1)?;
        }
        if has_display_delay && bits.bit()? {
            bits.skip(4)?;
        }
    }
    Some(())
}
