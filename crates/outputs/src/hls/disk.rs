//! The folder `hls.dir`, in which nothing is reached through a link: whoever can make one there must not have us read,
//! or write, what lies elsewhere.
//!
//! Everything here blocks.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, flock, linkat,
        mkdirat, openat, renameat, renameat_with, statat, unlinkat,
    },
    io::Errno,
};
use weir_blocking::Pool;
use weir_hls::Nonce;

use super::{health::Health, names::Naming};

/// Threads of a folder for segments and playlists that are written: a disk with some parallelism is kept busy, and
/// 1,000 streams that wait for a slow one wait for the disk and not for threads.
const WRITES: usize = 16;

/// Threads of a folder for what is read for viewers: most is in the page cache, and is there at once.
const READS: usize = 16;

/// How often a folder is made that another stream, which ends, removes in the same moment.
const MAKING_TRIES: usize = 8;

/// Around the random part of what a file is called before it is whole.
const UNFINISHED: (&str, &str) = (".weir-", ".tmp");

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// `hls.dir`.
#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
    folds: OnceLock<bool>,
    health: Health,
    /// Each folder has threads of its own: one that hangs keeps its own, and nobody else's.
    writes: Pool,
    reads: Pool,
    /// Says to other processes that this one writes here.
    claim: OnceLock<Folder>,
}

/// An open folder in it.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// What there is in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Whether it is a folder; else it is a regular file. Other things are not listed.
    pub is_folder: bool,
}

impl Disk {
    /// The folder `dir`, which need not be there yet.
    pub fn new(dir: &Path) -> Self {
        let (folds, claim) = (OnceLock::new(), OnceLock::new());
        let writes = Pool::new("writing HLS files", WRITES);
        let reads = Pool::new("reading HLS files", READS);
        Self { dir: dir.to_owned(), folds, health: Health::default(), writes, reads, claim }
    }

    /// Where it is, for people.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether files can be written here, as far as it is known.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The threads on which files are written, listed and removed here.
    pub fn writes(&self) -> &Pool {
        &self.writes
    }

    /// The threads on which files are read for viewers.
    pub fn reads(&self) -> &Pool {
        &self.reads
    }

    /// Says to other processes that this one writes here. False if another one has said so.
    pub fn claim(&self) -> bool {
        let Ok(root) = self.root() else { return true };
        match flock(&root.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                self.claim.get_or_init(|| root);
                true
            }
            // Locks of ours are in the way of ours, too.
            Err(Errno::WOULDBLOCK) => self.claim.get().is_some(),
            // Not every file system has locks of folders.
            Err(_) => true,
        }
    }

    /// Makes the folder, if it is not there, writes a file of so many bytes, and removes it.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn try_out(&self, bytes: usize) -> io::Result<()> {
        require_folder(&self.dir)?;
        std::fs::create_dir_all(&self.dir)?;
        let root = self.root()?;
        let name = unfinished()?;
        let mut file = root.create(&name)?;
        let zeros = io::repeat(0).take(bytes as u64);
        let written = io::copy(&mut { zeros }, &mut file).map(drop);
        root.remove(&name)?;
        written
    }

    /// Whether files could be written here. Nothing is left behind: a folder that is not there is not made, but it is
    /// tried out whether it could be.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn could_be_written(&self) -> io::Result<()> {
        require_folder(&self.dir)?;
        let is_there = |dir: &&Path| dir.as_os_str().is_empty() || dir.symlink_metadata().is_ok();
        match self.dir.ancestors().find(is_there) {
            Some(dir) if dir == self.dir => self.try_out(TRY_BYTES),
            Some(above) => {
                let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
                require_folder(above)?;
                let root = Self::new(above).root()?;
                let name = unfinished()?;
                mkdirat(&root.0, &name, Mode::from_raw_mode(0o700))?;
                Ok(unlinkat(&root.0, &name, AtFlags::REMOVEDIR)?)
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// How names become those of files here; as on a usual disk until the first of them has been looked at.
    pub fn naming(&self) -> Naming {
        Naming { folds: self.folds.get().copied().unwrap_or(false) }
    }

    /// Makes the folder, if it is not there, and finds out how it takes names.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn prepare(&self) -> io::Result<()> {
        if self.folds.get().is_some() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.dir)?;
        let root = self.root()?;
        let name = unfinished()?;
        root.create(&name)?;
        // The random part is of small letters.
        let folds = statat(&root.0, name.to_uppercase(), AtFlags::SYMLINK_NOFOLLOW).is_ok();
        root.remove(&name)?;
        self.folds.get_or_init(|| folds);
        Ok(())
    }

    /// The folder so far down; none on the way may be a link.
    ///
    /// # Errors
    /// When it is not there, or not to be had.
    pub fn open(&self, folders: &[String]) -> io::Result<Folder> {
        folders.iter().try_fold(self.root()?, |folder, name| folder.open_folder(name))
    }

    /// The same; what is missing is made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(&self, folders: &[String]) -> io::Result<Folder> {
        std::fs::create_dir_all(&self.dir)?;
        let mut tries = 0;
        loop {
            let make = |folder: Folder, name: &String| folder.make_folder(name);
            match folders.iter().try_fold(self.root()?, make) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < MAKING_TRIES => {
                    tries += 1;
                }
                made => return made,
            }
        }
    }

    /// Removes these folders, from the last one up, as far as they are empty.
    pub fn remove_empty(&self, folders: &[String]) {
        for last in (0..folders.len()).rev() {
            // Fails when another stream uses the folder, as it should.
            let above = self.open(&folders[..last]).map(|above| above.0);
            if !above.is_ok_and(|above| unlinkat(above, &folders[last], AtFlags::REMOVEDIR).is_ok())
            {
                break;
            }
        }
    }

    fn root(&self) -> io::Result<Folder> {
        // Where it leads to is the operator's choice.
        Ok(Folder(openat(CWD, &self.dir, FOLDER, Mode::empty()).map_err(missing)?))
    }
}

impl Folder {
    fn open_folder(&self, name: &str) -> io::Result<Self> {
        let folder = openat(&self.0, name, FOLDER | OFlags::NOFOLLOW, Mode::empty());
        Ok(Self(folder.map_err(missing)?))
    }

    fn make_folder(&self, name: &str) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => self.open_folder(name),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a file for writing.
    ///
    /// # Errors
    /// When there is something with this name, or as the file system has it.
    pub fn create(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.0, name, flags, Mode::from_raw_mode(0o666))?.into())
    }

    /// Writes a file so that readers see all of it or none. What stood there under its name is gone then.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn write(&self, name: &str, data: &[u8]) -> io::Result<()> {
        let unfinished = unfinished()?;
        let mut file = self.create(&unfinished)?;
        let written = file.write_all(data);
        let written = written.and_then(|()| Ok(renameat(&self.0, &unfinished, &self.0, name)?));
        if written.is_err() {
            let _ = self.remove(&unfinished);
        }
        written
    }

    /// Gives a file another name, in the folder `to`, beside the one that it has. What stood there is gone then. Where
    /// the file system knows no second names, it is copied.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn link(&self, file: &str, to: &Self, name: &str) -> io::Result<()> {
        let unfinished = unfinished()?;
        if linkat(&self.0, file, &to.0, &unfinished, AtFlags::empty()).is_err() {
            let (mut source, length) = self.open_file(file)?;
            let mut data = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
            source.read_to_end(&mut data)?;
            return to.write(name, &data);
        }
        let renamed = renameat(&to.0, &unfinished, &to.0, name);
        // Two names of the same file are left as they are by that (POSIX).
        let _ = to.remove(&unfinished);
        Ok(renamed?)
    }

    /// Opens a regular file.
    ///
    /// # Errors
    /// When there is none; a link, a folder or a pipe counts as none.
    pub fn open_file(&self, name: &str) -> io::Result<(File, u64)> {
        // A pipe without a writer must not hold us up.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(&self.0, name, flags, Mode::empty()).map_err(missing)?);
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "not a regular file"));
        }
        Ok((file, about.len()))
    }

    /// Opens a regular file for reading and writing.
    ///
    /// # Errors
    /// When there is none; a link, a folder or a pipe counts as none.
    pub fn open_to_write(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(&self.0, name, flags, Mode::empty()).map_err(missing)?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::new(io::ErrorKind::NotFound, "not a regular file")),
        }
    }

    /// Whether there is anything with this name.
    pub fn has(&self, name: &str) -> bool {
        statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Gives a file another name, which nothing has.
    ///
    /// # Errors
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) when something has it, or as the file system has it.
    pub fn rename_to_new(&self, from: &str, to: &str) -> io::Result<()> {
        match renameat_with(&self.0, from, &self.0, to, RenameFlags::NOREPLACE) {
            // Not every file system can say that there was nothing.
            Err(Errno::INVAL | Errno::NOSYS) if !self.has(to) => {
                Ok(renameat(&self.0, from, &self.0, to)?)
            }
            Err(Errno::INVAL | Errno::NOSYS) => Err(Errno::EXIST.into()),
            renamed => Ok(renamed?),
        }
    }

    /// Folders and regular files.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            // None of ours has another name.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => self.kind(name),
                kind => Some(kind),
            };
            if let Some(FileType::Directory | FileType::RegularFile) = kind {
                entries.push(Entry {
                    name: name.to_owned(),
                    is_folder: kind == Some(FileType::Directory),
                });
            }
        }
        Ok(entries)
    }

    /// How long ago a file was written; none if it is not there, or that is not known.
    pub fn age(&self, name: &str, now: SystemTime) -> Option<Duration> {
        let about = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let since_epoch = Duration::from_secs(u64::try_from(about.st_mtime).ok()?);
        now.duration_since(UNIX_EPOCH + since_epoch).ok()
    }

    /// Removes a file that may be gone already, or not go.
    pub fn remove_old(&self, name: &str) {
        if let Err(error) = self.remove(name) {
            tracing::warn!(file = name, %error, "cannot remove an old HLS file");
        }
    }

    /// Removes a regular file that may be gone already.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        if self.kind(name) != Some(FileType::RegularFile) {
            return Ok(());
        }
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn kind(&self, name: &str) -> Option<FileType> {
        let about = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(FileType::from_raw_mode(about.st_mode))
    }
}

/// What is written to see whether that works: a page.
const TRY_BYTES: usize = 4096;

/// An error if there is something at `path` that is no folder.
fn require_folder(path: &Path) -> io::Result<()> {
    let no_folder = |what| Err(io::Error::new(io::ErrorKind::NotADirectory, what));
    match path.metadata() {
        Ok(about) if !about.is_dir() => no_folder("it is a file, not a folder"),
        Err(_) if path.is_symlink() => no_folder("it is a link that does not lead to a folder"),
        // That it is not there is no error.
        _ => Ok(()),
    }
}

/// A link, or a name that no file can have, is not there.
fn missing(error: Errno) -> io::Error {
    match error {
        Errno::LOOP | Errno::NOTDIR | Errno::NAMETOOLONG => io::ErrorKind::NotFound.into(),
        other => other.into(),
    }
}

/// What a file is called before it is whole: two processes that write the same file do not meet there.
fn unfinished() -> io::Result<String> {
    let nonce = Nonce::new(getrandom::u64()?);
    Ok(format!("{}{nonce}{}", UNFINISHED.0, UNFINISHED.1))
}

/// Whether this is the name of a file that was not whole yet.
pub fn is_unfinished(name: &str) -> bool {
    let nonce = name.strip_prefix(UNFINISHED.0).and_then(|rest| rest.strip_suffix(UNFINISHED.1));
    nonce.is_some_and(|nonce| Nonce::parse(nonce).is_some())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
        names.map(str::to_owned).to_vec()
    }

    #[test]
    fn a_file_is_written_and_read_below_the_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = Disk::new(&dir.path().join("not/there"));
        let live = names(["live", "eu"]);
        assert!(disk.open(&live).is_err());
        let folder = disk.make(&live).expect("made");
        folder.write("a.m3u8", b"one").expect("written");
        folder.write("a.m3u8", b"three").expect("written again");
        let (file, length) = disk.open(&live).expect("there").open_file("a.m3u8").expect("a file");
        assert_eq!((io::read_to_string(file).expect("text").as_str(), length), ("three", 5));
        let only = Entry { name: "a.m3u8".into(), is_folder: false };
        assert_eq!(folder.entries().expect("a list"), [only], "nothing unfinished stays");
        folder.remove("a.m3u8").expect("removed");
        folder.remove("a.m3u8").expect("it is gone already");
        disk.remove_empty(&live);
        assert_eq!(disk.root().expect("the folder itself stays").entries().expect("a list"), []);
    }

    #[test]
    fn links_folders_and_pipes_are_no_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let outside = tempfile::tempdir().expect("another");
        std::fs::write(outside.path().join("secret"), "secret").expect("written");
        let disk = Disk::new(dir.path());
        let live = disk.make(&names(["live"])).expect("made");
        let here = |name: &str| dir.path().join("live").join(name);
        symlink(outside.path().join("secret"), here("link.m3u8")).expect("a link");
        symlink("link.m3u8", here("near.m3u8")).expect("a link");
        symlink(outside.path(), here("away")).expect("a link");
        std::fs::create_dir(here("folder.m3u8")).expect("a folder");
        rustix::fs::mknodat(CWD, here("pipe.m3u8"), FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
        for name in ["link.m3u8", "near.m3u8", "folder.m3u8", "pipe.m3u8", "none.m3u8"] {
            assert!(live.open_file(name).is_err(), "{name}");
            live.remove(name).expect("nothing is done");
        }
        assert!(here("pipe.m3u8").exists() && here("folder.m3u8").exists());
        assert!(disk.open(&names(["live", "away"])).is_err(), "a folder behind a link");
        assert!(disk.make(&names(["live", "away", "x"])).is_err());
        live.write("link.m3u8", b"ours").expect("the link makes room");
        assert_eq!(std::fs::read(outside.path().join("secret")).expect("there"), b"secret");
        assert_eq!(std::fs::read(here("link.m3u8")).expect("there"), b"ours");
        assert!(live.write("folder.m3u8", b"ours").is_err());
        let listed = live.entries().expect("a list").len();
        assert_eq!(listed, 2, "the new file and the folder, and nothing unfinished");
    }

    #[test]
    fn it_is_found_out_whether_names_are_mixed_up() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = Disk::new(&dir.path().join("hls"));
        disk.prepare().expect("a writable folder");
        std::fs::write(dir.path().join("probe"), "").expect("written");
        assert_eq!(disk.naming().folds, dir.path().join("PROBE").exists());
        assert_eq!(disk.root().expect("there").entries().expect("a list"), []);
    }

    #[test]
    fn unfinished_files_are_known_by_their_names() {
        assert!(is_unfinished(&unfinished().expect("random bytes")));
        for other in
            [".weir-x.tmp", "a.tmp", ".weir-aaaaaaaaaaaaaaaa.ts", ".weir-aaaaaaaaaaaaaaaA.tmp"]
        {
            assert!(!is_unfinished(other), "{other}");
        }
    }
}
