//! The folders that the configuration names.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use weir_blocking::try_within;
use weir_config::Hls;
use weir_media::StreamKey;

use super::{disk::Disk, files::Files, layout::Names};
use crate::finished::Finished;

/// How long a folder may take to be looked at where a start, or a reload, waits for that. One that takes longer is said
/// to hang, and keeps nobody from RTMP.
const START_MAX: Duration = Duration::from_secs(2);

/// The folders that the configuration has named.
#[derive(Debug, Default)]
pub struct Disks {
    all: Mutex<HashMap<PathBuf, Arc<Disk>>>,
    finished: Arc<Finished>,
}

impl Disks {
    /// None yet; `finished` is told of the segments that are written.
    pub fn new(finished: &Arc<Finished>) -> Self {
        Self { all: Mutex::default(), finished: Arc::clone(finished) }
    }

    /// Who is told of the segments that are written.
    pub fn finished(&self) -> &Arc<Finished> {
        &self.finished
    }

    /// The folder `dir`.
    pub fn at(&self, dir: &Path) -> Arc<Disk> {
        let mut disks = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(disk) = disks.get(dir) {
            return Arc::clone(disk);
        }
        let disk = Arc::new(Disk::new(dir));
        disks.insert(dir.to_owned(), Arc::clone(&disk));
        disk
    }

    /// The files of `key` as `settings` have them; none without a folder.
    pub fn files(&self, settings: &Hls, key: &StreamKey) -> Option<Files> {
        let Hls { dir, .. } = settings;
        let names = || Names::of(settings).map(Arc::new);
        (!dir.as_os_str().is_empty()).then(|| Files::new(&self.at(dir), key, names()))
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Disk>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Whether files can be written to `dir`, which is made if `makes`; else nothing is left there.
///
/// # Errors
/// As the file system has it.
pub fn try_folder(dir: &Path, makes: bool) -> io::Result<()> {
    let disk = Disk::new(dir);
    try_within(START_MAX, move || {
        disk.could_be_written()?;
        if makes { disk.prepare() } else { Ok(()) }
    })
}

/// Says that this process writes to `disk`. False if another one has said so; one that hangs is nobody's.
pub fn claim(disk: Arc<Disk>) -> bool {
    try_within(START_MAX, move || Ok(disk.claim())).unwrap_or(true)
}

/// Whether another process has said that it writes to `dir`.
pub fn is_claimed(dir: &Path) -> bool {
    !claim(Arc::new(Disk::new(dir)))
}
