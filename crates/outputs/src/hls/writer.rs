//! The files of a stream, which follow its window: for nginx, and for the next process.
//!
//! Nobody waits for them but the end of the process. What could not be written is tried again for as long as the
//! playlist lists it, so that a disk that was full for a moment misses nothing.

use std::{
    collections::{BTreeMap, HashSet},
    io, mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tracing::info;
use weir_clients::counts::COUNTS;
use weir_config::Hls;
use weir_hls::{Held, Listing, Rendition, Window};
use weir_media::StreamKey;

use super::{
    disks::Disks,
    files::{Files, is_of},
};

/// How long a write goes on being waited for once another folder is in force: by then the disk hangs, and what is left
/// there is not.
const LEAVING: Duration = Duration::from_secs(5);

/// When what could not be written is tried again while nothing new comes: as often as the folder is looked at.
const RETRY: Duration = Duration::from_secs(5);

/// How long the segments of a stream that has ended stay in memory once they are in files: until whoever watched it has
/// the last of them, as a rule. Then memory is for streams that live.
const ENDED_KEPT: Duration = Duration::from_secs(3);

/// The task that writes the files of one stream.
pub struct Writer {
    goal: watch::Sender<Goal>,
    task: JoinHandle<()>,
}

/// What it writes, and where.
pub struct WriterLinks {
    /// The stream.
    pub key: StreamKey,
    /// What is to be in the files.
    pub window: Arc<Window>,
    /// The folders.
    pub disks: Arc<Disks>,
    /// What is in force.
    pub settings: watch::Receiver<Hls>,
    /// Where the files are, for whoever reads what is in no memory.
    pub placed: watch::Sender<Option<Files>>,
}

/// What is to become of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// They follow the window.
    Follow,
    /// They are brought up to date and left.
    Leave,
    /// They go.
    Remove,
}

struct Task {
    links: WriterLinks,
    goal: watch::Receiver<Goal>,
    dir: PathBuf,
    place: Option<Place>,
}

/// A folder that is written to.
struct Place {
    files: Files,
    /// The segments of ours that are there; none until that has been looked at.
    there: Option<HashSet<String>>,
    /// The playlists that are there and are ours, by their files.
    written: BTreeMap<String, Bytes>,
    /// What the first one says.
    main: Option<Arc<Listing>>,
    /// Where they were before, until all is here.
    before: Option<Files>,
}

impl Writer {
    /// Begins with what the window has.
    pub fn start(links: WriterLinks) -> Self {
        let (goal, watched) = watch::channel(Goal::Follow);
        let dir = links.settings.borrow().dir.clone();
        let place = Place::of(&links, &dir);
        let task = Task { links, goal: watched, dir, place };
        Self { goal, task: tokio::spawn(task.run()) }
    }

    /// Writes what there is now, and ends.
    pub async fn leave(self) {
        self.end(Goal::Leave).await;
    }

    /// Removes all files of the stream, and ends.
    pub async fn remove(self) {
        self.end(Goal::Remove).await;
    }

    async fn end(self, goal: Goal) {
        self.goal.send_replace(goal);
        // It fails when it panics, which has been said.
        let _ = self.task.await;
    }
}

impl Task {
    async fn run(mut self) {
        loop {
            let version = self.links.window.version();
            let goal = *self.goal.borrow_and_update();
            self.follow_dir();
            if goal == Goal::Remove {
                return Box::pin(self.remove()).await;
            }
            // Boxed, so that a task that waits does not hold the room for writing.
            let is_done = Box::pin(self.sync()).await;
            if goal == Goal::Leave {
                return;
            }
            let can_leave_memory = is_done && self.has_ended() && self.links.window.bytes() > 0;
            let goes_on = tokio::select! {
                _ = self.links.window.changed(version) => Ok(()),
                () = sleep(ENDED_KEPT), if can_leave_memory => {
                    self.links.window.leave_to_files();
                    Ok(())
                }
                told = self.goal.changed() => told,
                told = self.links.settings.changed() => told,
                () = sleep(RETRY), if !is_done => Ok(()),
            };
            // Whoever would tell has gone without a word, as the process does.
            if goes_on.is_err() {
                return;
            }
        }
    }

    /// Whether the playlist that is written is that of a stream that has ended.
    fn has_ended(&self) -> bool {
        let main = self.place.as_ref().and_then(|place| place.main.as_ref());
        main.is_some_and(|listing| listing.is_ended)
    }

    /// Brings the files up to date, if that can be. True if there is nothing left to do.
    async fn sync(&mut self) -> bool {
        let Some(place) = &mut self.place else { return true };
        let left = left(self.links.settings.clone(), self.dir.clone());
        let removed = becomes(self.goal.clone(), Goal::Remove);
        let is_done = tokio::select! {
            synced = place.sync(&self.links.window) => synced.is_ok(),
            () = left => {
                // What hangs is swept once it does not.
                let why = "it hangs, and another folder is configured";
                let error = io::Error::new(io::ErrorKind::TimedOut, why);
                place.files.note(&place.files.playlist(), 0, &Err(error));
                self.place = None;
                return false;
            }
            () = removed => return false,
        };
        if is_done && place.main.is_some() {
            if let Some(before) = place.before.take() {
                tokio::spawn(async move { before.remove_all().await });
            }
            let files = place.files.clone();
            self.links.placed.send_replace(Some(files));
        }
        is_done
    }

    /// Takes up the folder that is in force now.
    fn follow_dir(&mut self) {
        let dir = self.links.settings.borrow_and_update().dir.clone();
        if dir == self.dir {
            return;
        }
        let (from, to) = (self.dir.display(), dir.display());
        info!(stream = %self.links.key, %from, %to, "HLS continues in another folder");
        let before = self.place.take();
        self.place = Place::of(&self.links, &dir);
        self.dir = dir;
        let Some(Place { files, before: earlier, main, .. }) = before else { return };
        // Where it was only for a moment there is nothing that is not elsewhere.
        let (last, gone) = match (main, earlier) {
            (None, Some(earlier)) => (earlier, Some(files)),
            (_, earlier) => (files, earlier),
        };
        let is_back = |files: &Files| files.dir() == self.dir;
        let mut gone: Vec<_> = gone.into_iter().collect();
        match &mut self.place {
            Some(place) if !is_back(&last) => place.before = Some(last),
            Some(_) => {}
            None => {
                let files = self.links.window.files();
                files.iter().for_each(|file| self.links.window.is_in_file(file, false));
                self.links.placed.send_replace(None);
                gone.push(last);
            }
        }
        for files in gone.into_iter().filter(|files| !is_back(files)) {
            tokio::spawn(async move { files.remove_all().await });
        }
    }

    async fn remove(self) {
        let Some(Place { files, before, .. }) = self.place else { return };
        if let Some(before) = before {
            before.remove_all().await;
        }
        files.remove_all().await;
    }
}

/// What is to be written.
struct Wanted {
    /// The playlists, by their files; one that names others comes after them.
    playlists: Vec<(String, Bytes)>,
    listings: Vec<Arc<Listing>>,
    main: Arc<Listing>,
}

impl Wanted {
    /// What the window has; nothing without the first playlist.
    fn of(window: &Window, files: &Files) -> Option<Self> {
        let main = window.playlist(Rendition::MAIN)?;
        let multivariant = window.multivariant();
        let (mut playlists, mut listings) = (Vec::new(), Vec::new());
        for rendition in window.renditions() {
            let listing = match rendition {
                Rendition::MAIN => Some(Arc::clone(&main)),
                other => window.playlist(other),
            };
            let Some(listing) = listing else { continue };
            let file = match rendition {
                Rendition::MAIN if multivariant.is_none() => files.playlist(),
                other => files.playlist_of(other),
            };
            playlists.push((file, listing.plain.as_ref().unwrap_or(&listing.text).clone()));
            listings.push(listing);
        }
        playlists.extend(multivariant.map(|text| (files.playlist(), text)));
        Some(Self { playlists, listings, main })
    }

    /// The files of all segments, and of what they need.
    fn files(&self) -> impl Iterator<Item = &Arc<str>> {
        self.listings.iter().flat_map(|listing| listing.files.iter())
    }
}

impl Place {
    fn of(links: &WriterLinks, dir: &Path) -> Option<Self> {
        let files = links.disks.files(dir, &links.key)?;
        Some(Self { files, there: None, written: BTreeMap::new(), main: None, before: None })
    }

    async fn sync(&mut self, window: &Window) -> io::Result<()> {
        let Some(wanted) = Wanted::of(window, &self.files) else {
            self.main = None;
            let gone = mem::take(&mut self.written).into_keys().collect();
            self.files.remove(gone).await;
            return Ok(());
        };
        let (mut bytes, mut written) = (0, self.look().await);
        if written.is_ok() {
            written = self.write(window, &wanted, &mut bytes).await;
            self.clean(window, &wanted, written.is_err()).await;
        }
        if bytes > 0 || written.is_err() {
            self.files.note(&self.files.playlist(), bytes, &written);
        }
        written
    }

    /// Looks at what is there, once.
    async fn look(&mut self) -> io::Result<()> {
        if self.there.is_none() {
            self.files.prepare().await?;
            let stem = self.files.stem();
            let left = self.files.left().await;
            let ours = left.segments.into_iter().filter(|name| is_of(&left.text, &stem, *name));
            self.there = Some(ours.map(|name| name.file(&stem)).collect());
            // Playlists of an earlier process are not what they were.
            self.written.extend(left.renditions.into_iter().map(|file| (file, Bytes::new())));
        }
        Ok(())
    }

    /// Writes what the playlists list and is not there, then the playlists. `bytes` are those of the largest segment.
    async fn write(
        &mut self,
        window: &Window,
        wanted: &Wanted,
        bytes: &mut usize,
    ) -> io::Result<()> {
        for file in wanted.files() {
            let is_there = self.there.as_ref().is_some_and(|there| there.contains(&**file));
            if !is_there {
                // It has left the window meanwhile: a newer playlist does not list it.
                let Some(data) = self.data(window, file).await else { return Ok(()) };
                *bytes = data.len().max(*bytes);
                self.files.write(file.to_string(), data).await?;
                self.there.get_or_insert_default().insert(file.to_string());
            }
            window.is_in_file(file, true);
        }
        for (file, text) in &wanted.playlists {
            if self.written.get(file) != Some(text) {
                self.files.write(file.clone(), text.clone()).await?;
                self.written.insert(file.clone(), text.clone());
                COUNTS.hls_playlists.increase();
            }
        }
        self.main = Some(Arc::clone(&wanted.main));
        Ok(())
    }

    /// What is to be in a file; none if that has left the window meanwhile.
    async fn data(&self, window: &Window, file: &str) -> Option<Bytes> {
        match window.get(file)? {
            Held::Here(data) => Some(data),
            Held::InFile => self.before.as_ref()?.read_file(file).await.ok().map(Bytes::from),
        }
    }

    /// Removes what no player may ask for any more, also from a disk that has no room for more. What the playlists there
    /// list stays, however far they are behind, unless nothing can be written.
    async fn clean(&mut self, window: &Window, wanted: &Wanted, is_behind: bool) {
        let is_gone = |file: &str| !wanted.playlists.iter().any(|(other, _)| other == file);
        let gone = self.written.extract_if(.., |file, _| !is_behind && is_gone(file));
        let mut gone: Vec<_> = gone.map(|(file, _)| file).collect();
        let Some(there) = &mut self.there else { return };
        let known = window.files();
        let listed = wanted.files().filter(|_| !is_behind);
        let known: HashSet<&str> = known.iter().chain(listed).map(|file| &**file).collect();
        gone.extend(there.extract_if(|file| !known.contains(&**file)));
        self.files.remove(gone).await;
    }
}

/// Resolves when another folder than `dir` has been in force for [`LEAVING`].
async fn left(mut settings: watch::Receiver<Hls>, dir: PathBuf) {
    if settings.wait_for(|settings| settings.dir != dir).await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep(LEAVING).await;
}

/// Resolves when this is the goal.
async fn becomes(mut goal: watch::Receiver<Goal>, wanted: Goal) {
    if goal.wait_for(|goal| *goal == wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}
