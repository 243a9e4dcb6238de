//! VP9: VPCodecConfigurationRecord (VP Codec ISO Media File Format Binding, 1.0) and the frame header (VP9, 6.2).

use std::borrow::Cow;

use super::record::{Described, size};
use crate::bits::Bits;

/// Version 1 and no flags: the record is a full box, and encoders send these with it. Others send what follows alone.
const HEAD: [u8; 4] = [1, 0, 0, 0];

/// Bytes of the record without its head, if no data for the codec's initialization follow.
const RECORD_BYTES_MIN: usize = 8;

const SYNC_CODE: u32 = 0x0049_8342;

/// The colour space that has a bit less in the header (7.2.2).
const SRGB: u32 = 7;

/// From the record; `key` says how large pictures are.
pub fn vp9<'a>(record: &'a [u8], key: &[u8]) -> Option<Described<'a>> {
    let (record, fields) = match record.strip_prefix(&HEAD) {
        Some(fields) if fields.len() >= RECORD_BYTES_MIN => (Cow::Borrowed(record), fields),
        _ => (Cow::Owned([&HEAD, record].concat()), record),
    };
    if fields.len() < RECORD_BYTES_MIN {
        return None;
    }
    let [profile, level, depth] = [fields[0], fields[1], fields[2] >> 4];
    Some(Described {
        entry: b"vp09",
        config: b"vpcC",
        codecs: format!("vp09.{profile:02}.{level:02}.{depth:02}"),
        record,
        size: frame_size(key),
    })
}

/// From the uncompressed header of a key frame.
fn frame_size(key: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(key);
    if bits.take(2)? != 2 {
        return None;
    }
    let profile = u32::from(bits.bit()?) | u32::from(bits.bit()?) << 1;
    bits.skip(usize::from(profile == 3))?;
    let (shows_another, is_inter) = (bits.bit()?, bits.bit()?);
    bits.skip(2)?; // show_frame, error_resilient_mode
    if shows_another || is_inter || bits.take(24)? != SYNC_CODE {
        return None;
    }
    bits.skip(usize::from(profile >= 2))?; // ten_or_twelve_bit
    let is_srgb = bits.take(3)? == SRGB;
    match (is_srgb, profile % 2 == 1) {
        (false, false) => bits.skip(1)?, // color_range
        (false, true) => bits.skip(4)?,  // and how colour is sampled
        (true, has_sampling) => bits.skip(usize::from(has_sampling))?,
    }
    let (width, height) = (bits.take(16)?, bits.take(16)?);
    size(width + 1, height + 1)
}
