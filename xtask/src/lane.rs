//! Steps of the check that run beside others: each in a process of its own, whose output is shown when it has ended.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::{self, JoinHandle},
    time::Instant,
};

use crate::{
    Result,
    command::{create_dir, target_dir, which},
    result::Outcome,
};

/// Who goes first when the CPU is wanted by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// As everything else.
    Usual,
    /// Only while nobody else wants it: times that are measured beside it stay what they are.
    Idle,
}

/// This program, where no build of the check replaces it: the tests' build makes another of the same name.
pub struct Program(PathBuf);

impl Program {
    /// A copy below the target folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep() -> Result<Self> {
        let folder = target_dir().join("check");
        create_dir(&folder)?;
        let path = folder.join("xtask");
        let copied = env::current_exe().and_then(|own| {
            // Another one may be running from there: its file stays, under no name.
            let _ = fs::remove_file(&path);
            fs::copy(own, &path)
        });
        copied
            .map_err(|error| format!("cannot copy this program to {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

/// Steps that run one after another, beside whatever else runs.
pub struct Lane(JoinHandle<Vec<Outcome>>);

impl Lane {
    /// Begins with the first of `steps`.
    pub fn start(program: &Program, steps: &'static [&'static str], priority: Priority) -> Self {
        let program = program.0.clone();
        let perform = move || steps.iter().map(|name| perform(&program, name, priority)).collect();
        Self(thread::spawn(perform))
    }

    /// What became of its steps, once all have ended.
    pub fn finish(self) -> Vec<Outcome> {
        // It panics as we would.
        self.0.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn perform(program: &Path, name: &'static str, priority: Priority) -> Outcome {
    let start = Instant::now();
    let log = program.with_file_name(format!("{name}.log"));
    let result = run(program, name, &log, priority);
    let took = start.elapsed();
    // One write, so that nothing comes in between.
    print!("{}", fs::read_to_string(&log).unwrap_or_default());
    Outcome { name, took, result }
}

fn run(program: &Path, name: &str, log: &Path, priority: Priority) -> Result {
    let describe = |error| format!("cannot run step {name}: {error}");
    let file = File::create(log).map_err(describe)?;
    let copy = file.try_clone().map_err(describe)?;
    let mut command = prefixed(program, priority);
    command.args(["step", name]).stdin(Stdio::null()).stdout(file).stderr(copy);
    let status = command.status().map_err(describe)?;
    if status.success() { Ok(()) } else { Err(format!("see {}", log.display())) }
}

/// `program` at `priority`, where the system has a program for that.
fn prefixed(program: &Path, priority: Priority) -> Command {
    match (priority, which("chrt")) {
        (Priority::Idle, Some(chrt)) => {
            let mut command = Command::new(chrt);
            command.args(["--idle", "0"]).arg(program);
            command
        }
        _ => Command::new(program),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_is_asked_of_the_system() {
        let program = Path::new("/bin/true");
        let idle = prefixed(program, Priority::Idle);
        assert!(idle.get_program() != program || which("chrt").is_none());
        assert_eq!(prefixed(program, Priority::Usual).get_program(), program);
    }

    #[test]
    fn what_a_step_prints_is_in_its_log_and_its_end_in_the_result() {
        let log = env::temp_dir().join(format!("weir-lane-{}.log", std::process::id()));
        run(Path::new("/bin/echo"), "loom", &log, Priority::Usual).unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "step loom\n");
        let error = run(Path::new("/bin/false"), "loom", &log, Priority::Usual).unwrap_err();
        assert!(error.contains(log.to_str().unwrap()), "{error}");
        fs::remove_file(&log).unwrap();
    }
}
