//! What a task does: one recording, or one playlist with its segments.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tracing::{debug, warn};
use weir_blocking::Pool;
use weir_clients::counts::COUNTS;
use weir_hls::Rendition;
use weir_media::{Budget, Charge, Use};

use crate::{
    jobs::{Begun, Job},
    local::Local,
    queue::{Item, Went},
    s3::{Failure, Payload},
    target::Target,
};

/// Parts of an upload (S3 takes no more).
const PARTS_MAX: u64 = 10_000;

/// A playlist is looked at again after this time: the end of a stream is written without another segment.
const LOOK: Duration = Duration::from_secs(6);

/// Bytes of a playlist.
const PLAYLIST_BYTES_MAX: u64 = 1 << 20;

/// The last line of a playlist that does not change any more (RFC 8216 4.3.3.4).
const END: &str = "#EXT-X-ENDLIST";

/// What is tried again after a time without a place in the budget.
const NO_MEMORY: &str = "no memory for a part of a file: limits.memory is used up";

/// What an upload needs.
pub struct Work {
    /// Where to.
    pub target: Arc<Target>,
    /// Threads for files.
    pub pool: Arc<Pool>,
    /// Where the memory of parts is from.
    pub budget: Budget,
    /// What is told of a file that is through.
    pub done: Box<dyn Fn(&Job) + Send + Sync>,
}

/// Why something is not uploaded.
#[derive(Debug)]
pub enum Error {
    /// The storage.
    There(Failure),
    /// This machine.
    Here(io::Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::There(failure)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Here(error)
    }
}

impl Error {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Here(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// A file of which a part is in memory at a time.
struct Reading {
    file: Local,
}

impl Work {
    /// Does `item`, with `segments` before it. Why it failed, if it has, is in the second.
    pub async fn run(&self, item: &Item, segments: Vec<Job>) -> (Went, Option<String>) {
        let done = match item {
            Item::Recording(dir, file) => {
                let file = crate::jobs::File::Recording(file.clone());
                self.recording(&Job { dir: dir.clone(), file }).await.map(|()| Went::Done)
            }
            Item::Playlist(dir, playlist) => self.playlist(dir, playlist, segments).await,
        };
        match done {
            Ok(went) => (went, None),
            Err(Error::There(failure)) => {
                COUNTS.upload_failures.increase();
                let went = match failure.is_of_object() {
                    true => Went::FailedHere,
                    false => Went::FailedThere,
                };
                (went, Some(failure.to_string()))
            }
            Err(Error::Here(error)) => {
                COUNTS.upload_failures.increase();
                (Went::FailedHere, Some(format!("cannot be read: {error}")))
            }
        }
    }

    async fn recording(&self, job: &Job) -> Result<(), Error> {
        let keeps = self.target.settings.keep_local;
        match self.file(job).await {
            Ok(file) => {
                let of = job.clone();
                let finish = move || match keeps {
                    true => of.forget(),
                    false => file.remove(&of.dir, Path::new(of.path())).and_then(|()| of.forget()),
                };
                self.pool.run(finish).await??;
                debug!(file = job.path(), "uploaded a recording");
                (self.done)(job);
                Ok(())
            }
            Err(error) if error.is_missing() => self.gone(job).await,
            Err(error) => Err(error),
        }
    }

    /// Puts the segments, and then the playlist as it was before: it lists nothing that came later.
    async fn playlist(
        &self,
        dir: &Path,
        playlist: &str,
        segments: Vec<Job>,
    ) -> Result<Went, Error> {
        let text = match self.text(dir, playlist).await {
            Ok(text) => Some(text),
            Err(error) if error.is_missing() => None,
            Err(error) => return Err(error),
        };
        let mut through = Vec::new();
        for job in &segments {
            match self.file(job).await {
                Ok(_) => through.push(job),
                // It has left the playlist, and the disk, before its turn came.
                Err(error) if error.is_missing() => self.gone(job).await?,
                Err(error) => return Err(error),
            }
        }
        let file = crate::jobs::File::Playlist(playlist.to_owned());
        let note = Job { dir: dir.to_owned(), file };
        let Some(text) = text else {
            for job in through {
                self.forget(job).await?;
            }
            self.forget(&note).await?;
            return Ok(Went::Done);
        };
        if !segments.is_empty() {
            self.maps(dir, playlist, &text).await?;
        }
        self.put_text(playlist, text.clone()).await?;
        self.choices(dir, playlist).await?;
        for job in through {
            self.forget(job).await?;
        }
        if text.lines().next_back() == Some(END) {
            self.forget(&note).await?;
            return Ok(Went::Done);
        }
        Ok(Went::LookAgain(LOOK))
    }

    /// The init segments that a playlist names.
    async fn maps(&self, dir: &Path, playlist: &str, text: &str) -> Result<(), Error> {
        let folder = Path::new(playlist).parent().unwrap_or(Path::new(""));
        let uris = text.lines().filter_map(|line| line.strip_prefix("#EXT-X-MAP:URI=\""));
        let mut names: Vec<_> = uris.filter_map(|uri| uri.split('"').next()).collect();
        names.dedup();
        for name in names {
            let Some(name) = weir_hls::file_name(name) else { continue };
            let path = folder.join(&*name);
            let Some(path) = path.to_str() else { continue };
            match self.put_file(dir, path, None).await {
                Err(error) if error.is_missing() => {}
                put => drop(put?),
            }
        }
        Ok(())
    }

    /// The playlist that offers several, of which this is one.
    async fn choices(&self, dir: &Path, playlist: &str) -> Result<(), Error> {
        let name = playlist.strip_suffix(".m3u8").unwrap_or(playlist);
        let (folder, name) =
            name.rsplit_once('/').map_or(("", name), |(folder, name)| (folder, name));
        let Some((stream, _)) = Rendition::of_playlist(name) else { return Ok(()) };
        let slash = if folder.is_empty() { "" } else { "/" };
        let path = format!("{folder}{slash}{stream}.m3u8");
        match self.text(dir, &path).await {
            Ok(text) => self.put_text(&path, text).await,
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn text(&self, dir: &Path, path: &str) -> Result<String, Error> {
        let (dir, path) = (dir.to_owned(), PathBuf::from(path));
        let read = move || {
            let mut file = Local::open(&dir, &path)?;
            let text = file.read(0, PLAYLIST_BYTES_MAX)?;
            String::from_utf8(text).map_err(io::Error::other)
        };
        Ok(self.pool.run(read).await??)
    }

    async fn put_text(&self, path: &str, text: String) -> Result<(), Error> {
        let payload = Payload::new(text.into_bytes());
        Ok(self.target.server.put(path, kind_of(path), &payload).await?)
    }

    async fn file(&self, job: &Job) -> Result<Local, Error> {
        let file = self.put_file(&job.dir, job.path(), Some(job)).await?;
        COUNTS.uploads.increase();
        COUNTS.upload_bytes.add(file.bytes);
        Ok(file)
    }

    /// Puts a file: whole, or in parts if it is large and `job` remembers them.
    async fn put_file(&self, dir: &Path, path: &str, job: Option<&Job>) -> Result<Local, Error> {
        let open = {
            let (dir, path) = (dir.to_owned(), PathBuf::from(path));
            move || Local::open(&dir, &path)
        };
        let mut reading = Reading { file: self.pool.run(open).await?? };
        let part = self.target.settings.part;
        match job {
            Some(job) if reading.file.bytes > part => reading = self.in_parts(reading, job).await?,
            _ => {
                let (back, payload, charge) = self.read(reading, 0, part).await?;
                reading = back;
                self.target.server.put(path, kind_of(path), &payload).await?;
                drop(charge);
            }
        }
        Ok(reading.file)
    }

    async fn in_parts(&self, mut reading: Reading, job: &Job) -> Result<Reading, Error> {
        let server = &self.target.server;
        let (path, bytes) = (job.path(), reading.file.bytes);
        let part = self.target.settings.part.max(bytes.div_ceil(PARTS_MAX));
        let at = server.to_string();
        let (of, known) = (
            job.clone(),
            self.pool.run({
                let job = job.clone();
                move || job.begun()
            }),
        );
        let known = known.await?.filter(|begun| begun.at == at && begun.bytes == bytes);
        let mut begun = match known {
            Some(begun) => begun,
            None => {
                let id = server.begin(path, kind_of(path)).await?;
                let begun = Begun { id, at, bytes, part, tags: Vec::new() };
                let noted = begun.clone();
                self.pool.run(move || of.begin(&noted)).await??;
                begun
            }
        };
        loop {
            let from = begun.tags.len() as u64 * begun.part;
            if from >= bytes {
                break;
            }
            let (back, payload, charge) = self.read(reading, from, begun.part).await?;
            reading = back;
            let sent = server.put_part(path, &begun.id, begun.tags.len() + 1, &payload).await;
            drop(charge);
            let tag = self.known_upload(job, sent).await?;
            let (of, noted) = (job.clone(), tag.clone());
            self.pool.run(move || of.add_part(&noted)).await??;
            begun.tags.push(tag);
        }
        let completed = server.complete(path, &begun.id, &begun.tags).await;
        self.known_upload(job, completed).await?;
        Ok(reading)
    }

    /// An upload that the storage does not know any more begins anew with the next attempt.
    async fn known_upload<T>(&self, job: &Job, result: Result<T, Failure>) -> Result<T, Error> {
        if result.as_ref().is_err_and(Failure::is_no_upload) {
            let of = job.clone();
            self.pool.run(move || of.forget().and_then(|()| of.note())).await??;
        }
        Ok(result?)
    }

    /// The bytes of a file from `from`, with their memory.
    async fn read(
        &self,
        mut reading: Reading,
        from: u64,
        most: u64,
    ) -> Result<(Reading, Payload, Charge), Error> {
        let bytes = reading.file.bytes.saturating_sub(from).min(most);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut charge = Charge::new(&self.budget, Use::Uploads);
        // One goes on whatever others hold: nothing else would ever make room.
        match self.budget.used_for(Use::Uploads) {
            0 => charge.add(bytes),
            _ => charge
                .grow(bytes)
                .map_err(|_| io::Error::new(io::ErrorKind::OutOfMemory, NO_MEMORY))?,
        }
        let read = move || {
            let data = reading.file.read(from, most)?;
            Ok::<_, io::Error>((reading, Payload::new(data)))
        };
        let (reading, payload) = self.pool.run(read).await??;
        Ok((reading, payload, charge))
    }

    /// There is nothing to upload any more.
    async fn gone(&self, job: &Job) -> Result<(), Error> {
        COUNTS.uploads_gone.increase();
        warn!(dir = %job.dir.display(), file = job.path(), "a file was removed before it was uploaded");
        let of = job.clone();
        let begun = self.pool.run(move || of.begun()).await?;
        if let Some(begun) = begun {
            // Without an answer, the parts stay until the bucket's rules remove them.
            let _ = self.target.server.abort(job.path(), &begun.id).await;
        }
        self.forget(job).await
    }

    async fn forget(&self, job: &Job) -> Result<(), Error> {
        let of = job.clone();
        self.pool.run(move || of.forget()).await??;
        (self.done)(job);
        Ok(())
    }
}

/// The media type of a file.
fn kind_of(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("m3u8") => "application/vnd.apple.mpegurl",
        Some("ts") => "video/mp2t",
        Some("mp4" | "m4s") => "video/mp4",
        Some("flv") => "video/x-flv",
        _ => "application/octet-stream",
    }
}
