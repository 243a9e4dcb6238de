//! Series of single streams: those with most viewers, and one for all the others, so that there are never more than the
//! configuration says.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use weir_media::StreamKey;

/// Figures of a stream at one moment; those of its bytes and frames count up for as long as it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Viewers now.
    pub viewers: u64,
    /// Frames published.
    pub frames: u64,
    /// Bytes published.
    pub received: u64,
    /// Bytes sent to its viewers.
    pub sent: u64,
}

/// What a page says of a stream, or of all the others together.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// None stands for the others.
    pub key: Option<StreamKey>,
    /// Its figures.
    pub figures: Figures,
    /// Bits that were published a second, between the last two pages.
    pub bit_rate: f64,
}

/// Remembers between two pages which streams have series of their own.
#[derive(Debug, Default)]
pub struct Streams {
    chosen: HashSet<StreamKey>,
    seen: HashMap<StreamKey, Seen>,
    /// What streams without series of their own have counted.
    others: Figures,
    last: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    figures: Figures,
    bit_rate: f64,
}

/// A stream takes the place of another one only with so many times its viewers. Without this two streams of the same
/// size would change places at every look, and each time a series ends and another begins.
const MARGIN: f64 = 1.5;

/// Rates over less time than this say nothing: two collectors that look at the same moment see the same rate.
const RATE_MIN: Duration = Duration::from_millis(500);

impl Streams {
    /// The lines of the page at `now` for `streams`, `most` of them with a line of their own.
    pub fn lines(
        &mut self,
        streams: &HashMap<StreamKey, Figures>,
        most: usize,
        now: Instant,
    ) -> Vec<Line> {
        self.choose(streams, most);
        self.see(streams, now);
        let line = |key: &StreamKey| {
            let Seen { figures, bit_rate } = self.seen.get(key).copied().unwrap_or_default();
            Line { key: Some(key.clone()), figures, bit_rate }
        };
        let mut lines: Vec<_> = self.chosen.iter().map(line).collect();
        lines.sort_by(|a, b| a.key.cmp(&b.key));
        let others = || self.seen.iter().filter(|(key, _)| !self.chosen.contains(*key));
        let viewers = others().map(|(_, seen)| seen.figures.viewers).sum();
        // Not `sum`, which is -0 for nothing.
        let bit_rate = others().fold(0.0, |sum, (_, seen)| sum + seen.bit_rate);
        lines.push(Line { key: None, figures: Figures { viewers, ..self.others }, bit_rate });
        lines
    }

    fn choose(&mut self, streams: &HashMap<StreamKey, Figures>, most: usize) {
        self.chosen.retain(|key| streams.contains_key(key));
        let viewers = |key: &StreamKey| streams.get(key).map_or(0, |figures| figures.viewers);
        let mut inside: Vec<_> = self.chosen.iter().cloned().collect();
        // Those with fewest viewers last: they go first. Names decide between equals, so that it is always the same.
        inside.sort_by(|a, b| viewers(b).cmp(&viewers(a)).then_with(|| a.cmp(b)));
        let mut outside: Vec<_> =
            streams.keys().filter(|key| !self.chosen.contains(*key)).cloned().collect();
        outside.sort_by(|a, b| viewers(b).cmp(&viewers(a)).then_with(|| a.cmp(b)));
        inside.truncate(most);
        let mut outside = outside.into_iter();
        let free = most - inside.len();
        let newcomers: Vec<_> = outside.by_ref().take(free).collect();
        // Nobody who has come in just now is put out again: those outside have fewer viewers.
        for challenger in outside {
            let Some(weakest) = inside.pop() else { break };
            if viewers(&challenger) as f64 > viewers(&weakest) as f64 * MARGIN {
                inside.insert(0, challenger);
            } else {
                inside.push(weakest);
                break;
            }
        }
        self.chosen = inside.into_iter().chain(newcomers).collect();
    }

    /// Brings what is known of each stream up to date.
    fn see(&mut self, streams: &HashMap<StreamKey, Figures>, now: Instant) {
        let elapsed = self.last.map(|last| now.saturating_duration_since(last));
        let is_time = elapsed.is_none_or(|elapsed| elapsed >= RATE_MIN);
        if !is_time {
            return;
        }
        self.last = Some(now);
        self.seen.retain(|key, _| streams.contains_key(key));
        for (key, &figures) in streams {
            let known = self.seen.get(key).map(|seen| seen.figures);
            let before = known.unwrap_or_default();
            let received = since(before.received, figures.received);
            if !self.chosen.contains(key) {
                self.others.frames += since(before.frames, figures.frames);
                self.others.received += received;
                self.others.sent += since(before.sent, figures.sent);
            }
            let seconds = elapsed.filter(|_| known.is_some()).map(|elapsed| elapsed.as_secs_f64());
            let bit_rate = seconds.map_or(0.0, |seconds| received as f64 * 8.0 / seconds);
            self.seen.insert(key.clone(), Seen { figures, bit_rate });
        }
    }
}

/// How much was counted from `before` to `now`. What is lower has begun anew.
fn since(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> StreamKey {
        StreamKey::new("v", "live", name).unwrap()
    }

    fn streams(viewers: &[(&str, u64)]) -> HashMap<StreamKey, Figures> {
        let figures = |viewers| Figures { viewers, frames: 1, received: 10, sent: 100 };
        viewers.iter().map(|&(name, viewers)| (key(name), figures(viewers))).collect()
    }

    /// The streams with lines of their own after one more page.
    fn chosen(known: &mut Streams, viewers: &[(&str, u64)], most: usize) -> Vec<String> {
        let lines = known.lines(&streams(viewers), most, Instant::now());
        lines.iter().filter_map(|line| Some(line.key.as_ref()?.stream().to_owned())).collect()
    }

    #[test]
    fn those_with_most_viewers_have_lines_and_keep_them() {
        let mut known = Streams::default();
        assert_eq!(chosen(&mut known, &[("a", 10), ("b", 9), ("c", 8)], 2), ["a", "b"]);
        assert_eq!(chosen(&mut known, &[("a", 10), ("b", 9), ("c", 13)], 2), ["a", "b"]);
        assert_eq!(chosen(&mut known, &[("a", 10), ("b", 9), ("c", 14)], 2), ["a", "c"]);
        assert_eq!(chosen(&mut known, &[("a", 10), ("b", 14), ("c", 14)], 2), ["a", "c"]);
        assert_eq!(chosen(&mut known, &[("b", 0), ("c", 14)], 2), ["b", "c"], "a has ended");
        assert_eq!(chosen(&mut known, &[("b", 0), ("c", 14)], 1), ["c"], "a reload took one away");
        assert_eq!(chosen(&mut known, &[("b", 0), ("c", 14)], 0), [] as [&str; 0]);
    }

    #[test]
    fn several_streams_that_grew_all_come_in() {
        let mut known = Streams::default();
        chosen(&mut known, &[("a", 1), ("b", 1), ("c", 0), ("d", 0)], 2);
        assert_eq!(chosen(&mut known, &[("a", 1), ("b", 1), ("c", 9), ("d", 8)], 2), ["c", "d"]);
    }

    #[test]
    fn the_others_never_count_down() {
        let (mut known, start) = (Streams::default(), Instant::now());
        let mut page = |seconds: u64, viewers: &[(&str, u64)], factor: u64| {
            let mut streams = streams(viewers);
            streams.values_mut().for_each(|figures| figures.received *= factor);
            known.lines(&streams, 1, start + Duration::from_secs(seconds))
        };
        let others = |lines: &[Line]| lines.last().cloned().expect("there is one for the others");
        let first = others(&page(0, &[("a", 9), ("b", 3), ("c", 1)], 1));
        assert_eq!((first.figures.viewers, first.figures.received), (4, 20));
        // b takes the place of a, which is among the others from now on, with what it counts from now on.
        let second = others(&page(2, &[("a", 0), ("b", 3), ("c", 1)], 3));
        assert_eq!((second.figures.viewers, second.figures.received), (1, 60));
        assert_eq!(second.bit_rate, 2.0 * 20.0 * 8.0 / 2.0);
        let third = others(&page(4, &[("b", 3)], 3));
        assert_eq!((third.figures.viewers, third.figures.received), (0, 60));
    }
}
