//! All pulls of an origin: those that are configured, and those that viewers have asked for.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::warn;
use weir_clients::quota::Quotas;
use weir_config::{Fault, Next, Part, Ready, Settings, Unready, When};
use weir_hub::{Registry, Wake as _};
use weir_media::StreamKey;
use weir_upstream::{Ask, NodeId, Turns};

use crate::{
    entry::{self, Entry},
    fallback::Fallback,
    known::{Known, Progress, PullStatus, State},
    shared::{Host, Running, Shared},
    task::Task,
};

/// Streams that other servers are asked for at the same time because viewers want them, so that a flood of names is no
/// flood of connections.
const TURNS: usize = 32;

/// Streams that are pulled, or asked for, because viewers want them. Each is a task and, while it is asked for, a
/// connection; names are cheap to make up.
const ON_DEMAND_MAX: usize = 1024;

/// How long a viewer whose wait is over stays for an answer that is on its way: one that may not wait at all has to let
/// it be asked.
const GRACE: Duration = Duration::from_secs(1);

/// Why a viewer gets no stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPull {
    /// Nobody has it.
    Missing(String),
    /// It must not be asked for.
    Refused(String),
    /// Whoever has it cannot be reached, or there is no room for one more.
    Unavailable(String),
}

/// All pulls.
pub struct Pulls {
    shared: Arc<Shared>,
    runtime: Handle,
    is_over: AtomicBool,
}

impl Pulls {
    /// None yet: they begin with [`begin`](Self::begin). What `settings` name is read here.
    ///
    /// # Errors
    /// When it is not what it should be, or there are no random bytes from the system.
    pub fn new(
        settings: &Settings,
        registry: &Registry,
        quotas: &Arc<Quotas>,
        fallback: &Arc<Fallback>,
        host: Arc<dyn Host>,
    ) -> io::Result<Arc<Self>> {
        let failed = |fault: Fault| io::Error::other(fault);
        let entries = entry::put(entry::read(&settings.now()).map_err(failed)?, &[]);
        let shared = Arc::new(Shared {
            id: NodeId::random()?,
            settings: settings.clone(),
            registry: registry.clone(),
            quotas: Arc::clone(quotas),
            fallback: Arc::clone(fallback),
            host,
            turns: Turns::new(TURNS),
            running: Mutex::new(Running { entries, pulls: HashMap::new() }),
        });
        let (runtime, is_over) = (Handle::current(), AtomicBool::new(true));
        Ok(Arc::new(Self { shared, runtime, is_over }))
    }

    /// Begins what is to be pulled always, and pulls what viewers ask for from now on.
    pub fn begin(self: &Arc<Self>) {
        self.is_over.store(false, Ordering::Relaxed);
        self.begin_always();
    }

    /// Ends all of them, and begins none any more: the process is going to stop, and the next one pulls itself.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        let pulls = std::mem::take(&mut self.shared.lock().pulls);
        pulls.values().for_each(|known| known.stop.wake());
    }

    fn begin_always(self: &Arc<Self>) {
        let entries = self.shared.lock().entries.clone();
        for entry in &entries {
            if let Some(key) = entry.always() {
                self.start(key, entry, &Ask::default());
            }
        }
    }

    /// The pull of `key` by `entry`, which begins if there is none; none where there is no room for it.
    fn start(
        self: &Arc<Self>,
        key: &StreamKey,
        entry: &Arc<Entry>,
        ask: &Ask,
    ) -> Option<Arc<Known>> {
        let mut running = self.shared.lock();
        if let Some(known) = running.pulls.get(key) {
            return Some(Arc::clone(known));
        }
        if self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        let is_demand = |known: &&Arc<Known>| known.entry.pull.when == When::Demand;
        if entry.pull.when == When::Demand
            && running.pulls.values().filter(is_demand).count() >= ON_DEMAND_MAX
        {
            return None;
        }
        let known = Known::new(entry);
        running.pulls.insert(key.clone(), Arc::clone(&known));
        drop(running);
        let task = Task::new(&self.shared, key, &known, ask);
        self.runtime.spawn(task.run());
        Some(known)
    }

    /// The line that says where `key` comes from, if one does.
    fn entry_of(&self, key: &StreamKey) -> Option<Arc<Entry>> {
        let running = self.shared.lock();
        let mut entries = running.entries.iter();
        let single = entries.clone().find(|entry| entry.key.as_ref() == Some(key));
        single.or_else(|| entries.find(|entry| entry.means(key))).cloned()
    }

    /// Takes in other files of `pull.ca`. It blocks.
    pub fn look(&self) {
        let entries = self.shared.lock().entries.clone();
        entries.iter().for_each(|entry| entry.look());
    }

    /// Whether `key` would be pulled for a viewer.
    pub fn would_pull(&self, key: &StreamKey) -> bool {
        self.entry_of(key).is_some()
    }

    /// Whether a line of `pull` names `key` itself, and not by a pattern that others match as well.
    pub fn names(&self, key: &StreamKey) -> bool {
        self.entry_of(key).is_some_and(|entry| entry.key.as_ref() == Some(key))
    }

    /// Has `key` pulled for as long as what this returns is held, if it is pulled on demand.
    pub fn wanted(
        self: &Arc<Self>,
        key: &StreamKey,
        ask: &Ask,
    ) -> Option<watch::Receiver<impl Sized + use<>>> {
        if ask.hops.check(&self.shared.id).is_err() {
            return None;
        }
        let entry = self.entry_of(key).filter(|entry| entry.pull.when == When::Demand)?;
        Some(self.start(key, &entry, ask)?.progress.subscribe())
    }

    /// Has `key` pulled for a viewer that waits for it, and ends when the viewer need not wait any longer: at
    /// `deadline`, or a little later if it is still being asked for then.
    pub async fn denied(self: &Arc<Self>, key: &StreamKey, ask: &Ask, deadline: Instant) -> NoPull {
        let Some(entry) = self.entry_of(key) else {
            sleep_until(deadline).await;
            return NoPull::Missing(format!("nobody publishes {key}"));
        };
        if let Err(why) = ask.hops.check(&self.shared.id) {
            warn!(stream = %key, reason = why, "refused");
            return NoPull::Refused(why);
        }
        let Some(known) = self.start(key, &entry, ask) else {
            let why = format!("too many streams are being pulled to pull {key} as well");
            return NoPull::Unavailable(why);
        };
        let mut progress = known.progress.subscribe();
        loop {
            let now = progress.borrow_and_update().clone();
            let (verdict, until) = match (now.state, now.failure) {
                (State::Flowing(_), _) => {
                    let why = format!("{key} has no key frame to start at");
                    (NoPull::Missing(why), deadline)
                }
                (_, Some(why)) if why.is_missing => {
                    (NoPull::Missing(format!("nobody publishes {key}: {}", why.text)), deadline)
                }
                (_, Some(why)) => {
                    (NoPull::Unavailable(format!("{key} cannot be had: {}", why.text)), deadline)
                }
                (State::GivesWay, None) => {
                    (NoPull::Missing(format!("nobody publishes {key}")), deadline)
                }
                (State::Asking | State::Waiting, None) => {
                    let why = format!("whoever has {key} has not answered");
                    (NoPull::Unavailable(why), deadline + GRACE)
                }
            };
            tokio::select! {
                // It is held here as well, so that there is always one who tells.
                _ = progress.changed() => {}
                () = sleep_until(until) => return verdict,
            }
        }
    }

    /// All of them, in no order.
    pub fn list(&self) -> Vec<PullStatus> {
        let running = self.shared.lock();
        let status = |(key, known): (&StreamKey, &Arc<Known>)| {
            let Progress { state, last_failure, losses, .. } = known.progress.borrow().clone();
            let from = known.entry.pull.from.to_string();
            PullStatus { key: key.clone(), from, state, last_failure, losses }
        };
        running.pulls.iter().map(status).collect()
    }

    /// Where `key` comes from, without secrets, while it is pulled.
    pub fn source_of(&self, key: &StreamKey) -> Option<String> {
        let running = self.shared.lock();
        let known = running.pulls.get(key)?;
        let flows = matches!(known.progress.borrow().state, State::Flowing(_));
        flows.then(|| known.entry.pull.from.to_string())
    }

    fn follow(self: &Arc<Self>, next: Vec<entry::NextEntry>) {
        let ended: Vec<_> = {
            let mut running = self.shared.lock();
            running.entries = entry::put(next, &running.entries);
            let Running { entries, pulls } = &mut *running;
            let goes_on = |key: &StreamKey, known: &Arc<Known>| {
                let single = entries.iter().find(|entry| entry.key.as_ref() == Some(key));
                let of = single.or_else(|| entries.iter().find(|entry| entry.means(key)));
                of.is_some_and(|entry| Arc::ptr_eq(entry, &known.entry))
            };
            pulls.extract_if(|key, known| !goes_on(key, known)).collect()
        };
        ended.iter().for_each(|(_, known)| known.stop.wake());
        if !self.is_over.load(Ordering::Relaxed) {
            self.begin_always();
        }
    }
}

/// Those that are the same as before go on.
impl Part for Pulls {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let entries = entry::read(&next.config)?;
        Ok(Ready::after(move || self.follow(entries)))
    }
}
