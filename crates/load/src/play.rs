//! Viewers: one thread for all of them, light enough not to be what is measured.
//!
//! Each viewer reads until its first key frame. Then only the sampled ones go on reading; what the others get is thrown
//! away in the kernel (`MSG_TRUNC`), and counted.
//!
//! On loopback the sender pays for waking the receiver, each time it sleeps. Real viewers sit on other machines, so the
//! crowd that is not sampled has a poller of its own which nobody sleeps on: it is looked at by the clock.

mod viewer;

use std::{
    io,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};

use self::viewer::{Habit, Target, Viewer};
pub use self::viewer::{HttpServer, http_server};
use crate::{
    cli::Play,
    cpu::Watch,
    report::{Report, Times},
};

/// How often things without an event of their own are looked after, what the crowd has received among them.
const TICK: Duration = Duration::from_millis(5);

/// Socket events taken at a time.
const EVENTS: usize = 4096;

/// How many connections are begun in one turn: the kernel's backlog is finite.
const CONNECTS_MAX: usize = 64;

/// When what happens.
struct Schedule {
    start: Instant,
    odd_from: Instant,
    measure_from: Instant,
    measure_to: Instant,
}

struct Crowd<'a> {
    play: &'a Play,
    target: Target,
    /// Viewers that join, and sampled ones.
    poll: Poll,
    /// Playing viewers whose bytes are thrown away.
    crowd: Poll,
    viewers: Vec<Viewer>,
    schedule: Schedule,
    latency: Times,
}

/// Plays, measures and prints.
///
/// # Errors
/// When the server cannot be reached at all.
pub fn run(play: &Play) -> io::Result<()> {
    let watch = Watch::new(&play.watch);
    let rss_before = watch.rss_kib();
    let mut crowd = Crowd::new(play)?;
    crowd.until(crowd.schedule.measure_from)?;
    crowd.viewers.iter_mut().for_each(Viewer::begin_measurement);
    let cpu_before = watch.read();
    let began = Instant::now();
    crowd.until(crowd.schedule.measure_to)?;
    let elapsed = began.elapsed();
    let cpu_after = watch.read();
    let mut report = crowd.report(elapsed);
    (report.rss_before, report.rss) = (rss_before, watch.rss_kib());
    if watch.is_any() {
        report.add_cpu(cpu_after.since(cpu_before));
    }
    if play.json {
        println!("{}", serde_json::to_string(&report).map_err(io::Error::other)?);
    } else {
        print!("{report}");
    }
    Ok(())
}

impl<'a> Crowd<'a> {
    fn new(play: &'a Play) -> io::Result<Self> {
        let start = Instant::now();
        let odd_from = start + play.ramp;
        let odd_ramp = if play.stalled + play.slow > 0 { play.ramp } else { Duration::ZERO };
        let measure_from = odd_from + odd_ramp + play.warmup;
        let schedule =
            Schedule { start, odd_from, measure_from, measure_to: measure_from + play.seconds };
        let target = Target::parse(&play.url, play.ca.as_deref())?;
        Ok(Self {
            play,
            target,
            poll: Poll::new()?,
            crowd: Poll::new()?,
            viewers: Vec::new(),
            schedule,
            latency: Times::default(),
        })
    }

    fn until(&mut self, end: Instant) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut next_look = Instant::now();
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            let is_behind = self.connect_due(now)?;
            let timeout = if is_behind { Duration::ZERO } else { TICK.min(end - now) };
            self.poll.poll(&mut events, Some(timeout))?;
            let is_measuring = now >= self.schedule.measure_from;
            for event in &events {
                let latency = is_measuring.then_some(&mut self.latency);
                let readable = event.is_readable() || event.is_read_closed();
                let viewer = &mut self.viewers[event.token().0];
                let was_playing = viewer.is_playing();
                viewer.on_event(readable, latency);
                if !was_playing && viewer.is_playing() && viewer.habit.is_crowd() {
                    viewer.register(|socket| {
                        self.poll.registry().deregister(socket)?;
                        self.crowd.registry().register(socket, event.token(), Interest::READABLE)
                    })?;
                }
            }
            let now = Instant::now();
            if now < next_look {
                continue;
            }
            next_look = now + TICK;
            self.look_at_crowd(&mut events)?;
            for viewer in self.viewers.iter_mut().filter(|viewer| viewer.is_slow()) {
                viewer.sip(now, self.play.slow_rate);
            }
        }
    }

    /// Takes what the crowd has received.
    fn look_at_crowd(&mut self, events: &mut Events) -> io::Result<()> {
        loop {
            self.crowd.poll(events, Some(Duration::ZERO))?;
            for event in &*events {
                self.viewers[event.token().0].on_event(true, None);
            }
            if events.iter().count() < EVENTS {
                return Ok(());
            }
        }
    }

    /// Begins the connections whose time has come; true when there are more.
    fn connect_due(&mut self, now: Instant) -> io::Result<bool> {
        let play = self.play;
        let ordinary = share(play.count, now, self.schedule.start, play.ramp);
        // The odd ones come after the others, so that their numbers are at the end.
        let odd = share(play.stalled + play.slow, now, self.schedule.odd_from, play.ramp);
        let storm = share(play.storm, now, self.schedule.measure_from, play.storm_ramp);
        let wanted = ordinary + odd + storm;
        let until = wanted.min(self.viewers.len() + CONNECTS_MAX);
        for number in self.viewers.len()..until {
            let mut viewer =
                Viewer::connect(&self.target, number % play.streams, self.habit(number))?;
            viewer.register(|socket| {
                self.poll.registry().register(
                    socket,
                    Token(number),
                    Interest::READABLE | Interest::WRITABLE,
                )
            })?;
            self.viewers.push(viewer);
        }
        Ok(until < wanted)
    }

    fn habit(&self, number: usize) -> Habit {
        let play = self.play;
        let spacing = (play.count / play.sample.max(1)).max(1);
        match number.checked_sub(play.count) {
            None if play.sample > 0 && number.is_multiple_of(spacing) => Habit::Sampled,
            None => Habit::Ordinary,
            Some(odd) if odd < play.stalled => Habit::Stalled,
            Some(odd) if odd < play.stalled + play.slow => Habit::Slow,
            Some(_) => Habit::Storm,
        }
    }

    fn report(&self, elapsed: Duration) -> Report {
        let regular: Vec<_> =
            self.viewers.iter().filter(|viewer| viewer.habit.is_regular()).collect();
        let playing: Vec<_> = regular.iter().filter(|viewer| viewer.is_playing()).collect();
        let bytes: u64 = self.viewers.iter().map(|viewer| viewer.measured_bytes).sum();
        let own = || playing.iter().map(|viewer| viewer.measured_bytes);
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let least = match (own().min(), own().sum::<u64>()) {
            (Some(least), sum @ 1..) => least as f64 * playing.len() as f64 / sum as f64,
            _ => 0.0,
        };
        let end = Instant::now();
        let gaps: Vec<_> = playing.iter().map(|viewer| viewer.longest_gap(end)).collect();
        let joins = |is_storm: bool| {
            let mut times = Times::default();
            let viewers =
                self.viewers.iter().filter(|viewer| (viewer.habit == Habit::Storm) == is_storm);
            viewers.filter_map(|viewer| viewer.join).for_each(|join| times.record(join));
            times.spread()
        };
        Report {
            seconds: elapsed.as_secs_f64(),
            viewers: self.play.count,
            playing: playing.len(),
            failed: self.viewers.iter().filter(|viewer| viewer.join.is_none()).count(),
            cut: self.viewers.iter().filter(|viewer| viewer.is_cut()).count(),
            bytes,
            least,
            latency: self.latency.spread(),
            join: joins(false),
            storm_join: joins(true),
            stalled: gaps
                .iter()
                .filter(|gap| gap.as_millis() >= u128::from(self.play.stall_ms))
                .count(),
            longest_gap: gaps.iter().max().map_or(0.0, |gap| gap.as_secs_f64() * 1e3),
            cpu: 0.0,
            cpu_shards: 0.0,
            softirq: 0.0,
            cpu_per_gb: None,
            rss_before: 0,
            rss: 0,
        }
    }
}

/// How many of `count`, who come evenly within `ramp`, have come.
pub fn share(count: usize, now: Instant, from: Instant, ramp: Duration) -> usize {
    match now.checked_duration_since(from) {
        None => 0,
        Some(elapsed) if elapsed >= ramp => count,
        Some(elapsed) => {
            let parts = elapsed.as_micros() * count as u128 / ramp.as_micros().max(1);
            usize::try_from(parts).unwrap_or(count).min(count)
        }
    }
}
