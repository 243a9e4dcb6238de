//! The file that says which process it is.
//!
//! A process that is replaced leaves the file of the one that replaces it alone, and writes its own again when that one
//! dies and it has to go on.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use tokio::sync::watch;
use tracing::warn;

use crate::phase::Phase;

/// Everybody may know it.
const MODE: u32 = 0o644;

/// More than the longest number of a process, and the line feed.
const BYTES_MAX: u64 = 32;

/// The number of the process cannot be written down.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path} (pid_file): {why}")]
pub struct Error {
    path: PathBuf,
    why: io::Error,
}

/// The file of this process.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the number of this process, and a line feed, to `path`, as a whole: whoever reads it has the number of
    /// the process before or this one. What a process left there that is no more is overwritten.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(path: PathBuf) -> Result<Arc<Self>, Error> {
        let file = Self { path };
        match file.put() {
            Ok(()) => Ok(Arc::new(file)),
            Err(why) => Err(Error { path: file.path, why }),
        }
    }

    fn put(&self) -> io::Result<()> {
        let mut draft = self.path.as_os_str().to_owned();
        draft.push(format!(".{}", process::id()));
        let draft = PathBuf::from(draft);
        // One that was killed while it wrote: in a container all have the same number.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&draft)?;
        let written = file
            .write_all(format!("{}\n", process::id()).as_bytes())
            .and_then(|()| fs::rename(&draft, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written
    }

    /// Writes it again whenever the process goes on instead of the one that had replaced it. Of phases that follow each
    /// other quickly only the last is seen, so that it is the file which says whether there was such a process.
    pub async fn follow(self: Arc<Self>, mut phases: watch::Receiver<Phase>) {
        while phases.changed().await.is_ok() {
            if *phases.borrow_and_update() != Phase::Serving {
                continue;
            }
            let file = Arc::clone(&self);
            let put = tokio::task::spawn_blocking(move || match file.is_own() {
                true => Ok(()),
                false => file.put(),
            });
            if let Ok(Err(error)) = put.await {
                warn!(path = %self.path.display(), %error, "cannot write pid_file");
            }
        }
    }

    /// Whether it names this process.
    fn is_own(&self) -> bool {
        read(&self.path) == Some(process::id())
    }

    /// Removes it, unless it is another process's by now.
    pub fn remove(&self) {
        if self.is_own() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The number of the process that the file at `path` names.
pub fn read(path: &Path) -> Option<u32> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_while_the_process_runs_and_stale_ones_are_overwritten() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("weir.pid");
        fs::write(&path, "4000000000\n").expect("written");
        fs::write(dir.path().join(format!("weir.pid.{}", process::id())), "torn").expect("written");
        let file = PidFile::write(path.clone()).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("read"), format!("{}\n", process::id()));
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1, "no draft is left");
        file.remove();
        assert!(!path.exists());
    }

    #[test]
    fn the_file_of_another_process_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("weir.pid");
        let file = PidFile::write(path.clone()).expect("written");
        fs::write(&path, "1\n").expect("written");
        file.remove();
        assert_eq!(read(&path), Some(1));
    }

    #[tokio::test]
    async fn a_process_that_goes_on_writes_it_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("weir.pid");
        let file = PidFile::write(path.clone()).expect("written");
        let phases = watch::Sender::new(Phase::Serving);
        let following = tokio::spawn(Arc::clone(&file).follow(phases.subscribe()));
        tokio::task::yield_now().await;
        fs::write(&path, "1\n").expect("written");
        // The other one dies at once.
        phases.send_replace(Phase::Draining);
        phases.send_replace(Phase::Serving);
        drop(phases);
        following.await.expect("it ends with the phases");
        assert_eq!(read(&path), Some(process::id()));
    }

    #[test]
    fn what_is_no_number_names_nobody() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("weir.pid");
        for text in ["", "x", "0", "-1", "12 13", "4294967296", &"1".repeat(100)] {
            fs::write(&path, text).expect("written");
            assert_eq!(read(&path), None, "{text:?}");
        }
        assert_eq!(read(&dir.path().join("none")), None);
    }
}
