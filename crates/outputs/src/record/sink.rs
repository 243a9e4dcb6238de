//! The files of one recording on their disk. Everything here blocks.

use std::{
    fs::File,
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use weir_clients::counts::COUNTS;
use weir_media::StreamKey;

use super::{
    cutter::Op,
    places::{Place, template_of},
    recover::{self, ABOUT, UNFINISHED},
};
use crate::{
    finished::{FileKind, Finished, FinishedFile},
    hls::disk::Folder,
    template::{PathOf, Template},
};

/// How many names are tried: others of the same second, by other processes, may have some.
const NAMES_MAX: u64 = 1000;

/// Writes the files of one recording.
pub struct Sink {
    /// The folder.
    pub place: Arc<Place>,
    key: StreamKey,
    /// None if it is none, which is said before it is in force.
    template: Option<Template>,
    finished: Arc<Finished>,
    /// Whether the names of files say their number.
    is_counted: bool,
    /// Files so far, and names that were taken.
    number: u64,
    file: Option<Open>,
}

/// A file that is being written.
struct Open {
    /// Locked for as long as it is open.
    file: File,
    folder: Folder,
    folders: Vec<String>,
    /// Its last name.
    name: String,
    bytes: u64,
    began: SystemTime,
}

impl Sink {
    /// No file yet.
    pub fn new(place: &Arc<Place>, key: &StreamKey, path: &str, finished: &Arc<Finished>) -> Self {
        Self {
            place: Arc::clone(place),
            key: key.clone(),
            template: template_of(path).ok(),
            is_counted: path.contains("{number}"),
            finished: Arc::clone(finished),
            number: 0,
            file: None,
        }
    }

    /// Where the present file is going to be below the folder, and its bytes.
    pub fn present(&self) -> Option<(PathBuf, u64)> {
        self.file.as_ref().map(|open| (open.path(), open.bytes))
    }

    /// Does all of `ops`. After an error the present file is complete, as far as that went, and the rest is not done.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn run(&mut self, ops: Vec<Op>) -> io::Result<()> {
        for op in ops {
            let done = match op {
                Op::Begin(container) => self.begin(container.extension()),
                Op::Data(data) => self.write(&data),
                Op::End(duration) => self.end(Some(duration)),
            };
            if let Err(error) = done {
                // What there is of it is kept, if that can be.
                let _ = self.end(None);
                return Err(error);
            }
        }
        match &self.file {
            Some(open) => open.require_name(),
            None => Ok(()),
        }
    }

    fn begin(&mut self, extension: &str) -> io::Result<()> {
        let began = SystemTime::now();
        let template = self.template.as_ref();
        let template = template.ok_or_else(|| io::Error::other("record.path is no template"))?;
        if !self.is_counted {
            self.number = 0;
        }
        for tries in 0..NAMES_MAX {
            self.number += u64::from(self.is_counted || tries > 0);
            let path = template.expand(&PathOf {
                vhost: self.key.vhost(),
                app: self.key.app(),
                stream: self.key.stream(),
                at: began,
                number: self.number,
                duration: Duration::ZERO,
            });
            let mut folders: Vec<String> =
                path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            let name = folders.pop().unwrap_or_default() + extension;
            let folder = self.place.disk.make(&folders)?;
            if folder.has(&name) {
                continue;
            }
            let file = match folder.create(&format!("{name}{UNFINISHED}")) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                created => created?,
            };
            // Another process may look through the folder in this moment, and take the file for one that is left.
            let is_ours = match file.try_lock() {
                Ok(()) => recover::has_name(&file)?,
                Err(std::fs::TryLockError::WouldBlock) => false,
                // Not every file system has locks.
                Err(std::fs::TryLockError::Error(_)) => true,
            };
            if is_ours {
                recover::write_about(&folder, &name, &self.key, began)?;
                self.file = Some(Open { file, folder, folders, name, bytes: 0, began });
                return Ok(());
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "no name is free for another file"))
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        let Some(open) = &mut self.file else { return Ok(()) };
        open.file.write_all(data)?;
        open.bytes += data.len() as u64;
        COUNTS.record_bytes.add(data.len() as u64);
        Ok(())
    }

    /// Ends the file, which plays so long; none where it is cut in its midst.
    fn end(&mut self, duration: Option<Duration>) -> io::Result<()> {
        let Some(open) = self.file.take() else { return Ok(()) };
        open.require_name()?;
        if duration.is_none() {
            // What was written of a piece that is not whole.
            open.file.set_len(open.bytes)?;
        }
        let unfinished = format!("{}{UNFINISHED}", open.name);
        if open.bytes == 0 {
            open.folder.remove(&unfinished)?;
            return open.folder.remove(&format!("{}{ABOUT}", open.name));
        }
        let name = recover::rename(&open.folder, &unfinished, &open.name)?;
        open.folder.remove(&format!("{}{ABOUT}", open.name))?;
        COUNTS.record_files.increase();
        let since = SystemTime::now().duration_since(open.began).unwrap_or_default();
        let mut file: PathBuf = open.folders.iter().collect();
        file.push(name);
        self.finished.tell(&FinishedFile {
            key: self.key.clone(),
            kind: FileKind::Recording,
            dir: self.place.disk.dir().to_owned(),
            file,
            bytes: open.bytes,
            began: open.began,
            duration: duration.unwrap_or(since),
        });
        Ok(())
    }
}

impl Open {
    fn path(&self) -> PathBuf {
        let mut path: PathBuf = self.folders.iter().collect();
        path.push(&self.name);
        path
    }

    /// An error if somebody has removed the file, or the folder with it: nobody would find what is written to it.
    fn require_name(&self) -> io::Result<()> {
        match recover::has_name(&self.file)? {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the file was removed while it was written",
            )),
        }
    }
}
