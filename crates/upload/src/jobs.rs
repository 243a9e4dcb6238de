//! What is to be uploaded, in notes beside the files: a process that starts goes on where another one stopped.
//!
//! Each file has a note of its own in the folder `.weir-upload` of the folder that it is in by the configuration. Its
//! first line says what is to be uploaded; if that is done in parts, the next one says what the storage calls it, and
//! each one after that is the entity tag of a part that is there. A line that is not whole counts as none.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use weir_outputs::{FileKind, FinishedFile};

/// The folder of the notes. No app of a stream and no recording begins with a dot here.
const NOTES: &str = ".weir-upload";

/// Bytes of a note: 10,000 parts of 35 bytes, and what comes before.
const NOTE_BYTES_MAX: u64 = 1 << 20;

/// A file that is to be uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// The folder of the configuration.
    pub dir: PathBuf,
    /// What is to be uploaded from there.
    pub file: File,
}

/// What is to be uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum File {
    /// A recording, by its path below the folder.
    Recording(String),
    /// A segment, as well.
    Segment {
        /// Its own path.
        file: String,
        /// That of the playlist that lists it.
        playlist: String,
        /// Its sequence number.
        number: u64,
    },
    /// A playlist that has not ended: it may change without another segment.
    Playlist(String),
}

/// An upload in parts that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// What the storage calls it.
    pub id: String,
    /// The bucket and the server that it is in.
    pub at: String,
    /// How long the file was.
    pub bytes: u64,
    /// How long a part is, but for the last one.
    pub part: u64,
    /// The entity tags of those that are there.
    #[serde(skip)]
    pub tags: Vec<String>,
}

impl Job {
    /// What is to be done about `finished`; nothing if its path is no text, which no key could be.
    pub fn of(finished: &FinishedFile) -> Option<Self> {
        let file = finished.file.to_str()?.to_owned();
        let file = match &finished.kind {
            FileKind::Recording => File::Recording(file),
            FileKind::Segment { number, playlist, .. } => {
                File::Segment { file, playlist: playlist.clone(), number: *number }
            }
        };
        Some(Self { dir: finished.dir.clone(), file })
    }

    /// The path of the file below the folder.
    pub fn path(&self) -> &str {
        match &self.file {
            File::Recording(file) | File::Playlist(file) | File::Segment { file, .. } => file,
        }
    }

    /// The number of a segment.
    pub fn number(&self) -> Option<u64> {
        match self.file {
            File::Segment { number, .. } => Some(number),
            _ => None,
        }
    }

    /// Whether there is a note: the file is still to be uploaded.
    pub fn is_noted(&self) -> bool {
        self.path_of_note().exists()
    }

    /// Writes the note, if it is not there.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn note(&self) -> io::Result<()> {
        let path = self.path_of_note();
        if path.exists() {
            return Ok(());
        }
        make_folder(&self.dir)?;
        self.replace(&path, None)
    }

    /// Writes it anew, with the upload that has begun.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn begin(&self, begun: &Begun) -> io::Result<()> {
        self.replace(&self.path_of_note(), Some(begun))
    }

    fn replace(&self, path: &Path, begun: Option<&Begun>) -> io::Result<()> {
        let mut text = serde_json::to_string(&self.file)? + "\n";
        if let Some(begun) = begun {
            text += &(serde_json::to_string(begun)? + "\n");
            text.extend(begun.tags.iter().map(|tag| format!("{tag}\n")));
        }
        let unfinished = path.with_extension("tmp");
        fs::write(&unfinished, text)?;
        fs::rename(unfinished, path)
    }

    /// Notes that one more part is there.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn add_part(&self, tag: &str) -> io::Result<()> {
        let mut note = OpenOptions::new().append(true).open(self.path_of_note())?;
        note.write_all(format!("{tag}\n").as_bytes())
    }

    /// The upload in parts that has begun, if one has.
    pub fn begun(&self) -> Option<Begun> {
        read(&self.path_of_note())?.1
    }

    /// Removes the note.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn forget(&self) -> io::Result<()> {
        match fs::remove_file(self.path_of_note()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path_of_note(&self) -> PathBuf {
        let kind = match &self.file {
            File::Playlist(_) => "playlist",
            _ => "file",
        };
        let hash = digest(&SHA256, format!("{kind} {}", self.path()).as_bytes());
        let name: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(NOTES).join(name)
    }
}

/// What is noted in `dir`, and when it was noted or went on last: at most `most` files, and whether there may be more.
///
/// # Errors
/// As the file system has it; that there are no notes is none.
pub fn noted(dir: &Path, most: usize) -> io::Result<(Vec<(Job, SystemTime)>, bool)> {
    let mut jobs = Vec::new();
    let entries = match fs::read_dir(dir.join(NOTES)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((jobs, false)),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some() {
            continue;
        }
        if jobs.len() == most {
            return Ok((jobs, true));
        }
        if let Some((file, _)) = read(&path) {
            let job = Job { dir: dir.to_owned(), file };
            // A note that was copied from elsewhere is none of ours.
            if job.path_of_note() == path {
                let since = path.metadata().and_then(|about| about.modified());
                jobs.push((job, since.unwrap_or_else(|_| SystemTime::now())));
            }
        }
    }
    Ok((jobs, false))
}

fn read(path: &Path) -> Option<(File, Option<Begun>)> {
    let about = path.symlink_metadata().ok()?;
    if !about.is_file() || about.len() > NOTE_BYTES_MAX {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    // What is behind the last line's end was being written when the process ended.
    let (whole, _) = text.rsplit_once('\n')?;
    let mut lines = whole.lines();
    let file = serde_json::from_str(lines.next()?).ok()?;
    let begun = lines.next().and_then(|line| serde_json::from_str::<Begun>(line).ok());
    let begun = begun.map(|begun| Begun { tags: lines.map(str::to_owned).collect(), ..begun });
    Some((file, begun))
}

/// A link in its place would have us write elsewhere.
fn make_folder(dir: &Path) -> io::Result<()> {
    let notes = dir.join(NOTES);
    match fs::create_dir(&notes) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match notes.symlink_metadata()?.is_dir() {
                true => Ok(()),
                false => Err(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    format!("{} is no folder", notes.display()),
                )),
            }
        }
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn notes_are_found_again_with_the_parts_that_are_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let job = |file| Job { dir: dir.path().to_owned(), file };
        let recording = job(File::Recording("live/a.flv".to_owned()));
        let (file, playlist) = ("live/a-7.ts".to_owned(), "live/a.m3u8".to_owned());
        let segment = job(File::Segment { file, playlist: playlist.clone(), number: 7 });
        let list = job(File::Playlist(playlist));
        assert_eq!(noted(dir.path(), 10).expect("none yet"), (vec![], false));
        // File systems have the time of the last tick.
        let before = SystemTime::now() - Duration::from_secs(1);
        for job in [&recording, &segment, &list] {
            job.note().expect("noted");
        }
        assert_eq!(
            noted(dir.path(), 2).map(|(jobs, more)| (jobs.len(), more)).expect("a list"),
            (2, true)
        );
        let (found, more) = noted(dir.path(), 10).expect("a list");
        assert!(!more && found.len() == 3);
        let is_there = |job: &Job| {
            let is_it = |(found, since): &(Job, SystemTime)| found == job && *since >= before;
            found.iter().any(is_it)
        };
        assert!([&recording, &segment, &list].into_iter().all(is_there), "{found:?}");
        assert_eq!(recording.begun(), None);
        let mut begun =
            Begun { id: "x&y".to_owned(), at: "s3".to_owned(), bytes: 20, part: 8, tags: vec![] };
        recording.begin(&begun).expect("noted");
        recording.add_part("\"1\"").expect("noted");
        recording.note().expect("it is there already");
        begun.tags.push("\"1\"".to_owned());
        assert_eq!(recording.begun(), Some(begun.clone()));
        let note = recording.path_of_note();
        let text = fs::read_to_string(&note).expect("text") + "\"tw";
        fs::write(&note, text).expect("written");
        assert_eq!(recording.begun(), Some(begun), "the process ended while it wrote");
        for job in [&recording, &segment, &list] {
            job.forget().expect("removed");
            job.forget().expect("it is gone already");
        }
        assert_eq!(noted(dir.path(), 10).expect("none left"), (vec![], false));
    }

    #[test]
    fn a_link_is_no_folder_for_notes() {
        let dir = tempfile::tempdir().expect("a folder");
        let outside = tempfile::tempdir().expect("another");
        std::os::unix::fs::symlink(outside.path(), dir.path().join(NOTES)).expect("a link");
        let file = File::Recording("a.flv".to_owned());
        let job = Job { dir: dir.path().to_owned(), file };
        assert!(job.note().is_err());
        assert_eq!(fs::read_dir(outside.path()).expect("a folder").count(), 0);
    }
}
