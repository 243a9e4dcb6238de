//! Files that a configuration is read from, and those that it names.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

use rustix::fs::OFlags;

/// How long the configuration, and what it names, may take to be read: a network file system that answers at all does
/// so within some seconds.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a regular file of `max` bytes at most, as it is at one moment. Links are followed: a mounted ConfigMap or
/// Secret is one.
///
/// # Errors
/// When there is none, it is something else (a FIFO would block for ever), it is longer, or it changes meanwhile.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let before = file.metadata()?;
    if before.len() > max {
        return Err(too_long(max));
    }
    let bytes = read_to_end(&mut file, max)?;
    let after = file.metadata()?;
    let version = |of: &fs::Metadata| (of.len(), of.mtime(), of.mtime_nsec());
    if version(&before) != version(&after) {
        let why = "it changed while it was being read";
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
    }
    Ok(bytes)
}

/// Opens a regular file to be read, links followed.
///
/// # Errors
/// When there is none, or it is something else.
pub fn open(path: &Path) -> io::Result<File> {
    // Before it is opened, since opening some devices does something; and after, since it may be another one by then.
    require_regular(&fs::metadata(path)?)?;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    require_regular(&file.metadata()?)?;
    Ok(file)
}

fn read_to_end(file: &mut File, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max { Err(too_long(max)) } else { Ok(bytes) }
}

fn too_long(max: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {max} bytes"))
}

fn require_regular(file: &fs::Metadata) -> io::Result<()> {
    let kind = file.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    let why = format!("it is {what}, not a regular file");
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_regular_files_of_some_size_are_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "12345").expect("written");
        std::os::unix::fs::symlink("file", at("link")).expect("a link");
        for name in ["file", "link"] {
            assert_eq!(read(&at(name), 5).expect("read"), b"12345", "{name}");
        }
        let why = |path: &Path| read(path, 4).expect_err("refused").to_string();
        assert_eq!(why(&at("file")), "it is larger than 4 bytes");
        let made = Command::new("mkfifo").arg(at("fifo")).status();
        assert!(made.is_ok_and(|status| status.success()));
        std::os::unix::fs::symlink("fifo", at("to fifo")).expect("a link");
        for name in ["fifo", "to fifo"] {
            assert_eq!(why(&at(name)), "it is a FIFO, not a regular file");
        }
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
        assert_eq!(why(&at("socket")), "it is a socket, not a regular file");
        assert_eq!(why(dir.path()), "it is a folder, not a regular file");
        for device in ["/dev/zero", "/dev/null"] {
            assert_eq!(why(Path::new(device)), "it is a device, not a regular file");
        }
        assert_eq!(read(&at("none"), 4).expect_err("none").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_without_a_length_is_bounded_too() {
        // The kernel gives such files out as empty, whatever is in them.
        let error = read(Path::new("/proc/self/smaps"), 64).expect_err("it is longer");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
