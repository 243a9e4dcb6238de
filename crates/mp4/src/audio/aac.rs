//! AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).

use super::record::{AAC_RATES, Described, esds};
use crate::bits::Bits;

/// Audio ISO/IEC 14496-3 (14496-1, table 5).
const OBJECT: u8 = 0x40;

/// Samples of a packet. With spectral band replication they are as many of the core coder's.
const SAMPLES: u32 = 1024;

pub fn aac(record: &[u8]) -> Option<Described> {
    let mut bits = Bits::new(record);
    let object = match bits.take(5)? {
        31 => 32 + bits.take(6)?,
        short => short,
    };
    let rate = match bits.take(4)? {
        15 => bits.take(24)?,
        index => *AAC_RATES.get(index as usize)?,
    };
    if object == 0 || rate == 0 {
        return None;
    }
    // Table 1.19. 0 is a program config element, which decoders read; the entry's number is a hint only.
    let channels = match bits.take(4)? {
        count @ 1..=6 => u16::try_from(count).ok()?,
        7 | 12 | 14 => 8,
        11 => 7,
        13 => 24,
        _ => 2,
    };
    Some(Described {
        entry: b"mp4a",
        config: esds(OBJECT, record),
        codecs: format!("mp4a.40.{object}"),
        rate,
        channels,
        samples: SAMPLES,
    })
}
