//! TLS to origins: whom to trust, as `edge.tls` says, for the connections that begin from now on.

use std::{io, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};
use weir_clients::counts::COUNTS;
use weir_config::{Edge, Fault, file};
use weir_tls::{
    Stream,
    client::{Failed, Named, Spoken, Trust, Unusable, Whom},
    pem::{self, FILE_BYTES_MAX},
};

/// What the settings are called.
const NAMED: Named = Named { ca: "edge.tls.ca", pin: "edge.tls.pin" };

/// Whom to trust among those who say that they are origins; nobody where no origin has TLS.
#[derive(Debug, Default)]
pub struct OriginTls(ArcSwapOption<InForce>);

/// What was made of the settings and of one state of the file that they name.
#[derive(Debug)]
pub struct InForce {
    file: Option<Vec<u8>>,
    trust: Trust,
}

/// The TLS that one connection has.
#[derive(Clone, Copy, Debug)]
pub struct Secure<'a> {
    /// Whom to trust.
    pub tls: &'a OriginTls,
    /// The name, or the address, that the certificate must be for.
    pub host: &'a str,
    /// What is spoken.
    pub spoken: Spoken,
}

impl InForce {
    /// Reads what `settings` name, to put it in force later; none if they need no TLS.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what it should be, or there is nobody to trust.
    pub fn read(settings: &Edge) -> Result<Option<Self>, Fault> {
        if !settings.has_tls() {
            return Ok(None);
        }
        let file = settings.tls.ca.as_deref().map(read).transpose()?;
        let authorities = match (&file, &settings.tls.ca) {
            (Some(file), Some(path)) => {
                Some(pem::certificates(file).map_err(|why| invalid(path, &why))?)
            }
            _ => None,
        };
        let pins = settings.tls.pin.iter().map(|pin| pin.0).collect();
        let trust = Trust::new(Whom { authorities, pins }, NAMED).map_err(|unusable| {
            match (unusable, &settings.tls.ca) {
                (Unusable::NotOne(why), Some(path)) => invalid(path, &why),
                (unusable, _) => {
                    let fix =
                        "name the file with the CA certificates that sign those of the origins";
                    Fault::new("edge.tls.ca", unusable.to_string(), fix)
                }
            }
        })?;
        Ok(Some(Self { file, trust }))
    }
}

impl OriginTls {
    /// From now on this is in force, for new connections.
    pub fn put(&self, read: Option<InForce>) {
        self.0.store(read.map(Arc::new));
    }

    /// Whether anybody is trusted.
    pub fn is_there(&self) -> bool {
        self.0.load().is_some()
    }

    /// Puts what was read anew in force, if the file is another one than before.
    pub fn renew(&self, read: io::Result<Option<InForce>>) {
        let before = self.0.load_full();
        match (read, before) {
            (Ok(Some(new)), Some(before)) if new.file != before.file => {
                info!("the file of edge.tls.ca changed: new connections to origins use it");
                self.put(Some(new));
            }
            (Ok(_), _) => {}
            (Err(error), _) => {
                warn!(%error, "cannot load the changed file of edge.tls.ca: the previous one stays in force");
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
        let in_force = self.tls.0.load_full();
        let none =
            || io::Error::other("no TLS: no origin in edge.origins has it, and edge.tls is empty");
        let trust = &in_force.as_deref().ok_or_else(none)?.trust;
        let late = |_| Err(Failed::late(self.host, limit));
        let shaken = timeout_at(by, trust.connect(socket, self.host, self.spoken)).await;
        shaken.unwrap_or_else(late).map_err(|failed| {
            COUNTS.origin_tls_failed(failed.reason);
            failed.into()
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    file::read(path, FILE_BYTES_MAX).map_err(|why| fault(path, "cannot be read", &why))
}

fn invalid(path: &Path, why: &dyn std::fmt::Display) -> Fault {
    fault(path, "is invalid", why)
}

fn fault(path: &Path, what: &str, why: &dyn std::fmt::Display) -> Fault {
    let fix = "use a PEM file with CA certificates, readable by this user";
    Fault::new("edge.tls.ca", format!("{} {what}: {why}", path.display()), fix)
}

#[cfg(test)]
mod tests;
