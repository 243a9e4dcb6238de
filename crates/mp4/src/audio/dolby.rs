//! AC-3 and E-AC-3: `dac3` and `dec3` (ETSI TS 102 366, annex F) from the first packet.

use super::record::Described;
use crate::{bits::Bits, boxes::plain};

const SYNC_WORD: u32 = 0x0B77;

/// By `fscod` (4.4.1.3).
const RATES: [u32; 3] = [48000, 44100, 32000];

/// Channels by `acmod` (4.4.2.3), without the one for low frequencies.
const CHANNELS: [u16; 8] = [2, 1, 2, 3, 3, 4, 4, 5];

/// Samples of an audio block, and the blocks of a frame by `numblkscod` (E.1.3.1.4).
const BLOCK_SAMPLES: u32 = 256;
const BLOCKS: [u32; 4] = [1, 2, 3, 6];

/// Streams of later syntax are not AC-3 (4.4.2.1), nor E-AC-3 (E.1.3.1.6).
const AC3_BSID_MAX: u32 = 8;
const EAC3_BSID: std::ops::RangeInclusive<u32> = 11..=16;

/// Most substreams of a kind (E.1.3.1.2).
const SUBSTREAMS_MAX: usize = 8;

/// From `syncinfo` and `bsi` (4.3.1, 4.3.2).
pub fn ac3(packet: &[u8]) -> Option<Described> {
    let mut bits = Bits::new(packet);
    if bits.take(16)? != SYNC_WORD {
        return None;
    }
    bits.skip(16)?; // crc1
    let (fscod, frame_size) = (bits.take(2)?, bits.take(6)?);
    let rate = *RATES.get(fscod as usize)?;
    let (bsid, bsmod, acmod) = (bits.take(5)?, bits.take(3)?, bits.take(3)?);
    if bsid > AC3_BSID_MAX {
        return None;
    }
    // Mix levels: of the center, of the surround channels, and the mark of Dolby Surround.
    let has_center = acmod & 1 == 1 && acmod != 1;
    let more = [has_center, acmod & 4 == 4, acmod == 2];
    bits.skip(more.into_iter().map(|has| 2 * usize::from(has)).sum())?;
    let lfe = bits.take(1)?;
    let mut fields = Fields::default();
    for (value, width) in
        [(fscod, 2), (bsid, 5), (bsmod, 3), (acmod, 3), (lfe, 1), (frame_size >> 1, 5), (0, 5)]
    {
        fields.put(value, width);
    }
    let mut config = Vec::new();
    plain(&mut config, b"dac3", |out| out.extend_from_slice(&fields.bytes()));
    Some(Described {
        entry: b"ac-3",
        config,
        codecs: "ac-3".to_owned(),
        rate,
        channels: channels(acmod, lfe),
        samples: 6 * BLOCK_SAMPLES,
    })
}

/// An independent substream and those that depend on it.
struct Program {
    frame: Frame,
    dependents: u32,
    /// Where the channels of these are, as `dec3` has it.
    locations: u32,
}

/// From all frames of an access unit.
pub fn eac3(packet: &[u8]) -> Option<Described> {
    let mut programs: Vec<Program> = Vec::new();
    let mut rest = packet;
    let mut bytes = 0;
    while !rest.is_empty() {
        let Some(frame) = Frame::read(rest) else { break };
        // The next access unit of a substream ends this one.
        if !frame.is_dependent && programs.iter().any(|program| program.frame.id == frame.id) {
            break;
        }
        bytes += frame.bytes;
        rest = rest.get(frame.bytes..).unwrap_or_default();
        if !frame.is_dependent {
            programs.push(Program { frame, dependents: 0, locations: 0 });
        } else {
            let program = programs.last_mut()?;
            program.dependents += 1;
            program.locations |= frame.locations;
        }
        if programs.len() > SUBSTREAMS_MAX {
            return None;
        }
    }
    let first = &programs.first()?.frame;
    let (rate, samples) = (first.rate, first.blocks * BLOCK_SAMPLES);
    let kilobits = bytes as u64 * 8 * u64::from(rate) / (u64::from(samples) * 1000);
    let mut fields = Fields::default();
    fields.put(u32::try_from(kilobits).ok()?.min(0x1FFF), 13);
    fields.put(u32::try_from(programs.len() - 1).ok()?, 3);
    for Program { frame, dependents, locations } in &programs {
        for (value, width) in [
            (frame.fscod, 2),
            (frame.bsid, 5),
            (0, 1 + 1 + 3), // reserved, asvc, bsmod
            (frame.acmod, 3),
            (frame.lfe, 1),
            (0, 3),
            ((*dependents).min(15), 4),
        ] {
            fields.put(value, width);
        }
        fields.put(*locations, if *dependents > 0 { 9 } else { 1 });
    }
    let channels = channels(first.acmod, first.lfe);
    let mut config = Vec::new();
    plain(&mut config, b"dec3", |out| out.extend_from_slice(&fields.bytes()));
    Some(Described { entry: b"ec-3", config, codecs: "ec-3".to_owned(), rate, channels, samples })
}

/// What a frame of E-AC-3 says of itself (E.1.2.1, E.1.2.2).
struct Frame {
    is_dependent: bool,
    id: u32,
    bytes: usize,
    fscod: u32,
    rate: u32,
    blocks: u32,
    acmod: u32,
    lfe: u32,
    bsid: u32,
    locations: u32,
}

impl Frame {
    fn read(packet: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(packet);
        if bits.take(16)? != SYNC_WORD {
            return None;
        }
        let (kind, id, words) = (bits.take(2)?, bits.take(3)?, bits.take(11)? as usize + 1);
        let fscod = bits.take(2)?;
        let (rate, blocks) = if fscod == 3 {
            (RATES.get(bits.take(2)? as usize)? / 2, BLOCKS[3])
        } else {
            (RATES[fscod as usize], BLOCKS[bits.take(2)? as usize])
        };
        let (acmod, lfe, bsid) = (bits.take(3)?, bits.take(1)?, bits.take(5)?);
        if kind == 3 || !EAC3_BSID.contains(&bsid) {
            return None;
        }
        let is_dependent = kind == 1;
        let mut locations = 0;
        if is_dependent {
            for _ in 0..if acmod == 0 { 2 } else { 1 } {
                bits.skip(5)?; // dialnorm
                if bits.bit()? {
                    bits.skip(8)?; // compr
                }
            }
            if bits.bit()? {
                locations = self::locations(bits.take(16)?);
            }
        }
        Some(Self {
            is_dependent,
            id: id | kind << 3,
            bytes: words * 2,
            fscod,
            rate,
            blocks,
            acmod,
            lfe,
            bsid,
            locations,
        })
    }
}

/// From `chanmap` (table E.1.5, its first bit the highest) to `chan_loc` (table F.6.1, its first bit the lowest).
fn locations(map: u32) -> u32 {
    let pairs = (0..8).map(|at| (map >> (10 - at) & 1) << at);
    pairs.sum::<u32>() | (map >> 1 & 1) << 8
}

fn channels(acmod: u32, lfe: u32) -> u16 {
    CHANNELS[acmod as usize & 7] + u16::from(lfe == 1)
}

/// Bits on their way into a box.
#[derive(Default)]
struct Fields(Vec<bool>);

impl Fields {
    fn put(&mut self, value: u32, width: u32) {
        self.0.extend((0..width).rev().map(|at| value >> at & 1 == 1));
    }

    fn bytes(&self) -> Vec<u8> {
        let byte =
            |bits: &[bool]| bits.iter().zip(0..).map(|(bit, at)| u8::from(*bit) << (7 - at)).sum();
        self.0.chunks(8).map(byte).collect()
    }
}
