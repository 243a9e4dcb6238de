//! Handing the listening sockets over to the next process on the same machine, so that an upgrade refuses nobody.
//!
//! ```text
//! new: weir serve --replace                       old
//!   │ connects to handover.socket ──── hello ────► │
//!   │ ◄── names of the listeners, and the sockets  │   both could accept now: the queue is one
//!   │ has all that it needs                        │
//!   │ ───────────────── ready ───────────────────► │ holds its acceptors
//!   │ ◄────────────────  go  ───────────────────── │
//!   │ accepts, and asks at each of its listeners   │
//!   │ ──────────────── served ───────────────────► │
//!   │ ◄──────────────── bye ────────────────────── │ lets everybody go
//!   │ listens on handover.socket                   │
//!   │ ───────── done, when it is stopped ────────► │ has ended by then, most likely
//! ```
//!
//! Both hold the connection until one of them ends. When it breaks, the old process opens its acceptors again, also
//! while it lets its clients go: whenever the new one dies before the old one has ended, somebody serves.

mod message;
mod trial;

use std::{
    io,
    net::SocketAddr,
    os::{fd::AsFd as _, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    net::{TcpListener, UnixListener, UnixStream},
    time::timeout,
};
use tracing::{info, warn};
use weir_clients::listen::Acceptor;

use self::message::{Offer, read_line, receive, send};
pub use self::trial::{Trial, reachable};

/// What the new process says first, with the version of this protocol.
const HELLO: &str = "weir handover 2";

/// What it says once it is going to serve, and nothing of its own can keep it from that.
const READY: &str = "ready";

/// What it hears then: nobody else accepts any more.
const GO: &str = "go";

/// What it says once each of its listeners has answered.
const SERVED: &str = "served";

/// What it hears then, unless the old process has stopped waiting and goes on.
const BYE: &str = "bye";

/// What it says when it ends because it is asked to: nobody has to take over from it.
const DONE: &str = "done";

/// How long accepting rests after it failed for lack of descriptors, which only others can free.
const REST: Duration = Duration::from_millis(100);

/// How long either side may take for a line. Both are on one machine, and at most a start lies between them.
const LINE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long nobody accepts, at most, while a new process tries its listeners out: those who come meanwhile wait, and
/// are not refused. It takes milliseconds; a process that hangs is as bad as one that has died, which shows at once.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no path to ask at.
    #[error("--replace needs handover.socket, the same in the running process and in this one")]
    NoSocket,
    /// Whoever is there does not hand over.
    #[error("the process at {path} did not hand over its listeners: {why}")]
    Refused {
        /// The unix socket.
        path: PathBuf,
        /// What happened.
        why: io::Error,
    },
    /// Another process may be replaced at this path already.
    #[error("cannot listen on {path} (handover.socket): {why}")]
    Listen {
        /// The unix socket.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
}

/// Listeners of the process before, and the way to tell it that they are served.
#[derive(Default)]
pub struct Inherited {
    listeners: Vec<(Offer, std::net::TcpListener)>,
    before: Option<(PathBuf, UnixStream)>,
}

impl Inherited {
    /// Asks the process behind the socket at `path` for its listeners. None, if there is no such process.
    ///
    /// # Errors
    /// When there is no path, or the process does not hand over.
    pub async fn from_process_at(path: Option<&Path>) -> Result<Self, Error> {
        let path = path.ok_or(Error::NoSocket)?;
        let Ok(mut before) = UnixStream::connect(path).await else {
            warn!(path = %path.display(), "no process to replace: starting normally");
            return Ok(Self::default());
        };
        let asked = async {
            send(&before, HELLO, &[]).await?;
            receive(&mut before).await
        };
        let received = match timeout(LINE_TIMEOUT, asked).await {
            Ok(received) => received,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
        };
        match received {
            Ok(listeners) => {
                info!(listeners = listeners.len(), "listeners taken over");
                Ok(Self { listeners, before: Some((path.to_owned(), before)) })
            }
            Err(why) if !is_gone(&why) || UnixStream::connect(path).await.is_ok() => {
                Err(Error::Refused { path: path.to_owned(), why })
            }
            Err(_) => {
                warn!("the previous process has ended: starting normally");
                Ok(Self::default())
            }
        }
    }

    /// The listener of `service` on `address`, if the process before had it. It is the caller's from now on. There is
    /// one for each address, and what speaks HTTP there may have been for another part of it before.
    pub fn take(&mut self, service: &str, address: SocketAddr) -> Option<std::net::TcpListener> {
        let fits = |offer: &Offer| match address.port() {
            0 => offer.service == service && offer.address.ip() == address.ip(),
            _ => {
                offer.address == address
                    && (offer.service == service || speaks_http(&offer.service, service))
            }
        };
        let at = self.listeners.iter().position(|(offer, _)| fits(offer))?;
        Some(self.listeners.remove(at).1)
    }

    /// Tells the process before that all is ready here, and returns once it accepts nobody any more.
    ///
    /// # Errors
    /// When it has stopped waiting and goes on: two processes must not serve the same listeners.
    pub async fn begin(&mut self) -> Result<(), Error> {
        for (offer, _) in &self.listeners {
            let Offer { service, address } = offer;
            info!(service, %address, "a listener of the previous process is not configured any more");
        }
        // Closed here, they are closed once the process before closes them.
        self.listeners.clear();
        self.exchange(READY, GO).await?;
        if self.before.is_some() {
            info!("ready to take over: testing the listeners");
        }
        Ok(())
    }

    /// Asks at each of `listeners`, which are served now, and tells the process before that they answer: it lets its
    /// clients go then. The tie to it must be kept for as long as this process lives.
    ///
    /// # Errors
    /// When one does not answer, or the process before has stopped waiting and goes on.
    pub async fn end(mut self, listeners: &[Trial]) -> Result<HandoverLink, Error> {
        if let Some((path, _)) = &self.before {
            let refused = |why| Error::Refused { path: path.clone(), why };
            let late = || io::Error::new(io::ErrorKind::TimedOut, "our listeners do not answer");
            let tried = timeout(TRIAL_TIMEOUT, trial::all(listeners)).await;
            tried.unwrap_or_else(|_| Err(late())).map_err(refused)?;
        }
        self.exchange(SERVED, BYE).await?;
        Ok(HandoverLink { before: self.before.map(|(_, before)| before) })
    }

    /// Says something to the process before and requires an answer, unless it is gone.
    async fn exchange(&mut self, words: &str, expected: &str) -> Result<(), Error> {
        let Some((path, before)) = &mut self.before else { return Ok(()) };
        let told = async {
            send(before, words, &[]).await?;
            hear(before, LINE_TIMEOUT).await
        };
        match told.await {
            Ok(answer) if answer == expected => Ok(()),
            told if UnixStream::connect(&*path).await.is_ok() => {
                let other = || io::Error::other(format!("it did not answer {expected}"));
                Err(Error::Refused { path: path.clone(), why: told.err().unwrap_or_else(other) })
            }
            _ => {
                warn!("the previous process is already gone");
                self.before = None;
                Ok(())
            }
        }
    }
}

/// Whether both services are reached over HTTP: they can have one listener, and which of them it is for can change.
fn speaks_http(one: &str, other: &str) -> bool {
    [one, other].iter().all(|service| ["http", "http.tls", "api"].contains(service))
}

/// The tie of a process to the one before, which takes over again when it breaks.
pub struct HandoverLink {
    before: Option<UnixStream>,
}

impl HandoverLink {
    /// This process ends because it is asked to: the one before need not take over again.
    pub async fn release(&mut self) {
        if let Some(before) = self.before.take() {
            // It has ended already, most likely.
            let _ = send(&before, DONE, &[]).await;
        }
    }
}

/// Hands the listeners over to whoever asks for them; ends with this.
pub struct HandoverServer {
    task: tokio::task::JoinHandle<()>,
}

/// A listener that can be handed over, for as long as it is open.
pub struct OfferedListener {
    offer: Offer,
    listener: Weak<TcpListener>,
}

impl OfferedListener {
    /// Of `listener`.
    ///
    /// # Errors
    /// When it has no address.
    pub fn of(service: &'static str, listener: &Arc<TcpListener>) -> io::Result<Self> {
        let offer = Offer { service: service.to_owned(), address: listener.local_addr()? };
        Ok(Self { offer, listener: Arc::downgrade(listener) })
    }
}

/// All that is needed to hand the listeners over, but for the place where they are asked for.
pub struct HandoverSocket {
    path: PathBuf,
    draft: PathBuf,
    listener: UnixListener,
    offered: Vec<OfferedListener>,
}

/// What becomes of the listeners that were handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoverOutcome {
    /// Another process serves them.
    Replaced,
    /// That process has died, and this one serves them again.
    TakenBack,
}

impl HandoverSocket {
    /// Makes a socket that only this user can reach, beside `path`.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn prepare(path: PathBuf, offered: Vec<OfferedListener>) -> Result<Self, Error> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(draft);
        match listen(&draft) {
            Ok(listener) => Ok(Self { path, draft, listener, offered }),
            Err(why) => Err(Error::Listen { path, why }),
        }
    }

    /// Waits at the path for the process that replaces this one, and has it `told` when one does, and when it is gone.
    /// What an earlier process left there goes.
    pub fn keep(
        self,
        told: impl Fn(HandoverOutcome) + Send + Sync + 'static,
        acceptors: [Arc<Acceptor>; 5],
    ) -> HandoverServer {
        HandoverServer { task: tokio::spawn(async move { self.serve(&told, &acceptors).await }) }
    }

    /// Hands over until a process has taken over for good.
    async fn serve(
        mut self,
        told: &(impl Fn(HandoverOutcome) + Sync),
        acceptors: &[Arc<Acceptor>],
    ) {
        loop {
            if let Err(error) = std::fs::rename(&self.draft, &self.path) {
                let path = self.path.display();
                warn!(%path, %error, "this process cannot be replaced (handover.socket)");
            }
            let mut next = self.until_replaced(acceptors).await;
            info!("another process has taken over the listeners: draining");
            told(HandoverOutcome::Replaced);
            if self.until_over(&mut next).await {
                return;
            }
            warn!("the process that replaced this one has died: serving again");
            acceptors.iter().for_each(|acceptor| acceptor.open());
            told(HandoverOutcome::TakenBack);
            // At the path is what the other one left.
            match Self::prepare(self.path, self.offered) {
                Ok(again) => self = again,
                Err(error) => {
                    warn!(%error, "this process cannot be replaced");
                    return;
                }
            }
        }
    }

    /// Whether the process behind `next` has said that it stops, as opposed to having died.
    async fn until_over(&self, next: &mut UnixStream) -> bool {
        loop {
            tokio::select! {
                heard = read_line(next) => return heard.is_ok_and(|words| words == DONE),
                // Who finds this process still at the path comes too late, and is told so by the closed connection.
                late = self.listener.accept() => if late.is_err() {
                    tokio::time::sleep(REST).await;
                },
            }
        }
    }

    /// Gives the listeners to one after the other, until one serves them.
    async fn until_replaced(&self, acceptors: &[Arc<Acceptor>]) -> UnixStream {
        loop {
            let served = match self.listener.accept().await {
                Ok((next, _)) => hand_over(next, &self.offered, acceptors).await,
                Err(error) => {
                    tokio::time::sleep(REST).await;
                    Err(error)
                }
            };
            match served {
                Ok(next) => return next,
                Err(error) => {
                    acceptors.iter().for_each(|acceptor| acceptor.open());
                    warn!(%error, "handover failed: this process keeps serving");
                }
            }
        }
    }
}

impl Drop for HandoverServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A socket at `path` that only this user can reach.
fn listen(path: &Path) -> io::Result<UnixListener> {
    // What a process with our number left there is nobody's.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Gives the listeners to `next`, and returns the tie to it once it serves them. The acceptors are held then.
async fn hand_over(
    mut next: UnixStream,
    offered: &[OfferedListener],
    acceptors: &[Arc<Acceptor>],
) -> io::Result<UnixStream> {
    expect(&mut next, HELLO, LINE_TIMEOUT).await?;
    let open = offered.iter().filter_map(|it| Some((&it.offer, it.listener.upgrade()?)));
    let (offers, listeners): (Vec<_>, Vec<_>) = open.unzip();
    let text = serde_json::to_string(&offers)?;
    let sockets: Vec<_> = listeners.iter().map(|listener| listener.as_fd()).collect();
    send(&next, &text, &sockets).await?;
    drop(listeners);
    expect(&mut next, READY, LINE_TIMEOUT).await?;
    for acceptor in acceptors {
        acceptor.hold().await;
    }
    send(&next, GO, &[]).await?;
    expect(&mut next, SERVED, TRIAL_TIMEOUT).await?;
    send(&next, BYE, &[]).await?;
    Ok(next)
}

async fn expect(next: &mut UnixStream, words: &str, within: Duration) -> io::Result<()> {
    match hear(next, within).await? {
        heard if heard == words => Ok(()),
        _ => {
            let why = format!("it did not answer {words}");
            Err(io::Error::new(io::ErrorKind::InvalidData, why))
        }
    }
}

fn is_gone(why: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(why.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

async fn hear(next: &mut UnixStream, within: Duration) -> io::Result<String> {
    let silent = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"));
    timeout(within, read_line(next)).await.unwrap_or_else(silent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands `offered` over once, at a socket of its own.
    fn serving(
        folder: &Path,
        offered: Vec<OfferedListener>,
    ) -> (PathBuf, tokio::task::JoinHandle<io::Result<UnixStream>>) {
        let path = folder.join("weir.sock");
        let listener = listen(&path).expect("a socket");
        let task = tokio::spawn(async move {
            let (next, _) = listener.accept().await?;
            hand_over(next, &offered, &[]).await
        });
        (path, task)
    }

    async fn tcp() -> Arc<TcpListener> {
        Arc::new(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    #[tokio::test]
    async fn listeners_go_on_in_another_process_with_whoever_waits_to_be_accepted() {
        let folder = tempfile::tempdir().expect("a folder");
        let (rtmp, http) = (tcp().await, tcp().await);
        let (address, other) =
            (rtmp.local_addr().expect("bound"), http.local_addr().expect("bound"));
        let offered = [OfferedListener::of("rtmp", &rtmp), OfferedListener::of("http", &http)]
            .map(Result::unwrap);
        let (path, task) = serving(folder.path(), offered.into());
        let _waiting = tokio::net::TcpStream::connect(address).await.expect("a queue");
        let mut inherited = Inherited::from_process_at(Some(&path)).await.expect("handed over");
        drop((rtmp, http));
        assert!(inherited.take("http", address).is_none(), "that is RTMP's");
        let taken = inherited.take("rtmp", address).expect("the listener");
        let any = SocketAddr::new(other.ip(), 0);
        assert!(inherited.take("http", any).is_some(), "any port will do");
        let listener = TcpListener::from_std(taken).expect("a listener");
        inherited.begin().await.expect("nobody else accepts");
        let tie = inherited.end(&[]).await.expect("goodbye");
        assert!(task.await.expect("a task").is_ok());
        timeout(LINE_TIMEOUT, listener.accept()).await.expect("in time").expect("who waited");
        drop(tie);
    }

    #[tokio::test]
    async fn a_listener_that_is_closed_is_not_handed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let (rtmp, api) = (tcp().await, tcp().await);
        let offered = [OfferedListener::of("rtmp", &rtmp), OfferedListener::of("api", &api)]
            .map(Result::unwrap);
        drop(rtmp);
        let (path, _task) = serving(folder.path(), offered.into());
        let mut inherited = Inherited::from_process_at(Some(&path)).await.expect("handed over");
        let any = "127.0.0.1:0".parse().expect("an address");
        assert!(inherited.take("rtmp", any).is_none());
        assert!(inherited.take("api", any).is_some());
    }

    #[tokio::test]
    async fn who_goes_before_it_is_ready_replaces_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = tcp().await;
        let offered = vec![OfferedListener::of("rtmp", &listener).expect("an address")];
        let (path, task) = serving(folder.path(), offered);
        drop(Inherited::from_process_at(Some(&path)).await.expect("handed over"));
        assert!(task.await.expect("a task").is_err());
    }

    #[tokio::test]
    async fn a_listener_that_does_not_answer_replaces_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = tcp().await;
        let trial = Trial::new("http", listener.local_addr().expect("bound"), false);
        let offered = vec![OfferedListener::of("http", &listener).expect("an address")];
        let (path, task) = serving(folder.path(), offered);
        let mut inherited = Inherited::from_process_at(Some(&path)).await.expect("handed over");
        inherited.begin().await.expect("nobody else accepts");
        let error = inherited.end(&[trial]).await.err().expect("nobody answers").to_string();
        assert!(error.contains("our listeners do not answer"), "{error}");
        assert!(task.await.expect("a task").is_err());
    }

    #[tokio::test]
    async fn who_was_given_up_meanwhile_does_not_serve() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("weir.sock");
        let listener = listen(&path).expect("a socket");
        let task = tokio::spawn(async move {
            let (mut next, _) = listener.accept().await?;
            expect(&mut next, HELLO, LINE_TIMEOUT).await?;
            send(&next, "[]", &[]).await?;
            expect(&mut next, READY, LINE_TIMEOUT).await?;
            send(&next, GO, &[]).await?;
            io::Result::Ok(listener)
        });
        let mut inherited = Inherited::from_process_at(Some(&path)).await.expect("handed over");
        inherited.begin().await.expect("nobody else accepts");
        let _listener =
            task.await.expect("a task").expect("it goes on, and the connection is closed");
        assert!(matches!(inherited.end(&[]).await, Err(Error::Refused { .. })));
    }

    #[tokio::test]
    async fn nobody_to_replace_is_a_start_like_any_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("none.sock");
        let mut inherited = Inherited::from_process_at(Some(&path)).await.expect("a start");
        assert!(inherited.take("rtmp", ([127, 0, 0, 1], 1935).into()).is_none());
        assert!(matches!(Inherited::from_process_at(None).await, Err(Error::NoSocket)));
    }

    #[tokio::test]
    async fn somebody_else_behind_the_socket_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("weir.sock");
        let listener = listen(&path).expect("a socket");
        tokio::spawn(async move {
            let (next, _) = listener.accept().await.expect("a connection");
            send(&next, "[{\"service\":\"rtmp\",\"address\":\"127.0.0.1:1935\"}]", &[]).await
        });
        let error = Inherited::from_process_at(Some(&path)).await.err().expect("an error");
        assert!(error.to_string().contains("1 listeners and 0 sockets"), "{error}");
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
