//! Lines that strangers can cause as often as they like: bounded for each kind of line and address, and over all.
//!
//! It looks at every line at level info and above, so that no place that logs has to think of it. A line's *kind* is
//! the place in the code that says it, together with its field `kind` if it has one; its *address* is the field `peer`
//! (of IPv6 the /64, which is what one customer has). What is left out is counted, in a line for each kind and in
//! `weir_log_lines_left_out_total`.
//!
//! Budgets are kept as the moment until which they are used up (the "generic cell rate algorithm"), one word each, in
//! tables of fixed size: no lock, and no memory that strangers can make grow. Two that share a word share its budget.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    hash::{BuildHasher, RandomState},
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};
use weir_clients::counts::COUNTS;

use super::writer;

/// How many lines of one kind may come from one address at once: an office whose viewers all come in the same minute,
/// an edge that fetches a hundred streams after a restart. Their sessions begin and end with a line each.
pub const BURST: NonZeroU32 = NonZeroU32::new(100).expect("100 is not 0");

/// After the burst: one line of a kind and address a second.
const ADDRESS_EVERY: Duration = Duration::from_secs(1);

/// The same for lines that name no address, of all streams or origins together.
const NOBODY_EVERY: Duration = Duration::from_millis(100);

/// Of all kinds and addresses together: the sessions of as many viewers a minute begin and end with a line each as a
/// process gets when a stream begins, and 40 KB a second of lines do not fill a disk before somebody sees them.
const ALL_BURSTS: u64 = 20;
const ALL_EVERY: Duration = Duration::from_millis(10);

/// However many lines there are, some of each kind are let through: what is new in a flood is seen.
const KIND_BURST: u64 = 10;
const KIND_EVERY: Duration = Duration::from_secs(1);

/// Budgets of kinds and addresses: 128 KiB.
const ADDRESSES: usize = 16 * 1024;

/// Budgets of kinds: there are some hundred.
const KINDS: usize = 1024;

/// Kinds whose left-out lines are counted separately. There are fewer.
const LEFT_OUT_MAX: usize = 256;

/// How often it is said, while it goes on, how many lines of a kind were left out; the first time after a second.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Characters of a message and of an address that are kept to say what was left out.
const SHOWN: usize = 120;

/// Decides which lines are written.
#[derive(Debug)]
pub struct Throttle {
    hasher: RandomState,
    start: Instant,
    burst: u64,
    addresses: Box<[Budget]>,
    kinds: Box<[Budget]>,
    all: Budget,
    left_out: Mutex<HashMap<(Identifier, Text), LeftOut>>,
}

/// The lines of one kind that were left out.
#[derive(Debug)]
struct LeftOut {
    message: String,
    level: Level,
    /// Since it was last said.
    count: u64,
    /// One of those who caused them.
    peer: Text,
    said: Option<Instant>,
}

impl Throttle {
    /// Nothing has been said yet. `burst` is [`BURST`], or what the operator wants instead.
    pub fn new(burst: NonZeroU32) -> Self {
        let table = |count| std::iter::repeat_with(Budget::default).take(count).collect();
        Self {
            hasher: RandomState::new(),
            start: Instant::now(),
            burst: burst.get().into(),
            addresses: table(ADDRESSES),
            kinds: table(KINDS),
            all: Budget::default(),
            left_out: Mutex::default(),
        }
    }

    fn admits(&self, id: &Identifier, said: &Said, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.start);
        let kind = self.hasher.hash_one((id, &said.kind));
        let own = match network(&said.peer) {
            Some(network) => {
                let slot =
                    &self.addresses[self.hasher.hash_one((kind, network)) as usize % ADDRESSES];
                slot.take(now, ADDRESS_EVERY, self.burst)
            }
            None => self.kinds[kind as usize % KINDS].take(now, NOBODY_EVERY, self.burst),
        };
        own && (self.all.take(now, ALL_EVERY, ALL_BURSTS * self.burst)
            || self.kinds[self.hasher.hash_one((kind, "rare")) as usize % KINDS]
                .take(now, KIND_EVERY, KIND_BURST))
    }

    fn leave_out(&self, event: &Event<'_>, said: Said) {
        COUNTS.log_lines_left_out.increase();
        let Said { kind, peer } = said;
        let id = event.metadata().callsite();
        let mut left_out = self.lock();
        if let Some(known) = left_out.get_mut(&(id.clone(), kind)) {
            known.count += 1;
            known.peer = peer;
            return;
        }
        if left_out.len() >= LEFT_OUT_MAX {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let message = message.0.chars().take(SHOWN).collect();
        let level = *event.metadata().level();
        left_out.insert((id, kind), LeftOut { message, level, count: 1, peer, said: None });
    }

    /// Says in the log how many lines were left out, of which kinds; not too often, unless the process `is_ending`.
    pub fn report(&self, is_ending: bool, now: Instant) {
        for Report { of, kind, peer, level, count } in self.due(is_ending, now) {
            let (kind, peer) = (kind.as_str(), peer.as_str());
            macro_rules! say {
                ($level:ident) => {
                    tracing::$level!(of, kind, latest = peer, count, "similar lines suppressed")
                };
            }
            // Whoever wants to read of the lines wants to read of this.
            match level {
                Level::INFO => say!(info),
                Level::WARN => say!(warn),
                _ => say!(error),
            }
        }
    }

    fn due(&self, is_ending: bool, now: Instant) -> Vec<Report> {
        let mut left_out = self.lock();
        let is_due = |it: &LeftOut| {
            let is_time = it.said.is_none_or(|said| now.duration_since(said) >= SAY_EVERY);
            it.count > 0 && (is_time || is_ending)
        };
        let due = left_out.iter_mut().filter(|(_, it)| is_due(it));
        due.map(|((_, kind), it)| {
            it.said = Some(now);
            let count = std::mem::take(&mut it.count);
            Report { of: it.message.clone(), kind: *kind, peer: it.peer, level: it.level, count }
        })
        .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Identifier, Text), LeftOut>> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there is to say of a kind.
struct Report {
    of: String,
    kind: Text,
    peer: Text,
    level: Level,
    count: u64,
}

/// The layer of the subscriber that asks a throttle.
#[derive(Debug)]
pub struct Throttled(pub std::sync::Arc<Throttle>);

impl<S: Subscriber> Layer<S> for Throttled {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        // Whoever wants to see details wants to see all of them; and what is said of the log itself is bounded.
        if *event.metadata().level() > Level::INFO || writer::is_own() {
            return true;
        }
        let mut said = Said::default();
        event.record(&mut said);
        let is_admitted = self.0.admits(&event.metadata().callsite(), &said, Instant::now());
        if !is_admitted {
            self.0.leave_out(event, said);
        }
        is_admitted
    }
}

/// A budget: the microsecond, of the throttle's own time, until which it is used up.
#[derive(Debug, Default)]
struct Budget(AtomicU64);

impl Budget {
    /// Takes one of `burst` that come back one `every` so often, if there is one.
    fn take(&self, now: Duration, every: Duration, burst: u64) -> bool {
        let [now, every] = [now, every].map(|time| time.as_micros() as u64);
        let next = |until: u64| {
            let until = until.max(now);
            (until - now <= every * (burst - 1)).then_some(until + every)
        };
        self.0.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

/// What decides about a line.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    kind: Text,
    peer: Text,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "kind" => self.kind = Text::of(format_args!("{value:?}")),
            "peer" => self.peer = Text::of(format_args!("{value:?}")),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "kind" => self.kind = Text::of(format_args!("{value}")),
            "peer" => self.peer = Text::of(format_args!("{value}")),
            _ => {}
        }
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string does not fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// The network that an address counts for.
fn network(peer: &Text) -> Option<u128> {
    let text = peer.as_str();
    let ip = text.parse::<SocketAddr>().map(|it| it.ip()).or_else(|_| text.parse()).ok()?;
    Some(match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        // Never an IPv4 address: those are below 2^32.
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => ip.to_bits().into(),
            None => ip.to_bits() >> 64 << 64 | 1 << 32,
        },
    })
}

/// A short text without an allocation: labels and addresses. What is longer is cut.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Text {
    bytes: [u8; TEXT_BYTES],
    length: u8,
}

/// The longest address is 47 characters with a port; a scope makes it a little longer.
const TEXT_BYTES: usize = 64;

impl Default for Text {
    fn default() -> Self {
        Self { bytes: [0; TEXT_BYTES], length: 0 }
    }
}

impl Text {
    fn of(value: fmt::Arguments<'_>) -> Self {
        let mut text = Self::default();
        // What does not fit is cut off.
        let _ = text.write_fmt(value);
        text
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length.into()]).unwrap_or_default()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for character in more.chars() {
            let mut encoded = [0; 4];
            let encoded = character.encode_utf8(&mut encoded).as_bytes();
            let (from, to) = (usize::from(self.length), usize::from(self.length) + encoded.len());
            self.bytes.get_mut(from..to).ok_or(fmt::Error)?.copy_from_slice(encoded);
            self.length = to as u8;
        }
        Ok(())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests;
