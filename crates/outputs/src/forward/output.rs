//! The targets of all streams.

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::watch;
use weir_config::{ForwardTarget, Next, Part, Ready, Role, Settings, Unready};
use weir_hub::{Registry, Status as StreamStatus};
use weir_media::StreamKey;
use weir_upstream::{Hops, NodeId};

use super::{
    ground::{Ground, Stopping},
    status::{ForwardStatus, Status},
    target::{Targets, Wanted, wanted},
    task::{Over, Task},
    tls::{NextTrusts, Trusts},
};
use crate::output::Output;

/// Streams that are looked through for those that have ended, at least.
const TIDY_MIN: usize = 64;

/// Forwards streams to other servers.
pub struct ForwardOutput {
    ground: Arc<Ground>,
    streams: Mutex<Streams>,
    /// Who knows more targets; set while the server starts.
    more: OnceLock<Arc<dyn Targets>>,
    /// How many tasks there are.
    running: watch::Sender<usize>,
}

#[derive(Default)]
struct Streams {
    all: HashMap<StreamKey, Forwarded>,
    /// What publishers that are about to be followed came through.
    arriving: HashMap<StreamKey, Hops>,
    /// How many tasks there have been.
    tasks: u64,
    /// With how many streams those that have ended are forgotten next.
    tidy_at: usize,
}

/// A stream that has targets, or could have some.
#[derive(Default)]
struct Forwarded {
    /// The servers that its publisher has come through.
    hops: Arc<Mutex<Hops>>,
    /// The targets that were answered at its last publish.
    asked: Vec<ForwardTarget>,
    running: Vec<Running>,
}

/// A target, and what its task is told and says.
struct Running {
    id: u64,
    wanted: Wanted,
    status: Arc<Status>,
    /// Ends it by being dropped.
    _stop: watch::Sender<()>,
}

impl ForwardOutput {
    /// Nothing is forwarded yet.
    ///
    /// # Errors
    /// When no random bytes from the system, or a file that `forward` names is not to be had.
    pub fn new(registry: &Registry, settings: &Settings) -> io::Result<Arc<Self>> {
        let trusts = Trusts::default();
        trusts.follow(NextTrusts::read(&settings.now()).map_err(io::Error::other)?);
        let ground = Ground {
            id: NodeId::random()?,
            registry: registry.clone(),
            settings: settings.clone(),
            trusts,
            stopping: watch::Sender::new(Stopping::No),
        };
        Ok(Arc::new(Self {
            ground: Arc::new(ground),
            streams: Mutex::default(),
            more: OnceLock::new(),
            running: watch::Sender::new(0),
        }))
    }

    /// Asks `targets` for more at each publish, from now on. The first one who says so is asked.
    pub fn ask(&self, targets: Arc<dyn Targets>) {
        // The second one is the doing of whoever starts the server, and harmless.
        let _ = self.more.set(targets);
    }

    /// Whether a stream may be published here that has come through these servers.
    ///
    /// # Errors
    /// When this server is one of them: the stream would go in circles.
    pub fn check(&self, hops: &Hops) -> Result<(), String> {
        if hops.has(&self.ground.id) {
            return Err(format!(
                "a loop: the stream came back through {hops}; a target of forward leads to this server"
            ));
        }
        Ok(())
    }

    /// The publisher of `key`, which is [followed](Output::follow) next, has come through these servers.
    pub fn arrives(&self, key: &StreamKey, hops: &Hops) {
        if !hops.is_empty() {
            self.lock().arriving.insert(key.clone(), hops.clone());
        }
    }

    /// Takes in other files of `forward.ca`. It blocks.
    pub fn look(&self) {
        self.ground.trusts.look();
    }

    /// How the targets of `key` are doing.
    pub fn status(&self, key: &StreamKey) -> Vec<ForwardStatus> {
        let streams = self.lock();
        let running = streams.all.get(key).into_iter().flat_map(|it| &it.running);
        running.map(|it| it.status.now()).collect()
    }

    /// The same of all streams.
    pub fn all(&self) -> Vec<ForwardStatus> {
        let streams = self.lock();
        streams.all.values().flat_map(|it| &it.running).map(|it| it.status.now()).collect()
    }

    /// Whether the task `id` of `key` is not needed any more. Then it is forgotten.
    fn is_done(&self, key: &StreamKey, id: u64, over: Over) -> bool {
        let mut streams = self.lock();
        let stops = *self.ground.stopping.borrow() != Stopping::No;
        if let Some(forwarded) = streams.all.get_mut(key) {
            let is_live = self.ground.registry.status(key) == Some(StreamStatus::Live);
            let is_there = forwarded.running.iter().any(|it| it.id == id);
            if over == Over::Ended && is_live && is_there && !stops {
                return false;
            }
            forwarded.running.retain(|it| it.id != id);
            if forwarded.running.is_empty() && !is_live {
                streams.all.remove(key);
            }
        }
        drop(streams);
        self.running.send_modify(|tasks| *tasks -= 1);
        true
    }

    /// Forwards `key` to the targets that it has by now, and to no other.
    fn follow_targets(self: &Arc<Self>, streams: &mut Streams, key: &StreamKey) {
        if *self.ground.stopping.borrow() != Stopping::No {
            return;
        }
        let Streams { all, tasks, .. } = streams;
        let Some(forwarded) = all.get_mut(key) else { return };
        // Read under the lock: what is put in force after this finds the stream followed.
        let vhost = self.ground.settings.vhost(key.vhost());
        let targets = wanted(&vhost, key, &forwarded.asked);
        forwarded.running.retain(|it| targets.contains(&it.wanted));
        for wanted in targets {
            if forwarded.running.iter().any(|it| it.wanted == wanted) {
                continue;
            }
            *tasks += 1;
            let (id, status) = (*tasks, Arc::new(Status::new(wanted.target.to_string())));
            let (told, stop) = watch::channel(());
            let task = Task {
                key: key.clone(),
                wanted: wanted.clone(),
                hops: Arc::clone(&forwarded.hops),
                status: Arc::clone(&status),
                ground: Arc::clone(&self.ground),
                stop,
            };
            forwarded.running.push(Running { id, wanted, status, _stop: told });
            self.running.send_modify(|tasks| *tasks += 1);
            tokio::spawn(Arc::clone(self).run(id, task));
        }
    }

    /// Runs a task, from publish to publish, until its target is not wanted any more.
    async fn run(self: Arc<Self>, id: u64, task: Task) {
        loop {
            let over = task.run().await;
            // Who publishes in this moment has found a task.
            if self.is_done(&task.key, id, over) {
                return;
            }
        }
    }

    /// Asks for more targets of `key`, and forwards it to them.
    async fn ask_for(self: Arc<Self>, more: Arc<dyn Targets>, key: StreamKey) {
        let Some(asked) = more.targets(&key).await else { return };
        let mut streams = self.lock();
        // It may have ended in the meantime.
        if let Some(forwarded) = streams.all.get_mut(&key) {
            forwarded.asked = asked;
            self.follow_targets(&mut streams, &key);
        }
    }

    /// Forgets streams that have no targets and have ended.
    fn tidy(&self, streams: &mut Streams) {
        if streams.all.len() < streams.tidy_at {
            return;
        }
        let is_here = |key: &StreamKey| self.ground.registry.status(key).is_some_and(is_published);
        streams.all.retain(|key, it| !it.running.is_empty() || is_here(key));
        // Twice as many: looking through them costs each publish no more than a few of them.
        streams.tidy_at = (2 * streams.all.len()).max(TIDY_MIN);
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_published(status: StreamStatus) -> bool {
    matches!(status, StreamStatus::Live | StreamStatus::Lingering)
}

impl Part for ForwardOutput {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let trusts = match next.config.role {
            Role::Origin => Some(NextTrusts::read(&next.config)?),
            Role::Edge => None,
        };
        Ok(Ready::after(move || {
            trusts.into_iter().for_each(|trusts| self.ground.trusts.follow(trusts));
            let mut streams = self.lock();
            let published =
                self.ground.registry.stats().into_iter().filter(|it| is_published(it.status));
            for stream in published {
                streams.all.entry(stream.key.clone()).or_default();
            }
            let keys: Vec<_> = streams.all.keys().cloned().collect();
            keys.iter().for_each(|key| self.follow_targets(&mut streams, key));
        }))
    }
}

impl Output for ForwardOutput {
    fn follow(self: Arc<Self>, key: &StreamKey) {
        let mut streams = self.lock();
        self.tidy(&mut streams);
        let hops = streams.arriving.remove(key).unwrap_or_default();
        let forwarded = streams.all.entry(key.clone()).or_default();
        *forwarded.hops.lock().unwrap_or_else(PoisonError::into_inner) = hops;
        self.follow_targets(&mut streams, key);
        drop(streams);
        if let Some(more) = self.more.get() {
            tokio::spawn(Arc::clone(&self).ask_for(Arc::clone(more), key.clone()));
        }
    }

    fn leave_open(&self) {
        self.ground.stopping.send_replace(Stopping::WithPublishers);
    }

    fn go_on(&self) {
        self.ground.stopping.send_replace(Stopping::No);
    }

    fn finish(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.ground.stopping.send_replace(Stopping::Now);
        Box::pin(async {
            // The sender is ours, so that it cannot be gone.
            let _ = self.running.subscribe().wait_for(|tasks| *tasks == 0).await;
        })
    }
}
