//! A bounded memory of answers, of which nobody can take more than its share.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use weir_upstream::Asker;

/// What an answer is about, as a hash.
pub type Digest = [u8; 32];

/// How often it is looked for answers whose time is over, at most.
const SWEEP: Duration = Duration::from_secs(1);

/// Answers that are forgotten after a while.
///
/// When there is no room for one more, the address that has brought in the most loses its oldest: one that invents
/// parameters pushes out what it has invented before.
#[derive(Debug)]
pub struct Answers<V> {
    entries: HashMap<Digest, Entry<V>>,
    /// What each address has brought in, the oldest first.
    brought: HashMap<Asker, VecDeque<Digest>>,
    max: usize,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    until: Instant,
    asker: Asker,
}

impl<V> Answers<V> {
    /// Remembers at most `max` answers.
    pub fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), brought: HashMap::new(), max, swept: None }
    }

    /// The answer, unless its time is over.
    pub fn get(&self, digest: &Digest, now: Instant) -> Option<&V> {
        self.entries.get(digest).filter(|entry| now < entry.until).map(|entry| &entry.value)
    }

    /// Remembers `value` until then, on the account of `asker`.
    pub fn insert(&mut self, digest: Digest, value: V, asker: Asker, now: Instant, until: Instant) {
        if let Some(entry) = self.entries.get_mut(&digest) {
            (entry.value, entry.until) = (value, until);
            return;
        }
        if self.entries.len() >= self.max {
            self.sweep(now);
        }
        if self.entries.len() >= self.max {
            self.make_room();
        }
        self.entries.insert(digest, Entry { value, until, asker });
        self.brought.entry(asker).or_default().push_back(digest);
    }

    /// Forgets an answer.
    pub fn remove(&mut self, digest: &Digest) {
        let Some(entry) = self.entries.remove(digest) else { return };
        if let Some(brought) = self.brought.get_mut(&entry.asker) {
            brought.retain(|other| other != digest);
            if brought.is_empty() {
                self.brought.remove(&entry.asker);
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.brought.clear();
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now < swept + SWEEP) {
            return;
        }
        self.swept = Some(now);
        self.entries.retain(|_, entry| now < entry.until);
        let entries = &self.entries;
        self.brought.retain(|_, brought| {
            brought.retain(|digest| entries.contains_key(digest));
            !brought.is_empty()
        });
    }

    fn make_room(&mut self) {
        let most = self.brought.iter().max_by_key(|(_, brought)| brought.len());
        let Some(asker) = most.map(|(asker, _)| *asker) else { return };
        let Some(brought) = self.brought.get_mut(&asker) else { return };
        if let Some(oldest) = brought.pop_front() {
            self.entries.remove(&oldest);
        }
        if brought.is_empty() {
            self.brought.remove(&asker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_upstream::asker;

    fn digest(number: u32) -> Digest {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        digest
    }

    fn at(number: u8) -> Asker {
        asker(Some([192, 0, 2, number].into()))
    }

    #[test]
    fn who_invents_pushes_out_its_own() {
        let now = Instant::now();
        let soon = now + Duration::from_secs(10);
        let mut answers = Answers::new(100);
        for number in 0..20 {
            answers.insert(digest(number), "real", at(number as u8), now, soon);
        }
        for number in 1000..50_000 {
            answers.insert(digest(number), "invented", at(200), now, soon);
        }
        assert_eq!(answers.entries.len(), 100);
        assert!((0..20).all(|number| answers.get(&digest(number), now) == Some(&"real")));
        let listed: usize = answers.brought.values().map(VecDeque::len).sum();
        assert_eq!(listed, 100, "the books are bounded as well");
    }

    #[test]
    fn an_answer_has_its_time() {
        let now = Instant::now();
        let at_second = |seconds| now + Duration::from_secs(seconds);
        let mut answers = Answers::new(2);
        answers.insert(digest(1), 1, at(1), now, at_second(1));
        answers.insert(digest(2), 2, at(1), now, at_second(9));
        assert_eq!(answers.get(&digest(1), now), Some(&1));
        assert_eq!(answers.get(&digest(1), at_second(1)), None);
        // What is over makes room first.
        answers.insert(digest(3), 3, at(2), at_second(2), at_second(9));
        assert_eq!(answers.get(&digest(2), at_second(2)), Some(&2));
        answers.insert(digest(2), 4, at(2), at_second(2), at_second(20));
        assert_eq!(answers.get(&digest(2), at_second(10)), Some(&4), "it has been asked anew");
        answers.remove(&digest(2));
        assert_eq!((answers.get(&digest(2), now), answers.entries.len()), (None, 1));
        assert_eq!(answers.brought.len(), 1);
    }
}
