//! A client's socket as hyper has it: what was read from it before comes first, and it is known whether the client
//! takes what it is sent.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::sleep_until,
};
use weir_clients::end::{End, Kind};

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
}

impl SocketProgress {
    /// From now on it may take nothing for so long.
    pub fn limit_to(&self, limit: Option<Duration>) {
        self.state().limit = limit;
        self.news.notify_one();
    }

    /// The end of a client that has taken nothing for too long, if it has.
    pub fn stalled(&self) -> Option<End> {
        let limit = self.state().stalled?;
        let reason = format!("took no data for {limit:?} (play.stall_timeout)");
        Some(End::new(Kind::Stalled, reason))
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
                    () = sleep_until(due.into()) => {}
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

/// The socket of a client. Reads bring what was read before, then what comes; of writes it is known when they stand
/// still.
pub struct ClientIo<S> {
    prefix: BytesMut,
    inner: S,
    progress: Arc<SocketProgress>,
}

impl<S> ClientIo<S> {
    /// `inner`, of which `prefix` has been read already, and `progress` is told.
    pub fn new(prefix: BytesMut, inner: S, progress: &Arc<SocketProgress>) -> Self {
        Self { prefix, inner, progress: Arc::clone(progress) }
    }
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

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
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
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
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

    #[tokio::test]
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
