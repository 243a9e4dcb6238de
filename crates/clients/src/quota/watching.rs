//! HLS viewers: requests without a session.
//!
//! A viewer is told apart by the stream, its address, its `User-Agent` and the parameter [`SESSION`], which a page may
//! give to each of its viewers. It watches from the playlist that it was given until it has asked for nothing for
//! [`WATCHING`].

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    fmt,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tracing::info;
use weir_media::StreamKey;

use super::{network::Network, refusal::Refusal};
use crate::{
    end::{End, Kind, seconds},
    held::Held,
    roster::{Activity, Farewell},
};

/// The parameter of a playlist's URL that tells viewers apart behind one address, named as in SRS.
pub const SESSION: &str = "hls_ctx";

/// Who has fetched a playlist or a segment within this time is watching: ten target durations of a common segment
/// length. Where segments are longer than ten seconds, three of them.
pub const WATCHING: Duration = Duration::from_secs(30);

/// HLS viewers that are remembered, some 14 MB. With more of them nobody new is remembered, and none is refused.
pub const WATCHING_MAX: usize = 65_536;

/// Viewers of one address, or one network of IPv6, that are told apart: a school behind one NAT. All others that are
/// there count as one viewer of each stream, so that nobody alone can be a crowd.
const APART_MAX: u32 = 256;

/// Viewers that each request looks at, whether they have gone. A request brings one at most, so that those who have
/// gone are forgotten faster than others come, and no request does more work than another.
const LOOKS: usize = 4;

/// The same for the look once a second.
const LOOKS_A_SECOND: usize = 8192;

/// How long a viewer gets nothing that an operator has ended: its player gives up within this time.
pub const KICKED: Duration = Duration::from_secs(30);

/// Those who were ended lately that are remembered, at most.
const KICKED_MAX: usize = 4096;

/// Streams whose departed viewers' bytes are remembered; more at one time are not counted.
const PARTED_MAX: usize = 10_000;

/// Counts what a viewer is sent.
pub type Meter = Arc<AtomicU64>;

/// Who asks for HLS.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The stream.
    pub key: &'a StreamKey,
    /// Where the request comes from.
    pub ip: IpAddr,
    /// Its `User-Agent`.
    pub agent: &'a str,
    /// The value of [`SESSION`], empty if there is none.
    pub session: &'a str,
    /// What it was let in by, where that is not looked at with each request: others are other viewers. Empty else.
    pub permission: &'a str,
    /// Whether it is another node of a cluster, which asks for its viewers.
    pub is_node: bool,
}

/// One HLS viewer, as others may know of it.
#[derive(Clone, Debug)]
pub struct HlsViewer {
    /// Its number, unique among all clients of this process.
    pub id: u64,
    /// The stream.
    pub key: StreamKey,
    /// Its address.
    pub ip: IpAddr,
    /// Whether it is another node of a cluster.
    pub is_node: bool,
    /// When it was given its first playlist.
    pub since: Instant,
    /// Bytes that it was sent.
    pub sent: u64,
}

/// A viewer that has come or gone, for the log.
#[derive(Clone, Debug)]
pub struct News {
    /// The viewer.
    pub viewer: HlsViewer,
    /// When, and why, it ended; none for one that begins.
    pub ended: Option<(Instant, End)>,
}

impl News {
    /// Says it in the log, as of other viewers. Not with a lock held.
    pub fn say(&self) {
        let HlsViewer { id, key, ip, since, sent, is_node } = &self.viewer;
        // An edge asks for its viewers, of whom its own log speaks.
        if *is_node {
            return;
        }
        let (conn, role) = (id, Activity::Play.label());
        let Some((at, end)) = &self.ended else {
            info!(conn, peer = %ip, protocol = "hls", role, stream = %key, "session began");
            return;
        };
        let seconds = seconds(at.saturating_duration_since(*since));
        info!(
            conn, peer = %ip, protocol = "hls", role, stream = %key, side = end.side.label(), kind = end.kind.label(),
            reason = %end.reason, seconds, sent, "session ended"
        );
    }
}

/// Who watches.
#[derive(Debug, Default)]
pub struct Watching {
    hasher: RandomState,
    viewers: HashMap<u64, Viewer>,
    /// Each of them, with the time from which on it is worth a look whether it has gone; the earliest first.
    looks: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Of viewers that are told apart by their sessions: the one that asked for a playlist last. The names of segments
    /// do not say whose they are.
    latest: HashMap<u64, u64>,
    networks: HashMap<Network, u32>,
    streams: HashMap<StreamKey, ViewerCount>,
    all: ViewerCount,
    kicked: HashMap<u64, Instant>,
    /// Bytes that viewers of each stream were sent who have gone.
    parted: HashMap<StreamKey, u64>,
    /// Who has come or gone since somebody has taken this: as many as one call brings.
    news: Vec<News>,
    /// What those kept who have gone since somebody has taken it.
    released: Vec<Held>,
}

struct Viewer {
    id: u64,
    key: StreamKey,
    ip: IpAddr,
    is_node: bool,
    /// Whether it stands for all those of its network that are not told apart.
    is_many: bool,
    /// What it has in common with viewers that only their sessions tell apart.
    group: u64,
    since: Instant,
    seen: Instant,
    patience: Duration,
    sent: Meter,
    held: Option<Held>,
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer")
            .field("id", &self.id)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Viewer {
    /// What others may know of it.
    fn known(&self) -> HlsViewer {
        HlsViewer {
            id: self.id,
            key: self.key.clone(),
            ip: self.ip,
            is_node: self.is_node,
            since: self.since,
            sent: self.sent.load(Relaxed),
        }
    }

    fn watches(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.seen) < self.patience
    }
}

/// Viewers of one stream, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewerCount {
    /// All of them.
    pub here: usize,
    /// Those among them that are nodes.
    pub nodes: usize,
}

impl ViewerCount {
    /// Those who watch, and do not ask for others.
    pub const fn viewers(self) -> usize {
        self.here - self.nodes
    }

    const fn add(&mut self, is_node: bool) {
        self.here += 1;
        self.nodes += is_node as usize;
    }

    const fn remove(&mut self, is_node: bool) {
        self.here -= 1;
        self.nodes -= is_node as usize;
    }
}

/// By what a viewer is known.
#[derive(Clone, Copy)]
struct Name {
    viewer: u64,
    group: u64,
    is_many: bool,
}

impl Watching {
    /// Looks whether `who` gets a playlist: who watches already does, and who begins if `newcomer` says so, which is
    /// told how many watch the stream. True for one who watches.
    pub fn look(
        &mut self,
        who: Who<'_>,
        newcomer: impl FnOnce(usize) -> Result<(), Refusal>,
        now: Instant,
    ) -> Result<bool, Refusal> {
        self.forget_some(LOOKS, now);
        let name = self.name(who);
        self.look_as(name, who.key, newcomer, now)
    }

    fn look_as(
        &mut self,
        name: Name,
        key: &StreamKey,
        newcomer: impl FnOnce(usize) -> Result<(), Refusal>,
        now: Instant,
    ) -> Result<bool, Refusal> {
        self.check_kicked(name.viewer, now)?;
        if self.viewers.get(&name.viewer).is_some_and(|viewer| viewer.watches(now)) {
            return Ok(true);
        }
        if self.viewers.len() < WATCHING_MAX {
            newcomer(self.of(key).here)?;
        }
        Ok(false)
    }

    /// The same for one that is given a playlist now, and watches from now on: until it has asked for nothing for
    /// `patience`, and keeps what is `held` to its end. What it is sent is to be counted; nowhere for one that is not
    /// remembered.
    pub fn watch(
        &mut self,
        (who, held): (Who<'_>, Option<Held>),
        patience: Duration,
        newcomer: impl FnOnce(usize) -> Result<(), Refusal>,
        id: impl FnOnce() -> u64,
        now: Instant,
    ) -> Result<Option<Meter>, Refusal> {
        self.forget_some(LOOKS, now);
        let name = self.name(who);
        self.look_as(name, who.key, newcomer, now)?;
        if let Some(viewer) = self.viewers.get_mut(&name.viewer) {
            if !viewer.watches(now) {
                viewer.since = now;
                // It has been let in anew.
                self.released.extend(std::mem::replace(&mut viewer.held, held));
            } else {
                self.released.extend(held);
            }
            viewer.seen = now;
            let sent = Arc::clone(&viewer.sent);
            self.is_latest(name);
            return Ok(Some(sent));
        }
        if self.viewers.len() >= WATCHING_MAX {
            self.released.extend(held);
            return Ok(None);
        }
        let sent = Meter::default();
        let viewer = Viewer {
            id: id(),
            key: who.key.clone(),
            ip: who.ip,
            is_node: who.is_node,
            is_many: name.is_many,
            group: name.group,
            since: now,
            seen: now,
            patience,
            sent: Arc::clone(&sent),
            held,
        };
        if !name.is_many {
            *self.networks.entry(Network::of(who.ip)).or_insert(0) += 1;
        }
        self.streams.entry(who.key.clone()).or_default().add(who.is_node);
        self.all.add(who.is_node);
        self.looks.push(Reverse((now + patience, name.viewer)));
        self.news.push(News { viewer: viewer.known(), ended: None });
        self.viewers.insert(name.viewer, viewer);
        self.is_latest(name);
        Ok(Some(sent))
    }

    /// Takes notice of `who` fetching a segment. What it is sent is to be counted, if it is known.
    pub fn fetch(&mut self, who: Who<'_>, now: Instant) -> Result<Option<Meter>, Refusal> {
        let group = self.group(who);
        let own = self.latest.get(&group).copied().unwrap_or(group);
        self.check_kicked(own, now)?;
        let many = self.many(who);
        let many = self.latest.get(&many).copied().unwrap_or(many);
        let viewer = if self.viewers.contains_key(&own) { own } else { many };
        let Some(viewer) = self.viewers.get_mut(&viewer) else { return Ok(None) };
        viewer.seen = now;
        Ok(Some(Arc::clone(&viewer.sent)))
    }

    /// Ends the viewer with this number: it gets nothing for [`KICKED`]. False if there is none.
    pub fn kick(&mut self, id: u64, now: Instant) -> bool {
        let mut names = self.viewers.iter().filter(|(_, viewer)| viewer.id == id);
        let Some((&name, viewer)) = names.next() else { return false };
        if !viewer.watches(now) {
            return false;
        }
        let group = viewer.group;
        self.kicked.retain(|_, since| now.saturating_duration_since(*since) < KICKED);
        if self.kicked.len() < KICKED_MAX {
            self.kicked.insert(name, now);
        }
        self.remove(name, now, Farewell::Kicked.end());
        // Its segments are refused as well, unless somebody else asks in the same way.
        if group != name && self.kicked.len() < KICKED_MAX {
            self.latest.entry(group).or_insert(name);
            self.looks.push(Reverse((now + KICKED, name)));
        }
        true
    }

    /// Ends everybody, for the same reason.
    pub fn end_all(&mut self, now: Instant, end: &End) {
        let names: Vec<_> = self.viewers.keys().copied().collect();
        names.into_iter().for_each(|name| self.remove(name, now, end.clone()));
    }

    /// Everybody who watches, in no order.
    pub fn list(&self, now: Instant) -> Vec<HlsViewer> {
        let here = self.viewers.values().filter(|viewer| viewer.watches(now));
        here.map(Viewer::known).collect()
    }

    /// Those who watch `key`, in no order.
    pub fn list_of(&self, key: &StreamKey, now: Instant) -> Vec<HlsViewer> {
        let is_here = |viewer: &&Viewer| viewer.key == *key && viewer.watches(now);
        match self.of(key).here {
            0 => Vec::new(),
            _ => self.viewers.values().filter(is_here).map(Viewer::known).collect(),
        }
    }

    /// Who has come or gone since the last time.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// What those kept who have gone since the last time: to be dropped without a lock held.
    pub fn take_released(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.released)
    }

    /// Who watches `key`.
    pub fn of(&self, key: &StreamKey) -> ViewerCount {
        self.streams.get(key).copied().unwrap_or_default()
    }

    /// Who watches anything.
    pub fn all(&self) -> ViewerCount {
        self.all
    }

    /// The streams that somebody watches.
    pub fn streams(&self) -> Vec<StreamKey> {
        self.streams.keys().cloned().collect()
    }

    /// Bytes that viewers were sent, by stream; those who have gone included.
    pub fn sent(&self) -> HashMap<StreamKey, u64> {
        let mut sent = self.parted.clone();
        for viewer in self.viewers.values() {
            *sent.entry(viewer.key.clone()).or_insert(0) += viewer.sent.load(Relaxed);
        }
        sent
    }

    /// The same of one stream.
    pub fn sent_of(&self, key: &StreamKey) -> u64 {
        let parted = self.parted.get(key).copied().unwrap_or(0);
        let all = self.viewers.values().filter(|viewer| viewer.key == *key);
        parted + all.map(|viewer| viewer.sent.load(Relaxed)).sum::<u64>()
    }

    /// Keeps what departed viewers were sent of the streams that `is_known` says yes to.
    pub fn forget_parted(&mut self, is_known: impl Fn(&StreamKey) -> bool) {
        self.parted.retain(|key, _| is_known(key));
    }

    /// Forgets those who have gone. Called once a second.
    pub fn forget_gone(&mut self, now: Instant) {
        self.forget_some(LOOKS_A_SECOND, now);
    }

    fn check_kicked(&mut self, viewer: u64, now: Instant) -> Result<(), Refusal> {
        let Some(since) = self.kicked.get(&viewer) else { return Ok(()) };
        if now.saturating_duration_since(*since) < KICKED {
            return Err(Refusal::Kicked);
        }
        self.kicked.remove(&viewer);
        Ok(())
    }

    /// What viewers have in common that only their sessions tell apart.
    fn group(&self, who: Who<'_>) -> u64 {
        self.hasher.hash_one((who.key, who.ip, who.agent, who.is_node))
    }

    /// The one for all of a network that are not told apart.
    fn many(&self, who: Who<'_>) -> u64 {
        self.hasher.hash_one((who.key, Network::of(who.ip), who.is_node))
    }

    fn name(&self, who: Who<'_>) -> Name {
        let group = self.group(who);
        let viewer = match (who.session, who.permission) {
            ("", "") => group,
            (session, permission) => self.hasher.hash_one((group, session, permission)),
        };
        let apart = self.networks.get(&Network::of(who.ip)).copied().unwrap_or(0);
        if apart < APART_MAX || self.viewers.contains_key(&viewer) {
            return Name { viewer, group, is_many: false };
        }
        let many = self.many(who);
        let viewer = match who.permission {
            "" => many,
            permission => self.hasher.hash_one((many, permission)),
        };
        Name { viewer, group: many, is_many: true }
    }

    fn is_latest(&mut self, Name { viewer, group, .. }: Name) {
        if viewer != group {
            self.latest.insert(group, viewer);
        }
    }

    fn forget_some(&mut self, looks: usize, now: Instant) {
        for _ in 0..looks {
            let Some(&Reverse((due, name))) = self.looks.peek() else { return };
            if due > now {
                return;
            }
            self.looks.pop();
            match self.viewers.get(&name) {
                Some(viewer) if viewer.watches(now) => {
                    self.looks.push(Reverse((viewer.seen + viewer.patience, name)));
                }
                Some(viewer) => {
                    let reason = format!("no request for {:?}", viewer.patience);
                    self.remove(name, now, End::new(Kind::Closed, reason));
                }
                None => self.latest.retain(|_, latest| *latest != name),
            }
        }
    }

    fn remove(&mut self, name: u64, now: Instant, end: End) {
        let Some(mut viewer) = self.viewers.remove(&name) else { return };
        self.released.extend(viewer.held.take());
        self.news.push(News { viewer: viewer.known(), ended: Some((now, end)) });
        if self.latest.get(&viewer.group) == Some(&name) {
            self.latest.remove(&viewer.group);
        }
        let network = Network::of(viewer.ip);
        if !viewer.is_many
            && let Some(apart) = self.networks.get_mut(&network)
        {
            *apart -= 1;
            if *apart == 0 {
                self.networks.remove(&network);
            }
        }
        self.all.remove(viewer.is_node);
        if let Some(audience) = self.streams.get_mut(&viewer.key) {
            audience.remove(viewer.is_node);
            if audience.here == 0 {
                self.streams.remove(&viewer.key);
            }
        }
        let (sent, is_full) = (viewer.sent.load(Relaxed), self.parted.len() >= PARTED_MAX);
        match self.parted.get_mut(&viewer.key) {
            Some(parted) => *parted += sent,
            None if is_full || sent == 0 => {}
            None => drop(self.parted.insert(viewer.key, sent)),
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_media::DEFAULT_VHOST;

    use super::*;

    fn key() -> StreamKey {
        StreamKey::new(DEFAULT_VHOST, "live", "a").expect("a good key")
    }

    /// The numbers of those who have come or gone since the last time; of the latter, how.
    fn news(watching: &mut Watching) -> Vec<(u64, Option<&'static str>)> {
        let news = watching.take_news().into_iter();
        news.map(|it| (it.viewer.id, it.ended.map(|(_, end)| end.kind.label()))).collect()
    }

    #[test]
    fn who_comes_and_goes_is_news_once() {
        let (mut watching, key) = (Watching::default(), key());
        let (now, viewer) = (Instant::now(), |number| Who {
            key: &key,
            ip: ip(number),
            agent: "a",
            session: "",
            permission: "",
            is_node: false,
        });
        for number in [1, 1, 2, 3] {
            let id = || number.into();
            watching.watch((viewer(number), None), WATCHING, |_| Ok(()), id, now).expect("room");
        }
        assert_eq!(news(&mut watching), [(1, None), (2, None), (3, None)]);
        assert!(watching.kick(2, now));
        assert_eq!(news(&mut watching), [(2, Some("kicked"))]);
        watching.fetch(viewer(3), now + WATCHING / 2).expect("it may");
        watching.forget_gone(now + WATCHING);
        assert_eq!(news(&mut watching), [(1, Some("closed"))]);
        watching.forget_gone(now + WATCHING * 2);
        assert_eq!(news(&mut watching), [(3, Some("closed"))]);
        watching.forget_gone(now + WATCHING * 3);
        assert_eq!(news(&mut watching), []);
        watching.watch((viewer(4), None), WATCHING, |_| Ok(()), || 4, now).expect("room");
        watching.end_all(now, &Farewell::Draining.end());
        assert_eq!(news(&mut watching), [(4, None), (4, Some("drained"))]);
        assert_eq!((watching.all().here, watching.networks.len()), (0, 0));
    }

    fn ip(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn who<'a>(key: &'a StreamKey, ip: IpAddr, agent: &'a str, session: &'a str) -> Who<'a> {
        Who { key, ip, agent, session, permission: "", is_node: false }
    }

    /// Lets `who` watch as number `id`; what it is sent.
    fn watch(watching: &mut Watching, who: Who<'_>, id: u64, now: Instant) -> Option<Meter> {
        watching.watch((who, None), WATCHING, |_| Ok(()), || id, now).expect("let in")
    }

    #[test]
    fn who_was_let_in_by_something_else_is_another_and_all_is_released_at_the_end() {
        let (key, mut watching, now) = (key(), Watching::default(), Instant::now());
        let held = |number: u32| Some(Box::new(number) as Held);
        let by = |permission| Who { permission, ..who(&key, ip(1), "a", "") };
        for (number, permission) in [(1, "?t=1"), (2, "?t=2"), (3, "?t=1")] {
            let who = (by(permission), held(number));
            watching.watch(who, WATCHING, |_| Ok(()), || number.into(), now).expect("room");
        }
        assert_eq!(watching.of(&key).here, 2);
        assert_eq!(watching.look(by("?t=1"), |_| Ok(()), now), Ok(true));
        assert_eq!(watching.look(by("?t=3"), |_| Ok(()), now), Ok(false), "it has to be let in");
        assert!(
            watching.fetch(by(""), now).expect("it may").is_some(),
            "a segment does not say whose it is"
        );
        assert_eq!(watching.take_released().len(), 1, "of the third request nothing is kept");
        watching.forget_gone(now + WATCHING);
        let numbers = watching
            .take_released()
            .into_iter()
            .map(|held| *held.downcast::<u32>().expect("a number"));
        let mut numbers: Vec<_> = numbers.collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2]);
    }

    #[test]
    fn many_of_one_address_are_let_in_by_what_each_shows() {
        let (key, mut watching, now) = (key(), Watching::default(), Instant::now());
        for number in 0..2 * APART_MAX {
            let session = number.to_string();
            let who = Who { permission: "?t=1", ..who(&key, ip(1), "a", &session) };
            watching.watch((who, None), WATCHING, |_| Ok(()), || number.into(), now).expect("room");
        }
        let good = Who { permission: "?t=1", ..who(&key, ip(1), "a", "new") };
        let bad = Who { permission: "?t=2", ..who(&key, ip(1), "a", "new") };
        assert_eq!(watching.look(good, |_| Ok(()), now), Ok(true));
        assert_eq!(watching.look(bad, |_| Ok(()), now), Ok(false));
        let segment = Who { permission: "", ..who(&key, ip(1), "b", "") };
        assert!(watching.fetch(segment, now).expect("it may").is_some(), "counted with the others");
    }

    #[test]
    fn a_request_looks_at_a_few_viewers_however_many_there_are() {
        let (key, mut watching, start) = (key(), Watching::default(), Instant::now());
        let all = WATCHING_MAX as u32;
        for number in 0..all {
            watch(&mut watching, who(&key, ip(number), "", ""), number.into(), start);
        }
        assert_eq!(watching.of(&key).here, WATCHING_MAX);
        // Full, and nobody has gone: nothing to do.
        assert!(watch(&mut watching, who(&key, ip(u32::MAX), "", ""), 0, start).is_none());
        assert_eq!((watching.viewers.len(), watching.looks.len()), (WATCHING_MAX, WATCHING_MAX));
        // All have gone: each request forgets as many as it looks at, and remembers one.
        let later = start + WATCHING;
        assert!(watching.list(later).is_empty());
        watch(&mut watching, who(&key, ip(u32::MAX), "", ""), 0, later);
        assert_eq!(watching.viewers.len(), WATCHING_MAX - LOOKS + 1);
        for number in 1..=all / LOOKS as u32 {
            watch(&mut watching, who(&key, ip(u32::MAX - number % 10), "", ""), 0, later);
        }
        assert_eq!(watching.viewers.len(), 10, "only those who watch are remembered");
        assert_eq!((watching.looks.len(), watching.networks.len()), (10, 10));
    }

    #[test]
    fn who_has_asked_for_nothing_lately_has_left_and_nothing_is_kept() {
        let (key, mut watching, start) = (key(), Watching::default(), Instant::now());
        let one = who(&key, ip(1), "a", "x");
        let meter = watch(&mut watching, one, 1, start).expect("remembered");
        meter.fetch_add(70, Relaxed);
        // A segment's URL has no session.
        let later = start + WATCHING / 2;
        let fetched = watching.fetch(who(&key, ip(1), "a", ""), later).expect("not ended");
        assert!(Arc::ptr_eq(&fetched.expect("known"), &meter));
        watching.forget_gone(start + WATCHING);
        assert_eq!(watching.of(&key).here, 1, "it has fetched a segment");
        watching.forget_gone(later + WATCHING);
        assert_eq!(watching.of(&key), ViewerCount::default());
        assert_eq!(watching.sent().get(&key), Some(&70), "what was sent was sent");
        assert_eq!(watching.sent_of(&key), 70);
        watching.forget_parted(|_| false);
        let kept = [watching.viewers.len(), watching.looks.len(), watching.latest.len()];
        assert_eq!((kept, watching.networks.len(), watching.streams.len()), ([0; 3], 0, 0));
        assert!(watching.sent().is_empty());
    }

    #[test]
    fn an_address_is_told_apart_into_so_many_viewers() {
        let (key, mut watching, now) = (key(), Watching::default(), Instant::now());
        for number in 0..10 * APART_MAX {
            let (agent, session) = (format!("{}", number % 2), format!("{number}"));
            watch(&mut watching, who(&key, ip(1), &agent, &session), number.into(), now);
        }
        assert_eq!(watching.of(&key).here, APART_MAX as usize + 1, "and one for the others");
        watch(&mut watching, who(&key, ip(2), "", ""), 9999, now);
        assert_eq!(watching.of(&key).here, APART_MAX as usize + 2, "another address is another");
        watching.forget_gone(now + WATCHING);
        assert!(watching.networks.is_empty() && watching.viewers.is_empty());
    }

    #[test]
    fn who_was_ended_gets_nothing_for_a_while() {
        let (key, mut watching, now) = (key(), Watching::default(), Instant::now());
        let (one, two) = (who(&key, ip(1), "a", "x"), who(&key, ip(2), "a", "x"));
        watch(&mut watching, one, 1, now);
        watch(&mut watching, two, 2, now);
        assert!(!watching.kick(3, now) && watching.kick(1, now) && !watching.kick(1, now));
        assert_eq!(watching.of(&key).here, 1);
        let soon = now + KICKED / 2;
        assert_eq!(watching.look(one, |_| Ok(()), soon), Err(Refusal::Kicked));
        assert!(watching.fetch(who(&key, ip(1), "a", ""), soon).is_err(), "its segments");
        assert!(watching.look(two, |_| Ok(()), soon).is_ok(), "others are served");
        let later = now + KICKED;
        watch(&mut watching, one, 4, later);
        assert!(watching.fetch(who(&key, ip(1), "a", ""), later).is_ok());
    }
}
