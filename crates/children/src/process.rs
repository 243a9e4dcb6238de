//! One run of a program: from its start to the end of all that it has started.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::info;
use weir_blocking::Pool;
use weir_config::{Restart, Settings};
use weir_media::StreamKey;

use crate::{
    launch,
    lines::{Budget, Lines},
    passes::{Pass, Passes},
    plan::{Job, NoPlan, Plan},
    supervise::{End, Run, Stop},
};

/// How long last words are waited for: what has written them has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long a program may take to end when the server does, whatever `children.stop` says: the server waits for it.
const STOP_NOW: Duration = Duration::from_secs(1);

/// What all children share.
pub struct Ground {
    /// What is in force.
    pub settings: Settings,
    /// What programs show here.
    pub passes: Arc<Passes>,
    /// Whether the process is going to stop.
    pub stopping: watch::Sender<Stopping>,
    /// Opens the port that programs use here, if it is not open yet.
    pub port: OnceLock<OpenPort>,
    /// The thread that starts programs: the system ends a program with the thread that has started it, so it has to
    /// last for as long as they do.
    pub starter: Pool,
    /// Programs that run now.
    pub running: AtomicUsize,
}

/// Says where programs find this server.
pub type OpenPort = Box<dyn Fn() -> io::Result<SocketAddr> + Send + Sync>;

/// Whether the process is going to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopping {
    /// It is not.
    No,
    /// Nothing is started any more, and what runs goes with its stream.
    WithStreams,
    /// Everything ends.
    Now,
}

/// What is run for a stream.
pub struct Process {
    /// What all share.
    pub ground: Arc<Ground>,
    /// What it is.
    pub job: Job,
    /// The stream.
    pub key: StreamKey,
}

/// One of the programs that may run at the same time.
struct Slot<'g>(&'g AtomicUsize);

impl Ground {
    /// A place for one more program.
    fn slot(&self) -> Option<Slot<'_>> {
        let max = self.settings.now().children.max;
        let more = |running| (running < max).then_some(running + 1);
        let taken = self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        // Made only where one was taken: dropped, it gives one back.
        taken.is_ok().then(|| Slot(&self.running))
    }

    /// How long a program may take to end.
    fn stop_time(&self) -> Duration {
        let stop = self.settings.now().children.stop;
        if *self.stopping.borrow() == Stopping::Now { stop.min(STOP_NOW) } else { stop }
    }

    fn here(&self) -> io::Result<SocketAddr> {
        self.port.get().ok_or_else(|| io::Error::other("the server is not there yet"))?()
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Run for Process {
    async fn run(&self, stop: &mut Stop, started: impl FnOnce(u32) + Send) -> End {
        let mut stopping = self.ground.stopping.subscribe();
        tokio::select! {
            // Its sender is ours, and cannot be gone.
            _ = stopping.wait_for(|stopping| *stopping == Stopping::No) => {}
            () = stop.asked() => return End::Stopped,
        }
        let Some(_slot) = self.ground.slot() else {
            let max = self.ground.settings.now().children.max;
            return End::Failed(format!("{max} programs run already (children.max)"));
        };
        let here = match self.ground.here() {
            Ok(here) => here,
            Err(error) => return End::Failed(format!("no port for programs: {error}")),
        };
        match self.job.plan(&self.key, here, &self.ground.passes) {
            Ok(plan) => match self.run_plan(&plan, stop, started).await {
                Ok(end) => end,
                Err(error) => End::Failed(format!("{}: {error}", plan.program)),
            },
            Err(NoPlan::Name(why)) => End::Refused(why),
            Err(NoPlan::Random(error)) => End::Failed(error.to_string()),
        }
    }

    fn restart(&self) -> Restart {
        self.job.restart()
    }

    fn about(&self) -> (String, &'static str, String) {
        (self.key.to_string(), self.job.kind(), self.job.name().to_owned())
    }
}

impl Process {
    async fn run_plan(
        &self,
        plan: &Plan,
        stop: &mut Stop,
        started: impl FnOnce(u32) + Send,
    ) -> io::Result<End> {
        let mut command = launch::command(&plan.program, &plan.arguments);
        let mut child = self.ground.starter.run(move || command.spawn()).await??;
        let id = child.id();
        let group = id.and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(id) = id {
            started(id);
        }
        let (mut out, mut err) = (Lines::new(child.stdout.take()), Lines::new(child.stderr.take()));
        let mut budget = Budget::new();
        let mut say = |line: &str| self.say(&plan.passes, &mut budget, line);
        let mut kill_at: Option<Instant> = None;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status?,
                () = stop.asked(), if kill_at.is_none() => {
                    signal(group, Signal::TERM);
                    kill_at = Some(Instant::now() + self.ground.stop_time());
                }
                () = until(kill_at) => {
                    signal(group, Signal::KILL);
                    kill_at = Some(Instant::now() + STOP_NOW);
                }
                lines = out.read() => lines.iter().for_each(|line| say(line)),
                lines = err.read() => lines.iter().for_each(|line| say(line)),
            }
        };
        // What it has started goes with it. Its number is not given to another process so soon.
        signal(group, Signal::KILL);
        let rest = async {
            while !(out.is_over() && err.is_over()) {
                tokio::select! {
                    lines = out.read() => lines.iter().for_each(|line| say(line)),
                    lines = err.read() => lines.iter().for_each(|line| say(line)),
                }
            }
        };
        // What has left its group may hold them open.
        let _ = timeout(LAST_WORDS, rest).await;
        Ok(if kill_at.is_some() { End::Stopped } else { End::Exited(status) })
    }

    /// Puts a line of the program into the log.
    fn say(&self, passes: &[Pass], budget: &mut Budget, line: &str) {
        let Some(left_out) = budget.take() else { return };
        let hide = |line: String, pass: &Pass| line.replace(pass.word(), "***");
        let line = passes.iter().fold(line.to_owned(), hide);
        let (stream, kind, child) = (&self.key, self.job.kind(), self.job.name());
        match left_out {
            0 => info!(%stream, kind, child, line, "child says"),
            _ => info!(%stream, kind, child, line, left_out, "child says"),
        }
    }
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // There may be nobody left in it.
        let _ = kill_process_group(group, signal);
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
