//! A client's socket as hyper has it: what was read from it before comes first, it is known whether the client takes
//! what it is sent, and what there is a copy of that the system can send is sent from there.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use rustix::net::{SendFlags, send};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::{Instant, sleep_until},
};
use weir_clients::{
    end::{End, Kind},
    socket::set_unsent,
};
use weir_tls::Stream;

use crate::zero_copy::{SEND_MAX, SharedCopy};

/// Answers of a connection that there are copies of: the one that is being sent, and the next. Without its copy an
/// answer is sent from memory.
const COPIES_MAX: usize = 2;

/// A socket of a client.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// The system's socket, if what is written here is what it sends: not where it is encrypted before.
    fn tcp(&self) -> Option<&TcpStream>;
}

impl Socket for Stream {
    fn tcp(&self) -> Option<&TcpStream> {
        self.session().is_none().then(|| self.socket())
    }
}

/// What is known of a socket that answers are written to.
#[derive(Debug, Default)]
pub struct SocketProgress {
    state: Mutex<State>,
    /// Told when the socket takes no more, and when the limit changes.
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Since when the socket takes nothing, while there is something to write.
    since: Option<Instant>,
    /// How long that may be; as long as the system lets it be without one.
    limit: Option<Duration>,
    /// It has been longer than this.
    stalled: Option<Duration>,
    /// Whether the system can send from copies: the socket writes what it is given.
    is_plain: bool,
    /// What there are copies of among what is to be written, and has not been written yet.
    copies: Vec<Copied>,
}

/// Bytes of an answer that there is a copy of.
#[derive(Debug)]
struct Copied {
    /// They are recognised by where they are in memory, where nothing else can be while they are held here.
    data: Bytes,
    copy: Arc<SharedCopy>,
    /// Where in the copy they begin.
    from: usize,
}

impl Copied {
    /// Where `bytes` are among these, if they are.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let at = bytes.as_ptr().addr().checked_sub(self.data.as_ptr().addr())?;
        (!bytes.is_empty() && at + bytes.len() <= self.data.len()).then_some(at)
    }
}

impl SocketProgress {
    /// From now on it may take nothing for so long.
    pub fn limit_to(&self, limit: Option<Duration>) {
        self.state().limit = limit;
        self.news.notify_one();
    }

    /// Whether it helps to know of copies.
    pub fn takes_copies(&self) -> bool {
        self.state().is_plain
    }

    /// Of `data`, which is written to the socket soon, there is a copy: it is this part of that, from here on.
    pub fn has_copy(&self, data: &Bytes, copy: Arc<SharedCopy>, from: usize) {
        let mut state = self.state();
        if state.is_plain && state.copies.len() < COPIES_MAX {
            state.copies.push(Copied { data: data.clone(), copy, from });
        }
    }

    /// The first of `bufs` of which there is a copy, which one, and where in the copy it is.
    fn copy_of(&self, bufs: &[io::IoSlice<'_>]) -> Option<(usize, Arc<SharedCopy>, usize)> {
        let state = self.state();
        if state.copies.is_empty() {
            return None;
        }
        bufs.iter().enumerate().find_map(|(index, buf)| {
            let (copied, at) =
                state.copies.iter().find_map(|it| it.find(buf).map(|at| (it, at)))?;
            Some((index, Arc::clone(&copied.copy), copied.from + at))
        })
    }

    /// These bytes were written, or are not to be sent from their copy.
    fn leave_copy(&self, written: &[u8], is_failed: bool) {
        let mut state = self.state();
        let is_done = |copied: &Copied| {
            let at = copied.find(written);
            at.is_some_and(|at| is_failed || at + written.len() == copied.data.len())
        };
        let done = state.copies.iter().position(is_done);
        let done = done.map(|index| state.copies.swap_remove(index));
        drop(state);
        // Its memory may go back to the system.
        drop(done);
    }

    /// The end of a client that has taken nothing for too long, if it has.
    pub fn stalled(&self) -> Option<End> {
        let limit = self.state().stalled?;
        Some(End::new(Kind::Stalled, stalled_for(limit)))
    }

    /// The client has taken nothing for `limit`, as somebody else has found out.
    pub fn stall(&self, limit: Duration) -> End {
        self.state().stalled = Some(limit);
        End::new(Kind::Stalled, stalled_for(limit))
    }

    /// Resolves when the client has taken nothing for longer than it may.
    pub async fn until_stalled(&self) -> End {
        loop {
            let due = {
                let mut state = self.state();
                let due = state.since.zip(state.limit).map(|(since, limit)| since + limit);
                if due.is_some_and(|due| due <= Instant::now()) {
                    state.stalled = state.limit;
                }
                due
            };
            if let Some(end) = self.stalled() {
                return end;
            }
            match due {
                Some(due) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = self.news.notified() => {}
                },
                None => self.news.notified().await,
            }
        }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(_) => self.state().since = None,
            Poll::Pending => {
                let mut state = self.state();
                if state.since.is_none() {
                    state.since = Some(Instant::now());
                    drop(state);
                    self.news.notify_one();
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stalled_for(limit: Duration) -> String {
    format!("took no data for {limit:?} (play.stall_timeout)")
}

/// The socket of a client. Reads bring what was read before, then what comes; of writes it is known when they stand
/// still.
pub struct ClientIo<S> {
    prefix: BytesMut,
    inner: S,
    progress: Arc<SocketProgress>,
    /// Whether the socket takes as much as it may of what it shares with others.
    is_sharing: bool,
}

impl<S: Socket> ClientIo<S> {
    /// `inner`, of which `prefix` has been read already, and `progress` is told.
    pub fn new(prefix: BytesMut, inner: S, progress: &Arc<SocketProgress>) -> Self {
        progress.state().is_plain = inner.tcp().is_some();
        Self { prefix, inner, progress: Arc::clone(progress), is_sharing: false }
    }

    /// The next reads bring these bytes again, which were the last to be read.
    pub fn unread(&mut self, bytes: &[u8]) {
        let mut all = BytesMut::with_capacity(bytes.len() + self.prefix.len());
        all.extend_from_slice(bytes);
        all.extend_from_slice(&self.prefix);
        self.prefix = all;
    }
}

impl<S: Socket> ClientIo<S> {
    /// Writes the beginning of `bufs` as far as there is a copy of it, or what comes before that. None if there is no
    /// copy of any of them.
    fn poll_shared(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Option<Poll<io::Result<usize>>> {
        let (index, copy, start) = self.progress.copy_of(bufs)?;
        self.share(true);
        let socket = self.inner.tcp()?;
        Some(match (index, bufs.first()?) {
            (0, buf) => {
                match poll_from(socket, cx, (&copy, start), buf.len()) {
                    Poll::Ready(Ok(sent @ 1..)) => {
                        self.progress.leave_copy(&buf[..sent], false);
                        Poll::Ready(Ok(sent))
                    }
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Ok(_) | Err(_)) => {
                        // If it is the socket, writing to it says the same.
                        self.progress.leave_copy(buf, true);
                        return None;
                    }
                }
            }
            (1, head) => poll_before(socket, cx, head),
            (_, _) => Pin::new(&mut self.inner).poll_write_vectored(cx, &bufs[..index]),
        })
    }

    /// Has the socket take more of what it `is_sharing` than of what is its own.
    fn share(&mut self, is_sharing: bool) {
        if self.is_sharing != is_sharing
            && let Some(socket) = self.inner.tcp()
        {
            // If it cannot, the next write says what is wrong with it.
            let _ = set_unsent(socket, is_sharing);
            self.is_sharing = is_sharing;
        }
    }
}

/// Has the system send from a copy. What it has not sent is to be asked for again.
fn poll_from(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    (copy, start): (&SharedCopy, usize),
    length: usize,
) -> Poll<io::Result<usize>> {
    let length = length.min(SEND_MAX);
    loop {
        ready!(socket.poll_write_ready(cx))?;
        let mut sent = 0;
        let tried = socket.try_io(Interest::WRITABLE, || {
            let is_full;
            (sent, is_full) = copy.send(socket, start, length)?;
            // It takes no more for now: there is no need to ask it.
            if is_full { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(sent) }
        });
        match tried {
            _ if sent > 0 => return Poll::Ready(Ok(sent)),
            Err(error) if is_passing(&error) => {}
            result => return Poll::Ready(result),
        }
    }
}

/// Sends what comes before something that is sent from a copy: it goes out with the beginning of that.
fn poll_before(socket: &TcpStream, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        let tried = socket.try_io(Interest::WRITABLE, || {
            Ok(send(socket, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
        });
        match tried {
            Err(error) if is_passing(&error) => {}
            result => return Poll::Ready(result),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let len = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..len]);
        self.prefix.advance(len);
        if self.prefix.is_empty() {
            // What it took is free; the connection may go on for long.
            self.prefix = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket> AsyncWrite for ClientIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.share(false);
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.progress.wrote(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = match self.poll_shared(cx, bufs) {
            Some(result) => result,
            None => {
                self.share(false);
                Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
            }
        };
        self.progress.wrote(&result);
        result
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::timeout,
    };

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    impl Socket for tokio::io::DuplexStream {
        fn tcp(&self) -> Option<&TcpStream> {
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_for_too_long_is_found() {
        let (near, mut far) = tokio::io::duplex(8);
        let progress = Arc::<SocketProgress>::default();
        let mut near = ClientIo::new(BytesMut::new(), near, &progress);
        let writing = tokio::spawn(async move { near.write_all(&[0; 64]).await });
        let stalled = progress.until_stalled();
        tokio::pin!(stalled);
        timeout(2 * LIMIT, &mut stalled).await.expect_err("there is no limit");
        progress.limit_to(Some(3 * LIMIT));
        // It takes something, which is enough.
        far.read_exact(&mut [0; 8]).await.expect("bytes");
        timeout(2 * LIMIT, &mut stalled).await.expect_err("it has taken something");
        let end = timeout(10 * LIMIT, stalled).await.expect("it takes nothing any more");
        assert_eq!(end.kind, Kind::Stalled);
        assert_eq!(end.reason, "took no data for 600ms (play.stall_timeout)");
        writing.abort();
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_there_is_a_copy_of_is_sent_from_there() {
        use weir_hls::{Nonce, SegmentName};
        use weir_media::{Budget, DEFAULT_VHOST, StreamKey};

        const LEN: usize = 3 << 20;
        let cache = crate::zero_copy::SharedCopies::new(&Budget::unlimited());
        let key = StreamKey::new(DEFAULT_VHOST, "live", "a").expect("a name");
        let name =
            SegmentName { sequence: 7, nonce: Some(Nonce::new(7)), form: weir_hls::Form::Ts };
        // To be told from it, the copy is none.
        let copied: Bytes = (0..LEN).map(|at| (at / 1000) as u8).collect();
        assert!(cache.get(&key, name, &copied).is_none());
        let copy = cache.get(&key, name, &copied).expect("a copy");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let far = TcpStream::connect(listener.local_addr().expect("bound")).await;
        let (mut far, (near, _)) = (far.expect("connected"), listener.accept().await.unwrap());
        let progress = Arc::<SocketProgress>::default();
        let mut near = ClientIo::new(BytesMut::new(), Stream::from(near), &progress);
        let data = Bytes::from(vec![0xaa; LEN - 1000]);
        progress.has_copy(&data, copy, 1000);
        let write = async {
            let mut answer = Buf::chain(&b"head"[..], data.clone()).chain(&b"tail"[..]);
            near.write_all_buf(&mut answer).await.expect("written");
            assert!(progress.state().copies.is_empty(), "nothing is kept of it");
            near.write_all(&data).await.expect("written");
            drop(near);
        };
        let mut read = Vec::new();
        let (_, all) = tokio::join!(write, far.read_to_end(&mut read));
        all.expect("read");
        let expected = [b"head", &copied[1000..], b"tail", &data].concat();
        assert!(read == expected, "{} bytes of {}", read.len(), expected.len());
    }

    #[tokio::test]
    async fn the_prefix_comes_first_in_pieces_of_any_size() {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(b" world").await.unwrap();
        drop(far);
        let mut stream = ClientIo::new(BytesMut::from(&b"hello"[..]), near, &Arc::default());
        let mut two = [0; 2];
        stream.read_exact(&mut two).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!((&two, rest.as_slice()), (b"he", b"llo world".as_slice()));
    }
}
