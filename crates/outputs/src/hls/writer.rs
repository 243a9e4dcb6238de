//! The files of a stream, which follow its window: for nginx, and for the next process.
//!
//! Nobody waits for them but the end of the process. What could not be written is tried again for as long as the
//! playlist lists it, so that a disk that was full for a moment misses nothing.

use std::{
    collections::HashSet,
    io, mem,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tracing::info;
use weir_clients::counts::COUNTS;
use weir_config::Hls;
use weir_hls::{
    Entry, EntryKind, Held, Listing, MediaPlaylist, Rendition, SegmentName, Window, file_name,
};
use weir_media::StreamKey;

use super::{
    disks::Disks,
    files::{Files, is_of},
    view::View,
};
use crate::finished::{Finished, FinishedFile};

/// How long a write goes on being waited for once another folder is in force: by then the disk hangs, and what is left
/// there is not.
const LEAVING: Duration = Duration::from_secs(5);

/// When what could not be written is tried again while nothing new comes: as often as the folder is looked at.
const RETRY: Duration = Duration::from_secs(5);

/// How long the segments of a stream that has ended stay in memory once they are in files: until whoever watched it has
/// the last of them, as a rule. Then memory is for streams that live.
const ENDED_KEPT: Duration = Duration::from_secs(3);

/// Who writes the files of one stream: a task, while there is something to write.
pub struct Writer(Work);

/// Whether there is something to write.
enum Work {
    /// There is, or may be.
    Running { goal: Arc<watch::Sender<Goal>>, task: JoinHandle<Option<Box<Task>>> },
    /// There is not: the stream has ended, and all of it is in files.
    Resting(Box<Task>),
    /// Its task has panicked, which has been said.
    Gone,
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

/// What a writer goes by while it has nothing to do.
pub struct Rest {
    dir: PathBuf,
    place: Option<Place>,
}

/// What is to become of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// They follow the window.
    Follow,
    /// They follow the window, which changes no more: the task is to end once nothing is left to do.
    Rest,
    /// The task has ended so.
    Rested,
    /// They are brought up to date and left.
    Leave,
    /// They go.
    Remove,
}

/// What it goes by.
struct Task {
    links: WriterLinks,
    dir: PathBuf,
    place: Option<Place>,
}

/// A folder that is written to.
struct Place {
    files: Files,
    /// The segments of ours that are there; none until that has been looked at.
    there: Option<HashSet<String>>,
    /// The playlists that are there and are ours, by their files. Mostly one: a map has room for eleven.
    written: Vec<(String, Bytes)>,
    /// What the first one says.
    main: Option<Arc<Listing>>,
    /// Where they were before, until all is here.
    before: Option<Files>,
    /// The names of all of it for others.
    view: View,
}

impl Writer {
    /// Begins with what the window has; `rest` is what an earlier one went by.
    pub fn start(links: WriterLinks, rest: Option<Rest>) -> Self {
        let Rest { dir, place } = rest.unwrap_or_else(|| {
            let dir = links.settings.borrow().dir.clone();
            Rest { place: Place::of(&links), dir }
        });
        Self(Work::begin(Box::new(Task { links, dir, place })))
    }

    /// Whether it has nothing to do ([`rest`](Self::rest)).
    pub fn rests(&self) -> bool {
        matches!(self.0, Work::Resting(_))
    }

    /// What it goes by, if it has nothing to do; else itself.
    pub fn into_rest(self) -> Result<Rest, Self> {
        match self.0 {
            Work::Resting(task) => {
                let Task { dir, place, .. } = *task;
                Ok(Rest { dir, place })
            }
            work => Err(Self(work)),
        }
    }

    /// Writes on if it [rests](Self::rest): the window is going to change, or other settings are in force.
    pub async fn wake(&mut self) {
        if let Work::Running { goal, .. } = &self.0 {
            becomes_if(goal, Goal::Rest, Goal::Follow);
            let has_rested = *goal.borrow() == Goal::Rested;
            if has_rested {
                self.rest().await;
            }
        }
        self.0 = match std::mem::replace(&mut self.0, Work::Gone) {
            Work::Resting(task) => Work::begin(task),
            other => other,
        };
    }

    /// Resolves once all of a stream that has ended is in files. From then on it has no task. Never resolves when it
    /// has none already.
    pub async fn rest(&mut self) {
        let Work::Running { goal, task } = &mut self.0 else { return std::future::pending().await };
        becomes_if(goal, Goal::Follow, Goal::Rest);
        self.0 = task.await.ok().flatten().map_or(Work::Gone, Work::Resting);
    }

    /// Writes what there is now, and ends.
    pub async fn leave(self) {
        self.end(Goal::Leave).await;
    }

    /// Removes all files of the stream, and ends.
    pub async fn remove(self) {
        self.end(Goal::Remove).await;
    }

    async fn end(mut self, last: Goal) {
        self.wake().await;
        if let Work::Running { goal, task } = self.0 {
            goal.send_replace(last);
            // It fails when it panics, which has been said.
            let _ = task.await;
        }
    }
}

impl Rest {
    /// Where the files are, if there are any.
    pub fn files(&self) -> Option<&Files> {
        self.place.as_ref().map(|place| &place.files)
    }

    /// The folder that was in force; empty for none.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Work {
    fn begin(task: Box<Task>) -> Self {
        let goal = Arc::new(watch::Sender::new(Goal::Follow));
        let task = tokio::spawn(task.run(goal.subscribe(), Arc::downgrade(&goal)));
        Self::Running { goal, task }
    }
}

impl Task {
    /// Itself when it rests; else its stream is over, or the process.
    async fn run(
        mut self: Box<Self>,
        mut told: watch::Receiver<Goal>,
        goal: Weak<watch::Sender<Goal>>,
    ) -> Option<Box<Self>> {
        // What the window had when it left memory.
        let mut left = None;
        loop {
            let version = self.links.window.version();
            let aim = *told.borrow_and_update();
            self.follow_dir();
            if aim == Goal::Remove {
                Box::pin(self.remove()).await;
                return None;
            }
            // Boxed, so that a task that waits does not hold the room for writing.
            let is_done = Box::pin(self.sync(&told)).await;
            if aim == Goal::Leave {
                return None;
            }
            let can_leave_memory = is_done && self.has_ended() && left != Some(version);
            let has_news = self.links.settings.has_changed().unwrap_or_default();
            // From that goal on the window has not changed, so what was synced is all.
            if aim == Goal::Rest && is_done && !can_leave_memory && !has_news {
                // Whoever wakes it sees that it has ended, or it sees that it is not to.
                let has_rested = becomes_if(&*goal.upgrade()?, Goal::Rest, Goal::Rested);
                if has_rested {
                    return Some(self);
                }
            }
            let goes_on = tokio::select! {
                _ = self.links.window.changed(version) => Ok(()),
                () = sleep(ENDED_KEPT), if can_leave_memory => {
                    self.links.window.leave_to_files();
                    left = Some(version);
                    Ok(())
                }
                told = told.changed() => told,
                told = self.links.settings.changed() => told,
                () = sleep(RETRY), if !is_done => Ok(()),
            };
            // Whoever would tell has gone without a word, as the process does.
            if goes_on.is_err() {
                return None;
            }
        }
    }

    /// Whether the playlist that is written is that of a stream that has ended.
    fn has_ended(&self) -> bool {
        let main = self.place.as_ref().and_then(|place| place.main.as_ref());
        main.is_some_and(|listing| listing.is_ended)
    }

    /// Brings the files up to date, if that can be. True if there is nothing left to do.
    async fn sync(&mut self, told: &watch::Receiver<Goal>) -> bool {
        let Some(place) = &mut self.place else { return true };
        let left = left(self.links.settings.clone(), self.dir.clone());
        let removed = becomes(told.clone(), Goal::Remove);
        let is_done = tokio::select! {
            synced = place.sync(&self.links.window, self.links.disks.finished()) => synced.is_ok(),
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
        self.place = Place::of(&self.links);
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
    /// The file of the first media playlist.
    main_file: String,
}

impl Wanted {
    /// What the window has; nothing without the first playlist.
    fn of(window: &Window, files: &Files) -> Option<Self> {
        let main = window.playlist(Rendition::MAIN)?;
        let multivariant = window.multivariant();
        let (mut playlists, mut listings) = (Vec::new(), Vec::new());
        // The first one comes last: whoever takes it up finds the others beside it.
        for rendition in window.renditions().into_iter().rev() {
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
        let main_file = match multivariant {
            Some(_) => files.playlist_of(Rendition::MAIN),
            None => files.playlist(),
        };
        playlists.extend(multivariant.map(|text| (files.playlist(), text)));
        Some(Self { playlists, listings, main, main_file })
    }

    /// The files of all segments, and of what they need.
    fn files(&self) -> impl Iterator<Item = &Arc<str>> {
        self.listings.iter().flat_map(|listing| listing.files.iter())
    }
}

impl Place {
    fn of(links: &WriterLinks) -> Option<Self> {
        let files = links.disks.files(&links.settings.borrow(), &links.key)?;
        let (written, view) = (Vec::new(), View::default());
        Some(Self { files, there: None, written, main: None, before: None, view })
    }

    async fn sync(&mut self, window: &Window, finished: &Finished) -> io::Result<()> {
        let Some(wanted) = Wanted::of(window, &self.files) else {
            self.main = None;
            let gone = mem::take(&mut self.written).into_iter().map(|(file, _)| file).collect();
            self.files.remove(gone).await;
            return self.show(&[], String::new(), Vec::new()).await;
        };
        let (mut bytes, mut written) = (0, self.look().await);
        if written.is_ok() {
            let mut told = Vec::new();
            written = self.write(window, &wanted, finished, (&mut bytes, &mut told)).await;
            self.clean(window, &wanted, written.is_err()).await;
            if written.is_ok() {
                let files = wanted.files().map(|file| file.to_string()).collect();
                written = self.show(&wanted.playlists, wanted.main_file.clone(), files).await;
            }
            for (file, length) in told {
                let segment = self.segment(&wanted, &file, length);
                segment.iter().for_each(|segment| finished.tell(segment));
            }
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

    /// Gives others the names that they know.
    async fn show(
        &mut self,
        playlists: &[(String, Bytes)],
        main: String,
        files: Vec<String>,
    ) -> io::Result<()> {
        if !self.files.has_view() {
            return Ok(());
        }
        let exists = self.there.clone().unwrap_or_default();
        let (view, playlists) = (mem::take(&mut self.view), playlists.to_vec());
        let (view, shown) = self.files.show(view, playlists, main, files, exists).await;
        self.view = view;
        shown
    }

    /// Writes what the playlists list and is not there, then the playlists. `bytes` are those of the largest segment;
    /// the segments that somebody wants to hear of are put into `told`.
    async fn write(
        &mut self,
        window: &Window,
        wanted: &Wanted,
        finished: &Finished,
        (bytes, told): (&mut usize, &mut Vec<(String, usize)>),
    ) -> io::Result<()> {
        for file in wanted.files() {
            let is_there = self.there.as_ref().is_some_and(|there| there.contains(&**file));
            if !is_there {
                // It has left the window meanwhile: a newer playlist does not list it.
                let Some(data) = self.data(window, file).await else { return Ok(()) };
                *bytes = data.len().max(*bytes);
                let length = data.len();
                let is_told = !finished.is_empty() && is_segment(file, &data);
                self.files.write(file.to_string(), data).await?;
                told.extend(is_told.then(|| (file.to_string(), length)));
                self.there.get_or_insert_default().insert(file.to_string());
            }
            window.is_in_file(file, true);
        }
        for (file, text) in &wanted.playlists {
            let known = self.written.iter_mut().find(|(other, _)| other == file);
            if known.as_ref().is_some_and(|(_, known)| known == text) {
                continue;
            }
            self.files.write(file.clone(), text.clone()).await?;
            match known {
                Some((_, known)) => known.clone_from(text),
                None => self.written.push((file.clone(), text.clone())),
            }
            COUNTS.hls_playlists.increase();
        }
        self.main = Some(Arc::clone(&wanted.main));
        Ok(())
    }

    /// What is told of this segment of so many bytes once it is written.
    fn segment(&self, wanted: &Wanted, file: &str, length: usize) -> Option<FinishedFile> {
        let (_, name) = SegmentName::parse(file)?;
        let mut all = wanted.listings.iter().zip(&wanted.playlists);
        let (_, (playlist, text)) =
            all.find(|(listing, _)| listing.files.iter().any(|it| &**it == file))?;
        let text = str::from_utf8(text).ok()?;
        let listed = MediaPlaylist::parse(text).ok()?;
        let is_it = |entry: &&Entry<'_>| file_name(entry.uri).is_some_and(|name| name == file);
        let entry = listed.of(EntryKind::Segment).find(is_it)?;
        let about = (name.sequence, length, entry.duration);
        Some(self.files.finished(file, playlist, &self.view, about))
    }

    /// What is to be in a file; none if that has left the window meanwhile.
    async fn data(&self, window: &Window, file: &str) -> Option<Bytes> {
        match window.get(file)? {
            Held::Here(data) => Some(data),
            Held::InFile => self.before.as_ref()?.read_file(file).await.ok().map(Bytes::from),
        }
    }

    /// Removes what no player may ask for any more, also from a disk that has no room for more. What the playlists
    /// there list stays, however far they are behind, unless nothing can be written.
    async fn clean(&mut self, window: &Window, wanted: &Wanted, is_behind: bool) {
        let is_gone = |file: &str| !wanted.playlists.iter().any(|(other, _)| other == file);
        let gone = self.written.extract_if(.., |(file, _)| !is_behind && is_gone(file));
        let mut gone: Vec<_> = gone.map(|(file, _)| file).collect();
        let Some(there) = &mut self.there else { return };
        let known = window.files();
        let listed = wanted.files().filter(|_| !is_behind);
        let known: HashSet<&str> = known.iter().chain(listed).map(|file| &**file).collect();
        gone.extend(there.extract_if(|file| !known.contains(&**file)));
        self.files.remove(gone).await;
    }
}

/// Whether this is a segment; what stands for one that is lost is none.
fn is_segment(file: &str, data: &[u8]) -> bool {
    let name = SegmentName::parse(file).map(|(_, name)| name);
    name.is_some_and(|name| name.form.is_segment() && data != name.form.nothing())
}

/// Whether the goal was `before`; then it is `after` now.
fn becomes_if(goal: &watch::Sender<Goal>, before: Goal, after: Goal) -> bool {
    goal.send_if_modified(|goal| {
        let was_before = *goal == before;
        if was_before {
            *goal = after;
        }
        was_before
    })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;
    use weir_hls::{Form, Listing, Nonce, SegmentName};

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn list(window: &Window, files: &[&str], is_ended: bool) {
        let text = format!("{files:?} {is_ended}").into();
        let listing = Listing { is_ended, ..Listing::new(text, files.iter().copied()) };
        window.list(Rendition::MAIN, listing);
    }

    #[tokio::test]
    async fn a_writer_rests_from_the_end_of_its_stream_until_it_is_woken() {
        let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir());
        let other = other.expect("a folder");
        let hls = |dir: &Path| Hls { dir: dir.to_owned(), ..Hls::default() };
        let (settings, watched) = watch::channel(hls(dir.path()));
        let window = Arc::<Window>::default();
        let links = WriterLinks {
            key: StreamKey::new(weir_media::DEFAULT_VHOST, "live", "a").expect("a good key"),
            window: Arc::clone(&window),
            disks: Arc::default(),
            settings: watched,
            placed: watch::channel(None).0,
        };
        let mut writer = Writer::start(links, None);
        let read = |dir: &Path, file: &str| std::fs::read(dir.join("live").join(file)).ok();
        let [one, two] = [1, 2].map(|sequence| {
            let nonce = Some(Nonce::new(sequence));
            SegmentName { sequence, nonce, form: Form::Ts }.file("a")
        });

        window.put(&one, Bytes::from_static(b"one"));
        list(&window, &[&one], true);
        timeout(SOON, writer.rest()).await.expect("all of it is in files");
        assert!(matches!(writer.0, Work::Resting(_)));
        assert_eq!(read(dir.path(), &one).as_deref(), Some(&b"one"[..]));
        assert_eq!(window.bytes(), 0);

        // Published again, and ended at once.
        writer.wake().await;
        window.put(&two, Bytes::from_static(b"two"));
        list(&window, &[&one, &two], true);
        timeout(SOON, writer.rest()).await.expect("the rest of it is in files too");
        assert_eq!(read(dir.path(), &two).as_deref(), Some(&b"two"[..]));

        settings.send_replace(hls(other.path()));
        writer.wake().await;
        timeout(SOON, writer.rest()).await.expect("it has moved");
        assert_eq!(read(other.path(), &one).as_deref(), Some(&b"one"[..]));

        timeout(SOON, writer.remove()).await.expect("removed");
        assert_eq!(read(other.path(), &one), None);
    }

    #[tokio::test]
    async fn a_writer_that_is_woken_while_it_goes_to_rest_writes_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let (_settings, watched) =
            watch::channel(Hls { dir: dir.path().to_owned(), ..Hls::default() });
        let window = Arc::<Window>::default();
        let links = WriterLinks {
            key: StreamKey::new(weir_media::DEFAULT_VHOST, "live", "a").expect("a good key"),
            window: Arc::clone(&window),
            disks: Arc::default(),
            settings: watched,
            placed: watch::channel(None).0,
        };
        let mut writer = Writer::start(links, None);
        for number in 1..=50 {
            // Without a playlist there is nothing to do: it rests at once, or is about to.
            let _ = timeout(Duration::from_micros(number * 7), writer.rest()).await;
            writer.wake().await;
            let file = format!("a-{number}.ts");
            window.put(&file, Bytes::from_static(b"x"));
            list(&window, &[&file], false);
            let path = dir.path().join("live").join(&file);
            let written = async {
                while !path.is_file() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(SOON, written).await.expect("written by whoever was woken");
            window.unlist(Rendition::MAIN);
        }
        timeout(SOON, writer.remove()).await.expect("removed");
    }

    #[derive(Default)]
    struct Told(std::sync::Mutex<Vec<FinishedFile>>);

    impl crate::finished::OnFinished for Told {
        fn finished(&self, file: &FinishedFile) {
            self.0.lock().expect("not poisoned").push(file.clone());
        }
    }

    #[tokio::test]
    async fn segments_that_are_in_files_are_told_of_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let (_settings, watched) =
            watch::channel(Hls { dir: dir.path().to_owned(), ..Hls::default() });
        let window = Arc::<Window>::default();
        let (finished, told) = (Arc::<Finished>::default(), Arc::<Told>::default());
        finished.listen(Arc::clone(&told) as _);
        let key = StreamKey::new(weir_media::DEFAULT_VHOST, "live", "a b").expect("a good key");
        let links = WriterLinks {
            key: key.clone(),
            window: Arc::clone(&window),
            disks: Arc::new(Disks::new(&finished)),
            settings: watched,
            placed: watch::channel(None).0,
        };
        let mut writer = Writer::start(links, None);
        let name = SegmentName { sequence: 7, nonce: Some(Nonce::new(1)), form: Form::Ts };
        let file = name.file("a b");
        window.put(&file, Bytes::from_static(b"seven"));
        let text = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:1.500,\n{}\n",
            weir_hls::uri(&file)
        );
        window.list(Rendition::MAIN, Listing::new(text.clone().into(), [&*file]));
        window.list(
            Rendition::MAIN,
            Listing { is_ended: true, ..Listing::new(text.into(), [&*file]) },
        );
        timeout(SOON, writer.rest()).await.expect("all of it is in files");
        let told = told.0.lock().expect("not poisoned");
        let [segment] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((&segment.key, segment.bytes), (&key, 5));
        assert_eq!(segment.duration, Duration::from_millis(1500));
        assert_eq!(std::fs::read(dir.path().join(&segment.file)).expect("it is there"), b"seven");
        let kind = crate::finished::FileKind::Segment {
            uri: format!("live/{}", weir_hls::uri(&file)),
            number: 7,
            playlist: "live/a b.m3u8".to_owned(),
        };
        assert_eq!(segment.kind, kind);
    }
}
