//! The folder that the process was started in. Where `work_dir` names another one, all relative paths begin there but
//! those of the configuration and of what it includes: they are read again at each reload, and named before.

use std::{
    env, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Set once the process has gone elsewhere.
static STARTED_IN: OnceLock<PathBuf> = OnceLock::new();

/// Makes `dir` the working directory of this process.
///
/// # Errors
/// There is no such folder, or this user may not enter it.
pub fn enter(dir: &Path) -> io::Result<()> {
    let started_in = env::current_dir()?;
    env::set_current_dir(dir)?;
    // Whoever goes on from there was not started there.
    let _ = STARTED_IN.set(started_in);
    Ok(())
}

/// `path` as it was meant when the process was started.
pub fn from_start(path: &Path) -> PathBuf {
    STARTED_IN.get().map_or_else(|| path.to_owned(), |dir| dir.join(path))
}
