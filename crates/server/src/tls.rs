//! TLS of the API port: the server's certificate, and what certificates of clients allow.

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::{net::TcpStream, time::sleep};
use tokio_rustls::{TlsAcceptor, server};
use tracing::{info, warn};
use weir_blocking::Pool;
use weir_config::{
    Api, Fault, Next, Part, Ready, Settings, Tls as Keys, Unready,
    file::{self, READ_TIMEOUT},
};
use weir_tls::{
    client::{Named, Trust},
    pem::{self, FILE_BYTES_MAX},
};

/// What the setting is called that says which certificate a node has.
pub const OWN: Named = Named { ca: "api.tls.cert", pin: "api.tls.cert" };

/// How often it is looked whether the files are others: certificates are renewed days before they end.
const LOOK: Duration = Duration::from_secs(30);

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

/// The TLS in force, if there is any.
#[derive(Debug, Default)]
pub struct Tls(ArcSwapOption<InForce>);

/// What was made from one state of the files.
#[derive(Debug)]
pub struct InForce {
    files: Vec<Vec<u8>>,
    server: Arc<ServerConfig>,
    admin: Option<Arc<dyn ClientCertVerifier>>,
    read: Option<Arc<dyn ClientCertVerifier>>,
    /// Peers are the nodes that have the same certificate, and its key: pods that mount one Secret. They are asked by
    /// their addresses, which no certificate names.
    trust: Trust,
}

impl Tls {
    /// Begins with what was [read](Self::read).
    pub fn new(prepared: Option<InForce>) -> Arc<Self> {
        let tls = Self::default();
        tls.put(prepared);
        Arc::new(tls)
    }

    /// Reads what the configuration names, to put it in force later.
    ///
    /// # Errors
    /// When a file cannot be read, or is not what it should be.
    pub fn read(api: &Api) -> Result<Option<InForce>, Fault> {
        api.tls.as_ref().map(InForce::read).transpose()
    }

    /// From now on this is in force, for new connections.
    pub fn put(&self, prepared: Option<InForce>) {
        self.0.store(prepared.map(Arc::new));
    }

    /// What is in force now.
    pub fn now(&self) -> Option<Arc<InForce>> {
        self.0.load_full()
    }

    /// How peers are recognised; none where they speak plain HTTP.
    pub fn trust(&self) -> Option<Trust> {
        self.now().map(|tls| tls.trust.clone())
    }

    /// Takes in renewed certificates without being asked, reading them in `pool`. Never ends.
    pub async fn renew(self: Arc<Self>, settings: Settings, pool: Arc<Pool>) {
        loop {
            sleep(LOOK).await;
            let Some(before) = self.now() else { continue };
            let config = settings.now();
            let read = pool.run_within(READ_TIMEOUT, move || Self::read(&config.api));
            let read = read.await.and_then(|read| read.map_err(io::Error::other));
            match read {
                Ok(Some(new)) if new.files != before.files => {
                    info!("the api.tls files changed: new connections use them");
                    self.put(Some(new));
                }
                Ok(_) => {}
                Err(error) => {
                    warn!(%error, "cannot load the changed api.tls files: the previous ones stay in force");
                }
            }
        }
    }
}

/// Certificates are those of new connections.
impl Part for Tls {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let prepared = Self::read(&next.config.api)?;
        Ok(Ready::after(move || self.put(prepared)))
    }
}

impl InForce {
    fn read(keys: &Keys) -> Result<Self, Fault> {
        let provider = Arc::new(ring::default_provider());
        let mut files = vec![read("cert", &keys.cert)?, read("key", &keys.key)?];
        let chain = certificates("cert", &keys.cert, &files[0])?;
        let private = pem::private_key(&files[1]).map_err(|why| wrong("key", &keys.key, why))?;
        let mut all = RootCertStore::empty();
        let mut authority = |key, path: &Option<PathBuf>| -> Result<_, Fault> {
            let Some(path) = path else { return Ok(None) };
            let file = read(key, path)?;
            let mut own = RootCertStore::empty();
            for certificate in certificates(key, path, &file)? {
                own.add(certificate.clone()).map_err(|why| wrong(key, path, why))?;
                all.add(certificate).map_err(|why| wrong(key, path, why))?;
            }
            files.push(file);
            verifier(own, &provider, false).map(Some).map_err(|why| wrong(key, path, why))
        };
        let admin = authority("admin_ca", &keys.admin_ca)?;
        let read = authority("read_ca", &keys.read_ca)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|why| wrong("cert", &keys.cert, why))?;
        let builder = match all.is_empty() {
            true => builder.with_no_client_auth(),
            false => {
                let either = verifier(all, &provider, true);
                let either = either.map_err(|why| wrong("admin_ca", &keys.cert, why))?;
                builder.with_client_cert_verifier(either)
            }
        };
        let own = chain[0].clone();
        let mut server = builder.with_single_cert(chain, private).map_err(|why| {
            wrong("key", &keys.key, format!("{why} (with the certificate of api.tls.cert)"))
        })?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        let trust = Trust::in_certificate(&own, OWN);
        let trust = trust.map_err(|why| wrong("cert", &keys.cert, why))?;
        Ok(Self { files, server: Arc::new(server), admin, read, trust })
    }

    /// The handshake with a client; also what its certificate, if it shows one, allows.
    ///
    /// # Errors
    /// When it speaks no TLS, or shows a certificate of nobody's.
    pub async fn accept(
        &self,
        socket: TcpStream,
    ) -> io::Result<(server::TlsStream<TcpStream>, Right)> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.server));
        let stream = acceptor.accept(socket).await?;
        let right =
            stream.get_ref().1.peer_certificates().map_or(Right::None, |chain| self.right(chain));
        Ok((stream, right))
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

fn verifier(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
    is_optional: bool,
) -> io::Result<Arc<dyn ClientCertVerifier>> {
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    // Probes and bearer tokens need no certificate.
    let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(io::Error::other)
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
