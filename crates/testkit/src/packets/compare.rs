//! Whether packets are the continuation of others.

use std::{fmt::Write as _, time::Duration};

use super::{Kind, Media, Packet, Stream};

/// Packets shown on either side of a difference.
const NEIGHBOURS: usize = 2;

/// Digits of a hash that messages show.
const SHOWN_DIGITS: usize = 12;

/// How far the run that is looked for goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// To the last packet that was published.
    ToEnd,
    /// As far as it was recorded.
    Run,
}

/// Requires that `played` is what a viewer must have got of `source`; see [`continuation`].
///
/// # Panics
/// With the first difference and its neighbours.
#[track_caller]
pub fn assert_continuation(source: &Media, played: &Media) {
    if let Err(difference) = continuation(source, played, Extent::ToEnd, Duration::ZERO) {
        panic!("{difference}");
    }
}

/// Whether `played` is a contiguous run of `source`: the same streams with the same configuration records, and in each
/// the packets of the source one after the other, with the same bytes and at the same distances in time, the distances
/// between the streams included; the pictures begin with a key frame.
///
/// `tolerance` is how much a time may differ, because a container has coarser times than another.
///
/// # Errors
/// The first difference and its neighbours, to be read by a person.
pub fn continuation(
    source: &Media,
    played: &Media,
    extent: Extent,
    tolerance: Duration,
) -> Result<(), String> {
    let kinds = |media: &Media| {
        media.streams.iter().map(|stream| (stream.kind, stream.codec.clone())).collect::<Vec<_>>()
    };
    if kinds(source) != kinds(played) {
        return Err(format!("published were {:?}, played {:?}", kinds(source), kinds(played)));
    }
    let mut shift = None;
    for (source, played) in source.streams.iter().zip(&played.streams) {
        let comparison = Comparison { source, played, tolerance };
        let stream_shift = comparison.run(extent)?;
        let first_shift = *shift.get_or_insert(stream_shift);
        if !comparison.near(first_shift, stream_shift) {
            return Err(format!(
                "sound and pictures moved apart: the pictures by {first_shift} us, the sound by {stream_shift} us"
            ));
        }
    }
    Ok(())
}

struct Comparison<'a> {
    source: &'a Stream,
    played: &'a Stream,
    tolerance: Duration,
}

impl Comparison<'_> {
    /// By how many microseconds the played timeline is shifted against the source's.
    fn run(&self, extent: Extent) -> Result<i64, String> {
        let kind = self.source.kind;
        let first = self.played.packets.first();
        let first = first.ok_or_else(|| format!("{kind:?}: no packet was played"))?;
        if self.played.config.is_some() && self.played.config != self.source.config {
            return Err(format!("{kind:?}: the configuration record is not the published one"));
        }
        // A source may hold equal packets, so each place where the first one was published may be where playing began.
        let places =
            (0..self.source.packets.len()).filter(|at| self.source.packets[*at].hash == first.hash);
        let mut results = places.map(|start| self.run_from(start, first, extent));
        let unknown = || Err(self.show(None, 0, "the first packet was never published"));
        let nearest = results.next().unwrap_or_else(unknown);
        if nearest.is_ok() { nearest } else { results.find(Result::is_ok).unwrap_or(nearest) }
    }

    /// The same, if playing began with packet `start` of the source.
    fn run_from(&self, start: usize, first: &Packet, extent: Extent) -> Result<i64, String> {
        if self.source.kind == Kind::Video && !self.source.packets[start].key {
            return Err(self.show(Some(start), 0, "the first picture is no key frame"));
        }
        let shift = first.dts_us - self.source.packets[start].dts_us;
        for (index, played) in self.played.packets.iter().enumerate() {
            let Some(source) = self.source.packets.get(start + index) else {
                return Err(self.show(Some(start), index, "more was played than published"));
            };
            if let Some(what) = self.difference(source, played, shift) {
                return Err(self.show(Some(start), index, what));
            }
        }
        let missing = self.source.packets.len() - start - self.played.packets.len();
        if extent == Extent::ToEnd && missing > 0 {
            let what = format!("the last {missing} packets were not played");
            return Err(self.show(Some(start), self.played.packets.len(), &what));
        }
        Ok(shift)
    }

    fn difference(&self, source: &Packet, played: &Packet, shift: i64) -> Option<&'static str> {
        if source.hash != played.hash {
            Some("another packet follows")
        } else if !self.near(source.dts_us + shift, played.dts_us) {
            Some("the decoding time has moved")
        } else if !self.near(source.pts_us + shift, played.pts_us) {
            Some("the presentation time has moved")
        } else {
            None
        }
    }

    fn near(&self, a: i64, b: i64) -> bool {
        u128::from(a.abs_diff(b)) <= self.tolerance.as_micros()
    }

    /// `what`, and the packets around the played one at `index`, side by side with the published ones.
    fn show(&self, start: Option<usize>, index: usize, what: &str) -> String {
        let mut text = format!(
            "{:?} packet {index} of {}: {what}\n",
            self.source.kind,
            self.played.packets.len()
        );
        for at in index.saturating_sub(NEIGHBOURS)..=index + NEIGHBOURS {
            let mark = if at == index { '>' } else { ' ' };
            let source = start.and_then(|start| self.source.packets.get(start + at));
            let (source, played) = (line(source), line(self.played.packets.get(at)));
            let _ = writeln!(text, "{mark} {at:>5} published {source:<62} played {played}");
        }
        if let (Some(start), Some(packet)) = (start, self.played.packets.get(index)) {
            let place = self.source.packets.iter().position(|source| source.hash == packet.hash);
            let place = place.map_or("never".into(), |place| format!("as number {place}"));
            let _ = writeln!(
                text,
                "what was played there was published {place}; the first played one as number {start}"
            );
        }
        text
    }
}

fn line(packet: Option<&Packet>) -> String {
    let Some(Packet { dts_us, pts_us, key, size, hash }) = packet else { return "-".into() };
    let key = if *key { "K" } else { " " };
    format!(
        "dts {dts_us:>9} pts {pts_us:>9} {key} {size:>6} B {}",
        &hash[..hash.len().min(SHOWN_DIGITS)]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of 40 ms; every fifth is a key frame.
    fn packet(kind: Kind, number: i64) -> Packet {
        Packet {
            dts_us: number * 40_000,
            pts_us: number * 40_000 + 80_000,
            key: kind == Kind::Audio || number % 5 == 0,
            size: 100,
            hash: format!("{kind:?}{number}"),
        }
    }

    fn media(range: std::ops::Range<i64>) -> Media {
        let stream = |kind| Stream {
            kind,
            codec: "c".into(),
            config: Some("r".into()),
            packets: range.clone().map(|number| packet(kind, number)).collect(),
        };
        Media { streams: vec![stream(Kind::Video), stream(Kind::Audio)] }
    }

    /// What is wrong with packets 5 to 20 of 20 after `change`.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Media)) -> String {
        let mut played = media(5..20);
        change(&mut played);
        let result = continuation(&media(0..20), &played, Extent::ToEnd, Duration::ZERO);
        result.err().unwrap_or_default()
    }

    #[test]
    fn a_run_from_a_key_frame_to_the_end_is_a_continuation() {
        assert_eq!(check(|_| {}), "");
    }

    #[test]
    fn another_timeline_is_the_same_if_distances_are() {
        let shift = |media: &mut Media, by| {
            for packet in media.streams.iter_mut().flat_map(|stream| &mut stream.packets) {
                packet.dts_us += by;
                packet.pts_us += by;
            }
        };
        assert_eq!(check(|media| shift(media, 123)), "");
    }

    #[test]
    fn sound_may_start_anywhere() {
        assert_eq!(check(|media| drop(media.streams[1].packets.drain(..3))), "");
    }

    #[test]
    fn every_difference_is_named() {
        type Change = fn(&mut Media);
        let changes: [(Change, &str); 11] = [
            (
                |media| drop(media.streams[0].packets.remove(3)),
                "packet 3 of 14: another packet follows",
            ),
            (
                |media| media.streams[1].packets.swap(3, 4),
                "Audio packet 3 of 15: another packet follows",
            ),
            (
                |media| media.streams[0].packets.insert(3, packet(Kind::Video, 7)),
                "another packet follows",
            ),
            (|media| drop(media.streams[0].packets.remove(0)), "no key frame"),
            (|media| drop(media.streams[0].packets.pop()), "the last 1 packets were not played"),
            (|media| media.streams[0].packets.push(packet(Kind::Video, 1)), "more was played"),
            (|media| media.streams[0].packets[9].dts_us += 1, "decoding time"),
            (|media| media.streams[0].packets[9].pts_us += 1, "presentation time"),
            (|media| media.streams[0].config = Some("other".into()), "configuration record"),
            (|media| media.streams[0].packets[0].hash = "x".into(), "never published"),
            (|media| drop(media.streams.pop()), "played [(Video"),
        ];
        for (change, expected) in changes {
            let message = check(change);
            assert!(message.contains(expected), "expected {expected:?} in:\n{message}");
        }
    }

    #[test]
    fn streams_that_move_apart_are_seen() {
        let message = check(|media| {
            for packet in &mut media.streams[1].packets {
                packet.dts_us += 40;
                packet.pts_us += 40;
            }
        });
        assert!(message.contains("the pictures by 0 us, the sound by 40 us"), "{message}");
    }

    #[test]
    fn a_difference_is_shown_between_its_neighbours() {
        let message = check(|media| drop(media.streams[0].packets.remove(3)));
        let marked: Vec<_> = message.lines().filter(|line| line.starts_with('>')).collect();
        let [line] = marked.as_slice() else { panic!("{message}") };
        assert!(line.contains("Video8") && line.contains("Video9"), "{message}");
        assert!(message.contains("was published as number 9"), "{message}");
    }

    #[test]
    fn a_run_need_not_reach_the_end() {
        let result = continuation(&media(0..20), &media(5..12), Extent::Run, Duration::ZERO);
        assert_eq!(result, Ok(()));
    }

    #[test]
    fn times_may_differ_within_the_tolerance() {
        let mut played = media(5..20);
        played.streams[0].packets[3].dts_us += 11;
        let check = |tolerance| {
            continuation(&media(0..20), &played, Extent::ToEnd, Duration::from_micros(tolerance))
                .is_ok()
        };
        assert!(check(11) && !check(10));
    }
}
