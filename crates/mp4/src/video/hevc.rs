//! HEVC: HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1) and the sequence parameter set.

use std::fmt::Write as _;

use super::record::{Described, Reader, size, versioned};
use crate::bits::{Bits, unescape};

/// The type of a sequence parameter set's NAL unit (H.265, table 7-1).
const SPS: u8 = 33;

/// Bits of profile and tier, and of those with the level, in profile_tier_level (7.3.3).
const PROFILE_BITS: usize = 88;
const LEVEL_BITS: usize = 8;

/// From the record; nothing if it lacks a sequence parameter set.
pub fn hevc(record: &[u8]) -> Option<Described<'_>> {
    let mut reader = Reader(record);
    let head = reader.take(22)?;
    if head[0] > 1 || head[21] & 3 == 2 {
        return None;
    }
    let arrays = reader.take(1)?[0];
    let mut sps = None;
    for _ in 0..arrays {
        let kind = reader.take(1)?[0] & 0x3F;
        let count = reader.take(2)?;
        for _ in 0..u16::from_be_bytes([count[0], count[1]]) {
            let nal = reader.nal()?;
            sps = sps.or(Some(nal).filter(|nal| kind == SPS && nal.len() > 3));
        }
    }
    Some(Described {
        entry: b"hvc1",
        config: b"hvcC",
        record: versioned(record),
        codecs: codecs(head)?,
        size: sps_size(sps?),
    })
}

/// 14496-15, annex E.3.
fn codecs(head: &[u8]) -> Option<String> {
    let space = ["", "A", "B", "C"][usize::from(head[1] >> 6)];
    let tier = if head[1] & 0x20 == 0 { 'L' } else { 'H' };
    let profile = head[1] & 0x1F;
    let compatibility = u32::from_be_bytes(*head.get(2..6)?.first_chunk()?).reverse_bits();
    let mut codecs = format!("hvc1.{space}{profile}.{compatibility:X}.{tier}{}", head[12]);
    let constraints = head.get(6..12)?;
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        // Writing to a String cannot fail.
        let _ = write!(codecs, ".{byte:X}");
    }
    Some(codecs)
}

fn sps_size(nal: &[u8]) -> Option<(u16, u16)> {
    let payload = unescape(nal.get(2..)?);
    let mut bits = Bits::new(&payload);
    bits.skip(4)?; // sps_video_parameter_set_id
    let layers = bits.take(3)?;
    bits.skip(1)?; // sps_temporal_id_nesting_flag
    profile_tier_level(&mut bits, layers)?;
    bits.ue()?; // sps_seq_parameter_set_id
    let chroma = bits.ue()?;
    let separate = chroma == 3 && bits.bit()?;
    let (width, height) = (bits.ue()?, bits.ue()?);
    if !bits.bit()? {
        return size(width, height);
    }
    let [left, right, top, bottom] = [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?];
    let (unit_x, unit_y) = match chroma {
        1 if !separate => (2, 2),
        2 if !separate => (2, 1),
        _ => (1, 1),
    };
    let cropped_x = left.checked_add(right)?.checked_mul(unit_x)?;
    let cropped_y = top.checked_add(bottom)?.checked_mul(unit_y)?;
    size(width.checked_sub(cropped_x)?, height.checked_sub(cropped_y)?)
}

/// 7.3.3, with `layers` sublayers beside the one that has all.
fn profile_tier_level(bits: &mut Bits<'_>, layers: u32) -> Option<()> {
    bits.skip(PROFILE_BITS + LEVEL_BITS)?;
    let mut more = 0;
    for _ in 0..layers {
        more += usize::from(bits.bit()?) * PROFILE_BITS;
        more += usize::from(bits.bit()?) * LEVEL_BITS;
    }
    if layers > 0 {
        bits.skip(2 * (8 - layers as usize))?;
    }
    bits.skip(more)
}
