//! The origins: where they are, which of them owns a stream, and which of them are alive.
//!
//! ```text
//! edge.origins ──► names ──addresses──► Set ──► order ──► pulls, publishes
//!                  (DNS)                 │ ▲              │
//!                                 checks ▼ │ health       │ succeeded, failed
//!                                       Origin ◄──────────┘
//! ```

mod found;
mod hash;
mod health;
mod names;
mod wanted;

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::info;
use weir_config::{Edge, OriginName, Unready};
use weir_media::StreamKey;
use weir_upstream::{PeerTls, Trusted};

use found::Found;
pub use health::{Origin, OriginStatus, Port};
pub use names::Name;
pub use wanted::SearchGuard;
use wanted::Wanted;

use crate::tls::{self, origin_tls};

/// How long a start waits for name servers. They have been asked twice by then, and the viewer is waiting.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after the last look-up a name is looked up again when there is reason to.
const LOOK_UP_PAUSE: Duration = Duration::from_secs(1);

/// For how long after trouble at an origin its name is looked up as often as that: by then one that was replaced is
/// known by its new address.
const TROUBLED: Duration = Duration::from_secs(120);

/// All origins of an edge. What keeps them up to date ends with it.
#[derive(Debug)]
pub struct Origins {
    present: ArcSwap<Present>,
    places: Mutex<Found>,
    /// The streams that are being looked for.
    wanted: Wanted,
    news: Arc<Notify>,
    tls: Arc<PeerTls>,
}

/// What follows from the settings that are in force.
#[derive(Debug)]
struct Present {
    known: Arc<Known>,
    /// Ended by being dropped.
    _lookups: JoinSet<()>,
}

/// What is known of all origins.
#[derive(Debug)]
struct Known {
    names: Vec<OriginName>,
    http_port: u16,
    tls: Arc<PeerTls>,
    set: Mutex<Set>,
    /// An origin has failed or is alive again, or the addresses have changed.
    news: Arc<Notify>,
    /// When there was trouble last: an origin that failed, or a stream that was lost.
    trouble: watch::Sender<Option<Instant>>,
    /// How many names have never been looked up to the end.
    unanswered: watch::Sender<usize>,
}

/// The origins that there are now.
#[derive(Debug, Default)]
struct Set {
    /// The addresses of each name.
    addresses: Vec<Vec<IpAddr>>,
    members: Vec<Arc<Member>>,
}

#[derive(Debug)]
struct Member {
    origin: Arc<Origin>,
    /// Looks after it.
    task: AbortHandle,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Origins {
    /// Begins to look up the names, and to look after what they stand for. Needs a tokio runtime.
    ///
    /// # Errors
    /// When there are names and the system does not say which name servers to ask, or there is no TLS for those that
    /// need it.
    pub(crate) fn start(settings: &Edge) -> Result<Arc<Self>, Unready> {
        let (news, tls) = (Arc::default(), Arc::new(origin_tls()));
        let mut next = NextOrigins::new(settings)?;
        tls.put(next.tls.take());
        let present = ArcSwap::from_pointee(Present::start(next, &news, &tls, None));
        let (places, wanted) = (Mutex::default(), Wanted::default());
        Ok(Arc::new(Self { present, places, wanted, news, tls }))
    }

    /// TLS with those that have it.
    pub(crate) fn tls(&self) -> &PeerTls {
        &self.tls
    }

    /// From now on `next` is in force. Origins that stay keep what is known of them, and names that stay their
    /// addresses. Needs a tokio runtime.
    pub(crate) fn follow(&self, mut next: NextOrigins) {
        self.tls.put(next.tls.take());
        let before = self.present.load_full();
        let present = Present::start(next, &self.news, &self.tls, Some(&before.known));
        self.present.store(Arc::new(present));
        self.news.notify_waiters();
    }

    /// Whether one of them is alive, as far as one can know.
    pub fn any_healthy(&self) -> bool {
        self.known().origins().iter().any(|origin| origin.is_healthy())
    }

    /// Whether `origin` is one of them.
    pub(crate) fn has(&self, origin: &Origin) -> bool {
        self.known().set().members.iter().any(|member| member.origin.is_same(origin))
    }

    /// The names that are in force.
    pub(crate) fn names(&self) -> Vec<OriginName> {
        self.known().names.clone()
    }

    /// Whether one of them is at this address.
    pub(crate) fn has_address(&self, address: SocketAddr) -> bool {
        self.known().set().members.iter().any(|member| member.origin.address == address)
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.present.load().known)
    }

    /// Waits until every name has been looked up once, with or without success. Name servers that do not answer are
    /// waited for some seconds.
    pub(crate) async fn ready(&self) {
        let mut unanswered = self.known().unanswered.subscribe();
        let answered = unanswered.wait_for(|&names| names == 0);
        // Those who come too early find no origin, and are told so.
        let _ = timeout(READY_TIMEOUT, answered).await;
    }

    /// Every origin, in the order in which to ask for `key`: where it was found last, then its owner, then the others;
    /// those that are alive before those that are not.
    pub(crate) fn order(&self, key: &StreamKey) -> Vec<Arc<Origin>> {
        let found = self.places().get(key, Instant::now());
        let key = key.to_string();
        let mut origins = self.known().origins();
        origins.sort_by_cached_key(|origin| {
            let elsewhere = Some(origin.address) != found;
            (!origin.is_healthy(), elsewhere, Reverse(origin.weight(&key)), origin.address)
        });
        origins
    }

    /// Takes note that `key` is at `origin`.
    pub(crate) fn found(&self, key: &StreamKey, origin: &Arc<Origin>) {
        // The owner is asked first anyway.
        let is_news = if self.known().owner(key) == Some(origin.address) {
            self.places().remove(key)
        } else {
            self.places().insert(key, origin.address, Instant::now())
        };
        if is_news {
            self.wanted.found(key);
        }
    }

    /// Hears of `key` being [found](Self::found) at another origin than before, for as long as what this returns is
    /// held. One at a time looks for a stream.
    pub(crate) fn seek(&self, key: &StreamKey) -> SearchGuard<'_> {
        self.wanted.seek(key)
    }

    /// Takes note that a stream was lost, for whatever reason: who has it next may be new.
    pub(crate) fn troubled(&self) {
        self.known().trouble.send_replace(Some(Instant::now()));
    }

    /// Whether there has been trouble lately.
    pub(crate) fn is_troubled(&self) -> bool {
        self.known().is_troubled()
    }

    /// Resolves when an origin has failed or become alive again, or the addresses have changed, after this call.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.news.notified()
    }

    /// What is known of each origin, in the order of `edge.origins`.
    pub fn status(&self) -> Vec<OriginStatus> {
        self.known().origins().iter().map(|origin| origin.status()).collect()
    }

    fn places(&self) -> MutexGuard<'_, Found> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The origins that settings name, which may come in force: nothing is looked up yet.
#[derive(Debug)]
pub struct NextOrigins {
    settings: Edge,
    /// Those of the origins that are no addresses.
    names: Vec<(usize, Name)>,
    tls: Option<Trusted>,
}

impl NextOrigins {
    /// Those of `settings`.
    ///
    /// # Errors
    /// When there are names and the system does not say which name servers to ask, or the file with CA certificates is
    /// not to be had.
    pub fn new(settings: &Edge) -> Result<Self, Unready> {
        let tls = tls::read(settings)?;
        let mut names = Vec::new();
        for (index, name) in settings.origins.iter().enumerate() {
            if name.host.parse::<IpAddr>().is_err() {
                names.push((index, Name::new(&name.host, &settings.resolvers, "edge.origins")?));
            }
        }
        Ok(Self { settings: settings.clone(), names, tls })
    }
}

impl Present {
    /// Begins to look up the names of `next`; what `before` knows is taken over.
    fn start(
        next: NextOrigins,
        news: &Arc<Notify>,
        tls: &Arc<PeerTls>,
        before: Option<&Known>,
    ) -> Self {
        let NextOrigins { settings, names, .. } = next;
        let known = Arc::new(Known::new(&settings, Arc::clone(news), Arc::clone(tls)));
        if let Some(before) = before {
            known.take_over(before);
        }
        for (index, name) in settings.origins.iter().enumerate() {
            if let Ok(address) = name.host.parse() {
                known.update(index, vec![address]);
            }
        }
        let mut lookups = JoinSet::new();
        for (index, name) in names {
            let is_new = known.set().addresses[index].is_empty();
            known.unanswered.send_modify(|unanswered| *unanswered += usize::from(is_new));
            lookups.spawn(keep_looking_up(name, index, is_new, Arc::clone(&known)));
        }
        Self { known, _lookups: lookups }
    }
}

impl Known {
    fn new(settings: &Edge, news: Arc<Notify>, tls: Arc<PeerTls>) -> Self {
        let set = Set { addresses: vec![Vec::new(); settings.origins.len()], members: Vec::new() };
        Self {
            names: settings.origins.clone(),
            http_port: settings.http_port,
            tls,
            set: Mutex::new(set),
            news,
            trouble: watch::Sender::new(None),
            unanswered: watch::Sender::new(0),
        }
    }

    fn is_troubled(&self) -> bool {
        let is_ill = |member: &Arc<Member>| {
            let status = member.origin.status();
            !status.healthy && status.since.elapsed() < TROUBLED
        };
        self.trouble.borrow().is_some_and(|since| since.elapsed() < TROUBLED)
            || self.set().members.iter().any(is_ill)
    }

    /// Takes the addresses of the names that are the same, and the origins that are at them.
    fn take_over(&self, before: &Self) {
        self.trouble.send_replace(*before.trouble.borrow());
        let old = before.set();
        let mut set = self.set();
        for (index, name) in self.names.iter().enumerate() {
            let Some(known) = before.names.iter().position(|known| known == name) else { continue };
            set.addresses[index].clone_from(&old.addresses[known]);
        }
        // Shared until the set before is gone: nobody finds it empty meanwhile.
        set.members.clone_from(&old.members);
        drop(old);
        self.reshape(set);
    }

    fn set(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn origins(&self) -> Vec<Arc<Origin>> {
        self.set().members.iter().map(|member| Arc::clone(&member.origin)).collect()
    }

    /// The address of the origin that `key` belongs to, alive or not.
    fn owner(&self, key: &StreamKey) -> Option<SocketAddr> {
        let key = key.to_string();
        let origins = self.origins();
        let owner =
            origins.iter().min_by_key(|origin| (Reverse(origin.weight(&key)), origin.address));
        owner.map(|origin| origin.address)
    }

    /// The name at `index` stands for `addresses` now. Origins that stay keep what is known of them.
    fn update(&self, index: usize, addresses: Vec<IpAddr>) {
        let mut set = self.set();
        if set.addresses[index] == addresses {
            return;
        }
        set.addresses[index] = addresses;
        self.reshape(set);
    }

    /// Makes the members those that the addresses stand for. Origins that stay keep what is known of them.
    fn reshape(&self, mut set: MutexGuard<'_, Set>) {
        let members = std::mem::take(&mut set.members);
        let mut old: HashMap<_, _> =
            members.into_iter().map(|member| (member.origin.address, member)).collect();
        let mut added = Vec::new();
        for (address, name) in self.wanted(&set.addresses) {
            let kept = old.remove(&address).filter(|member| {
                let origin = &member.origin;
                origin.http.port() == name.http_port(self.http_port)
                    && origin.is_spoken_with(name.scheme, &name.host)
            });
            let member = kept.unwrap_or_else(|| {
                let member = Arc::new(Member::new(address, name, self));
                added.push(Arc::clone(&member.origin));
                member
            });
            set.members.push(member);
        }
        drop(set);
        for origin in added {
            info!(%origin, host = origin.host, "origin added");
        }
        for origin in old.values().map(|member| &member.origin) {
            info!(%origin, host = origin.host, "origin removed: its name does not resolve to it any more");
        }
        self.news.notify_waiters();
    }

    /// Every address once, and the first name that stands for it.
    fn wanted(&self, addresses: &[Vec<IpAddr>]) -> Vec<(SocketAddr, &OriginName)> {
        let mut seen = HashSet::new();
        let all = self.names.iter().zip(addresses).flat_map(|(name, addresses)| {
            addresses.iter().map(move |&address| (SocketAddr::new(address, name.port), name))
        });
        all.filter(|&(address, _)| seen.insert(address)).collect()
    }
}

impl Member {
    fn new(address: SocketAddr, name: &OriginName, known: &Known) -> Self {
        let http = SocketAddr::new(address.ip(), name.http_port(known.http_port));
        let origin = Arc::new(Origin::new((address, http), name, &known.tls, &known.news));
        let task = tokio::spawn(health::look_after(Arc::clone(&origin))).abort_handle();
        Self { origin, task }
    }
}

/// Looks the name at `index` up, again and again.
async fn keep_looking_up(mut name: Name, index: usize, is_new: bool, known: Arc<Known>) {
    let mut pause = name.look_up().await;
    known.update(index, name.addresses());
    known.unanswered.send_modify(|names| *names -= usize::from(is_new));
    let mut trouble = known.trouble.subscribe();
    loop {
        if known.is_troubled() {
            pause = pause.min(LOOK_UP_PAUSE);
        }
        let asked = Instant::now();
        tokio::select! {
            () = sleep(pause) => {}
            // The sender is ours, so that it cannot be gone.
            _ = trouble.changed() => sleep(LOOK_UP_PAUSE.saturating_sub(asked.elapsed())).await,
            // An origin has failed, most often.
            () = known.news.notified() => sleep(LOOK_UP_PAUSE.saturating_sub(asked.elapsed())).await,
        }
        trouble.mark_unchanged();
        pause = name.look_up().await;
        known.update(index, name.addresses());
    }
}

#[cfg(test)]
mod tests;
