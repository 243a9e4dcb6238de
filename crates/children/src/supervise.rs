//! One child: run, run again, until nobody wants it any more.

use std::{future::Future, process::ExitStatus, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{info, warn};
use weir_clients::counts::COUNTS;
use weir_config::Restart;
use weir_upstream::pause;

/// A program that ran for this long was a good one: when it ends, that is a new story.
const LASTED: Duration = Duration::from_secs(10);

/// The first pause before a program is started again, which doubles, and the longest, in milliseconds. A program that
/// fails at once costs a start each time, and on every stream that it runs for.
const PAUSE: u64 = 250;
const PAUSE_MAX: u64 = 30_000;

/// How a child is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is about to run.
    Starting,
    /// It runs.
    Running {
        /// The number of its process.
        pid: u32,
        /// Since when.
        since: Instant,
    },
    /// It has ended, and is started again.
    Waiting {
        /// How it ended.
        why: String,
    },
    /// It is not started again for this stream.
    Over {
        /// How it ended, or why it does not run.
        why: String,
    },
}

impl State {
    /// For people and machines.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running { .. } => "running",
            Self::Waiting { .. } => "waiting",
            Self::Over { .. } => "over",
        }
    }
}

/// How one run has ended.
#[derive(Debug)]
pub enum End {
    /// The program ended by itself.
    Exited(ExitStatus),
    /// It could not be started.
    Failed(String),
    /// It must not be started for this stream.
    Refused(String),
    /// It was to stop.
    Stopped,
}

/// What is run.
pub trait Run: Send + Sync + 'static {
    /// Runs it once. Ends it when `stop` is asked for. Tells `started` the number of its process.
    fn run(
        &self,
        stop: &mut Stop,
        started: impl FnOnce(u32) + Send,
    ) -> impl Future<Output = End> + Send;

    /// Whether it is run again when it has ended by itself.
    fn restart(&self) -> Restart;

    /// What it is, for people: the stream, the key of the configuration, and what tells it apart there.
    fn about(&self) -> (String, &'static str, String);
}

/// A child for as long as this is held. Dropping it ends the child.
#[derive(Debug)]
pub struct Child {
    state: watch::Receiver<State>,
    _stop: watch::Sender<()>,
}

/// Is asked for when the [`Child`] is dropped.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<()>);

impl Stop {
    /// Is asked for when the other end of `held` is dropped.
    #[cfg(test)]
    pub fn of(held: watch::Receiver<()>) -> Self {
        Self(held)
    }

    /// Resolves when it is.
    pub async fn asked(&mut self) {
        // Nothing is ever sent.
        while self.0.changed().await.is_ok() {}
    }
}

impl Child {
    /// A child that `run` makes, and what has to be awaited for that: it is done when the child has ended for good.
    pub fn new(run: impl Run) -> (Self, impl Future<Output = ()> + Send) {
        let (state, told) = watch::channel(State::Starting);
        let (asked, stop) = watch::channel(());
        (Self { state: told, _stop: asked }, supervise(run, state, Stop(stop)))
    }

    /// How it is doing.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }
}

async fn supervise(run: impl Run, state: watch::Sender<State>, mut stop: Stop) {
    let (stream, kind, name) = run.about();
    let mut tries = 0;
    loop {
        let began = Instant::now();
        let started = |pid| {
            info!(stream, kind, child = name, pid, "child began");
            state.send_replace(State::Running { pid, since: Instant::now() });
        };
        let (why, is_over) = match run.run(&mut stop, started).await {
            End::Stopped => {
                info!(stream, kind, child = name, "child ended");
                return;
            }
            End::Exited(status) => (status.to_string(), !again(run.restart(), status)),
            End::Failed(why) => (why, false),
            End::Refused(why) => (why, true),
        };
        if is_over {
            info!(stream, kind, child = name, reason = why, "child ended: it is not started again");
            state.send_replace(State::Over { why });
            return stop.asked().await;
        }
        tries = if began.elapsed() >= LASTED { 1 } else { tries + 1 };
        let pause = pause(tries, PAUSE, PAUSE_MAX);
        warn!(stream, kind, child = name, reason = why, ?pause, "child ended: it is started again");
        state.send_replace(State::Waiting { why });
        tokio::select! {
            () = sleep(pause) => COUNTS.child_restarts.increase(),
            () = stop.asked() => return,
        }
        state.send_replace(State::Starting);
    }
}

fn again(restart: Restart, status: ExitStatus) -> bool {
    match restart {
        Restart::Always => true,
        Restart::Failure => !status.success(),
        Restart::Never => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::ExitStatusExt as _,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// Lives for so long each time, and notes when it is started.
    struct Fake {
        lives: Vec<Duration>,
        status: ExitStatus,
        restart: Restart,
        starts: Arc<Mutex<Vec<Instant>>>,
    }

    impl Run for Fake {
        async fn run(&self, stop: &mut Stop, started: impl FnOnce(u32) + Send) -> End {
            let number = {
                let mut starts = self.starts.lock().expect("a lock");
                starts.push(Instant::now());
                starts.len() - 1
            };
            started(1);
            let life = self.lives.get(number).copied().unwrap_or(Duration::from_secs(1 << 30));
            tokio::select! {
                () = sleep(life) => End::Exited(self.status),
                () = stop.asked() => End::Stopped,
            }
        }

        fn restart(&self) -> Restart {
            self.restart
        }

        fn about(&self) -> (String, &'static str, String) {
            ("/live/a".to_owned(), "exec", "fake".to_owned())
        }
    }

    /// The pauses before each start but the first, and the last state.
    async fn pauses(lives: &[Duration], code: i32, restart: Restart) -> (Vec<Duration>, State) {
        let starts = Arc::<Mutex<Vec<Instant>>>::default();
        let status = ExitStatus::from_raw(code << 8);
        let fake = Fake { lives: lives.to_vec(), status, restart, starts: Arc::clone(&starts) };
        let (child, work) = Child::new(fake);
        let task = tokio::spawn(work);
        sleep(Duration::from_secs(100_000)).await;
        let state = child.state();
        drop(child);
        task.await.expect("it ends when nobody holds it");
        let starts = starts.lock().expect("a lock").clone();
        let pauses = starts.windows(2).enumerate().map(|(at, pair)| pair[1] - pair[0] - lives[at]);
        (pauses.collect(), state)
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_begin_anew_after_a_long_run() {
        let mut lives = vec![Duration::ZERO; 12];
        lives.extend([LASTED, Duration::ZERO]);
        let (pauses, state) = pauses(&lives, 1, Restart::Always).await;
        assert_eq!(pauses.len(), lives.len());
        for (at, pause) in pauses.iter().enumerate() {
            let tries = if at < 12 { at } else { at - 12 };
            let full = Duration::from_millis((PAUSE << tries.min(8)).min(PAUSE_MAX));
            // What sleeps does so to the next millisecond.
            let slack = Duration::from_millis(2);
            assert!(*pause >= full / 2 && *pause <= full + slack, "{at}: {pause:?} of {full:?}");
        }
        assert!(pauses[11] >= Duration::from_secs(15) && pauses[12] < Duration::from_secs(1));
        assert!(matches!(state, State::Running { pid: 1, .. }), "{state:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_once_and_what_runs_until_all_is_well() {
        for (restart, code, starts) in [
            (Restart::Never, 1, 1),
            (Restart::Failure, 0, 1),
            (Restart::Failure, 1, 4),
            (Restart::Always, 0, 4),
        ] {
            let (pauses, state) = pauses(&[Duration::ZERO; 3], code, restart).await;
            assert_eq!(pauses.len() + 1, starts, "{restart:?} {code}");
            assert_eq!(matches!(state, State::Over { .. }), starts == 1, "{state:?}");
        }
    }
}
