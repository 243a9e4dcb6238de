//! How often a publisher's socket is read.
//!
//! A read costs the same whatever it brings, so what counts is how few there are. While somebody watches, every packet
//! is read as it comes. While nobody does, only segmenters and recorders read the stream, and nothing is lost by
//! reading it a few times a second: the socket's low-water mark (`SO_RCVLOWAT`) keeps the kernel from waking us for
//! less than a good piece, and a timer looks after what stays below the mark. The first viewer ends that at once.
//!
//! The mark is not for watched streams: unread bytes are acknowledged late, and an encoder that sends without
//! `TCP_NODELAY` (FFmpeg's default) holds its next picture back until then.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tracing::debug;

/// The mark of a stream that nobody watches: half of what is read at a time.
const UNWATCHED_MARK: u32 = 32 * 1024;

/// How long a stream that nobody watches stays unread.
const UNWATCHED_HOLD: Duration = Duration::from_millis(200);

/// How long every packet of a new publish is read as it comes, watched or not: that is when its first viewers come, and
/// they want the newest picture.
const FRESH: Duration = Duration::from_secs(10);

/// The low-water mark of one publisher's socket.
pub struct Pace {
    began: Instant,
    mark: u32,
}

impl Pace {
    /// For a publish that begins `now`: every byte counts, as on any socket.
    pub fn new(now: Instant) -> Self {
        Self { began: now, mark: 1 }
    }

    /// Takes note of whether somebody watches the stream, and tells the kernel if that changes anything.
    pub fn watched(&mut self, socket: &TcpStream, is_watched: bool, now: Instant) {
        let is_fresh = now.saturating_duration_since(self.began) < FRESH;
        let mark = if is_watched || is_fresh { 1 } else { UNWATCHED_MARK };
        if self.mark == mark {
            return;
        }
        match weir_sys::set_recv_lowat(socket, mark) {
            Ok(()) => self.mark = mark,
            // Then every packet wakes us, as it would without a mark.
            Err(error) => debug!(%error, "cannot set a low-water mark"),
        }
    }

    /// When to look whether something is there that the kernel does not tell of.
    pub fn look_again(&self, now: Instant) -> Option<Instant> {
        (self.mark > 1).then(|| now + UNWATCHED_HOLD)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    #[tokio::test]
    async fn only_what_nobody_watches_is_looked_at_by_the_clock() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut encoder =
            TcpStream::connect(listener.local_addr().expect("bound")).await.expect("a connection");
        let (socket, _) = listener.accept().await.expect("a connection");
        let began = Instant::now();
        let (mut pace, now) = (Pace::new(began), began + FRESH);
        pace.watched(&socket, false, began);
        assert_eq!(pace.look_again(began), None, "its first viewers are still to come");
        pace.watched(&socket, false, now);
        assert_eq!(pace.look_again(now), Some(now + UNWATCHED_HOLD));
        pace.watched(&socket, true, now);
        assert_eq!(pace.look_again(now), None);
        encoder.write_all(b"few").await.expect("written");
        socket.readable().await.expect("a few bytes count again");
    }
}
