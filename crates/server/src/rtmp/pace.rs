//! How often a publisher's socket is read.
//!
//! A read costs the same whatever it brings, so what counts is how few there are. While somebody watches, every packet
//! is read as it comes. While nobody does, only segmenters and recorders read the stream, and nothing is lost by
//! reading it a few times a second: the socket's low-water mark (`SO_RCVLOWAT`) keeps the kernel from waking us for
//! less than a good piece, and a timer looks after what stays below the mark. The first viewer ends that at once,
//! unless viewers get what has gathered for a while anyway (`play.flush: 350ms`): then the stream is read in parts of
//! that while.
//!
//! The mark is not for streams whose pictures are sent at once: unread bytes are acknowledged late, and an encoder that
//! sends without `TCP_NODELAY` (FFmpeg's default) holds its next picture back until then.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tracing::debug;
use weir_hub::Flush;
use weir_intake::watched_hold;

/// The mark of a stream that may wait: half of what is read at a time.
const WAITING_MARK: u32 = 32 * 1024;

/// How long a stream that nobody watches stays unread.
const UNWATCHED_HOLD: Duration = Duration::from_millis(200);

/// How long every packet of a new publish is read as it comes, watched or not: that is when its first viewers come, and
/// they want the newest picture.
const FRESH: Duration = Duration::from_secs(10);

/// The low-water mark of one publisher's socket.
pub struct Pace {
    began: Instant,
    /// How long a watched stream may stay unread.
    watched_hold: Option<Duration>,
    /// How long it may now.
    hold: Option<Duration>,
}

impl Pace {
    /// For a publish that begins `now`, whose viewers get it by `flush`.
    pub fn new(flush: Flush, now: Instant) -> Self {
        Self { began: now, watched_hold: watched_hold(flush), hold: None }
    }

    /// Viewers get the stream by another `flush` from now on.
    pub fn follow(&mut self, flush: Flush) {
        self.watched_hold = watched_hold(flush);
    }

    /// Takes note of whether somebody watches the stream, and tells the kernel if that changes anything.
    pub fn watched(&mut self, socket: &TcpStream, is_watched: bool, now: Instant) {
        let is_fresh = now.saturating_duration_since(self.began) < FRESH;
        let hold = match self.watched_hold {
            _ if !is_watched && !is_fresh => Some(UNWATCHED_HOLD),
            hold if is_watched => hold,
            _ => None,
        };
        self.set(socket, hold);
    }

    /// What comes now is not media any more: every byte counts.
    pub fn end(&mut self, socket: &TcpStream) {
        self.set(socket, None);
    }

    /// When to look whether something is there that the kernel does not tell of.
    pub fn look_again(&self, now: Instant) -> Option<Instant> {
        self.hold.map(|hold| now + hold)
    }

    fn set(&mut self, socket: &TcpStream, hold: Option<Duration>) {
        if self.hold.is_some() != hold.is_some() {
            let mark = if hold.is_some() { WAITING_MARK } else { 1 };
            if let Err(error) = weir_sys::set_recv_lowat(socket, mark) {
                // Then every packet wakes us, as it would without a mark.
                debug!(%error, "cannot set a low-water mark");
                return;
            }
        }
        self.hold = hold;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use weir_intake::announce;

    use super::*;

    #[tokio::test]
    async fn only_what_nobody_watches_is_looked_at_by_the_clock() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut encoder =
            TcpStream::connect(listener.local_addr().expect("bound")).await.expect("a connection");
        let (socket, _) = listener.accept().await.expect("a connection");
        let began = Instant::now();
        let (mut pace, now) = (Pace::new(Flush::Video, began), began + FRESH);
        pace.watched(&socket, false, began);
        assert_eq!(pace.look_again(began), None, "its first viewers are still to come");
        pace.watched(&socket, false, now);
        assert_eq!(pace.look_again(now), Some(now + UNWATCHED_HOLD));
        pace.watched(&socket, true, now);
        assert_eq!(pace.look_again(now), None);
        encoder.write_all(b"few").await.expect("written");
        socket.readable().await.expect("a few bytes count again");
    }

    #[tokio::test]
    async fn what_is_merged_for_viewers_is_read_in_parts_of_a_merge() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let _encoder = TcpStream::connect(address).await.expect("a connection");
        let (socket, _) = listener.accept().await.expect("a connection");
        let (now, merged) = (Instant::now(), Flush::Every(Duration::from_millis(400)));
        let mut pace = Pace::new(merged, now);
        pace.watched(&socket, true, now);
        let hold = Duration::from_millis(50);
        assert_eq!(pace.look_again(now), Some(now + hold), "from the first viewer on");
        assert_eq!(announce(merged), Flush::Every(Duration::from_millis(350)), "350 + 50 = 400");
        pace.end(&socket);
        assert_eq!(pace.look_again(now), None, "a command must not wait");
    }
}
