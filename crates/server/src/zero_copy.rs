//! Copies of what many clients fetch, in memory that the system sends from by itself (`vmsplice`): what is sent from
//! elsewhere in the process is copied for each client.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use rustix::{
    fd::{AsFd, OwnedFd},
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};
use tokio::time::{Instant, sleep};
use weir_hls::SegmentName;
use weir_media::{Budget, Charge, StreamKey, Use};
use weir_sys::pages::{Arena, Piece};

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

/// Bytes that are handed to a socket at a time, so that other connections have their turn. What the socket does not
/// take was put into the pipe for nothing.
pub const SEND_MAX: usize = 1 << 20;

/// The copies of HLS objects.
#[derive(Debug)]
pub struct SharedCopies {
    budget: Budget,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the next copy goes, if there is room.
    memory: Option<Memory>,
    objects: HashMap<(StreamKey, SegmentName), Entry>,
    /// Whether a task looks for what nobody asks for any more.
    is_swept: bool,
}

/// Memory for copies, and what it takes of the budget. It is free when the last copy in it is.
#[derive(Clone, Debug)]
struct Memory {
    arena: Arc<Arena>,
    charge: Arc<Charge>,
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
    Done(Arc<SharedCopy>),
}

impl SharedCopies {
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
    ) -> Option<Arc<SharedCopy>> {
        name.nonce.filter(|_| (BYTES_MIN..=BYTES_MAX).contains(&data.len()))?;
        let (object, now) = ((key.clone(), name), Instant::now());
        let mut state = self.lock();
        if let Some(entry) = state.objects.get_mut(&object) {
            entry.asked = now;
            match entry.copy.clone() {
                Copying::Done(copy) => {
                    return Some(copy).filter(|copy| copy.piece.bytes().len() == data.len());
                }
                Copying::NotNow => return None,
                Copying::Not => entry.copy = Copying::NotNow,
            }
            // Streams need the room more.
            let memory =
                if self.budget.is_spent() { None } else { state.memory(&self.budget, data.len()) };
            drop(state);
            return self.copy(&object, &memory?, data);
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
        memory: &Memory,
        data: &Bytes,
    ) -> Option<Arc<SharedCopy>> {
        // Nobody else puts copies there that have taken all the room meanwhile, or this one is not made.
        let piece = memory.arena.put(data)?;
        let copy = Arc::new(SharedCopy { piece, _charge: Arc::clone(&memory.charge) });
        if let Some(entry) = self.lock().objects.get_mut(object) {
            entry.copy = Copying::Done(Arc::clone(&copy));
        }
        Some(copy)
    }

    /// Lets go of all copies: their memory is needed for something else.
    pub fn clear(&self) {
        let mut state = self.lock();
        let all = (std::mem::take(&mut state.objects), state.memory.take());
        drop(state);
        drop(all);
    }

    /// Lets go of what nobody has asked for lately. Whether something is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let is_idle = |entry: &Entry| now.duration_since(entry.asked) >= IDLE;
        let idle: Vec<_> = state.objects.extract_if(|_, entry| is_idle(entry)).collect();
        let is_left = !state.objects.is_empty();
        state.is_swept = is_left;
        let mut memory = None;
        if !is_left {
            // A crowd needed room for many.
            state.objects = HashMap::new();
            memory = state.memory.take();
        }
        // Their memory goes back to the system without the lock.
        drop(state);
        drop((idle, memory));
        is_left
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Where a copy of so many bytes goes.
    fn memory(&mut self, budget: &Budget, bytes: usize) -> Option<Memory> {
        if let Some(memory) = &self.memory
            && memory.arena.has_room(bytes)
        {
            return Some(memory.clone());
        }
        let mut charge = Charge::new(budget, Use::ZeroCopy);
        charge.grow(Arena::len_for(bytes)?).ok()?;
        let memory = Memory { arena: Arena::new(bytes).ok()?, charge: Arc::new(charge) };
        // What is in the one before is freed with its last copy.
        self.memory = Some(memory.clone());
        Some(memory)
    }
}

async fn sweep(cache: Weak<SharedCopies>) {
    loop {
        sleep(LOOK).await;
        let Some(cache) = cache.upgrade() else { return };
        if !cache.sweep(Instant::now()) {
            return;
        }
    }
}

/// A copy of an object.
#[derive(Debug)]
pub struct SharedCopy {
    piece: Piece,
    _charge: Arc<Charge>,
}

impl SharedCopy {
    /// Has the system send from it what the socket takes now: up to `len` bytes from `from` on. How many those are, and
    /// whether the socket was offered more.
    ///
    /// # Errors
    /// When the socket takes nothing now, or ever again; and when the system cannot do this.
    pub fn send(&self, socket: impl AsFd, from: usize, len: usize) -> io::Result<(usize, bool)> {
        PIPE.with_borrow_mut(|kept| {
            let pipe = match kept.take() {
                Some(pipe) => pipe,
                None => Pipe::new()?,
            };
            let filled = self.piece.to_pipe(&pipe.write, from, len.min(SEND_MAX))?;
            let flags = SpliceFlags::NONBLOCK;
            let sent = splice(&pipe.read, None, socket.as_fd(), None, filled, flags)?;
            // What is left in a pipe would be sent to somebody else: it goes with the pipe.
            if sent == filled {
                *kept = Some(pipe);
            }
            Ok((sent, sent < filled))
        })
    }
}

thread_local! {
    /// An empty pipe for the next of a thread's sends.
    static PIPE: RefCell<Option<Pipe>> = const { RefCell::new(None) };
}

/// A pipe, by way of which a socket gets pages.
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    #[cfg(target_os = "linux")]
    fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // With less it is only filled more often.
        let _ = fcntl_setpipe_size(&write, SEND_MAX);
        Ok(Self { read, write })
    }

    #[cfg(not(target_os = "linux"))]
    fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use weir_hls::{Form, Nonce};
    use weir_media::DEFAULT_VHOST;
    use weir_sys::pages::HUGE_PAGE;

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

    #[tokio::test]
    async fn who_asks_second_has_a_copy_made() {
        let budget = Budget::new(64 * MIB);
        let cache = SharedCopies::new(&budget);
        let (one, two) = (data(1, MIB), data(2, 100_000));
        assert!(cache.get(&key(), name(1), &one).is_none());
        assert!(cache.get(&key(), name(2), &two).is_none());
        let first = cache.get(&key(), name(1), &one).expect("a copy");
        let second = cache.get(&key(), name(2), &two).expect("a copy");
        assert_eq!((first.piece.bytes(), second.piece.bytes()), (&*one, &*two));
        let again = cache.get(&key(), name(1), &one).expect("it is there");
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(budget.used_for(Use::ZeroCopy), HUGE_PAGE, "both are in one page");
        cache.clear();
        drop((first, again));
        assert_eq!(second.piece.bytes(), two, "what others still send stays");
        assert_eq!(budget.used_for(Use::ZeroCopy), HUGE_PAGE);
        drop(second);
        assert_eq!(budget.used_for(Use::ZeroCopy), 0);
    }

    #[tokio::test]
    async fn what_may_be_called_the_same_later_or_is_small_or_large_is_not_copied() {
        let cache = SharedCopies::new(&Budget::unlimited());
        let guessable = SegmentName { nonce: None, ..name(1) };
        for (name, len) in [(guessable, MIB), (name(2), BYTES_MIN - 1), (name(3), BYTES_MAX + 1)] {
            let data = data(1, len);
            assert!((0..3).all(|_| cache.get(&key(), name, &data).is_none()), "{name:?}");
        }
    }

    #[tokio::test]
    async fn copies_take_no_more_than_their_share_and_nothing_that_streams_need() {
        let budget = Budget::new(64 * MIB);
        let cache = SharedCopies::new(&budget);
        let data = data(1, MIB);
        let copies = (0..32).filter(|sequence| {
            let get = || cache.get(&key(), name(*sequence), &data);
            get().or_else(get).is_some()
        });
        assert!((4..=8).contains(&copies.count()), "an eighth");
        assert!(budget.used_for(Use::ZeroCopy) <= 8 * MIB);
        cache.clear();
        assert_eq!(budget.used_for(Use::ZeroCopy), 0);
        let mut logs = Charge::new(&budget, Use::Logs);
        logs.add(60 * MIB);
        assert!((0..3).all(|_| cache.get(&key(), name(99), &data).is_none()), "it is spent");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_is_let_go_of() {
        let budget = Budget::unlimited();
        let cache = SharedCopies::new(&budget);
        let data = data(1, MIB);
        for _ in 0..2 {
            cache.get(&key(), name(1), &data);
        }
        sleep(IDLE / 2).await;
        assert!(cache.get(&key(), name(1), &data).is_some());
        sleep(IDLE * 3 / 4).await;
        assert_eq!(budget.used_for(Use::ZeroCopy), HUGE_PAGE, "it was asked for");
        sleep(IDLE).await;
        assert_eq!(budget.used_for(Use::ZeroCopy), 0);
        assert!(!cache.lock().is_swept, "nothing is looked for any more");
        assert!(cache.get(&key(), name(1), &data).is_none(), "it begins again");
        assert!(cache.get(&key(), name(1), &data).is_some());
    }
}
