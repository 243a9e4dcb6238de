//! Work that blocks a thread: reading and writing files, looking up names, long walks.
//!
//! None of it runs on the threads that serve. Each kind of work has a [`Pool`] of a few threads of its own, so that a
//! disk that hangs, or a thousand streams that are written at once, take neither all threads nor those of others.
//! (tokio's own pool starts a thread for whatever comes while none is idle, hundreds of them.) What hangs for ever
//! keeps its thread, and nothing else; it does not keep the process from ending.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
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

/// Some threads for one kind of work, each of which is started when it is needed for the first time. Dropping it lets
/// them go once they have nothing to do.
#[derive(Debug)]
pub struct Pool {
    work: &'static str,
    most: usize,
    turns: Arc<Semaphore>,
    /// What the threads are to do next.
    jobs: SyncSender<Job>,
    next: Arc<Mutex<Receiver<Job>>>,
    started: AtomicUsize,
}

type Job = Box<dyn FnOnce() + Send>;

impl Pool {
    /// So many threads at most, for `work`.
    pub fn new(work: &'static str, most: usize) -> Self {
        // Who has a turn finds a place.
        let (jobs, next) = sync_channel(most);
        Self {
            work,
            most,
            turns: Arc::new(Semaphore::new(most)),
            jobs,
            next: Arc::new(Mutex::new(next)),
            started: AtomicUsize::new(0),
        }
    }

    /// Does `work` on one of the threads, once one is free. It is done to its end, also if nobody waits for that.
    ///
    /// # Errors
    /// When it panics, or the system gives no thread.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let failed = |why: &str| io::Error::other(format!("{}: {why}", self.work));
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| failed("shutting down"))?;
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
        self.jobs.try_send(Box::new(job)).map_err(|_| failed("no thread is free"))?;
        let worked = result.await.map_err(|_| failed("not completed"))?;
        worked.map_err(|_| failed("panicked"))
    }

    /// Starts a thread if there are fewer than there are turns taken.
    fn start_thread(&self) -> io::Result<()> {
        let needed = self.most - self.turns.available_permits();
        let one_more = |started| (started < needed).then_some(started + 1);
        let started = &self.started;
        if started.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Ok(());
        }
        let next = Arc::clone(&self.next);
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
        &self,
        time: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let late = |_| {
            let why =
                format!("{} takes longer than {time:?}: is a file system hanging?", self.work);
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        };
        timeout(time, self.run(work)).await.unwrap_or_else(late)
    }
}

/// Does `work` on a thread of its own, and waits no longer than `time` for it: where there is no runtime, or nothing
/// else to do meanwhile. What hangs keeps the thread.
///
/// # Errors
/// When it fails, takes longer, or the system gives no thread.
pub fn try_within<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, result) = sync_channel(1);
    let work = move || {
        // Nobody waits for it any more, if that fails.
        let _ = done.send(work());
    };
    thread::Builder::new().name("weir-files".to_owned()).spawn(work)?;
    result.recv_timeout(time).unwrap_or_else(|_| {
        let why = format!("it takes longer than {time:?}: is a file system hanging?");
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, LazyLock, mpsc};

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn work_may_begin_tasks() {
        let one = Pool::new("beginning tasks", 1);
        let task = one.run(|| tokio::spawn(async { 7 })).await.expect("it does not panic");
        assert_eq!(task.await.expect("the task is done"), 7);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_kind_of_work_has_so_many_threads_and_no_more() {
        static TWO: LazyLock<Pool> = LazyLock::new(|| Pool::new("testing", 2));
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
        assert_eq!(TWO.started.load(Ordering::Relaxed), 2);
    }
}
