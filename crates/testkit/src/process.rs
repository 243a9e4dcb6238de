//! Programs that a test starts, and the lines that they print.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// A program that runs beside the test. Dropping it ends it, and shows what it wrote to its standard error if the test
/// is failing.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    /// Starts `command` without input. `name` is what messages call it.
    ///
    /// # Panics
    /// If it cannot be started: it is not installed, most likely.
    #[track_caller]
    pub fn start(name: &str, command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|error| {
            let program = command.get_program().display();
            panic!("cannot start {name} ({program}): {error}; `cargo xtask test tools` installs what tests need")
        });
        let stdout = Lines::reading(child.stdout.take());
        let stderr = Lines::reading(child.stderr.take());
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    /// What it prints.
    pub fn stdout(&self) -> &Lines {
        &self.stdout
    }

    /// What it writes to its standard error.
    pub fn stderr(&self) -> &Lines {
        &self.stderr
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it still runs after `timeout`.
    #[track_caller]
    pub fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        let closed = self.stdout.wait_closed(deadline) && self.stderr.wait_closed(deadline);
        assert!(closed, "{} still runs after {timeout:?}; it wrote:\n{}", self.name, self.stderr);
        self.child.wait().expect("a child that was not waited for has a status")
    }

    /// Waits until it ends by itself, and requires that it ends well.
    ///
    /// # Panics
    /// If it still runs after `timeout` or fails.
    #[track_caller]
    pub fn wait_success(&mut self, timeout: Duration) {
        let status = self.wait(timeout);
        assert!(status.success(), "{} ended with {status}; it wrote:\n{}", self.name, self.stderr);
    }

    /// Whether it has ended by now.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Sends a signal by its name, such as `TERM`.
    ///
    /// # Panics
    /// If there is no process any more to take it.
    #[track_caller]
    pub fn signal(&self, signal: &str) {
        let sent =
            Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "{} has ended already:\n{}",
            self.name,
            self.stderr
        );
    }

    /// Stops it, as SIGSTOP does, and returns once each of its threads has stopped: until then they go on, and answer.
    ///
    /// # Panics
    /// If there is no process any more to stop.
    #[track_caller]
    pub fn stop(&self) {
        self.signal("STOP");
        let pid =
            i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process's number");
        let stopped = waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED);
        assert!(stopped.is_ok(), "{} cannot be stopped: {stopped:?}", self.name);
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        // Fails only for a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- what {} wrote:\n{}---", self.name, self.stderr);
        }
    }
}

/// The lines that a program has written so far. A copy shares them.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    closed: bool,
}

impl Lines {
    fn reading<R: Read + Send + 'static>(pipe: Option<R>) -> Self {
        let lines = Self::default();
        let Some(pipe) = pipe else { return lines };
        let shared = lines.clone();
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                shared.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
            shared.close();
        });
        lines
    }

    fn push(&self, line: String) {
        self.state().lines.push(line);
        self.0.changed.notify_all();
    }

    fn close(&self) {
        self.state().closed = true;
        self.0.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.state().lines.clone()
    }

    /// How many lines there are so far.
    pub fn count(&self) -> usize {
        self.state().lines.len()
    }

    /// What `find` makes of the first line, the earlier ones included, for which it is not `None`; `None` if there is
    /// no such line before `timeout`, or before the program closes its end. Blocks the thread.
    pub fn find<T>(&self, timeout: Duration, mut find: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut seen = 0;
        let mut state = self.state();
        loop {
            let found = state.lines[seen..].iter().find_map(|line| find(line));
            seen = state.lines.len();
            if found.is_some() || state.closed {
                return found;
            }
            state = self.changed(state, deadline)?;
        }
    }

    /// Waits for `count` lines; whether they came before `timeout`.
    pub fn wait_count(&self, count: usize, timeout: Duration) -> bool {
        let mut left = count;
        count == 0
            || self
                .find(timeout, |_| {
                    left -= 1;
                    (left == 0).then_some(())
                })
                .is_some()
    }

    /// Waits until the program has closed its end; whether that was before `deadline`.
    fn wait_closed(&self, deadline: Instant) -> bool {
        let mut state = self.state();
        while !state.closed {
            match self.changed(state, deadline) {
                Some(next) => state = next,
                None => return false,
            }
        }
        true
    }

    /// The state after it changed, or `None` past `deadline`.
    fn changed<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Instant,
    ) -> Option<MutexGuard<'a, State>> {
        let left = deadline.checked_duration_since(Instant::now())?;
        let (state, _) =
            self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        Some(state)
    }
}

/// The lines as they were written, each with its line end.
impl std::fmt::Display for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.state().lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Process {
        Process::start("sh", Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn lines_are_found_whether_they_came_before_or_come_later() {
        let process = shell("echo first; echo second; echo third");
        assert_eq!(
            process.stdout().find(SOON, |line| line.strip_prefix("th").map(str::to_owned)),
            Some("ird".into())
        );
        assert_eq!(process.stdout().find(SOON, |line| (line == "first").then_some(1)), Some(1));
        assert!(process.stdout().wait_count(3, SOON));
    }

    #[test]
    fn a_line_that_never_comes_ends_the_wait_when_the_program_ends() {
        let process = shell("echo only");
        assert_eq!(process.stdout().find(SOON, |line| (line == "other").then_some(())), None);
    }

    #[test]
    fn a_line_that_never_comes_ends_the_wait_in_time() {
        let process = shell("exec sleep 100");
        assert!(!process.stdout().wait_count(1, Duration::from_millis(10)));
    }

    #[test]
    fn the_exit_status_is_the_programs() {
        assert_eq!(shell("exit 3").wait(SOON).code(), Some(3));
        shell("exit 0").wait_success(SOON);
    }

    #[test]
    fn signals_reach_the_program() {
        const SIGTERM: i32 = 15;
        let mut process = shell("echo ready; exec sleep 100");
        assert!(process.stdout().wait_count(1, SOON));
        process.signal("TERM");
        assert_eq!(process.wait(SOON).signal(), Some(SIGTERM));
    }

    #[test]
    fn standard_error_is_kept_and_shown_in_messages() {
        let mut process = shell("echo broken >&2; exit 1");
        let failure =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| process.wait_success(SOON)));
        let message = *failure.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("broken") && message.contains("exit status: 1"), "{message}");
    }
}
