//! All children: those of published streams, and those that bring streams in.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicUsize},
};

use tokio::sync::watch;
use weir_blocking::Pool;
use weir_config::{Next, Part, Ready, Role, Settings, Unready, Vhost};
use weir_hub::{Reader, Registry, Start, Status};
use weir_intake::WakeSignal;
use weir_media::StreamKey;
use weir_outputs::Output;

use crate::{
    passes::Passes,
    plan::Job,
    process::{Ground, Process, Stopping},
    supervise::{Child, State},
};

/// The programs that run for streams, and those that bring streams in.
pub struct Children {
    ground: Arc<Ground>,
    registry: Registry,
    all: Mutex<All>,
    /// How many are supervised.
    supervised: watch::Sender<usize>,
}

#[derive(Default)]
struct All {
    /// Of each published stream, until it has ended.
    streams: HashMap<StreamKey, Vec<Kept>>,
    /// Those that bring streams in.
    ingests: Vec<Kept>,
    /// Whether streams are brought in.
    begun: bool,
}

/// A child, and what it is there for.
struct Kept {
    key: StreamKey,
    job: Job,
    child: Child,
}

/// How a child is doing.
#[derive(Clone, Debug)]
pub struct ChildStatus {
    /// The stream.
    pub key: StreamKey,
    /// `exec`, `transcode` or `ingest`.
    pub kind: &'static str,
    /// What tells it apart from others of its kind.
    pub name: String,
    /// The stream that it makes here.
    pub makes: Option<StreamKey>,
    /// How it is doing.
    pub state: State,
}

impl Children {
    /// None yet.
    pub fn new(registry: &Registry, settings: &Settings) -> Arc<Self> {
        let ground = Ground {
            settings: settings.clone(),
            passes: Arc::default(),
            stopping: watch::Sender::new(Stopping::No),
            port: OnceLock::new(),
            starter: Pool::new("starting programs", 1),
            running: AtomicUsize::new(0),
        };
        Arc::new(Self {
            ground: Arc::new(ground),
            registry: registry.clone(),
            all: Mutex::default(),
            supervised: watch::Sender::new(0),
        })
    }

    /// What programs show that run here.
    pub fn passes(&self) -> &Arc<Passes> {
        &self.ground.passes
    }

    /// From now on programs find this server where `port` says. The first one who says so counts.
    pub fn open(&self, port: impl Fn() -> io::Result<SocketAddr> + Send + Sync + 'static) {
        // The second one is the doing of whoever starts the server, and harmless.
        let _ = self.ground.port.set(Box::new(port));
    }

    /// Begins to bring streams in.
    pub fn begin(self: &Arc<Self>) {
        let mut all = self.lock();
        all.begun = true;
        self.follow_ingests(&mut all);
    }

    /// Ends what brings streams in: the next process does.
    pub fn end(&self) {
        let mut all = self.lock();
        all.begun = false;
        all.ingests.clear();
    }

    /// How all of them are doing, in no order.
    pub fn list(&self) -> Vec<ChildStatus> {
        let all = self.lock();
        all.streams.values().flatten().chain(&all.ingests).map(Kept::status).collect()
    }

    /// Runs what is to run for `key` by now, and nothing else.
    fn follow_stream(self: &Arc<Self>, all: &mut All, key: &StreamKey) {
        if *self.ground.stopping.borrow() != Stopping::No {
            return;
        }
        let is_made = all.streams.values().flatten().any(|kept| kept.makes().as_ref() == Some(key));
        // Read under the lock: what is put in force after this finds the stream followed.
        let jobs = wanted(&self.ground.settings.vhost(key.vhost()), key, is_made);
        let is_new = !all.streams.contains_key(key);
        if is_new && jobs.is_empty() {
            return;
        }
        let kept = all.streams.entry(key.clone()).or_default();
        self.keep(kept, jobs.into_iter().map(|job| (key.clone(), job)).collect());
        if is_new {
            tokio::spawn(Arc::clone(self).watch(key.clone()));
        }
    }

    fn follow_ingests(self: &Arc<Self>, all: &mut All) {
        let config = self.ground.settings.now();
        if !all.begun || config.role == Role::Edge {
            return;
        }
        let wanted = config
            .ingest
            .iter()
            .filter_map(|ingest| Some((config.ingested(ingest)?, Job::Ingest(ingest.clone()))));
        self.keep(&mut all.ingests, wanted.collect());
    }

    /// Leaves those in `kept` that are `wanted`, and adds those that are missing.
    fn keep(&self, kept: &mut Vec<Kept>, wanted: Vec<(StreamKey, Job)>) {
        let is = |kept: &Kept, (key, job): &(StreamKey, Job)| kept.key == *key && kept.job == *job;
        kept.retain(|kept| wanted.iter().any(|wanted| is(kept, wanted)));
        for one in wanted {
            if kept.iter().any(|kept| is(kept, &one)) {
                continue;
            }
            let (key, job) = one;
            let ground = Arc::clone(&self.ground);
            let process = Process { ground, job: job.clone(), key: key.clone() };
            let (child, supervised) = Child::new(process);
            let counted = Counted::new(&self.supervised);
            tokio::spawn(async move {
                supervised.await;
                drop(counted);
            });
            kept.push(Kept { key, job, child });
        }
    }

    /// Ends the children of `key` when the stream has ended.
    async fn watch(self: Arc<Self>, key: StreamKey) {
        loop {
            self.until_ended(&key).await;
            let mut all = self.lock();
            // Who publishes in this moment has found the stream followed.
            let is_live = self.registry.status(&key) == Some(Status::Live);
            if !is_live || *self.ground.stopping.borrow() == Stopping::Now {
                all.streams.remove(&key);
                return;
            }
        }
    }

    async fn until_ended(&self, key: &StreamKey) {
        let signal = Arc::new(WakeSignal::default());
        let reader = self.registry.follow(key, Start::NextGroup, Arc::clone(&signal) as _);
        let mut stopping = self.ground.stopping.subscribe();
        while !is_over(&reader, *stopping.borrow_and_update()) {
            tokio::select! {
                () = signal.rang() => {}
                _ = stopping.changed() => {}
            }
        }
    }

    /// Follows all streams that are published now.
    fn follow_all(self: &Arc<Self>) {
        let mut all = self.lock();
        let published = self.registry.stats().into_iter().filter(|it| is_published(it.status));
        let mut keys: Vec<_> = published.map(|stream| stream.key).collect();
        keys.extend(all.streams.keys().cloned());
        keys.iter().for_each(|key| self.follow_stream(&mut all, key));
        self.follow_ingests(&mut all);
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to run for `key`. A stream that was made of another one is not made into a third.
fn wanted(vhost: &Vhost, key: &StreamKey, is_made: bool) -> Vec<Job> {
    let means = |streams: &[weir_config::StreamPattern]| {
        streams.iter().any(|pattern| pattern.matches(key.app(), key.stream()))
    };
    let exec = vhost.exec.iter().filter(|it| means(&it.streams)).cloned().map(Job::Exec);
    let transcode = vhost.transcode.iter().filter(|it| !is_made && means(&it.streams));
    exec.chain(transcode.cloned().map(Job::Transcode)).collect()
}

fn is_published(status: Status) -> bool {
    matches!(status, Status::Live | Status::Lingering)
}

/// Whether a stream needs no children any more. One that waits is another one of that name, which nobody publishes.
fn is_over(reader: &Reader, stopping: Stopping) -> bool {
    match (reader.status(), stopping) {
        (Status::Ended | Status::Waiting, _) | (_, Stopping::Now) => true,
        (status, Stopping::WithStreams) => status != Status::Live,
        (_, Stopping::No) => false,
    }
}

impl Kept {
    fn makes(&self) -> Option<StreamKey> {
        self.job.makes(&self.key)
    }

    fn status(&self) -> ChildStatus {
        ChildStatus {
            key: self.key.clone(),
            kind: self.job.kind(),
            name: self.job.name().to_owned(),
            makes: self.makes(),
            state: self.child.state(),
        }
    }
}

/// One of those that are supervised.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Children whose lines are the same as before go on.
impl Part for Children {
    fn prepare(self: Arc<Self>, _: &Next) -> Result<Ready, Unready> {
        Ok(Ready::after(move || self.follow_all()))
    }
}

impl Output for Children {
    fn follow(self: Arc<Self>, key: &StreamKey) {
        let mut all = self.lock();
        self.follow_stream(&mut all, key);
    }

    fn leave_open(&self) {
        self.ground.stopping.send_replace(Stopping::WithStreams);
    }

    fn go_on(&self) {
        self.ground.stopping.send_replace(Stopping::No);
    }

    fn finish(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.ground.stopping.send_replace(Stopping::Now);
        let ended = std::mem::take(&mut *self.lock());
        drop(ended);
        Box::pin(async {
            // The sender is ours, so that it cannot be gone.
            let _ = self.supervised.subscribe().wait_for(|count| *count == 0).await;
        })
    }
}
