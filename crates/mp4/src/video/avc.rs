//! H.264: AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1) and the sequence parameter set.

use super::record::{Described, Reader, size, versioned};
use crate::bits::{Bits, unescape};

/// Profiles whose parameter sets say how colour is sampled (H.264, 7.3.2.1.1).
const WITH_CHROMA: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// Most entries of a picture order cycle (7.4.2.1.1).
const CYCLE_MAX: u32 = 255;

/// From the record; nothing if it lacks a parameter set.
pub fn avc(record: &[u8]) -> Option<Described<'_>> {
    let mut reader = Reader(record);
    let [version, profile, compatibility, level, lengths] = *reader.take(5)?.first_chunk()?;
    if version > 1 || lengths & 3 == 2 {
        return None;
    }
    let sequences = reader.take(1)?[0] & 0x1F;
    let mut first = None;
    for _ in 0..sequences {
        let nal = reader.nal()?;
        first = first.or(Some(nal).filter(|nal| nal.len() > 3));
    }
    let pictures = reader.take(1)?[0];
    for _ in 0..pictures {
        reader.nal()?;
    }
    if pictures == 0 {
        return None;
    }
    Some(Described {
        entry: b"avc1",
        config: b"avcC",
        record: versioned(record),
        codecs: format!("avc1.{profile:02x}{compatibility:02x}{level:02x}"),
        size: sps_size(first?),
    })
}

fn sps_size(nal: &[u8]) -> Option<(u16, u16)> {
    let payload = unescape(nal.get(1..)?);
    let mut bits = Bits::new(&payload);
    let profile = bits.take_u8(8)?;
    bits.skip(16)?; // constraints, level
    bits.ue()?; // seq_parameter_set_id
    let (mut chroma, mut separate) = (1, false);
    if WITH_CHROMA.contains(&profile) {
        chroma = bits.ue()?;
        separate = chroma == 3 && bits.bit()?;
        bits.ue()?; // bit_depth_luma_minus8
        bits.ue()?; // bit_depth_chroma_minus8
        bits.skip(1)?; // qpprime_y_zero_transform_bypass_flag
        if bits.bit()? {
            scaling_lists(&mut bits, chroma)?;
        }
    }
    bits.ue()?; // log2_max_frame_num_minus4
    picture_order(&mut bits)?;
    bits.ue()?; // max_num_ref_frames
    bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
    let width = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let map_units = bits.ue()?.checked_add(1)?;
    let fields = 2 - u32::from(bits.bit()?); // frame_mbs_only_flag
    if fields == 2 {
        bits.skip(1)?; // mb_adaptive_frame_field_flag
    }
    let height = map_units.checked_mul(16 * fields)?;
    bits.skip(1)?; // direct_8x8_inference_flag
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
    let cropped_y = top.checked_add(bottom)?.checked_mul(unit_y * fields)?;
    size(width.checked_sub(cropped_x)?, height.checked_sub(cropped_y)?)
}

/// 7.3.2.1.1.1.
fn scaling_lists(bits: &mut Bits<'_>, chroma: u32) -> Option<()> {
    for list in 0..if chroma == 3 { 12 } else { 8 } {
        if !bits.bit()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.se()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

fn picture_order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.ue()? {
        0 => bits.ue().map(|_| ()),
        1 => {
            bits.skip(1)?;
            bits.se()?;
            bits.se()?;
            let cycle = bits.ue().filter(|cycle| *cycle <= CYCLE_MAX)?;
            (0..cycle).try_for_each(|_| bits.se().map(|_| ()))
        }
        _ => Some(()),
    }
}
