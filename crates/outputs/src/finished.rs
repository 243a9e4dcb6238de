//! What is told of files that are finished: to back ends, and to whoever takes them elsewhere.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use weir_media::StreamKey;

/// A file that an output has finished: it has its last name, and nothing is written to it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedFile {
    /// Its stream.
    pub key: StreamKey,
    /// What it is.
    pub kind: FileKind,
    /// The folder of the configuration that it is in.
    pub dir: PathBuf,
    /// Where it is below that folder.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// When its first frame came, by the clock of this machine, as exactly as that is known.
    pub began: SystemTime,
    /// How long it plays.
    pub duration: Duration,
}

/// What a finished file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A recording.
    Recording,
    /// A segment of HLS.
    Segment {
        /// Its URI relative to the root of a server that serves the folder, percent-encoded.
        uri: String,
        /// Its sequence number.
        number: u64,
        /// The playlist that lists it, relative to the folder.
        playlist: String,
    },
}

/// Whoever wants to know of finished files.
pub trait OnFinished: Send + Sync {
    /// `file` is finished. Called on the thread that finished it, which has other files to write: it must not wait.
    fn finished(&self, file: &FinishedFile);

    /// Whether the recording `file` below `dir` is still to be read there: `record.keep` leaves it alone until it is
    /// not. Called on a thread that may wait for the disk.
    fn needs(&self, _dir: &Path, _file: &Path) -> bool {
        false
    }
}

/// All who want to know, filled in once while the server starts.
#[derive(Default)]
pub struct Finished(RwLock<Vec<Arc<dyn OnFinished>>>);

impl Finished {
    /// `listener` is told of every file that is finished from now on.
    pub fn listen(&self, listener: Arc<dyn OnFinished>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Tells all of them.
    pub fn tell(&self, file: &FinishedFile) {
        // Told without the lock: a listener may bring another one.
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        all.iter().for_each(|listener| listener.finished(file));
    }

    /// Whether one of them still needs the recording `file` below `dir`.
    pub fn needs(&self, dir: &Path, file: &Path) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        all.iter().any(|listener| listener.needs(dir, file))
    }

    /// Whether nobody wants to know: then it need not be worked out what to tell.
    pub fn is_empty(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Finished").finish_non_exhaustive()
    }
}
