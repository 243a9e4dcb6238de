//! A delivery shard: one thread that sends streams to its viewers.
//!
//! ```text
//! publisher ── flush ──► ShardWaker ── due ──► shard: one wake, one refresh, then one send per viewer at the tip
//!                                                ▲
//!              a socket that was full ── writable┘   (armed only after a short write)
//! ```
//!
//! A viewer's socket comes here once it has asked for its stream, and leaves when it ends or when an RTMP viewer says
//! something that the control side must answer. There is no timer, no lock, no allocation and no copy per viewer and
//! frame.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use tokio::sync::mpsc;
use weir_clients::{
    end::{End, Kind},
    histogram::Histogram,
    quota::{Learned, Quotas},
    roster::Farewell,
};
use weir_hub::{Start, Status, Tracks, Wake};

use super::{
    channel::{Channel, View},
    mailbox::{Arrival, BIT_RATE_MIN, Mailbox, Returned, ShardWaker, Why},
    socket::Socket,
    terms::{Terms, TermsOf},
    turns::Turns,
    viewer::{Input, Progress, Protocol, Viewer},
};

/// How often a shard looks for frames that wait for a flush which does not come, because the publisher is silent: this
/// part of the time that they may wait, within bounds.
const TICKS_A_HOLD: u32 = 8;
const TICK_MIN: Duration = Duration::from_millis(5);
const TICK_MAX: Duration = Duration::from_secs(1);

/// How often stalled viewers are looked for.
const CARE: Duration = Duration::from_secs(1);

/// Socket events taken per wake.
const EVENTS: usize = 1024;

const WAKE: Token = Token(usize::MAX);

/// A channel on a shard.
struct ShardChannel {
    /// What all shards share of it.
    shared: Arc<Channel>,
    view: View,
    /// Keys of its viewers.
    viewers: Vec<usize>,
    waker: Arc<ShardWaker>,
    terms: Terms,
    tracks: Tracks,
    /// Bits per second that each of its viewers counts for in the shard's load.
    weight: u64,
    /// Bytes sent that `quotas` has not been told of.
    sent: u64,
}

impl ShardChannel {
    fn load(&self) -> u64 {
        self.weight.saturating_mul(self.viewers.len() as u64)
    }
}

pub(crate) struct Shard {
    poll: Poll,
    mailbox: Arc<Mailbox>,
    viewers: Slab<Viewer>,
    channels: Slab<ShardChannel>,
    returns: mpsc::Sender<Returned>,
    /// Viewers whose turn was over before they were done.
    unfinished: Turns,
    /// How often frames are looked for that wait too long.
    tick: Duration,
    next_tick: Instant,
    next_care: Instant,
    quotas: Arc<Quotas>,
    /// Bytes sent that `quotas` has not been told of.
    sent: u64,
    scratch: [u8; 2048],
}

/// Ends the process when a shard's thread unwinds.
struct DeathWatch(Arc<Mailbox>);

impl Drop for DeathWatch {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.die("panicked", &"see the previous message");
        }
    }
}

impl Shard {
    pub(crate) fn start(
        number: usize,
        returns: mpsc::Sender<Returned>,
        quotas: Arc<Quotas>,
        last: fn(),
    ) -> io::Result<Arc<Mailbox>> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let mailbox = Arc::new(Mailbox {
            inbox: Mutex::default(),
            waker,
            load: AtomicU64::new(0),
            viewers: AtomicUsize::new(0),
            latency: Histogram::default(),
            last,
        });
        let shard = Self {
            poll,
            mailbox: Arc::clone(&mailbox),
            viewers: Slab::new(),
            channels: Slab::new(),
            returns,
            unfinished: Turns::default(),
            tick: TICK_MAX,
            next_tick: Instant::now(),
            next_care: Instant::now() + CARE,
            quotas,
            sent: 0,
            scratch: [0; 2048],
        };
        thread::Builder::new().name(format!("weir-shard-{number}")).spawn(move || {
            let _watch = DeathWatch(Arc::clone(&shard.mailbox));
            shard.run();
        })?;
        Ok(mailbox)
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut due = Vec::new();
        loop {
            let timeout = match (self.unfinished.is_empty(), self.viewers.is_empty()) {
                (false, _) => Some(Duration::ZERO),
                (true, false) => Some(self.tick),
                (true, true) => None,
            };
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => self.mailbox.die("cannot poll", &error),
            }
            let now = Instant::now();
            if !self.take_inbox(&mut due, now) {
                return;
            }
            // Streams first: a flush must not wait for viewers that are behind.
            for number in due.drain(..) {
                self.flush(number, now);
            }
            for event in events.iter().filter(|event| event.token() != WAKE) {
                self.on_socket(
                    event.token().0,
                    event.is_readable() || event.is_read_closed(),
                    event.is_writable(),
                    now,
                );
            }
            self.finish_turns(now);
            if now >= self.next_tick {
                self.next_tick = now + self.tick;
                self.flush_held(now);
            }
            if now >= self.next_care {
                self.next_care = now + CARE;
                self.drop_stalled(now);
                self.let_go_overdue(now);
                self.report(now);
                self.reweigh(now);
            }
            if self.sent > 0 {
                self.quotas.count_sent(std::mem::take(&mut self.sent));
            }
        }
    }

    fn take_inbox(&mut self, due: &mut Vec<usize>, now: Instant) -> bool {
        let (arrivals, look, terms) = {
            let mut inbox = self.mailbox.lock();
            if inbox.closed {
                return false;
            }
            std::mem::swap(&mut inbox.due, due);
            let look = std::mem::take(&mut inbox.look);
            (std::mem::take(&mut inbox.arrivals), look, inbox.terms.take())
        };
        let is_to_leave =
            |(arrival, _): &(Arrival, u64)| arrival.client.presence.farewell().is_some();
        // Who was asked on its way here has not been looked at yet.
        let look = look || arrivals.iter().any(is_to_leave);
        for (arrival, weight) in arrivals {
            self.add_viewer(arrival, weight, now);
        }
        if let Some(terms) = terms {
            self.reconfigure(&terms);
        }
        if look {
            self.say_farewell(now);
        }
        true
    }

    /// Takes a viewer in and sends it its start.
    fn add_viewer(&mut self, arrival: Arrival, weight: u64, now: Instant) {
        let Arrival { socket, tls, channel: shared, terms, head, protocol, client } = arrival;
        let number = self.channel(&shared, terms, now);
        let channel = &mut self.channels[number];
        channel.tracks = shared.tracks();
        self.mailbox.reweigh(weight, channel.weight);
        let is_over = channel.view.status == Some(Status::Ended);
        let from = match terms.start {
            Start::NewestGroup | Start::OldestGroup => 0,
            Start::NextGroup => channel.view.end(),
        };
        let mut socket = Socket::new(socket, tls);
        let has_input = socket.has_input();
        let mut viewer = Viewer::new(socket, protocol, client, head, from, now);
        (viewer.channel, viewer.index) = (number, channel.viewers.len());
        let key = self.viewers.insert(viewer);
        channel.viewers.push(key);
        let registered = self.poll.registry().register(
            self.viewers[key].socket.below(),
            Token(key),
            Interest::READABLE,
        );
        match registered {
            Ok(()) if is_over => self.close_channel(number, now),
            Ok(()) => self.catch_up(key, now),
            Err(error) => self.end(key, &End::us(format!("cannot watch the socket: {error}"))),
        }
        if has_input && self.viewers.contains(key) {
            self.receive(key, now);
        }
    }

    /// The number of `shared` on this shard, set up if it is its first viewer's.
    fn channel(&mut self, shared: &Arc<Channel>, terms: Terms, now: Instant) -> usize {
        if let Some((number, _)) =
            self.channels.iter().find(|(_, channel)| Arc::ptr_eq(&channel.shared, shared))
        {
            return number;
        }
        let entry = self.channels.vacant_entry();
        let number = entry.key();
        let waker = Arc::new(ShardWaker {
            mailbox: Arc::clone(&self.mailbox),
            number,
            is_woken: AtomicBool::new(false),
        });
        shared.attach(Arc::clone(&waker) as _);
        let mut view = View::default();
        shared.refresh(&mut view, now);
        entry.insert(ShardChannel {
            view,
            viewers: Vec::new(),
            waker,
            terms,
            tracks: shared.tracks(),
            weight: shared.bit_rate().max(BIT_RATE_MIN),
            sent: 0,
            shared: Arc::clone(shared),
        });
        self.set_tick();
        number
    }

    /// Sends what is new on a channel to all its viewers that have had everything else.
    fn flush(&mut self, number: usize, now: Instant) {
        let Some(channel) = self.channels.get_mut(number) else { return };
        channel.waker.is_woken.store(false, Ordering::Release);
        let tip = channel.view.end();
        channel.shared.refresh(&mut channel.view, now);
        let is_over = channel.view.status == Some(Status::Ended);
        let fresh = channel.view.end() - tip;
        let group = channel.view.newest.as_ref().map(|group| group.seq).filter(|seq| *seq >= tip);
        let (mut index, mut sent) = (0, 0);
        // A viewer that goes is replaced by the last one of the list.
        while let Some(channel) = self.channels.get(number)
            && let Some(&key) = channel.viewers.get(index)
        {
            let viewer = &mut self.viewers[key];
            match channel.view.get(tip) {
                // Its next server begins with the group that begins here.
                _ if group.is_some() && viewer.may_leave(now) => {
                    viewer.end_before_group(&channel.view, channel.shared.format());
                    self.catch_up(key, now);
                }
                Some(entry) if fresh == 1 && viewer.is_at(tip) => {
                    let before = viewer.client.sent;
                    let progress = viewer.send(tip, entry, now);
                    sent += viewer.client.sent - before;
                    self.after_write(key, progress);
                }
                _ if fresh > 0 && (viewer.is_at(tip) || viewer.is_seeking()) => {
                    self.catch_up(key, now);
                }
                _ => {}
            }
            let stayed = |channel: &ShardChannel| channel.viewers.get(index) == Some(&key);
            index += usize::from(self.channels.get(number).is_some_and(stayed));
        }
        self.count_sent(number, sent);
        self.note_latency(number);
        if is_over {
            self.close_channel(number, now);
        }
    }

    /// Counts how long the flush that has just ended was under way, for those who have it. Who has not, because its
    /// socket is full, is late by its own doing.
    fn note_latency(&self, number: usize) {
        if let Some(channel) = self.channels.get(number)
            && let Some(since) = channel.view.since
        {
            self.mailbox.latency.observe(since.elapsed(), channel.viewers.len() as u64);
        }
    }

    fn catch_up(&mut self, key: usize, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(key) else { return };
        let number = viewer.channel;
        let channel = &self.channels[number];
        let before = viewer.client.sent;
        let progress = viewer.catch_up(&channel.view, channel.shared.format(), channel.tracks, now);
        let sent = viewer.client.sent - before;
        self.count_sent(number, sent);
        self.after_write(key, progress);
    }

    fn count_sent(&mut self, number: usize, sent: u64) {
        self.sent += sent;
        if let Some(channel) = self.channels.get_mut(number) {
            channel.sent += sent;
        }
    }

    fn after_write(&mut self, key: usize, progress: io::Result<Progress>) {
        match progress {
            Ok(Progress::AtTip) => self.arm(key, false),
            Ok(Progress::Full) => self.arm(key, true),
            Ok(Progress::More) => {
                // The socket is not full, so nothing will announce that it is writable.
                self.arm(key, false);
                self.go_on_later(key);
            }
            Ok(Progress::Done) => self.finish(key),
            Err(error) => self.end(key, &error.into()),
        }
    }

    /// Watches for writability exactly while there is something to write.
    fn arm(&mut self, key: usize, full: bool) {
        let viewer = &mut self.viewers[key];
        if viewer.armed == full {
            return;
        }
        viewer.armed = full;
        let interest =
            if full { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        if let Err(error) =
            self.poll.registry().reregister(viewer.socket.below(), Token(key), interest)
        {
            self.end(key, &End::us(format!("cannot watch the socket: {error}")));
        }
    }

    fn on_socket(&mut self, key: usize, readable: bool, writable: bool, now: Instant) {
        if readable {
            self.receive(key, now);
        }
        if writable && self.viewers.get(key).is_some_and(|viewer| viewer.armed) {
            self.catch_up(key, now);
        }
    }

    fn receive(&mut self, key: usize, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(key) else { return };
        match viewer.receive(&mut self.scratch, now) {
            Ok(Input::Command(event)) => return self.give_back(key, Why::Command(event)),
            Ok(Input::More) => self.go_on_later(key),
            Ok(Input::Nothing) => {}
            Err(end) => {
                self.say_last_words(key, now);
                return self.end(key, &end);
            }
        }
        if self.viewers[key].has_rest() && !self.viewers[key].armed {
            self.catch_up(key, now);
        }
    }

    /// Sends what a viewer that is going is to be told, if its socket takes it at once.
    fn say_last_words(&mut self, key: usize, now: Instant) {
        let viewer = &mut self.viewers[key];
        if viewer.has_rest() {
            let channel = &self.channels[viewer.channel];
            // It goes in any case.
            let _ = viewer.catch_up(&channel.view, channel.shared.format(), channel.tracks, now);
        }
    }

    /// Lets a viewer go on once the others have had their turn.
    fn go_on_later(&mut self, key: usize) {
        if let Some(viewer) = self.viewers.get_mut(key) {
            self.unfinished.again(key, &mut viewer.waits);
        }
    }

    /// Goes on with viewers whose turn was over: reads and writes are edge-triggered and would not be announced again.
    fn finish_turns(&mut self, now: Instant) {
        for turn in self.unfinished.round() {
            let key = turn.key;
            let Some(viewer) = self.viewers.get_mut(key) else { continue };
            if !turn.begins(&mut viewer.waits) {
                continue;
            }
            self.receive(key, now);
            if self.viewers.get(key).is_some_and(|viewer| !viewer.armed) {
                self.catch_up(key, now);
            }
        }
    }

    /// Called whenever the channels change.
    fn set_tick(&mut self) {
        let holds = self.channels.iter().map(|(_, channel)| channel.terms.flush.hold_max());
        let shortest = holds.filter(|hold| !hold.is_zero()).min().unwrap_or(TICK_MAX);
        self.tick = (shortest / TICKS_A_HOLD).clamp(TICK_MIN, TICK_MAX);
        self.next_tick = self.next_tick.min(Instant::now() + self.tick);
    }

    /// Flushes what has waited as long as it may while no later frame came to flush it.
    fn flush_held(&mut self, now: Instant) {
        let is_late = |channel: &ShardChannel| {
            let hold = channel.terms.flush.hold_max().saturating_sub(TICK_MIN);
            channel
                .shared
                .pending_since()
                .is_some_and(|since| now.saturating_duration_since(since) >= hold)
        };
        let late: Vec<usize> = self
            .channels
            .iter()
            .filter(|(_, channel)| is_late(channel))
            .map(|(number, _)| number)
            .collect();
        for number in late {
            self.flush(number, now);
        }
    }

    fn drop_stalled(&mut self, now: Instant) {
        let stalled: Vec<_> = self
            .viewers
            .iter()
            .filter_map(|(key, viewer)| {
                let limit = self.channels[viewer.channel].terms.stall;
                let since = viewer.stalled_since()?;
                (now.saturating_duration_since(since) >= limit).then_some((key, limit))
            })
            .collect();
        for (key, limit) in stalled {
            let reason = format!("took no data for {limit:?} (play.stall_timeout)");
            self.end(key, &End::new(Kind::Stalled, reason));
        }
    }

    /// Asks those to leave who are to leave and have not been asked yet.
    fn say_farewell(&mut self, now: Instant) {
        let asked = self.viewers.iter().filter_map(|(key, viewer)| Some((key, viewer.farewell()?)));
        for (key, farewell) in asked.collect::<Vec<_>>() {
            match (farewell, &self.viewers[key].protocol) {
                (Farewell::Kicked, Protocol::Http { .. } | Protocol::WebSocket(_)) => {
                    let end = farewell.end();
                    self.viewers[key].end_at_once(&end.reason);
                    self.say_last_words(key, now);
                    self.end(key, &end);
                }
                (Farewell::Kicked, Protocol::Rtmp(_)) => self.give_back(key, Why::Leave(farewell)),
                (Farewell::Draining, _) => {
                    self.viewers[key].prepare_to_leave(now);
                    if self.is_left_alone(&self.viewers[key], now) {
                        self.let_go(key, now);
                    } else if !self.viewers[key].armed {
                        self.catch_up(key, now);
                    }
                }
            }
        }
    }

    /// Whether a viewer may leave, and waits for a group in vain: nobody publishes.
    fn is_left_alone(&self, viewer: &Viewer, now: Instant) -> bool {
        let status = self.channels[viewer.channel].view.status;
        viewer.may_leave(now) && status != Some(Status::Live)
    }

    /// Lets those go for whom no group has come in time, or will come, and ends those who do not take the rest.
    fn let_go_overdue(&mut self, now: Instant) {
        let is_overdue =
            |viewer: &Viewer| viewer.must_leave(now) || self.is_left_alone(viewer, now);
        let overdue = self.viewers.iter().filter(|(_, viewer)| is_overdue(viewer));
        for key in overdue.map(|(key, _)| key).collect::<Vec<_>>() {
            if self.viewers[key].is_ending() {
                self.end(key, &Farewell::Draining.end());
            } else {
                self.let_go(key, now);
            }
        }
    }

    /// Gives a viewer what there still is, and the end.
    fn let_go(&mut self, key: usize, now: Instant) {
        let channel = &self.channels[self.viewers[key].channel];
        let (format, tracks) = (channel.shared.format(), channel.tracks);
        self.viewers[key].end(&channel.view, format, tracks);
        self.catch_up(key, now);
    }

    /// Tells others how far the viewers are.
    fn report(&mut self, now: Instant) {
        for (_, viewer) in &mut self.viewers {
            viewer.client.behind = viewer.behind(&self.channels[viewer.channel].view, now);
            viewer.client.report();
        }
    }

    fn reconfigure(&mut self, terms: &TermsOf) {
        for (_, channel) in &mut self.channels {
            channel.terms = terms(channel.shared.key());
        }
        self.set_tick();
    }

    /// Viewers were counted with what was known of their streams when they came; now more is known.
    fn reweigh(&mut self, now: Instant) {
        let mut rates = Vec::with_capacity(self.channels.len());
        for (_, channel) in &mut self.channels {
            let (rate, before) = (channel.shared.bit_rate(), channel.load());
            channel.weight = rate.max(BIT_RATE_MIN);
            self.mailbox.reweigh(before, channel.load());
            let bit_rate = rate;
            rates.push(Learned {
                key: channel.shared.key(),
                bit_rate,
                sent: std::mem::take(&mut channel.sent),
            });
        }
        self.quotas.learn(&rates, now);
    }

    /// The stream is over: its viewers get what is left of it, and are told.
    fn close_channel(&mut self, number: usize, now: Instant) {
        let Some(channel) = self.channels.get(number) else { return };
        let (format, tracks) = (channel.shared.format(), channel.tracks);
        let staying: Vec<usize> =
            channel.viewers.iter().copied().filter(|&key| !self.viewers[key].is_ending()).collect();
        for &key in &staying {
            self.viewers[key].end(&channel.view, format, tracks);
        }
        for key in staying {
            self.catch_up(key, now);
        }
    }

    /// A viewer has been sent everything there will be.
    fn finish(&mut self, key: usize) {
        let is_leaving = self.viewers[key].is_leaving();
        let over = self.channels[self.viewers[key].channel].view.over;
        match self.viewers[key].protocol {
            Protocol::Rtmp(_) if is_leaving => {
                self.give_back(key, Why::Leave(Farewell::Draining));
            }
            Protocol::Rtmp(_) => self.give_back(key, Why::StreamEnded),
            Protocol::Http { .. } | Protocol::WebSocket(_) if is_leaving => {
                self.end(key, &Farewell::Draining.end());
            }
            Protocol::Http { .. } | Protocol::WebSocket(_) => {
                let why = over.map_or_else(|| "the stream ended".to_owned(), |why| why.to_string());
                self.end(key, &End::upstream(why));
            }
        }
    }

    fn end(&mut self, key: usize, end: &End) {
        if let Some(mut viewer) = self.remove_viewer(key) {
            viewer.socket.close();
            viewer.client.end(end);
        }
    }

    fn give_back(&mut self, key: usize, why: Why) {
        let Some(mut viewer) = self.remove_viewer(key) else { return };
        let unsent = viewer.take_rest().into();
        let Protocol::Rtmp(session) = viewer.protocol else { return };
        // Nobody looks from here on.
        viewer.client.behind = None;
        let (socket, tls) = viewer.socket.into_parts();
        let returned = Returned { socket, tls, session, client: viewer.client, unsent, why };
        if let Err(error) = self.returns.try_send(returned) {
            let returned = error.into_inner();
            returned.client.end(&End::us("too many clients wait for an answer at once"));
        }
    }

    /// Takes a viewer out; the channel goes with its last one.
    fn remove_viewer(&mut self, key: usize) -> Option<Viewer> {
        let mut viewer = self.viewers.try_remove(key)?;
        // A socket that cannot be deregistered is closed, which has the same effect.
        let _ = self.poll.registry().deregister(viewer.socket.below());
        let number = viewer.channel;
        let channel = &mut self.channels[number];
        channel.viewers.swap_remove(viewer.index);
        if let Some(&moved) = channel.viewers.get(viewer.index) {
            self.viewers[moved].index = viewer.index;
        }
        self.mailbox.load.fetch_sub(channel.weight, Ordering::Relaxed);
        self.mailbox.viewers.fetch_sub(1, Ordering::Relaxed);
        if channel.viewers.is_empty() {
            let channel = self.channels.remove(number);
            let waker: Arc<dyn Wake> = channel.waker;
            channel.shared.detach(&waker);
            self.set_tick();
        }
        Some(viewer)
    }
}

#[cfg(test)]
mod tests;
