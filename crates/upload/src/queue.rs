//! What is to be uploaded, and when it is tried next.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    time::Duration,
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
        let item = match &job.file {
            File::Recording(file) => Item::Recording(job.dir.clone(), file.clone()),
            File::Playlist(playlist) | File::Segment { playlist, .. } => {
                Item::Playlist(job.dir.clone(), playlist.clone())
            }
        };
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
    pub fn ended(&mut self, item: Item, went: Went, now: Instant) -> bool {
        let before = self.is_failing();
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
        (self.failures, self.paused) = (0, None);
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
        queue.ended(playlist(), Went::LookAgain(Duration::from_secs(6)), now);
        assert_eq!(queue.next(now, 4), Next::Do(playlist(), vec![segment(9)]), "it came meanwhile");
        queue.forget(&segment(9));
        queue.ended(playlist(), Went::LookAgain(Duration::from_secs(6)), now);
        assert_eq!(queue.next(now, 4), Next::At(now + Duration::from_secs(6)));
        queue.add(segment(10), now);
        assert!(matches!(queue.next(now, 4), Next::Do(..)), "a segment is not waited with");
        queue.forget(&segment(10));
        queue.ended(playlist(), Went::Done, now);
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
        assert!(queue.ended(a, Went::FailedThere, now) && !queue.ended(b, Went::FailedThere, now));
        for tries in 2..20 {
            let Next::At(at) = queue.next(now, 2) else { panic!("a pause") };
            let most = PAUSE_MIN.saturating_mul(1 << (tries - 1).min(9)).min(PAUSE_MAX);
            assert!(at - now >= most / 2 - Duration::from_millis(1) && at - now <= most, "{tries}");
            now = at;
            let Next::Do(item, _) = queue.next(now, 2) else { panic!("one is tried") };
            assert_eq!(queue.next(now, 2), Next::Nothing, "and no other");
            assert!(!queue.ended(item, Went::FailedThere, now));
        }
        queue.begin_anew();
        let Next::Do(item, _) = queue.next(now, 2) else { panic!("another storage") };
        assert!(matches!(queue.next(now, 2), Next::Do(..)));
        queue.ended(item, Went::FailedHere, now);
        assert!(!queue.is_failing());
        assert!(matches!(queue.next(now, 2), Next::Do(..)), "others go on");
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
