//! Where a stream's playlist and segments are, and how they get there whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use weir_media::{DEFAULT_VHOST, StreamKey};

use crate::blocking::{self, HLS_WRITES};

/// Longest playlist that is read: four windows of the most segments, and what is noted of eight that wait to go,
/// have a third of it.
const PLAYLIST_BYTES_MAX: u64 = 4 << 20;

/// The files of one stream: `dir/app/stream.m3u8` and `dir/app/stream-<sequence>.ts`, as SRS names them; below
/// `dir/@vhost` for another vhost than the default one.
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
    /// How the stream's segments are named.
    names: weir_hls::Config,
}

impl Files {
    /// The files of `key` below `dir`. A key is safe as a path, so all of them are below `dir`.
    pub fn new(dir: &Path, key: &StreamKey) -> Self {
        let mut folder = dir.to_owned();
        if key.vhost() != DEFAULT_VHOST {
            folder.push(format!("@{}", key.vhost()));
        }
        folder.push(key.app());
        Self { folder, names: weir_hls::Config::new(key.stream()) }
    }

    /// The playlist.
    pub fn playlist(&self) -> PathBuf {
        self.folder.join(format!("{}.m3u8", self.names.name))
    }

    /// The segment with this sequence number.
    pub fn numbered(&self, sequence: u64) -> PathBuf {
        self.segment(&self.names.segment_name(sequence))
    }

    /// The file that a playlist calls `uri`.
    pub fn segment(&self, uri: &str) -> PathBuf {
        self.folder.join(uri)
    }

    /// Writes a file so that readers see all of it or none.
    ///
    /// # Errors
    /// As the file system has it; a half-written temporary file may stay until the next write.
    pub async fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let (folder, path, data) = (self.folder.clone(), path.to_owned(), data.to_owned());
        let write = move || {
            fs::create_dir_all(&folder)?;
            let temporary = temporary(&path);
            fs::write(&temporary, data)?;
            fs::rename(&temporary, &path)
        };
        HLS_WRITES.run(write).await.flatten()
    }

    /// The playlist as it is on disk; none if there is no such file.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub async fn read_playlist(&self) -> io::Result<Option<String>> {
        let path = self.playlist();
        let read = move || blocking::read_text(&path, PLAYLIST_BYTES_MAX);
        match HLS_WRITES.run(read).await.flatten() {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The sequence numbers of the segments that are on disk.
    pub async fn sequences(&self) -> Vec<u64> {
        let files = self.clone();
        HLS_WRITES.run(move || files.numbers()).await.unwrap_or_default()
    }

    fn numbers(&self) -> Vec<u64> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let number = |entry: fs::DirEntry| {
            let name = entry.file_name();
            // One that a killed process did not finish has a number too.
            let name = name.to_str().map(|name| name.strip_suffix(".tmp").unwrap_or(name))?;
            self.names.sequence_of(name)
        };
        entries.filter_map(number).collect()
    }

    /// Removes the playlist and every segment, then the folders if they are empty.
    pub async fn remove_all(&self, dir: &Path) {
        let (files, dir) = (self.clone(), dir.to_owned());
        // What the process is too late for stays, as after a crash.
        let _ = HLS_WRITES.run(move || files.remove_now(&dir)).await;
    }

    fn remove_now(&self, dir: &Path) {
        let numbered = self.numbers().into_iter().map(|sequence| self.numbered(sequence));
        for path in std::iter::once(self.playlist()).chain(numbered) {
            remove_now(&path);
            remove_now(&temporary(&path));
        }
        for folder in self.folder.ancestors().take_while(|folder| *folder != dir) {
            // Fails when another stream uses the folder, as it should.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// Where a file is before it is whole.
fn temporary(path: &Path) -> PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    temporary.into()
}

/// Removes a file that may be gone already.
pub async fn remove(path: &Path) {
    let path = path.to_owned();
    let _ = HLS_WRITES.run(move || remove_now(&path)).await;
}

fn remove_now(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove an old HLS file");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> Files {
        Files::new(dir, &StreamKey::new(DEFAULT_VHOST, "live/eu", "a").expect("a good key"))
    }

    #[test]
    fn other_vhosts_have_a_folder_of_their_own() {
        let key = StreamKey::new("example.com", "live", "a").expect("a good key");
        assert_eq!(
            Files::new(Path::new("d"), &key).playlist(),
            Path::new("d/@example.com/live/a.m3u8")
        );
    }

    #[tokio::test]
    async fn removing_a_stream_leaves_its_neighbours() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = files(dir.path());
        let neighbour = dir.path().join("live/eu/b-1.ts");
        for path in
            [files.playlist(), files.segment("a-1.ts"), files.segment("a-2.ts"), neighbour.clone()]
        {
            files.write(&path, b"x").await.expect("written");
        }
        files.remove_all(dir.path()).await;
        assert!(neighbour.exists());
        assert_eq!(std::fs::read_dir(dir.path().join("live/eu")).expect("folder").count(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_thousand_streams_that_are_written_at_once_take_few_threads() {
        const STREAMS: usize = 1000;
        let dir = tempfile::tempdir().expect("a folder");
        let writes = (0..STREAMS).map(|number| {
            let key = StreamKey::new(DEFAULT_VHOST, "live", format!("s{number}").as_str());
            let files = Files::new(dir.path(), &key.expect("a good key"));
            tokio::spawn(async move { files.write(&files.numbered(1), &[0; 100_000]).await })
        });
        for write in writes.collect::<Vec<_>>() {
            write.await.expect("a task").expect("written");
        }
        // Those that were needed are still there.
        let threads = std::fs::read_dir("/proc/self/task").expect("Linux").count();
        assert!(threads < 40, "{threads} threads");
        assert_eq!(std::fs::read_dir(dir.path().join("live")).expect("folder").count(), STREAMS);
    }
}
