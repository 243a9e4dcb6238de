//! One client, as others may know of it, and how it hears that it is to leave.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use weir_media::StreamKey;

use crate::end::{End, Kind};

/// Why a client is asked to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// An operator wants it gone, now.
    Kicked,
    /// The process is going to stop: at the next good moment.
    Draining,
}

impl Farewell {
    /// The end that follows from it.
    pub fn end(self) -> End {
        match self {
            Self::Kicked => End::new(Kind::Kicked, "ended by an operator"),
            Self::Draining => End::new(Kind::Drained, "the server is shutting down"),
        }
    }
}

/// What a client does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activity {
    /// It has not begun anything yet.
    #[default]
    Control,
    /// It publishes.
    Publish,
    /// It plays.
    Play,
}

impl Activity {
    /// Its name in the log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

/// One client, as others may know of it.
#[derive(Debug)]
pub struct Presence {
    /// Its number, unique in this process.
    pub id: u64,
    /// What it speaks.
    pub protocol: &'static str,
    /// When it connected.
    pub since: Instant,
    doing: Mutex<Doing>,
    sent: AtomicU64,
    received: AtomicU64,
    skips: AtomicU32,
    /// In milliseconds; [`UNKNOWN`] where nobody knows.
    behind: AtomicU32,
    farewell: AtomicU8,
    has_ended: AtomicBool,
    is_apart: AtomicBool,
    waker: AtomicWaker,
}

/// What a client does, as it said itself.
#[derive(Clone, Debug)]
pub struct Doing {
    /// Its address.
    pub peer: SocketAddr,
    /// What it does.
    pub activity: Activity,
    /// What it did last: the same, or what it does not do any more.
    pub role: Activity,
    /// The stream that it does, or did, that with.
    pub stream: Option<StreamKey>,
    /// What it has asked for last, with which stream, and has not got.
    pub asks: Option<(Activity, StreamKey)>,
    /// Whether it fetches files, as HLS viewers do, who are known apart from their connections.
    pub fetches: bool,
    /// Whether it is another node of a cluster: an edge that pulls, or pushes.
    pub is_node: bool,
    /// The version of TLS that it speaks; empty without.
    pub tls: &'static str,
    /// The format that it has asked for last: `http-flv`, `ws-ts`.
    pub format: Option<&'static str>,
    /// The URL it connected to, without the stream; for HTTP `http://HOST/APP`.
    pub tc_url: Box<str>,
    /// The page it is embedded in.
    pub page_url: Box<str>,
    /// The Flash file that it says it runs in.
    pub swf_url: Box<str>,
}

/// Figures of a client, about a second old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes sent to it.
    pub sent: u64,
    /// Bytes received from it.
    pub received: u64,
    /// How often it fell behind and was moved to the newest group.
    pub skips: u32,
    /// The age of the oldest bytes that its socket has not taken; zero if it has taken all there are, none if nobody
    /// knows.
    pub behind: Option<Duration>,
}

/// What no age is: some fifty days.
const UNKNOWN: u32 = u32::MAX;

/// What a client does, and with which stream.
pub(super) type Deed = (Activity, Option<StreamKey>);

impl Presence {
    /// One that has just connected.
    pub(super) fn new(id: u64, protocol: &'static str, peer: SocketAddr) -> Self {
        let doing = Doing {
            peer,
            activity: Activity::Control,
            role: Activity::Control,
            stream: None,
            asks: None,
            fetches: false,
            is_node: false,
            tls: "",
            format: None,
            tc_url: Box::default(),
            page_url: Box::default(),
            swf_url: Box::default(),
        };
        Self {
            id,
            protocol,
            since: Instant::now(),
            doing: Mutex::new(doing),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            skips: AtomicU32::new(0),
            behind: AtomicU32::new(UNKNOWN),
            farewell: AtomicU8::new(0),
            has_ended: AtomicBool::new(false),
            is_apart: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// What it does.
    pub fn doing(&self) -> Doing {
        self.lock().clone()
    }

    /// What `read` makes of what it does, without a copy of it. Nothing that waits.
    pub fn read<T>(&self, read: impl FnOnce(&Doing) -> T) -> T {
        read(&self.lock())
    }

    /// What it speaks, by the format that it has asked for if there are several.
    pub fn speaks(&self) -> &'static str {
        self.lock().format.unwrap_or(self.protocol)
    }

    /// The version of TLS that it speaks, for the log; none without.
    pub fn tls(&self) -> Option<&'static str> {
        Some(self.lock().tls).filter(|tls| !tls.is_empty())
    }

    /// What it does, and with which stream.
    pub(super) fn deed(&self) -> Deed {
        let doing = self.lock();
        (doing.activity, doing.stream.clone())
    }

    /// Whether this is what it does.
    pub fn does(&self, activity: Activity) -> bool {
        self.lock().activity == activity
    }

    /// Notes what it does from now on; what it did, and what it does.
    pub(super) fn turn(
        &self,
        activity: Activity,
        stream: Option<&StreamKey>,
    ) -> Option<(Deed, Deed)> {
        let mut doing = self.lock();
        if doing.activity == activity && stream.is_none() {
            return None;
        }
        let did = (doing.activity, doing.stream.clone());
        doing.activity = activity;
        if activity != Activity::Control {
            doing.role = activity;
        }
        if let Some(stream) = stream {
            doing.stream = Some(stream.clone());
        }
        Some((did, (activity, doing.stream.clone())))
    }

    /// The stream that it publishes or plays, or did last.
    pub fn stream(&self) -> Option<StreamKey> {
        self.lock().stream.clone()
    }

    /// It asks for this, and waits for it: what the log and the API say of it until it begins.
    pub fn asks(&self, activity: Activity, stream: &StreamKey) {
        self.lock().asks = Some((activity, stream.clone()));
    }

    /// Notes what else is known of it.
    pub fn note(&self, change: impl FnOnce(&mut Doing)) {
        change(&mut self.lock());
    }

    /// Its figures.
    pub fn figures(&self) -> Figures {
        Figures {
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            skips: self.skips.load(Ordering::Relaxed),
            behind: Some(self.behind.load(Ordering::Relaxed))
                .filter(|millis| *millis != UNKNOWN)
                .map(|millis| Duration::from_millis(millis.into())),
        }
    }

    /// Notes its figures.
    pub fn report(&self, figures: Figures) {
        self.sent.store(figures.sent, Ordering::Relaxed);
        self.received.store(figures.received, Ordering::Relaxed);
        self.skips.store(figures.skips, Ordering::Relaxed);
        let millis = |age: Duration| u32::try_from(age.as_millis()).unwrap_or(UNKNOWN);
        self.behind.store(figures.behind.map_or(UNKNOWN, millis), Ordering::Relaxed);
    }

    /// It is going, and the log is about to say so: nobody finds it any more.
    pub(crate) fn ends(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    /// Whether it is going.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Whether it was set apart.
    pub(super) fn is_apart(&self) -> bool {
        self.is_apart.load(Ordering::Acquire)
    }

    /// Sets it apart: whether it was not yet.
    pub(super) fn set_apart(&self) -> bool {
        !self.is_apart.swap(true, Ordering::AcqRel)
    }

    /// Asks it to leave. Who is on a delivery shard hears of it when the shards are told to look. Being kicked is not
    /// undone by being drained.
    pub fn ask_to_leave(&self, farewell: Farewell) {
        let code = match farewell {
            Farewell::Draining => 1,
            Farewell::Kicked => 2,
        };
        self.farewell.fetch_max(code, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Whether, and why, it is asked to leave.
    pub fn farewell(&self) -> Option<Farewell> {
        match self.farewell.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Farewell::Draining),
            _ => Some(Farewell::Kicked),
        }
    }

    /// The same, for the one task that serves it: it is woken when the answer changes.
    pub fn poll_farewell(&self, cx: &mut Context<'_>) -> Poll<Farewell> {
        self.waker.register(cx.waker());
        self.farewell().map_or(Poll::Pending, Poll::Ready)
    }

    /// No task serves it any more. Its waker would keep the memory of the whole task, some 6 KiB a viewer.
    pub fn leaves_its_task(&self) {
        drop(self.waker.take());
    }

    /// Resolves when it is asked to leave, for the one task that serves it.
    pub async fn until_farewell(&self) -> Farewell {
        poll_fn(|cx| self.poll_farewell(cx)).await
    }

    /// Resolves when it is to leave at once, for the one task that serves it.
    pub async fn until_kicked(&self) {
        poll_fn(|cx| match self.poll_farewell(cx) {
            Poll::Ready(Farewell::Kicked) => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Doing> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
