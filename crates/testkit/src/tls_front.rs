//! TLS before a server that has none: it takes connections, does the handshake, and passes on what is said.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Certificate;

/// Stands before a server. Dropping it closes everything.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    shown: Arc<Mutex<Arc<ServerConfig>>>,
    handshakes: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// Stands before `server` on a free port of the loopback interface, and shows `certificate`.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start(server: SocketAddr, certificate: &Certificate) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), server, certificate).await
    }

    /// The same at an address.
    ///
    /// # Panics
    /// If it is another's.
    pub async fn at(listen: SocketAddr, server: SocketAddr, certificate: &Certificate) -> Self {
        let listener = TcpListener::bind(listen).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shown = Arc::new(Mutex::new(config(certificate)));
        let handshakes = Arc::<AtomicUsize>::default();
        let task = tokio::spawn(accept(listener, server, shown.clone(), handshakes.clone()));
        Self { address, shown, handshakes, task }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on new connections are shown this certificate.
    pub fn show(&self, certificate: &Certificate) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = config(certificate);
    }

    /// Handshakes that came to their end.
    pub fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::Acquire)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn config(certificate: &Certificate) -> Arc<ServerConfig> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(certificate.pem.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("it is a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has all of them")
        .with_no_client_auth()
        .with_single_cert(chain.expect("it is a certificate"), key);
    Arc::new(config.expect("the key is the certificate's"))
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    shown: Arc<Mutex<Arc<ServerConfig>>>,
    handshakes: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let config = Arc::clone(&shown.lock().unwrap_or_else(PoisonError::into_inner));
        let handshakes = Arc::clone(&handshakes);
        connections.spawn(async move {
            // Whoever did not like the other one knows why.
            let Ok(mut client) = TlsAcceptor::from(config).accept(client).await else { return };
            handshakes.fetch_add(1, Ordering::AcqRel);
            let Ok(mut server) = TcpStream::connect(server).await else { return };
            // How it ended, both ends see.
            let _ = copy_bidirectional(&mut client, &mut server).await;
        });
    }
}
