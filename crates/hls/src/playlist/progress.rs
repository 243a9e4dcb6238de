//! How far a playlist is, and who may wait for more.

use super::PARTS_MAX;

/// A question for a segment so much later than the next one is an error of the client (6.2.5.2 of RFC 8216bis).
const AHEAD_MAX: u64 = 2;

/// How far a playlist is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of the segment that is not complete yet.
    pub sequence: u64,
    /// How many parts of it are there.
    pub parts: usize,
    /// Whether there will be no more.
    pub is_ended: bool,
}

/// Whether a playlist has what a client waits for (`_HLS_msn`, `_HLS_part`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It has it, or will never have more.
    Now,
    /// It will have it.
    Later,
    /// It is so far ahead that the client is wrong: 400.
    TooFar,
}

impl Progress {
    /// Whether a client that asked for segment `msn`, or for part `part` of it, can be answered.
    pub fn reach(&self, msn: u64, part: Option<usize>) -> Reach {
        let has_part = part.is_some_and(|part| msn == self.sequence && part < self.parts);
        if self.is_ended || msn < self.sequence || has_part {
            return Reach::Now;
        }
        // A part number beyond the segment's last means the first part of the next one.
        if msn.saturating_sub(self.sequence) > AHEAD_MAX || part.is_some_and(|at| at > PARTS_MAX) {
            return Reach::TooFar;
        }
        Reach::Later
    }
}
