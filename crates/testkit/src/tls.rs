//! What TLS needs: authorities and certificates in a folder, and a way through it for peers that do not speak it.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// One with this name, and a key of its own.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Writes a certificate for `names`, and its key, as `NAME.pem` and `NAME.key` of the folder `dir`.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn certify(&self, dir: &Path, name: &str, names: &[&str]) {
        self.certify_until(dir, name, names, 2099);
    }

    /// The same with a certificate that ends with the year `until`.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn certify_until(&self, dir: &Path, name: &str, names: &[&str], until: i32) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        write(&dir.join(format!("{name}.pem")), &certificate.pem());
        write(&dir.join(format!("{name}.key")), &key.serialize_pem());
    }
}

fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("a file can be written");
    fs::rename(&new, path).expect("a file can be renamed");
}

/// Carries plain connections over TLS to a server: for peers that do not speak it. Dropping it ends them.
#[derive(Debug)]
pub struct Tunnel {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tunnel {
    /// One to `server`, which must present a certificate for `localhost` by the authority of the PEM file `ca`.
    ///
    /// # Panics
    /// If there is no free port, or no authority.
    pub async fn open(server: SocketAddr, ca: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let connector = TlsConnector::from(client_config(ca));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let connector = connector.clone();
                connections.spawn(async move {
                    let name = ServerName::try_from("localhost").expect("a name");
                    let Ok(far) = TcpStream::connect(server).await else { return };
                    // Whoever is refused finds its connection closed.
                    let Ok(mut far) = connector.connect(name, far).await else { return };
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { address, task }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The RTMP URL of `stream` through it.
    pub fn rtmp_url(&self, stream: &str) -> String {
        format!("rtmp://{}/{stream}", self.address)
    }
}

/// A client that trusts the authority of the PEM file `ca`.
///
/// # Panics
/// If there is none.
pub fn client_config(ca: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("an authority")).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A server with the certificate and the key in `NAME.pem` and `NAME.key` of `dir`.
///
/// # Panics
/// If there are none.
pub fn acceptor(dir: &Path, name: &str) -> TlsAcceptor {
    let file = |kind: &str| dir.join(format!("{name}.{kind}"));
    let chain = vec![CertificateDer::from_pem_file(file("pem")).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(file("key")).expect("a key");
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let config = builder.with_no_client_auth().with_single_cert(chain, key).expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}
