//! A bounded, append-only sequence, cut into groups at which a reader can start.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use weir_media::{Budget, Charge, Use};

/// How much a [`Log`] keeps beyond its newest group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in all. A single group larger than this loses its oldest entries, and with them its joinable start.
    pub bytes: usize,
    /// How far behind the tip a reader may be before it is moved to the newest group.
    pub window: Duration,
}

/// Unused places that a log keeps: below this it is not worth a smaller buffer.
const SPARE_SLOTS: usize = 64;

/// Where a reader can start: the sequence number of an entry, and what it must know before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<G> {
    /// The entry at which (or in which) the group starts.
    pub seq: u64,
    /// What the writer said of the start.
    pub start: G,
}

/// The entry asked for is no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// An append-only, bounded sequence of entries `T`, cut into groups that carry a `G`.
///
/// Every entry has a sequence number that is never used again. Appending is O(1) amortised and waits for nobody. A
/// plain data structure: whoever shares it puts it behind a lock.
#[derive(Debug)]
pub struct Log<T, G> {
    slots: VecDeque<Slot<T>>,
    /// Sequence number of `slots[0]`, or of the next entry when empty.
    first: u64,
    /// Starts that are still joinable, oldest first; every `seq` is within `slots`.
    groups: VecDeque<(Group<G>, Instant)>,
    bytes: usize,
    limits: Limits,
    /// What is held, the unused places of `slots` included.
    charge: Charge,
}

#[derive(Debug)]
struct Slot<T> {
    entry: T,
    bytes: usize,
    at: Instant,
}

impl<T, G> Log<T, G> {
    /// An empty log whose bytes count against `budget`.
    pub fn new(limits: Limits, budget: &Budget) -> Self {
        budget.log_opened();
        let (slots, groups, charge) =
            (VecDeque::new(), VecDeque::new(), Charge::new(budget, Use::Logs));
        Self { slots, first: 0, groups, bytes: 0, limits, charge }
    }

    /// Bytes that an entry weighs beside what it refers to.
    pub const ENTRY_BYTES: usize = size_of::<Slot<T>>();

    /// Appends `entry`, which weighs `bytes`; `group` says that a reader can start at it. Returns its sequence number.
    pub fn push(&mut self, entry: T, bytes: usize, group: Option<G>, now: Instant) -> u64 {
        let seq = self.end();
        if let Some(start) = group {
            self.groups.push_back((Group { seq, start }, now));
        }
        self.slots.push_back(Slot { entry, bytes, at: now });
        self.bytes += bytes;
        self.trim(now);
        self.count();
        seq
    }

    /// Gives back what the log may not hold while the budget is spent, if it is: a log that nobody appends to would
    /// not notice. Returns whether anything went.
    pub fn shrink(&mut self) -> bool {
        let first = self.first;
        while self.is_beyond_share() && !self.slots.is_empty() {
            self.drop_until(self.first + 1);
        }
        self.count();
        self.first > first
    }

    /// The entries from sequence number `from` to the tip.
    ///
    /// # Errors
    /// [`Lost`] when `from` has been dropped: continue at [`Log::newest_group`].
    pub fn read_from(&self, from: u64) -> Result<impl Iterator<Item = &T>, Lost> {
        let at = from.checked_sub(self.first).ok_or(Lost)?;
        let at = usize::try_from(at).map_err(|_| Lost)?.min(self.slots.len());
        Ok(self.slots.range(at..).map(|slot| &slot.entry))
    }

    /// The entry with this sequence number, unless it is dropped or not written yet.
    pub fn get(&self, seq: u64) -> Option<&T> {
        let at = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.slots.get(at).map(|slot| &slot.entry)
    }

    /// When the entry with this sequence number was appended.
    pub fn arrival(&self, seq: u64) -> Option<Instant> {
        let at = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.slots.get(at).map(|slot| slot.at)
    }

    /// The newest place to start at; none before the first group, or when the newest group outgrew the limit.
    pub fn newest_group(&self) -> Option<&Group<G>> {
        self.groups.back().map(|(group, _)| group)
    }

    /// The first group at or after `seq`.
    pub fn next_group(&self, seq: u64) -> Option<&Group<G>> {
        let at = self.groups.partition_point(|(group, _)| group.seq < seq);
        self.groups.get(at).map(|(group, _)| group)
    }

    /// The start that entry `seq` is, if it is one.
    pub fn group_at(&self, seq: u64) -> Option<&Group<G>> {
        self.next_group(seq).filter(|group| group.seq == seq)
    }

    /// Sequence number of the oldest entry kept (of the next one, when none is).
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Sequence number that the next entry will get.
    pub fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that count against the budget.
    pub fn held(&self) -> usize {
        self.charge.bytes()
    }

    /// Changes the limits; they hold from the next entry on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Forgets all groups: nobody starts at what is here now, readers inside go on.
    pub fn close_groups(&mut self) {
        self.groups.clear();
    }

    fn trim(&mut self, now: Instant) {
        while let Some(start) = self.spare_until(now) {
            self.drop_until(start);
        }
        // Entry by entry: a group that begins must not take away what readers near the tip have not read yet. A
        // publisher that never sends a key frame ends up here too.
        while self.is_oversized() && self.slots.len() > 1 {
            self.drop_until(self.first + 1);
        }
    }

    fn is_oversized(&self) -> bool {
        self.bytes > self.limits.bytes || self.is_beyond_share()
    }

    fn is_beyond_share(&self) -> bool {
        let budget = self.charge.budget();
        budget.is_spent() && self.bytes > budget.log_share()
    }

    /// Tells the budget what is held, in one step.
    fn count(&mut self) {
        if self.slots.capacity() > SPARE_SLOTS && self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to(self.slots.len() * 2);
        }
        let spare = self.slots.capacity() - self.slots.len();
        self.charge.set(self.bytes + spare * Self::ENTRY_BYTES);
    }

    /// The second group's start, when what is before it is too old. That is so while the budget is spent as well: what
    /// a log may hold then is little, and a group that begins must not take from it what viewers are about to read.
    fn spare_until(&self, now: Instant) -> Option<u64> {
        let (next, since) = self.groups.iter().find(|(group, _)| group.seq > self.first)?;
        let aged = now.saturating_duration_since(*since) > self.limits.window;
        aged.then_some(next.seq)
    }

    fn drop_until(&mut self, seq: u64) {
        while self.first < seq {
            let Some(slot) = self.slots.pop_front() else { break };
            self.first += 1;
            self.bytes -= slot.bytes;
        }
        while self.groups.front().is_some_and(|(group, _)| group.seq < self.first) {
            self.groups.pop_front();
        }
    }
}

impl<T, G> Drop for Log<T, G> {
    fn drop(&mut self) {
        self.charge.budget().log_closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_secs(2);

    fn log(bytes: usize) -> Log<u64, ()> {
        Log::new(Limits { bytes, window: WINDOW }, &Budget::unlimited())
    }

    fn read(log: &Log<u64, ()>, from: u64) -> Vec<u64> {
        log.read_from(from).map(|entries| entries.copied().collect()).unwrap_or_default()
    }

    #[test]
    fn a_new_reader_finds_the_newest_group_and_everything_after_it() {
        let (mut log, now) = (log(1000), Instant::now());
        for n in 0..10 {
            log.push(n, 1, (n % 4 == 0).then_some(()), now);
        }
        let start = log.newest_group().unwrap().seq;
        assert_eq!((start, read(&log, start)), (8, vec![8, 9]));
        assert_eq!(
            read(&log, log.end()),
            Vec::<u64>::new(),
            "a reader at the tip has nothing to read"
        );
    }

    #[test]
    fn groups_older_than_the_window_go_and_their_readers_are_told() {
        let (mut log, start) = (log(1000), Instant::now());
        log.push(0, 1, Some(()), start);
        log.push(1, 1, Some(()), start);
        log.push(2, 1, Some(()), start + WINDOW);
        assert_eq!(
            log.first(),
            0,
            "group 1 began exactly a window ago, so group 0 ended within it"
        );
        log.push(3, 1, None, start + WINDOW + Duration::from_millis(1));
        assert_eq!(log.first(), 1);
        assert!(log.read_from(0).is_err());
    }

    #[test]
    fn a_publisher_without_key_frames_is_bounded_and_not_joinable() {
        let (mut log, now) = (log(100), Instant::now());
        log.push(0, 10, Some(()), now);
        for n in 1..1000 {
            log.push(n, 10, None, now);
            assert!(log.bytes() <= 100, "holds {} bytes after entry {n}", log.bytes());
        }
        assert!(log.newest_group().is_none(), "its start is gone, so nobody may start in it");
        assert_eq!(read(&log, 990), (990..1000).collect::<Vec<_>>(), "readers inside go on");
        log.push(1000, 10, Some(()), now);
        assert_eq!(log.newest_group().unwrap().seq, 1000);
    }

    #[test]
    fn a_group_that_begins_in_a_full_log_takes_nothing_from_readers_near_the_tip() {
        let (mut log, now) = (log(100), Instant::now());
        for n in 0..20 {
            log.push(n, 10, (n == 0).then_some(()), now);
        }
        log.push(20, 10, Some(()), now);
        assert_eq!(read(&log, 15), (15..=20).collect::<Vec<_>>());
        assert_eq!((log.bytes(), log.newest_group().unwrap().seq), (100, 20));
    }

    #[test]
    fn one_entry_larger_than_the_limit_is_delivered_all_the_same() {
        let mut log = log(100);
        log.push(7, 5000, Some(()), Instant::now());
        assert_eq!(read(&log, 0), [7]);
    }

    #[test]
    fn a_spent_budget_leaves_every_log_its_newest_group() {
        let (budget, now) = (Budget::new(8 << 20), Instant::now());
        let limits = Limits { bytes: 64 << 20, window: WINDOW };
        let mut logs: Vec<Log<u64, ()>> = (0..3).map(|_| Log::new(limits, &budget)).collect();
        for n in 0..20 {
            for log in &mut logs {
                log.push(n, 400 << 10, (n % 2 == 0).then_some(()), now);
            }
        }
        assert!(budget.used() <= 7 << 20, "{} bytes held", budget.used());
        assert!(
            logs.iter().all(|log| log.newest_group().is_some()),
            "each can still be joined: {logs:?}"
        );
        drop(logs);
        assert_eq!(budget.used(), 0, "a dropped log gives everything back");
    }

    #[test]
    fn who_is_a_little_late_loses_nothing_that_fits_while_the_budget_is_spent() {
        let (budget, now) = (Budget::new(16 << 20), Instant::now());
        let mut other = Log::new(Limits { bytes: 64 << 20, window: WINDOW }, &budget);
        let mut log = Log::new(Limits { bytes: 64 << 20, window: WINDOW }, &budget);
        log.push(0, 100, Some(()), now);
        log.push(1, 100, None, now);
        other.push(0, 14 << 20, Some(()), now);
        assert!(budget.is_spent());
        log.push(2, 100, Some(()), now);
        assert_eq!(read(&log, 1), [1, 2], "entry 1 came in the same moment as the group");
        log.push(3, 100, None, now + 2 * WINDOW);
        assert!(log.read_from(1).is_err(), "later the group before is gone");
    }

    #[test]
    fn one_entry_that_is_larger_than_a_log_may_be_goes_while_the_budget_is_spent() {
        let (budget, now) = (Budget::new(16 << 20), Instant::now());
        let mut log = Log::new(Limits { bytes: 64 << 20, window: WINDOW }, &budget);
        log.push(0, 16 << 20, Some(()), now);
        assert_eq!(read(&log, 0), [0], "those who are here get it");
        assert!(log.shrink());
        assert!(log.read_from(0).is_err() && log.newest_group().is_none());
        assert!(!budget.is_spent(), "{} bytes held", budget.used());
        log.push(1, 10, Some(()), now);
        assert_eq!((log.newest_group().map(|it| it.seq), log.shrink()), (Some(1), false));
    }

    #[test]
    fn room_for_many_small_entries_counts_and_is_given_back() {
        let (budget, now) = (Budget::new(64 << 20), Instant::now());
        let mut log = Log::new(Limits { bytes: 1 << 20, window: WINDOW }, &budget);
        (0..10_000).for_each(|n| _ = log.push(n, 1, None, now));
        let slots = log.slots.capacity() * Log::<u64, ()>::ENTRY_BYTES;
        assert!(budget.used() + 10_000 * Log::<u64, ()>::ENTRY_BYTES >= slots, "{}", budget.used());
        log.push(10_000, 1 << 20, Some(()), now);
        assert!(log.slots.capacity() < 6_000, "{} places for one entry", log.slots.capacity());
    }

    proptest! {
        /// Whatever is pushed: sequence numbers are dense, bytes add up, groups are inside, limits hold.
        #[test]
        fn invariants(pushes in proptest::collection::vec((0usize..300, any::<bool>(), 0u64..900), 1..200)) {
            let mut log = log(1000);
            let mut now = Instant::now();
            for (n, (bytes, group, millis)) in pushes.into_iter().enumerate() {
                now += Duration::from_millis(millis);
                let seq = log.push(n as u64, bytes, group.then_some(()), now);
                prop_assert_eq!(seq, n as u64);
                prop_assert_eq!(read(&log, log.first()), (log.first()..log.end()).collect::<Vec<_>>());
                prop_assert!(log.bytes() <= 1000);
                prop_assert!(log.get(seq).is_some(), "the entry just pushed is there");
                if let Some(group) = log.newest_group() {
                    prop_assert!(group.seq >= log.first() && group.seq < log.end());
                }
            }
        }
    }
}
