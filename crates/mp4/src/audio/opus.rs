//! Opus: from OpusHead (RFC 7845, 5.1) to `dOps` (Encapsulation of Opus in ISO Base Media File Format, 4.3.2).

use super::record::Described;
use crate::boxes::plain;

const MAGIC: &[u8] = b"OpusHead";

/// The rate at which Opus counts, whatever the original's.
const RATE: u32 = 48_000;

/// Samples of a packet of 20 ms, which encoders send unless told otherwise.
const SAMPLES: u32 = 960;

pub fn opus(record: &[u8]) -> Option<Described> {
    let fields = record.strip_prefix(MAGIC)?;
    let ([version, channels, skip @ .., family], table) = fields.split_first_chunk::<11>()?;
    // The upper half of the version is what is not compatible.
    if *version > 15 || *channels == 0 || *family != 0 && table.len() < 2 + usize::from(*channels) {
        return None;
    }
    let table = if *family == 0 { &[] } else { &table[..2 + usize::from(*channels)] };
    let [skip_low, skip_high, r0, r1, r2, r3, gain_low, gain_high] = *skip;
    let mut config = Vec::new();
    plain(&mut config, b"dOps", |out| {
        out.extend_from_slice(&[0, *channels, skip_high, skip_low]);
        out.extend_from_slice(&[r3, r2, r1, r0, gain_high, gain_low, *family]);
        out.extend_from_slice(table);
    });
    Some(Described {
        entry: b"Opus",
        config,
        codecs: "opus".to_owned(),
        rate: RATE,
        channels: u16::from(*channels),
        samples: SAMPLES,
    })
}
