use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use weir_config::OriginName;
use weir_hls::{Form, SegmentName};
use weir_media::DEFAULT_VHOST;

use super::*;
use crate::Hops;

/// More than any of this takes.
const SOON: Duration = Duration::from_secs(20);

/// Playlists are stale at once, and failures are not remembered.
const RESTLESS: Pauses = Pauses {
    fresh: Duration::ZERO,
    failed: Duration::ZERO,
    grace: SOON,
    away: SOON,
    // Nothing is asked for but what the test asks for.
    follow: Duration::from_secs(3600),
};

const PATH: &str = "/live/a.m3u8";
const SEGMENT_PATH: &str = "/live/a-7.ts";

/// What a scripted origin does with a request.
#[derive(Clone)]
enum Reply {
    /// Writes this.
    Raw(Vec<u8>),
    /// Writes this, and nothing more ever.
    Stuck(Vec<u8>),
    /// Writes the first once, and the second again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// Closes the connection after this.
    Last(Vec<u8>),
}

/// An origin that says what it is told to.
struct Scripted {
    address: SocketAddr,
    script: Arc<Mutex<HashMap<String, Reply>>>,
    /// The heads of all requests.
    heads: Arc<watch::Sender<Vec<String>>>,
    /// Whether requests are held.
    held: Arc<watch::Sender<bool>>,
    connections: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    async fn start() -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a loopback port");
        let address = listener.local_addr().expect("an address");
        let script = Arc::<Mutex<HashMap<_, _>>>::default();
        let heads = Arc::new(watch::Sender::new(Vec::new()));
        let held = Arc::new(watch::Sender::new(false));
        let connections = Arc::<AtomicU64>::default();
        let count = Arc::clone(&connections);
        let parts = (Arc::clone(&script), Arc::clone(&heads), Arc::clone(&held));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Relaxed);
                let (script, heads, held) = parts.clone();
                connections.spawn(converse(socket, script, heads, held));
            }
        });
        Self { address, script, heads, held, connections, task: task.abort_handle() }
    }

    fn says(&self, path: &str, reply: Reply) {
        self.script.lock().expect("no panic").insert(path.to_owned(), reply);
    }

    fn gives(&self, path: &str, body: &str) {
        self.says(path, Reply::Raw(response("200 OK", "", body)));
    }

    /// Ends, connections and all, and waits until its port is free.
    async fn die(self) -> SocketAddr {
        let address = self.address;
        drop(self);
        let gone = async { while TcpStream::connect(address).await.is_ok() {} };
        timeout(SOON, gone).await.expect("the port is closed");
        address
    }

    fn asked(&self, path: &str) -> usize {
        self.heads.borrow().iter().filter(|head| path_of(head) == path).count()
    }

    async fn until_asked(&self, times: usize) {
        let mut heads = self.heads.subscribe();
        let asked = timeout(SOON, heads.wait_for(|heads| heads.len() >= times)).await;
        asked.expect("the origin is asked").expect("it runs");
    }

    fn head(&self, index: usize) -> String {
        self.heads.borrow()[index].clone()
    }
}

async fn converse(
    mut socket: TcpStream,
    script: Arc<Mutex<HashMap<String, Reply>>>,
    heads: Arc<watch::Sender<Vec<String>>>,
    held: Arc<watch::Sender<bool>>,
) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await?);
        }
        let head = String::from_utf8(head).expect("text");
        let path = path_of(&head).to_owned();
        heads.send_modify(|heads| heads.push(head));
        held.subscribe().wait_for(|held| !held).await.expect("it runs");
        let reply = script.lock().expect("no panic").get(&path).cloned();
        let none = || Reply::Raw(response("404 Not Found", "", "nobody publishes it"));
        match reply.unwrap_or_else(none) {
            Reply::Raw(bytes) => socket.write_all(&bytes).await?,
            Reply::Last(bytes) => return socket.write_all(&bytes).await,
            Reply::Stuck(bytes) => {
                socket.write_all(&bytes).await?;
                return std::future::pending().await;
            }
            Reply::Endless(head, bytes) => {
                socket.write_all(&head).await?;
                loop {
                    socket.write_all(&bytes).await?;
                }
            }
        }
    }
}

fn path_of(head: &str) -> &str {
    head.split([' ', '?']).nth(1).unwrap_or_default()
}

fn response(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{fields}\r\n{body}").into_bytes()
}

fn playlist(sequence: u64) -> String {
    format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n#EXTINF:4,\na-{sequence}.ts\n"
    )
}

fn settings(origins: &[SocketAddr]) -> weir_config::Edge {
    let name = |origin: &SocketAddr| OriginName::rtmp(origin.ip().to_string(), origin.port());
    weir_config::Edge {
        origins: origins.iter().map(name).collect(),
        http_port: origins[0].port(),
        ..weir_config::Edge::default()
    }
}

fn relay_with(settings: &weir_config::Edge, pauses: Pauses) -> Arc<HlsRelay> {
    let origins = Origins::start(settings).expect("addresses need no name servers");
    let config = weir_config::Config { edge: settings.clone(), ..weir_config::Config::default() };
    let (all, id) = (Settings::new(config), NodeId::random().expect("random bytes"));
    HlsRelay::with(origins, &all, id, pauses, &weir_media::Budget::unlimited())
}

fn relay(origin: &Scripted, pauses: Pauses) -> Arc<HlsRelay> {
    relay_with(&settings(&[origin.address]), pauses)
}

fn object(kind: Kind) -> Object {
    Object { key: StreamKey::new(DEFAULT_VHOST, "live", "a").expect("a name"), kind }
}

const SEGMENT: Kind = Kind::Segment(SegmentName { sequence: 7, nonce: None, form: Form::Ts });

/// Status, seconds until it may be asked for again, and text.
fn answered(served: Result<Bytes, NotServed>) -> (u16, Option<Duration>, String) {
    match served {
        Ok(body) => (200, None, String::from_utf8_lossy(&body).into_owned()),
        Err(why) => (why.status.as_u16(), why.retry_after, why.reason.as_ref().to_owned()),
    }
}

/// Asks without waiting for the stream to begin.
async fn get(relay: &Arc<HlsRelay>, kind: Kind) -> (u16, String) {
    let (object, ask) = (object(kind), Ask::default());
    let response = timeout(SOON, relay.serve(&object, &ask, Duration::ZERO, false)).await;
    let response = response.expect("an answer in time");
    let (status, _, body) = answered(response);
    (status, body)
}

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

#[tokio::test]
async fn a_thousand_viewers_are_one_request_for_each_object() {
    let origin = Scripted::start().await;
    origin.gives(PATH, &playlist(7));
    origin.gives(SEGMENT_PATH, "seven");
    origin.held.send_replace(true);
    let relay = relay(&origin, Pauses::default());
    let viewers =
        join_all((0..1000).flat_map(|_| [get(&relay, Kind::Playlist), get(&relay, SEGMENT)]));
    let release = async {
        origin.until_asked(2).await;
        assert_eq!(relay.stats().coalesced, 2 * 999, "all have come before the origin answers");
        origin.held.send_replace(false);
    };
    let (answers, ()) = tokio::join!(viewers, release);
    for pair in answers.chunks(2) {
        assert_eq!(pair, [ok(&playlist(7)), ok("seven")]);
    }
    assert_eq!((origin.asked(PATH), origin.asked(SEGMENT_PATH)), (1, 1));
    assert_eq!(get(&relay, SEGMENT).await, ok("seven"));
    let stats = relay.stats();
    assert_eq!((stats.fetches, stats.hits, stats.entries), (2, 1, 2), "{stats:?}");
    assert!(relay.lock().flights.is_empty());
}

#[tokio::test]
async fn every_edge_gives_the_same() {
    let origin = Scripted::start().await;
    origin.gives(PATH, &playlist(7));
    origin.gives(SEGMENT_PATH, "seven");
    let (a, b) = (relay(&origin, Pauses::default()), relay(&origin, Pauses::default()));
    assert_eq!(get(&a, Kind::Playlist).await, get(&b, Kind::Playlist).await);
    assert_eq!(get(&a, SEGMENT).await, get(&b, SEGMENT).await);
    assert_eq!((origin.asked(PATH), origin.asked(SEGMENT_PATH)), (2, 2));
}

#[tokio::test]
async fn the_origin_is_asked_in_the_viewers_name() {
    let origin = Scripted::start().await;
    let settings = weir_config::Edge {
        forward_query: weir_config::ForwardQuery::Only(vec!["token".to_owned()]),
        ..settings(&[origin.address])
    };
    let relay = relay_with(&settings, Pauses::default());
    let key = StreamKey::new("v.org", "live/eu", "ä b").expect("a name");
    let ask = Ask {
        peer: None,
        next: false,
        params: "?vhost=v.org&token=a \"b&other=1".to_owned(),
        hops: Hops::parse("0123456789abcdef"),
        wait: None,
        ..Ask::default()
    };
    let object = Object { key, kind: SEGMENT };
    let response = relay.serve(&object, &ask, SOON, false).await;
    let (status, _, body) = answered(response);
    assert_eq!((status, body.as_str()), (404, "nobody publishes it"), "the origin's words");
    let head = origin.head(0);
    let line = "GET /live/eu/%C3%A4%20b-7.ts?vhost=v.org&token=a%20%22b HTTP/1.1\r\n";
    assert!(head.starts_with(line), "{head}");
    let host = format!("host: {}\r\n", origin.address);
    let hops = format!("weir-hops: 0123456789abcdef,{}\r\n", relay.id);
    for field in [host, hops] {
        assert!(head.contains(&field), "{field} is missing from {head}");
    }
}

#[tokio::test]
async fn a_request_goes_on_without_the_one_who_began_it() {
    let origin = Scripted::start().await;
    origin.gives(SEGMENT_PATH, "seven");
    origin.held.send_replace(true);
    let relay = relay(&origin, Pauses::default());
    let first = tokio::spawn({
        let relay = Arc::clone(&relay);
        async move { get(&relay, SEGMENT).await }
    });
    origin.until_asked(1).await;
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
    let release = async { origin.held.send_replace(false) };
    let (second, _) = tokio::join!(get(&relay, SEGMENT), release);
    assert_eq!((second, origin.asked(SEGMENT_PATH)), (ok("seven"), 1));
}

#[tokio::test]
async fn what_is_kept_is_served_while_the_origin_is_away() {
    let origin = Scripted::start().await;
    origin.gives(PATH, &playlist(7));
    origin.gives(SEGMENT_PATH, "seven");
    let relay = relay(&origin, RESTLESS);
    get(&relay, Kind::Playlist).await;
    get(&relay, SEGMENT).await;
    let address = origin.die().await;
    for _ in 0..3 {
        assert_eq!(get(&relay, Kind::Playlist).await, ok(&playlist(7)));
        assert_eq!(get(&relay, SEGMENT).await, ok("seven"));
    }
    assert_eq!(relay.stats().stale, 3);
    let origin = Scripted::start_at(address).await;
    // First it has nothing, as after a restart without its disk.
    assert_eq!(get(&relay, Kind::Playlist).await, ok(&playlist(7)));
    origin.gives(PATH, &playlist(8));
    let fresh = async { while get(&relay, Kind::Playlist).await != ok(&playlist(8)) {} };
    timeout(SOON, fresh).await.expect("the playlist goes on");
}

#[tokio::test]
async fn what_is_kept_is_given_up_in_the_end() {
    let origin = Scripted::start().await;
    origin.gives(PATH, &playlist(7));
    let settings = weir_config::Edge { give_up: Duration::ZERO, ..settings(&[origin.address]) };
    let relay = relay_with(&settings, RESTLESS);
    assert_eq!(get(&relay, Kind::Playlist).await, ok(&playlist(7)));
    origin.die().await;
    let response =
        relay.serve(&object(Kind::Playlist), &Ask::default(), Duration::ZERO, false).await;
    let (status, retry_after, body) = answered(response);
    assert_eq!((status, retry_after), (503, Some(Duration::from_secs(1))));
    assert!(body.contains("a.m3u8 from origin") && body.contains("cannot connect"), "{body}");
}

#[tokio::test]
async fn a_stream_that_is_missing_is_asked_for_once_in_a_while() {
    let origin = Scripted::start().await;
    let patient = relay(&origin, Pauses { failed: SOON, ..RESTLESS });
    for _ in 0..3 {
        let missing = (404, "nobody publishes it".to_owned());
        assert_eq!(get(&patient, Kind::Playlist).await, missing);
    }
    assert_eq!(origin.asked(PATH), 1);
    let restless = relay(&origin, RESTLESS);
    assert_eq!(get(&restless, Kind::Playlist).await.0, 404);
    origin.gives(PATH, &playlist(0));
    assert_eq!(get(&restless, Kind::Playlist).await, ok(&playlist(0)));
}

#[tokio::test]
async fn the_owner_is_asked_to_wait_for_a_stream_to_begin() {
    let origin = Scripted::start().await;
    let relay = relay(&origin, Pauses::default());
    let (object, ask) = (object(Kind::Playlist), Ask::default());
    let viewer = relay.serve(&object, &ask, SOON, false);
    let begin = async {
        origin.until_asked(1).await;
        origin.held.send_replace(true);
        origin.until_asked(2).await;
        origin.gives(PATH, &playlist(0));
        origin.held.send_replace(false);
    };
    // The first request is answered at once: nothing is held yet.
    let (response, ()) = tokio::join!(viewer, begin);
    assert_eq!(answered(response).0, 200);
    let wait = |index: usize| {
        let head = origin.head(index);
        let field = head.lines().find_map(|line| line.strip_prefix("weir-wait: "));
        field.expect("a playlist's request says it").parse::<u64>().expect("milliseconds")
    };
    assert_eq!(wait(0), 0);
    assert!((1..=20_000).contains(&wait(1)), "{}", wait(1));
}

#[tokio::test]
async fn a_viewer_waits_no_longer_than_it_may() {
    let origin = Scripted::start().await;
    origin.held.send_replace(true);
    let relay = relay(&origin, Pauses { failed: SOON, ..RESTLESS });
    let failure = Failure::NotFound("not yet".into());
    relay.land(&object(Kind::Playlist), false, 0, &Err(failure));
    let ask = Ask { next: false, wait: Some(Duration::from_millis(50)), ..Ask::default() };
    let object = object(Kind::Playlist);
    let response = timeout(SOON / 2, relay.serve(&object, &ask, SOON, false)).await;
    let response = response.expect("it asked for 50 ms");
    let (status, _, body) = answered(response);
    assert_eq!((status, body.as_str()), (404, "not yet"));
}

/// Two addresses with one port, the one that is asked first before the other; the first is served only if asked for.
async fn two(first_too: bool) -> (Option<Scripted>, Scripted, weir_config::Edge) {
    let probe = Scripted::start().await;
    let a = probe.die().await;
    let b = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), a.port());
    let settings = weir_config::Edge { dead_after: Duration::from_secs(2), ..settings(&[a, b]) };
    let origins = Origins::start(&settings).expect("addresses");
    let order = origins.order(&object(Kind::Playlist).key);
    let first = if first_too { Some(Scripted::start_at(order[0].http).await) } else { None };
    (first, Scripted::start_at(order[1].http).await, settings)
}

#[tokio::test]
async fn the_next_origin_is_asked_when_the_first_is_dead() {
    let (_, second, settings) = two(false).await;
    second.gives(PATH, &playlist(7));
    assert_eq!(get(&relay_with(&settings, RESTLESS), Kind::Playlist).await, ok(&playlist(7)));
}

#[tokio::test]
async fn the_next_origin_is_asked_when_the_first_has_nothing_or_fails() {
    let (first, second, settings) = two(true).await;
    let first = first.expect("it was asked for");
    second.gives(PATH, &playlist(7));
    assert_eq!(get(&relay_with(&settings, RESTLESS), Kind::Playlist).await, ok(&playlist(7)));
    let failures = [
        Reply::Raw(response("503 Service Unavailable", "", "busy")),
        Reply::Stuck(Vec::new()),
        Reply::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort".to_vec()),
        Reply::Last(b"SSH-2.0-OpenSSH_9\r\n".to_vec()),
    ];
    for (times, reply) in (2..).zip(failures) {
        first.says(PATH, reply);
        let relay = relay_with(&settings, RESTLESS);
        assert_eq!(get(&relay, Kind::Playlist).await, ok(&playlist(7)), "failure {times}");
        assert_eq!(first.asked(PATH), times, "it was asked first");
    }
}

#[tokio::test]
async fn a_stream_that_begins_again_has_other_segments() {
    let origin = Scripted::start().await;
    let relay = relay(&origin, RESTLESS);
    origin.gives(PATH, &playlist(7));
    origin.gives(SEGMENT_PATH, "old");
    get(&relay, Kind::Playlist).await;
    assert_eq!(get(&relay, SEGMENT).await, ok("old"));
    origin.gives(PATH, &playlist(0));
    origin.gives(SEGMENT_PATH, "new");
    get(&relay, Kind::Playlist).await;
    assert_eq!(get(&relay, SEGMENT).await, ok("new"));
}

#[tokio::test]
async fn a_playlist_that_is_still_the_same_is_not_sent_again() {
    let origin = Scripted::start().await;
    let relay = relay(&origin, RESTLESS);
    origin.says(PATH, Reply::Raw(response("200 OK", "etag: \"7\"\r\n", &playlist(7))));
    get(&relay, Kind::Playlist).await;
    let same = b"HTTP/1.1 304 Not Modified\r\netag: \"7\"\r\n\r\n";
    origin.says(PATH, Reply::Raw(same.to_vec()));
    for times in 1..4 {
        assert_eq!(get(&relay, Kind::Playlist).await, ok(&playlist(7)));
        let heads = origin.heads.borrow().clone();
        let head =
            heads.iter().filter(|head| path_of(head) == PATH).nth(times).expect("it was asked");
        assert!(head.contains("if-none-match: \"7\"\r\n"), "{head}");
    }
    assert_eq!(relay.stats().stale, 0);
}

#[tokio::test]
async fn a_hostile_origin_is_read_no_further_than_the_limits() {
    let origin = Scripted::start().await;
    let dead_after = Duration::from_secs(1);
    let settings = weir_config::Edge { dead_after, ..settings(&[origin.address]) };
    let huge = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 1_u64 << 40).into_bytes();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b"4000\r\n".to_vec(), vec![b'x'; 0x4000], b"\r\n".to_vec()].concat();
    let slow = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nslow".to_vec();
    for (reply, why) in [
        (Reply::Raw(huge), "larger than"),
        (Reply::Endless(chunked, chunk), "larger than"),
        (Reply::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort".to_vec()), "end of file"),
        (Reply::Stuck(slow), "takes too long (4 bytes"),
        (Reply::Raw(response("200 OK", "", "<html>")), "not an HLS playlist"),
        (Reply::Raw(response("302 Found", "location: /\r\n", "")), "answered 302"),
        (Reply::Last(b"SSH-2.0-OpenSSH_9\r\n\r\n".to_vec()), "no answer"),
    ] {
        origin.says(PATH, reply);
        let relay = relay_with(&settings, RESTLESS);
        let (status, body) = get(&relay, Kind::Playlist).await;
        assert_eq!(status, 502, "{why}: {body}");
        assert!(body.contains(why), "{why} is not the reason: {body}");
        assert!(body.contains(&origin.address.to_string()), "{body}");
        assert_eq!((relay.stats().memory, relay.stats().entries), (0, 0), "{why}");
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let origin = Scripted::start().await;
    let relay = relay(&origin, RESTLESS);
    origin.gives(PATH, &playlist(7));
    for _ in 0..3 {
        assert_eq!(get(&relay, Kind::Playlist).await, ok(&playlist(7)));
        assert_eq!(get(&relay, SEGMENT).await.0, 404);
    }
    assert_eq!(origin.connections.load(Relaxed), 1);
    origin.says(PATH, Reply::Last(response("200 OK", "", &playlist(7))));
    for _ in 0..3 {
        // The origin closes while the connection is idle, which is nobody's failure.
        assert_eq!(get(&relay, Kind::Playlist).await, ok(&playlist(7)));
    }
    assert_eq!(relay.stats().stale, 0);
}

/// It had taken the request: whether it is alive shows on a connection that has not been idle.
#[tokio::test]
async fn an_origin_that_closes_an_idle_connection_is_asked_again_on_a_new_one() {
    let origin = Scripted::start().await;
    let relay = relay(&origin, RESTLESS);
    assert_eq!(get(&relay, SEGMENT).await.0, 404);
    origin.says(SEGMENT_PATH, Reply::Last(Vec::new()));
    let (status, why) = get(&relay, SEGMENT).await;
    assert_eq!(status, 503, "{why}");
    assert!(why.contains("no answer"), "{why}");
    let counts = (origin.asked(SEGMENT_PATH), origin.connections.load(Relaxed));
    assert_eq!(counts, (3, 2), "one request on the idle connection, one on a new one");
}

#[tokio::test]
async fn a_segment_is_missing_only_if_every_origin_says_so() {
    let (first, second, settings) = two(true).await;
    let first = first.expect("it was asked for");
    let relay = relay_with(&settings, RESTLESS);
    first.says(SEGMENT_PATH, Reply::Raw(response("500 Oh", "", "no disk")));
    let (status, body) = get(&relay, SEGMENT).await;
    assert_eq!((status, second.asked(SEGMENT_PATH)), (503, 1));
    assert!(body.contains("answered 500: no disk"), "{body}");
    first.says(SEGMENT_PATH, Reply::Raw(response("410 Gone", "", "gone")));
    assert_eq!(get(&relay, SEGMENT).await, (404, "gone".to_owned()));
}

#[tokio::test]
async fn the_cache_keeps_to_its_size() {
    let origin = Scripted::start().await;
    let settings = weir_config::Edge { hls_cache: 100_000, ..settings(&[origin.address]) };
    let relay = relay_with(&settings, Pauses::default());
    for sequence in 0..30 {
        origin.gives(&format!("/live/a-{sequence}.ts"), &"x".repeat(10_000));
        assert_eq!(
            get(&relay, Kind::Segment(SegmentName { sequence, nonce: None, form: Form::Ts }))
                .await
                .0,
            200
        );
    }
    let stats = relay.stats();
    assert!((80_000..=100_000).contains(&stats.bytes), "{stats:?}");
    assert_eq!(stats.memory, stats.entries as u64 * 10_000, "what was evicted is gone");
}

#[tokio::test]
async fn a_request_that_came_back_is_refused() {
    let origin = Scripted::start().await;
    let relay = relay(&origin, Pauses::default());
    let ask = Ask { next: false, hops: Hops::default().and(&relay.id), ..Ask::default() };
    let (status, _, body) = answered(relay.serve(&object(SEGMENT), &ask, SOON, false).await);
    assert_eq!(status, 508);
    assert!(body.contains("a loop"), "{body}");
    assert_eq!(relay.stats().fetches, 0);
}

/// A playlist of these segments, and what the origin answers for them.
fn gives_all(origin: &Scripted, sequences: std::ops::Range<u64>) -> String {
    let mut text =
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{}\n", sequences.start);
    for sequence in sequences {
        text += &format!("#EXTINF:4,\na-{sequence}.ts\n");
        origin.gives(&format!("/live/a-{sequence}.ts"), &sequence.to_string());
    }
    origin.gives(PATH, &text);
    text
}

fn numbered(sequence: u64) -> Kind {
    Kind::Segment(SegmentName { sequence, nonce: None, form: Form::Ts })
}

/// Asks until the origin's playlist is what is answered.
async fn until_given(relay: &Arc<HlsRelay>, text: &str) {
    let given = async { while get(relay, Kind::Playlist).await != ok(text) {} };
    timeout(SOON, given).await.expect("the playlist comes");
}

#[tokio::test]
async fn what_a_playlist_lists_is_here_when_the_origin_dies() {
    let origin = Scripted::start().await;
    let relay = relay(&origin, RESTLESS);
    let text = gives_all(&origin, 7..10);
    assert_eq!(get(&relay, Kind::Playlist).await, ok(&text));
    let text = gives_all(&origin, 8..11);
    assert_eq!(get(&relay, Kind::Playlist).await, ok(&text));
    assert_eq!(origin.asked("/live/a-9.ts"), 1, "what is here is not asked for again");
    origin.die().await;
    assert_eq!(get(&relay, Kind::Playlist).await, ok(&text));
    for sequence in 7..11 {
        assert_eq!(get(&relay, numbered(sequence)).await, ok(&sequence.to_string()));
    }
}

#[tokio::test]
async fn a_segment_that_the_origin_does_not_give_is_not_listed() {
    let origin = Scripted::start().await;
    let relay = relay(&origin, RESTLESS);
    let text = gives_all(&origin, 7..10);
    origin.says("/live/a-9.ts", Reply::Raw(response("503 Service Unavailable", "", "busy")));
    let shorter = text.strip_suffix("#EXTINF:4,\na-9.ts\n").expect("the last one");
    assert_eq!(get(&relay, Kind::Playlist).await, ok(shorter));
    origin.gives("/live/a-9.ts", "9");
    until_given(&relay, &text).await;
    // Of a list of nothing nobody would have anything.
    origin.says("/live/a-20.ts", Reply::Raw(response("503 Service Unavailable", "", "busy")));
    origin.gives(PATH, &playlist(20));
    assert_eq!(get(&relay, Kind::Playlist).await, ok(&playlist(20)));
}

#[tokio::test]
async fn older_segments_do_not_hold_a_playlist_up() {
    let origin = Scripted::start().await;
    let relay = relay(&origin, RESTLESS);
    let text = gives_all(&origin, 0..6);
    for sequence in 0..3 {
        origin.says(&format!("/live/a-{sequence}.ts"), Reply::Stuck(Vec::new()));
    }
    assert_eq!(get(&relay, Kind::Playlist).await, ok(&text));
    for sequence in 3..6 {
        assert_eq!(origin.asked(&format!("/live/a-{sequence}.ts")), 1);
    }
}

#[tokio::test]
async fn a_stream_that_is_watched_is_followed_without_being_asked_for() {
    let origin = Scripted::start().await;
    let relay = relay(&origin, Pauses { follow: Duration::from_millis(20), ..RESTLESS });
    let text = gives_all(&origin, 7..10);
    assert_eq!(get(&relay, Kind::Playlist).await, ok(&text));
    gives_all(&origin, 8..11);
    let newest = async {
        while origin.asked("/live/a-10.ts") == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, newest).await.expect("the newest segment is fetched");
    // One that has ended is not.
    let ended = gives_all(&origin, 8..12) + "#EXT-X-ENDLIST\n";
    origin.gives(PATH, &ended);
    until_given(&relay, &ended).await;
    let over = async {
        while relay.followed.follows(&object(Kind::Playlist)) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, over).await.expect("it is not followed any more");
}

#[tokio::test]
async fn an_edge_whose_origin_is_back_asks_it_first() {
    let origin = Scripted::start().await;
    let relay = relay(&origin, Pauses { away: SOON, ..RESTLESS });
    let text = gives_all(&origin, 7..10);
    get(&relay, Kind::Playlist).await;
    let address = origin.die().await;
    assert_eq!(get(&relay, Kind::Playlist).await, ok(&text));
    let origin = Scripted::start_at(address).await;
    let text = gives_all(&origin, 8..11);
    assert_eq!(get(&relay, Kind::Playlist).await, ok(&text), "the first question is the origin's");
}
