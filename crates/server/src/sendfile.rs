//! Copies of what many clients fetch, in a file that is only in memory: from a file the system sends by itself, and
//! copies nothing (`sendfile`). What is sent from the process's own memory is copied for each client.
//!
//! All copies are in one file, each in a place that nothing was in before. What is not needed any more is a hole from
//! then on, which takes no memory. So a copy costs no descriptor, and what the system still has to send of one that is
//! gone stays as it was.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::pwrite,
};
use tokio::time::{Instant, sleep};
use weir_hls::SegmentName;
use weir_media::{Budget, Charge, StreamKey, Use};

/// What is shorter costs hardly more when it is copied, and parts of this length are soon forgotten.
pub const BYTES_MIN: usize = 32 * 1024;

/// What is longer would take more than a few milliseconds to copy, in which a thread does nothing else.
const BYTES_MAX: usize = 8 << 20;

/// Objects that are known to have been asked for. A thousand streams have some thousand new ones in [`IDLE`].
const OBJECTS_MAX: usize = 16_384;

/// How long a copy is kept that nobody asks for: players fetch a segment within a few seconds of each other.
const IDLE: Duration = Duration::from_secs(5);

/// How often it is looked for those.
const LOOK: Duration = Duration::from_secs(1);

/// Where copies begin: no two of them are in one page, on any machine.
const ALIGNMENT: u64 = 64 * 1024;

/// The copies of HLS objects.
#[derive(Debug)]
pub struct SendfileCache {
    budget: Budget,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Medium,
    objects: HashMap<(StreamKey, SegmentName), Entry>,
    /// Whether a task looks for what nobody asks for any more.
    is_swept: bool,
}

/// Where copies are.
#[derive(Debug, Default)]
enum Medium {
    /// None was made yet.
    #[default]
    Unknown,
    /// The system has no such files.
    Nowhere,
    In(Arc<MemoryFile>),
}

#[derive(Debug)]
struct Entry {
    /// When it was asked for last.
    asked: Instant,
    copy: Copying,
}

#[derive(Clone, Debug)]
enum Copying {
    /// It was asked for once.
    Not,
    /// It is being copied, or there was no room for it.
    NotNow,
    Done(Arc<FileCopy>),
}

impl SendfileCache {
    /// No copies yet. They count against `budget`.
    pub fn new(budget: &Budget) -> Arc<Self> {
        Arc::new(Self { budget: budget.clone(), state: Mutex::default() })
    }

    /// A copy of `data`, for one who is to be sent it, if there is one. The second who asks within some seconds has it
    /// made. Only what has a name that is never used twice is copied.
    pub fn get(
        self: &Arc<Self>,
        key: &StreamKey,
        name: SegmentName,
        data: &Bytes,
    ) -> Option<Arc<FileCopy>> {
        name.nonce.filter(|_| (BYTES_MIN..=BYTES_MAX).contains(&data.len()))?;
        let (object, now) = ((key.clone(), name), Instant::now());
        let mut state = self.lock();
        if matches!(state.file, Medium::Nowhere) {
            return None;
        }
        if let Some(entry) = state.objects.get_mut(&object) {
            entry.asked = now;
            match entry.copy.clone() {
                Copying::Done(copy) => return Some(copy).filter(|copy| copy.len == data.len()),
                Copying::NotNow => return None,
                Copying::Not => entry.copy = Copying::NotNow,
            }
            let file = state.file()?;
            drop(state);
            return self.copy(&object, &file, data);
        }
        if state.objects.len() < OBJECTS_MAX {
            state.objects.insert(object, Entry { asked: now, copy: Copying::Not });
        }
        if !state.is_swept {
            state.is_swept = true;
            drop(state);
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
        None
    }

    fn copy(
        &self,
        object: &(StreamKey, SegmentName),
        file: &Arc<MemoryFile>,
        data: &Bytes,
    ) -> Option<Arc<FileCopy>> {
        // Streams need the room more.
        let mut charge = Charge::new(&self.budget, Use::Sendfile);
        if self.budget.is_spent() || charge.grow(data.len()).is_err() {
            return None;
        }
        let copy = Arc::new(FileCopy::write(file, data, charge).ok()?);
        if let Some(entry) = self.lock().objects.get_mut(object) {
            entry.copy = Copying::Done(Arc::clone(&copy));
        }
        Some(copy)
    }

    /// Lets go of all copies: their memory is needed for something else.
    pub fn clear(&self) {
        let objects = std::mem::take(&mut self.lock().objects);
        drop(objects);
    }

    /// Lets go of what nobody has asked for lately. Whether something is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let is_idle = |entry: &Entry| now.duration_since(entry.asked) >= IDLE;
        let idle: Vec<_> = state.objects.extract_if(|_, entry| is_idle(entry)).collect();
        let is_left = !state.objects.is_empty();
        state.is_swept = is_left;
        if !is_left {
            // A crowd needed room for many.
            state.objects = HashMap::new();
        }
        // Their memory goes back to the system without the lock.
        drop(state);
        drop(idle);
        is_left
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Where the next copy goes.
    fn file(&mut self) -> Option<Arc<MemoryFile>> {
        if let Medium::In(file) = &self.file
            && !file.is_full()
        {
            return Some(Arc::clone(file));
        }
        // What is in the one before is freed with its last copy.
        self.file = match MemoryFile::new() {
            Ok(file) => Medium::In(Arc::new(file)),
            Err(_) => Medium::Nowhere,
        };
        match &self.file {
            Medium::In(file) => Some(Arc::clone(file)),
            Medium::Nowhere | Medium::Unknown => None,
        }
    }
}

async fn sweep(cache: Weak<SendfileCache>) {
    loop {
        sleep(LOOK).await;
        let Some(cache) = cache.upgrade() else { return };
        if !cache.sweep(Instant::now()) {
            return;
        }
    }
}

/// A copy of an object, in a file. Its memory is free when this is dropped.
#[derive(Debug)]
pub struct FileCopy {
    file: Arc<MemoryFile>,
    start: u64,
    len: usize,
    _charge: Charge,
}

impl FileCopy {
    fn write(file: &Arc<MemoryFile>, data: &[u8], charge: Charge) -> io::Result<Self> {
        let start = file.place(data.len());
        let copy = Self { file: Arc::clone(file), start, len: data.len(), _charge: charge };
        let mut written = 0;
        while written < data.len() {
            match pwrite(&file.0, &data[written..], start + written as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(rustix::io::Errno::INTR) => {}
                // What was written is a hole again when `copy` is dropped.
                Err(error) => return Err(error.into()),
            }
        }
        Ok(copy)
    }

    /// The file, and where in it the copy begins.
    pub fn place(&self) -> (BorrowedFd<'_>, u64) {
        (self.file.0.as_fd(), self.start)
    }
}

impl Drop for FileCopy {
    fn drop(&mut self) {
        self.file.free(self.start, self.len);
    }
}

/// A file that is nowhere but in memory, and where the next copy begins.
#[derive(Debug)]
struct MemoryFile(OwnedFd, AtomicU64);

impl MemoryFile {
    /// Places beyond this are not used: no file is longer than what a signed number can say.
    const END: u64 = 1 << 62;

    /// An empty one.
    ///
    /// # Errors
    /// When the system has no such files, or cannot make holes in them.
    #[cfg(target_os = "linux")]
    fn new() -> io::Result<Self> {
        use rustix::{
            fs::{MemfdFlags, memfd_create},
            process::{Resource, getrlimit},
        };
        // Whoever writes beyond it is ended by a signal.
        if getrlimit(Resource::Fsize).current.is_some() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let file = Self(memfd_create("weir-hls", MemfdFlags::CLOEXEC)?, AtomicU64::new(0));
        pwrite(&file.0, &[0], 0)?;
        file.hole(0, ALIGNMENT)?;
        Ok(file)
    }

    #[cfg(not(target_os = "linux"))]
    fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Where a copy of so many bytes goes.
    fn place(&self, len: usize) -> u64 {
        self.1.fetch_add(room(len), Relaxed)
    }

    fn is_full(&self) -> bool {
        self.1.load(Relaxed) > Self::END
    }

    /// Frees the memory of what is there.
    fn free(&self, start: u64, len: usize) {
        if self.hole(start, room(len)).is_err() {
            // All of its memory is free when its last copy is gone.
            self.1.store(u64::MAX / 2, Relaxed);
        }
    }

    #[cfg(target_os = "linux")]
    fn hole(&self, start: u64, len: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};

        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&self.0, hole, start, len).map_err(io::Error::from)
    }

    #[cfg(not(target_os = "linux"))]
    fn hole(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// What a copy takes of the file.
fn room(len: usize) -> u64 {
    (len as u64).next_multiple_of(ALIGNMENT)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use weir_hls::{Form, Nonce};
    use weir_media::DEFAULT_VHOST;

    use super::*;

    const MIB: usize = 1 << 20;

    fn name(sequence: u64) -> SegmentName {
        SegmentName { sequence, nonce: Some(Nonce::new(7)), form: Form::Ts }
    }

    fn key() -> StreamKey {
        StreamKey::new(DEFAULT_VHOST, "live", "a").expect("a name")
    }

    fn data(byte: u8, len: usize) -> Bytes {
        Bytes::from(vec![byte; len])
    }

    /// What is in a copy.
    fn read(copy: &FileCopy) -> Vec<u8> {
        let mut read = vec![0; copy.len];
        let (file, start) = copy.place();
        let count = rustix::io::pread(file, &mut read, start).expect("read");
        assert_eq!(count, copy.len);
        read
    }

    /// Bytes of memory that all copies take.
    fn held(copy: &FileCopy) -> u64 {
        rustix::fs::fstat(copy.place().0).expect("known").st_blocks as u64 * 512
    }

    #[tokio::test]
    async fn who_asks_second_has_a_copy_made() {
        let budget = Budget::new(64 * MIB);
        let cache = SendfileCache::new(&budget);
        let (one, two) = (data(1, MIB), data(2, 100_000));
        assert!(cache.get(&key(), name(1), &one).is_none());
        assert!(cache.get(&key(), name(2), &two).is_none());
        let first = cache.get(&key(), name(1), &one).expect("a copy");
        let second = cache.get(&key(), name(2), &two).expect("a copy");
        assert_eq!((read(&first), read(&second)), (one.to_vec(), two.to_vec()));
        let again = cache.get(&key(), name(1), &one).expect("it is there");
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(budget.used_for(Use::Sendfile), one.len() + two.len());
        assert!(held(&first) >= (one.len() + two.len()) as u64);
        cache.clear();
        drop((first, again));
        assert_eq!(read(&second), two, "what others still send stays");
        assert!(held(&second) < MIB as u64, "the memory of the first is free");
        assert_eq!(budget.used_for(Use::Sendfile), two.len());
    }

    #[tokio::test]
    async fn what_may_be_called_the_same_later_or_is_small_or_large_is_not_copied() {
        let cache = SendfileCache::new(&Budget::unlimited());
        let guessable = SegmentName { nonce: None, ..name(1) };
        for (name, len) in [(guessable, MIB), (name(2), BYTES_MIN - 1), (name(3), BYTES_MAX + 1)] {
            let data = data(1, len);
            assert!((0..3).all(|_| cache.get(&key(), name, &data).is_none()), "{name:?}");
        }
    }

    #[tokio::test]
    async fn copies_take_no_more_than_their_share_and_nothing_that_streams_need() {
        let budget = Budget::new(64 * MIB);
        let cache = SendfileCache::new(&budget);
        let data = data(1, MIB);
        let copies = (0..32).filter(|sequence| {
            let get = || cache.get(&key(), name(*sequence), &data);
            get().or_else(get).is_some()
        });
        assert!((4..=8).contains(&copies.count()), "an eighth");
        assert!(budget.used_for(Use::Sendfile) <= 8 * MIB);
        cache.clear();
        assert_eq!(budget.used_for(Use::Sendfile), 0);
        let mut logs = Charge::new(&budget, Use::Logs);
        logs.add(60 * MIB);
        assert!((0..3).all(|_| cache.get(&key(), name(99), &data).is_none()), "it is spent");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_is_let_go_of() {
        let budget = Budget::unlimited();
        let cache = SendfileCache::new(&budget);
        let data = data(1, MIB);
        for _ in 0..2 {
            cache.get(&key(), name(1), &data);
        }
        sleep(IDLE / 2).await;
        assert!(cache.get(&key(), name(1), &data).is_some());
        sleep(IDLE * 3 / 4).await;
        assert_eq!(budget.used_for(Use::Sendfile), MIB, "it was asked for");
        sleep(IDLE).await;
        assert_eq!(budget.used_for(Use::Sendfile), 0);
        assert!(!cache.lock().is_swept, "nothing is looked for any more");
        assert!(cache.get(&key(), name(1), &data).is_none(), "it begins again");
        assert!(cache.get(&key(), name(1), &data).is_some());
    }
}
