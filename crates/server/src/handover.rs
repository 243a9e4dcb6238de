//! Handing the listening sockets over to the next process on the same machine, so that an upgrade refuses nobody.
//!
//! ```text
//! new: weir serve --replace                       old
//!   │ connects to handover.socket ──── hello ────► │
//!   │ ◄── names of the listeners, and the sockets  │   both could accept now: the queue is one
//!   │ has all that it needs                        │
//!   │ ───────────────── ready ───────────────────► │
//!   │ ◄──────────────── bye ────────────────────── │ closes its doors, lets everybody go, ends
//!   │ serves, and listens on handover.socket       │
//! ```
//!
//! A new process that fails before it is ready leaves the old one as it was.

mod message;

use std::{
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::PermissionsExt as _,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, UnixListener, UnixStream},
    time::timeout,
};
use tracing::{info, warn};

use self::message::{Offer, read_line, receive, send};
use crate::control::Control;

/// What the new process says first, with the version of this protocol.
const HELLO: &str = "weir handover 1";

/// What it says once it is going to serve, and nothing can keep it from that.
const READY: &str = "ready";

/// What it hears then, unless the old process has stopped waiting and goes on.
const BYE: &str = "bye";

/// How long accepting rests after it failed for lack of descriptors, which only others can free.
const REST: Duration = Duration::from_millis(100);

/// How long either side may take for a line. Both are on one machine, and at most a start lies between them.
const LINE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no path to ask at.
    #[error("--replace needs handover.socket, which the process that is to be replaced has too")]
    NoSocket,
    /// Whoever is there does not hand over.
    #[error("the process behind {path} does not hand its listeners over: {why}")]
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
            warn!(path = %path.display(), "there is no process to replace: this one starts as any other");
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
        let refused = |why| Error::Refused { path: path.to_owned(), why };
        let listeners = received.map_err(refused)?;
        info!(listeners = listeners.len(), "listeners taken over");
        Ok(Self { listeners, before: Some((path.to_owned(), before)) })
    }

    /// The listener of `service` on `address`, if the process before had it. It is the caller's from now on.
    pub fn take(&mut self, service: &str, address: SocketAddr) -> Option<std::net::TcpListener> {
        let fits = |offer: &Offer| {
            let same = offer.address == address
                || (address.port() == 0 && offer.address.ip() == address.ip());
            offer.service == service && same
        };
        let at = self.listeners.iter().position(|(offer, _)| fits(offer))?;
        Some(self.listeners.remove(at).1)
    }

    /// Tells the process before that its listeners are served here from now on; it lets its clients go then.
    ///
    /// # Errors
    /// When it has stopped waiting and goes on: two processes must not serve the same listeners.
    pub async fn are_served(self) -> Result<(), Error> {
        let Some((path, mut before)) = self.before else { return Ok(()) };
        for (offer, _) in &self.listeners {
            let Offer { service, address } = offer;
            info!(service, %address, "a listener of the process before is not configured any more");
        }
        let told = async {
            send(&before, READY, &[]).await?;
            hear(&mut before).await
        };
        match told.await {
            Ok(bye) if bye == BYE => Ok(()),
            told if UnixStream::connect(&path).await.is_ok() => {
                let why = told.err().unwrap_or_else(|| io::Error::other("it did not say goodbye"));
                Err(Error::Refused { path, why })
            }
            _ => {
                warn!("the process before is gone already");
                Ok(())
            }
        }
    }
}

/// Hands the listeners over to whoever asks for them; ends with this.
pub struct Keeper {
    task: tokio::task::JoinHandle<()>,
}

/// A listener that can be handed over.
pub struct Heirloom {
    offer: Offer,
    socket: OwnedFd,
}

impl Heirloom {
    /// Another handle of `listener`.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn of(service: &'static str, listener: &TcpListener) -> io::Result<Self> {
        let offer = Offer { service: service.to_owned(), address: listener.local_addr()? };
        Ok(Self { offer, socket: listener.as_fd().try_clone_to_owned()? })
    }
}

/// All that is needed to hand the listeners over, but for the place where they are asked for.
pub struct Estate {
    path: PathBuf,
    draft: PathBuf,
    listener: UnixListener,
    heirlooms: Vec<Heirloom>,
}

impl Estate {
    /// Makes a socket that only this user can reach, beside `path`.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn prepare(path: PathBuf, heirlooms: Vec<Heirloom>) -> Result<Self, Error> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(draft);
        match listen(&draft) {
            Ok(listener) => Ok(Self { path, draft, listener, heirlooms }),
            Err(why) => Err(Error::Listen { path, why }),
        }
    }

    /// Waits at the path for the process that replaces this one. What an earlier process left there goes.
    pub fn keep(self, control: &Arc<Control>) -> Keeper {
        let Self { path, draft, listener, heirlooms } = self;
        if let Err(error) = std::fs::rename(&draft, &path) {
            warn!(path = %path.display(), %error, "nobody can replace this process (handover.socket)");
        }
        let control = Arc::clone(control);
        Keeper { task: tokio::spawn(async move { keep(listener, heirlooms, &control).await }) }
    }
}

impl Drop for Keeper {
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

async fn keep(listener: UnixListener, heirlooms: Vec<Heirloom>, control: &Control) {
    loop {
        let served = match listener.accept().await {
            Ok((next, _)) => hand_over(next, &heirlooms).await,
            Err(error) => {
                tokio::time::sleep(REST).await;
                Err(error)
            }
        };
        match served {
            Ok(()) => {
                info!("another process serves the listeners: this one lets its clients go");
                return control.replaced();
            }
            Err(error) => warn!(%error, "nothing was handed over: this process goes on"),
        }
    }
}

/// Gives the listeners to `next`, and ends well once it serves them.
async fn hand_over(mut next: UnixStream, heirlooms: &[Heirloom]) -> io::Result<()> {
    if hear(&mut next).await? != HELLO {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it asks for something else"));
    }
    let offers: Vec<_> = heirlooms.iter().map(|heirloom| &heirloom.offer).collect();
    let text = serde_json::to_string(&offers)?;
    let sockets: Vec<_> = heirlooms.iter().map(|heirloom| heirloom.socket.as_fd()).collect();
    send(&next, &text, &sockets).await?;
    match hear(&mut next).await?.as_str() {
        READY => {
            // It serves them, whether it hears this or not.
            let _ = send(&next, BYE, &[]).await;
            Ok(())
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not ready")),
    }
}

async fn hear(next: &mut UnixStream) -> io::Result<String> {
    let silent = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "it says nothing"));
    timeout(LINE_TIMEOUT, read_line(next)).await.unwrap_or_else(silent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands `heirlooms` over once, at a socket of its own.
    fn keeper(
        folder: &Path,
        heirlooms: Vec<Heirloom>,
    ) -> (PathBuf, tokio::task::JoinHandle<io::Result<()>>) {
        let path = folder.join("weir.sock");
        let listener = listen(&path).expect("a socket");
        let task = tokio::spawn(async move {
            let (next, _) = listener.accept().await?;
            hand_over(next, &heirlooms).await
        });
        (path, task)
    }

    async fn tcp() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.expect("a port")
    }

    #[tokio::test]
    async fn listeners_go_on_in_another_process_with_whoever_waits_to_be_accepted() {
        let folder = tempfile::tempdir().expect("a folder");
        let (rtmp, http) = (tcp().await, tcp().await);
        let (address, other) =
            (rtmp.local_addr().expect("bound"), http.local_addr().expect("bound"));
        let heirlooms =
            [Heirloom::of("rtmp", &rtmp), Heirloom::of("http", &http)].map(Result::unwrap);
        let (path, task) = keeper(folder.path(), heirlooms.into());
        let _waiting = tokio::net::TcpStream::connect(address).await.expect("a queue");
        let mut inherited = Inherited::from_process_at(Some(&path)).await.expect("handed over");
        drop((rtmp, http));
        assert!(inherited.take("http", address).is_none(), "that is RTMP's");
        let taken = inherited.take("rtmp", address).expect("the listener");
        let any = SocketAddr::new(other.ip(), 0);
        assert!(inherited.take("http", any).is_some(), "any port will do");
        let listener = TcpListener::from_std(taken).expect("a listener");
        inherited.are_served().await.expect("goodbye");
        assert!(task.await.expect("a task").is_ok());
        timeout(LINE_TIMEOUT, listener.accept()).await.expect("in time").expect("who waited");
    }

    #[tokio::test]
    async fn who_goes_before_it_is_ready_replaces_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = tcp().await;
        let heirlooms = vec![Heirloom::of("rtmp", &listener).expect("a descriptor")];
        let (path, task) = keeper(folder.path(), heirlooms);
        drop(Inherited::from_process_at(Some(&path)).await.expect("handed over"));
        assert!(task.await.expect("a task").is_err());
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
