use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use weir_testkit::certificates::{Authority, Certificate};

use super::*;

const HOST: &str = "origin.test";

const NAMED: Named = Named { ca: "tls.ca", pin: "tls.pin" };

fn ders(pem: &str) -> Vec<CertificateDer<'static>> {
    pem::certificates(pem.as_bytes()).expect("certificates")
}

fn trust(ca: Option<&Authority>, pins: &[&str]) -> Trust {
    let pins = pins.iter().map(|pin| digits(pin)).collect();
    let whom = Whom { authorities: ca.map(|ca| ders(&ca.pem())), pins };
    Trust::new(whom, NAMED).expect("somebody to trust")
}

fn digits(text: &str) -> Digest {
    let mut digest = Digest::default();
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).expect("digits");
    }
    digest
}

fn server(certificate: &Certificate) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring_provider::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(ders(&certificate.pem), key);
    let mut config = config.expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// What comes of a handshake with a server that shows `certificate`, and an exchange after it.
async fn meet(trust: &Trust, certificate: &Certificate, host: &str) -> Result<(), Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = server(certificate);
    let serving = async move {
        let (socket, _) = listener.accept().await.expect("a connection");
        let connection = ServerConnection::new(config).expect("a session");
        let Ok(mut stream) = Stream::handshake(socket, connection).await else { return };
        let mut heard = [0; 5];
        if stream.read_exact(&mut heard).await.is_ok() {
            stream.write_all(&heard).await.expect("taken");
            stream.flush().await.expect("taken");
        }
    };
    let serving = tokio::spawn(serving);
    let socket = TcpStream::connect(address).await.expect("it listens");
    let mut stream = trust.connect(socket, host, Spoken::Http).await?;
    stream.write_all(b"hello").await.expect("taken");
    stream.flush().await.expect("taken");
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.expect("answered");
    assert_eq!(&heard, b"hello");
    let spoken = stream.session().and_then(|session| session.state().alpn_protocol());
    assert_eq!(spoken, Some(HTTP), "nothing else is understood");
    serving.await.expect("it was served");
    Ok(())
}

async fn refused(trust: &Trust, certificate: &Certificate, host: &str) -> (Reason, String) {
    let failed = meet(trust, certificate, host).await.expect_err("it is not trusted");
    assert!(failed.to_string().len() <= 200, "it is for one line: {failed}");
    (failed.reason, failed.to_string())
}

#[tokio::test]
async fn an_authority_vouches_for_names_and_addresses() {
    let ca = Authority::new("ours");
    let trust = trust(Some(&ca), &[]);
    let certificate = ca.issue(&[HOST, "*.pool.test", "127.0.0.7", "::1"]);
    for host in [HOST, "Origin.Test", "origin.test.", "a.pool.test", "127.0.0.7", "::1"] {
        meet(&trust, &certificate, host).await.unwrap_or_else(|failed| panic!("{host}: {failed}"));
    }
    for host in ["other.test", "127.0.0.8", "pool.test"] {
        let (reason, text) = refused(&trust, &certificate, host).await;
        assert_eq!(reason, Reason::WrongName, "{host}: {text}");
        assert!(text.contains("is for origin.test, *.pool.test") && text.contains(host), "{text}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said() {
    let ca = Authority::new("ours");
    let ours = trust(Some(&ca), &[]);
    let (reason, text) = refused(&ours, &ca.issue_ended(&[HOST]), HOST).await;
    assert_eq!(reason, Reason::Expired);
    assert!(text.contains("of origin.test ended on 2021-01-01"), "{text}");
    let (reason, text) = refused(&ours, &ca.issue_early(&[HOST]), HOST).await;
    assert_eq!(reason, Reason::NotYetValid, "{text}");
    let (reason, text) = refused(&ours, &Authority::new("another").issue(&[HOST]), HOST).await;
    assert_eq!(reason, Reason::UnknownCa);
    assert!(text.contains("not signed by a CA of tls.ca"), "{text}");
    let (reason, text) = refused(&ours, &Certificate::self_signed_authority(&[HOST]), HOST).await;
    assert_eq!(reason, Reason::UnknownCa);
    assert!(text.contains("set tls.pin"), "{text}");
}

#[tokio::test]
async fn a_pin_is_the_certificate_or_its_key_whatever_else_it_says() {
    let certificate = Certificate::self_signed(&["somebody.test"]);
    for pin in [&certificate.sha256, &certificate.key_sha256] {
        let both = trust(None, &[&"00".repeat(32), pin]);
        meet(&both, &certificate, HOST).await.expect("it is the pinned one");
    }
    let ended = Authority::new("ours").issue_ended(&[HOST]);
    meet(&trust(None, &[&ended.sha256]), &ended, HOST).await.expect("it is the pinned one");
    let (reason, text) = refused(&trust(None, &[&ended.sha256]), &certificate, HOST).await;
    assert_eq!(reason, Reason::WrongPin);
    assert!(text.contains("tls.pin") && text.contains(&certificate.sha256), "{text}");
}

#[tokio::test]
async fn with_an_authority_a_pin_does_not_stand_alone() {
    let ca = Authority::new("ours");
    let (one, other) = (ca.issue(&[HOST]), ca.issue(&[HOST]));
    let both = trust(Some(&ca), &[&one.key_sha256]);
    meet(&both, &one, HOST).await.expect("signed and pinned");
    assert_eq!(refused(&both, &other, HOST).await.0, Reason::WrongPin);
    assert_eq!(refused(&both, &one, "other.test").await.0, Reason::WrongName);
}

#[tokio::test]
async fn the_one_certificate_is_trusted_under_every_name() {
    let certificate = Certificate::self_signed_authority(&["somebody.test"]);
    let trust = Trust::in_certificate(&ders(&certificate.pem)[0], NAMED).expect("a digest");
    meet(&trust, &certificate, "127.0.0.1").await.expect("it is the one");
    let other = Certificate::self_signed(&["somebody.test"]);
    assert_eq!(refused(&trust, &other, "127.0.0.1").await.0, Reason::WrongPin);
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_from_who_says_nothing() {
    let trust = trust(Some(&Authority::new("ours")), &[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let answers: [(&[u8], Reason); 3] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason::NoTls),
        (b"", Reason::Closed),
        // `handshake_failure`, as servers say that want another version.
        (b"\x15\x03\x03\x00\x02\x02\x28", Reason::Other),
    ];
    for (answer, reason) in answers {
        let serving = async {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            // All of it is read, so that the answer is not lost with the connection.
            let mut hello = [0; 4096];
            let read = socket.read(&mut hello).await.expect("a hello");
            assert!(read > 5 && hello[0] == 0x16, "that is no TLS: {:?}", &hello[..read]);
            socket.write_all(answer).await.expect("taken");
            socket.shutdown().await.expect("closed");
            socket
        };
        let socket = TcpStream::connect(address).await.expect("it listens");
        let (failed, _socket) = tokio::join!(trust.connect(socket, HOST, Spoken::Silent), serving);
        let failed = failed.expect_err("that was no TLS");
        assert_eq!(failed.reason, reason, "{failed}");
        assert!(failed.to_string().contains(HOST), "{failed}");
    }
}

#[test]
fn without_anybody_to_trust_there_is_no_trust() {
    let none = Whom { authorities: Some(Vec::new()), pins: Vec::new() };
    assert!(Trust::new(none, NAMED).is_err());
    let no_certificate = CertificateDer::from(b"no certificate".to_vec());
    let whom = Whom { authorities: Some(vec![no_certificate]), pins: Vec::new() };
    assert!(matches!(Trust::new(whom, NAMED), Err(Unusable::NotOne(_))));
}

#[test]
fn days_are_those_of_the_calendar() {
    let day = |days: u64| date(UnixTime::since_unix_epoch(Duration::from_secs(days * 86_400 + 7)));
    for (days, text) in [
        (0, "1970-01-01"),
        (58, "1970-02-28"),
        (59, "1970-03-01"),
        (11_016, "2000-02-29"),
        (11_017, "2000-03-01"),
        (18_627, "2020-12-31"),
        (18_628, "2021-01-01"),
        (47_540, "2100-02-28"),
        (47_541, "2100-03-01"),
    ] {
        assert_eq!(day(days), text);
    }
}

#[test]
fn every_reason_is_in_its_place_and_has_a_label_of_its_own() {
    let labels: std::collections::HashSet<_> = Reason::ALL.map(Reason::label).into();
    assert_eq!(labels.len(), Reason::ALL.len());
    for (index, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, index, "{reason:?}");
    }
}
