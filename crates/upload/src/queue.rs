//! What is to be uploaded, and when it is tried next.

use std::{
    collections::{BTreeMap, HashMap},
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

/// What failed alone is tried again after this time, and after twice that with each failure, up to the second: whoever
/// mends the storage waits no longer, and what it refuses for ever costs a request each quarter of an hour.
const PAUSE_ALONE_MIN: Duration = Duration::from_secs(30);
const PAUSE_ALONE_MAX: Duration = Duration::from_secs(900);

/// How often the log says again of one file that it cannot be uploaded.
const SAID_AGAIN: Duration = Duration::from_secs(6 * 3600);

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
    /// Each with the time since when it waits.
    files: HashMap<Job, SystemTime>,
    /// Whether there are notes of more.
    pub has_left_out: bool,
    count: u64,
    running: usize,
    /// Failures of the storage since the last success, and until when it is left alone for that.
    failures: u32,
    paused: Option<Instant>,
    /// Why the storage failed last, and when.
    last: Option<(String, SystemTime)>,
    /// What has failed alone.
    alone: HashMap<Item, Alone>,
}

/// A failure that is of one item.
#[derive(Debug)]
struct Alone {
    why: String,
    failures: u32,
    said: Instant,
}

/// What is to be said of how something went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The storage fails now and did not before, or the other way round.
    pub of_storage: bool,
    /// This one fails alone, and the log has not said so, or long ago.
    pub of_item: bool,
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
    /// It waits `since` then.
    pub fn add(&mut self, job: Job, since: SystemTime, now: Instant) {
        if self.files.contains_key(&job) {
            return;
        }
        if self.files.len() >= FILES_MAX {
            self.has_left_out = true;
            return;
        }
        self.files.insert(job.clone(), since);
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

    /// A task is through with `item`. `why` it failed, if it has.
    pub fn ended(&mut self, item: Item, went: Went, why: Option<String>, now: Instant) -> Turn {
        let before = self.is_failing();
        let mut turn = Turn::default();
        let mut pause_alone = PAUSE_ALONE_MIN;
        match (went, why) {
            (Went::FailedThere, why) => {
                self.last = why.map(|why| (why, SystemTime::now())).or(self.last.take());
            }
            (Went::FailedHere, why) => {
                let new = || Alone { why: String::new(), failures: 0, said: now };
                let alone = self.alone.entry(item.clone()).or_insert_with(new);
                turn.of_item = alone.failures == 0 || now - alone.said >= SAID_AGAIN;
                if turn.of_item {
                    alone.said = now;
                }
                let doubled = PAUSE_ALONE_MIN.saturating_mul(1 << alone.failures.min(16));
                pause_alone = doubled.min(PAUSE_ALONE_MAX);
                alone.failures = alone.failures.saturating_add(1);
                alone.why = why.unwrap_or_default();
            }
            (Went::Done | Went::LookAgain(_), _) => drop(self.alone.remove(&item)),
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
            Went::FailedHere => self.put(item, now + pause_alone),
        }
        turn.of_storage = before != self.is_failing();
        turn
    }

    /// Another storage is in force: what the one before did does not count, and what it refused is tried at once.
    pub fn begin_anew(&mut self, now: Instant) {
        (self.failures, self.paused, self.last) = (0, None, None);
        for (item, _) in std::mem::take(&mut self.alone) {
            if matches!(self.due.get(&item), Some(Known::At(_))) {
                self.put(item, now);
            }
        }
    }

    /// Whether `job` waits, or is being uploaded.
    pub fn has(&self, job: &Job) -> bool {
        self.files.contains_key(job)
    }

    /// What there is to upload.
    pub fn list(&self, now: Instant) -> Listed {
        let place = |job: &Job| match self.due.get(&Item::of(job)) {
            Some(Known::Running(_)) | None => None,
            Some(Known::At(place)) => Some(*place),
        };
        let mut jobs: Vec<_> = self.files.keys().map(|job| (place(job), job)).collect();
        jobs.sort_by_key(|(place, job)| (*place, job.number(), job.path()));
        let files = jobs.into_iter().map(|(place, job)| {
            let reason = self.alone.get(&Item::of(job)).map(|alone| alone.why.clone());
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
        self.waiting().count()
    }

    /// Since when the one waits that has waited longest.
    pub fn oldest(&self) -> Option<SystemTime> {
        self.waiting().min()
    }

    /// Recordings and playlists that have failed for a reason of their own.
    pub fn refused(&self) -> usize {
        self.alone.len()
    }

    /// Since when recordings and segments wait. A playlist is there for as long as its stream.
    fn waiting(&self) -> impl Iterator<Item = SystemTime> {
        let waiting = self.files.iter().filter(|(job, _)| !matches!(job.file, File::Playlist(_)));
        waiting.map(|(_, since)| *since)
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

    fn add(queue: &mut Queue, job: Job, now: Instant) {
        queue.add(job, SystemTime::UNIX_EPOCH, now);
    }

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
            add(&mut queue, segment(number), now);
        }
        assert_eq!(queue.pending(), 2);
        assert_eq!(queue.next(now, 4), Next::Do(playlist(), vec![segment(7), segment(8)]));
        add(&mut queue, segment(9), now);
        assert_eq!(queue.next(now, 4), Next::Nothing, "a task is at it");
        [7, 8].map(segment).iter().for_each(|job| queue.forget(job));
        queue.ended(playlist(), Went::LookAgain(Duration::from_secs(6)), None, now);
        assert_eq!(queue.next(now, 4), Next::Do(playlist(), vec![segment(9)]), "it came meanwhile");
        queue.forget(&segment(9));
        queue.ended(playlist(), Went::LookAgain(Duration::from_secs(6)), None, now);
        assert_eq!(queue.next(now, 4), Next::At(now + Duration::from_secs(6)));
        add(&mut queue, segment(10), now);
        assert!(matches!(queue.next(now, 4), Next::Do(..)), "a segment is not waited with");
        queue.forget(&segment(10));
        queue.ended(playlist(), Went::Done, None, now);
        assert!(queue.next(now, 4) == Next::Nothing && queue.pending() == 0);
    }

    #[test]
    fn a_storage_that_fails_is_tried_more_and_more_seldom_by_one() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        for name in ["a", "b", "c"] {
            add(&mut queue, recording(name), now);
        }
        let (Next::Do(a, _), Next::Do(b, _)) = (queue.next(now, 2), queue.next(now, 2)) else {
            panic!("two of them");
        };
        assert_eq!(queue.next(now, 2), Next::Nothing, "no more than two at once");
        assert!(
            queue.ended(a, Went::FailedThere, None, now).of_storage
                && !queue.ended(b, Went::FailedThere, None, now).of_storage
        );
        for tries in 2..20 {
            let Next::At(at) = queue.next(now, 2) else { panic!("a pause") };
            let most = PAUSE_MIN.saturating_mul(1 << (tries - 1).min(9)).min(PAUSE_MAX);
            assert!(at - now >= most / 2 - Duration::from_millis(1) && at - now <= most, "{tries}");
            now = at;
            let Next::Do(item, _) = queue.next(now, 2) else { panic!("one is tried") };
            assert_eq!(queue.next(now, 2), Next::Nothing, "and no other");
            assert!(!queue.ended(item, Went::FailedThere, None, now).of_storage);
        }
        queue.begin_anew(now);
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
            add(&mut queue, job, now);
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
        queue.begin_anew(now);
        assert_eq!(queue.list(now).last, None, "another storage");
    }

    #[test]
    fn what_fails_alone_is_tried_and_said_more_and_more_seldom() {
        let (mut queue, begin) = (Queue::default(), Instant::now());
        let (first, second) = (SystemTime::UNIX_EPOCH, SystemTime::now());
        queue.add(recording("good"), second, begin);
        queue.add(recording("bad"), first, begin);
        assert_eq!((queue.oldest(), queue.refused()), (Some(first), 0));
        let Next::Do(good, _) = queue.next(begin, 1) else { panic!("there is something") };
        queue.forget(&recording("good"));
        queue.ended(good, Went::Done, None, begin);
        let (mut now, mut said, mut tries) = (begin, 0, 0);
        while now - begin < 2 * SAID_AGAIN + SAID_AGAIN / 2 {
            let Next::Do(bad, _) = queue.next(now, 1) else { panic!("it is due") };
            let turn = queue.ended(bad, Went::FailedHere, Some("refused".to_owned()), now);
            assert!(!turn.of_storage && !queue.is_failing());
            (said, tries) = (said + u32::from(turn.of_item), tries + 1);
            let Next::At(at) = queue.next(now, 1) else { panic!("a pause") };
            let most =
                PAUSE_ALONE_MIN.saturating_mul(1 << (tries - 1).min(10)).min(PAUSE_ALONE_MAX);
            assert_eq!(at - now, most, "{tries}");
            now = at;
        }
        assert_eq!((said, queue.refused(), queue.oldest()), (3, 1, Some(first)));
        let Next::Do(bad, _) = queue.next(now, 1) else { panic!("it is due") };
        queue.ended(bad, Went::FailedHere, Some("refused".to_owned()), now);
        queue.begin_anew(now);
        assert_eq!(queue.refused(), 0, "another storage has refused nothing");
        let Next::Do(bad, _) = queue.next(now, 1) else { panic!("and is asked at once") };
        queue.forget(&recording("bad"));
        queue.ended(bad, Went::Done, None, now);
        assert_eq!((queue.refused(), queue.oldest()), (0, None));
    }

    #[test]
    fn what_has_no_place_is_in_its_note() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in 0..FILES_MAX + 1 {
            add(&mut queue, recording(&number.to_string()), now);
        }
        assert!(queue.has_left_out && queue.room() == 0 && queue.pending() == FILES_MAX);
    }
}
