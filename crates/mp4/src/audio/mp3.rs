//! MP3: the frame header (ISO/IEC 11172-3, 2.4.1.3; MPEG-2: 13818-3).

use super::record::{Described, esds};

/// Object types (14496-1, table 5): of MPEG-1, and of MPEG-2 with its lower rates.
const MPEG1: u8 = 0x6B;
const MPEG2: u8 = 0x69;

/// Of MPEG-1; half of them in MPEG-2, a quarter in MPEG-2.5.
const RATES: [u32; 3] = [44100, 48000, 32000];

pub fn mp3(packet: &[u8]) -> Option<Described> {
    let [0xFF, version, rate, mode, ..] = *packet else { return None };
    if version & 0xE0 != 0xE0 || version & 0x06 != 0x02 {
        // No sync word, or another layer than the third.
        return None;
    }
    let rate = *RATES.get(usize::from(rate >> 2 & 3))?;
    let (object, rate, samples) = match version >> 3 & 3 {
        3 => (MPEG1, rate, 1152),
        2 => (MPEG2, rate / 2, 576),
        0 => (MPEG2, rate / 4, 576),
        _reserved => return None,
    };
    Some(Described {
        entry: b"mp4a",
        config: esds(object, &[]),
        // As playlists name it (HLS authoring specification); the object type would be `mp4a.6b`.
        codecs: "mp4a.40.34".to_owned(),
        rate,
        channels: if mode >> 6 == 3 { 1 } else { 2 },
        samples,
    })
}
