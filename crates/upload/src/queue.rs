//! What is to be uploaded, and when it is tried next.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::jobs::{File, Job};

/// Files that are known at a time, some 300 bytes each; what is beyond that waits in its notes.
pub const FILES_MAX: usize = 10_000;

/// The first pause after a failure, and the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// What failed alone is tried again after this time.
const PAUSE_ALONE: Duration = Duration::from_secs(30);

/// What is done at once, by one task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// A recording: its folder, and its path there.
    Recording(PathBuf, String),
    /// The segments that a playlist lists, and the playlist after them: its folder, and its path there.
    Playlist(PathBuf, String),
}

impl Item {
    /// What `job` is done with.
    fn of(job: &Job) -> Self {
        match &job.file {
            File::Recording(file) => Self::Recording(job.dir.clone(), file.clone()),
            File::Playlist(playlist) | File::Segment { playlist, .. } => {
                Self::Playlist(job.dir.clone(), playlist.clone())
            }
        }
    }
}

/// All of it.
#[derive(Debug, Default)]
pub struct Queue {
    /// When each item is due. The number keeps those of a moment apart, in the order in which they came.
    schedule: BTreeMap<(Instant, u64), Item>,
    due: HashMap<Item, Known>,
    /// The segments of playlists.
    segments: HashMap<Item, BTreeMap<u64, Job>>,
    files: HashSet<Job>,
    /// Whether there are notes of more.
    pub has_left_out: bool,
    count: u64,
    running: usize,
    /// Failures of the storage since the last success, and until when it is left alone for that.
    failures: u32,
    paused: Option<Instant>,
    /// Why the storage failed last, and when.
    last: Option<(String, SystemTime)>,
    /// What has failed alone, and why.
    reasons: HashMap<Item, String>,
}

/// What there is to upload, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Recordings, segments, and playlists that have not ended: those that are being uploaded first, the others in the
    /// order in which they are tried.
    pub files: Vec<ListedFile>,
    /// Whether there are notes of more.
    pub has_left_out: bool,
    /// Attempts that have failed at the storage since its last success.
    pub failures: u32,
    /// How long the storage is left alone for that.
    pub pause: Option<Duration>,
    /// Why the storage failed last, and when, in this process.
    pub last: Option<(String, SystemTime)>,
}

/// A file that is to be uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// What it is, and where.
    pub job: Job,
    /// Whether a task is at it, or at what it belongs to.
    pub is_running: bool,
    /// Why it has failed for a reason of its own.
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Known {
    /// It is tried at this place of the schedule.
    At((Instant, u64)),
    /// A task is at it; whether there is something new since it has begun.
    Running(bool),
}

/// How something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// Nothing is left of it.
    Done,
    /// It may have changed after this time.
    LookAgain(Duration),
    /// It failed for a reason of its own: others may go on.
    FailedHere,
    /// The storage failed: everything waits.
    FailedThere,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This, with the segments that are to be uploaded before it.
    Do(Item, Vec<Job>),
    /// Nothing before this moment.
    At(Instant),
    /// Nothing until there is something new.
    Nothing,
}

impl Queue {
    /// Has `job` done. Without a place for it, its note is found later.
    pub fn add(&mut self, job: Job, now: Instant) {
        if self.files.contains(&job) {
            return;
        }
        if self.files.len() >= FILES_MAX {
            self.has_left_out = true;
            return;
        }
        self.files.insert(job.clone());
        let item = Item::of(&job);
        if let File::Segment { number, .. } = job.file {
            self.segments.entry(item.clone()).or_default().insert(number, job);
        }
        match self.due.get_mut(&item) {
            Some(Known::Running(is_new)) => *is_new = true,
            Some(Known::At(place)) if place.0 <= now => {}
            _ => self.put(item, now),
        }
    }

    /// What a task is to do next, if `at_once` of them are not at work.
    pub fn next(&mut self, now: Instant, at_once: usize) -> Next {
        if self.running >= at_once {
            return Next::Nothing;
        }
        let Some((&(at, number), _)) = self.schedule.first_key_value() else {
            return Next::Nothing;
        };
        let at_earliest = self.paused.map_or(at, |paused| paused.max(at));
        // After a failure one goes ahead, to see whether that is over.
        let is_probing = self.failures > 0 && self.running > 0;
        if is_probing {
            return Next::Nothing;
        }
        if at_earliest > now {
            return Next::At(at_earliest);
        }
        let Some(item) = self.schedule.remove(&(at, number)) else { return Next::Nothing };
        self.due.insert(item.clone(), Known::Running(false));
        self.running += 1;
        let segments = self.segments.get(&item).into_iter().flat_map(BTreeMap::values);
        let segments = segments.cloned().collect();
        Next::Do(item, segments)
    }

    /// `job` is done, or there is nothing left to do about it.
    pub fn forget(&mut self, job: &Job) {
        self.files.remove(job);
        if let File::Segment { playlist, number, .. } = &job.file {
            let item = Item::Playlist(job.dir.clone(), playlist.clone());
            if let Some(segments) = self.segments.get_mut(&item) {
                segments.remove(number);
                if segments.is_empty() {
                    self.segments.remove(&item);
                }
            }
        }
    }

    /// A task is through with `item`. Whether the storage fails now and did not before, or the other way round.
    /// `why` it failed, if it has.
    pub fn ended(&mut self, item: Item, went: Went, why: Option<String>, now: Instant) -> bool {
        let before = self.is_failing();
        self.reasons.remove(&item);
        match (went, why) {
            (Went::FailedThere, Some(why)) => self.last = Some((why, SystemTime::now())),
            (Went::FailedHere, Some(why)) => drop(self.reasons.insert(item.clone(), why)),
            _ => {}
        }
        self.running = self.running.saturating_sub(1);
        let is_new = matches!(self.due.remove(&item), Some(Known::Running(true)));
        match went {
            Went::Done | Went::LookAgain(_) => {
                (self.failures, self.paused) = (0, None);
            }
            Went::FailedHere => {}
            Went::FailedThere => {
                self.failures = self.failures.saturating_add(1);
                self.paused = Some(now + pause(self.failures));
            }
        }
        match went {
            Went::Done if !is_new => {}
            Went::Done | Went::FailedThere => self.put(item, now),
            Went::LookAgain(pause) => self.put(item, if is_new { now } else { now + pause }),
            Went::FailedHere => self.put(item, now + PAUSE_ALONE),
        }
        before != self.is_failing()
    }

    /// Another storage is in force: what the one before did does not count.
    pub fn begin_anew(&mut self) {
        (self.failures, self.paused, self.last) = (0, None, None);
    }

    /// Whether `job` waits, or is being uploaded.
    pub fn has(&self, job: &Job) -> bool {
        self.files.contains(job)
    }

    /// What there is to upload.
    pub fn list(&self, now: Instant) -> Listed {
        let place = |job: &Job| match self.due.get(&Item::of(job)) {
            Some(Known::Running(_)) | None => None,
            Some(Known::At(place)) => Some(*place),
        };
        let mut jobs: Vec<_> = self.files.iter().map(|job| (place(job), job)).collect();
        jobs.sort_by_key(|(place, job)| (*place, job.number(), job.path()));
        let files = jobs.into_iter().map(|(place, job)| {
            let reason = self.reasons.get(&Item::of(job)).cloned();
            ListedFile { job: job.clone(), is_running: place.is_none(), reason }
        });
        Listed {
            files: files.collect(),
            has_left_out: self.has_left_out,
            failures: self.failures,
            pause: self.paused.map(|until| until.saturating_duration_since(now)),
            last: self.last.clone(),
        }
    }

    /// Whether the storage has failed since the last success.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Recordings and segments that wait, or are being uploaded.
    pub fn pending(&self) -> usize {
        self.files.iter().filter(|job| !matches!(job.file, File::Playlist(_))).count()
    }

    /// Whether more can be taken in.
    pub fn room(&self) -> usize {
        FILES_MAX.saturating_sub(self.files.len())
    }

    fn put(&mut self, item: Item, at: Instant) {
        if let Some(Known::At(place)) = self.due.get(&item) {
            self.schedule.remove(place);
        }
        self.count += 1;
        let place = (at, self.count);
        self.due.insert(item.clone(), Known::At(place));
        self.schedule.insert(place, item);
    }
}

/// How long to wait after so many failures: a half of it is chance, so that servers that lost a storage together do not
/// come back together.
fn pause(failures: u32) -> Duration {
    let full = PAUSE_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSE_MAX);
    let chance = getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX));
    full.mul_f64(1.0 - chance / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(file: File) -> Job {
        Job { dir: "/srv".into(), file }
    }

    fn segment(number: u64) -> Job {
        let (file, playlist) = (format!("a-{number}.ts"), "a.m3u8".to_owned());
        job(File::Segment { file, playlist, number })
    }

    fn recording(name: &str) -> Job {
        job(File::Recording(name.to_owned()))
    }

    fn playlist() -> Item {
        Item::Playlist("/srv".into(), "a.m3u8".to_owned())
    }

    #[test]
    fn segments_of_a_playlist_are_done_by_one_task_in_their_order() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in [8, 7, 7] {
            queue.add(segment(number), now);
        }
        assert_eq!(queue.pending(), 2);
        assert_eq!(queue.next(now, 4), Next::Do(playlist(), vec![segment(7), segment(8)]));
        queue.add(segment(9), now);
        assert_eq!(queue.next(now, 4), Next::Nothing, "a task is at it");
        [7, 8].map(segment).iter().for_each(|job| queue.forget(job));
        queue.ended(playlist(), Went::LookAgain(Duration::from_secs(6)), None, now);
        assert_eq!(queue.next(now, 4), Next::Do(playlist(), vec![segment(9)]), "it came meanwhile");
        queue.forget(&segment(9));
        queue.ended(playlist(), Went::LookAgain(Duration::from_secs(6)), None, now);
        assert_eq!(queue.next(now, 4), Next::At(now + Duration::from_secs(6)));
        queue.add(segment(10), now);
        assert!(matches!(queue.next(now, 4), Next::Do(..)), "a segment is not waited with");
        queue.forget(&segment(10));
        queue.ended(playlist(), Went::Done, None, now);
        assert!(queue.next(now, 4) == Next::Nothing && queue.pending() == 0);
    }

    #[test]
    fn a_storage_that_fails_is_tried_more_and_more_seldom_by_one() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        for name in ["a", "b", "c"] {
            queue.add(recording(name), now);
        }
        let (Next::Do(a, _), Next::Do(b, _)) = (queue.next(now, 2), queue.next(now, 2)) else {
            panic!("two of them");
        };
        assert_eq!(queue.next(now, 2), Next::Nothing, "no more than two at once");
        assert!(
            queue.ended(a, Went::FailedThere, None, now)
                && !queue.ended(b, Went::FailedThere, None, now)
        );
        for tries in 2..20 {
            let Next::At(at) = queue.next(now, 2) else { panic!("a pause") };
            let most = PAUSE_MIN.saturating_mul(1 << (tries - 1).min(9)).min(PAUSE_MAX);
            assert!(at - now >= most / 2 - Duration::from_millis(1) && at - now <= most, "{tries}");
            now = at;
            let Next::Do(item, _) = queue.next(now, 2) else { panic!("one is tried") };
            assert_eq!(queue.next(now, 2), Next::Nothing, "and no other");
            assert!(!queue.ended(item, Went::FailedThere, None, now));
        }
        queue.begin_anew();
        let Next::Do(item, _) = queue.next(now, 2) else { panic!("another storage") };
        assert!(matches!(queue.next(now, 2), Next::Do(..)));
        queue.ended(item, Went::FailedHere, None, now);
        assert!(!queue.is_failing());
        assert!(matches!(queue.next(now, 2), Next::Do(..)), "others go on");
    }

    #[test]
    fn what_there_is_to_do_is_listed_with_what_fails_and_why() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for job in [recording("a"), segment(8), segment(7), recording("b")] {
            queue.add(job, now);
        }
        let Next::Do(first, _) = queue.next(now, 9) else { panic!("there is something") };
        let listed = queue.list(now);
        let names: Vec<_> = listed.files.iter().map(|it| (it.job.path(), it.is_running)).collect();
        assert_eq!(names, [("a", true), ("a-7.ts", false), ("a-8.ts", false), ("b", false)]);
        queue.ended(first, Went::FailedHere, Some("it is gone".to_owned()), now);
        let Next::Do(list, _) = queue.next(now, 9) else { panic!("there is something") };
        queue.ended(list, Went::FailedThere, Some("no answer".to_owned()), now);
        let listed = queue.list(now);
        let of = |name: &str| listed.files.iter().find(|it| it.job.path() == name).expect(name);
        assert_eq!(of("a").reason.as_deref(), Some("it is gone"));
        assert_eq!((of("b").reason.as_deref(), of("b").is_running), (None, false));
        assert_eq!(listed.last.as_ref().map(|(why, _)| &**why), Some("no answer"));
        assert!(listed.failures == 1 && listed.pause.is_some_and(|pause| pause <= PAUSE_MIN));
        queue.begin_anew();
        assert_eq!(queue.list(now).last, None, "another storage");
    }

    #[test]
    fn what_has_no_place_is_in_its_note() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in 0..FILES_MAX + 1 {
            queue.add(recording(&number.to_string()), now);
        }
        assert!(queue.has_left_out && queue.room() == 0 && queue.pending() == FILES_MAX);
    }
}
