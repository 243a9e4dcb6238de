//! A channel: one stream in one format, encoded once however many viewers it has.
//!
//! Nothing runs on its own here. A channel is filled by whoever reads it first after a flush: under the channel's lock
//! it takes the new frames from the hub and appends them, as one contiguous entry, to its own log; the other shards
//! find them there.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Notify;
use weir_hls::{Ended, Endless, EndlessForm, Expected, Piece, Start as FileStart};
use weir_hub::{Batch, Group, Item, Limits, Log, Reader, Registry, Start, Status, Tracks, Wake};
use weir_media::{Content, Init, StreamKey, Timestamp};

use super::{
    flow::Flow,
    format::{Container, Format},
    framing::Framing,
    package::Package,
    unfit::Unfit,
};

/// All channels of the process. A channel lives as long as somebody holds it.
pub struct Channels {
    registry: Registry,
    map: Mutex<HashMap<(StreamKey, Format), Weak<Channel>>>,
}

/// One stream in one format.
pub struct Channel {
    key: StreamKey,
    format: Format,
    bell: Arc<ShardWakers>,
    filling: Mutex<Filling>,
    home: Weak<Channels>,
}

struct Filling {
    reader: Reader,
    batch: Batch,
    log: Log<Entry, Opening>,
    rate: Rate,
    /// Which tracks viewers are told of, from the first frame on, where the format tells of them.
    flow: Option<Flow>,
    /// What writes the frames anew, from the first one on, where the format is none of messages. It may end before the
    /// stream does: then the channel is over, and who asks again gets another one.
    file: Option<Endless>,
}

/// Places for frames that a channel keeps from one flush to the next: a second of pictures and sound.
const BATCH_KEPT: usize = 128;

/// What one fill appends.
#[derive(Clone, Debug)]
struct Entry {
    bytes: Bytes,
    /// When its oldest frame came; none if the channel has started with it.
    since: Option<Instant>,
}

/// What a viewer must know that starts in an entry.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Where in the entry the group starts.
    pub offset: usize,
    /// The time of its first frame.
    pub dts: Timestamp,
    /// What comes before.
    pub init: Arc<Init>,
    /// The tracks that there were when it started.
    pub tracks: Tracks,
    /// What comes before where that is the same for all, in its frames. The rest says nothing then.
    pub file: Option<Arc<FileStart>>,
}

impl Opening {
    /// What a viewer gets before the group when it starts with it, in a stream that has `tracks` by now.
    pub fn first(&self, format: Format, tracks: Tracks) -> Bytes {
        if let Some(start) = &self.file {
            return start.first.clone();
        }
        Package::opening(format, &self.init, self.dts, self.tracks.or(tracks))
    }

    /// What a viewer gets before the group when it goes on with it.
    pub fn again(&self, format: Format, tracks: Tracks) -> Bytes {
        if let Some(start) = &self.file {
            return start.again.clone();
        }
        Package::opening_again(format, &self.init, self.dts, self.tracks.or(tracks))
    }
}

/// A shard's copy of a channel's log: reading it takes no lock.
#[derive(Debug, Default)]
pub struct View {
    /// Sequence number of `entries[0]`.
    pub first: u64,
    /// The entries that viewers may still be at.
    pub entries: VecDeque<Bytes>,
    /// When the shard got each of them.
    pub times: VecDeque<Instant>,
    /// Where a new viewer, or one that fell out of the window, starts.
    pub newest: Option<Group<Opening>>,
    /// What the stream is doing.
    pub status: Option<Status>,
    /// Why there will be nothing more though the stream goes on.
    pub over: Option<Ended>,
    /// When the oldest frame came of what the last refresh brought, as far as that is known.
    pub since: Option<Instant>,
}

impl View {
    /// Sequence number of the next entry.
    pub fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Lets go of all entries; the next refresh brings those from `seq` on.
    pub fn go_to(&mut self, seq: u64) {
        self.entries.clear();
        self.times.clear();
        self.first = seq;
    }

    /// When the entry with this sequence number came, if it is here.
    pub fn time(&self, seq: u64) -> Option<Instant> {
        self.times.get(usize::try_from(seq.checked_sub(self.first)?).ok()?).copied()
    }

    /// The entry with this sequence number, if it is here.
    pub fn get(&self, seq: u64) -> Option<&Bytes> {
        self.entries.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }
}

/// Tells everybody who delivers a channel that there is something new.
#[derive(Default)]
struct ShardWakers {
    shards: RwLock<Vec<Arc<dyn Wake>>>,
    tasks: Notify,
}

impl Wake for ShardWakers {
    fn wake(&self) {
        for shard in self.shards.read().unwrap_or_else(PoisonError::into_inner).iter() {
            shard.wake();
        }
        self.tasks.notify_waiters();
    }
}

impl Channels {
    /// No channels yet.
    pub fn new(registry: Registry) -> Arc<Self> {
        Arc::new(Self { registry, map: Mutex::new(HashMap::new()) })
    }

    /// The channel of `key` in `format`, once the stream has begun. Until then it counts as a viewer.
    pub async fn open(
        self: &Arc<Self>,
        key: &StreamKey,
        format: Format,
        limits: Limits,
    ) -> Arc<Channel> {
        loop {
            let channel = self.channel(key, format, limits);
            if channel.begun().await {
                return channel;
            }
        }
    }

    /// From now on viewers of a stream may fall behind as far as `limits` says.
    pub fn limit_to(&self, limits: impl Fn(&StreamKey) -> Limits) {
        // They are let go of without the map's lock: dropping the last handle of a channel takes it.
        let channels: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        for channel in channels {
            channel.lock().log.set_limits(limits(&channel.key));
        }
    }

    /// Makes every log as small as it has to be while the budget is spent, and lets shards drop what they have of it.
    pub fn shrink(&self) {
        let channels: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        for channel in channels {
            let has_shrunk = channel.lock().log.shrink();
            if has_shrunk {
                channel.bell.wake();
            }
        }
    }

    fn channel(self: &Arc<Self>, key: &StreamKey, format: Format, limits: Limits) -> Arc<Channel> {
        let mut map = self.lock();
        let known = map.get(&(key.clone(), format)).and_then(Weak::upgrade);
        if let Some(channel) = &known
            && !channel.lock().is_over()
        {
            return Arc::clone(channel);
        }
        let channel = Channel::new(self, key, format, limits);
        map.insert((key.clone(), format), Arc::downgrade(&channel));
        // `known` may be the last handle, and its drop takes the map's lock.
        drop(map);
        drop(known);
        channel
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(StreamKey, Format), Weak<Channel>>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channel {
    fn new(home: &Arc<Channels>, key: &StreamKey, format: Format, limits: Limits) -> Arc<Self> {
        let bell = Arc::new(ShardWakers::default());
        let reader = home.registry.subscribe(key, Start::NewestGroup, Arc::clone(&bell) as _);
        let budget = home.registry.budget();
        let filling = Filling {
            reader,
            batch: Batch::default(),
            log: Log::new(limits, budget),
            rate: Rate::default(),
            flow: None,
            file: None,
        };
        Arc::new(Self {
            key: key.clone(),
            format,
            bell,
            filling: Mutex::new(filling),
            home: Arc::downgrade(home),
        })
    }

    /// What the bytes are.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The tracks that viewers are told of who start now.
    pub fn tracks(&self) -> Tracks {
        let filling = self.lock();
        filling.flow.as_ref().map_or_else(|| filling.reader.tracks(), Flow::tracks)
    }

    /// What it is of.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// Bits per second of late: what one more viewer will cost. 0 while that is not known.
    pub fn bit_rate(&self) -> u64 {
        self.lock().rate.bits_per_second()
    }

    /// The same, of what there is to be read now: a channel that nobody has read yet knows nothing.
    pub fn bit_rate_now(&self, now: Instant) -> u64 {
        let mut filling = self.lock();
        if filling.rate.bits_per_second() == 0 {
            filling.fill(self.format, now);
        }
        filling.rate.bits_per_second()
    }

    /// Whether the format has room for the stream, as far as it is known by now.
    ///
    /// # Errors
    /// What it has no room for.
    pub fn check(&self, now: Instant) -> Result<(), Unfit> {
        let Format::File(Container::Endless(form), _) = self.format else { return Ok(()) };
        let mut filling = self.lock();
        let codecs = filling.reader.codecs();
        Unfit::check(form, codecs)?;
        if filling.file.is_none() {
            filling.fill(self.format, now);
        }
        match filling.ended() {
            Some(why @ Ended::Unsupported(_)) => Err(Unfit::ended(why, codecs)),
            Some(Ended::Changed) | None => Ok(()),
        }
    }

    /// From now on `shard` is woken at each flush.
    pub fn attach(&self, shard: Arc<dyn Wake>) {
        self.bell.shards.write().unwrap_or_else(PoisonError::into_inner).push(shard);
    }

    /// Undoes [`Channel::attach`].
    pub fn detach(&self, shard: &Arc<dyn Wake>) {
        let mut shards = self.bell.shards.write().unwrap_or_else(PoisonError::into_inner);
        shards.retain(|known| !Arc::ptr_eq(known, shard));
    }

    /// Waits for the next flush or change of status after the call.
    pub fn next(&self) -> impl Future<Output = ()> + '_ {
        let mut notified = Box::pin(self.bell.tasks.notified());
        notified.as_mut().enable();
        notified
    }

    /// Since when frames wait for a flush that has not come.
    pub fn pending_since(&self) -> Option<Instant> {
        self.lock().reader.pending_since()
    }

    /// Waits until viewers can start (true), or the stream has ended (false).
    async fn begun(&self) -> bool {
        loop {
            let next = self.next();
            {
                let filling = self.lock();
                if filling.reader.is_started() {
                    return true;
                }
                if filling.reader.status() == Status::Ended {
                    return false;
                }
            }
            next.await;
        }
    }

    /// Brings `view` up to date, encoding what nobody has encoded yet.
    pub fn refresh(&self, view: &mut View, now: Instant) {
        let mut filling = self.lock();
        view.status = Some(filling.fill(self.format, now));
        view.over = filling.ended();
        let log = &filling.log;
        if view.end() < log.first() || view.entries.is_empty() {
            view.entries.clear();
            view.times.clear();
            view.first = log.first().max(view.end());
        }
        while view.first < log.first() && view.entries.pop_front().is_some() {
            view.times.pop_front();
            view.first += 1;
        }
        view.since = None;
        if let Ok(new) = log.read_from(view.end()) {
            for entry in new {
                view.since = view.since.or(entry.since);
                view.entries.push_back(entry.bytes.clone());
                view.times.push_back(now);
            }
        }
        view.newest = log.newest_group().cloned();
    }

    fn lock(&self) -> MutexGuard<'_, Filling> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filling {
    /// Why the file has ended before the stream.
    fn ended(&self) -> Option<Ended> {
        self.file.as_ref().and_then(Endless::ended)
    }

    /// Whether nothing more comes.
    fn is_over(&self) -> bool {
        self.ended().is_some() || self.reader.status() == Status::Ended
    }

    fn fill(&mut self, format: Format, now: Instant) -> Status {
        match format {
            Format::File(Container::Endless(form), framing) => self.fill_file(form, framing, now),
            Format::File(Container::Flv, _) | Format::Rtmp { .. } => {
                self.fill_messages(format, now)
            }
        }
    }

    /// Writes the new frames as a piece of a file.
    fn fill_file(&mut self, form: EndlessForm, framing: Framing, now: Instant) -> Status {
        if self.ended().is_some() {
            return Status::Ended;
        }
        let status = self.reader.read(&mut self.batch);
        let items = &self.batch.items;
        let bytes = items.iter().map(|item| item.frame.body.len()).sum();
        self.rate.count(items, bytes, now);
        let mut is_anew = self.file.is_none() || self.batch.skipped > 0;
        if self.batch.skipped > 0 {
            self.file.iter_mut().for_each(Endless::skip);
        }
        if self.file.is_none() && !items.is_empty() {
            let Tracks { audio, video } = self.reader.tracks();
            self.file = Some(Endless::new(form, Expected { pictures: video, sound: audio }));
        }
        let Some(file) = &mut self.file else { return status };
        for item in items {
            if let Some(init) = item.group.as_ref().filter(|_| is_anew) {
                is_anew = false;
                init.frames()
                    .filter(|known| known.content != Content::Metadata)
                    .for_each(|known| file.push(known, false));
            }
            file.push(&item.frame, item.group.is_some());
        }
        let pieces = if status == Status::Ended { file.finish() } else { file.take() };
        let has_ended = file.ended().is_some();
        for piece in pieces {
            append_piece(&mut self.log, framing, piece, self.batch.since, now);
        }
        self.forget_batch();
        if has_ended { Status::Ended } else { status }
    }

    fn fill_messages(&mut self, format: Format, now: Instant) -> Status {
        let status = self.reader.read(&mut self.batch);
        let items = &self.batch.items;
        let bytes = items.iter().map(|item| item.frame.body.len()).sum();
        self.rate.count(items, bytes, now);
        let since = self.batch.since;
        let mut package = Package::new(format, bytes, items.len());
        // What was lost may have been all of a track.
        let is_anew = self.flow.is_none() || self.batch.skipped > 0;
        if is_anew && !items.is_empty() && format.tells_tracks() {
            self.flow = Some(Flow::new(self.reader.tracks()));
        }
        let (mut opening, mut has_skipped) = (None, self.batch.skipped > 0);
        for item in items {
            if let Some(init) = &item.group {
                // An entry has at most one start.
                if opening.is_some() {
                    let full = std::mem::replace(&mut package, Package::new(format, 0, 0));
                    append(&mut self.log, full, since, opening.take(), now);
                }
                let dts = item.frame.dts;
                let begin = |flow: &mut Flow| flow.begin_group(&item.frame);
                let tracks = self.flow.as_mut().map(begin).unwrap_or_default();
                if std::mem::take(&mut has_skipped) {
                    // The configuration may have changed in what the viewers inside will not see.
                    package.push_again(init, dts, tracks);
                }
                let offset = package.cut();
                opening = Some(Opening { offset, dts, init: Arc::clone(init), tracks, file: None });
            }
            match &mut self.flow {
                Some(flow) => flow.push(&item.frame, &mut package, || self.reader.init()),
                None => package.push(&item.frame),
            }
        }
        if !package.is_empty() {
            append(&mut self.log, package, since, opening, now);
        }
        self.forget_batch();
        status
    }

    /// The frames' bytes must not live until the next flush, and what a first read of many small frames needed is not
    /// needed again.
    fn forget_batch(&mut self) {
        self.batch.items.clear();
        self.batch.items.shrink_to(BATCH_KEPT);
    }
}

fn append_piece(
    log: &mut Log<Entry, Opening>,
    framing: Framing,
    Piece { data, start }: Piece,
    since: Option<Instant>,
    now: Instant,
) {
    let opening = start.map(|FileStart { first, again }| {
        let (first, again) = (framing.frame(first), framing.frame(again));
        Opening {
            offset: 0,
            dts: Timestamp::ZERO,
            init: Arc::default(),
            tracks: Tracks::default(),
            file: Some(Arc::new(FileStart { first, again })),
        }
    });
    let bytes = framing.frame(data);
    let weight = bytes.len() + Log::<Entry, Opening>::ENTRY_BYTES;
    log.push(Entry { bytes, since }, weight, opening, now);
}

fn append(
    log: &mut Log<Entry, Opening>,
    package: Package,
    since: Option<Instant>,
    opening: Option<Opening>,
    now: Instant,
) {
    let weight = package.held() + Log::<Entry, Opening>::ENTRY_BYTES;
    let bytes = package.finish();
    log.push(Entry { bytes, since }, weight, opening, now);
}

impl Drop for Channel {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else { return };
        let mut map = home.lock();
        let entry = (self.key.clone(), self.format);
        if map.get(&entry).is_some_and(|channel| channel.strong_count() == 0) {
            map.remove(&entry);
        }
    }
}

/// The bit rate over the last whole period; until there is one, that of the frames so far by their own times.
#[derive(Debug, Default)]
struct Rate {
    whole_period: u64,
    bytes: usize,
    since: Option<Instant>,
    newest: Option<Instant>,
    start: Option<Frames>,
}

/// Frames from the first of a timeline on.
#[derive(Debug)]
struct Frames {
    epoch: u32,
    first: i64,
    newest: i64,
    bytes: usize,
}

impl Rate {
    const PERIOD: Duration = Duration::from_secs(2);

    /// Fewer frames than these say too little: the first one is a key frame, many times as large as the others.
    const START_MILLIS: i64 = 500;

    fn bits_per_second(&self) -> u64 {
        match &self.start {
            Some(Frames { first, newest, bytes, .. }) if newest - first >= Self::START_MILLIS => {
                bits_per_second(*bytes, newest.abs_diff(*first))
            }
            Some(_) => 0,
            None => self.whole_period,
        }
    }

    /// Counts `items`, which are `bytes` long, as read at `now`.
    fn count(&mut self, items: &[Item], bytes: usize, now: Instant) {
        if items.is_empty() {
            return;
        }
        let Some(since) = self.since else {
            // What comes first has been gathered since its group began, and not in this period.
            self.since = Some(now);
            return self.count_start(items);
        };
        let newest = self.newest.replace(now).unwrap_or(since);
        if now.saturating_duration_since(newest) >= Self::PERIOD / 2 {
            // A pause says nothing of the rate, and what gathered in it neither.
            (self.bytes, self.since) = (0, Some(now));
            return;
        }
        self.bytes += bytes;
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= Self::PERIOD {
            let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            self.whole_period = bits_per_second(self.bytes, millis);
            (self.bytes, self.since, self.start) = (0, Some(now), None);
        } else if self.start.is_some() {
            self.count_start(items);
        }
    }

    fn count_start(&mut self, items: &[Item]) {
        for Item { frame, .. } in items {
            let (epoch, at) = (frame.epoch, frame.dts.as_millis());
            let start = self.start.take().filter(|start| start.epoch == epoch).unwrap_or(Frames {
                epoch,
                first: at,
                newest: at,
                bytes: 0,
            });
            let (newest, bytes) = (start.newest.max(at), start.bytes + frame.body.len());
            self.start = Some(Frames { newest, bytes, ..start });
        }
    }
}

fn bits_per_second(bytes: usize, millis: u64) -> u64 {
    (bytes as u64 * 8_000) / millis.max(1)
}

#[cfg(test)]
mod tests;
