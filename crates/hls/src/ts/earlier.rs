//! Gives the pictures of a finished segment earlier decoding times.
//!
//! A stream is decoded earlier once a picture has shown that it has to be, mostly the third or fourth of the stream,
//! and nobody has seen its segment before that is finished. So the times are changed where they are: a PES header has
//! room for both times, be the second one needed or not.

use libmpegts::ts::PACKET_SIZE;

/// Flags of a PES header: only a presentation time, or a decoding time as well.
const PTS_ONLY: u8 = 0x80;
const PTS_AND_DTS: u8 = 0xC0;

/// Offset of the times in a PES header, their length, and the room for two of them.
const TIMES_AT: usize = 9;
const TIME_BYTES: usize = 5;
pub const TIMES_BYTES: usize = 2 * TIME_BYTES;

/// What fills a PES header (13818-1, 2.4.3.7).
const STUFFING: u8 = 0xFF;

/// Half of the range of 33 bits.
const HALF: i64 = 1 << 32;

/// What a segment is to be changed to.
pub struct Earlier {
    /// By how many ticks its clock and its decoding times are moved.
    pub by: i64,
    /// Which PID has the pictures.
    pub video: u16,
    /// A time in the segment or near it: the turn of 33 bits that its times are of.
    pub near: i64,
    /// The decoding time before the segment's first.
    pub dts: Option<i64>,
    /// The program clock before the segment's first.
    pub clock: Option<i64>,
}

impl Earlier {
    /// Changes the packets of `segment`; what is left in `dts` and `clock` are its last ones.
    pub fn apply(&mut self, segment: &mut [u8]) {
        for packet in segment.as_chunks_mut::<PACKET_SIZE>().0 {
            let (has_field, has_payload) = (packet[3] & 0x20 != 0, packet[3] & 0x10 != 0);
            let field = if has_field { 1 + usize::from(packet[4]) } else { 0 };
            if field > 7 && packet[5] & 0x10 != 0 {
                self.move_clock(&mut packet[6..12]);
            }
            let starts = packet[1] & 0x40 != 0;
            let pid = u16::from_be_bytes([packet[1] & 0x1F, packet[2]]);
            if starts && has_payload && pid == self.video {
                self.move_picture(&mut packet[4 + field..]);
            }
        }
    }

    fn move_clock(&mut self, field: &mut [u8]) {
        let base = field[..5].iter().fold(0, |value, byte| value << 8 | i64::from(*byte)) >> 7;
        let least = self.clock.map(|clock| clock.saturating_add(1));
        let at = self.earlier(self.turn(base), least);
        self.clock = Some(at);
        // 33 bits, 6 reserved ones, 9 of the extension, which counts what our clock has none of.
        let bits = (wire(at) << 15 | 0x3F << 9).to_be_bytes();
        field.copy_from_slice(&bits[2..]);
    }

    fn move_picture(&mut self, pes: &mut [u8]) {
        if pes.len() < TIMES_AT + TIMES_BYTES || usize::from(pes[8]) != TIMES_BYTES {
            return;
        }
        let pts = self.turn(read(&pes[TIMES_AT..]));
        let has_dts = pes[7] & PTS_AND_DTS == PTS_AND_DTS;
        let said = if has_dts { self.turn(read(&pes[TIMES_AT + TIME_BYTES..])) } else { pts };
        let least = self.dts.map(|dts| dts.saturating_add(1));
        let dts = self.earlier(said, least);
        self.dts = Some(dts);
        // What is due before the end of the segment that was handed out already is shown late.
        write_times(pes, pts.max(dts), dts);
    }

    fn turn(&self, time: i64) -> i64 {
        self.near.saturating_add(signed(time.saturating_sub(self.near)))
    }

    fn earlier(&self, time: i64, least: Option<i64>) -> i64 {
        let time = time.saturating_sub(self.by);
        least.map_or(time, |least| time.max(least))
    }
}

/// A difference of two times of 33 bits, the short way round.
fn signed(difference: i64) -> i64 {
    difference.wrapping_add(HALF).rem_euclid(2 * HALF) - HALF
}

fn wire(ticks: i64) -> u64 {
    ticks.rem_euclid(2 * HALF).unsigned_abs()
}

/// Writes the times of a picture into its PES header, which has room for both. Where they are equal there is one only
/// (13818-1, 2.7.5).
pub fn write_times(pes: &mut [u8], pts: i64, dts: i64) {
    pes[8] = 10;
    let times = &mut pes[TIMES_AT..TIMES_AT + TIMES_BYTES];
    let has_dts = wire(pts) != wire(dts);
    times[..TIME_BYTES].copy_from_slice(&stamp(if has_dts { 3 } else { 2 }, pts));
    if has_dts {
        times[TIME_BYTES..].copy_from_slice(&stamp(1, dts));
    } else {
        times[TIME_BYTES..].fill(STUFFING);
    }
    pes[7] = pes[7] & !PTS_AND_DTS | if has_dts { PTS_AND_DTS } else { PTS_ONLY };
}

/// Four bits of `prefix`, then 33 bits of time with three marker bits among them.
fn stamp(prefix: u8, ticks: i64) -> [u8; TIME_BYTES] {
    let bits = wire(ticks);
    let [.., a, b, c, d, e] =
        (bits >> 30 << 33 | (bits >> 15 & 0x7FFF) << 17 | (bits & 0x7FFF) << 1).to_be_bytes();
    [prefix << 4 | a | 1, b, c | 1, d, e | 1]
}

fn read(stamp: &[u8]) -> i64 {
    let byte = |at: usize| i64::from(stamp[at]);
    (byte(0) >> 1 & 7) << 30 | byte(1) << 22 | (byte(2) >> 1) << 15 | byte(3) << 7 | byte(4) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_are_read_as_they_were_written(pts in any::<i32>(), after in 0_i64..1000) {
            let mut pes = [0; 19];
            let (pts, dts) = (i64::from(pts) * 4, i64::from(pts) * 4 - after);
            write_times(&mut pes, pts, dts);
            prop_assert_eq!(signed(read(&pes[9..]) - pts), 0);
            prop_assert_eq!(pes[7], if after == 0 { PTS_ONLY } else { PTS_AND_DTS });
            if after > 0 {
                prop_assert_eq!(signed(read(&pes[14..]) - dts), 0);
            }
        }
    }

    #[test]
    fn the_markers_are_where_the_standard_has_them() {
        assert_eq!(stamp(2, 0), [0x21, 0, 1, 0, 1]);
        assert_eq!(stamp(3, (1 << 33) - 1), [0x3F, 0xFF, 0xFF, 0xFF, 0xFF]);
        // 1.4 s, as ffmpeg writes it.
        assert_eq!(stamp(2, 126_000), [0x21, 0x00, 0x07, 0xD8, 0x61]);
    }
}
