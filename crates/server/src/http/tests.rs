use std::{net::SocketAddr, time::Instant};

use bytes::{Bytes, BytesMut};
use tokio::net::{TcpListener, TcpStream};
use weir_clients::permits::Permits;
use weir_config::Settings;
use weir_hls::{Listing, Progress, Rendition, Window};
use weir_media::{StreamKey, Use};
use weir_outputs::Output as _;

use super::*;
use crate::testing::{SOON, key};

/// Three of its target durations are more than a test may take.
const TARGET: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:60\n";

const NONCE: &str = "abcdefghijklmnop";

mod kept;
mod zero_copy;

/// A server whose stream `/live/a` is whatever the test puts into its window.
struct Server {
    node: Arc<Node>,
    key: StreamKey,
    window: Arc<Window>,
    address: SocketAddr,
}

impl Server {
    async fn start() -> Self {
        let config = "hls: { dir: '' }\nworkers: 1\nplay: { wait: 0s }\n";
        let config = Config::parse(config, "a test").expect("a good configuration");
        let (node, _) = Node::start(&Settings::new(config), Default::default(), Default::default())
            .expect("started");
        let key = key(&node, "/live/a");
        Arc::clone(&node.hls).follow(&key);
        let window = node.hls.window(&key).expect("it is followed");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (all, site) = (Arc::clone(&node), Site::new(&node, None));
        tokio::spawn(async move {
            let permits = Arc::new(Permits::new(100));
            while let Ok((socket, peer)) = listener.accept().await {
                let permit = permits.take().expect("one of a hundred");
                let client = Client::new(peer, "http", permit, &all.clients.roster);
                tokio::spawn(serve(Arc::clone(&all), site.clone(), socket.into(), client));
            }
        });
        Self { node, key, window, address }
    }

    /// The playlist is at this part of this segment, and announces the next one.
    fn list(&self, sequence: u64, parts: usize) {
        let progress = Some(Progress { sequence, parts, is_ended: false });
        self.window.list(Rendition::MAIN, self.listing(sequence, parts, progress));
    }

    fn listing(&self, sequence: u64, parts: usize, progress: Option<Progress>) -> Listing {
        Listing {
            progress,
            update: Some(Bytes::from(format!("{TARGET}# update {sequence}.{parts}\n"))),
            hint: Some(part(sequence, parts).into()),
            ..Listing::new(Bytes::from(format!("{TARGET}# {sequence}.{parts}\n")), [])
        }
    }

    async fn connect(&self) -> Connection {
        let socket = TcpStream::connect(self.address).await.expect("connected");
        Connection { socket, read: BytesMut::new() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.connect().await.ask("GET", path, "").await
    }

    /// Resolves when so many requests wait for what is to come.
    async fn until_waiting(&self, count: usize) {
        let waiting = async {
            while self.window.waiting() != count {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, waiting).await.expect("they wait");
    }
}

/// The file name of a part.
fn part(sequence: u64, part: usize) -> String {
    format!("a-{sequence}-{NONCE}.{part}.m4s")
}

struct Connection {
    socket: TcpStream,
    read: BytesMut,
}

struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map_or("", |(_, value)| value)
    }

    /// The last line of the body.
    fn line(&self) -> &str {
        str::from_utf8(&self.body).expect("text").lines().last().unwrap_or_default()
    }
}

impl Connection {
    async fn send(&mut self, method: &str, path: &str, fields: &str) {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: weir\r\nUser-Agent: test\r\n{fields}\r\n");
        self.socket.write_all(head.as_bytes()).await.expect("sent");
    }

    async fn ask(&mut self, method: &str, path: &str, fields: &str) -> Answer {
        self.send(method, path, fields).await;
        self.answer(method == "HEAD").await
    }

    async fn answer(&mut self, is_head: bool) -> Answer {
        timeout(SOON, self.read_answer(is_head)).await.expect("an answer")
    }

    async fn read_answer(&mut self, is_head: bool) -> Answer {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 32];
            let mut response = httparse::Response::new(&mut fields);
            let parsed = response.parse(&self.read).expect("HTTP");
            if let httparse::Status::Complete(length) = parsed {
                let status = response.code.expect("a status");
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                let fields = response.headers.iter();
                let fields = fields.map(|it| (it.name.to_owned(), text(it.value))).collect();
                let mut answer = Answer { status, fields, body: Vec::new() };
                let _ = self.read.split_to(length);
                let body = answer.field("content-length").parse().unwrap_or(0);
                while !is_head && self.read.len() < body {
                    self.more().await;
                }
                answer.body = if is_head { vec![] } else { self.read.split_to(body).to_vec() };
                return answer;
            }
            self.more().await;
        }
    }

    /// The server ends the connection, and sends nothing more.
    async fn until_end(&mut self) {
        let read = timeout(SOON, self.socket.read_buf(&mut self.read)).await;
        assert_eq!(read.expect("the connection ends").expect("read"), 0);
    }

    async fn more(&mut self) {
        let count = self.socket.read_buf(&mut self.read).await.expect("read");
        assert!(count > 0, "the connection has ended before the answer");
    }
}

#[tokio::test]
async fn a_request_for_a_playlist_waits_and_the_answer_says_how_long_it_lasts() {
    let server = Server::start().await;
    server.list(7, 1);
    let mut viewer = server.connect().await;
    let now = viewer.ask("GET", "/live/a.m3u8", "").await;
    let cache = "public, max-age=0, must-revalidate";
    assert_eq!((now.status, now.line(), now.field("cache-control")), (200, "# 7.1", cache));
    viewer.send("GET", "/live/a.m3u8?_HLS_msn=7&_HLS_part=1", "").await;
    server.until_waiting(1).await;
    server.list(7, 2);
    let waited = viewer.answer(false).await;
    let cache = "public, max-age=360";
    assert_eq!(
        (waited.status, waited.line(), waited.field("cache-control")),
        (200, "# 7.2", cache)
    );
    let path = "/live/a~v0.m3u8?_HLS_msn=7&_HLS_part=1&_HLS_skip=YES";
    let update = viewer.ask("GET", path, "").await;
    assert_eq!((update.status, update.line()), (200, "# update 7.2"));
    assert_ne!(update.field("etag"), waited.field("etag"), "other bytes");
    let known = format!("If-None-Match: {}\r\n", waited.field("etag"));
    let same = viewer.ask("GET", "/live/a~v0.m3u8?_HLS_msn=6", &known).await.status;
    assert_eq!(viewer.ask("HEAD", "/live/a.m3u8", &known).await.status, 304);
    assert_eq!(same, 304, "it has the same bytes, whatever it asks for");
}

#[tokio::test]
async fn what_cannot_be_waited_for_is_refused() {
    let server = Server::start().await;
    server.list(7, 1);
    for (path, status) in [
        ("/live/a.m3u8?_HLS_part=1", 400),
        ("/live/a.m3u8?_HLS_msn=x", 400),
        ("/live/a.m3u8?_HLS_msn=10", 400),
        ("/live/a~v3.m3u8?_HLS_msn=7", 404),
        (&*format!("/live/{}", part(7, 2)), 404),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.line());
        assert_eq!(answer.field("cache-control"), "no-store", "{path}");
    }
    // Where it is not offered, nothing is wrong with it.
    server.window.list(Rendition::MAIN, server.listing(7, 1, None));
    let answer = server.get("/live/a.m3u8?_HLS_part=1").await;
    assert_eq!((answer.status, answer.field("cache-control")), (200, "public, max-age=1"));
}

#[tokio::test]
async fn a_part_that_is_announced_is_sent_as_soon_as_it_is_there() {
    let server = Server::start().await;
    server.list(7, 1);
    let path = format!("/live/{}", part(7, 1));
    let mut viewers = [server.connect().await, server.connect().await, server.connect().await];
    viewers[0].send("GET", &path, "").await;
    viewers[1].send("GET", &path, "Range: bytes=1-2\r\n").await;
    viewers[2].send("HEAD", &path, "").await;
    server.until_waiting(3).await;
    server.window.put_part(&part(7, 1), Bytes::from_static(b"part"));
    let whole = viewers[0].answer(false).await;
    let cache = "public, max-age=86400, immutable";
    assert_eq!(
        (whole.status, &*whole.body, whole.field("cache-control")),
        (200, &b"part"[..], cache)
    );
    assert_eq!(whole.field("content-type"), "video/iso.segment");
    let range = viewers[1].answer(false).await;
    assert_eq!((range.status, &*range.body), (206, &b"ar"[..]));
    let head = viewers[2].answer(true).await;
    assert_eq!((head.status, head.field("content-length")), (200, "4"));
}

#[tokio::test]
async fn who_waits_is_answered_when_the_publisher_goes_and_when_the_server_stops() {
    let server = Server::start().await;
    server.list(7, 1);
    let mut viewer = server.connect().await;
    viewer.send("GET", "/live/a.m3u8?_HLS_msn=8", "").await;
    server.until_waiting(1).await;
    server.window.interrupt();
    let answer = viewer.answer(false).await;
    let fresh = "public, max-age=0, must-revalidate";
    assert_eq!(
        (answer.status, answer.line(), answer.field("cache-control")),
        (200, "# 7.1", fresh)
    );
    viewer.send("GET", "/live/a.m3u8?_HLS_msn=8", "").await;
    let mut waits_for_part = server.connect().await;
    waits_for_part.send("GET", &format!("/live/{}", part(7, 1)), "").await;
    server.until_waiting(2).await;
    for presence in server.node.clients.roster.list() {
        presence.ask_to_leave(weir_clients::roster::Farewell::Draining);
    }
    let answer = viewer.answer(false).await;
    // It may be written before the connection knows that it is the last one.
    assert_eq!((answer.status, answer.line()), (200, "# 7.1"));
    viewer.until_end().await;
    assert_eq!(waits_for_part.answer(false).await.status, 503);
    server.until_waiting(0).await;
}

#[tokio::test]
async fn nothing_is_left_of_a_request_whose_client_has_gone() {
    let server = Server::start().await;
    server.list(7, 1);
    let budget = server.node.streams.registry.budget();
    let mut viewer = server.connect().await;
    let long = "x".repeat(2000);
    viewer.send("GET", &format!("/live/a.m3u8?_HLS_msn=8&long={long}"), "").await;
    server.until_waiting(1).await;
    assert!(budget.used_for(Use::Requests) > long.len(), "it counts while it waits");
    drop(viewer);
    server.until_waiting(0).await;
    let freed = async {
        while budget.used_for(Use::Requests) > 0 || budget.used_for(Use::Connections) > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, freed).await.expect("all of it is given back");
}

#[tokio::test]
async fn a_viewer_counts_once_however_it_loads_and_its_parts_are_its_bytes() {
    let server = Server::start().await;
    server.list(7, 1);
    server.window.put_part(&part(7, 0), Bytes::from_static(b"part"));
    let mut viewer = server.connect().await;
    let mut sent = 0;
    for path in [
        "/live/a.m3u8",
        "/live/a~v0.m3u8?_HLS_msn=6",
        "/live/a.m3u8?_HLS_msn=7&_HLS_part=0&_HLS_skip=YES",
        &format!("/live/{}", part(7, 0)),
    ] {
        let answer = viewer.ask("GET", path, "").await;
        assert_eq!(answer.status, 200, "{path}");
        sent += answer.body.len() as u64;
    }
    assert_eq!(viewer.ask("HEAD", "/live/a.m3u8", "").await.status, 200);
    let quotas = &server.node.clients.quotas;
    let viewers = quotas.hls_viewers(Instant::now());
    let [viewer] = &viewers[..] else { panic!("one viewer: {viewers:?}") };
    assert_eq!((&viewer.key, viewer.sent), (&server.key, sent));
    assert_eq!(quotas.sent(), sent);
}

#[tokio::test]
async fn the_playlists_of_a_multivariant_one_are_named_with_the_viewers_parameters() {
    let server = Server::start().await;
    server.list(7, 1);
    let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"b\",URI=\"a~a1.m3u8\"\n\
                #EXT-X-STREAM-INF:BANDWIDTH=1\na~v0.m3u8\n";
    server.window.choose(Some(Bytes::from_static(text.as_bytes())));
    let plain = server.get("/live/a.m3u8?_HLS_msn=1").await;
    assert_eq!((plain.status, &*plain.body), (200, text.as_bytes()));
    let carrying = server.get("/live/a.m3u8?token=x&_HLS_msn=1&hls_ctx=7").await;
    let expected = text.replace("a~a1.m3u8", "a~a1.m3u8?token=x&hls_ctx=7");
    let expected = expected.replace("a~v0.m3u8", "a~v0.m3u8?token=x&hls_ctx=7");
    assert_eq!(String::from_utf8_lossy(&carrying.body), expected);
    let media = server.get("/live/a~v0.m3u8?token=x").await;
    assert_eq!((media.status, media.line()), (200, "# 7.1"));
}
