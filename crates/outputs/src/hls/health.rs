//! Whether files can be written to a folder of HLS: for metrics and whoever asks, and now and then for the log.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use rustix::io::Errno;
use tracing::{error, info};
use weir_clients::counts::COUNTS;

/// The least that is written to try a folder out: a page, since some disks that are full still take empty files.
const TRY_BYTES_MIN: usize = 4096;

/// How often the log says of a folder that files are lost, with their number.
const SAY: Duration = Duration::from_secs(60);

/// What is known of a folder.
#[derive(Debug, Default)]
pub struct Health {
    known: Mutex<Known>,
    /// Whether it is being tried out, or that hangs.
    pub is_tried: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    trouble: Option<DiskFault>,
    /// Whether something was written since the last look.
    has_written: bool,
    /// When the log said last that files are lost.
    said: Option<Instant>,
    /// Whether it has not said since that all is well again.
    is_open: bool,
    /// Files that were lost since then.
    lost: u64,
}

#[derive(Clone, Debug)]
struct DiskFault {
    why: Arc<str>,
    /// What could not be written: less than this says nothing.
    bytes: usize,
}

/// A file that could not be written.
pub struct Lost<'a> {
    /// Its stream.
    pub stream: &'a dyn std::fmt::Display,
    /// Where it was to be.
    pub path: &'a Path,
    /// Its length.
    pub bytes: usize,
}

impl Health {
    /// Why nothing can be written; none if it can.
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.lock().trouble.as_ref().map(|trouble| Arc::clone(&trouble.why))
    }

    /// A file could not be written. What ails the whole disk is known by it; whether something else does, the next look
    /// shows.
    pub fn failed(&self, dir: &Path, lost: &Lost<'_>, error: &io::Error) {
        COUNTS.hls_errors.increase();
        let mut known = self.lock();
        known.lost += 1;
        if ails_disk(error) {
            known.ail(error, lost.bytes);
        }
        let said = known.say();
        drop(known);
        if let Some(count) = said {
            let Lost { stream, path, .. } = lost;
            error!(
                %stream, dir = %dir.display(), path = %path.display(), %error, lost = count,
                "cannot write HLS files: viewers are served from memory"
            );
        }
    }

    /// A file of so many bytes was written.
    pub fn wrote(&self, dir: &Path, bytes: usize) {
        let mut known = self.lock();
        known.has_written = true;
        known.recover(dir, bytes);
    }

    /// How many bytes to try it out with, if that is due.
    pub fn due(&self) -> Option<usize> {
        let mut known = self.lock();
        let has_written = std::mem::take(&mut known.has_written);
        let bytes = known.trouble.as_ref().map(|trouble| trouble.bytes);
        match bytes {
            None if has_written => None,
            bytes => Some(bytes.unwrap_or_default().max(TRY_BYTES_MIN)),
        }
    }

    /// It was tried out with so many bytes.
    pub fn tried(&self, dir: &Path, bytes: usize, tried: &io::Result<()>) {
        let mut known = self.lock();
        let Err(error) = tried else { return known.recover(dir, bytes) };
        known.ail(error, bytes);
        let said = known.say();
        drop(known);
        if said.is_some() {
            error!(
                dir = %dir.display(), %error,
                "HLS files cannot be written: viewers are served from memory"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn ail(&mut self, error: &io::Error, bytes: usize) {
        let bytes = self.trouble.as_ref().map_or(bytes, |trouble| trouble.bytes.max(bytes));
        self.trouble = Some(DiskFault { why: error.to_string().into(), bytes });
    }

    /// How many files were lost, if the log is to say it.
    fn say(&mut self) -> Option<u64> {
        if self.said.is_some_and(|said| said.elapsed() < SAY) {
            return None;
        }
        self.said = Some(Instant::now());
        self.is_open = true;
        Some(std::mem::take(&mut self.lost))
    }

    fn recover(&mut self, dir: &Path, bytes: usize) {
        if self.trouble.take_if(|trouble| trouble.bytes <= bytes).is_some()
            && std::mem::take(&mut self.is_open)
        {
            info!(dir = %dir.display(), lost = self.lost, "HLS files can be written again");
        }
    }
}

/// Whether what happened to one file happens to all of them.
fn ails_disk(error: &io::Error) -> bool {
    const OF_DISKS: [Errno; 9] = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::ROFS,
        Errno::IO,
        Errno::NODEV,
        Errno::NXIO,
        Errno::STALE,
        Errno::TIMEDOUT,
        Errno::NOTCONN,
    ];
    Errno::from_io_error(error).is_some_and(|errno| OF_DISKS.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(bytes: usize) -> Lost<'static> {
        Lost { stream: &"live/a", path: Path::new("d/live/a.m3u8"), bytes }
    }

    #[test]
    fn what_ails_the_disk_is_over_when_as_much_can_be_written() {
        let (health, dir) = (Health::default(), Path::new("d"));
        assert_eq!(health.due(), Some(TRY_BYTES_MIN), "nothing is known yet");
        health.wrote(dir, 1000);
        assert_eq!(health.due(), None, "it has just been written to");
        assert_eq!(health.due(), Some(TRY_BYTES_MIN), "and then no more");
        health.failed(dir, &lost(1_000_000), &Errno::NOSPC.into());
        assert!(health.trouble().is_some_and(|why| why.contains("No space")));
        health.wrote(dir, 1000);
        assert!(health.trouble().is_some(), "a small file is no proof");
        assert_eq!(health.due(), Some(1_000_000));
        health.tried(dir, 1_000_000, &Ok(()));
        assert!(health.trouble().is_none());
    }

    #[test]
    fn one_file_that_cannot_be_written_is_not_the_disk() {
        let (health, dir) = (Health::default(), Path::new("d"));
        health.failed(dir, &lost(1000), &Errno::ACCESS.into());
        assert!(health.trouble().is_none());
        health.tried(dir, TRY_BYTES_MIN, &Err(Errno::ACCESS.into()));
        assert!(health.trouble().is_some(), "it was more than the one");
    }

    #[test]
    fn the_log_says_it_once_a_minute() {
        let mut known = Known { lost: 3, ..Known::default() };
        assert_eq!(known.say(), Some(3));
        known.lost = 400;
        assert_eq!(known.say(), None);
        known.said = Instant::now().checked_sub(SAY);
        assert_eq!(known.say(), Some(400));
    }
}
