//! The task that records one stream.

use std::{
    future::pending,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{info, warn};
use weir_clients::{
    counts::COUNTS,
    events::{EVENTS, EventKind},
};
use weir_config::Record;
use weir_hub::{Batch, Item, Reader, Registry, Start, Status, Wake};
use weir_media::{Charge, StreamKey, Use};

use super::{
    cutter::{Cutter, Op},
    lane::{Lane, Written},
    places::Places,
    sink::Sink,
};
use crate::{finished::Finished, hls::Stopping};

/// How often a stream is read: 300 recordings that were woken for each picture would cost more than what they write.
const PACE: Duration = Duration::from_millis(200);

/// How long what could be written waits for more: what a `kill -9` may cost.
const FLUSH: Duration = Duration::from_secs(1);

/// Frames that are taken from the log at a time.
const BATCH_BYTES: usize = 1024 * 1024;

/// What a recording may hold, whatever room there is: some seconds of the largest streams.
const HELD_MAX: usize = 32 * 1024 * 1024;

/// How long the disk is waited for while frames of a burst are in the log, which keeps them for half a second.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long after a failure the next file is tried, with the next group.
const RETRY: Duration = Duration::from_secs(5);

/// How long the end of a file is waited for once another folder is in force.
const LEAVING: Duration = Duration::from_secs(5);

/// Files that a stream may begin at once, and one a second after that: a publisher that says another codec with each
/// group must not fill a folder.
const FILES_AT_ONCE: u32 = 20;

/// What is wanted of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// What is in force.
    pub record: Record,
    /// What somebody has asked for, whatever the patterns say.
    pub asked: Option<bool>,
}

/// What a recording is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doing {
    /// How it goes.
    pub state: State,
    /// The present file, below the folder, and its bytes.
    pub file: Option<(PathBuf, u64)>,
    /// When this recording began.
    pub since: SystemTime,
    /// Groups that were left out so far.
    pub dropped: u64,
}

/// How it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is written yet.
    Starting,
    /// It is written.
    Recording,
    /// It cannot be written, for this reason; it is tried again.
    Failing(Arc<str>),
    /// The container has no room for it.
    Unsupported(Arc<str>),
    /// It was asked to stop.
    Stopped,
}

/// What a recorder tells others, is told, and uses.
pub struct RecorderLinks {
    pub orders: watch::Receiver<Orders>,
    pub doing: watch::Sender<Doing>,
    pub stopping: watch::Receiver<Stopping>,
    pub places: Arc<Places>,
    pub finished: Arc<Finished>,
}

/// Records one stream.
pub struct Recorder {
    key: StreamKey,
    registry: Registry,
    links: RecorderLinks,
    reader: Reader,
    signal: Arc<News>,
    record: Record,
    cutter: Cutter,
    lane: Lane,
    ops: Vec<Op>,
    charge: Charge,
    /// Whether the group at hand is being left out.
    is_dropping: bool,
    /// Publishers that the stream has had, as far as that is known.
    publishers: u64,
    /// What comes next is of another publisher than the file.
    is_succeeded: bool,
    /// No file begins before this.
    not_before: Option<Instant>,
    flushed: Instant,
    began: Instant,
    files: u32,
    said_left_out: bool,
}

/// There is something to read in the stream's log.
#[derive(Debug, Default)]
struct News(Notify);

impl Wake for News {
    fn wake(&self) {
        self.0.notify_one();
    }
}

impl Orders {
    /// Whether `key` is to be recorded.
    pub fn want(&self, key: &StreamKey) -> bool {
        let Self { record, asked } = self;
        record.is_possible() && asked.unwrap_or_else(|| record.matches(key.app(), key.stream()))
    }
}

impl Recorder {
    /// A recorder of `key`, from its oldest frame that is there, or from the newest group.
    pub fn new(registry: &Registry, key: &StreamKey, start: Start, links: RecorderLinks) -> Self {
        let signal = Arc::new(News::default());
        let record = links.orders.borrow().record.clone();
        let now = Instant::now();
        Self {
            reader: registry.follow(key, start, Arc::clone(&signal) as _),
            cutter: Cutter::new(record.container, record.split.clone()),
            lane: Lane::new(sink(key, &record, &links)),
            charge: Charge::new(registry.budget(), Use::Recordings),
            key: key.clone(),
            registry: registry.clone(),
            links,
            signal,
            record,
            ops: Vec::new(),
            is_dropping: false,
            publishers: 0,
            is_succeeded: false,
            not_before: None,
            flushed: now,
            began: now,
            files: 0,
            said_left_out: false,
        }
    }

    /// Whether the stream is published, and to be recorded.
    pub fn is_wanted(&self) -> bool {
        let is_published = self.reader.status() != Status::Waiting;
        is_published && self.links.orders.borrow().want(&self.key)
    }

    /// Whether somebody wants it not to be recorded for as long as it is published.
    pub fn is_stopped(&self) -> bool {
        let is_live = matches!(self.reader.status(), Status::Live | Status::Lingering);
        is_live && self.links.orders.borrow().asked == Some(false)
    }

    /// Begins where the stream is now: what was published while it was not recorded has gone by.
    pub fn begin_anew(&mut self) {
        (self.is_dropping, self.not_before) = (false, None);
        self.links.doing.send_modify(|doing| doing.state = State::Starting);
    }

    /// Resolves when there are other orders, or the stream or the process ends. Until then nothing of it is held.
    pub async fn until_asked(&mut self) {
        let mut stopping = self.links.stopping.clone();
        while self.is_stopped() {
            tokio::select! {
                () = async { sleep(PACE).await; self.signal.0.notified().await } => {}
                () = changed(&mut self.links.orders) => {
                    self.links.orders.mark_changed();
                    break;
                }
                () = more_than(&mut stopping, Stopping::No) => return,
            }
        }
        let signal = Arc::clone(&self.signal) as _;
        self.reader = self.registry.follow(&self.key, Start::NewestGroup, signal);
    }

    /// Records until the stream has ended, is not to be recorded any more, or the process stops, and all is written.
    pub async fn run(&mut self) {
        let mut batch = Batch::default();
        loop {
            self.follow_orders().await;
            let is_wanted = self.links.orders.borrow().want(&self.key);
            let status = self.reader.read_some(&mut batch, BATCH_BYTES);
            let stopping = *self.links.stopping.borrow();
            let publishers = self.reader.publishers();
            self.is_succeeded |= std::mem::replace(&mut self.publishers, publishers) != publishers;
            if is_wanted {
                self.take(&mut batch);
            }
            if status == Status::Lingering && self.record.split.publisher && !batch.has_more {
                self.cutter.end(&mut self.ops);
            }
            if is_wanted && batch.has_more {
                self.go_on();
                self.keep_pace().await;
                continue;
            }
            let is_left = !matches!(status, Status::Live | Status::Waiting);
            let is_last = match stopping {
                Stopping::No => status == Status::Ended || status == Status::Waiting,
                Stopping::WithPublishers => is_left,
                Stopping::Now => true,
            };
            if is_last || !is_wanted {
                if status == Status::Ended {
                    // The stream that ended is not the one that may come while the end is written.
                    self.read_anew();
                }
                return self.complete().await;
            }
            if self.flushed.elapsed() >= FLUSH {
                self.flushed = Instant::now();
                self.cutter.flush(&mut self.ops);
            }
            self.go_on();
            self.wait(stopping).await;
        }
    }

    /// While there is more to read, the disk is waited for before too much is held: the log keeps it for a moment.
    async fn keep_pace(&mut self) {
        if self.held() < HELD_MAX / 2 && self.charge.fits(BATCH_BYTES) {
            return tokio::task::yield_now().await;
        }
        if let Ok(written) = timeout(PATIENCE, self.lane.written()).await {
            self.note(written);
        }
    }

    async fn wait(&mut self, stopping: Stopping) {
        let signal = Arc::clone(&self.signal);
        let news = async {
            sleep(PACE).await;
            signal.0.notified().await;
        };
        let (flush, holds) = (self.flushed + FLUSH, self.cutter.held() > 0);
        tokio::select! {
            () = news => {}
            () = sleep_until(flush), if holds => {}
            written = self.lane.written() => self.note(written),
            () = changed(&mut self.links.orders) => self.links.orders.mark_changed(),
            () = more_than(&mut self.links.stopping, stopping) => {}
        }
    }

    fn read_anew(&mut self) {
        let signal = Arc::clone(&self.signal) as _;
        self.reader = self.registry.follow(&self.key, Start::OldestGroup, signal);
    }

    /// Takes up what is in force. What the file at hand has is written where it is.
    async fn follow_orders(&mut self) {
        if !self.links.orders.has_changed().unwrap_or_default() {
            return;
        }
        let new = self.links.orders.borrow_and_update().record.clone();
        let moves = (&new.dir, &new.path) != (&self.record.dir, &self.record.path);
        self.cutter.reconfigure(new.container, new.split.clone(), moves);
        if moves {
            self.cutter.end(&mut self.ops);
            self.go_on();
            // What hangs is completed by whoever looks through the folder later.
            let _ = timeout(LEAVING, self.until_written()).await;
            self.lane = Lane::new(sink(&self.key, &new, &self.links));
        }
        self.record = new;
    }

    fn take(&mut self, batch: &mut Batch) {
        if batch.skipped > 0 {
            let frames = batch.skipped;
            warn!(stream = %self.key, frames, "a recording fell behind: frames are missing");
            self.drop_group();
        }
        for item in batch.items.drain(..) {
            self.take_one(&item);
        }
        self.charge.set(self.held());
        if let Some(reason) = self.cutter.newly_left_out() {
            self.leave_out(&reason);
        }
    }

    fn take_one(&mut self, item: &Item) {
        if self.is_succeeded
            && (!self.cutter.is_open() || self.cutter.is_of_another_run(&item.frame))
        {
            self.is_succeeded = false;
            if self.record.split.publisher {
                self.cutter.end(&mut self.ops);
            }
        }
        let bytes = item.frame.body.len();
        if item.group.is_some() {
            let has_room = self.has_room(bytes) && !self.lane.hangs() && self.may_begin();
            match (has_room, self.is_dropping) {
                (true, _) => self.is_dropping = false,
                (false, _) => self.drop_group(),
            }
        } else if !self.is_dropping && self.cutter.is_open() && !self.has_room(bytes) {
            self.drop_group();
        }
        if !self.is_dropping {
            let was_open = self.cutter.is_open();
            self.cutter.push(item, &mut self.ops);
            self.files += u32::from(!was_open && self.cutter.is_open());
        }
    }

    fn held(&self) -> usize {
        let ops = self.ops.iter().map(|op| if let Op::Data(data) = op { data.len() } else { 0 });
        self.cutter.held() + self.lane.held() + ops.sum::<usize>()
    }

    /// Whether there is room for a frame of so many bytes.
    fn has_room(&mut self, bytes: usize) -> bool {
        let held = self.held() + bytes;
        let more = held.saturating_sub(self.charge.bytes());
        held <= HELD_MAX && (more == 0 || self.charge.fits(more))
    }

    /// Whether a file may begin now, if none is open.
    fn may_begin(&mut self) -> bool {
        if self.cutter.is_open() {
            return true;
        }
        let allowed = self.began.elapsed().as_secs().saturating_add(FILES_AT_ONCE.into());
        if u64::from(self.files) >= allowed {
            return false;
        }
        self.not_before.is_none_or(|until| Instant::now() >= until)
    }

    /// Leaves out what comes until the next group.
    fn drop_group(&mut self) {
        self.is_dropping = true;
        COUNTS.record_groups_dropped.increase();
        self.links.doing.send_modify(|doing| doing.dropped += 1);
        self.cutter.skip(&mut self.ops);
    }

    fn leave_out(&mut self, reason: &str) {
        if self.cutter.is_unfit() {
            self.tell(State::Unsupported(reason.into()));
        }
        if !std::mem::replace(&mut self.said_left_out, true) {
            warn!(stream = %self.key, %reason, "the recording omits a track; container: flv carries all");
        }
    }

    /// Has written what there is to write.
    fn go_on(&mut self) {
        self.lane.push(&mut self.ops);
        self.lane.start();
        self.charge.set(self.held());
    }

    fn note(&mut self, written: Written) {
        let place = self.links.places.at(&self.record.dir);
        let dir = place.disk.dir();
        match written {
            Written::Done => {
                place.health.wrote(dir);
                let file = self.lane.sink().and_then(Sink::present);
                self.links.doing.send_if_modified(|doing| {
                    let is_on = file.is_some() || matches!(doing.state, State::Failing(_));
                    if is_on && !matches!(doing.state, State::Unsupported(_)) {
                        if matches!(doing.state, State::Starting) {
                            EVENTS.note(EventKind::RecordingBegan, Some(&self.key), None, "");
                        }
                        doing.state = State::Recording;
                    }
                    doing.file = file;
                    true
                });
            }
            Written::Hangs(error) => {
                place.health.failed(dir, &self.key, &error);
                self.tell(State::Failing(error.to_string().into()));
            }
            Written::Failed(error) => {
                place.health.failed(dir, &self.key, &error);
                self.tell(State::Failing(error.to_string().into()));
                self.links.doing.send_modify(|doing| doing.file = None);
                // Everything of the file that is lost; the next one begins with a group.
                self.ops.clear();
                self.lane.clear();
                self.cutter.abandon();
                self.drop_group();
                self.not_before = Some(Instant::now() + RETRY);
                if self.lane.sink().is_none() {
                    self.lane.replace(sink(&self.key, &self.record, &self.links));
                }
            }
        }
        self.go_on();
    }

    fn tell(&self, state: State) {
        self.links.doing.send_modify(|doing| doing.state = state);
    }

    /// Ends the file, and resolves when all is written, or cannot be.
    async fn complete(&mut self) {
        self.cutter.end(&mut self.ops);
        self.go_on();
        self.until_written().await;
        self.links.doing.send_modify(|doing| {
            (doing.file, doing.state) = (None, State::Stopped);
        });
        if self.files > 0 {
            info!(stream = %self.key, "recording ended");
        }
    }
}

impl Recorder {
    async fn until_written(&mut self) {
        while !self.lane.is_idle() {
            let written = self.lane.written().await;
            self.note(written);
        }
    }
}

/// Writes the files of `key` as `record` says. The template was looked at when the configuration came in force.
fn sink(key: &StreamKey, record: &Record, links: &RecorderLinks) -> Sink {
    Sink::new(&links.places.at(&record.dir), key, &record.path, &links.finished)
}

/// Resolves when there are other orders.
async fn changed(orders: &mut watch::Receiver<Orders>) {
    if orders.changed().await.is_err() {
        pending::<()>().await;
    }
}

/// Resolves when it becomes more urgent than it was.
async fn more_than(stopping: &mut watch::Receiver<Stopping>, known: Stopping) {
    if stopping.wait_for(|stopping| *stopping > known).await.is_err() {
        pending::<()>().await;
    }
}
