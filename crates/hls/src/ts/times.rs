//! When pictures are decoded and shown, on the 90 kHz clock.

use weir_media::{Content, Frame};

/// Where the stream's time zero is on the 90 kHz clock: 3 s. A picture may be due [`EARLY_MAX`] before it says it is
/// decoded, and the program clock is behind that: all of them stay positive.
pub const ORIGIN: i64 = 3000 * 90;

/// How far a picture may be due before the time at which its encoder decodes it: 2 s. Encoders that do not delay
/// their decoding times by the depth of their reordering are off by that depth, at most 16 pictures (H.264, A.3.1).
const EARLY_MAX: i32 = -2000;

/// How long after its decoding a picture may be due: 10 s. Reordering needs 16 pictures at most, which are longer only
/// in slide shows; encoders with broken arithmetic say 0x7fffff, more than two hours.
const LATE_MAX: i32 = 10_000;

/// Presentation and decoding time in ticks of 90 kHz, not reduced to 33 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub pts: i64,
    pub dts: i64,
}

/// A time of the stream in ticks.
pub fn ticks(millis: i64) -> i64 {
    millis.saturating_mul(90).saturating_add(ORIGIN)
}

/// The decoding times of a stream's pictures.
///
/// The standard has no presentation before decoding (13818-1, 2.7.5), and players want decoding times that grow. So a
/// stream with pictures that are due before their encoder decodes them is decoded earlier as a whole, by as much as
/// the worst of them needs.
#[derive(Debug, Default)]
pub struct Decoding {
    /// How much earlier than their encoder says the pictures of this segment are decoded.
    lead: i64,
    /// What that would have to be for those that have been seen.
    needed: i64,
    /// The newest decoding time, as the encoder says it, and as it was given out.
    newest: Option<(i64, i64)>,
    /// The one given out last in the segment before.
    before: Option<i64>,
}

impl Decoding {
    /// Begins a segment; `anew` if it does not continue the one before.
    pub fn begin(&mut self, anew: bool) {
        self.lead = self.needed;
        if anew {
            self.newest = None;
        }
        self.before = self.newest.map(|(_, given)| given);
    }

    /// How much earlier than its encoder says the stream is decoded.
    pub fn lead(&self) -> i64 {
        self.lead
    }

    /// The times of the next picture. It may be due before it is decoded: then [`Decoding::end`] says how much earlier
    /// the segment has to be decoded.
    pub fn place(&mut self, frame: &Frame) -> Times {
        let said = ticks(frame.dts.as_millis());
        // Two pictures of one time are a tick apart.
        let said = self.newest.map_or(said, |(newest, _)| said.max(newest.saturating_add(1)));
        let least = self.newest.map_or(i64::MIN, |(_, given)| given.saturating_add(1));
        let dts = said.saturating_sub(self.lead).max(least);
        let pts = said.saturating_add(composition(frame));
        self.newest = Some((said, dts));
        self.needed = self.needed.max(self.lead.saturating_add(dts.saturating_sub(pts)));
        Times { pts, dts }
    }

    /// Ends the segment: how much earlier its pictures are to be decoded than they say, and what the segment before
    /// ended with. None if they are right.
    pub fn end(&mut self) -> Option<(i64, Option<i64>)> {
        let earlier = self.needed.saturating_sub(self.lead);
        self.lead = self.needed;
        (earlier > 0).then_some((earlier, self.before))
    }

    /// The last picture of the segment is decoded at `dts`.
    pub fn ended_with(&mut self, dts: i64) {
        if let Some((_, given)) = &mut self.newest {
            *given = dts;
        }
    }
}

/// How long after its decoding a picture is due, in ticks. What no encoder can mean counts as nothing.
fn composition(frame: &Frame) -> i64 {
    match frame.content {
        Content::Video { composition, .. } if (EARLY_MAX..=LATE_MAX).contains(&composition) => {
            i64::from(composition) * 90
        }
        _ => 0,
    }
}
