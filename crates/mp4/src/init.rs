//! The init segment: `ftyp` and `moov` (ISO/IEC 14496-12, 4.3 and 8.2; CMAF, 7.3).

use crate::{
    boxes::{full, plain, put16, put32, zeros},
    entry::{Form, SampleEntry},
};

/// Units of time in a second, of all tracks: milliseconds, so that times are those that were published.
pub const TIMESCALE: u32 = 1000;

/// The unit matrix (8.2.2).
const MATRIX: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

/// 1.0 in 16.16 and in 8.8.
const ONE: u32 = 0x0001_0000;
const FULL_VOLUME: u16 = 0x0100;

/// A track that is enabled and part of the presentation (8.3.2).
const TRACK_FLAGS: u32 = 3;

/// "und", three letters of five bits (8.4.2).
const UNDETERMINED: u16 = 0x55C4;

/// The whole init segment. Tracks are numbered from 1 in their order.
pub fn write(entries: &[&SampleEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    plain(&mut out, b"ftyp", |out| {
        // `iso6` has `tfdt` and offsets from the fragment's start; `cmfc` is CMAF.
        out.extend_from_slice(b"iso6\0\0\0\0iso6cmfcmp41");
    });
    plain(&mut out, b"moov", |out| {
        let next = u32::try_from(entries.len()).unwrap_or(u32::MAX).saturating_add(1);
        movie_header(out, next);
        for (entry, id) in entries.iter().zip(1..) {
            track(out, id, entry);
        }
        plain(out, b"mvex", |out| {
            for id in 1..next {
                full(out, b"trex", 0, 0, |out| {
                    put32(out, id);
                    put32(out, 1); // default_sample_description_index
                    zeros(out, 12);
                });
            }
        });
    });
    out
}

fn movie_header(out: &mut Vec<u8>, next_track: u32) {
    full(out, b"mvhd", 0, 0, |out| {
        zeros(out, 8);
        put32(out, TIMESCALE);
        put32(out, 0); // duration: that of the fragments
        put32(out, ONE); // rate
        put16(out, FULL_VOLUME);
        zeros(out, 10);
        MATRIX.iter().for_each(|value| put32(out, *value));
        zeros(out, 24);
        put32(out, next_track);
    });
}

fn track(out: &mut Vec<u8>, id: u32, entry: &SampleEntry) {
    let (volume, width, height) = match entry.form() {
        Form::Video { width, height } => (0, width, height),
        Form::Audio { .. } => (FULL_VOLUME, 0, 0),
    };
    plain(out, b"trak", |out| {
        full(out, b"tkhd", 0, TRACK_FLAGS, |out| {
            zeros(out, 8);
            put32(out, id);
            zeros(out, 4 + 4 + 8);
            put16(out, 0); // layer
            put16(out, u16::from(volume > 0)); // alternate_group
            put16(out, volume);
            zeros(out, 2);
            MATRIX.iter().for_each(|value| put32(out, *value));
            put32(out, u32::from(width) << 16);
            put32(out, u32::from(height) << 16);
        });
        plain(out, b"mdia", |out| media(out, entry));
    });
}

fn media(out: &mut Vec<u8>, entry: &SampleEntry) {
    let (handler, name): (_, &[u8]) = match entry.form() {
        Form::Video { .. } => (b"vide", b"video\0"),
        Form::Audio { .. } => (b"soun", b"audio\0"),
    };
    full(out, b"mdhd", 0, 0, |out| {
        zeros(out, 8);
        put32(out, TIMESCALE);
        put32(out, 0);
        put16(out, UNDETERMINED);
        zeros(out, 2);
    });
    full(out, b"hdlr", 0, 0, |out| {
        zeros(out, 4);
        out.extend_from_slice(handler);
        zeros(out, 12);
        out.extend_from_slice(name);
    });
    plain(out, b"minf", |out| {
        match entry.form() {
            Form::Video { .. } => full(out, b"vmhd", 0, 1, |out| zeros(out, 8)),
            Form::Audio { .. } => full(out, b"smhd", 0, 0, |out| zeros(out, 4)),
        }
        plain(out, b"dinf", |out| {
            full(out, b"dref", 0, 0, |out| {
                put32(out, 1);
                full(out, b"url ", 0, 1, |_| {}); // in the same file
            });
        });
        plain(out, b"stbl", |out| {
            full(out, b"stsd", 0, 0, |out| {
                put32(out, 1);
                out.extend_from_slice(entry.bytes());
            });
            // All samples are in fragments.
            full(out, b"stts", 0, 0, |out| zeros(out, 4));
            full(out, b"stsc", 0, 0, |out| zeros(out, 4));
            full(out, b"stsz", 0, 0, |out| zeros(out, 8));
            full(out, b"stco", 0, 0, |out| zeros(out, 4));
        });
    });
}
