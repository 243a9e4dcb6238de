//! The connections to the API, and who makes room when there are too many.
//!
//! Nobody is turned away: a probe that comes to a port full of connections must be answered. Who goes instead is one
//! that has waited for nothing from us for a while, or else one whose answer takes long, and of these the oldest from
//! the address that has most.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use weir_clients::{end::End, quota::Network};

/// How long a call may take: the slowest is one for a whole cluster of nodes that do not answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Of all slots, those that one address may have: a Prometheus, some dashboards and scripts behind one address have
/// enough of a quarter.
const ADDRESS_PART: usize = 4;

/// After this time a connection that waits for nothing is one that has nothing to ask at present, and an answer is one
/// that takes long: probes take some milliseconds, and this much on a busy machine.
const SETTLED: Duration = Duration::from_millis(500);

/// All slots.
#[derive(Debug)]
pub struct ConnectionSlots {
    most: usize,
    most_of_address: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    taken: BTreeMap<Place, Taken>,
    next: u64,
}

/// When a connection came, or began to wait for the next request, and its number among those of the same moment.
type Place = (Instant, u64);

#[derive(Debug)]
struct Taken {
    network: Network,
    /// Whether a request is being answered.
    is_busy: bool,
    /// When its slot was taken, or when a request began or ended.
    since: Instant,
    leave: Arc<Notify>,
}

/// A connection's slot; dropping it frees it.
#[derive(Debug)]
pub struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    place: Mutex<Place>,
    leave: Arc<Notify>,
    /// When the answers that are on their way must be there, by the number of their requests.
    due: watch::Sender<BTreeMap<u64, Instant>>,
    /// Whether it can be told to end, and has not to be cut.
    takes_leave: AtomicBool,
    goodbye: Notify,
}

impl ConnectionSlots {
    /// `most` of them.
    pub fn new(most: usize) -> Arc<Self> {
        let most = most.max(1);
        let most_of_address = (most / ADDRESS_PART).max(1);
        Arc::new(Self { most, most_of_address, table: Mutex::default() })
    }

    /// A slot for somebody at `ip` who came then. Somebody else is asked to leave if there are too many.
    ///
    /// Connections are not looked at in the order in which they were accepted, once there are many.
    pub fn take(self: &Arc<Self>, ip: IpAddr, came: Instant) -> ConnectionSlot {
        let network = Network::of(ip);
        let leave = Arc::<Notify>::default();
        let mut table = self.lock();
        let of_network = table.taken.values().filter(|it| it.network == network).count();
        if of_network >= self.most_of_address {
            table.make_room(Some(network));
        } else if table.taken.len() >= self.most {
            table.make_room(None);
        }
        let taken =
            Taken { network, is_busy: false, since: Instant::now(), leave: Arc::clone(&leave) };
        let place = Mutex::new(table.put(came, taken));
        drop(table);
        ConnectionSlot {
            slots: Arc::clone(self),
            place,
            leave,
            due: watch::Sender::default(),
            takes_leave: AtomicBool::new(false),
            goodbye: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn put(&mut self, at: Instant, taken: Taken) -> Place {
        let place = (at, self.next);
        self.next += 1;
        self.taken.insert(place, taken);
        place
    }

    /// Asks one of `network`, or of all, to leave, and does not count it any more.
    fn make_room(&mut self, network: Option<Network>) {
        let mut counts = HashMap::<Network, usize>::new();
        for taken in self.taken.values() {
            *counts.entry(taken.network).or_default() += 1;
        }
        let now = Instant::now();
        let goes = self
            .taken
            .iter()
            .filter(|(_, taken)| network.is_none_or(|network| taken.network == network))
            .min_by_key(|(place, taken)| {
                let others = usize::MAX - counts.get(&taken.network).copied().unwrap_or(0);
                (taken.claim(now), others, **place)
            });
        if let Some(place) = goes.map(|(place, _)| *place)
            && let Some(taken) = self.taken.remove(&place)
        {
            taken.leave.notify_one();
        }
    }
}

impl Taken {
    /// The more, the later it goes. Who has just come is about to ask; who has long had an answer on its way reads it
    /// slowly, if at all.
    fn claim(&self, now: Instant) -> u8 {
        let is_settled = now.saturating_duration_since(self.since) >= SETTLED;
        match (self.is_busy, is_settled) {
            (false, true) => 0,
            (true, true) => 1,
            (false, false) => 2,
            (true, false) => 3,
        }
    }
}

impl ConnectionSlot {
    /// A request is being answered, which must be done within `time`. Returns its number.
    pub fn begin(&self, time: Duration) -> u64 {
        let mut number = 0;
        self.due.send_modify(|due| {
            number = due.last_key_value().map_or(0, |(last, _)| last + 1);
            if due.is_empty() {
                self.turn(true);
            }
            due.insert(number, Instant::now() + time);
        });
        number
    }

    /// The answer to request `number` is there, and must be on its way within `time`.
    pub fn answer(&self, number: u64, time: Duration) {
        self.due.send_modify(|due| {
            due.insert(number, Instant::now() + time);
        });
    }

    /// The answer to request `number` is on its way. If it is the last one, the connection waits for nothing.
    pub fn end(&self, number: u64) {
        self.due.send_modify(|due| {
            due.remove(&number);
            if due.is_empty() {
                self.turn(false);
            }
        });
    }

    fn turn(&self, is_busy: bool) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = self.slots.lock();
        // Who was asked to leave is not there any more.
        if let Some(taken) = table.taken.remove(&*place) {
            let now = Instant::now();
            *place = table.put(now, Taken { is_busy, since: now, ..taken });
        }
    }

    /// Resolves when it has to make room for somebody else.
    pub async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }

    /// Has the connection end by itself, if it can: whether it does.
    pub fn tell_to_end(&self) -> bool {
        let takes_leave = self.takes_leave.load(Ordering::Relaxed);
        if takes_leave {
            self.goodbye.notify_one();
        }
        takes_leave
    }

    /// Resolves when the connection has to end by itself, which it can from now on.
    pub fn told_to_end(&self) -> impl Future<Output = ()> {
        self.takes_leave.store(true, Ordering::Relaxed);
        self.goodbye.notified()
    }

    /// Resolves when no request has been on its way for `time`.
    pub async fn until_idle(&self, time: Duration) {
        let mut changes = self.due.subscribe();
        loop {
            let is_idle = changes.borrow_and_update().is_empty();
            tokio::select! {
                () = until(is_idle.then(|| Instant::now() + time)) => return,
                // The sender is ours, so that it cannot be gone.
                _ = changes.changed() => {}
            }
        }
    }

    /// Resolves when an answer was not there in time, with the end of its connection.
    pub async fn until_overdue(&self) -> End {
        self.overdue().await;
        End::policy("an answer was not read in time")
    }

    async fn overdue(&self) {
        let mut changes = self.due.subscribe();
        loop {
            let due = changes.borrow_and_update().values().min().copied();
            tokio::select! {
                () = until(due) => return,
                // The sender is ours, so that it cannot be gone.
                _ = changes.changed() => {}
            }
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let place = *self.place.lock().unwrap_or_else(PoisonError::into_inner);
        self.slots.lock().taken.remove(&place);
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// A request on its way; dropping it says that the connection does not wait for its answer any more.
pub struct Busy {
    slot: Arc<ConnectionSlot>,
    number: u64,
}

impl Busy {
    /// Of the connection that has `slot`.
    pub fn begin(slot: &Arc<ConnectionSlot>) -> Self {
        Self { number: slot.begin(CALL_TIMEOUT), slot: Arc::clone(slot) }
    }

    /// The answer is there, and must be on its way within `time`.
    pub fn answer(&self, time: Duration) {
        self.slot.answer(self.number, time);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.slot.end(self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// Which of `slots` are asked to leave; each hears it once.
    fn asked(slots: &[&ConnectionSlot]) -> Vec<usize> {
        let asked = |slot: &ConnectionSlot| slot.asked_to_leave().now_or_never().is_some();
        slots.iter().enumerate().filter(|(_, slot)| asked(slot)).map(|(at, _)| at).collect()
    }

    const NOBODY: [usize; 0] = [];
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_came_last_does_not_go_first_because_it_was_looked_at_first() {
        let (slots, start) = (ConnectionSlots::new(4), Instant::now());
        let came = |millis| start + Duration::from_millis(millis);
        let probe = slots.take(ip(1), came(100));
        let before: Vec<_> = (0..6).map(|at| slots.take(ip(2 + at), came(at.into()))).collect();
        assert_eq!(asked(&[&probe]), NOBODY);
        let gone = before.iter().map(|slot| asked(&[slot]).len()).sum::<usize>();
        assert_eq!(gone, 3, "six came before it, and three slots were left for them");
    }

    #[test]
    fn the_oldest_that_waits_for_nothing_makes_room() {
        let slots = ConnectionSlots::new(4);
        let all: Vec<_> = (0..4).map(|last| slots.take(ip(last), Instant::now())).collect();
        let all: Vec<_> = all.iter().collect();
        let request = all[0].begin(SECOND);
        assert_eq!(asked(&all), NOBODY);
        let new = slots.take(ip(9), Instant::now());
        assert_eq!(asked(&all), [1]);
        // It is idle again, but not for as long as the others.
        all[0].end(request);
        let newer = slots.take(ip(10), Instant::now());
        assert_eq!(asked(&all), [2]);
        // Where all are busy, the oldest of them.
        for slot in [all[3], all[0], &new, &newer] {
            let _ = slot.begin(SECOND);
        }
        let _newest = slots.take(ip(11), Instant::now());
        assert_eq!(asked(&all), [3]);
        assert_eq!(asked(&[&new, &newer]), NOBODY);
        drop(newer);
        let _last = slots.take(ip(12), Instant::now());
        assert_eq!(asked(&[all[0], &new]), NOBODY, "a slot was free");
    }

    #[test]
    fn an_address_makes_room_for_itself_and_for_others_before_they_do() {
        let slots = ConnectionSlots::new(8);
        let network = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        let quiet: Vec<_> = (0..6).map(|last| slots.take(ip(last), Instant::now())).collect();
        let crowd: Vec<_> = (0..2).map(|last| slots.take(network(last), Instant::now())).collect();
        let (quiet, crowd) = (quiet.iter().collect::<Vec<_>>(), crowd.iter().collect::<Vec<_>>());
        let _third = slots.take(network(3), Instant::now());
        assert_eq!((asked(&crowd), asked(&quiet)), (vec![0], vec![]), "one network of IPv6");
        let _other = slots.take(ip(9), Instant::now());
        assert_eq!((asked(&crowd), asked(&quiet)), (vec![1], vec![]));
        let mapped: IpAddr = "::ffff:192.0.2.9".parse().expect("an address");
        let _same = slots.take(mapped, Instant::now());
        assert_eq!(asked(&quiet), [0], "nobody has more than one now but the newest");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_just_come_stays_longer_than_who_does_not_read_its_answer() {
        let slots = ConnectionSlots::new(4);
        let unread: Vec<_> = (0..3).map(|last| slots.take(ip(last), Instant::now())).collect();
        let unread: Vec<_> = unread.iter().collect();
        for slot in &unread {
            slot.begin(SECOND);
        }
        tokio::time::advance(SETTLED).await;
        let probe = slots.take(ip(9), Instant::now());
        let _new = slots.take(ip(10), Instant::now());
        assert_eq!((asked(&unread), asked(&[&probe])), (vec![0], vec![]));
        // Once it has been there for as long, it waits for nothing.
        tokio::time::advance(SETTLED).await;
        let _newer = slots.take(ip(11), Instant::now());
        assert_eq!((asked(&unread), asked(&[&probe])), (vec![], vec![0]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_several_requests_is_busy_until_the_last_has_its_answer() {
        let slots = ConnectionSlots::new(4);
        let (many, one) = (slots.take(ip(1), Instant::now()), slots.take(ip(2), Instant::now()));
        let [first, second] = [many.begin(SECOND * 2), many.begin(SECOND)];
        let start = Instant::now();
        many.overdue().await;
        assert_eq!(start.elapsed(), SECOND, "the first that is late");
        many.end(second);
        let _others = [slots.take(ip(3), Instant::now()), slots.take(ip(4), Instant::now())];
        let _new = slots.take(ip(5), Instant::now());
        assert_eq!(asked(&[&many, &one]), [1], "it is busy");
        many.overdue().await;
        assert_eq!(start.elapsed(), SECOND * 2);
        many.end(first);
        assert!(many.overdue().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_its_time() {
        let slots = ConnectionSlots::new(4);
        let slot = slots.take(ip(1), Instant::now());
        assert!(slot.overdue().now_or_never().is_none());
        let request = slot.begin(SECOND);
        slot.answer(request, SECOND * 3);
        let start = Instant::now();
        slot.overdue().await;
        assert_eq!(start.elapsed(), SECOND * 3);
        slot.end(request);
        assert!(slot.overdue().now_or_never().is_none());
    }
}
