//! Files below a folder of the configuration, none of which is reached through a link.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Component, Path},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat},
    io::Errno,
};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A file that is being uploaded.
#[derive(Debug)]
pub struct Local {
    file: File,
    /// How long it was when it was opened.
    pub bytes: u64,
    id: (u64, u64),
}

impl Local {
    /// Opens the regular file `file` below `dir`.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if there is none; what is no regular file, or behind a link, counts as
    /// none. Else as the file system has it.
    pub fn open(dir: &Path, file: &Path) -> io::Result<Self> {
        let (folder, name) = folder_of(dir, file)?;
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(&folder, name, flags, Mode::empty()).map_err(missing)?);
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self { file, bytes: about.len(), id: (about.dev(), about.ino()) })
    }

    /// The bytes from `from`, at most `most` of them.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn read(&mut self, from: u64, most: u64) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(from))?;
        let expected = self.bytes.saturating_sub(from).min(most);
        let mut data = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
        (&mut self.file).take(expected).read_to_end(&mut data)?;
        if data.len() as u64 != expected {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file has become shorter",
            ));
        }
        Ok(data)
    }

    /// Removes the file if it is this one still, and as long as it was.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn remove(&self, dir: &Path, file: &Path) -> io::Result<()> {
        match Self::open(dir, file) {
            Ok(now) if (now.id, now.bytes) == (self.id, self.bytes) => {
                let (folder, name) = folder_of(dir, file)?;
                Ok(unlinkat(&folder, name, AtFlags::empty())?)
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The folder that `file` is in, and its name there.
fn folder_of<'a>(dir: &Path, file: &'a Path) -> io::Result<(OwnedFd, &'a std::ffi::OsStr)> {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if !file.components().all(is_plain) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let name = file.file_name().ok_or(io::ErrorKind::NotFound)?;
    // Where the folder of the configuration leads to is the operator's choice.
    let mut folder = openat(CWD, dir, FOLDER, Mode::empty()).map_err(missing)?;
    for part in file.parent().into_iter().flat_map(Path::components) {
        folder = openat(&folder, part.as_os_str(), FOLDER | OFlags::NOFOLLOW, Mode::empty())
            .map_err(missing)?;
    }
    Ok((folder, name))
}

/// A link, or a name that no file can have, is not there.
fn missing(error: Errno) -> io::Error {
    match error {
        Errno::LOOP | Errno::NOTDIR | Errno::NAMETOOLONG => io::ErrorKind::NotFound.into(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn only_regular_files_below_the_folder_are_read_and_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("in/live")).expect("made");
        fs::write(at("secret"), "secret").expect("written");
        fs::write(at("in/live/a.flv"), "0123456789").expect("written");
        symlink("../../secret", at("in/live/link.flv")).expect("a link");
        symlink(dir.path(), at("in/away")).expect("a link");
        let open = |file: &str| Local::open(&at("in"), Path::new(file));
        for bad in ["live/link.flv", "away/secret", "../secret", "live", "live/none.flv", ""] {
            let error = open(bad).expect_err(bad);
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{bad}: {error}");
        }
        let mut file = open("live/a.flv").expect("there");
        assert_eq!((file.bytes, file.read(8, 5).expect("read")), (10, b"89".to_vec()));
        fs::write(at("in/live/new"), "0123456789").expect("written");
        fs::rename(at("in/live/new"), at("in/live/a.flv")).expect("replaced");
        file.remove(&at("in"), Path::new("live/a.flv")).expect("another file has this name now");
        let same = open("live/a.flv").expect("it stays");
        same.remove(&at("in"), Path::new("live/a.flv")).expect("removed");
        assert!(!at("in/live/a.flv").exists());
        same.remove(&at("in"), Path::new("live/a.flv")).expect("it is gone already");
    }
}
