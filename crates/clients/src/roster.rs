//! Everybody who is connected: for the API, and for those who ask clients to leave.
//!
//! A client has a [`Presence`] here from its first byte to its last. What it does is written into it when that changes,
//! its figures about once a second; nothing of this is on the path of a frame.

mod party;
mod presence;
mod queue;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use weir_media::StreamKey;

use self::party::Parties;
pub use self::{
    presence::{Activity, Doing, Farewell, Figures, Presence},
    queue::Queue,
};

/// How long a client that follows reconnect requests has to leave by itself, which costs its viewers nothing: a
/// connection and the first group take a round trip or two and, for a server that has to fetch the stream, some more.
pub const RECONNECT_WAIT: Duration = Duration::from_secs(3);

/// How long the next group is waited for, at which a client is let go: encoders send one every one to four seconds.
pub const GROUP_WAIT: Duration = Duration::from_secs(5);

/// What a client is told that is asked to connect anew.
pub const RECONNECT_WORDS: &str = "The server is shutting down.";

/// Everybody who is connected.
#[derive(Debug, Default)]
pub struct Roster {
    present: Mutex<Present>,
    parted: Mutex<Parted>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Present {
    all: HashMap<u64, Arc<Presence>>,
    /// The same by their streams: who asks about one does not look at everybody.
    parties: Parties,
    /// How many of them are apart.
    apart: usize,
    /// Only while everybody is asked to leave.
    queue: Option<Box<Queue>>,
}

/// What those took and brought who have gone.
#[derive(Debug, Default)]
struct Parted {
    /// Clients so far, those who are here included.
    count: u64,
    received: u64,
    /// Bytes that viewers of each stream were sent.
    sent: HashMap<StreamKey, u64>,
}

/// Streams whose departed viewers' bytes are remembered; more at one time are not counted.
const PARTED_MAX: usize = 10_000;

/// A client's place in the roster; dropping it takes the client out.
#[derive(Debug)]
pub struct RosterEntry {
    presence: Arc<Presence>,
    roster: Arc<Roster>,
}

impl Roster {
    /// Takes in somebody who has just connected.
    pub fn enlist(
        self: &Arc<Self>,
        id: u64,
        protocol: &'static str,
        peer: SocketAddr,
    ) -> RosterEntry {
        let presence = Arc::new(Presence::new(id, protocol, peer));
        {
            let mut present = self.lock();
            if let Some(queue) = &mut present.queue {
                queue.add(&presence, Activity::Control, None);
            }
            present.all.insert(id, Arc::clone(&presence));
        }
        self.parted().count += 1;
        RosterEntry { presence, roster: Arc::clone(self) }
    }

    /// Everybody, in the order in which they came.
    pub fn list(&self) -> Vec<Arc<Presence>> {
        let mut all: Vec<_> = self.lock().all.values().cloned().collect();
        all.sort_unstable_by_key(|presence| presence.id);
        all
    }

    /// Those who publish or play `key`, or did last, in the order in which they came.
    pub fn of_stream(&self, key: &StreamKey) -> Vec<Arc<Presence>> {
        self.lock().parties.of(key).cloned().collect()
    }

    /// Who publishes `key`; of several, the one who came last.
    pub fn publisher(&self, key: &StreamKey) -> Option<Arc<Presence>> {
        self.lock().parties.publisher(key).cloned()
    }

    /// Who publishes each stream, as in [`publisher`](Self::publisher).
    pub fn publishers(&self) -> Vec<(StreamKey, Arc<Presence>)> {
        let present = self.lock();
        present.parties.publishers().map(|(key, who)| (key.clone(), Arc::clone(who))).collect()
    }

    /// Bytes that those were sent who are [of the stream](Self::of_stream).
    pub fn sent_to_present(&self, key: &StreamKey) -> u64 {
        self.lock().parties.of(key).map(|presence| presence.figures().sent).sum()
    }

    /// The client with this number, until the log says that it goes.
    pub fn find(&self, id: u64) -> Option<Arc<Presence>> {
        self.lock().all.get(&id).filter(|presence| !presence.has_ended()).cloned()
    }

    /// Everybody has to leave: from now on it is known who is next. At an edge viewers do not wait for publishers.
    pub fn begin_to_ask(&self, is_edge: bool) {
        let mut queue = Box::new(Queue::new(is_edge));
        let mut present = self.lock();
        let mut viewers = Vec::new();
        for presence in present.all.values() {
            let (activity, stream) = presence.deed();
            match activity {
                // They come when it is known what is published.
                Activity::Play => viewers.push((presence, stream)),
                Activity::Control | Activity::Publish => {
                    queue.add(presence, activity, stream.as_ref());
                }
            }
        }
        for (presence, stream) in viewers {
            queue.add(presence, Activity::Play, stream.as_ref());
        }
        present.queue = Some(queue);
    }

    /// Takes those who are next out of the queue of those who have not been asked. Nobody before
    /// [`begin_to_ask`](Self::begin_to_ask).
    pub fn next(&self, take: impl FnOnce(&mut Queue) -> Vec<Arc<Presence>>) -> Vec<Arc<Presence>> {
        self.lock().queue.as_mut().map(|queue| take(queue)).unwrap_or_default()
    }

    /// Bytes that viewers of `key` were sent who have gone.
    pub fn sent_to_parted(&self, key: &StreamKey) -> u64 {
        self.parted().sent.get(key).copied().unwrap_or(0)
    }

    /// Bytes that came from clients so far.
    pub fn received(&self) -> u64 {
        let here: u64 = self.lock().all.values().map(|presence| presence.figures().received).sum();
        here + self.parted().received
    }

    /// How many have come so far.
    pub fn came(&self) -> u64 {
        self.parted().count
    }

    /// Keeps what departed viewers were sent of the streams that `is_known` says yes to.
    pub fn forget_parted(&self, is_known: impl Fn(&StreamKey) -> bool) {
        self.parted().sent.retain(|key, _| is_known(key));
    }

    /// This is what a client does from now on, with this stream, or with the one before.
    pub fn turn(&self, presence: &Arc<Presence>, activity: Activity, stream: Option<&StreamKey>) {
        let mut present = self.lock();
        let Some((did, does)) = presence.turn(activity, stream) else { return };
        // One that has gone meanwhile is of no stream, and nobody who could be asked to leave.
        if !present.all.contains_key(&presence.id) {
            return;
        }
        present.parties.turn(presence, &did, &does);
        if let Some(queue) = &mut present.queue {
            queue.remove(presence.id, did.0, did.1.as_ref());
            queue.add(presence, does.0, does.1.as_ref());
        }
    }

    fn parted(&self) -> MutexGuard<'_, Parted> {
        self.parted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self, presence: &Presence) {
        let figures = presence.figures();
        let stream = presence.doing().stream;
        let mut parted = self.parted();
        parted.received += figures.received;
        let Some(key) = stream.filter(|_| figures.sent > 0) else { return };
        let is_full = parted.sent.len() >= PARTED_MAX;
        match parted.sent.get_mut(&key) {
            Some(sent) => *sent += figures.sent,
            None if is_full => {}
            None => drop(parted.sent.insert(key, figures.sent)),
        }
    }

    /// How many there are, but for those who were set apart.
    pub fn count(&self) -> usize {
        let present = self.lock();
        present.all.len() - present.apart
    }

    /// This client looks after the server, over a connection that could be a viewer's: it does not count among those
    /// whom the server waits for when it stops.
    pub fn set_apart(&self, presence: &Presence) {
        let mut present = self.lock();
        if present.all.contains_key(&presence.id) && presence.set_apart() {
            present.apart += 1;
            drop(present);
            self.left.notify_waiters();
        }
    }

    /// Resolves when somebody leaves after this call.
    pub fn left(&self) -> impl Future<Output = ()> + Send + '_ {
        self.left.notified()
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RosterEntry {
    /// This is what it does from now on, with this stream, or with the one before.
    pub fn turns_to(&self, activity: Activity, stream: Option<&StreamKey>) {
        self.roster.turn(&self.presence, activity, stream);
    }
}

impl std::ops::Deref for RosterEntry {
    type Target = Arc<Presence>;

    fn deref(&self) -> &Arc<Presence> {
        &self.presence
    }
}

impl Drop for RosterEntry {
    fn drop(&mut self) {
        self.roster.part(&self.presence);
        {
            let mut present = self.roster.lock();
            present.all.remove(&self.presence.id);
            if self.presence.is_apart() {
                present.apart -= 1;
            }
            let (activity, stream) = self.presence.deed();
            if let Some(key) = &stream {
                present.parties.remove(self.presence.id, key);
            }
            if let Some(queue) = &mut present.queue {
                queue.remove(self.presence.id, activity, stream.as_ref());
            }
        }
        self.roster.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use super::*;

    fn enlist(roster: &Arc<Roster>, id: u64) -> RosterEntry {
        roster.enlist(id, "rtmp", ([127, 0, 0, 1], 1).into())
    }

    #[test]
    fn who_has_gone_is_not_listed() {
        let roster = Arc::<Roster>::default();
        let (first, second) = (enlist(&roster, 1), enlist(&roster, 2));
        let ids = || roster.list().iter().map(|presence| presence.id).collect::<Vec<_>>();
        assert_eq!(ids(), [1, 2]);
        drop(first);
        assert_eq!((ids(), roster.count()), (vec![2], 1));
        assert!(roster.find(1).is_none() && roster.find(2).is_some());
        drop(second);
    }

    #[test]
    fn who_is_apart_is_there_and_does_not_count() {
        let roster = Arc::<Roster>::default();
        let (first, second) = (enlist(&roster, 1), enlist(&roster, 2));
        roster.set_apart(&first);
        roster.set_apart(&first);
        assert_eq!((roster.count(), roster.list().len()), (1, 2));
        drop(first);
        assert_eq!((roster.count(), roster.list().len()), (1, 1));
        // One that has gone meanwhile does not count anyway.
        let gone = Arc::clone(&second);
        drop(second);
        roster.set_apart(&gone);
        assert_eq!(roster.count(), 0);
    }

    #[tokio::test]
    async fn the_task_that_serves_a_client_hears_that_it_is_to_leave() {
        let roster = Arc::<Roster>::default();
        let enlisted = enlist(&roster, 1);
        let presence = roster.find(1).expect("it is there");
        let asked = tokio::spawn(async move { presence.until_farewell().await });
        tokio::task::yield_now().await;
        enlisted.ask_to_leave(Farewell::Kicked);
        assert_eq!(asked.await.ok(), Some(Farewell::Kicked));
        enlisted.ask_to_leave(Farewell::Draining);
        assert_eq!(enlisted.farewell(), Some(Farewell::Kicked), "the stronger word stays");
    }

    #[test]
    fn what_was_sent_to_those_who_have_gone_is_remembered_while_their_stream_is() {
        let roster = Arc::<Roster>::default();
        let key = StreamKey::new("v", "live", "a").expect("a key");
        for id in 1..=2 {
            let enlisted = enlist(&roster, id);
            enlisted.note(|doing| doing.stream = Some(key.clone()));
            enlisted.report(Figures { sent: 50, received: 7, ..Figures::default() });
        }
        assert_eq!((roster.sent_to_parted(&key), roster.received(), roster.came()), (100, 14, 2));
        roster.forget_parted(|_| false);
        assert_eq!(roster.sent_to_parted(&key), 0);
    }

    #[test]
    fn who_leaves_its_task_keeps_nothing_of_it() {
        struct Task;

        impl std::task::Wake for Task {
            fn wake(self: Arc<Self>) {}
        }

        let roster = Arc::<Roster>::default();
        let (enlisted, task) = (enlist(&roster, 1), Arc::new(Task));
        let waker = Arc::clone(&task).into();
        assert!(enlisted.poll_farewell(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert_eq!(Arc::strong_count(&task), 2, "it would be woken");
        enlisted.leaves_its_task();
        assert_eq!(Arc::strong_count(&task), 1);
    }

    #[test]
    fn who_is_of_a_stream_is_found_without_looking_at_everybody() {
        let roster = Arc::<Roster>::default();
        let key = |name| StreamKey::new("v", "live", name).expect("a key");
        let (a, b) = (key("a"), key("b"));
        let [first, second, viewer] = [1, 2, 3].map(|id| enlist(&roster, id));
        let of = |key| roster.of_stream(key).iter().map(|it| it.id).collect::<Vec<_>>();
        let publisher = |key| roster.publisher(key).map(|it| it.id);
        second.turns_to(Activity::Publish, Some(&a));
        first.turns_to(Activity::Publish, Some(&a));
        viewer.turns_to(Activity::Play, Some(&a));
        viewer.report(Figures { sent: 50, ..Figures::default() });
        assert_eq!(
            (of(&a), publisher(&a), roster.sent_to_present(&a)),
            (vec![1, 2, 3], Some(2), 50)
        );
        let all = roster.publishers().into_iter().map(|(key, it)| (key, it.id));
        assert_eq!(all.collect::<Vec<_>>(), [(a.clone(), 2)]);
        second.turns_to(Activity::Control, None);
        assert_eq!((of(&a), publisher(&a)), (vec![1, 2, 3], Some(1)), "it was of the stream last");
        viewer.turns_to(Activity::Play, Some(&b));
        assert_eq!((of(&a), of(&b), publisher(&b)), (vec![1, 2], vec![3], None));
        drop((first, second));
        assert_eq!((of(&a), publisher(&a)), (vec![], None));
        let presence = Arc::clone(&viewer);
        drop(viewer);
        roster.turn(&presence, Activity::Play, Some(&a));
        assert_eq!((of(&a), of(&b)), (vec![], vec![]), "it had gone");
        assert!(roster.lock().parties.is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_for_somebody_to_leave_is_told() {
        let roster = Arc::<Roster>::default();
        let enlisted = enlist(&roster, 1);
        let left = roster.left();
        drop(enlisted);
        left.await;
        assert_eq!(roster.count(), 0);
    }
}
