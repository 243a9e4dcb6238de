//! Where a stream's playlist and segments are, and how they get there whole.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use weir_hls::{Config, Multivariant, Playlist, Rendition, SEGMENT_BYTES_MAX, SegmentName};
use weir_media::StreamKey;

use super::{
    disk::{Disk, Folder},
    health::Lost,
    layout::{Layout, Names, joined},
    names::{self, Naming, PLAYLIST},
    view::{self, HIDDEN, View},
};
use crate::finished::{FileKind, FinishedFile};

/// Longest playlist that is read, some 8,000 segments.
const PLAYLIST_BYTES_MAX: u64 = 1 << 20;

/// Longest segment that is read in: ours end at 32 MiB, and with the frame that makes them longer.
const SEGMENT_FILE_MAX: usize = 2 * SEGMENT_BYTES_MAX;

/// How long a viewer's file may take to be opened or read: a player has given up by then, and a disk that takes so long
/// hangs.
const READ_MAX: Duration = Duration::from_secs(10);

/// How long a look at a folder may take before a stream goes on without it: the write that follows is waited for, and
/// left when another folder is in force.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// How long the files of a stream that has ended may take to be removed. What is left is swept later.
const REMOVE_MAX: Duration = Duration::from_secs(10);

/// The files of one stream: `dir/app/stream.m3u8` and `dir/app/stream-<sequence>-<nonce>.ts`; below `dir/@vhost` for
/// another vhost than the default one (`names.rs`).
#[derive(Clone, Debug)]
pub struct Files {
    disk: Arc<Disk>,
    key: StreamKey,
    /// How others call them; then they are in a hidden folder under their own names.
    names: Option<Arc<Names>>,
}

impl Files {
    /// The files of `key` on `disk`, which others call by these `names`.
    pub fn new(disk: &Arc<Disk>, key: &StreamKey, names: Option<Arc<Names>>) -> Self {
        Self { disk: Arc::clone(disk), key: key.clone(), names }
    }

    /// Whether others call them by other names.
    pub const fn has_view(&self) -> bool {
        self.names.is_some()
    }

    /// Brings the names for others up to date (`view.rs`), and says what came of it.
    pub async fn show(
        &self,
        mut view: View,
        playlists: Vec<(String, Bytes)>,
        main: String,
        files: Vec<String>,
        exists: HashSet<String>,
    ) -> (View, io::Result<()>) {
        let Some(names) = self.names.clone() else { return (view, Ok(())) };
        let place = view::Place {
            disk: Arc::clone(&self.disk),
            names,
            key: self.key.clone(),
            folders: self.folders(),
            stem: self.disk.naming().playlist(self.key.stream()),
        };
        let first = self.playlist();
        let shown = self.blocking(move || {
            let (playlists, first, main) = (&playlists[..], &*first, &*main);
            let wanted = view::Wanted { playlists, first, main, files };
            let written = view.sync(&place, &wanted, &exists);
            Ok((view, written))
        });
        shown.await.unwrap_or_else(|error| (View::default(), Err(error)))
    }

    /// Makes `hls.dir` and finds out how it takes names: what files are called is certain from then on.
    ///
    /// # Errors
    /// As the file system has it, or when it hangs.
    pub async fn prepare(&self) -> io::Result<()> {
        let disk = Arc::clone(&self.disk);
        self.disk.writes().run_within(LOOK_MAX, move || disk.prepare()).await.flatten()
    }

    /// The playlist's name.
    pub fn playlist(&self) -> String {
        self.disk.naming().playlist(self.key.stream()) + PLAYLIST
    }

    /// The name of one of several playlists.
    pub fn playlist_of(&self, rendition: Rendition) -> String {
        rendition.playlist(&self.disk.naming().playlist(self.key.stream())) + PLAYLIST
    }

    /// The stream's name in the names of its segments.
    pub fn stem(&self) -> String {
        self.disk.naming().segments(self.key.stream())
    }

    /// The folder `hls.dir` that they are in.
    pub fn dir(&self) -> &Path {
        self.disk.dir()
    }

    /// Takes note that a segment, of so many bytes, was written or not, with its playlist.
    pub fn note(&self, file: &str, bytes: usize, written: &io::Result<()>) {
        let (dir, health) = (self.disk.dir(), self.disk.health());
        match written {
            Ok(()) => health.wrote(dir, bytes),
            Err(error) => {
                let lost = Lost { stream: &self.key, path: &self.path(file), bytes };
                health.failed(dir, &lost, error);
            }
        }
    }

    /// Where the file with this name is, for people.
    pub fn path(&self, file: &str) -> PathBuf {
        let mut path = self.disk.dir().to_owned();
        path.extend(self.folders());
        path.join(file)
    }

    /// What is told of a segment that has been written: its file, and that of its playlist; its number, bytes and
    /// duration.
    pub fn finished(
        &self,
        file: &str,
        playlist: &str,
        view: &View,
        (number, bytes, duration): (u64, usize, Duration),
    ) -> FinishedFile {
        let folders = self.folders();
        let below = |file: &str| match &self.names {
            Some(names) => {
                let layout = Layout::on_disk(names, self.disk.naming(), &self.key);
                let first = (file == self.playlist()).then(|| layout.playlist());
                let shown = first.or_else(|| view.path(file).cloned());
                shown.unwrap_or_else(|| layout.other(file))
            }
            None => [folders.as_slice(), &[file.to_owned()]].concat(),
        };
        let uri = joined(&below(file));
        FinishedFile {
            key: self.key.clone(),
            kind: FileKind::Segment { uri, number, playlist: below(playlist).join("/") },
            dir: self.disk.dir().to_owned(),
            file: below(file).iter().collect(),
            bytes: bytes as u64,
            began: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
            duration,
        }
    }

    fn folders(&self) -> Vec<String> {
        folders_of(self.disk.naming(), &self.key, self.names.is_some())
    }

    /// Writes a file so that readers see all of it or none.
    ///
    /// # Errors
    /// As the file system has it.
    pub async fn write(&self, file: String, data: Bytes) -> io::Result<()> {
        let (disk, folders) = (Arc::clone(&self.disk), self.folders());
        self.blocking(move || disk.make(&folders)?.write(&file, &data)).await
    }

    /// All of a segment.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is longer than any of ours.
    pub async fn read_file(&self, file: &str) -> io::Result<Vec<u8>> {
        let file = file.to_owned();
        self.read_there(move |folder| {
            let (file, length) = folder.open_file(&file)?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > SEGMENT_FILE_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
            }
            let mut data = Vec::with_capacity(length);
            file.take(length as u64).read_to_end(&mut data)?;
            Ok(data)
        })
        .await
    }

    /// Opens a segment that viewers know by this name, and says how long it is.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn open_segment(&self, name: SegmentName) -> io::Result<(File, u64)> {
        let called = self.key.stream();
        // The names of segments are what viewers know of the stream.
        let stem = if names::is_hashed(called) { called.to_owned() } else { self.stem() };
        let file = name.file(&stem);
        self.read_there(move |folder| folder.open_file(&file)).await
    }

    /// Runs what reads a file for a viewer.
    ///
    /// # Errors
    /// As the file system has it, or when that hangs.
    pub async fn read<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        self.disk.reads().run_within(READ_MAX, work).await.flatten()
    }

    /// A playlist as it is on disk, or what the stream's own name says: the only playlist, or one of playlists. None if
    /// there is no such file.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub async fn read_playlist(&self, wanted: Option<Rendition>) -> io::Result<Option<String>> {
        let file = self.playlist();
        let rendition = wanted.map(|rendition| (rendition, self.playlist_of(rendition)));
        let read = move |folder: &Folder| match rendition {
            None => read_text(folder, &file),
            Some((Rendition::MAIN, first)) => {
                let text = read_text(folder, &file)?;
                // One of playlists has the first of them beside it.
                if Multivariant::is(&text) { read_text(folder, &first) } else { Ok(text) }
            }
            Some((_, other)) => read_text(folder, &other),
        };
        found(self.read_there(read).await)
    }

    /// All playlists as they are on disk; none if there is not even the first.
    ///
    /// # Errors
    /// When that is there and cannot be read.
    pub async fn read_playlists(&self) -> io::Result<Option<LeftPlaylists>> {
        let (name, stem) = (self.disk.naming().playlist(self.key.stream()), self.stem());
        let (file, first) = (self.playlist(), self.playlist_of(Rendition::MAIN));
        let read = move |folder: &Folder| {
            let text = read_text(folder, &file)?;
            let (main, multivariant) = match Multivariant::is(&text) {
                true => (read_text(folder, &first)?, Some(text)),
                false => (text, None),
            };
            let others = on_disk(folder, &name, &stem).renditions.into_iter();
            let other = |file: String| {
                let (_, rendition) = Rendition::of_playlist(file.strip_suffix(PLAYLIST)?)?;
                Some((rendition, read_text(folder, &file).ok()?))
            };
            let others = others.filter_map(other).filter(|(other, _)| *other != Rendition::MAIN);
            Ok(LeftPlaylists { main, others: others.collect(), multivariant })
        };
        found(self.read_there(read).await)
    }

    /// The segments that are on disk.
    pub async fn segments(&self) -> Vec<SegmentName> {
        self.left().await.segments
    }

    /// What is on disk.
    pub async fn left(&self) -> OnDisk {
        let (name, stem) = (self.disk.naming().playlist(self.key.stream()), self.stem());
        let (disk, folders) = (Arc::clone(&self.disk), self.folders());
        let list = move || io::Result::Ok(on_disk(&disk.open(&folders)?, &name, &stem));
        self.disk.writes().run_within(LOOK_MAX, list).await.flatten().unwrap_or_default()
    }

    /// Removes files that may be gone already.
    pub async fn remove(&self, files: Vec<String>) {
        if files.is_empty() {
            return;
        }
        let remove = move |folder: &Folder| {
            files.iter().for_each(|file| folder.remove_old(file));
            Ok(())
        };
        // Without the folder nothing is there.
        let _ = self.there(remove).await;
    }

    /// Removes the playlist and every segment, then the folders if they are empty.
    pub async fn remove_all(&self) {
        let (disk, folders) = (Arc::clone(&self.disk), self.folders());
        let (name, stem) = (self.disk.naming().playlist(self.key.stream()), self.stem());
        let has_view = self.has_view();
        let is_late = Arc::new(AtomicBool::new(false));
        let is_off = Arc::clone(&is_late);
        let removed = self.disk.writes().run_within(REMOVE_MAX, move || {
            let folder = disk.open(&folders)?;
            // Where it hung until now, another publish may have begun.
            if is_off.load(Ordering::Acquire) {
                return Ok(());
            }
            let OnDisk { text, segments, renditions } = on_disk(&folder, &name, &stem);
            for name in segments.into_iter().filter(|name| is_of(&text, &stem, *name)) {
                folder.remove_old(&name.file(&stem));
            }
            renditions.iter().for_each(|file| folder.remove_old(file));
            if has_view {
                view::remove_all(&disk, &folder, &name);
            }
            folder.remove_old(&(name + PLAYLIST));
            disk.remove_empty(&folders);
            io::Result::Ok(())
        });
        // Without the folder nothing is there.
        let _ = removed.await;
        is_late.store(true, Ordering::Release);
    }

    async fn read_there<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Folder) -> io::Result<T> + Send + 'static,
    {
        let (disk, folders) = (Arc::clone(&self.disk), self.folders());
        self.read(move || work(&disk.open(&folders)?)).await
    }

    async fn there<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Folder) -> io::Result<T> + Send + 'static,
    {
        let (disk, folders) = (Arc::clone(&self.disk), self.folders());
        self.blocking(move || work(&disk.open(&folders)?)).await
    }

    /// Runs what waits for the disk where nothing else waits for it.
    async fn blocking<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        self.disk.writes().run(work).await.flatten()
    }
}

/// The folders from `hls.dir` down to the files of `key`, which are hidden if others call them otherwise.
pub fn folders_of(naming: Naming, key: &StreamKey, is_hidden: bool) -> Vec<String> {
    let hidden = is_hidden.then(|| HIDDEN.to_owned());
    hidden.into_iter().chain(naming.folders(key)).collect()
}

/// The text of a playlist.
///
/// # Errors
/// When there is none, it cannot be read, or is too long.
pub fn read_text(folder: &Folder, playlist: &str) -> io::Result<String> {
    let (file, length) = folder.open_file(playlist)?;
    if length > PLAYLIST_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too long for a playlist"));
    }
    io::read_to_string(file.take(PLAYLIST_BYTES_MAX))
}

/// What was found, or nothing where there is no file.
fn found<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The playlists of a stream, as they are on disk.
#[derive(Debug)]
pub struct LeftPlaylists {
    /// The first.
    pub main: String,
    /// The others that can be read.
    pub others: Vec<(Rendition, String)>,
    /// The one of playlists, if players have been told of that.
    pub multivariant: Option<String>,
}

/// What is on disk of a stream.
#[derive(Debug, Default)]
pub struct OnDisk {
    /// The playlist, if it can be read.
    pub text: String,
    /// The segments, and what they need.
    pub segments: Vec<SegmentName>,
    /// The files of further playlists.
    pub renditions: Vec<String>,
}

/// What is in `folder` of the stream whose playlist and segments have these names.
fn on_disk(folder: &Folder, name: &str, stem: &str) -> OnDisk {
    let mut found = OnDisk {
        text: read_text(folder, &format!("{name}{PLAYLIST}")).unwrap_or_default(),
        ..OnDisk::default()
    };
    let entries = folder.entries().unwrap_or_default().into_iter().filter(|entry| !entry.is_folder);
    for file in entries.map(|entry| entry.name) {
        let playlist = file.strip_suffix(PLAYLIST).and_then(Rendition::of_playlist);
        if playlist.is_some_and(|(stream, _)| stream == name) {
            found.renditions.push(file);
        } else {
            found.segments.extend(SegmentName::of(stem, &file));
        }
    }
    found
}

/// Whether Weir wrote this segment. A nonce says so. A name without one, which earlier releases gave, is ours if the
/// playlist beside it is, and goes with it.
pub fn is_of(playlist: &str, stem: &str, name: SegmentName) -> bool {
    let config = Config::new(stem);
    let covers = || {
        Playlist::has_written(&config, playlist)
            && Playlist::resume(&config, playlist).is_ok_and(|list| list.covers(name.sequence))
    };
    name.nonce.is_some() || covers()
}

#[cfg(test)]
mod tests {
    use weir_hls::{Form, Nonce};
    use weir_media::DEFAULT_VHOST;

    use super::*;

    fn files(dir: &std::path::Path, vhost: &str, stream: &str) -> Files {
        let key = StreamKey::new(vhost, "live/eu", stream).expect("a good key");
        Files::new(&Arc::new(Disk::new(dir)), &key, None)
    }

    #[test]
    fn other_vhosts_have_a_folder_of_their_own() {
        let files = files(std::path::Path::new("d"), "example.com", "a");
        let path = files.path(&files.playlist());
        assert_eq!(path, std::path::Path::new("d/@example.com/live/eu/a.m3u8"));
    }

    #[tokio::test]
    async fn removing_a_stream_leaves_what_is_not_its() {
        let dir = tempfile::tempdir().expect("a folder");
        let (files, neighbour) =
            (files(dir.path(), DEFAULT_VHOST, "a"), files(dir.path(), DEFAULT_VHOST, "a-1"));
        let nonce = Nonce::new(getrandom::u64().expect("random bytes"));
        let mut list = Playlist::starting_at(&Config::new("a"), 7);
        let segment = list.file(nonce, Form::Ts);
        list.push(&segment, std::time::Duration::from_secs(2));
        let theirs = SegmentName { sequence: 7, nonce: Some(nonce), form: Form::Ts }.file("a-1");
        let left = [theirs.as_str(), "a-1.m3u8", "a-500.ts", "a-notes.ts", "a.txt"];
        for file in [segment.as_str(), "a-6.ts"].into_iter().chain(left) {
            files.write(file.to_owned(), Bytes::from_static(b"x")).await.expect("written");
        }
        files.write(files.playlist(), list.render_plain().into()).await.expect("written");
        assert_eq!(neighbour.segments().await.len(), 1);
        files.remove_all().await;
        let there = std::fs::read_dir(dir.path().join("live/eu")).expect("the folder");
        let mut there: Vec<_> = there.map(|entry| entry.expect("an entry").file_name()).collect();
        there.sort_unstable();
        let mut left = left;
        left.sort_unstable();
        assert_eq!(there, left);
    }
}
