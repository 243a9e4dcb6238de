//! A connection that may have TLS. What it costs here is not measured: servers are watched, each on a CPU of its own.

use std::{
    fs,
    io::{self, ErrorKind, IoSlice, Read, Write},
    path::Path,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::ring::{self, cipher_suite::TLS13_AES_128_GCM_SHA256},
    pki_types::ServerName,
    version::TLS13,
};
use weir_tls::{pem, session::Session};

/// TLS as all servers are asked for it: the same version and cipher, so that no server does less than another.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// With servers that have a certificate in the file at `ca`, or one that is signed with one of those.
    ///
    /// # Errors
    /// When the file cannot be read, or has no certificate.
    pub fn new(ca: &Path) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in pem::certificates(&fs::read(ca)?).map_err(io::Error::other)? {
            roots.add(certificate).map_err(io::Error::other)?;
        }
        let mut provider = ring::default_provider();
        provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// What connections to `host` need, if they need it.
    ///
    /// # Errors
    /// When they need it and `tls` is not given.
    pub fn for_scheme(is_tls: bool, tls: Option<&Self>) -> io::Result<Option<Self>> {
        match (is_tls, tls) {
            (false, _) => Ok(None),
            (true, Some(tls)) => Ok(Some(tls.clone())),
            (true, None) => Err(io::Error::other("--ca names the certificates that are trusted")),
        }
    }
}

/// A connection: `below` is the TCP socket, blocking or not.
pub struct Socket<S> {
    /// What is below TLS.
    pub below: S,
    session: Option<Box<Session>>,
}

impl<S: Read + Write> Socket<S> {
    /// `below`, with TLS to the server called `host` if there is to be some. The handshake is done as it is written and
    /// read.
    ///
    /// # Errors
    /// When no certificate can be for `host`.
    pub fn new(below: S, host: &str, tls: Option<&Tls>) -> io::Result<Self> {
        let Some(Tls(config)) = tls else { return Ok(Self { below, session: None }) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name);
        let session = Session::new(connection.map_err(io::Error::other)?);
        Ok(Self { below, session: Some(Box::new(session)) })
    }
}

impl<S: Read + Write> Read for Socket<S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else { return self.below.read(bytes) };
        loop {
            let read = session.read(&mut self.below, bytes);
            // A handshake goes on with what has come.
            match session.flush(&mut self.below) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl<S: Read + Write> Write for Socket<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.below.write(bytes),
            Some(session) => session.write(&mut self.below, &mut [IoSlice::new(bytes)]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.session {
            None => self.below.flush(),
            Some(session) => session.flush(&mut self.below),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use rustls::{
        ServerConfig, ServerConnection, StreamOwned,
        pki_types::{PrivateKeyDer, pem::PemObject as _},
    };
    use weir_testkit::certificates::{Authority, put};

    use super::*;

    #[test]
    fn what_is_written_is_read_over_tls() {
        let (dir, ca) = (tempfile::tempdir().unwrap(), Authority::new("bench"));
        let certificate = ca.issue(&["127.0.0.1"]);
        let tls = Tls::new(&put(dir.path(), "ca.pem", &ca.pem())).unwrap();
        let chain = pem::certificates(certificate.pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(connection, socket);
            for count in [5, 99_995] {
                let mut heard = vec![0; count];
                stream.read_exact(&mut heard).unwrap();
                stream.write_all(&heard).unwrap();
                stream.flush().unwrap();
            }
            stream.conn.negotiated_cipher_suite().map(|suite| suite.suite())
        });
        let below = std::net::TcpStream::connect(address).unwrap();
        let mut socket = Socket::new(below, "127.0.0.1", Some(&tls)).unwrap();
        let said: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        for said in [&said[..5], &said[5..]] {
            socket.write_all(said).unwrap();
            socket.flush().unwrap();
            let mut heard = vec![0; said.len()];
            socket.read_exact(&mut heard).unwrap();
            assert!(heard == said, "the same bytes");
        }
        let suite = server.join().unwrap();
        assert_eq!(suite, Some(TLS13_AES_128_GCM_SHA256.suite()));
    }
}
