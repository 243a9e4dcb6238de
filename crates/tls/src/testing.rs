//! What the tests here share: two ends of a connection.

use std::{sync::Arc, time::Duration};

use rcgen::generate_simple_self_signed;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{Identity, MinVersion, config};

/// Until something that must happen has happened.
pub const SOON: Duration = Duration::from_secs(20);

/// The name of the server.
const NAME: &str = "a.example";

/// A server's configuration, and a client's that trusts it.
pub fn both(min_version: MinVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = generate_simple_self_signed([NAME.to_owned()]).expect("made");
    let chain = vec![made.cert.der().clone()];
    let identity = Identity::new(chain, made.signing_key.into()).expect("a pair");
    let server = config(&[identity], None, min_version, &[]).expect("a configuration");
    (server, client(made.cert.der()))
}

fn client(root: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The client's side of a connection to the server.
pub fn client_of(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from(NAME).expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a client")
}

/// Two connected sockets.
pub async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (far, near) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("accepted").0, far.expect("connected"))
}
