use tokio::{io::AsyncWriteExt as _, sync::mpsc};

use super::*;
use crate::quota::Limits;

const SOON: Duration = Duration::from_secs(10);

/// Passes everybody on to the test.
struct Host(mpsc::Sender<(Stream, Client, Option<Refusal>)>);

/// Who was served, and who was refused.
type Seated = mpsc::Receiver<(Stream, Client, Option<Refusal>)>;

impl Host {
    fn new() -> (Arc<Self>, Seated) {
        let (seats, seated) = mpsc::channel(4);
        (Arc::new(Self(seats)), seated)
    }

    async fn pass(&self, socket: Stream, client: Client, refusal: Option<Refusal>) {
        // A test that has ended listens no more.
        drop(self.0.send((socket, client, refusal)).await);
    }
}

impl Service for Host {
    async fn serve(self: Arc<Self>, socket: Stream, client: Client) {
        self.pass(socket, client, None).await;
    }

    async fn refuse(self: Arc<Self>, socket: Stream, client: Client, refusal: Refusal) {
        self.pass(socket, client, Some(refusal)).await;
    }
}

async fn next(seated: &mut Seated) -> (Stream, Client, Option<Refusal>) {
    timeout(SOON, seated.recv()).await.expect("somebody in time").expect("a listener")
}

fn any_port() -> (Arc<TcpListener>, SocketAddr) {
    let address = "127.0.0.1:0".parse().expect("an address");
    let listener = bind("rtmp", &[address], |_, _| None).expect("a free port").remove(0);
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_key_and_a_way_out() {
    let (_listener, address) = any_port();
    let error = bind("http", &[address], |_, _| None).expect_err("the port is taken").to_string();
    assert!(error.starts_with(&format!("cannot listen on {address} (http.listen): ")));
    assert!(error.ends_with("stop that process, or choose another port"), "{error}");
}

#[tokio::test]
async fn all_addresses_of_a_service_are_listened_on() {
    let any = "127.0.0.1:0".parse().expect("an address");
    assert_eq!(bind("rtmp", &[any, any], |_, _| None).expect("free ports").len(), 2);
    assert!(
        bind("rtmp", &[], |_, _| None).expect("nothing to do").is_empty(),
        "the service is off"
    );
}

#[tokio::test]
async fn who_finds_no_place_is_turned_away_until_somebody_leaves() {
    let (listener, address) = any_port();
    let permits = Permits::new(1);
    let (host, mut seated) = Host::new();
    tokio::spawn(accept(listener, Arc::new(Acceptor::new("rtmp", permits.clone())), host));

    let _first = TcpStream::connect(address).await.expect("a listener");
    let held = seated.recv().await.expect("the first client");
    assert_eq!(permits.taken(), 1);
    let mut second = TcpStream::connect(address).await.expect("a listener");
    let read = tokio::time::timeout(SOON, second.read(&mut [0])).await;
    assert_eq!(read.expect("an answer").ok(), Some(0), "closed without a word");

    drop(held);
    assert_eq!(permits.taken(), 0, "a client that is gone leaves its place");
    let _third = TcpStream::connect(address).await.expect("a listener");
    assert!(seated.recv().await.is_some());
}

#[tokio::test]
async fn clients_have_numbers_of_their_own_and_send_without_delay() {
    let (listener, address) = any_port();
    let (host, mut seated) = Host::new();
    tokio::spawn(accept(listener, Arc::new(Acceptor::new("rtmp", Permits::new(0))), host));
    let mut ids = Vec::new();
    for _ in 0..2 {
        let _peer = TcpStream::connect(address).await.expect("a listener");
        let (socket, client, _) = next(&mut seated).await;
        assert_eq!(socket.socket().nodelay().ok(), Some(true));
        ids.push(client.id);
    }
    assert_ne!(ids[0], ids[1]);
}

/// An acceptor that counts by address, at most `limit` for each, behind a listener.
fn counting(limit: usize) -> Acceptor {
    let limits = Limits { connections_per_ip: limit, ..Limits::default() };
    Acceptor::new("rtmp", Permits::new(0)).counting(&Arc::new(Quotas::new(limits)))
}

#[tokio::test]
async fn an_address_has_its_share_and_gets_it_back() {
    let (listener, address) = any_port();
    let (host, mut seated) = Host::new();
    let acceptor = Arc::new(counting(1));
    tokio::spawn(accept(listener, Arc::clone(&acceptor), host));

    let _peers = [TcpStream::connect(address).await, TcpStream::connect(address).await];
    let first = next(&mut seated).await;
    assert_eq!(first.2, None);
    let (_socket, second, refusal) = next(&mut seated).await;
    let reason = refusal.expect("one too many").to_string();
    assert_eq!(reason, "too many connections from 127.0.0.1 (limit 1, limits.connections_per_ip)");
    assert_eq!(acceptor.permits.taken(), 1, "who is refused takes nobody's place");

    drop((first, second));
    let _third = TcpStream::connect(address).await.expect("a listener");
    assert_eq!(next(&mut seated).await.2, None);
}

#[tokio::test]
async fn a_crowd_that_is_refused_is_not_even_told_so() {
    let (listener, address) = any_port();
    let (host, mut seated) = Host::new();
    tokio::spawn(accept(listener, Arc::new(counting(1)), host));
    let mut peers = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..=REFUSING {
        peers.push(TcpStream::connect(address).await.expect("a listener"));
        clients.push(next(&mut seated).await);
    }
    let mut surplus = TcpStream::connect(address).await.expect("a listener");
    let read = timeout(SOON, surplus.read(&mut [0])).await.expect("an answer");
    assert!(matches!(read, Ok(0) | Err(_)), "closed without a word");
    drop(clients.split_off(1));
    let _told = TcpStream::connect(address).await.expect("a listener");
    assert!(next(&mut seated).await.2.is_some(), "when others have been told there is room");
}

/// An acceptor with this part of a configuration, and a client of it that sends `bytes`.
async fn behind_proxy(acceptor: Acceptor, bytes: &[u8]) -> (Seated, TcpStream) {
    let (listener, address) = any_port();
    let (host, seated) = Host::new();
    tokio::spawn(accept(
        listener,
        Arc::new({
            acceptor.expect_proxy_protocol(true);
            acceptor
        }),
        host,
    ));
    let mut peer = TcpStream::connect(address).await.expect("a listener");
    peer.write_all(bytes).await.expect("a peer that reads");
    (seated, peer)
}

#[tokio::test]
async fn a_proxy_header_says_who_the_client_is_and_nothing_behind_it_is_lost() {
    let bytes = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 1935\r\n\x03hello";
    let (mut seated, _peer) = behind_proxy(counting(1), bytes).await;
    let (mut socket, client, _) = next(&mut seated).await;
    assert_eq!((client.peer, client.received), (([192, 0, 2, 7], 4711).into(), 0));
    let mut rest = [0; 6];
    timeout(SOON, socket.read_exact(&mut rest)).await.expect("in time").expect("six bytes");
    assert_eq!(&rest, b"\x03hello");
}

#[tokio::test]
async fn addresses_count_as_the_proxy_header_says() {
    let (listener, address) = any_port();
    let (host, mut seated) = Host::new();
    let acceptor = counting(1);
    acceptor.expect_proxy_protocol(true);
    tokio::spawn(accept(listener, Arc::new(acceptor), host));
    let mut held = Vec::new();
    for (ip, is_refused) in
        [("2001:db8::1", false), ("2001:db8::2", true), ("2001:db8:1::1", false)]
    {
        let mut peer = TcpStream::connect(address).await.expect("a listener");
        let line = format!("PROXY TCP6 {ip} 2001:db8::ffff 1 1935\r\n");
        peer.write_all(line.as_bytes()).await.expect("a peer that reads");
        let (socket, client, refusal) = next(&mut seated).await;
        assert_eq!(refusal.is_some(), is_refused, "{ip}: {refusal:?}");
        held.push((peer, socket, client));
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let (mut seated, mut peer) = behind_proxy(counting(0), b"\r\n\r\n\0\r\nQUI").await;
    for piece in [&b"T\n"[..], b"\x21\x11\0\x0c", &[192, 0, 2, 7, 0, 0], &[0, 0, 1, 2, 7, 143]] {
        peer.set_nodelay(true).expect("an option");
        tokio::task::yield_now().await;
        peer.write_all(piece).await.expect("a peer that reads");
    }
    assert_eq!(next(&mut seated).await.1.peer, ([192, 0, 2, 7], 258).into());
}

#[tokio::test]
async fn a_health_check_of_the_balancer_keeps_its_own_address() {
    let (mut seated, peer) = behind_proxy(counting(0), b"PROXY UNKNOWN\r\n").await;
    let local = peer.local_addr().expect("an address");
    assert_eq!(next(&mut seated).await.1.peer, local);
}

#[tokio::test]
async fn who_sends_no_proxy_header_is_let_go() {
    let (_seated, mut peer) = behind_proxy(counting(0), b"GET / HTTP/1.1\r\n\r\n").await;
    let read = timeout(SOON, peer.read(&mut [0])).await.expect("an end");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn a_trusted_proxy_is_not_counted() {
    let (listener, address) = any_port();
    let (host, mut seated) = Host::new();
    let acceptor = counting(1);
    acceptor.trust(&["127.0.0.0/8".parse().expect("a network")]);
    tokio::spawn(accept(listener, Arc::new(acceptor), host));
    let _peers = [TcpStream::connect(address).await, TcpStream::connect(address).await];
    let both = [next(&mut seated).await, next(&mut seated).await];
    assert!(
        both.iter().all(|(_, client, refusal)| refusal.is_none() && !client.standing.is_counted())
    );
}

#[test]
fn no_limit_is_as_many_as_there_can_be() {
    assert_eq!((Permits::new(0).limit(), Permits::new(0).taken()), (usize::MAX, 0));
}

#[test]
fn places_can_become_more_and_fewer() {
    let permits = Permits::new(2);
    let taken = [permits.take(), permits.take(), permits.take()];
    assert_eq!(taken.iter().flatten().count(), 2);
    permits.limit_to(1);
    drop(taken);
    let taken = [permits.take(), permits.take()];
    assert_eq!((taken.iter().flatten().count(), permits.taken()), (1, 1), "who was in has gone");
    permits.limit_to(0);
    assert!(permits.take().is_some());
}

#[tokio::test]
async fn a_door_that_closes_lets_those_in_who_are_connected_and_then_nobody() {
    let (listener, address) = any_port();
    let (host, mut seated) = Host::new();
    let acceptor = Arc::new(counting(0));
    let _early = [TcpStream::connect(address).await, TcpStream::connect(address).await];
    acceptor.close();
    accept(listener, acceptor, host).await;
    drop((next(&mut seated).await, next(&mut seated).await));
    let late = TcpStream::connect(address).await;
    assert_eq!(late.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
}
