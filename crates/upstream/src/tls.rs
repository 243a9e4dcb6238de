//! TLS to other servers: whom to trust, as the settings say, for the connections that begin from now on.

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};
use weir_config::{Fault, file};
use weir_tls::{
    Stream,
    client::{Digest, Failed, Named, Reason, Spoken, Trust, Unusable, Whom},
    pem::{self, FILE_BYTES_MAX},
};

/// Servers of one kind: what is said of them, and who counts.
#[derive(Debug)]
pub struct Peers {
    /// What the settings are called that say whom to trust.
    pub named: Named,
    /// What the servers are called, in the middle of a sentence: `origins`.
    pub called: &'static str,
    /// Counts a handshake that failed.
    pub failed: fn(Reason),
}

/// Whom to trust among those who say that they are such a server; nobody until something is [put](Self::put) in force.
#[derive(Debug)]
pub struct PeerTls {
    peers: &'static Peers,
    in_force: ArcSwapOption<Trusted>,
}

/// What was made of the settings and of one state of the file that they name.
#[derive(Debug)]
pub struct Trusted {
    file: Option<Vec<u8>>,
    trust: Trust,
}

/// The TLS that one connection has.
#[derive(Clone, Copy, Debug)]
pub struct Secure<'a> {
    /// Whom to trust.
    pub tls: &'a PeerTls,
    /// The name, or the address, that the certificate must be for.
    pub host: &'a str,
    /// What is spoken.
    pub spoken: Spoken,
}

impl Trusted {
    /// Reads `ca`, to put it in force later: who is trusted has a certificate of an authority in there, or of one that
    /// the system knows, and one of the `pins` if there are any.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what it should be, or there is nobody to trust.
    pub fn read(ca: Option<&Path>, pins: Vec<Digest>, peers: &Peers) -> Result<Self, Fault> {
        let named = peers.named;
        let file = ca.map(|path| read(path, peers)).transpose()?;
        let authorities = match (&file, ca) {
            (Some(file), Some(path)) => {
                Some(pem::certificates(file).map_err(|why| invalid(path, &why, peers))?)
            }
            _ => None,
        };
        let trust = Trust::new(Whom { authorities, pins }, named).map_err(|unusable| {
            match (unusable, ca) {
                (Unusable::NotOne(why), Some(path)) => invalid(path, &why, peers),
                (unusable, _) => {
                    let fix = format!(
                        "name the file with the CA certificates that sign those of the {}",
                        peers.called
                    );
                    Fault::new(named.ca, unusable.to_string(), fix)
                }
            }
        })?;
        Ok(Self { file, trust })
    }
}

impl PeerTls {
    /// Nobody is trusted yet.
    pub const fn new(peers: &'static Peers) -> Self {
        Self { peers, in_force: ArcSwapOption::const_empty() }
    }

    /// From now on this is in force, for new connections.
    pub fn put(&self, read: Option<Trusted>) {
        self.in_force.store(read.map(Arc::new));
    }

    /// Whether anybody is trusted.
    pub fn is_there(&self) -> bool {
        self.in_force.load().is_some()
    }

    /// Reads `ca` anew, and puts it in force if it is another one than before. Blocks, and never fails: what cannot be
    /// read is told of, and what was in force stays.
    pub fn look(&self, ca: Option<&Path>, pins: Vec<Digest>) {
        // Those that the system knows are read at the start and with each configuration.
        if ca.is_some() && self.is_there() {
            let read = Trusted::read(ca, pins, self.peers);
            self.renew(read.map(Some).map_err(io::Error::other));
        }
    }

    /// Puts what was read anew in force, if the file is another one than before.
    pub fn renew(&self, read: io::Result<Option<Trusted>>) {
        let Peers { named, called, .. } = self.peers;
        let before = self.in_force.load_full();
        match (read, before) {
            (Ok(Some(new)), Some(before)) if new.file != before.file => {
                info!("the file of {} changed: new connections to {called} use it", named.ca);
                self.put(Some(new));
            }
            (Ok(_), _) => {}
            (Err(error), _) => {
                let ca = named.ca;
                warn!(%error, "cannot load the changed file of {ca}: the previous one stays in force");
            }
        }
    }
}

impl Secure<'_> {
    /// Does the handshake on `socket` until `by`, which is `limit` after its connection began.
    ///
    /// # Errors
    /// When it fails, which is counted, in words for people.
    pub async fn handshake(
        &self,
        socket: TcpStream,
        by: Instant,
        limit: Duration,
    ) -> io::Result<Stream> {
        let Peers { named, failed, .. } = self.tls.peers;
        let in_force = self.tls.in_force.load_full();
        let none = || io::Error::other(format!("no TLS: {} does not say whom to trust", named.ca));
        let trust = &in_force.as_deref().ok_or_else(none)?.trust;
        let late = |_| Err(Failed::late(self.host, limit));
        let shaken = timeout_at(by, trust.connect(socket, self.host, self.spoken)).await;
        shaken.unwrap_or_else(late).map_err(|why| {
            failed(why.reason);
            why.into()
        })
    }
}

fn read(path: &Path, peers: &Peers) -> Result<Vec<u8>, Fault> {
    file::read(path, FILE_BYTES_MAX).map_err(|why| fault(path, "cannot be read", &why, peers))
}

fn invalid(path: &Path, why: &dyn fmt::Display, peers: &Peers) -> Fault {
    fault(path, "is invalid", why, peers)
}

fn fault(path: &Path, what: &str, why: &dyn fmt::Display, peers: &Peers) -> Fault {
    let fix = "use a PEM file with CA certificates, readable by this user";
    Fault::new(peers.named.ca, format!("{} {what}: {why}", path.display()), fix)
}
