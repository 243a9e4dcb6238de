//! How programs are started.
//!
//! A program has to end with the server, also when that is killed. Only the program itself can ask the system for that
//! (PR_SET_PDEATHSIG), between its start and its own first instruction. Code that runs there in a copy of the server
//! would have the whole memory of the server copied for it, page table by page table, while streams wait. So the server
//! starts itself anew, which costs a millisecond and copies nothing, and that process asks and becomes the program.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{self, ExitCode, Stdio},
    sync::OnceLock,
};

use rustix::fs::{Access, access};
use tokio::process::Command;
use weir_config::{Config, Exec, Role};

/// What the server's own program is called with to become another one.
pub const WORD: &str = "run-child";

/// What a shell ends with when there is no such program.
const NOT_FOUND: u8 = 127;

/// Variables of the server's environment that may have secrets in them.
const OWN_VARIABLES: [&str; 2] = ["WEIR_", "SRS_"];

/// The program that knows what to do with [`WORD`].
static THROUGH: OnceLock<OsString> = OnceLock::new();

/// From now on programs are started through `program`, which calls [`enter`] when its first argument is [`WORD`].
/// Without this they are started directly, and may outlive a server that is killed.
pub fn launch_through(program: impl Into<OsString>) {
    // Once is enough.
    let _ = THROUGH.set(program.into());
}

/// Becomes the program that `words` name, behind the number of the process that has to be the parent. Returns only
/// when that cannot be.
pub fn enter(words: &[OsString]) -> ExitCode {
    let [parent, program, arguments @ ..] = words else { return ExitCode::FAILURE };
    if !end_with(parent) {
        return ExitCode::FAILURE;
    }
    let error = process::Command::new(program).args(arguments).exec();
    eprintln!("cannot start {}: {error}", program.display());
    ExitCode::from(NOT_FOUND)
}

/// Has the system kill this process, and what it becomes, when its parent ends. False if that has happened already.
#[cfg(target_os = "linux")]
fn end_with(parent: &OsString) -> bool {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    if set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        return false;
    }
    let now = getppid().map(|parent| parent.as_raw_nonzero().to_string());
    now.is_some_and(|now| parent.to_str() == Some(now.as_str()))
}

#[cfg(not(target_os = "linux"))]
fn end_with(_parent: &OsString) -> bool {
    true
}

/// A sentence on each program in `config` that is not on this machine.
pub fn missing(config: &Config) -> Vec<String> {
    let of_exec = |exec: &Exec| exec.run.first().cloned();
    let streams = config.programs().flat_map(|(_, exec, transcode)| {
        let programs = exec.iter().filter_map(of_exec);
        programs.chain(transcode.iter().map(|it| it.program.clone())).collect::<Vec<_>>()
    });
    let ingests = config.ingest.iter().filter(|_| config.role == Role::Origin);
    let all = streams.chain(ingests.map(|it| it.program.clone())).collect::<BTreeSet<_>>();
    let missing = all.into_iter().filter(|program| !is_there(program));
    missing
        .map(|program| format!("the program {program} is not found (exec, transcode, ingest)"))
        .collect()
}

fn is_there(program: &str) -> bool {
    let is_file = |path: &Path| access(path, Access::EXEC_OK).is_ok() && path.is_file();
    if program.contains('/') {
        return is_file(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_file(&folder.join(program)))
}

/// The command that runs `program` with `arguments`: no shell, nothing to read, what it says for us to read, and in a
/// process group of its own.
pub fn command(program: &str, arguments: &[String]) -> Command {
    let mut command = match THROUGH.get() {
        Some(through) => {
            let mut command = Command::new(through);
            command.arg(WORD).arg(process::id().to_string()).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        let is_own = |prefix: &&str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        if OWN_VARIABLES.iter().any(is_own) {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    command
}
