//! Timestamp repair: whatever clock a publisher has, readers see one timeline that does not run backwards.

use std::time::{Duration, Instant};

use weir_media::{Timestamp, Track};

/// Largest forward step beyond the time that passed since the track's last frame. Slide shows and cut network paths
/// make gaps of seconds that are real; encoders that restart their clock jump by minutes or years.
const FORWARD_MAX: i64 = 10_000;

/// Largest backward step that is taken for bad interleaving or rounding, and levelled; beyond it the clock was
/// restarted.
const BACKWARD_MAX: i64 = 1_000;

/// A first frame below this keeps its own time (nearly all encoders start at 0); a larger one is moved to [`START`].
const NATURAL_START_MAX: i64 = 10_000;

/// Where a publisher with a large first timestamp begins: not 0, since other tracks may begin a little earlier.
const START: i64 = 1_000;

/// A track whose frames all say one time for this long, and that came at [`STILL_MOMENTS`] moments since, has no clock:
/// some encoders send 0 with everything. One message of many parts, or a network that stops within one, is no such
/// thing.
const STILL_MIN: Duration = Duration::from_secs(2);

/// See [`STILL_MIN`]. Frames that come within [`STILL_MOMENT`] of each other are of one moment: they may have waited
/// together.
const STILL_MOMENTS: u8 = 8;

/// See [`STILL_MOMENTS`]. Below the fifth of a second after which publishers are read that nobody watches.
const STILL_MOMENT: Duration = Duration::from_millis(100);

/// A track's clock is looked at each time that so much of life has passed.
const GAUGE: Duration = Duration::from_secs(10);

/// A clock that went on by less than this part of life meanwhile, while frames came at [`GAUGE_MOMENTS`] moments, is
/// none: encoders count in other units than they say. A network that is slow makes frames late as well, but encoders
/// that cannot send a fifth of what they make give up or leave pictures out.
const SLOWEST: i64 = 5;

/// See [`SLOWEST`]; moments as in [`STILL_MOMENTS`].
const GAUGE_MOMENTS: u8 = 5;

/// A clock is gone by again once it goes on by this part of life.
const CREDIBLE: i64 = 2;

/// A clock that jumps so often between two looks is none either.
const JUMPS_MAX: u8 = 4;

/// Turns a publisher's 32-bit milliseconds into the stream's timeline.
///
/// - Wraps are unwrapped, small backward steps within a track are levelled to its last time.
/// - A jump (beyond what the wall clock explains) continues right after the newest frame, for all tracks with the same
///   shift so that sound and picture stay together, and counts as a new *epoch*.
/// - A track without a clock (its frames say the same time, hardly go on, or jump to and fro) goes by the wall clock.
/// - A new publisher on the same stream ([`Timeline::restart`]) continues where the wall clock says, in a new epoch.
#[derive(Debug, Default)]
pub struct Timeline {
    tracks: Vec<(Track, Clock)>,
    /// From the current publisher's unwrapped time to the timeline; unknown before its first coded frame.
    shift: Option<i64>,
    epoch: u32,
    newest: Option<(i64, Instant)>,
    /// Nothing is placed before this: the newest time of the publisher before.
    floor: i64,
    repairs: u64,
}

/// Where one track is. Times in milliseconds: `wire` as received, `unwrapped` without the 32-bit wrap, `dts` as handed
/// out.
#[derive(Clone, Copy, Debug)]
struct Clock {
    wire: u32,
    unwrapped: i64,
    shift: i64,
    dts: i64,
    at: Instant,
    still: Option<Still>,
    gauge: Gauge,
}

/// Since when all frames of a track say the same time.
#[derive(Clone, Copy, Debug)]
struct Still {
    /// The first of them, as it was handed out; once it `is_certain`, where the wall clock took over.
    dts: i64,
    since: Instant,
    /// The newest moment at which some came, and how many there were.
    moment: Instant,
    moments: u8,
    /// The track goes by the wall clock.
    is_certain: bool,
}

/// What a track's clock is worth.
#[derive(Clone, Copy, Debug)]
struct Gauge {
    /// When it was looked at last, and what it said then.
    since: Instant,
    from: i64,
    /// The newest moment at which a frame came with another time than the one before, and how many there were since.
    moment: Instant,
    moments: u8,
    jumps: u8,
    /// The track goes by the wall clock.
    is_off: bool,
}

impl Gauge {
    fn new(from: i64, now: Instant) -> Self {
        Self { since: now, from, moment: now, moments: 0, jumps: 0, is_off: false }
    }

    /// A frame came that says `unwrapped`, another time than the one before.
    fn heard(&mut self, unwrapped: i64, is_jump: bool, now: Instant) {
        if is_jump {
            self.jumps = self.jumps.saturating_add(1);
            self.is_off |= self.jumps >= JUMPS_MAX;
        }
        if now.saturating_duration_since(self.moment) < STILL_MOMENT {
            return;
        }
        (self.moment, self.moments) = (now, self.moments.saturating_add(1));
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < GAUGE {
            return;
        }
        let part = if self.is_off { CREDIBLE } else { SLOWEST };
        let is_slow = (unwrapped - self.from).saturating_mul(part) < millis(elapsed);
        let is_off = match self.jumps {
            0 => is_slow && (self.is_off || self.moments >= GAUGE_MOMENTS),
            _ => self.is_off,
        };
        *self = Self { is_off, ..Self::new(unwrapped, now) };
    }
}

impl Timeline {
    /// The place of a coded frame (a picture or sound) of `track` that says `wire` and arrives at `now`; and the epoch.
    pub fn place(&mut self, track: Track, wire: u32, now: Instant) -> (Timestamp, u32) {
        let clock = match self.tracks.iter().position(|(known, _)| *known == track) {
            Some(at) => {
                let clock = self.step(self.tracks[at].1, wire, now);
                self.tracks[at].1 = clock;
                clock
            }
            None => {
                let clock = self.enter(wire, now);
                self.tracks.push((track, clock));
                clock
            }
        };
        if self.newest.is_none_or(|(newest, _)| clock.dts >= newest) {
            self.newest = Some((clock.dts, now));
        }
        (Timestamp::from_millis(clock.dts), self.epoch)
    }

    /// The place of a frame that need not have a time of its own (metadata, configuration) but says `wire`: between the
    /// track's newest coded frame and the stream's; the stream's as long as the track has none.
    pub fn place_untimed(&self, track: Track, wire: u32) -> (Timestamp, u32) {
        let newest = self.newest.map_or(0, |(newest, _)| newest);
        let own = self.tracks.iter().find(|(known, _)| *known == track);
        let dts = own.map_or(newest, |(_, clock)| {
            let said = clock.unwrapped + distance(clock.wire, wire) + clock.shift;
            said.clamp(clock.dts, newest.max(clock.dts))
        });
        (Timestamp::from_millis(dts), self.epoch)
    }

    /// Another publisher takes over: its clock has nothing to do with the last one's.
    pub fn restart(&mut self) {
        self.tracks.clear();
        self.shift = None;
        if let Some((newest, _)) = self.newest {
            self.epoch = self.epoch.wrapping_add(1);
            self.floor = newest;
        }
    }

    /// How often a frame had to be moved: steps back that were levelled, and jumps.
    pub fn repairs(&self) -> u64 {
        self.repairs
    }

    /// A track's first frame.
    fn enter(&mut self, wire: u32, now: Instant) -> Clock {
        let unwrapped = match self.tracks.first() {
            Some((_, other)) => other.unwrapped + distance(other.wire, wire),
            None => i64::from(wire),
        };
        let shift = match self.shift {
            Some(shift) if self.is_near(unwrapped + shift, now) => shift,
            // A track with a clock of its own: it is aligned alone, the others are fine.
            Some(_) => self.continuation(now) - unwrapped,
            None => {
                let shift = match self.newest {
                    Some(_) => self.continuation(now) - unwrapped,
                    None if unwrapped <= NATURAL_START_MAX => 0,
                    None => START - unwrapped,
                };
                self.shift = Some(shift);
                shift
            }
        };
        let dts = (unwrapped + shift).max(self.floor);
        let gauge = Gauge::new(unwrapped, now);
        Clock { wire, unwrapped, shift, dts, at: now, still: None, gauge }
    }

    /// A track's next frame.
    fn step(&mut self, last: Clock, wire: u32, now: Instant) -> Clock {
        let delta = distance(last.wire, wire);
        if delta == 0 {
            return self.stand(last, now);
        }
        let unwrapped = last.unwrapped + delta;
        let elapsed = millis(now.saturating_duration_since(last.at));
        let is_jump = !(-BACKWARD_MAX..=FORWARD_MAX.saturating_add(elapsed)).contains(&delta);
        let mut gauge = last.gauge;
        gauge.heard(unwrapped, is_jump, now);
        if gauge.is_off {
            return self.go_by_the_wall(Clock { wire, unwrapped, gauge, ..last }, now);
        }
        if !is_jump {
            let shift = self.shift_after(last, unwrapped);
            let dts = unwrapped + shift;
            self.repairs += u64::from(dts < last.dts);
            let dts = dts.max(last.dts);
            return Clock { wire, unwrapped, shift, dts, at: now, still: None, gauge };
        }
        self.repairs += 1;
        let shift = match self.shift {
            // Another track has made the same jump already.
            Some(shift) if shift != last.shift && self.is_near(unwrapped + shift, now) => shift,
            _ => {
                let shift = self.continuation(now) - unwrapped;
                self.shift = Some(shift);
                self.epoch = self.epoch.wrapping_add(1);
                shift
            }
        };
        let dts = (unwrapped + shift).max(last.dts);
        Clock { wire, unwrapped, shift, dts, at: now, still: None, gauge }
    }

    /// The next frame of a track whose clock is none.
    fn go_by_the_wall(&mut self, last: Clock, now: Instant) -> Clock {
        let still = last.still.filter(|still| still.is_certain).unwrap_or_else(|| {
            self.repairs += 1;
            let dts = (self.continuation(now) - 1).max(last.dts);
            Still { dts, since: now, moment: now, moments: 0, is_certain: true }
        });
        let dts = still.dts + millis(now.saturating_duration_since(still.since));
        // Frames that come together are still frames of their own: this one says another time than the one before.
        let dts = dts.max(last.dts + 1);
        Clock { shift: dts - last.unwrapped, dts, at: now, still: Some(still), ..last }
    }

    /// A track's next frame, which says the time of the one before.
    fn stand(&mut self, last: Clock, now: Instant) -> Clock {
        let mut still = last.still.unwrap_or(Still {
            dts: last.dts,
            since: last.at,
            moment: last.at,
            moments: 1,
            is_certain: false,
        });
        let passed = now.saturating_duration_since(still.since);
        if !still.is_certain {
            if now.saturating_duration_since(still.moment) >= STILL_MOMENT {
                (still.moment, still.moments) = (now, still.moments.saturating_add(1));
            }
            if still.moments < STILL_MOMENTS || passed < STILL_MIN {
                return Clock { at: now, still: Some(still), ..last };
            }
            self.repairs += 1;
            // The other tracks may have a clock.
            let dts = (still.dts + millis(passed)).max(self.continuation(now) - 1).max(last.dts);
            still = Still { dts, since: now, is_certain: true, ..still };
        }
        let dts = still.dts + millis(now.saturating_duration_since(still.since));
        let (dts, still) = (dts.max(last.dts), Some(still));
        Clock { shift: dts - last.unwrapped, dts, at: now, still, ..last }
    }

    /// The shift of a track that stepped on to `unwrapped`: its own, or, if it had no clock for a while and has the
    /// others' again, theirs.
    fn shift_after(&self, last: Clock, unwrapped: i64) -> i64 {
        let was_without = last.still.is_some_and(|still| still.is_certain);
        let fits = |shift: &i64| (unwrapped + shift - last.dts).abs() <= BACKWARD_MAX;
        self.shift.filter(|shift| was_without && fits(shift)).unwrap_or(last.shift)
    }

    /// Where a frame without a usable time belongs: after the newest one, as far as the wall clock went on since.
    fn continuation(&self, now: Instant) -> i64 {
        self.newest
            .map_or(0, |(newest, at)| newest + millis(now.saturating_duration_since(at)).max(1))
    }

    fn is_near(&self, dts: i64, now: Instant) -> bool {
        let Some((newest, at)) = self.newest else { return true };
        let elapsed = millis(now.saturating_duration_since(at));
        (newest - FORWARD_MAX..=newest + FORWARD_MAX + elapsed).contains(&dts)
    }
}

/// From one 32-bit time to another, the short way round.
fn distance(from: u32, to: u32) -> i64 {
    i64::from(to.wrapping_sub(from).cast_signed())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VIDEO: Track = Track::Video(0);
    const AUDIO: Track = Track::Audio(0);

    struct Rig {
        timeline: Timeline,
        now: Instant,
    }

    impl Rig {
        fn new() -> Self {
            Self { timeline: Timeline::default(), now: Instant::now() }
        }

        /// Places a frame `after` milliseconds later.
        fn place(&mut self, track: Track, wire: u32, after: u64) -> (i64, u32) {
            self.now += Duration::from_millis(after);
            let (dts, epoch) = self.timeline.place(track, wire, self.now);
            (dts.as_millis(), epoch)
        }
    }

    #[test]
    fn an_ordinary_publisher_keeps_its_times() {
        let mut rig = Rig::new();
        for (track, wire) in [
            (VIDEO, 0),
            (AUDIO, 0),
            (AUDIO, 23),
            (VIDEO, 40),
            (AUDIO, 46),
            (VIDEO, 80),
            (AUDIO, 69),
        ] {
            assert_eq!(rig.place(track, wire, 5), (i64::from(wire), 0));
        }
        assert_eq!(rig.timeline.repairs(), 0);
    }

    #[test]
    fn a_late_start_moves_to_the_beginning_with_its_tracks_together() {
        let mut rig = Rig::new();
        assert_eq!(rig.place(VIDEO, 3_600_000, 0), (START, 0));
        assert_eq!(rig.place(AUDIO, 3_599_990, 0), (START - 10, 0));
    }

    #[test]
    fn the_32_bit_wrap_is_not_seen() {
        let mut rig = Rig::new();
        let first = u32::MAX - 39;
        assert_eq!(rig.place(VIDEO, first, 0), (START, 0));
        assert_eq!(rig.place(VIDEO, first.wrapping_add(40), 40), (START + 40, 0));
        assert_eq!(
            rig.place(AUDIO, first.wrapping_add(20), 0),
            (START + 20, 0),
            "the other track wraps later"
        );
        assert_eq!(rig.place(AUDIO, first.wrapping_add(60), 40), (START + 60, 0));
        assert_eq!(rig.timeline.repairs(), 0);
    }

    #[test]
    fn a_forward_jump_that_the_wall_clock_explains_is_kept() {
        let mut rig = Rig::new();
        rig.place(VIDEO, 0, 0);
        assert_eq!(rig.place(VIDEO, 60_000, 58_000), (60_000, 0));
    }

    #[test]
    fn jumps_continue_after_the_newest_frame_with_sound_and_picture_together() {
        for jump in [90_000_000u32, 0u32.wrapping_sub(900_000)] {
            let mut rig = Rig::new();
            rig.place(VIDEO, 1_000_000, 0);
            rig.place(AUDIO, 1_000_010, 0);
            let base = 1_000_000u32.wrapping_add(jump);
            assert_eq!(
                rig.place(VIDEO, base.wrapping_add(40), 40),
                (START + 10 + 40, 1),
                "after the newest, by the wall clock"
            );
            assert_eq!(
                rig.place(AUDIO, 1_000_033, 0),
                (START + 33, 1),
                "sound from before the jump comes out as it was"
            );
            assert_eq!(
                rig.place(AUDIO, base.wrapping_add(56), 10),
                (START + 10 + 56, 1),
                "and then follows the picture's shift"
            );
            assert_eq!(rig.place(VIDEO, base.wrapping_add(80), 30), (START + 10 + 80, 1));
        }
    }

    #[test]
    fn small_backward_steps_are_levelled_and_counted() {
        let mut rig = Rig::new();
        rig.place(VIDEO, 1000, 0);
        assert_eq!(rig.place(VIDEO, 960, 40), (1000, 0));
        assert_eq!(rig.place(VIDEO, 1040, 40), (1040, 0));
        assert_eq!(rig.timeline.repairs(), 1);
    }

    #[test]
    fn a_republish_continues_where_the_wall_clock_is() {
        let mut rig = Rig::new();
        rig.place(VIDEO, 5_000, 0);
        rig.timeline.restart();
        assert_eq!(rig.place(VIDEO, 0, 3_000), (8_000, 1));
        assert_eq!(rig.place(AUDIO, 10, 0), (8_010, 1));
    }

    #[test]
    fn a_track_with_a_clock_of_its_own_is_aligned_alone() {
        let mut rig = Rig::new();
        rig.place(VIDEO, 0, 0);
        assert_eq!(rig.place(AUDIO, 77_000_000, 20), (20, 0));
        assert_eq!(rig.place(VIDEO, 40, 20), (40, 0));
        assert_eq!(rig.place(AUDIO, 77_000_023, 0), (43, 0));
    }

    #[test]
    fn a_track_without_a_clock_goes_by_the_wall_clock() {
        for wire in [0, 0xFFFF_FFFF] {
            let mut rig = Rig::new();
            let (start, _) = rig.place(VIDEO, wire, 0);
            let mut last = [start; 2];
            for at in 1..250 {
                for (last, (track, after)) in last.iter_mut().zip([(VIDEO, 20), (AUDIO, 20)]) {
                    let (dts, epoch) = rig.place(track, wire, after);
                    assert!(dts >= *last && epoch == 0);
                    assert!(at < 60 || (1..=40).contains(&(dts - *last)), "{dts} after {last}");
                    *last = dts;
                }
            }
            assert!(
                last.iter().all(|last| (start + 9_900..=start + 10_000).contains(last)),
                "{last:?}"
            );
            assert_eq!(rig.timeline.repairs(), 2);
        }
    }

    #[test]
    fn one_track_without_a_clock_stays_with_the_other() {
        let mut rig = Rig::new();
        for at in 0..500_u32 {
            let (video, _) = rig.place(VIDEO, at * 40, 20);
            let (audio, _) = rig.place(AUDIO, 0, 20);
            assert_eq!(video, i64::from(at) * 40);
            assert!(at < 60 || (video - audio).abs() <= 100, "{video} {audio}");
        }
        // It has a clock again: the other's.
        assert_eq!(rig.place(AUDIO, 20_000, 20), (20_000, 0));
        assert_eq!(rig.place(AUDIO, 20_023, 20), (20_023, 0));
    }

    #[test]
    fn a_clock_that_begins_late_goes_on_from_the_wall_clock() {
        let mut rig = Rig::new();
        let mut last = 0;
        for _ in 0..100 {
            (last, _) = rig.place(VIDEO, 0, 40);
        }
        for at in 1..10 {
            assert_eq!(rig.place(VIDEO, at * 40, 40), (last + i64::from(at) * 40, 0));
        }
    }

    /// Pictures and sound of a minute, each 40 ms of life, whose clocks say what `said` makes of that.
    fn minute(said: impl Fn(i64) -> i64) -> Vec<(i64, i64, u32)> {
        let mut rig = Rig::new();
        let mut placed = Vec::new();
        for at in 0..1500_i64 {
            let wire = said(at * 40) as u32;
            let (video, epoch) = rig.place(VIDEO, wire, 20);
            let (audio, _) = rig.place(AUDIO, wire, 20);
            placed.push((video, audio, epoch));
        }
        placed
    }

    #[test]
    fn a_clock_that_hardly_goes_on_is_none() {
        for part in [6, 10, 100, 1000] {
            let placed = minute(|at| at / part);
            for pair in placed.windows(2) {
                let step = pair[1].0 - pair[0].0;
                assert!((0..=100).contains(&step), "no leap at one in {part}: {pair:?}");
            }
            let lived = placed[1499].0 - placed[500].0;
            assert!(lived.abs_diff(999 * 40) <= 3_100, "one in {part}: {lived} ms of 40 s");
            assert!(placed[500..].iter().all(|(video, audio, _)| (video - audio).abs() <= 100));
            assert_eq!(placed[1499].2, 0, "one timeline");
        }
    }

    #[test]
    fn what_comes_at_one_moment_keeps_times_of_its_own_by_the_wall_clock() {
        let mut rig = Rig::new();
        let (mut wire, mut last) = (0, [0; 2]);
        // Five of each are read at a time, as long as nobody watches.
        for burst in 0..200 {
            for at in 0..5 {
                wire += 4;
                for (last, track) in last.iter_mut().zip([VIDEO, AUDIO]) {
                    let after = if at == 0 && track == VIDEO { 200 } else { 0 };
                    let (dts, _) = rig.place(track, wire, after);
                    assert!(dts > *last, "burst {burst}, {at}: {dts} after {last}");
                    *last = dts;
                }
            }
        }
        let lived = 200 * 200 - 10_000 + 1_000;
        assert!(last.iter().all(|last| last.abs_diff(lived) < 500), "no faster: {last:?}");
    }

    #[test]
    fn a_clock_that_is_slow_or_fast_within_reason_is_kept() {
        for (said, is) in
            [(|at| at / 2, 59_960 / 2), (|at| at * 2, 119_920), (|at| at * 10, 599_600)]
                as [(fn(i64) -> i64, i64); 3]
        {
            assert_eq!(minute(said)[1499], (is, is, 0));
        }
    }

    #[test]
    fn a_clock_that_jumps_to_and_fro_by_hours_is_none() {
        let placed = minute(|at| at + if at / 40 % 2 == 0 { 0 } else { 7_200_000 });
        assert!(placed.windows(2).all(|pair| (0..=100).contains(&(pair[1].0 - pair[0].0))));
        let (first, last) = (placed[100], placed[1499]);
        assert!((last.0 - first.0).abs_diff(1399 * 40) <= 100, "{first:?} {last:?}");
        assert_eq!(first.2, last.2, "no new timeline each time");
        // One jump an hour, and back, is what it is.
        let placed = minute(|at| at + if (20_000..40_000).contains(&at) { 3_600_000 } else { 0 });
        assert_eq!(placed[1499].2, 2);
    }

    #[test]
    fn a_clock_that_is_one_again_is_gone_by() {
        let mut rig = Rig::new();
        let mut wire = 0;
        for at in 0..1000 {
            wire += if at < 500 { 4 } else { 40 };
            rig.place(VIDEO, wire, 40);
        }
        let (before, epoch) = rig.place(VIDEO, wire + 40, 3);
        assert_eq!(rig.place(VIDEO, wire + 80, 77), (before + 40, epoch), "its own times");
    }

    #[test]
    fn parts_of_one_picture_have_its_time_however_late_they_come() {
        let mut rig = Rig::new();
        rig.place(VIDEO, 40, 0);
        for after in [0, 5_000, 0, 0, 3_000] {
            assert_eq!(rig.place(VIDEO, 40, after), (40, 0));
        }
        let burst = (0..80).map(|_| rig.place(VIDEO, 40, 5)).collect::<Vec<_>>();
        assert!(burst.iter().all(|placed| *placed == (40, 0)), "they come for long");
        assert_eq!(rig.place(VIDEO, 80, 40), (80, 0));
        assert_eq!(rig.timeline.repairs(), 0);
    }

    #[test]
    fn frames_without_a_time_take_their_tracks_newest() {
        let mut rig = Rig::new();
        let untimed = |rig: &Rig, track| rig.timeline.place_untimed(track, 0).0.as_millis();
        assert_eq!(untimed(&rig, Track::Data), 0);
        rig.place(VIDEO, 120, 0);
        assert_eq!(
            (untimed(&rig, VIDEO), untimed(&rig, AUDIO), untimed(&rig, Track::Data)),
            (120, 120, 120)
        );
        rig.place(AUDIO, 80, 0);
        assert_eq!(untimed(&rig, AUDIO), 80, "what belongs to a track does not run ahead of it");
    }

    #[test]
    fn a_configuration_that_says_its_time_has_it_between_its_tracks_newest_and_the_streams() {
        let mut rig = Rig::new();
        rig.place(VIDEO, 120, 0);
        rig.place(AUDIO, 80, 0);
        for (says, gets) in [(60, 80), (100, 100), (120, 120), (4_000, 120), (u32::MAX, 80)] {
            let (at, _) = rig.timeline.place_untimed(AUDIO, says);
            assert_eq!(at.as_millis(), gets, "says {says}");
        }
    }

    proptest! {
        #[test]
        fn no_track_ever_runs_backwards(
            frames in proptest::collection::vec((any::<bool>(), any::<u32>(), 0u64..20_000, 0u8..20), 1..300),
        ) {
            let mut rig = Rig::new();
            let mut last = [0i64; 2];
            for (is_video, wire, after, restart) in frames {
                if restart == 0 {
                    rig.timeline.restart();
                }
                let (dts, _) = rig.place(if is_video { VIDEO } else { AUDIO }, wire, after);
                prop_assert!(dts >= 0);
                let last = &mut last[usize::from(is_video)];
                prop_assert!(dts >= *last, "{dts} after {last}");
                *last = dts;
            }
        }
    }
}
