//! One stream: its log, who writes it, who reads it.

use std::time::{Duration, Instant};

use weir_media::{Content, Frame, Init, StreamKey};

use crate::{
    Batch, Budget, Ended, Flush, Item, Limits, Log, Publisher, Reader, Start, Timeline, Tracks,
    Wake,
    reader::Cursor,
    registry::{PublishSettings, Shelf},
    session::Session,
    sync::{Arc, Mutex, lock},
};

/// What a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There has not been a publisher yet.
    Waiting,
    /// There is a publisher.
    Live,
    /// The publisher left; another may take over until the linger ends.
    Lingering,
    /// It is over: this reader will get nothing more.
    Ended,
}

/// Figures of one stream.
#[derive(Clone, Debug)]
pub struct StreamStats {
    /// Its name.
    pub key: StreamKey,
    /// What it is doing.
    pub status: Status,
    /// Readers that count as demand.
    pub readers: usize,
    /// Frames published.
    pub frames: u64,
    /// Bytes published.
    pub bytes: u64,
    /// Bytes held in its log.
    pub held: usize,
    /// Timestamps that had to be repaired.
    pub repairs: u64,
    /// When the present publisher came.
    pub since: Option<Instant>,
}

pub(crate) struct Stream {
    pub(crate) key: StreamKey,
    shared: Mutex<Shared>,
}

/// Everything behind the stream's one lock.
struct Shared {
    state: State,
    log: Log<Frame, Arc<Init>>,
    session: Session,
    timeline: Timeline,
    flush: Flush,
    /// Arrival of the oldest frame that readers have not been woken for.
    pending: Option<Instant>,
    readers: Vec<(u64, Interest, Arc<dyn Wake>)>,
    next_id: u64,
    /// The wakers of `readers`, shared with a publisher that wakes them after it let go of the lock.
    wakers: Arc<[Arc<dyn Wake>]>,
    frames: u64,
    bytes: u64,
}

enum State {
    Waiting,
    Live {
        publisher: u64,
        since: Instant,
        heard: Instant,
        linger: Duration,
        replaced: Arc<dyn Wake>,
    },
    Lingering {
        until: Instant,
    },
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Demand,
    Passive,
}

/// Whether a publisher may have the stream.
pub(crate) enum Occupancy {
    Free,
    /// A publisher that was last heard at this moment.
    Taken(Instant),
    /// The stream has ended and is no longer in the registry.
    Gone,
}

impl Stream {
    pub(crate) fn new(key: StreamKey, limits: Limits, budget: Budget) -> Self {
        let shared = Shared {
            state: State::Waiting,
            log: Log::new(limits, budget),
            session: Session::default(),
            timeline: Timeline::default(),
            flush: Flush::Video,
            pending: None,
            readers: Vec::new(),
            next_id: 0,
            wakers: Arc::new([]),
            frames: 0,
            bytes: 0,
        };
        Self { key, shared: Mutex::new(shared) }
    }

    pub(crate) fn occupancy(&self) -> Occupancy {
        match lock(&self.shared).state {
            State::Waiting | State::Lingering { .. } => Occupancy::Free,
            State::Live { heard, .. } => Occupancy::Taken(heard),
            State::Ended => Occupancy::Gone,
        }
    }

    /// Makes a new publisher the stream's own; one that is there is told.
    pub(crate) fn occupy(
        self: &Arc<Self>,
        shelf: &Arc<Shelf>,
        settings: PublishSettings,
        now: Instant,
    ) -> Publisher {
        let mut shared = lock(&self.shared);
        let publisher = shared.next_id;
        shared.next_id += 1;
        shared.flush = settings.flush;
        shared.log.set_limits(settings.limits);
        shared.log.close_groups();
        shared.timeline.restart();
        shared.session = Session::default();
        let state = State::Live {
            publisher,
            since: now,
            heard: now,
            linger: settings.linger,
            replaced: settings.replaced,
        };
        let before = std::mem::replace(&mut shared.state, state);
        let wakers = Arc::clone(&shared.wakers);
        drop(shared);
        if let State::Live { replaced, .. } = before {
            replaced.wake();
        }
        wake_all(&wakers);
        Publisher::new(Arc::clone(self), Arc::clone(shelf), publisher)
    }

    pub(crate) fn add_reader(
        self: &Arc<Self>,
        shelf: &Arc<Shelf>,
        interest: Interest,
        start: Start,
        wake: Arc<dyn Wake>,
    ) -> (Reader, bool) {
        let mut shared = lock(&self.shared);
        let first = interest == Interest::Demand && shared.demand() == 0;
        let id = shared.next_id;
        shared.next_id += 1;
        shared.readers.push((id, interest, wake));
        shared.renew_wakers();
        (Reader::new(Arc::clone(self), Arc::downgrade(shelf), id, start), first)
    }

    /// Whether nobody would miss the stream.
    pub(crate) fn is_idle(&self) -> bool {
        let shared = lock(&self.shared);
        shared.readers.is_empty() && matches!(shared.state, State::Waiting | State::Ended)
    }

    /// Ends the linger if it is over. `Err` has the moment at which it will be.
    pub(crate) fn expire(&self, now: Instant) -> Result<bool, Instant> {
        let mut shared = lock(&self.shared);
        match shared.state {
            State::Lingering { until } if until <= now => {}
            State::Lingering { until } => return Err(until),
            State::Ended => return Ok(true),
            State::Waiting | State::Live { .. } => return Ok(false),
        }
        shared.state = State::Ended;
        let wakers = Arc::clone(&shared.wakers);
        drop(shared);
        wake_all(&wakers);
        Ok(true)
    }

    pub(crate) fn stats(&self) -> StreamStats {
        let shared = lock(&self.shared);
        StreamStats {
            key: self.key.clone(),
            status: shared.status(),
            readers: shared.demand(),
            frames: shared.frames,
            bytes: shared.bytes,
            held: shared.log.bytes(),
            repairs: shared.timeline.repairs(),
            since: match shared.state {
                State::Live { since, .. } => Some(since),
                _ => None,
            },
        }
    }

    pub(crate) fn push(&self, publisher: u64, frame: Frame, now: Instant) -> Result<(), Ended> {
        let mut shared = lock(&self.shared);
        match &mut shared.state {
            State::Live { publisher: current, heard, .. } if *current == publisher => *heard = now,
            _ => return Err(Ended),
        }
        if let Some(wakers) = shared.append(frame, now) {
            drop(shared);
            wake_all(&wakers);
        }
        Ok(())
    }

    pub(crate) fn expect(&self, publisher: u64, tracks: Tracks) {
        let mut shared = lock(&self.shared);
        if matches!(shared.state, State::Live { publisher: current, .. } if current == publisher) {
            shared.session.expected = Some(tracks);
        }
    }

    pub(crate) fn read(&self, cursor: &mut Cursor, batch: &mut Batch) -> Status {
        let shared = lock(&self.shared);
        shared.read(cursor, batch);
        shared.status()
    }

    pub(crate) fn start(&self, cursor: &mut Cursor) -> bool {
        lock(&self.shared).start(cursor, &mut 0)
    }

    pub(crate) fn status(&self) -> Status {
        lock(&self.shared).status()
    }

    pub(crate) fn tracks(&self) -> Tracks {
        lock(&self.shared).session.seen
    }

    /// The publisher has gone. Returns whether it was still the stream's own.
    pub(crate) fn leave(&self, publisher: u64, now: Instant) -> bool {
        let mut shared = lock(&self.shared);
        let linger = match shared.state {
            State::Live { publisher: current, linger, .. } if current == publisher => linger,
            _ => return false,
        };
        shared.state = State::Lingering { until: now + linger };
        shared.pending = None;
        let wakers = Arc::clone(&shared.wakers);
        drop(shared);
        wake_all(&wakers);
        true
    }

    /// Returns whether this was the last reader that counts as demand.
    pub(crate) fn remove_reader(&self, id: u64) -> bool {
        let mut shared = lock(&self.shared);
        let Some(at) = shared.readers.iter().position(|(reader, ..)| *reader == id) else {
            return false;
        };
        let (_, interest, _) = shared.readers.swap_remove(at);
        shared.renew_wakers();
        interest == Interest::Demand && shared.demand() == 0
    }
}

fn wake_all(wakers: &[Arc<dyn Wake>]) {
    for waker in wakers {
        waker.wake();
    }
}

impl Shared {
    fn status(&self) -> Status {
        match self.state {
            State::Waiting => Status::Waiting,
            State::Live { .. } => Status::Live,
            State::Lingering { .. } => Status::Lingering,
            State::Ended => Status::Ended,
        }
    }

    fn demand(&self) -> usize {
        self.readers.iter().filter(|(_, interest, _)| *interest == Interest::Demand).count()
    }

    fn renew_wakers(&mut self) {
        self.wakers = self.readers.iter().map(|(_, _, wake)| Arc::clone(wake)).collect();
    }

    /// Repairs, classifies and stores a frame. Returns who must be woken when a flush is due.
    fn append(&mut self, mut frame: Frame, now: Instant) -> Option<Arc<[Arc<dyn Wake>]>> {
        (frame.dts, frame.epoch) = match frame.content {
            Content::Video { .. } | Content::Audio(_) => {
                self.timeline.place(frame.track, frame.dts.to_wire(), now)
            }
            _ => self.timeline.place_untimed(),
        };
        self.frames += 1;
        self.bytes += frame.body.len() as u64;
        let (was_ready, had_video) = (self.session.ready, self.session.seen.video);
        if !self.session.admit(&frame, now) {
            return None;
        }
        if self.session.seen.video && !had_video {
            // What was sound only until now starts anew with its first picture.
            self.log.close_groups();
        }
        let group = self.session.group(&frame);
        let pending = *self.pending.get_or_insert(now);
        let due = self.flush.is_due(&frame, pending, now) || self.session.ready != was_ready;
        let bytes = frame.body.len() + size_of::<Frame>();
        self.log.push(frame, bytes, group, now);
        due.then(|| {
            self.pending = None;
            Arc::clone(&self.wakers)
        })
    }

    /// Moves `cursor` to where it can read, counting in `skipped` what it missed. False while there is no such place.
    fn start(&self, cursor: &mut Cursor, skipped: &mut u64) -> bool {
        let held_back =
            !self.session.ready && matches!(self.state, State::Waiting | State::Live { .. });
        let newest = || self.log.newest_group().map_or(self.log.end(), |group| group.seq);
        *cursor = match *cursor {
            Cursor::Fresh(_) if held_back => return false,
            Cursor::Fresh(Start::NewestGroup) => Cursor::Seeking(newest()),
            Cursor::Fresh(Start::NextGroup) => Cursor::Seeking(self.log.end()),
            Cursor::At(seq) if seq < self.log.first() => {
                *skipped += newest() - seq;
                Cursor::Seeking(newest())
            }
            placed => placed,
        };
        if let Cursor::Seeking(seq) = *cursor
            && let Some(group) = self.log.next_group(seq)
        {
            *cursor = Cursor::At(group.seq);
        }
        matches!(cursor, Cursor::At(_))
    }

    fn read(&self, cursor: &mut Cursor, batch: &mut Batch) {
        self.start(cursor, &mut batch.skipped);
        let Cursor::At(from) = *cursor else { return };
        let Ok(frames) = self.log.read_from(from) else { return };
        batch.items.extend((from..).zip(frames).map(|(seq, frame)| Item {
            frame: frame.clone(),
            group: self.log.group_at(seq).map(|group| Arc::clone(&group.start)),
        }));
        *cursor = Cursor::At(self.log.end());
    }
}
