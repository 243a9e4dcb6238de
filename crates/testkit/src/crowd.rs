//! Crowds: hundreds of viewers of [`Numbered`](crate::peer::Numbered) streams that watch for themselves that nothing
//! disturbs them.
//!
//! A viewer here costs a socket and a task. It holds no buffer while it waits, so that a thousand of them fit beside
//! the servers under test.

mod seen;
pub(crate) mod viewer;
mod watch;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

pub use seen::{Protocol, Seen};
pub use watch::Watch;

use crate::{Weir, eventually};

/// Descriptors that a test may need: a crowd's sockets, and everything else.
const FILES: u32 = 20_000;

/// Viewers that a message shows.
const SHOWN: usize = 5;

/// Viewers of one or several streams. Dropping it closes their connections.
#[derive(Debug, Default)]
pub struct Crowd {
    viewers: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    name: String,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Crowd {
    /// Nobody yet.
    pub fn new() -> Self {
        allow_files(std::process::id());
        Self::default()
    }

    /// Lets `count` viewers of `stream`, such as `live/a`, connect to `weir` evenly within this time, every second one
    /// over HTTP-FLV. Does not wait for them.
    pub fn join(&mut self, weir: &Weir, stream: &str, count: usize, within: Duration) {
        allow_files(weir.pid());
        let each = within / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        for (number, protocol) in (0..count).zip(Protocol::ALL.into_iter().cycle()) {
            let after = each * u32::try_from(number).unwrap_or(u32::MAX);
            self.viewer(weir, stream, protocol, after);
        }
    }

    /// One more viewer, who connects after this time.
    pub fn viewer(&mut self, weir: &Weir, stream: &str, protocol: Protocol, after: Duration) {
        let address = match protocol {
            Protocol::Rtmp => weir.rtmp(),
            Protocol::HttpFlv => weir.http(),
        };
        self.viewer_at(address, stream, protocol, after);
    }

    /// The same, at any server.
    pub fn viewer_at(
        &mut self,
        address: SocketAddr,
        stream: &str,
        protocol: Protocol,
        after: Duration,
    ) {
        let name =
            format!("viewer {} of {stream} at {address} over {protocol:?}", self.viewers.len());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task =
            tokio::spawn(viewer::play(protocol, address, stream.into(), after, seen.clone()));
        self.viewers.push(Member { name, seen, task });
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.viewers.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.viewers.is_empty()
    }

    /// What each of them has seen, in the order in which they joined.
    pub fn seen(&self) -> Vec<Seen> {
        self.viewers.iter().map(|member| member.seen().clone()).collect()
    }

    /// From now on it is noted who gets something [new](Seen::resumed).
    pub fn mark(&self) {
        for member in &self.viewers {
            member.seen().mark();
        }
    }

    /// Waits until `done` holds for each viewer.
    ///
    /// # Panics
    /// If it does not before `timeout`, or as soon as a viewer for whom it does not hold is disconnected or has got
    /// something wrong.
    pub async fn until(&self, what: &str, timeout: Duration, done: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + timeout;
        eventually(what, timeout + SOON_AFTER, async || {
            let left = self.those(|seen| !done(seen));
            let lost =
                self.those(|seen| !done(seen) && (seen.fault().is_some() || seen.end.is_some()));
            assert!(lost.is_empty(), "{what}: {}", self.show(&lost));
            let late = Instant::now() >= deadline && !left.is_empty();
            assert!(!late, "{what}: not within {timeout:?}: {}", self.show(&left));
            left.is_empty().then_some(())
        })
        .await;
    }

    /// Waits until everybody has picture `number` or a later one.
    ///
    /// # Panics
    /// As [`until`](Self::until).
    pub async fn until_picture(&self, number: u64, timeout: Duration) {
        let what = format!("picture {number} at every viewer");
        self.until(&what, timeout, |seen| seen.newest() >= Some(number)).await;
    }

    /// Requires that everybody is still connected and has got nothing wrong.
    ///
    /// # Panics
    /// If somebody is not.
    #[track_caller]
    pub fn assert_undisturbed(&self) {
        let lost = self.those(|seen| seen.fault().is_some() || seen.end.is_some());
        assert!(lost.is_empty(), "{}", self.show(&lost));
    }

    /// Requires as well that nobody has missed anything.
    ///
    /// # Panics
    /// If somebody has.
    #[track_caller]
    pub fn assert_complete(&self) {
        self.assert_undisturbed();
        let jumped = self.those(|seen| seen.watch.jumps() > 0);
        assert!(jumped.is_empty(), "something was lost: {}", self.show(&jumped));
    }

    /// The longest time from `start` until a viewer got something new after the [mark](Self::mark).
    ///
    /// # Panics
    /// If somebody has not yet.
    #[track_caller]
    pub fn slowest_since(&self, start: Instant) -> Duration {
        let missing = self.those(|seen| seen.resumed.is_none());
        assert!(missing.is_empty(), "nothing new yet: {}", self.show(&missing));
        let times = self.viewers.iter().filter_map(|member| member.seen().resumed);
        times.map(|time| time.duration_since(start)).max().unwrap_or_default()
    }

    /// The longest that anybody has been without a new picture since the [mark](Self::mark).
    pub fn longest_gap(&self) -> Duration {
        self.viewers.iter().map(|member| member.seen().gap).max().unwrap_or_default()
    }

    fn those(&self, is: impl Fn(&Seen) -> bool) -> Vec<&Member> {
        self.viewers.iter().filter(|member| is(&member.seen())).collect()
    }

    /// For people: so many of them, some of them by name, and why they are in this list.
    fn show(&self, members: &[&Member]) -> String {
        let mut reasons = BTreeMap::<_, usize>::new();
        for member in members {
            let seen = member.seen();
            let reason = seen.fault().map(str::to_owned).or_else(|| seen.end.clone());
            *reasons.entry(reason.unwrap_or_else(|| "is connected".into())).or_default() += 1;
        }
        let some = members.iter().take(SHOWN);
        let some: Vec<_> =
            some.map(|member| format!("\n{}: {:?}", member.name, member.seen())).collect();
        let all = self.viewers.len();
        format!("{} of {all} viewers: {reasons:?}{}", members.len(), some.concat())
    }
}

/// The panic that says who is missing comes before the one that says only what for.
const SOON_AFTER: Duration = Duration::from_secs(5);

impl Member {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lets a process have as many sockets as a crowd needs; desktops give 1,024.
pub fn allow_files(pid: u32) {
    let limit = format!("--nofile={FILES}:");
    // Where it is not allowed the test fails for want of sockets, and says so.
    let _ = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).output();
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use weir_flv::file::{Header, write_tag};

    use super::*;
    use crate::peer::Numbered;

    const SOON: Duration = Duration::from_secs(10);

    /// A server that answers each HTTP request with `reply` and a stream of so many pictures.
    async fn serve(reply: &'static [u8], pictures: u64) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = socket.read(&mut [0; 4096]).await;
                    let body = [reply, &stream(pictures)].concat();
                    for piece in body.chunks(100) {
                        socket.write_all(piece).await.unwrap();
                    }
                });
            }
        });
        address
    }

    /// A file of so many pictures; nothing, if there are none.
    fn stream(pictures: u64) -> bytes::BytesMut {
        let mut file = bytes::BytesMut::new();
        if pictures == 0 {
            return file;
        }
        let mut source = Numbered::new(5);
        file.extend_from_slice(&Header { has_audio: true, has_video: true }.encode());
        let init = source.init();
        for tag in init.into_iter().chain((0..pictures).flat_map(|_| source.next_pair())) {
            write_tag(&mut file, tag.kind, tag.timestamp, &tag.body);
        }
        file
    }

    fn crowd(address: SocketAddr, count: usize) -> Crowd {
        let mut crowd = Crowd::new();
        for _ in 0..count {
            crowd.viewer_at(address, "live/a", Protocol::HttpFlv, Duration::ZERO);
        }
        crowd
    }

    #[tokio::test]
    async fn everybody_sees_everything_and_how_it_ended() {
        let crowd = crowd(serve(b"HTTP/1.0 200 OK\r\n\r\n", 12).await, 20);
        crowd.until("the end", SOON, |seen| seen.end.is_some()).await;
        for seen in crowd.seen() {
            assert_eq!((seen.newest(), seen.fault(), seen.watch.jumps()), (Some(11), None, 0));
            assert_eq!(seen.end.as_deref(), Some("the server closed the connection"));
            assert!(seen.delay().is_some() && seen.resumed.is_none());
        }
    }

    #[tokio::test]
    async fn refusals_are_kept_in_the_servers_words() {
        let reply = b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 4\r\n\r\nfull";
        let crowd = crowd(serve(reply, 0).await, 1);
        crowd.until("the end", SOON, |seen| seen.end.is_some()).await;
        let end = crowd.seen()[0].end.clone().unwrap();
        assert_eq!(end, "503, Retry-After: 5: full");
    }

    #[tokio::test]
    #[should_panic(expected = "2 of 2 viewers: {\"the server closed the connection\": 2}")]
    async fn who_is_disconnected_is_named() {
        let crowd = crowd(serve(b"HTTP/1.0 200 OK\r\n\r\n", 2).await, 2);
        crowd.until_picture(100, SOON).await;
    }

    #[test]
    fn new_is_what_is_newer_than_everything_before_the_mark() {
        let (mut source, mut seen) = (Numbered::new(5), Seen::default());
        source.init().iter().for_each(|tag| seen.take(tag));
        let tags: Vec<_> = (0..8).flat_map(|_| source.next_pair()).collect();
        tags.iter().for_each(|tag| seen.take(tag));
        assert!(seen.resumed.is_none() && seen.newest() == Some(7));
        seen.mark();
        // The newest group comes again, and goes on.
        let mut again = source.starting_at(1000);
        for mut tag in tags[10..].iter().cloned() {
            tag.timestamp += 1000;
            seen.take(&tag);
        }
        assert_eq!((seen.fault(), seen.resumed), (None, None), "all of this it had before");
        again.next_pair().iter().for_each(|tag| seen.take(tag));
        assert!(seen.resumed.is_some(), "{seen:?}");
    }
}
