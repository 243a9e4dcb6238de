//! TLS of the API port: the server's certificate, and what certificates of clients allow.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    slice,
    sync::Arc,
};

use rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};
use weir_config::{Fault, Tls as Keys, file};
use weir_tls::{
    Stream,
    client::{Named, Trust},
    pem::{self, FILE_BYTES_MAX},
    server::{self, Identity, MinVersion, verifier},
    x509::Facts,
};

use super::certificate::{Certificate, Made};

/// What the setting is called that says which certificate a node has.
pub const OWN: Named = Named { ca: "api.tls.cert", pin: "api.tls.cert" };

/// What somebody may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Nothing that needs a right.
    #[default]
    None,
    /// Read.
    Read,
    /// Everything.
    Admin,
}

/// What was made from one state of the files.
#[derive(Debug)]
pub struct InForce {
    files: Vec<Vec<u8>>,
    server: Made,
    admin: Option<Arc<dyn ClientCertVerifier>>,
    read: Option<Arc<dyn ClientCertVerifier>>,
    /// Peers are the nodes that have the same certificate, and its key: pods that mount one Secret. They are asked by
    /// their addresses, which no certificate names.
    pub(super) trust: Trust,
    path: PathBuf,
    facts: Facts,
}

impl InForce {
    /// Reads what `keys` name.
    ///
    /// # Errors
    /// When a file cannot be read, or is not what it should be.
    pub fn read(keys: &Keys) -> Result<Self, Fault> {
        let mut files = vec![read("cert", &keys.cert)?, read("key", &keys.key)?];
        let chain = certificates("cert", &keys.cert, &files[0])?;
        let own = chain[0].clone();
        let private = pem::private_key(&files[1]).map_err(|why| wrong("key", &keys.key, why))?;
        let identity = Identity::new(chain, private).map_err(|why| {
            wrong("key", &keys.key, format!("{why} (with the certificate of api.tls.cert)"))
        })?;
        let mut all = Vec::new();
        let mut authority = |key, path: &Option<PathBuf>| -> Result<_, Fault> {
            let Some(path) = path else { return Ok(None) };
            let file = read(key, path)?;
            let own = certificates(key, path, &file)?;
            files.push(file);
            let made = verifier(&own, false).map_err(|why| wrong(key, path, why))?;
            all.extend(own);
            Ok(Some(made))
        };
        let admin = authority("admin_ca", &keys.admin_ca)?;
        let read = authority("read_ca", &keys.read_ca)?;
        // Probes and bearer tokens need no certificate.
        let either = (!all.is_empty()).then(|| verifier(&all, true)).transpose();
        let made = either.and_then(|either| {
            let spoken: &[&[u8]] = &[b"h2", b"http/1.1"];
            server::config(slice::from_ref(&identity), either, MinVersion::Tls12, spoken)
        });
        let server = made.map_err(|why| wrong("cert", &keys.cert, why))?;
        let trust = Trust::in_certificate(&own, OWN);
        let trust = trust.map_err(|why| wrong("cert", &keys.cert, why))?;
        let (path, facts) = (keys.cert.clone(), identity.facts().clone());
        Ok(Self { files, server, admin, read, trust, path, facts })
    }

    /// Whether `other` was made from the same.
    pub fn is_from_same(&self, other: &Self) -> bool {
        let parts = |it: &Self| (it.admin.is_some(), it.read.is_some());
        self.files == other.files && parts(self) == parts(other) && self.path == other.path
    }

    /// Its certificate.
    pub fn certificate(&self) -> Certificate {
        let (path, facts) = (self.path.clone(), self.facts.clone());
        Certificate { section: "api.tls", path, facts }
    }

    /// What rustls is told.
    pub fn config(&self) -> Made {
        Made::clone(&self.server)
    }

    /// What the certificate that the client at the other end of `stream` has shown, if any, allows.
    pub fn right_of(&self, stream: &Stream) -> Right {
        let chain = stream.session().and_then(|session| session.state().peer_certificates());
        chain.map_or(Right::None, |chain| self.right(chain))
    }

    /// The handshake has accepted it for one authority or the other: which of them decides.
    fn right(&self, chain: &[CertificateDer<'_>]) -> Right {
        let Some((own, between)) = chain.split_first() else { return Right::None };
        let signed = |by: &Option<Arc<dyn ClientCertVerifier>>| {
            by.as_ref()
                .is_some_and(|by| by.verify_client_cert(own, between, UnixTime::now()).is_ok())
        };
        match (signed(&self.admin), signed(&self.read)) {
            (true, _) => Right::Admin,
            (false, true) => Right::Read,
            (false, false) => Right::None,
        }
    }
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, Fault> {
    file::read(path, FILE_BYTES_MAX)
        .map_err(|why| fault(key, path, format_args!("cannot be read: {why}")))
}

fn wrong(key: &str, path: &Path, why: impl Display) -> Fault {
    fault(key, path, format_args!("is invalid: {why}"))
}

fn fault(key: &str, path: &Path, why: impl Display) -> Fault {
    let fix = match key {
        "key" => "use the PEM file with the private key of api.tls.cert, readable by this user",
        "cert" => "use a PEM file with a certificate, readable by this user",
        _ => "use a PEM file with CA certificates, readable by this user",
    };
    Fault::new(format!("api.tls.{key}"), format!("{} {why}", path.display()), fix)
}

fn certificates(
    key: &str,
    path: &Path,
    file: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Fault> {
    pem::certificates(file).map_err(|why| wrong(key, path, why))
}
