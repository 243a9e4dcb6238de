//! Work that blocks a thread: reading and writing files, looking up names, long walks.
//!
//! None of it runs on the threads that serve. Each kind has a few threads of its own, so that a disk that hangs, or a
//! thousand streams that are written at once, take neither all threads nor those of another kind. (tokio's own pool
//! starts a thread for whatever comes while none is idle, hundreds of them.) What hangs for ever keeps its thread, and
//! nothing else; it does not keep the process from ending.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
    time::timeout,
};

/// Segments and playlists that are written: a disk with some parallelism is kept busy, and 1,000 streams that wait for
/// a slow one wait for the disk and not for threads.
pub static HLS_WRITES: Pool = Pool::new::<16>("writing HLS files");

/// Pieces of segments that are read for viewers: most are in the page cache, and are there at once.
pub static HLS_READS: Pool = Pool::new::<16>("reading HLS files");

/// The configuration, and what it names. One reload is at work at a time, beside two who look for changes; what is
/// over that waits for a file that hangs.
pub static CONFIGURATION: Pool = Pool::new::<4>("reading the configuration");

/// Pages of `/metrics`: two scrapers at a time.
pub static PAGES: Pool = Pool::new::<2>("writing /metrics");

/// Names that an origin redirects to, looked up by the system.
pub static NAMES: Pool = Pool::new::<8>("looking up names");

/// How long the configuration, and what it names, may take to be read: a network file system that answers at all does
/// so within some seconds.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Some threads for one kind of work, each of which is started when it is needed for the first time.
pub struct Pool {
    work: &'static str,
    most: usize,
    turns: Semaphore,
    crew: LazyLock<Crew>,
}

/// The threads, and what they are to do next.
struct Crew {
    jobs: SyncSender<Job>,
    next: Arc<Mutex<Receiver<Job>>>,
    started: AtomicUsize,
}

type Job = Box<dyn FnOnce() + Send>;

impl Pool {
    const fn new<const THREADS: usize>(work: &'static str) -> Self {
        let crew: LazyLock<Crew> = LazyLock::new(|| {
            // Who has a turn finds a place.
            let (jobs, next) = sync_channel(THREADS);
            Crew { jobs, next: Arc::new(Mutex::new(next)), started: AtomicUsize::new(0) }
        });
        Self { work, most: THREADS, turns: Semaphore::const_new(THREADS), crew }
    }

    /// Does `work` on one of the threads, once one is free. It is done to its end, also if nobody waits for that.
    ///
    /// # Errors
    /// When it panics, or the system gives no thread.
    pub async fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let failed = |why: &str| io::Error::other(format!("{}: {why}", self.work));
        let turn = self.turns.acquire().await.map_err(|_| failed("it is over"))?;
        self.start_thread()?;
        let (done, result) = oneshot::channel();
        let runtime = Handle::current();
        let job = move || {
            // A reload begins tasks: look-ups and checks of the origins that it names.
            let entered = runtime.enter();
            let worked = catch_unwind(AssertUnwindSafe(work));
            drop(entered);
            drop(turn);
            // Nobody waits for it any more, if that fails.
            let _ = done.send(worked);
        };
        self.crew.jobs.try_send(Box::new(job)).map_err(|_| failed("no thread takes it"))?;
        let worked = result.await.map_err(|_| failed("it was not done"))?;
        worked.map_err(|_| failed("it panicked"))
    }

    /// Starts a thread if there are fewer than there are turns taken.
    fn start_thread(&self) -> io::Result<()> {
        let needed = self.most - self.turns.available_permits();
        let one_more = |started| (started < needed).then_some(started + 1);
        let started = &self.crew.started;
        if started.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Ok(());
        }
        let next = Arc::clone(&self.crew.next);
        let thread = thread::Builder::new().name("weir-files".to_owned()).spawn(move || {
            loop {
                let job = next.lock().unwrap_or_else(PoisonError::into_inner).recv();
                match job {
                    Ok(job) => job(),
                    Err(_) => return,
                }
            }
        });
        match thread {
            Ok(_) => Ok(()),
            // One of those that there are does it.
            Err(_) if started.fetch_sub(1, Ordering::Relaxed) > 1 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The same as [`run`](Self::run), for whoever waits no longer than `time`.
    ///
    /// # Errors
    /// When the time is over, too; the work still takes its thread until it comes to an end.
    pub async fn run_within<T: Send + 'static>(
        &'static self,
        time: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let late = |_| {
            let why = format!("{} takes longer than {time:?}: does a file system hang?", self.work);
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        };
        timeout(time, self.run(work)).await.unwrap_or_else(late)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, mpsc};

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn work_may_begin_tasks() {
        static ONE: Pool = Pool::new::<1>("beginning tasks");
        let task = ONE.run(|| tokio::spawn(async { 7 })).await.expect("it does not panic");
        assert_eq!(task.await.expect("the task is done"), 7);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_kind_of_work_has_so_many_threads_and_no_more() {
        static TWO: Pool = Pool::new::<2>("testing");
        let begun = Arc::new(Barrier::new(3));
        let (release, held): (Vec<_>, Vec<_>) = (0..2).map(|_| mpsc::channel::<()>()).unzip();
        let held = held.into_iter().map(|held| {
            let begun = Arc::clone(&begun);
            tokio::spawn(TWO.run(move || {
                begun.wait();
                held.recv().is_err()
            }))
        });
        let held: Vec<_> = held.collect();
        begun.wait();
        let late = TWO.run_within(Duration::from_millis(50), || ()).await.expect_err("no thread");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut, "{late}");
        drop(release);
        for held in held {
            assert!(held.await.expect("a task").expect("done"));
        }
        TWO.run_within(SOON, || ()).await.expect("a thread is free again");
        let panics = || panic!("of a test");
        assert!(TWO.run(panics).await.is_err_and(|error| error.to_string().contains("panicked")));
        for _ in 0..3 {
            TWO.run_within(SOON, || ()).await.expect("the thread goes on");
        }
        assert_eq!(TWO.crew.started.load(Ordering::Relaxed), 2);
    }
}
