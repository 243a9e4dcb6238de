use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use weir_config::{OriginName, Scheme};
use weir_testkit::{
    certificates::{Authority, Certificate, put},
    tls_front::TlsFront,
};
use weir_tls::{
    Stream,
    client::{Reason, Spoken},
};
use weir_upstream::{Secure, connect};

use super::*;
use crate::{Origin, origins::Port};

const HOST: &str = "origin.test";

/// An authority, and settings that name the file with its certificate.
struct Rig {
    dir: TempDir,
    ca: Authority,
    settings: Edge,
    tls: Arc<PeerTls>,
}

impl Rig {
    fn new() -> Self {
        let (dir, ca) = (tempfile::tempdir().expect("a folder"), Authority::new("ours"));
        let origins = vec![name(Scheme::Rtmps)];
        let mut settings = Edge { origins, ..Edge::default() };
        settings.tls.ca = Some(put(dir.path(), "ca.pem", &ca.pem()));
        let rig = Self { dir, ca, settings, tls: Arc::new(origin_tls()) };
        rig.tls.put(rig.read());
        rig
    }

    fn read(&self) -> Option<Trusted> {
        read(&self.settings).unwrap_or_else(|fault| panic!("{fault}"))
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Stream> {
        let secure = Secure { tls: &self.tls, host: HOST, spoken: Spoken::Silent };
        let connected = AtomicBool::new(false);
        let result = connect(address, Some(secure), &connected).await;
        assert!(connected.load(Ordering::Relaxed), "the system has accepted it: {result:?}");
        result
    }
}

fn name(scheme: Scheme) -> OriginName {
    OriginName { scheme, host: HOST.to_owned(), port: 1936 }
}

fn failures(reason: Reason) -> u64 {
    COUNTS.all_origin_tls_failed().find(|(other, _)| *other == reason).map_or(0, |(_, count)| count)
}

/// A server that says what it hears, and TLS before it.
async fn echo(certificate: &Certificate) -> TlsFront {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (mut from, mut to) = socket.split();
            // Whoever asks sees how that ended.
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }
    });
    TlsFront::start(address, certificate).await
}

async fn is_answered(mut stream: Stream) {
    stream.write_all(b"hello").await.expect("taken");
    stream.flush().await.expect("taken");
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.expect("answered");
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn only_the_origin_that_is_meant_is_connected_to() {
    let rig = Rig::new();
    let front = echo(&rig.ca.issue(&[HOST])).await;
    is_answered(rig.connect(front.address()).await.expect("it is the one")).await;
    for (certificate, reason, words) in [
        (rig.ca.issue_ended(&[HOST]), Reason::Expired, "ended on 2021-01-01: renew it"),
        (
            rig.ca.issue(&["other.test"]),
            Reason::WrongName,
            "is for other.test, not for origin.test",
        ),
        (Authority::new("another").issue(&[HOST]), Reason::UnknownCa, "by a CA of edge.tls.ca"),
        (Certificate::self_signed_authority(&[HOST]), Reason::UnknownCa, "set edge.tls.pin"),
    ] {
        let before = failures(reason);
        front.show(&certificate);
        let error = rig.connect(front.address()).await.expect_err("it is not the one");
        assert!(error.to_string().contains(words), "{error}");
        assert!(failures(reason) > before, "{reason:?} is counted");
    }
}

#[tokio::test]
async fn who_is_silent_costs_a_second_and_who_speaks_something_else_nothing() {
    let rig = Rig::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let before = failures(Reason::Timeout);
    let error = rig.connect(address).await.expect_err("nobody answers");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains("TLS handshake within 1s"), "{error}");
    assert!(failures(Reason::Timeout) > before);
    let (mut silent, _) = listener.accept().await.expect("it had connected");
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.expect("it has gone");

    let before = failures(Reason::NoTls);
    let http = async {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("taken");
        socket
    };
    let (result, _socket) = tokio::join!(rig.connect(address), http);
    let error = result.expect_err("that was no TLS");
    assert!(error.to_string().contains("does not speak TLS on this port"), "{error}");
    assert!(failures(Reason::NoTls) > before);
}

#[tokio::test]
async fn another_file_holds_for_the_next_connection() {
    let rig = Rig::new();
    let next = Authority::new("next");
    let front = echo(&next.issue(&[HOST])).await;
    let renewed = || read(&rig.settings).map_err(io::Error::other);
    rig.tls.renew(renewed());
    rig.connect(front.address()).await.expect_err("its authority is not known");
    put(rig.dir.path(), "ca.pem", &next.pem());
    rig.tls.renew(renewed());
    is_answered(rig.connect(front.address()).await.expect("it is known now")).await;
    put(rig.dir.path(), "ca.pem", "no certificate");
    rig.tls.renew(renewed());
    is_answered(rig.connect(front.address()).await.expect("what was there holds")).await;
}

#[tokio::test]
async fn a_pin_needs_no_authority() {
    let rig = Rig::new();
    let (one, other) = (Certificate::self_signed(&["x.test"]), Certificate::self_signed(&[HOST]));
    let front = echo(&one).await;
    let mut settings = rig.settings.clone();
    settings.tls.ca = None;
    settings.tls.pin = vec![one.key_sha256.parse().expect("a fingerprint")];
    rig.tls.put(read(&settings).expect("nothing is read"));
    is_answered(rig.connect(front.address()).await.expect("it is the pinned one")).await;
    front.show(&other);
    let error = rig.connect(front.address()).await.expect_err("it is another one");
    assert!(error.to_string().contains("not the one of edge.tls.pin"), "{error}");
}

#[test]
fn what_cannot_be_read_is_a_fault_of_its_setting() {
    let mut rig = Rig::new();
    put(rig.dir.path(), "ca.pem", "no certificate");
    let fault = read(&rig.settings).expect_err("it is none");
    assert_eq!(fault.path, "edge.tls.ca");
    assert!(fault.what.contains("ca.pem is invalid: it has no certificate"), "{fault}");
    rig.settings.tls.ca = Some(rig.dir.path().join("none.pem"));
    let fault = read(&rig.settings).expect_err("there is none");
    assert!(fault.what.contains("none.pem cannot be read"), "{fault}");
    rig.settings.tls.ca = None;
    rig.settings.origins = vec![OriginName::rtmp(HOST, 1935)];
    assert!(read(&rig.settings).expect("nothing is read").is_none());
}

#[tokio::test]
async fn an_origin_is_connected_to_by_the_name_that_it_has() {
    let rig = Rig::new();
    let front = echo(&rig.ca.issue(&[HOST])).await;
    let news = Arc::default();
    let none = AtomicBool::new(false);
    let to = |name| Origin::new((front.address(), front.address()), &name, &rig.tls, &news);
    for scheme in [Scheme::Rtmps, Scheme::Https] {
        let origin = to(name(scheme));
        is_answered(origin.connect(Port::Http, &none).await.expect("its certificate")).await;
    }
    let other = to(OriginName { host: "127.0.0.1".to_owned(), ..name(Scheme::Rtmps) });
    let error = other.connect(Port::Rtmp, &none).await.expect_err("it has another name");
    assert!(error.to_string().contains("not for 127.0.0.1"), "{error}");
    assert_eq!(
        to(name(Scheme::Rtmp))
            .connect(Port::Rtmp, &none)
            .await
            .map(|it| it.session().is_some())
            .ok(),
        Some(false)
    );
}
