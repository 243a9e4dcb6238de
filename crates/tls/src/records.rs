//! The records that come (RFC 8446 section 5.1): where each ends, and how many of them say nothing.
//!
//! A record without a byte for those above TLS asks for new keys, or for a new handshake, or for nothing: it costs its
//! sender next to nothing and us some keys, and no protocol above sees it. rustls counts those in a row, and what comes
//! in between makes it begin anew.

use std::time::{Duration, Instant};

/// Type, version and length.
const HEADER_BYTES: usize = 5;

/// Records without contents that may come at once. Clients change their keys after millions of records, if at all;
/// servers send some tickets after the handshake.
const BLANKS_MAX: u32 = 16;

/// How long it takes until there may be one more.
const BLANK_EVERY: Duration = Duration::from_secs(1);

/// What is said of an end that sends more of them.
pub(crate) const TOO_MANY: &str =
    "sent too many TLS key updates or empty records (more than 16 at once and 1 a second)";

/// Where the bytes of a connection are in its records.
#[derive(Debug, Default)]
pub(crate) struct Records {
    header: [u8; HEADER_BYTES],
    header_len: usize,
    /// Bytes of the record that come behind its header.
    left: usize,
    /// Records without contents that count at the moment `since`.
    blanks: u32,
    since: Option<Instant>,
}

impl Records {
    /// How many of `bytes`, which come next, belong to the record that has begun, or to the one that they begin.
    pub(crate) fn reach(&self, bytes: &[u8]) -> usize {
        let (header, left) = match self.header_len {
            HEADER_BYTES => (0, self.left),
            begun => {
                let count = HEADER_BYTES - begun;
                let Some(more) = bytes.get(..count) else { return bytes.len() };
                let mut whole = self.header;
                whole[begun..].copy_from_slice(more);
                (count, length(whole))
            }
        };
        bytes.len().min(header + left)
    }

    /// Takes in bytes that have come, of one record or of several. Whether one ends with the last of them.
    pub(crate) fn advance(&mut self, mut bytes: &[u8]) -> bool {
        let mut ends = false;
        while !bytes.is_empty() {
            let count = self.reach(bytes);
            let (now, rest) = bytes.split_at(count);
            bytes = rest;
            let of_header = (HEADER_BYTES - self.header_len).min(count);
            let header = self.header_len..self.header_len + of_header;
            self.header[header].copy_from_slice(&now[..of_header]);
            if of_header > 0 {
                self.header_len += of_header;
                self.left = length(self.header);
            }
            self.left = self.left.saturating_sub(count - of_header);
            ends = self.header_len == HEADER_BYTES && self.left == 0;
            if ends {
                self.header_len = 0;
            }
        }
        ends
    }

    /// A record has come that says nothing: whether it may.
    pub(crate) fn blank(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let over = now.saturating_duration_since(since).as_secs() / BLANK_EVERY.as_secs();
        if over > 0 {
            self.blanks = self.blanks.saturating_sub(u32::try_from(over).unwrap_or(u32::MAX));
            self.since = Some(now);
        }
        self.blanks += 1;
        self.blanks <= BLANKS_MAX
    }
}

fn length([_, _, _, high, low]: [u8; HEADER_BYTES]) -> usize {
    usize::from(u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(length: usize) -> Vec<u8> {
        let [high, low] = u16::try_from(length).expect("short").to_be_bytes();
        [&[23, 3, 3, high, low][..], &vec![7; length]].concat()
    }

    #[test]
    fn records_end_where_they_say_whatever_the_pieces() {
        let lengths = [17, 0, 300, 16_640, 1];
        let bytes: Vec<u8> = lengths.into_iter().flat_map(record).collect();
        for piece in [1, 2, 5, 7, 64, 100_000] {
            let (mut records, mut ends) = (Records::default(), Vec::new());
            let mut at = 0;
            for piece in bytes.chunks(piece) {
                let mut piece = piece;
                while !piece.is_empty() {
                    let count = records.reach(piece);
                    let is_end = records.advance(&piece[..count]);
                    at += count;
                    piece = &piece[count..];
                    ends.extend(is_end.then_some(at));
                }
            }
            let mut expected: Vec<_> = lengths.into_iter().map(|it| it + HEADER_BYTES).collect();
            (1..expected.len()).for_each(|index| expected[index] += expected[index - 1]);
            assert_eq!(ends, expected, "in pieces of {piece}");
        }
        let mut records = Records::default();
        assert!(records.advance(&bytes), "all of them at once");
        assert!(!records.advance(&bytes[..30]), "the second is begun");
    }

    #[test]
    fn some_may_say_nothing_and_one_more_each_second() {
        let (mut records, start) = (Records::default(), Instant::now());
        assert!((0..BLANKS_MAX).all(|_| records.blank(start)));
        assert!(!records.blank(start));
        let mut records = Records::default();
        for second in 0..1000 {
            let now = start + Duration::from_secs(second);
            assert!(records.blank(now), "one at {second} s");
        }
        let later = start + Duration::from_secs(2000);
        assert!((0..BLANKS_MAX).all(|_| records.blank(later)), "it is forgotten");
        assert!(!records.blank(later + BLANK_EVERY / 2));
    }
}
