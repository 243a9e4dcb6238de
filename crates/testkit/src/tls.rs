//! Both ends of TLS, with certificates from a folder, and a way through it for peers that do not speak it.

use std::{net::SocketAddr, path::Path, sync::Arc};

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
