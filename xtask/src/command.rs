//! Running other programs, and where things are.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Result;

/// The top of the repository.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Where cargo builds.
pub fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that runs us, at the top of the repository, with `args` split at spaces.
pub fn cargo(args: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.args(args.split(' ')).current_dir(root());
    command
}

/// Builds `target/debug/weir` as the step `unit` does, with what all packages and tests together want of each crate:
/// by itself it would be another program, and some hundred crates would be built for it once more.
pub fn build_weir() -> Result {
    run(&mut cargo("test --quiet --workspace --test small --no-run"))
}

/// Shows `command`, runs it to its end and requires its success.
pub fn run(command: &mut Command) -> Result {
    let shown = show(command);
    eprintln!("$ {shown}");
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` ended with {status}")) }
}

/// Runs `command` silently and gives what it printed, or `None` if it cannot be started or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The file that a program name stands for, if it is installed. System folders that an ordinary user's `PATH` leaves
/// out are searched as well, because servers such as nginx live there.
pub fn which(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Path::new(program).is_file().then(|| program.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Creates a folder and its parents.
pub fn create_dir(dir: &Path) -> Result {
    fs::create_dir_all(dir).map_err(|error| format!("cannot create {}: {error}", dir.display()))
}

/// A command line for reading: the program's bare name and its arguments.
fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    let args = command.get_args().map(|arg| format!(" {}", arg.to_string_lossy()));
    name.into_owned() + &args.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named_with_its_exit_status() {
        let error = run(Command::new("false").arg("x")).unwrap_err();
        assert!(error.contains("`false x`") && error.contains('1'), "{error}");
    }

    #[test]
    fn a_missing_program_is_an_error_and_no_output() {
        let missing = "no-such-program-here";
        assert!(run(&mut Command::new(missing)).unwrap_err().contains("cannot start"));
        assert_eq!(output(&mut Command::new(missing)), None);
        assert_eq!(which(missing), None);
    }

    #[test]
    fn programs_are_found_by_name_and_by_path() {
        let sh = which("sh").unwrap();
        assert_eq!(which(sh.to_str().unwrap()), Some(sh));
    }
}
