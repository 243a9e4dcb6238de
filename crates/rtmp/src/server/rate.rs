//! How often a client may say what costs a server more than it costs the client.
//!
//! Audio and video are not counted: they are what a connection is for, and bounded by what the network carries.

use std::time::{Duration, Instant};

use crate::Error;

/// Commands a second, in the long run. An encoder sends some eight at its start and three at its end, a player five at
/// its start, then both none for hours; a person who changes channels or drags a position sends two or three a second.
pub const COMMANDS_PER_SECOND: u32 = 10;

/// Commands at once: ten times what a start takes.
pub const COMMANDS_BURST: u32 = 100;

/// Other messages but audio and video a second, in the long run: pings, buffer lengths, script data. Cue points and
/// captions for each picture are 60 a second. Acknowledgements are not counted: they come as often as we send.
pub const NOTICES_PER_SECOND: u32 = 200;

/// Other messages at once: five seconds' worth, as come in one piece after a network has stalled.
pub const NOTICES_BURST: u32 = 1000;

/// Questions of an edge a second, in the long run: one for each viewer with a token of its own. Each costs a check of a
/// token and is answered before many more of them are read.
pub const QUESTIONS_PER_SECOND: u32 = 5000;

/// Questions at once: the viewers of an edge who all come when a match begins.
pub const QUESTIONS_BURST: u32 = 10_000;

/// What a connection has left of each.
#[derive(Debug)]
pub(super) struct Rates {
    /// The moments until which they are used up (the "generic cell rate algorithm").
    commands: Instant,
    notices: Instant,
    questions: Instant,
}

impl Rates {
    pub(super) fn new(now: Instant) -> Self {
        Self { commands: now, notices: now, questions: now }
    }

    /// Counts one command.
    pub(super) fn command(&mut self, now: Instant) -> Result<(), Error> {
        let is_within = take(&mut self.commands, 1, now, COMMANDS_PER_SECOND, COMMANDS_BURST);
        let error = Error::TooOften { what: "commands", per_second: COMMANDS_PER_SECOND };
        is_within.then_some(()).ok_or(error)
    }

    /// Counts one question of an edge.
    pub(super) fn question(&mut self, now: Instant) -> Result<(), Error> {
        let until = &mut self.questions;
        let is_within = take(until, 1, now, QUESTIONS_PER_SECOND, QUESTIONS_BURST);
        let error = Error::TooOften { what: "questions", per_second: QUESTIONS_PER_SECOND };
        is_within.then_some(()).ok_or(error)
    }

    /// Counts so many other messages.
    pub(super) fn notices(&mut self, count: u32, now: Instant) -> Result<(), Error> {
        let is_within = take(&mut self.notices, count, now, NOTICES_PER_SECOND, NOTICES_BURST);
        let error =
            Error::TooOften { what: "control and data messages", per_second: NOTICES_PER_SECOND };
        is_within.then_some(()).ok_or(error)
    }
}

/// Whether `count` more are within `per_second` and `burst`; they count in any case.
fn take(until: &mut Instant, count: u32, now: Instant, per_second: u32, burst: u32) -> bool {
    let each = Duration::from_secs(1) / per_second;
    *until = (*until).max(now) + each * count;
    *until - now <= each * burst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        for _ in 0..COMMANDS_BURST {
            rates.command(start).expect("within the burst");
        }
        for second in 1..=5 {
            for _ in 0..COMMANDS_PER_SECOND {
                rates.command(start + Duration::from_secs(second)).expect("within the rate");
            }
        }
        let error = rates.command(start + Duration::from_secs(5)).expect_err("one too many");
        assert_eq!(error.to_string(), "more than 10 commands per second");
        for _ in 0..QUESTIONS_BURST {
            rates.question(start).expect("they are counted apart");
        }
        let error = rates.question(start).expect_err("one too many");
        assert_eq!(error.to_string(), "more than 5000 questions per second");
        rates.notices(NOTICES_BURST, start).expect("they are counted apart");
        let error = rates.notices(1, start).expect_err("one too many");
        assert_eq!(error.to_string(), "more than 200 control and data messages per second");
    }
}
