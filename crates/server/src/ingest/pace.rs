//! How often a publisher's socket is read.
//!
//! Each read costs the same whatever it brings, so what counts is how few there are. The socket's low-water mark
//! (`SO_RCVLOWAT`) has the kernel wake us only once enough is there, and a timer looks after what stays below the mark:
//! - Somebody watches, under `flush: video`: sound rides with the next picture anyway, so it need not be read alone.
//!   The mark is set between the size of a packet of sound and that of the smallest picture.
//! - Nobody watches: then only segmenters and recorders read the stream, and nothing is lost by reading it a few times
//!   a second. The first viewer ends that at once.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tracing::debug;
use weir_flv::TagKind;
use weir_hub::Flush;

/// Messages of pictures after which the mark is set anew: two seconds at 30 a second.
const PICTURES: u32 = 60;

/// Largest mark for pictures: above this they are all alike to us.
const PICTURE_MARK_MAX: usize = 4096;

/// RTMP's chunk headers around a message, at most: they are bytes too.
const HEADER_BYTES: usize = 16;

/// How soon the rest of a message is looked for that has come in part: it is on its way.
const REST: Duration = Duration::from_millis(2);

/// The mark of a stream that nobody watches: half of what is read at a time.
const UNWATCHED_MARK: usize = 32 * 1024;

/// How long a stream that nobody watches stays unread.
const UNWATCHED_HOLD: Duration = Duration::from_millis(200);

/// The low-water mark of one publisher's socket.
pub struct Pace {
    is_watched: bool,
    /// How long sound may stay unread while somebody watches; zero when every message counts.
    hold: Duration,
    /// The mark while somebody watches.
    mark: usize,
    applied: usize,
    pictures: u32,
    smallest_picture: usize,
    largest_sound: usize,
}

impl Pace {
    /// A pace for a stream that is passed on as `flush` says.
    pub fn new(flush: Flush) -> Self {
        Self {
            is_watched: true,
            hold: flush.hold_max().min(weir_hub::FLUSH_HOLD_MAX),
            mark: 1,
            applied: 1,
            pictures: 0,
            smallest_picture: usize::MAX,
            largest_sound: 0,
        }
    }

    /// Whether somebody watches the stream.
    pub fn watched(&mut self, is_watched: bool) {
        self.is_watched = is_watched;
    }

    /// A message with this many bytes has come.
    pub fn count(&mut self, kind: TagKind, bytes: usize) {
        let bytes = bytes + HEADER_BYTES;
        match kind {
            TagKind::Video if bytes < self.mark => self.restart(1),
            TagKind::Video => {
                self.smallest_picture = self.smallest_picture.min(bytes);
                self.pictures += 1;
            }
            TagKind::Audio => self.largest_sound = self.largest_sound.max(bytes),
            TagKind::Script => {}
        }
        if self.pictures == PICTURES {
            self.restart(self.best_mark());
        }
    }

    /// A mark that pictures reach, with room for smaller ones to come, and single packets of sound do not.
    fn best_mark(&self) -> usize {
        let mark = (self.smallest_picture / 2).min(PICTURE_MARK_MAX);
        if self.hold.is_zero() || mark <= self.largest_sound { 1 } else { mark }
    }

    fn restart(&mut self, mark: usize) {
        (self.mark, self.pictures) = (mark, 0);
        (self.smallest_picture, self.largest_sound) = (usize::MAX, 0);
    }

    /// Tells the kernel, if the mark has changed.
    pub fn apply(&mut self, socket: &TcpStream) {
        self.set(socket, if self.is_watched { self.mark } else { UNWATCHED_MARK });
    }

    /// From now on every byte counts again.
    pub fn end(&mut self, socket: &TcpStream) {
        self.set(socket, 1);
    }

    fn set(&mut self, socket: &TcpStream, mark: usize) {
        if self.applied == mark {
            return;
        }
        match weir_sys::set_recv_lowat(socket, u32::try_from(mark).unwrap_or(1)) {
            Ok(()) => self.applied = mark,
            // Then every packet wakes us, as it would without a mark.
            Err(error) => debug!(%error, "cannot set a low-water mark"),
        }
    }

    /// When to look whether something is there that the kernel does not tell of; `is_part` if a message has come in
    /// part.
    pub fn look_again(&self, now: Instant, is_part: bool) -> Option<Instant> {
        match (self.applied, self.is_watched) {
            (..=1, _) => None,
            (_, false) => Some(now + UNWATCHED_HOLD),
            (_, true) => Some(now + if is_part { REST } else { self.hold }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace_after(flush: Flush, picture: usize, sound: usize) -> Pace {
        let mut pace = Pace::new(flush);
        for _ in 0..PICTURES {
            pace.count(TagKind::Audio, sound);
            pace.count(TagKind::Video, picture);
        }
        pace
    }

    #[test]
    fn pictures_reach_the_mark_and_sound_does_not() {
        let pace = pace_after(Flush::Video, 4000, 200);
        assert!(pace.mark > 200 + HEADER_BYTES && pace.mark <= 4000, "the mark is {}", pace.mark);
    }

    #[test]
    fn without_a_clear_difference_every_message_is_read() {
        assert_eq!(
            pace_after(Flush::Video, 300, 200).mark,
            1,
            "a still picture is as small as sound"
        );
        assert_eq!(pace_after(Flush::Each, 4000, 200).mark, 1, "each frame is wanted at once");
    }

    #[test]
    fn a_picture_below_the_mark_takes_it_away_at_once() {
        let mut pace = pace_after(Flush::Video, 4000, 200);
        pace.count(TagKind::Video, 100);
        assert_eq!(pace.mark, 1);
    }

    #[test]
    fn what_stays_below_the_mark_is_looked_after() {
        let mut pace = pace_after(Flush::Video, 4000, 200);
        let now = Instant::now();
        assert_eq!(pace.look_again(now, false), None, "the kernel has not been told yet");
        pace.applied = pace.mark;
        assert_eq!(pace.look_again(now, false), Some(now + weir_hub::FLUSH_HOLD_MAX));
        assert_eq!(pace.look_again(now, true), Some(now + REST));
    }

    #[test]
    fn what_nobody_watches_is_read_a_few_times_a_second() {
        let mut pace = pace_after(Flush::Each, 4000, 200);
        pace.watched(false);
        pace.applied = UNWATCHED_MARK;
        let now = Instant::now();
        assert_eq!(pace.look_again(now, true), Some(now + UNWATCHED_HOLD));
    }
}
