//! What the modules of the codecs share.

use crate::boxes::{full, put16, zeros};

/// What goes into a sample entry.
pub struct Described {
    /// The entry's type.
    pub entry: &'static [u8; 4],
    /// The boxes that follow its fields.
    pub config: Vec<u8>,
    pub codecs: String,
    /// Samples a second.
    pub rate: u32,
    pub channels: u16,
    /// Samples of a packet, mostly.
    pub samples: u32,
}

/// The sample rates that AAC has numbers for (14496-3, table 1.18).
pub const AAC_RATES: [u32; 13] =
    [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

/// Descriptor tags (14496-1, table 1).
const ES: u8 = 3;
const DECODER_CONFIG: u8 = 4;
const DECODER_SPECIFIC: u8 = 5;
const SL_CONFIG: u8 = 6;

/// AudioStream, with the reserved bit that is set (14496-1, 7.2.6.6).
const AUDIO_STREAM: u8 = 5 << 2 | 1;

/// The elementary stream descriptor of `mp4a` (14496-14, 5.6), for the object type `object`.
pub fn esds(object: u8, specific: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + specific.len());
    full(&mut out, b"esds", 0, 0, |out| {
        descriptor(out, ES, |out| {
            put16(out, 0); // ES_ID
            out.push(0); // flags
            descriptor(out, DECODER_CONFIG, |out| {
                out.extend_from_slice(&[object, AUDIO_STREAM]);
                zeros(out, 3 + 4 + 4); // buffer size and bit rates: unknown
                if !specific.is_empty() {
                    descriptor(out, DECODER_SPECIFIC, |out| out.extend_from_slice(specific));
                }
            });
            descriptor(out, SL_CONFIG, |out| out.push(2)); // as 14496-14 prescribes
        });
    });
    out
}

/// A descriptor with its length in four bytes of seven bits (14496-1, 8.3.3).
fn descriptor(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[tag, 0, 0, 0, 0]);
    write(out);
    let mut len = out.len() - start - 5;
    for (at, byte) in out[start + 1..start + 5].iter_mut().enumerate().rev() {
        *byte = (len & 0x7F) as u8 | if at < 3 { 0x80 } else { 0 };
        len >>= 7;
    }
}
