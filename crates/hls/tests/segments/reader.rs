//! A reader of MPEG-TS that knows only what the tests ask, and complains about everything that is not as it should be.

use std::collections::BTreeMap;

use bytes::Bytes;
use weir_flv::file::{Item, Reader};
use weir_media::{Frame, Timestamp};

pub const PMT_PID: u16 = 0x1000;

/// 90 kHz ticks from the stream's zero to that of our TS.
pub const ORIGIN: i64 = 270_000;

/// One PES packet.
#[derive(Debug)]
pub struct Pes {
    pub pid: u16,
    pub pts: i64,
    pub dts: i64,
    pub random_access: bool,
    pub data: Vec<u8>,
}

/// Reads segments in their order.
#[derive(Default)]
pub struct Demuxer {
    counters: BTreeMap<u16, u8>,
    /// Where in the segment's list the unfinished PES packet of a PID goes.
    open: BTreeMap<u16, usize>,
    /// In ticks of 27 MHz.
    pub clocks: Vec<u64>,
    /// Stream types and PIDs, and the PCR's PID, of the newest PMT.
    pub streams: Vec<(u8, u16)>,
    pub pcr_pid: u16,
    pub pmt_version: u8,
    /// Packets that say the clock jumped.
    pub jumps: usize,
}

impl Demuxer {
    /// The PES packets of one segment, in the order of their beginnings.
    pub fn segment(&mut self, data: &[u8]) -> Vec<Pes> {
        let (packets, rest) = data.as_chunks::<188>();
        assert!(rest.is_empty(), "{} bytes are no whole packets", data.len());
        assert_eq!([pid(&packets[0]), pid(&packets[1])], [0, PMT_PID], "the tables come first");
        self.open.clear();
        let mut raw = Vec::new();
        for packet in packets {
            self.packet(packet, &mut raw);
        }
        raw.iter().map(Raw::parse).collect()
    }

    fn packet(&mut self, packet: &[u8; 188], out: &mut Vec<Raw>) {
        assert_eq!(packet[0], 0x47, "sync byte");
        let pid = pid(packet);
        let (has_field, has_payload) = (packet[3] & 0x20 != 0, packet[3] & 0x10 != 0);
        self.count(pid, packet[3] & 0x0F, has_payload);
        let field = if has_field { &packet[4..5 + usize::from(packet[4])] } else { &[] };
        let flags = field.get(1).copied().unwrap_or(0);
        if flags & 0x10 != 0 {
            self.clock(pid, &field[2..8]);
        }
        self.jumps += usize::from(flags & 0x80 != 0);
        let payload = if has_payload { &packet[4 + field.len()..] } else { &[] };
        let starts = packet[1] & 0x40 != 0;
        match pid {
            0 => check_section(payload),
            PMT_PID => self.pmt(check_section_of(payload)),
            _ if starts => {
                self.open.insert(pid, out.len());
                out.push(Raw { pid, random_access: flags & 0x40 != 0, pes: payload.to_vec() });
            }
            _ if has_payload => out[self.open[&pid]].pes.extend(payload),
            _ => {}
        }
    }

    fn count(&mut self, pid: u16, counter: u8, has_payload: bool) {
        let last = self.counters.insert(pid, counter);
        let expected = last.map(|last| (last + u8::from(has_payload)) & 0x0F);
        let good = expected.is_none_or(|expected| expected == counter);
        assert!(good, "continuity counter on PID {pid:#x}: {last:?}, then {counter}");
    }

    fn clock(&mut self, pid: u16, field: &[u8]) {
        assert_eq!(pid, self.pcr_pid_or(pid), "PCR on a PID that the PMT does not name");
        let bits = field.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        self.clocks.push((bits >> 15) * 300 + (bits & 0x1FF));
    }

    fn pcr_pid_or(&self, pid: u16) -> u16 {
        if self.pcr_pid == 0 { pid } else { self.pcr_pid }
    }

    fn pmt(&mut self, section: &[u8]) {
        let u13 = |at: usize| u16::from_be_bytes([section[at] & 0x1F, section[at + 1]]);
        self.pcr_pid = u13(8);
        self.pmt_version = section[5] >> 1 & 0x1F;
        let end = usize::from(u16::from_be_bytes([section[1] & 0x0F, section[2]])) + 3 - 4;
        let mut at = 12 + usize::from(u13(10) & 0xFFF);
        self.streams.clear();
        while at < end {
            self.streams.push((section[at], u13(at + 1)));
            at += 5 + usize::from(u13(at + 3) & 0xFFF);
        }
    }

    /// The longest distance between two PCRs, in milliseconds; they must grow, except where they wrap.
    pub fn longest_clock_gap(&self) -> u64 {
        const WRAP: u64 = (1 << 33) * 300;
        let gap = |pair: &[u64]| {
            let gap = (pair[1] + WRAP - pair[0]) % WRAP;
            assert!((1..WRAP / 2).contains(&gap), "PCR {} after {}", pair[1], pair[0]);
            gap / 27_000
        };
        self.clocks.windows(2).map(gap).max().unwrap_or(0)
    }
}

fn pid(packet: &[u8; 188]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1F, packet[2]])
}

fn check_section(payload: &[u8]) {
    check_section_of(payload);
}

/// The section in a payload, after checking that it is whole (its CRC over everything is zero).
fn check_section_of(payload: &[u8]) -> &[u8] {
    let section = &payload[1 + usize::from(payload[0])..];
    let len = usize::from(u16::from_be_bytes([section[1] & 0x0F, section[2]])) + 3;
    let section = &section[..len];
    let crc = section.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc >> 31 == 1 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 }
        })
    });
    assert_eq!(crc, 0, "CRC of {section:02x?}");
    section
}

/// A PES packet that may go on.
struct Raw {
    pid: u16,
    random_access: bool,
    pes: Vec<u8>,
}

impl Raw {
    fn parse(&self) -> Pes {
        let Self { pid, random_access, ref pes } = *self;
        assert_eq!(pes[..3], [0, 0, 1], "PES start code on PID {pid:#x}");
        let length = usize::from(u16::from_be_bytes([pes[4], pes[5]]));
        let unbounded = length == 0 && pes[3] & 0xF0 == 0xE0;
        assert!(unbounded || length + 6 == pes.len(), "PES length {length} of {}", pes.len());
        let pts = stamp(&pes[9..]);
        let dts = if pes[7] & 0x40 != 0 { stamp(&pes[14..]) } else { pts };
        Pes { pid, pts, dts, random_access, data: pes[9 + usize::from(pes[8])..].to_vec() }
    }
}

fn stamp(bytes: &[u8]) -> i64 {
    let b = |at: usize| i64::from(bytes[at]);
    (b(0) >> 1 & 7) << 30 | b(1) << 22 | (b(2) >> 1) << 15 | b(3) << 7 | b(4) >> 1
}

/// NAL units between start codes.
pub fn nal_units(annex_b: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..annex_b.len().saturating_sub(3))
        .filter(|&at| annex_b[at..at + 4] == [0, 0, 0, 1])
        .collect();
    let ends = starts.iter().skip(1).copied().chain([annex_b.len()]);
    starts.iter().zip(ends).map(|(start, end)| &annex_b[start + 4..end]).collect()
}

/// The frames of an FLV file, on a timeline that begins at its first tag.
pub fn read_flv(file: &[u8]) -> Vec<Frame> {
    let mut reader = Reader::default();
    reader.push(file);
    let mut frames = Vec::new();
    while let Some(item) = reader.poll().expect("a good file") {
        if let Item::Tag(tag) = item {
            let dts = Timestamp::from_millis(i64::from(tag.timestamp));
            frames.push(weir_flv::to_frame(&tag, dts, 0).expect("a good tag"));
        }
    }
    frames
}

/// The NAL units of a picture, each after four bytes of length.
pub fn length_prefixed(payload: &Bytes) -> Vec<&[u8]> {
    let (mut rest, mut units) = (&payload[..], Vec::new());
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (unit, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
        units.push(unit);
        rest = tail;
    }
    units
}
