//! FLAC: `dfLa` (Encapsulation of FLAC in ISO Base Media File Format, 3.3.2) from STREAMINFO (RFC 9639, 8.2).

use super::record::Described;
use crate::{bits::Bits, boxes::full};

const STREAM_INFO_BYTES: usize = 34;

/// The mark of the last metadata block (RFC 9639, 8.1); its lower bits are its type, 0 for STREAMINFO.
const LAST: u8 = 0x80;

/// From STREAMINFO, as it is, after its block's header, or in a file's first bytes: encoders differ. Other blocks are
/// left out: decoders do not need them.
pub fn flac(record: &[u8]) -> Option<Described> {
    let blocks = record.strip_prefix(b"fLaC").unwrap_or(record);
    let info = match blocks {
        [kind, 0, 0, len, rest @ ..]
            if kind & !LAST == 0 && usize::from(*len) == STREAM_INFO_BYTES =>
        {
            rest.get(..STREAM_INFO_BYTES)?
        }
        _ => Some(blocks).filter(|info| info.len() == STREAM_INFO_BYTES)?,
    };
    let mut bits = Bits::new(info);
    let samples = bits.take(16)?;
    bits.skip(64)?; // the largest block, sizes of frames
    let rate = bits.take(20).filter(|rate| *rate > 0)?;
    let channels = u16::try_from(bits.take(3)?).ok()? + 1;
    let mut config = Vec::new();
    full(&mut config, b"dfLa", 0, 0, |out| {
        out.extend_from_slice(&[LAST, 0, 0, STREAM_INFO_BYTES as u8]);
        out.extend_from_slice(info);
    });
    Some(Described {
        entry: b"fLaC",
        config,
        codecs: "fLaC".to_owned(),
        rate,
        channels,
        samples: samples.max(1),
    })
}
