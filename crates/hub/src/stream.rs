//! One stream: its log, who writes it, who reads it.

use std::time::{Duration, Instant};

use weir_media::{AudioCodec, Content, Frame, Init, StreamKey, VideoCodec};

use crate::{
    Batch, Budget, Flush, Item, Limits, Log, PublishSettings, Start, Timeline, Totals, Tracks,
    Wake,
    cursor::Cursor,
    session::Session,
    sync::{Arc, Mutex, lock},
};

/// The stream is not this publisher's any more: another one took over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another publisher took over")]
pub struct Ended;

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
    /// Pictures published.
    pub pictures: u64,
    /// Packets of sound published.
    pub sounds: u64,
    /// How long the last whole group was; none before there was one.
    pub group: Option<Duration>,
    /// What the pictures are coded with, as they came last.
    pub video: Option<VideoCodec>,
    /// What the sound is coded with, as it came last.
    pub audio: Option<AudioCodec>,
    /// The metadata and configuration records of the present or last publisher.
    pub init: Arc<Init>,
}

impl StreamStats {
    /// Those of a stream that is not in the registry.
    pub fn absent(key: StreamKey) -> Self {
        Self {
            key,
            status: Status::Ended,
            readers: 0,
            frames: 0,
            bytes: 0,
            held: 0,
            repairs: 0,
            since: None,
            pictures: 0,
            sounds: 0,
            group: None,
            video: None,
            audio: None,
            init: Arc::default(),
        }
    }
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
    readers: Vec<Member>,
    next_id: u64,
    /// How many publishers it has had.
    publishers: u64,
    /// The wakers of `readers`, made when they are next needed after a change: many readers that come at once cost one
    /// list.
    wakers: Option<Arc<[Arc<dyn Wake>]>>,
    frames: u64,
    bytes: u64,
    totals: Totals,
    pictures: u64,
    sounds: u64,
}

enum State {
    Waiting,
    Live {
        publisher: u64,
        since: Instant,
        heard: Instant,
        linger: Duration,
        replaced: Arc<dyn Wake>,
        /// Anybody may take the stream from it.
        stands_in: bool,
    },
    Lingering {
        /// None is for ever: a linger beyond what the clock can say.
        until: Option<Instant>,
    },
    Ended,
}

/// A reader as the stream knows it.
struct Member {
    id: u64,
    interest: Interest,
    wake: Arc<dyn Wake>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Demand,
    Passive,
}

/// Who is to be woken after every lock has been released: what they do may use, or drop, a handle of this very stream.
#[must_use = "somebody waits for these"]
pub(crate) struct Calls {
    replaced: Option<Arc<dyn Wake>>,
    readers: Arc<[Arc<dyn Wake>]>,
}

impl Calls {
    pub(crate) fn make(self) {
        for wake in self.replaced.iter().chain(&*self.readers) {
            wake.wake();
        }
    }
}

/// What became of a stream's linger.
pub(crate) enum Expiry {
    /// It does not linger, or does so for ever.
    None,
    /// It will be over at this moment.
    Until(Instant),
    /// It was over, so the stream has ended.
    Ended(Calls),
}

impl Stream {
    pub(crate) fn new(key: StreamKey, limits: Limits, budget: Budget, totals: Totals) -> Self {
        let shared = Shared {
            state: State::Waiting,
            log: Log::new(limits, &budget),
            session: Session::new(budget),
            timeline: Timeline::default(),
            flush: Flush::Video,
            pending: None,
            readers: Vec::new(),
            next_id: 0,
            publishers: 0,
            wakers: None,
            frames: 0,
            bytes: 0,
            totals,
            pictures: 0,
            sounds: 0,
        };
        Self { key, shared: Mutex::new(shared) }
    }

    /// When the present publisher was last heard, if there is one that the stream cannot simply be taken from.
    pub(crate) fn heard(&self) -> Option<Instant> {
        match lock(&self.shared).state {
            State::Live { heard, stands_in: false, .. } => Some(heard),
            State::Live { .. } | State::Waiting | State::Lingering { .. } | State::Ended => None,
        }
    }

    /// Makes a new publisher the stream's own and returns its id.
    pub(crate) fn occupy(&self, settings: PublishSettings, now: Instant) -> (u64, Calls) {
        let mut shared = lock(&self.shared);
        let (publisher, before) = shared.occupy(settings, now, false);
        let replaced = match before {
            State::Live { replaced, .. } => Some(replaced),
            State::Waiting | State::Lingering { .. } | State::Ended => None,
        };
        (publisher, Calls { replaced, readers: shared.wakers() })
    }

    /// Makes a stand-in the stream's publisher in the place of `publisher`, and returns its id; none if the stream is
    /// not `publisher`'s any more.
    pub(crate) fn stand_in(
        &self,
        publisher: u64,
        settings: PublishSettings,
        now: Instant,
    ) -> Option<u64> {
        let mut shared = lock(&self.shared);
        if !matches!(shared.state, State::Live { publisher: current, .. } if current == publisher) {
            return None;
        }
        let (id, before) = shared.occupy(settings, now, true);
        let calls = Calls { replaced: None, readers: shared.wakers() };
        drop(shared);
        // Outside the lock: its waker may own a handle.
        drop(before);
        calls.make();
        Some(id)
    }

    /// Changes what the present publisher brought, if there is one. What waits for the old flush goes with the next
    /// frame that the new one is due for.
    pub(crate) fn reconfigure(&self, flush: Flush, limits: Limits) {
        let mut shared = lock(&self.shared);
        if matches!(shared.state, State::Live { .. }) {
            shared.flush = flush;
            shared.log.set_limits(limits);
        }
    }

    /// Takes a reader in: its id and place, and whether it is the first that counts as demand.
    pub(crate) fn add_reader(
        &self,
        interest: Interest,
        start: Start,
        wake: Arc<dyn Wake>,
    ) -> (u64, Cursor, bool) {
        let mut shared = lock(&self.shared);
        let first = interest == Interest::Demand && shared.demand() == 0;
        let id = shared.take_id();
        shared.readers.push(Member { id, interest, wake });
        shared.wakers = None;
        let cursor = match start {
            Start::NewestGroup => Cursor::Seeking(0),
            Start::NextGroup => Cursor::Seeking(shared.log.end()),
            Start::OldestGroup => Cursor::SeekingOldest,
        };
        (id, cursor, first)
    }

    /// Whether nobody would miss the stream.
    pub(crate) fn is_idle(&self) -> bool {
        let shared = lock(&self.shared);
        shared.readers.is_empty() && matches!(shared.state, State::Waiting | State::Ended)
    }

    /// Ends the stream if its linger is over.
    pub(crate) fn expire(&self, now: Instant) -> Expiry {
        let mut shared = lock(&self.shared);
        match shared.state {
            State::Lingering { until: Some(until) } if until <= now => {
                shared.state = State::Ended;
                Expiry::Ended(Calls { replaced: None, readers: shared.wakers() })
            }
            State::Lingering { until: Some(until) } => Expiry::Until(until),
            _ => Expiry::None,
        }
    }

    pub(crate) fn stats(&self) -> StreamStats {
        let shared = lock(&self.shared);
        StreamStats {
            key: self.key.clone(),
            status: shared.status(),
            readers: shared.demand(),
            frames: shared.frames,
            bytes: shared.bytes,
            held: shared.log.held(),
            repairs: shared.timeline.repairs(),
            since: match shared.state {
                State::Live { since, .. } => Some(since),
                _ => None,
            },
            pictures: shared.pictures,
            sounds: shared.sounds,
            group: shared.session.group_length,
            video: shared.session.video,
            audio: shared.session.audio,
            init: shared.session.init(),
        }
    }

    pub(crate) fn demand(&self) -> usize {
        lock(&self.shared).demand()
    }

    pub(crate) fn push(&self, publisher: u64, frame: Frame, now: Instant) -> Result<(), Ended> {
        let mut shared = lock(&self.shared);
        match &mut shared.state {
            State::Live { publisher: current, heard, .. } if *current == publisher => *heard = now,
            _ => return Err(Ended),
        }
        let calls = shared.append(frame, now);
        drop(shared);
        if let Some(calls) = calls {
            calls.make();
        }
        Ok(())
    }

    /// Gives back what the log may not hold while the budget is spent; see [`Log::shrink`].
    pub(crate) fn shrink(&self) {
        lock(&self.shared).log.shrink();
    }

    pub(crate) fn set_linger(&self, publisher: u64, new: Duration) {
        let mut shared = lock(&self.shared);
        if let State::Live { publisher: current, linger, .. } = &mut shared.state
            && *current == publisher
        {
            *linger = new;
        }
    }

    pub(crate) fn linger_at_least(&self, publisher: u64, least: Duration) {
        let mut shared = lock(&self.shared);
        if let State::Live { publisher: current, linger, .. } = &mut shared.state
            && *current == publisher
        {
            *linger = (*linger).max(least);
        }
    }

    pub(crate) fn expect(&self, publisher: u64, tracks: Tracks) {
        let mut shared = lock(&self.shared);
        if matches!(shared.state, State::Live { publisher: current, .. } if current == publisher) {
            shared.session.expect(tracks);
        }
    }

    pub(crate) fn read(&self, cursor: &mut Cursor, batch: &mut Batch, bytes_max: usize) -> Status {
        let shared = lock(&self.shared);
        shared.read(cursor, batch, bytes_max);
        shared.status()
    }

    pub(crate) fn is_started(&self, cursor: Cursor) -> bool {
        match cursor {
            Cursor::At(_) => true,
            Cursor::Seeking(_) | Cursor::SeekingOldest => {
                lock(&self.shared).start(cursor).is_some()
            }
        }
    }

    pub(crate) fn status(&self) -> Status {
        lock(&self.shared).status()
    }

    pub(crate) fn publishers(&self) -> u64 {
        lock(&self.shared).publishers
    }

    pub(crate) fn init(&self) -> Arc<Init> {
        lock(&self.shared).session.init()
    }

    pub(crate) fn tracks(&self) -> Tracks {
        lock(&self.shared).session.tracks()
    }

    pub(crate) fn codecs(&self) -> (Option<VideoCodec>, Option<AudioCodec>) {
        let session = &lock(&self.shared).session;
        let Tracks { audio, video } = session.tracks();
        (session.video.filter(|_| video), session.audio.filter(|_| audio))
    }

    /// Arrival of the oldest frame that readers have not been woken for.
    pub(crate) fn pending_since(&self) -> Option<Instant> {
        lock(&self.shared).pending
    }

    /// The publisher has gone. Returns whether it was still the stream's own.
    pub(crate) fn leave(&self, publisher: u64, now: Instant) -> bool {
        let mut shared = lock(&self.shared);
        let linger = match shared.state {
            State::Live { publisher: current, linger, .. } if current == publisher => linger,
            _ => return false,
        };
        let lingering = State::Lingering { until: now.checked_add(linger) };
        let before = std::mem::replace(&mut shared.state, lingering);
        shared.pending = None;
        let calls = Calls { replaced: None, readers: shared.wakers() };
        drop(shared);
        // Outside the lock too: its waker may own a handle.
        drop(before);
        calls.make();
        true
    }

    /// Returns whether this was the last reader that counts as demand.
    pub(crate) fn remove_reader(&self, id: u64) -> bool {
        let mut shared = lock(&self.shared);
        let Some(at) = shared.readers.iter().position(|member| member.id == id) else {
            return false;
        };
        let gone = shared.readers.swap_remove(at);
        let wakers = shared.wakers.take();
        let was_last = gone.interest == Interest::Demand && shared.demand() == 0;
        drop(shared);
        // Outside the lock: a waker may own a handle of this stream.
        drop((gone, wakers));
        was_last
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
        self.readers.iter().filter(|member| member.interest == Interest::Demand).count()
    }

    /// Begins anew with another publisher: its id, and what there was before.
    fn occupy(&mut self, settings: PublishSettings, now: Instant, stands_in: bool) -> (u64, State) {
        let publisher = self.take_id();
        self.publishers += 1;
        self.flush = settings.flush;
        self.pending = None;
        self.log.set_limits(settings.limits);
        self.log.close_groups();
        self.timeline.restart();
        self.session = self.session.anew();
        let state = State::Live {
            publisher,
            since: now,
            heard: now,
            linger: settings.linger,
            replaced: settings.replaced,
            stands_in,
        };
        (publisher, std::mem::replace(&mut self.state, state))
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn wakers(&mut self) -> Arc<[Arc<dyn Wake>]> {
        let readers = &self.readers;
        let list = || readers.iter().map(|member| Arc::clone(&member.wake)).collect();
        Arc::clone(self.wakers.get_or_insert_with(list))
    }

    /// Repairs, classifies and stores a frame. Returns who must be woken when a flush is due.
    fn append(&mut self, mut frame: Frame, now: Instant) -> Option<Calls> {
        let repairs = self.timeline.repairs();
        (frame.dts, frame.epoch) = match frame.content {
            // Its clock may be another one too.
            _ if frame.stray => self.timeline.place_untimed(frame.track, frame.dts.to_wire()),
            Content::Video { .. } | Content::Audio(_) => {
                self.timeline.place(frame.track, frame.dts.to_wire(), now)
            }
            _ => self.timeline.place_untimed(frame.track, frame.dts.to_wire()),
        };
        match frame.content {
            _ if frame.stray => {}
            Content::Video { .. } => self.pictures += 1,
            Content::Audio(_) => self.sounds += 1,
            _ => {}
        }
        self.frames += 1;
        self.bytes += frame.body.len() as u64;
        self.totals.count(frame.body.len(), self.timeline.repairs() - repairs);
        let (was_ready, had_video) = (self.session.ready, self.session.has_pictures());
        let is_admitted = self.session.admit(&frame, now);
        if self.session.has_pictures() && !had_video {
            // What was sound only until now starts anew with its first picture.
            self.log.close_groups();
        }
        if !is_admitted {
            return None;
        }
        let group = self.session.group(&frame);
        let pending = *self.pending.get_or_insert(now);
        let due = self.flush.is_due(&frame, pending, now) || self.session.ready != was_ready;
        let weight = self.session.weight(&frame);
        self.log.push(frame, weight, group, now);
        due.then(|| {
            self.pending = None;
            Calls { replaced: None, readers: self.wakers() }
        })
    }

    /// Where a reader starts that has no place in the log (any more), once all tracks are known.
    fn start(&self, cursor: Cursor) -> Option<u64> {
        let is_held_back = !self.session.ready && matches!(self.state, State::Live { .. });
        let (group, from) = match cursor {
            Cursor::Seeking(from) | Cursor::At(from) => (self.log.newest_group()?, from),
            Cursor::SeekingOldest => (self.log.next_group(self.log.first())?, 0),
        };
        (group.seq >= from && !is_held_back).then_some(group.seq)
    }

    fn read(&self, cursor: &mut Cursor, batch: &mut Batch, bytes_max: usize) {
        let from = match *cursor {
            Cursor::At(seq) if seq >= self.log.first() => Some(seq),
            Cursor::At(_) | Cursor::Seeking(_) | Cursor::SeekingOldest => self.start(*cursor),
        };
        let Some(from) = from else { return };
        let Ok(frames) = self.log.read_from(from) else { return };
        if let Cursor::At(seq) = *cursor {
            batch.skipped = from - seq;
            batch.since = self.log.arrival(from).filter(|_| from == seq);
        }
        let (mut next, mut bytes) = (from, 0);
        for (seq, frame) in (from..).zip(frames) {
            if bytes >= bytes_max {
                break;
            }
            next = seq + 1;
            bytes += frame.body.len() + size_of::<Item>();
            let group = self.log.group_at(seq).map(|group| Arc::clone(&group.start));
            batch.items.push(Item { frame: frame.clone(), group });
        }
        batch.has_more = next < self.log.end();
        *cursor = Cursor::At(next);
    }
}

#[cfg(test)]
mod tests;
