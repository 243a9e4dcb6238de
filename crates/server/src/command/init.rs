//! What SRS's init script does, without a shell: `/usr/local/srs/etc/init.d/srs grace` as a `preStop` hook.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::operate::pid_file;

/// How long a process that is told to stop may take before it is told again, which ends it at once: as long as SRS's
/// script waits.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The same until it is killed.
const STOP_AGAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(50);

/// Where SRS writes its number, from the folder that it runs in.
const PID_FILE: &str = "objs/srs.pid";

/// The variable that names the file of Weir.
const PID_FILE_VARIABLE: &str = "WEIR_PID_FILE";

const USAGE: &str = "usage: srs {stop|status|reload|rotate|grace}";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// End it, by force if need be.
    Stop,
    /// Say whether it runs.
    Status,
    /// Have it read its configuration again.
    Reload,
    /// Have it open its log again.
    Rotate,
    /// Have it let its clients go, and do not wait for that.
    Grace,
}

impl Action {
    /// The action that SRS calls so.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "stop" => Self::Stop,
            "status" => Self::Status,
            "reload" => Self::Reload,
            "rotate" => Self::Rotate,
            "grace" => Self::Grace,
            _ => return None,
        })
    }

    /// Whether Weir has a command of that name, which asks the API.
    pub const fn is_of_weir(self) -> bool {
        matches!(self, Self::Status | Self::Reload)
    }
}

/// What the words behind the path of the script say.
///
/// # Errors
/// Says what could be said.
pub fn read(words: &[OsString]) -> Result<Action, String> {
    let [word] = words else { return Err(USAGE.to_owned()) };
    let word = word.to_string_lossy();
    match Action::of(&word) {
        Some(action) => Ok(action),
        None if ["start", "restart"].contains(&&*word) => Err(format!(
            "error: systemd or the container runtime starts Weir, and not this program\n{USAGE}"
        )),
        None => Err(USAGE.to_owned()),
    }
}

/// Does it. As with SRS's script, it is no failure if there is nobody to be told anything.
pub fn run(action: Action) -> ExitCode {
    let Some(pid) = running() else {
        eprintln!("Weir does not run");
        let is_question = action == Action::Status;
        return if is_question { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    };
    let number = pid.as_raw_nonzero();
    let told = match action {
        Action::Status => {
            println!("Weir runs (process {number})");
            return ExitCode::SUCCESS;
        }
        Action::Stop => stop(pid),
        Action::Reload => kill_process(pid, Signal::HUP),
        Action::Rotate => kill_process(pid, Signal::USR1),
        Action::Grace => kill_process(pid, Signal::QUIT),
    };
    match told {
        Ok(()) => {
            println!("told process {number}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: cannot tell process {number}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn stop(pid: Pid) -> rustix::io::Result<()> {
    for (signal, patience) in [(Signal::TERM, STOP_TIMEOUT), (Signal::TERM, STOP_AGAIN_TIMEOUT)] {
        kill_process(pid, signal)?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if test_kill_process(pid).is_err() {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
    }
    kill_process(pid, Signal::KILL)
}

/// The server that runs here: the one that its file names, or process 1 of a container. In any case it must be this
/// program.
fn running() -> Option<Pid> {
    let named = env::var_os(PID_FILE_VARIABLE).map(PathBuf::from);
    let files = named.into_iter().chain([PathBuf::from(PID_FILE)]);
    let by_file = files.filter_map(|file| pid_file::read(&file));
    by_file.chain([1]).find(|pid| is_ours(*pid)).and_then(pid_of)
}

fn pid_of(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

/// Whether `pid` is another process that runs this very file.
fn is_ours(pid: u32) -> bool {
    let file = |path: &Path| fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
    let own = file(Path::new("/proc/self/exe"));
    pid != process::id() && own.is_some() && file(Path::new(&format!("/proc/{pid}/exe"))) == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_script() {
        let of =
            |words: &str| read(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of("grace"), Ok(Action::Grace));
        assert_eq!(of("stop"), Ok(Action::Stop));
        for words in ["", "start", "restart", "grace now", "-c"] {
            assert!(of(words).is_err(), "{words}");
        }
    }

    #[test]
    fn only_processes_of_this_program_are_told_anything() {
        assert!(!is_ours(process::id()), "not itself");
        assert!(!is_ours(u32::MAX), "none of that number");
        let mut other = process::Command::new("sleep").arg("60").spawn().expect("sleep runs");
        assert!(!is_ours(other.id()), "another program");
        other.kill().expect("killed");
        other.wait().expect("our child");
    }
}
