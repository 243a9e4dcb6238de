//! The pages in the program, and pictures of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Result,
    command::{create_dir, root, run},
    tools,
};

/// Where the sources of the pages are, and where they are packed.
fn folders() -> (PathBuf, PathBuf) {
    let crate_dir = root().join("crates/console");
    (crate_dir.join("web"), crate_dir.join("packed"))
}

/// Packs every file of the pages, the licences left out.
pub fn pack() -> Result {
    let (web, packed) = folders();
    let mut bytes = 0;
    for folder in ["", "vendor"] {
        create_dir(&packed.join(folder))?;
        for entry in read_dir(&web.join(folder))? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !entry.is_file() || name.ends_with("LICENSE") || name == "PUBLISHED" {
                continue;
            }
            let to = packed.join(folder).join(format!("{name}.gz"));
            bytes += pack_file(&entry, &to)?;
        }
    }
    println!("{bytes} bytes in {}", packed.display());
    Ok(())
}

fn read_dir(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut all: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    all.sort();
    Ok(all)
}

/// Packs a file, unless what is there unpacks to the same: another gzip makes other bytes of it.
fn pack_file(from: &Path, to: &Path) -> Result<usize> {
    let failed = |error: std::io::Error| format!("{}: {error}", from.display());
    let source = fs::read(from).map_err(failed)?;
    let unpacked = Command::new("gzip").arg("-dc").arg(to).output().map_err(failed)?;
    if !unpacked.status.success() || unpacked.stdout != source {
        let packed =
            Command::new("gzip").args(["-9", "-n", "-c"]).arg(from).output().map_err(failed)?;
        if !packed.status.success() {
            return Err(format!("gzip cannot pack {}", from.display()));
        }
        fs::write(to, packed.stdout).map_err(failed)?;
    }
    Ok(fs::metadata(to).map_err(failed)?.len() as usize)
}

/// Makes the pictures of the README, with the test that draws them.
pub fn screenshots() -> Result {
    tools::install_for_pictures()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "nextest",
        "run",
        "--package",
        "weir-server",
        "--test",
        "console",
        "--run-ignored",
        "only",
        "screenshots",
    ]);
    run(cargo.current_dir(root()))
}
