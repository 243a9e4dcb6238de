//! A folder whose file system hangs, as one on a network does whose server has gone.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Lies over a folder until it is dropped: whoever looks into the folder meanwhile, or opens what is in it, waits. When
/// it goes, those who wait get an error, and the folder is what it was.
#[derive(Debug)]
pub struct Hanging {
    over: PathBuf,
    /// The other end of the file system, at which nobody answers.
    _silent: File,
}

impl Hanging {
    /// Lies over the folder `over`. None where this user may not mount, or there is no FUSE.
    pub fn over(over: &Path) -> Option<Self> {
        let silent = OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        // The root of the file system is a folder, by its mode.
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", silent.as_raw_fd());
        let options = CString::new(options).ok()?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("weir-hanging", over, "fuse", flags, options.as_c_str()).ok()?;
        Some(Self { over: over.to_owned(), _silent: silent })
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // Whoever is in there gets an error when the other end is closed, which is right after this.
        let _ = unmount(&self.over, UnmountFlags::DETACH);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io, sync::mpsc, thread, time::Duration};

    use super::*;

    #[test]
    fn who_looks_into_it_waits_until_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "text").unwrap();
        let Some(hanging) = Hanging::over(dir.path()) else {
            eprintln!("not tried: this user may not mount a file system");
            return;
        };
        let (said, heard) = mpsc::channel::<io::Result<Vec<u8>>>();
        let path = dir.path().join("file");
        let reading = thread::spawn(move || said.send(fs::read(path)));
        assert!(heard.recv_timeout(Duration::from_millis(300)).is_err(), "it was answered");
        drop(hanging);
        assert!(heard.recv_timeout(Duration::from_secs(20)).unwrap().is_err());
        reading.join().unwrap().unwrap();
        assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"text");
    }
}
