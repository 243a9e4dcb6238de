//! When packets of sound are played, on the 90 kHz clock.
//!
//! Publishers say milliseconds, and a packet lasts for 23.22 of them (AAC at 44.1 kHz): what they say jitters by the
//! rounding. What plays segments puts packets where they say, with gaps and overlaps that can be heard. So a packet
//! begins where the one before ends, by its own count of samples, as long as that is near what the publisher says.

/// How far a packet may be from where its publisher says before it is moved there: 1 ms, the rounding.
const SLACK: i64 = 90;

/// A packet that is off by more is moved by this part of what it is too much. It follows publishers whose clock is not
/// the samples' own (all packets 23 ms apart, say) in steps that nobody hears.
const MOVED: i64 = 4;

/// Sample rates of AAC by their index in ADTS (14496-3, table 1.18).
const AAC_RATES: [i64; 13] =
    [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

/// Those of MPEG-1 audio (11172-3, 2.4.2.3); MPEG-2 has half of them, MPEG-2.5 a quarter.
const MPEG_RATES: [i64; 3] = [44100, 48000, 32000];

/// Those of AC-3 (ETSI TS 102 366, 4.4.1.3).
const AC3_RATES: [i64; 3] = [48000, 44100, 32000];

/// Places the packets of a track.
#[derive(Debug, Default)]
pub struct Pace {
    /// Where the newest packet begins.
    newest: Option<i64>,
    /// Where it ends.
    end: Option<End>,
}

#[derive(Clone, Copy, Debug)]
struct End {
    /// Whole ticks, and the rest in parts of the sample rate.
    at: i64,
    rest: i64,
    /// How long the packet is.
    length: Length,
}

/// How long a packet lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Length {
    samples: i64,
    rate: i64,
}

impl Pace {
    /// What follows does not continue what was before.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// Where `packet` begins, of which the publisher says `said`.
    pub fn place(&mut self, said: i64, packet: &[u8]) -> i64 {
        let length = Length::of(packet);
        let before = self.end.filter(|before| Some(before.length) == length);
        let (at, rest) = match before {
            Some(before) => before.meet(said),
            None => (said, 0),
        };
        let at = self.newest.map_or(at, |newest| at.max(newest.saturating_add(1)));
        self.newest = Some(at);
        self.end = length.map(|length| End::of(at, rest, length));
        at
    }
}

impl End {
    /// The end of a packet that begins `rest` parts after the tick `at`.
    fn of(at: i64, rest: i64, length: Length) -> Self {
        let parts = length.samples * 90_000 + rest;
        Self { at: at.saturating_add(parts / length.rate), rest: parts % length.rate, length }
    }

    /// Where the next packet begins.
    fn meet(self, said: i64) -> (i64, i64) {
        let off = said.saturating_sub(self.at);
        if off.saturating_abs() > self.length.ticks() / 2 {
            // A packet is missing, or time has jumped.
            return (said, 0);
        }
        let too_much = (off.abs() - SLACK).max(0);
        // At least a tick, so that it arrives.
        let moved = (too_much + MOVED - 1) / MOVED * off.signum();
        (self.at.saturating_add(moved), self.rest)
    }
}

impl Length {
    /// What the header of a packet says: of AAC in ADTS, MPEG audio, AC-3. None of others, and of damaged ones.
    fn of(packet: &[u8]) -> Option<Self> {
        let rate = |rates: &[i64], index: u8| rates.get(usize::from(index)).copied();
        match *packet.first_chunk()? {
            // ADTS is of layer 0.
            [0xFF, b, c, _, _, _, d] if b & 0xF6 == 0xF0 => {
                let samples = 1024 * (1 + i64::from(d & 3));
                Some(Self { samples, rate: rate(&AAC_RATES, c >> 2 & 0x0F)? })
            }
            [0xFF, b, c, ..] if b & 0xE0 == 0xE0 => {
                let (version, layer) = (b >> 3 & 3, b >> 1 & 3);
                let part = [4, 0, 2, 1][usize::from(version)];
                let samples = match (layer, version) {
                    (3, _) => 384,
                    (2, _) | (1, 3) => 1152,
                    _ => 576,
                };
                let rate = rate(&MPEG_RATES, c >> 2 & 3)?.checked_div(part)?;
                (layer != 0).then_some(Self { samples, rate })
            }
            // Beyond 10 it is E-AC-3, whose packets may have several frames.
            [0x0B, 0x77, _, _, b, c, _] if c >> 3 <= 10 => {
                Some(Self { samples: 1536, rate: rate(&AC3_RATES, b >> 6)? })
            }
            _ => None,
        }
    }

    fn ticks(self) -> i64 {
        self.samples * 90_000 / self.rate
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// AAC at 44.1 kHz and at 48 kHz, 1024 samples each.
    const AAC: &[u8] = &[0xFF, 0xF1, 0x50, 0x80, 0x2F, 0x5F, 0xFC, 1];
    const AAC_48: &[u8] = &[0xFF, 0xF1, 0x4C, 0x80, 0x2F, 0x5F, 0xFC, 1];
    const MP3: &[u8] = &[0xFF, 0xFB, 0x90, 0, 0, 0, 0];

    /// Places packets at the milliseconds of `said`; returns where they are, in ticks.
    fn placed(packet: &[u8], said: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut pace = Pace::default();
        said.into_iter().map(|millis| pace.place(millis * 90, packet)).collect()
    }

    fn steps(at: &[i64]) -> Vec<i64> {
        at.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn the_rounding_of_milliseconds_is_not_heard() {
        for (packet, samples, rate) in
            [(AAC, 1024, 44100), (AAC_48, 1024, 48000), (MP3, 1152, 44100)]
        {
            for rounding in [0, rate / 2, rate - 1] {
                for first in (0..50).step_by(7) {
                    let said: Vec<_> =
                        (first..5000).map(|at| (at * samples * 1000 + rounding) / rate).collect();
                    let at = placed(packet, said.iter().copied());
                    let exact = samples * 90_000 / rate;
                    assert!(steps(&at).iter().all(|step| (exact..=exact + 1).contains(step)));
                    assert!(at.iter().zip(&said).all(|(at, said)| (at - said * 90).abs() <= SLACK));
                }
            }
        }
    }

    #[test]
    fn a_clock_that_is_not_the_samples_own_is_followed() {
        // Whole milliseconds only, a crystal that is 0.1 % off, 960 samples where ADTS knows 1024.
        for (packet, micros) in [(AAC, 23_000), (AAC, 24_000), (AAC, 23_243), (AAC_48, 20_000)] {
            let said: Vec<_> = (0..20_000).map(|at| at * micros / 1000).collect();
            let at = placed(packet, said.iter().copied());
            assert!(at.iter().zip(&said).all(|(at, said)| (at - said * 90).abs() < 7 * 90));
            let steps = steps(&at[100..]);
            let exact = micros * 9 / 100;
            assert!(steps.iter().all(|step| (step - exact).abs() <= 45), "{micros}");
        }
    }

    #[test]
    fn a_jump_is_taken_as_it_is() {
        for jump in [13, 24, 500, 60_000, -12, -20] {
            let said = (0..100).map(|at| at * 1024 * 10 / 441 + if at < 50 { 0 } else { jump });
            let said: Vec<_> = said.collect();
            let at = placed(AAC, said.iter().copied());
            let behind: Vec<_> = at.iter().zip(&said).map(|(at, said)| at - said * 90).collect();
            assert_eq!(behind[50], 0, "{jump}");
            assert!(behind.iter().all(|behind| behind.abs() <= SLACK), "{jump}: {behind:?}");
        }
    }

    #[test]
    fn a_small_jump_is_made_up_for_little_by_little() {
        let said: Vec<_> =
            (0..100).map(|at| at * 1024 * 10 / 441 + if at < 50 { 0 } else { 8 }).collect();
        let at = placed(AAC, said.iter().copied());
        assert!(steps(&at).iter().all(|step| (2088..=2088 + 200).contains(step)), "{at:?}");
        assert!((at[75] - said[75] * 90).abs() <= SLACK + 1);
    }

    #[test]
    fn packets_of_unknown_length_stay_where_they_are() {
        for packet in [
            &[0_u8; 7][..],
            &[],
            &[0xFF],
            &[0xFF, 0xFB, 0xFC, 0, 0, 0, 0],
            &[0xFF, 0xF1, 0xF4, 0, 0, 0, 0],
        ] {
            assert_eq!(placed(packet, [0, 23, 46, 46, 40]), [0, 2070, 4140, 4141, 4142]);
        }
        // Two frames a packet, though each says 1152 samples.
        assert_eq!(placed(MP3, [0, 52, 104, 157]), [0, 4680, 9360, 14_130]);
    }

    #[test]
    fn lengths_are_those_of_the_standards() {
        let of = |bytes: [u8; 7]| Length::of(&bytes).map(|length| (length.samples, length.rate));
        assert_eq!(of([0xFF, 0xF1, 0x50, 0x80, 0x2F, 0x5F, 0xFC]), Some((1024, 44100)));
        assert_eq!(
            of([0xFF, 0xF9, 0x5C, 0x80, 0x2F, 0x5F, 0xFC]),
            Some((1024, 22050)),
            "of MPEG-2"
        );
        assert_eq!(of([0xFF, 0xF1, 0x50, 0x80, 0x2F, 0x5F, 0xFD]), Some((2048, 44100)));
        assert_eq!(of([0xFF, 0xFB, 0x94, 0, 0, 0, 0]), Some((1152, 48000)));
        assert_eq!(of([0xFF, 0xF3, 0x90, 0, 0, 0, 0]), Some((576, 22050)), "MPEG-2");
        assert_eq!(of([0xFF, 0xE3, 0x98, 0, 0, 0, 0]), Some((576, 8000)), "MPEG-2.5");
        assert_eq!(of([0xFF, 0xFD, 0x94, 0, 0, 0, 0]), Some((1152, 48000)), "layer II");
        assert_eq!(of([0xFF, 0xEB, 0x94, 0, 0, 0, 0]), None, "a version that is reserved");
        assert_eq!(of([0x0B, 0x77, 0, 0, 0x14, 0x40, 0]), Some((1536, 48000)), "AC-3");
        assert_eq!(of([0x0B, 0x77, 0, 0, 0x3F, 0x80, 0]), None, "E-AC-3");
    }

    proptest! {
        #[test]
        fn sound_never_goes_back_and_is_near_what_is_said(
            packets in proptest::collection::vec((-100_000_i64..100_000, 0_usize..4), 1..200),
        ) {
            let (mut pace, mut said, mut last) = (Pace::default(), 0, i64::MIN);
            for (step, packet) in packets {
                said += step.max(0);
                let at = pace.place(said, [AAC, AAC_48, MP3, &[]][packet]);
                prop_assert!(at > last && (at - said).abs() <= 2351 / 2 + 200, "{at} {said}");
                last = at;
            }
        }

        #[test]
        fn any_bytes_have_a_length_or_none(
            packet in proptest::collection::vec(any::<u8>(), 0..12),
            said in any::<i64>(),
        ) {
            let mut pace = Pace::default();
            pace.place(said, &packet);
            pace.place(said, &packet);
            prop_assert!(Length::of(&packet).is_none_or(|length| length.rate > 0));
        }
    }
}
