//! One bound over what peers make the process hold.
//!
//! Whoever is about to keep bytes for a peer asks a [`Charge`] first. What gives way by itself, the logs, is counted
//! and told when to shrink; everything else is refused beyond its share, and the peer that asked is the one that ends.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// What memory is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// Media in the logs of streams, for viewers that come or are late.
    Logs,
    /// Metadata and decoder configurations that late viewers need.
    Configurations,
    /// Unfinished commands, from peers that do not publish, and media that comes before its publish is accepted.
    Commands,
    /// Unfinished messages of publishers and of origins.
    Messages,
    /// HLS segments that are being filled.
    Segments,
    /// HLS segments of streams that are published here, from the cut until nobody holds them.
    HlsWindow,
    /// Recordings: what waits for a disk, and what a file is made of that is not whole yet.
    Recordings,
    /// HLS objects of origins: cached, on their way, or being sent.
    HlsCache,
    /// Copies of HLS objects that many clients ask for, from which the system sends.
    ZeroCopy,
    /// Parts of files that are being uploaded.
    Uploads,
    /// Events that wait for back ends.
    Hooks,
    /// What waits for a peer to read it.
    Output,
    /// Sessions, tasks and sockets.
    Connections,
    /// What clients ask for, from the head of a request to its answer, however long it waits.
    Requests,
    /// The API: its connections, and its answers while they are gathered and sent.
    Api,
}

impl Use {
    /// Every use.
    pub const ALL: [Self; 15] = [
        Self::Logs,
        Self::Configurations,
        Self::Commands,
        Self::Messages,
        Self::Segments,
        Self::HlsWindow,
        Self::Recordings,
        Self::HlsCache,
        Self::ZeroCopy,
        Self::Uploads,
        Self::Hooks,
        Self::Output,
        Self::Connections,
        Self::Requests,
        Self::Api,
    ];

    /// The label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Configurations => "configurations",
            Self::Commands => "commands",
            Self::Messages => "messages",
            Self::Segments => "segments",
            Self::HlsWindow => "hls_window",
            Self::Recordings => "recordings",
            Self::HlsCache => "hls_cache",
            Self::ZeroCopy => "zero_copy",
            Self::Uploads => "uploads",
            Self::Hooks => "hooks",
            Self::Output => "output",
            Self::Connections => "connections",
            Self::Requests => "requests",
            Self::Api => "api",
        }
    }

    /// The eighths of the whole that all holders of this kind may have together. The shares add up to more than the
    /// whole on purpose: no server needs all of them at once, and the whole is checked as well.
    const fn eighths(self) -> usize {
        match self {
            Self::Logs | Self::Connections => 8,
            Self::Commands
            | Self::Configurations
            | Self::Requests
            | Self::ZeroCopy
            | Self::Uploads => 1,
            Self::Messages
            | Self::Segments
            | Self::HlsWindow
            | Self::Recordings
            | Self::Hooks
            | Self::Output
            | Self::Api => 2,
            Self::HlsCache => 4,
        }
    }
}

/// Eighths of the whole at which logs shrink, so that there is room for what cannot.
const SPENT_EIGHTHS: usize = 6;

/// Eighths of the whole at which no new stream is taken.
const FULL_EIGHTHS: usize = 7;

/// Eighths of the whole that connections have to themselves: whatever others hold, so many can come in.
const CONNECTIONS_EIGHTHS: usize = 2;

/// What any holder may have, whoever else holds what: commands and most packets are smaller, and those who send them
/// must not suffer from those who hold megabytes. It is bounded by the number of connections.
const FLOOR: usize = 4 * 1024;

/// What a log may hold while the budget is spent: a group of some seconds at a common bit rate, so that streams of
/// ordinary size stay joinable when a few large ones have used the budget up.
const LOG_SHARE_MAX: usize = 1 << 20;

/// What it may hold then in any case, however many logs there are: some frames, so that viewers play on.
const LOG_SHARE_MIN: usize = 64 * 1024;

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent;

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory limit reached (limits.memory)")
    }
}

impl std::error::Error for Spent {}

/// Counts the bytes that are held for peers, by what they are held for. Clones share the count.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Counters>);

/// Counters that change together share a cache line, and the limit, which hardly changes, has another.
#[derive(Debug)]
#[repr(align(64))]
struct Counters {
    used: [AtomicUsize; Use::ALL.len()],
    limit: AtomicUsize,
    logs: AtomicUsize,
    /// Holders of more than [`FLOOR`].
    large: [AtomicUsize; Use::ALL.len()],
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let zeros = || [const { AtomicUsize::new(0) }; Use::ALL.len()];
        let (limit, logs) = (AtomicUsize::new(limit), AtomicUsize::new(0));
        Self(Arc::new(Counters { used: zeros(), limit, logs, large: zeros() }))
    }

    /// A budget that is never spent.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Bytes held in all.
    pub fn used(&self) -> usize {
        self.0.used.iter().fold(0, |sum: usize, used| sum.saturating_add(used.load(Relaxed)))
    }

    /// Bytes held for one kind of use.
    pub fn used_for(&self, what: Use) -> usize {
        self.counter(what).load(Relaxed)
    }

    /// Bytes that may be held.
    pub fn limit(&self) -> usize {
        self.0.limit.load(Relaxed)
    }

    /// From now on it is of `limit` bytes. What is held stays; logs that hold more shrink.
    pub fn limit_to(&self, limit: usize) {
        self.0.limit.store(limit, Relaxed);
    }

    /// Whether logs have to shrink.
    pub fn is_spent(&self) -> bool {
        self.used() > eighths(self.limit(), SPENT_EIGHTHS)
    }

    /// Whether there is no room for another stream: so much is left only when shrinking did not help.
    pub fn is_full(&self) -> bool {
        self.used() > eighths(self.limit(), FULL_EIGHTHS)
    }

    /// Whether there is room for a connection that takes `bytes`: within what connections have to themselves, or within
    /// the whole.
    pub fn has_place(&self, bytes: usize) -> bool {
        let connections = self.used_for(Use::Connections).saturating_add(bytes);
        connections <= eighths(self.limit(), CONNECTIONS_EIGHTHS)
            || self.used().saturating_add(bytes) <= self.limit()
    }

    /// What each log may hold while the budget is spent.
    pub fn log_share(&self) -> usize {
        let logs = self.0.logs.load(Relaxed).max(1);
        (self.limit() / 2 / logs).clamp(LOG_SHARE_MIN, LOG_SHARE_MAX)
    }

    /// Another log counts in [`Budget::log_share`].
    pub fn log_opened(&self) {
        self.0.logs.fetch_add(1, Relaxed);
    }

    /// One log less counts.
    pub fn log_closed(&self) {
        self.0.logs.fetch_sub(1, Relaxed);
    }

    /// The most that a single holder can have, when there is no other.
    pub fn most_for_one(&self, what: Use) -> usize {
        eighths(self.limit(), what.eighths()) / 2
    }

    fn counter(&self, what: Use) -> &AtomicUsize {
        &self.0.used[what as usize]
    }

    /// The most that all holders of this kind together should have: their share.
    pub fn share(&self, what: Use) -> usize {
        eighths(self.limit(), what.eighths())
    }

    /// Whether a holder of `held` bytes may have `more`.
    ///
    /// A holder may have half of what the others of its kind leave of their share, so that the first one does not take
    /// all of it. Where others came first and took much, it may still have as much as if all had the same, for which
    /// the share is exceeded until those who hold more than that have gone ([`Charge::is_hog`]).
    fn has_room(&self, what: Use, held: usize, more: usize) -> bool {
        let (limit, used) = (self.limit(), self.used_for(what));
        let (wanted, after) = (held.saturating_add(more), used.saturating_add(more));
        if wanted <= FLOOR {
            return true;
        }
        let share = eighths(limit, what.eighths());
        let rest = share.saturating_sub(used.saturating_sub(held));
        let is_within = after <= share && wanted <= rest / 2;
        let is_equal = after <= share.saturating_mul(2) && wanted <= self.equal_part(what, held);
        (is_within || is_equal) && self.used().saturating_add(more) <= limit
    }

    /// What each of those who hold much could have of a share, the one that holds `held` and one more among them.
    fn equal_part(&self, what: Use, held: usize) -> usize {
        let large = self.large(what).load(Relaxed);
        let others = large.saturating_sub(usize::from(held > FLOOR));
        eighths(self.limit(), what.eighths()) / (others + 2)
    }

    fn large(&self, what: Use) -> &AtomicUsize {
        &self.0.large[what as usize]
    }
}

fn eighths(limit: usize, count: usize) -> usize {
    limit / 8 * count
}

/// What one holder holds. Dropping it gives everything back.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    what: Use,
    bytes: usize,
}

impl Charge {
    /// Nothing is held yet.
    pub fn new(budget: &Budget, what: Use) -> Self {
        Self { budget: budget.clone(), what, bytes: 0 }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether [`Charge::grow`] would succeed now.
    pub fn fits(&self, more: usize) -> bool {
        self.budget.has_room(self.what, self.bytes, more)
    }

    /// Takes `more` bytes, before they are allocated. Two that ask in the same moment may both be given the last room.
    ///
    /// # Errors
    /// When there is no room.
    pub fn grow(&mut self, more: usize) -> Result<(), Spent> {
        if !self.fits(more) {
            return Err(Spent);
        }
        self.add(more);
        Ok(())
    }

    /// Takes `more` bytes, of something that is bounded in another way.
    pub fn add(&mut self, more: usize) {
        if self.bytes <= FLOOR && self.bytes + more > FLOOR {
            self.budget.large(self.what).fetch_add(1, Relaxed);
        }
        self.bytes += more;
        self.budget.counter(self.what).fetch_add(more, Relaxed);
    }

    /// Gives `less` bytes back.
    pub fn shrink(&mut self, less: usize) {
        let less = less.min(self.bytes);
        if less == 0 {
            return;
        }
        if self.bytes > FLOOR && self.bytes - less <= FLOOR {
            self.budget.large(self.what).fetch_sub(1, Relaxed);
        }
        self.bytes -= less;
        self.budget.counter(self.what).fetch_sub(less, Relaxed);
    }

    /// Holds `bytes` from now on, as [`Charge::add`] or [`Charge::shrink`] does it.
    pub fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(0) => {}
            Some(more) => self.add(more),
            None => self.shrink(self.bytes - bytes),
        }
    }

    /// What it holds is held for something else now.
    pub fn is_for(&mut self, what: Use) {
        let bytes = self.bytes;
        self.shrink(bytes);
        self.what = what;
        self.add(bytes);
    }

    /// Whether it holds more than its part while the others of its kind have hardly any room: then it has to go.
    pub fn is_hog(&self) -> bool {
        let share = eighths(self.budget.limit(), self.what.eighths());
        self.bytes > FLOOR
            && self.budget.used_for(self.what) > share / 4 * 3
            && self.bytes > self.budget.equal_part(self.what, self.bytes)
    }

    /// The budget that it counts against.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64 << 20;

    #[test]
    fn uses_are_listed_in_their_order() {
        for (index, what) in Use::ALL.into_iter().enumerate() {
            assert_eq!(what as usize, index, "{what:?}");
        }
    }

    #[test]
    fn what_is_dropped_is_given_back() {
        let budget = Budget::new(LIMIT);
        let mut charge = Charge::new(&budget, Use::Commands);
        charge.grow(1000).expect("room");
        charge.is_for(Use::Messages);
        charge.set(300);
        assert_eq!((budget.used(), budget.used_for(Use::Messages)), (300, 300));
        drop(charge);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn the_greedy_find_no_room_and_the_modest_do() {
        let budget = Budget::new(LIMIT);
        let mut greedy: Vec<_> = (0..30).map(|_| Charge::new(&budget, Use::Messages)).collect();
        // Until nobody gets any more.
        while greedy.iter_mut().filter(|it| it.bytes() < 16 << 20).any(|it| it.grow(4096).is_ok()) {
        }
        let most = greedy.iter().map(Charge::bytes).max().expect("thirty");
        assert!(most <= budget.most_for_one(Use::Messages), "{most}");
        assert!(budget.used() <= LIMIT / 2 + 30 * FLOOR, "{}", budget.used());
        assert!(greedy[0].is_hog(), "the first one took half of the share");
        greedy.retain(|it| !it.is_hog());
        let mut modest = Charge::new(&budget, Use::Messages);
        assert_eq!(modest.grow(100_000), Ok(()), "a key frame of a stream beside them");
        let mut other = Charge::new(&budget, Use::Segments);
        assert_eq!(other.grow(1 << 20), Ok(()), "another kind has a share of its own");
    }

    #[test]
    fn a_small_request_is_always_granted() {
        let budget = Budget::new(LIMIT);
        let mut full = Charge::new(&budget, Use::Commands);
        full.add(LIMIT);
        let mut small = Charge::new(&budget, Use::Commands);
        assert_eq!((small.grow(FLOOR), small.grow(1)), (Ok(()), Err(Spent)));
    }

    #[test]
    fn nothing_is_given_beyond_the_whole() {
        let budget = Budget::new(LIMIT);
        let mut logs = Charge::new(&budget, Use::Logs);
        logs.add(LIMIT - 10_000);
        assert!(budget.is_spent() && budget.is_full());
        let mut message = Charge::new(&budget, Use::Messages);
        assert_eq!((message.grow(10_001), message.grow(10_000)), (Err(Spent), Ok(())));
        assert_eq!(Charge::new(&Budget::unlimited(), Use::Output).grow(usize::MAX / 64), Ok(()));
    }

    #[test]
    fn connections_have_a_part_to_themselves() {
        let budget = Budget::new(LIMIT);
        let mut logs = Charge::new(&budget, Use::Logs);
        logs.add(LIMIT);
        let mut connections = Charge::new(&budget, Use::Connections);
        assert!(budget.has_place(LIMIT / 4));
        connections.add(LIMIT / 4);
        assert!(!budget.has_place(1), "nothing is left, here and in all");
        logs.set(LIMIT / 2);
        assert!(budget.has_place(LIMIT / 4), "beyond their own part they have what others leave");
        assert!(!budget.has_place(LIMIT / 4 + 1));
    }

    #[test]
    fn many_logs_share_half_of_it() {
        let budget = Budget::new(LIMIT);
        assert_eq!(budget.log_share(), LOG_SHARE_MAX);
        (0..64).for_each(|_| budget.log_opened());
        assert_eq!(budget.log_share(), LIMIT / 2 / 64);
        (0..100_000).for_each(|_| budget.log_opened());
        assert_eq!(budget.log_share(), LOG_SHARE_MIN);
    }
}
