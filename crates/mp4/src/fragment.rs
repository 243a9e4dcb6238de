//! A fragment: `moof` and `mdat` (ISO/IEC 14496-12, 8.8).

use bytes::Bytes;

use crate::boxes::{full, plain, put32};

/// What a sample, or a further message of one, counts beside its bytes: what is kept of it, and its line in the
/// fragment.
pub const SAMPLE_COST: usize = 96;

/// One sample of a track.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Decoding time; never below that of the sample before.
    pub dts: i64,
    /// Presentation time minus decoding time.
    pub composition: i32,
    /// To the decoding time of the next one.
    pub duration: u32,
    /// Whether decoding may start at it.
    pub key: bool,
    pub data: Bytes,
    /// What came of it in further messages.
    pub more: Vec<Bytes>,
}

impl Sample {
    fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.data).chain(&self.more)
    }

    fn len(&self) -> usize {
        self.pieces().map(Bytes::len).sum()
    }

    /// What it counts while it is held.
    pub fn cost(&self) -> usize {
        self.pieces().map(|piece| piece.len() + SAMPLE_COST).sum()
    }
}

/// The samples of a track in a fragment: at least one.
pub struct Run<'a> {
    /// Its number in the init segment.
    pub id: u32,
    pub samples: &'a [Sample],
    pub is_video: bool,
}

/// Offsets are counted from the beginning of the fragment (8.8.7).
const BASE_IS_MOOF: u32 = 0x02_0000;
/// All samples of the run have the same flags.
const DEFAULT_FLAGS: u32 = 0x20;

/// Fields of a run that are present (8.8.8).
const DATA_OFFSET: u32 = 1;
const DURATIONS: u32 = 0x100;
const SIZES: u32 = 0x200;
const FLAGS: u32 = 0x400;
const COMPOSITIONS: u32 = 0x800;

/// Flags of a sample (8.8.3.1): one that depends on no other, and one that does and is no place to start.
const SYNC: u32 = 0x0200_0000;
const NON_SYNC: u32 = 0x0101_0000;

/// Bytes of `mdat` before its data.
const MDAT_HEAD: usize = 8;

/// Bytes of `moof` for each sample and run, at most: what is reserved.
const SAMPLE_BYTES: usize = 16;
const RUN_BYTES: usize = 96;

/// The fragment with these runs, one after the other.
pub fn write(sequence: u32, runs: &[Run<'_>]) -> Bytes {
    let samples: usize = runs.iter().map(|run| run.samples.len()).sum();
    let media: usize = runs.iter().flat_map(|run| run.samples).map(|sample| sample.len()).sum();
    let head = 64 + runs.len() * RUN_BYTES + samples * SAMPLE_BYTES + MDAT_HEAD;
    let mut out = Vec::with_capacity(head + media);
    let mut offsets = Vec::with_capacity(runs.len());
    plain(&mut out, b"moof", |out| {
        full(out, b"mfhd", 0, 0, |out| put32(out, sequence));
        for run in runs {
            plain(out, b"traf", |out| offsets.push(track(out, run)));
        }
    });
    let mut data = out.len() + MDAT_HEAD;
    for (at, run) in offsets.into_iter().zip(runs) {
        // Fragments are bounded far below 2 GiB.
        let offset = i32::try_from(data).unwrap_or(i32::MAX);
        out[at..at + 4].copy_from_slice(&offset.to_be_bytes());
        data += run.samples.iter().map(|sample| sample.len()).sum::<usize>();
    }
    plain(&mut out, b"mdat", |out| {
        for piece in runs.iter().flat_map(|run| run.samples).flat_map(Sample::pieces) {
            out.extend_from_slice(piece);
        }
    });
    out.into()
}

/// Appends what is in a `traf`; returns where its data offset is to be written.
fn track(out: &mut Vec<u8>, run: &Run<'_>) -> usize {
    let first = run.samples.first().map_or(0, |sample| sample.dts);
    let flags = BASE_IS_MOOF | if run.is_video { 0 } else { DEFAULT_FLAGS };
    full(out, b"tfhd", 0, flags, |out| {
        put32(out, run.id);
        if !run.is_video {
            put32(out, SYNC);
        }
    });
    full(out, b"tfdt", 1, 0, |out| {
        out.extend_from_slice(&u64::try_from(first).unwrap_or(0).to_be_bytes());
    });
    let mut offset = 0;
    let has_compositions = run.samples.iter().any(|sample| sample.composition != 0);
    let fields = DATA_OFFSET
        | DURATIONS
        | SIZES
        | if run.is_video { FLAGS } else { 0 }
        | if has_compositions { COMPOSITIONS } else { 0 };
    full(out, b"trun", 1, fields, |out| {
        put32(out, u32::try_from(run.samples.len()).unwrap_or(u32::MAX));
        offset = out.len();
        put32(out, 0);
        for sample in run.samples {
            put32(out, sample.duration);
            put32(out, u32::try_from(sample.len()).unwrap_or(u32::MAX));
            if run.is_video {
                put32(out, if sample.key { SYNC } else { NON_SYNC });
            }
            if has_compositions {
                out.extend_from_slice(&sample.composition.to_be_bytes());
            }
        }
    });
    offset
}
