//! The folders of recordings that the configuration names.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use weir_blocking::Pool;
use weir_config::{Config, Fault};
use weir_media::DEFAULT_VHOST;

use super::{health::Health, path::Template};
use crate::hls::{disk::Disk, is_lasting, try_folder};

/// Threads of a folder for files that are written: as many as HLS has, for the same reasons.
const WRITES: usize = 16;

/// A folder that recordings are below.
#[derive(Debug)]
pub struct Place {
    /// Its files.
    pub disk: Disk,
    /// Whether they can be written.
    pub health: Health,
    /// The threads that write them: one that hangs keeps its own, and nobody else's.
    pub writes: Pool,
    /// The thread that looks through it.
    pub looks: Pool,
    /// Whether it is being looked through, or that hangs.
    pub looking: Looking,
}

/// Whether a folder is being looked through: by one at a time, and once more if that is asked for meanwhile.
#[derive(Debug, Default)]
pub struct Looking(AtomicU8);

const IDLE: u8 = 0;
const BUSY: u8 = 1;
const AGAIN: u8 = 2;

impl Looking {
    /// Whether to begin. If somebody is at it, and `anew`, that one begins anew.
    pub fn begin(&self, anew: bool) -> bool {
        let ask = |state| match state {
            IDLE => Some(BUSY),
            BUSY if anew => Some(AGAIN),
            _ => None,
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, ask) == Ok(IDLE)
    }

    /// Whether what was begun need not begin anew.
    pub fn is_current(&self) -> bool {
        self.0.load(Ordering::Acquire) == BUSY
    }

    /// Whether that was all; else it begins anew.
    pub fn is_over(&self) -> bool {
        let ended = self.0.compare_exchange(BUSY, IDLE, Ordering::AcqRel, Ordering::Acquire);
        if ended == Err(AGAIN) {
            self.0.store(BUSY, Ordering::Release);
        }
        ended.is_ok()
    }

    /// Nobody is at it any more, whatever was asked for.
    pub fn give_up(&self) {
        self.0.store(IDLE, Ordering::Release);
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Places(Mutex<HashMap<PathBuf, Arc<Place>>>);

impl Places {
    /// The folder `dir`.
    pub fn at(&self, dir: &Path) -> Arc<Place> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            Arc::new(Place {
                disk: Disk::new(dir),
                health: Health::default(),
                writes: Pool::new("writing recordings", WRITES),
                looks: Pool::new("looking through recordings", 1),
                looking: Looking::default(),
            })
        };
        Arc::clone(places.entry(dir.to_owned()).or_insert_with(make))
    }
}

/// What recordings need and cannot have.
#[derive(Debug)]
pub struct BadPlace {
    /// What is the matter.
    pub fault: Fault,
    /// Whether it stays so until somebody mends it; a disk that is full or does not answer may not.
    pub is_lasting: bool,
}

/// The folders of recordings that are new in `config`, or all without one `before`, and cannot be written to; and the
/// templates of paths that are none. What is missing is made if `makes`.
pub fn bad_places(config: &Config, before: Option<&Config>, makes: bool) -> Vec<BadPlace> {
    let known = before.map(Config::record_dirs).unwrap_or_default();
    let names = [DEFAULT_VHOST].into_iter().chain(config.vhosts.keys().map(String::as_str));
    let templates = names.filter_map(|name| {
        let what = Template::parse(&config.vhost(name).record.path).err()?.to_string();
        let own = config.vhosts.get(name).is_some_and(|own| own.record.path.is_some());
        let path =
            if own { format!("vhosts.{name}.record.path") } else { "record.path".to_owned() };
        let fix = "write a path such as {app}/{stream}/{date}-{time}-{number}";
        Some(BadPlace { fault: Fault::new(path, what, fix), is_lasting: true })
    });
    let dirs = config.record_dirs().into_iter().filter(|(dir, _)| !known.contains_key(dir));
    let dirs = dirs.filter_map(|(dir, path)| {
        let error = try_folder(&dir, makes).err()?;
        let what = format!("recordings cannot be written to {}: {error}", dir.display());
        let fix = "use a folder that this user can write to, or \"\" to record nothing";
        Some(BadPlace { fault: Fault::new(path, what, fix), is_lasting: is_lasting(&error) })
    });
    templates.chain(dirs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_while_somebody_looks_is_looked_for_again() {
        let looking = Looking::default();
        assert!(looking.begin(true) && !looking.begin(false), "one at a time");
        assert!(looking.is_current());
        assert!(!looking.begin(true) && !looking.is_current(), "what is in force is another");
        assert!(!looking.is_over() && looking.is_current(), "it begins anew");
        assert!(looking.is_over() && looking.begin(false));
        looking.begin(true);
        looking.give_up();
        assert!(looking.begin(false));
    }
}
