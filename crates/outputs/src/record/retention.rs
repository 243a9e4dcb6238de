//! Which recordings are removed again: those that are too old, and the oldest when there are too many bytes of them
//! (`record.keep`).
//!
//! Only what Weir has written and finished goes. That is known by lists in the folder `.weir-recordings` of
//! `record.dir`, one for each day, which each process that finishes a recording adds a line to. A line has the length
//! of the file: one that is not as long is somebody else's, and stays, as does everything that no list names. Nothing
//! is reached through a link.

use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Component, Path},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::warn;
use weir_media::date::rfc3339;

use crate::{
    finished::{FileKind, FinishedFile, OnFinished},
    hls::disk::Disk,
};

/// The folder of the lists. No recording is in one whose name begins with a dot.
const LISTS: &str = ".weir-recordings";

/// Lines of lists that are read in a turn: a year of a recording every five minutes. What comes after them is newer.
const LINES_MAX: usize = 100_000;

/// Files that are removed in a turn; the next turn goes on.
const REMOVED_MAX: usize = 1000;

/// Bytes of a list: more lines than a day has.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// Days after which a list without files is removed: no process adds to it any more, whatever its clock says.
const LIST_DAYS: u64 = 2;

/// What is kept of recordings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Files that were finished longer ago go; none if they are kept for ever.
    pub age: Option<Duration>,
    /// The oldest go while there are more bytes in all; none if that does not matter.
    pub size: Option<u64>,
}

/// What was removed in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files.
    pub files: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Files that would have been removed, and are still needed.
    pub needed: usize,
    /// Whether there is more to remove, for another turn.
    pub has_more: bool,
}

/// Adds what is finished to the lists.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lists;

impl OnFinished for Lists {
    fn finished(&self, file: &FinishedFile) {
        if file.kind != FileKind::Recording {
            return;
        }
        // On the thread that has written the file: it waits for the same disk.
        if let Err(error) = add(&file.dir, &file.file, file.bytes, SystemTime::now()) {
            let dir = file.dir.display();
            warn!(%error, %dir, "cannot list a recording, which is therefore never removed");
        }
    }
}

fn add(dir: &Path, file: &Path, bytes: u64, now: SystemTime) -> io::Result<()> {
    let no_text = || io::Error::new(io::ErrorKind::InvalidInput, "its path is no text");
    let file = file.to_str().filter(|file| !file.contains('\n')).ok_or_else(no_text)?;
    let lists = dir.join(LISTS);
    if let Err(error) = fs::create_dir(&lists)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    // A link would have us write elsewhere.
    if !lists.symlink_metadata()?.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "the folder of the lists is none",
        ));
    }
    let mut list = OpenOptions::new().append(true).create(true).open(lists.join(day(now)))?;
    // In one piece: another process may add to the same list.
    list.write_all(format!("{bytes} {file}\n").as_bytes())
}

/// `2026-11-28`, in UTC.
fn day(at: SystemTime) -> String {
    let text = rfc3339(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    text.split('T').next().unwrap_or_default().to_owned()
}

/// A recording that is there.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Recording {
    written: SystemTime,
    file: String,
    bytes: u64,
}

/// Removes what is to go below `disk`, the oldest first. What is `needed` stays, however old and large it is. It
/// blocks.
///
/// # Errors
/// When the lists cannot be read.
pub fn sweep(
    disk: &Disk,
    limits: Limits,
    now: SystemTime,
    needed: &dyn Fn(&Path) -> bool,
) -> io::Result<Removed> {
    let mut there = recordings(disk, now)?;
    there.sort();
    let mut rest: u64 = there.iter().map(|recording| recording.bytes).sum();
    let mut removed = Removed::default();
    for recording in there {
        let age = now.duration_since(recording.written).unwrap_or_default();
        let is_old = limits.age.is_some_and(|most| age > most);
        let is_too_much = limits.size.is_some_and(|most| rest > most);
        if !is_old && !is_too_much {
            break;
        }
        if needed(Path::new(&recording.file)) {
            removed.needed += 1;
            continue;
        }
        if removed.files == REMOVED_MAX {
            removed.has_more = true;
            break;
        }
        rest -= recording.bytes;
        match remove(disk, &recording.file) {
            Ok(()) => {
                removed.files += 1;
                removed.bytes += recording.bytes;
            }
            Err(error) => {
                let dir = disk.dir().display();
                warn!(%error, %dir, file = recording.file, "cannot remove a recording");
            }
        }
    }
    Ok(removed)
}

/// What the lists name and is there. A list of days ago that names nothing that is there is removed.
fn recordings(disk: &Disk, now: SystemTime) -> io::Result<Vec<Recording>> {
    let (mut all, mut known, mut lines) = (Vec::new(), HashSet::new(), 0);
    for (name, path) in lists(disk.dir())? {
        let before = all.len();
        if !path.symlink_metadata().is_ok_and(|it| it.is_file() && it.len() <= LIST_BYTES_MAX) {
            continue;
        }
        for line in String::from_utf8_lossy(&fs::read(&path)?).lines() {
            lines += 1;
            let Some((bytes, file)) = line.split_once(' ') else { continue };
            let Ok(bytes) = bytes.parse() else { continue };
            // The same file may have been finished twice, by a process that another one recovered it from.
            if known.insert(file.to_owned())
                && let Some(written) = written(disk, file, bytes)
            {
                all.push(Recording { written, file: file.to_owned(), bytes });
            }
        }
        let is_past = name < day(now - Duration::from_secs(LIST_DAYS * 86_400));
        if all.len() == before && is_past {
            // Whoever else removes it has the same reason.
            let _ = fs::remove_file(&path);
        }
        if lines >= LINES_MAX {
            break;
        }
    }
    Ok(all)
}

/// The lists, the oldest first.
fn lists(dir: &Path) -> io::Result<Vec<(String, std::path::PathBuf)>> {
    let entries = match fs::read_dir(dir.join(LISTS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut lists = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            lists.push((name, entry.path()));
        }
    }
    lists.sort();
    Ok(lists)
}

/// When a file was written, if it is there and as long as it was.
fn written(disk: &Disk, file: &str, bytes: u64) -> Option<SystemTime> {
    let (folders, name) = parts(file)?;
    let (file, length) = disk.open(&folders).ok()?.open_file(&name).ok()?;
    file.metadata().ok()?.modified().ok().filter(|_| length == bytes)
}

fn remove(disk: &Disk, file: &str) -> io::Result<()> {
    let Some((folders, name)) = parts(file) else { return Ok(()) };
    disk.open(&folders)?.remove(&name)?;
    disk.remove_empty(&folders);
    Ok(())
}

/// The folders that a file is in, and its name there; none for what leads out of the folder.
fn parts(file: &str) -> Option<(Vec<String>, String)> {
    let part = |part: Component<'_>| match part {
        Component::Normal(name) => name.to_str().map(str::to_owned),
        _ => None,
    };
    let mut parts = Path::new(file).components().map(part).collect::<Option<Vec<_>>>()?;
    let name = parts.pop()?;
    Some((parts, name))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::symlink};

    use tempfile::TempDir;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    struct Place {
        dir: TempDir,
        disk: Disk,
        now: SystemTime,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let disk = Disk::new(dir.path());
            Self { dir, disk, now: SystemTime::now() }
        }

        /// A file that is so many hours old.
        fn put(&self, file: &str, bytes: usize, hours: u32) {
            let path = self.dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(&path, vec![0; bytes]).expect("written");
            let file = File::options().append(true).open(path).expect("there");
            file.set_modified(self.now - HOUR * hours).expect("set");
        }

        /// The same, finished by Weir.
        fn record(&self, file: &str, bytes: usize, hours: u32) {
            self.put(file, bytes, hours);
            let at = self.now - HOUR * hours;
            add(self.dir.path(), Path::new(file), bytes as u64, at).expect("listed");
        }

        fn has(&self, file: &str) -> bool {
            self.dir.path().join(file).symlink_metadata().is_ok()
        }

        fn sweep(&self, age: Option<Duration>, size: Option<u64>) -> Removed {
            self.sweep_but(age, size, &[])
        }

        fn sweep_but(&self, age: Option<Duration>, size: Option<u64>, needed: &[&str]) -> Removed {
            let is_needed = |file: &Path| needed.iter().any(|it| Path::new(it) == file);
            sweep(&self.disk, Limits { age, size }, self.now, &is_needed).expect("swept")
        }
    }

    #[test]
    fn what_is_too_old_goes_and_then_the_oldest_until_the_rest_is_small_enough() {
        let at = Place::new();
        for (file, hours) in [("a/old.flv", 100), ("b/3.flv", 3), ("b/1.flv", 1), ("a/2.flv", 2)] {
            at.record(file, 10, hours);
        }
        assert_eq!(at.sweep(None, None), Removed::default(), "kept for ever");
        assert_eq!(at.sweep(Some(HOUR * 99), Some(30)).files, 1);
        assert!(!at.has("a/old.flv") && at.has("a/2.flv"));
        let removed = at.sweep(Some(HOUR * 99), Some(19));
        assert_eq!(removed, Removed { files: 2, bytes: 20, ..Removed::default() });
        assert!(at.has("b/1.flv") && !at.has("b/3.flv"));
        assert!(!at.has("a"), "a folder that is empty goes, too");
    }

    #[test]
    fn what_is_needed_stays_and_what_is_not_goes_instead() {
        let at = Place::new();
        for (file, hours) in [("a/3.flv", 3), ("a/2.flv", 2), ("a/1.flv", 1), ("a/0.flv", 0)] {
            at.record(file, 10, hours);
        }
        let removed = at.sweep_but(None, Some(25), &["a/3.flv", "a/1.flv"]);
        assert_eq!((removed.files, removed.needed), (2, 2));
        assert!(at.has("a/3.flv") && at.has("a/1.flv"));
        assert!(!at.has("a/2.flv") && !at.has("a/0.flv"), "the rest makes room, as far as it can");
        assert_eq!(at.sweep(Some(HOUR * 2), None).files, 1, "nobody needs it any more");
        assert!(!at.has("a/3.flv") && at.has("a/1.flv"));
    }

    #[test]
    fn nothing_goes_that_weir_has_not_written_and_finished() {
        let at = Place::new();
        at.put("a/theirs.flv", 10, 100);
        at.put("a/.weir-unfinished.flv", 10, 100);
        at.record("a/changed.flv", 10, 100);
        at.put("a/changed.flv", 11, 100);
        at.record("a/link.flv", 10, 100);
        fs::remove_file(at.dir.path().join("a/link.flv")).expect("removed");
        symlink("theirs.flv", at.dir.path().join("a/link.flv")).expect("a link");
        let outside = tempfile::tempdir().expect("another");
        fs::write(outside.path().join("x.flv"), [0; 10]).expect("written");
        symlink(outside.path(), at.dir.path().join("away")).expect("a link");
        let elsewhere = outside.path().join("x.flv").display().to_string();
        for file in ["away/x.flv", "../x.flv", &elsewhere] {
            add(at.dir.path(), Path::new(file), 10, at.now - HOUR * 100).expect("listed");
        }
        assert_eq!(at.sweep(Some(HOUR), Some(0)), Removed::default());
        for file in ["a/theirs.flv", "a/.weir-unfinished.flv", "a/changed.flv", "a/link.flv"] {
            assert!(at.has(file), "{file}");
        }
        assert!(outside.path().join("x.flv").exists());
    }

    #[test]
    fn a_turn_is_bounded_and_lists_go_with_their_files() {
        let at = Place::new();
        for number in 0..REMOVED_MAX + 5 {
            at.record(&format!("a/{number}.flv"), 1, 100);
        }
        at.record("a/new.flv", 1, 0);
        let removed = at.sweep(Some(HOUR), None);
        assert!(removed.files == REMOVED_MAX && removed.has_more);
        assert_eq!(at.sweep(Some(HOUR), None).files, 5);
        assert_eq!(lists(at.dir.path()).expect("lists").len(), 2);
        at.sweep(Some(HOUR), None);
        assert_eq!(lists(at.dir.path()).expect("lists").len(), 1, "that of today");
        assert!(at.has("a/new.flv"));
    }
}
