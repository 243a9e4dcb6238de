//! An edge in front of an origin of low latency: what it asks for, and what those get who wait.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Mutex,
};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::Instant as TokioInstant,
};
use weir_config::{OriginName, Settings};
use weir_hls::{
    Begin, Config, Form, Held, Nonce, Part, Playlist, Progress, Reach, Rendition, SegmentName,
    Window,
};
use weir_media::{Budget, DEFAULT_VHOST, StreamKey};

use super::*;
use crate::{
    NodeId, Origins,
    hls::{
        object::Kind,
        relay::{Pauses, Relayed},
    },
};

/// More than any of this takes.
const SOON: Duration = Duration::from_secs(20);

/// An origin of the stream `live/a`, which answers from a window as ours do.
struct Live {
    address: SocketAddr,
    stream: Arc<Stream>,
    task: AbortHandle,
}

struct Stream {
    window: Window,
    playlist: Mutex<Playlist>,
    rendition: Rendition,
    /// The targets of all requests.
    asked: tokio::sync::watch::Sender<Vec<String>>,
    /// What is answered instead of all else.
    refuses: Mutex<Option<&'static str>>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn name(sequence: u64, form: Form) -> String {
    SegmentName { sequence, nonce: Some(Nonce::new(sequence)), form }.file("a")
}

/// An empty playlist with parts.
fn playlist(sequence: u64) -> Playlist {
    let mut playlist = Playlist::starting_at(&Config::new("a"), sequence);
    playlist.offer_parts(Some(Duration::from_millis(200)));
    playlist
}

impl Stream {
    /// A stream that begins with segment `sequence`, of which no part is there yet.
    fn new(rendition: Rendition, sequence: u64) -> Self {
        let mut playlist = playlist(sequence);
        let init = name(sequence, Form::Init);
        playlist.begin(Begin { map: Some(init.clone()), ..Begin::default() });
        let stream = Self {
            window: Window::default(),
            playlist: Mutex::new(playlist),
            rendition,
            asked: tokio::sync::watch::Sender::default(),
            refuses: Mutex::default(),
        };
        stream.window.put(&init, Bytes::from_static(b"init"));
        stream.change(|_| {});
        stream
    }

    fn next(&self) -> (u64, usize) {
        let progress = self.playlist.lock().unwrap().progress();
        (progress.sequence, progress.parts)
    }

    /// Changes the playlist, and lists it with the hint of what comes next.
    fn change(&self, change: impl FnOnce(&mut Playlist)) {
        let mut playlist = self.playlist.lock().unwrap();
        change(&mut playlist);
        let progress = playlist.progress();
        let hint = (!progress.is_ended)
            .then(|| name(progress.sequence, Form::Part(progress.parts.try_into().unwrap())));
        playlist.hint(hint.as_deref());
        let listing = playlist.listing(&[]);
        drop(playlist);
        self.window.list(self.rendition, listing);
    }

    /// The part comes that was announced.
    fn part(&self) -> String {
        let (sequence, part) = self.next();
        let file = name(sequence, Form::Part(part.try_into().unwrap()));
        self.window.put_part(&file, Bytes::from(format!("<{file}>")));
        let duration = Duration::from_millis(200);
        self.change(|it| {
            it.push_part(Part { file: file.clone(), duration, independent: part == 0 });
        });
        file
    }

    /// The segment is complete.
    fn segment(&self) -> String {
        let (sequence, parts) = self.next();
        let file = name(sequence, Form::Mp4);
        let parts: Vec<_> =
            (0..parts).map(|part| name(sequence, Form::Part(part.try_into().unwrap()))).collect();
        let whole: String = parts.iter().map(|part| format!("<{part}>")).collect();
        self.window.put_whole(&file, &whole.into(), parts.iter().map(String::as_str));
        let duration = Duration::from_millis(200) * parts.len() as u32;
        self.change(|it| {
            it.push(&file, duration);
        });
        file
    }

    fn text(&self) -> Bytes {
        self.window.playlist(self.rendition).unwrap().text.clone()
    }

    /// How often this was asked for, with exactly these parameters.
    fn asked(&self, target: &str) -> usize {
        self.asked.borrow().iter().filter(|asked| *asked == target).count()
    }

    async fn until_asked(&self, target: &str) {
        let mut asked = self.asked.subscribe();
        let is_asked = |all: &Vec<String>| all.iter().any(|asked| asked == target);
        let asked = timeout(SOON, asked.wait_for(is_asked)).await;
        asked
            .unwrap_or_else(|_| panic!("{target} is asked for: {:?}", self.asked.borrow()))
            .unwrap();
    }

    async fn answer(&self, target: &str) -> Result<Bytes, &'static str> {
        self.asked.send_modify(|asked| asked.push(target.to_owned()));
        if let Some(status) = *self.refuses.lock().unwrap() {
            return Err(status);
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let file = path.strip_prefix("/live/").unwrap();
        let mut names = vec![format!("{}.m3u8", self.rendition.playlist("a"))];
        names.extend((self.rendition == Rendition::MAIN).then(|| "a.m3u8".to_owned()));
        if names.iter().any(|name| name == file) {
            let number = |name: &str| {
                query.split('&').find_map(|param| param.strip_prefix(name)?.parse::<u64>().ok())
            };
            let Some(msn) = number("_HLS_msn=") else { return Ok(self.text()) };
            let part = number("_HLS_part=").map(|part| part as usize);
            let reached = self.window.until(|window| {
                let progress = window.playlist(self.rendition)?.progress?;
                match progress.reach(msn, part) {
                    Reach::Now => Some(Ok(self.text())),
                    Reach::Later => None,
                    Reach::TooFar => Some(Err("400 Bad Request")),
                }
            });
            return reached.await;
        }
        let found = self.window.until(|window| match window.get(file) {
            Some(Held::Here(data)) => Some(Ok(data)),
            _ if window.is_hinted(file) => None,
            _ => Some(Err("404 Not Found")),
        });
        found.await
    }
}

impl Live {
    async fn start(stream: Stream) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), stream).await
    }

    async fn start_at(address: SocketAddr, stream: Stream) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = Arc::new(stream);
        let shared = Arc::clone(&stream);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(converse(socket, Arc::clone(&shared)));
            }
        });
        Self { address, stream, task: task.abort_handle() }
    }

    /// Ends, connections and all, and waits until its port is free.
    async fn die(self) -> SocketAddr {
        let address = self.address;
        drop(self);
        let gone = async { while TcpStream::connect(address).await.is_ok() {} };
        timeout(SOON, gone).await.expect("the port is closed");
        address
    }
}

async fn converse(mut socket: TcpStream, stream: Arc<Stream>) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let target = head.split(' ').nth(1).unwrap();
        // Who leaves is forgotten.
        let mut more = [0];
        let (status, body) = tokio::select! {
            answer = stream.answer(target) => match answer {
                Ok(body) => ("200 OK", body),
                Err(status) => (status, Bytes::from_static(b"no")),
            },
            _ = socket.peek(&mut more) => return Ok(()),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
        socket.write_all(&[head.as_bytes(), &body].concat()).await?;
    }
}

fn relay(origins: &[SocketAddr], change: impl FnOnce(&mut weir_config::Edge)) -> Arc<HlsRelay> {
    let name = |origin: &SocketAddr| OriginName::rtmp(origin.ip().to_string(), origin.port());
    let mut settings = weir_config::Edge {
        origins: origins.iter().map(name).collect(),
        http_port: origins[0].port(),
        ..weir_config::Edge::default()
    };
    change(&mut settings);
    let origins = Origins::start(&settings).expect("addresses need no name servers");
    let config = weir_config::Config { edge: settings, ..weir_config::Config::default() };
    let (all, id) = (Settings::new(config), NodeId::random().expect("random bytes"));
    HlsRelay::with(origins, &all, id, Pauses::default(), &Budget::unlimited())
}

fn object(kind: Kind) -> Object {
    Object { key: StreamKey::new(DEFAULT_VHOST, "live", "a").expect("a name"), kind }
}

fn file(name: &str) -> Object {
    Object::of_file(&object(Kind::Playlist).key, name).expect("a file of the stream")
}

async fn get(relay: &Arc<HlsRelay>, object: &Object) -> Result<Bytes, u16> {
    let ask = Ask::default();
    let served = timeout(SOON, relay.serve(object, &ask, Duration::ZERO, false)).await;
    served.expect("an answer in time").map_err(|why| why.status.as_u16())
}

/// The playlist of `kind` with this part, as a player waits for it that asks again when there is none.
async fn reload(relay: &Arc<HlsRelay>, kind: Kind, (msn, part): (u64, usize)) -> Bytes {
    let (object, ask) = (object(kind), Ask::default());
    let reloaded = async {
        loop {
            let Ok(relayed) = relay.playlist(&object, &ask, Duration::ZERO, false).await else {
                tokio::task::yield_now().await;
                continue;
            };
            let Relayed::Media(media) = relayed else { panic!("it is a media playlist") };
            let found = media.window.until(|window| {
                let Some(listing) = window.playlist(media.rendition) else { return Some(None) };
                match listing.progress.expect("low latency").reach(msn, Some(part)) {
                    Reach::Now => Some(Some(listing.text.clone())),
                    Reach::Later => None,
                    Reach::TooFar => panic!("{msn} {part} is too far ahead of {listing:?}"),
                }
            });
            if let Some(text) = found.await {
                return text;
            }
        }
    };
    timeout(SOON, reloaded).await.unwrap_or_else(|_| panic!("{msn} {part} comes"))
}

fn question(file: &str, (msn, part): (u64, usize)) -> String {
    format!("/live/{file}?_HLS_msn={msn}&_HLS_part={part}")
}

#[tokio::test]
async fn fifty_viewers_who_wait_are_one_question_for_each_object() {
    for (kind, rendition, playlist) in [
        (Kind::Playlist, Rendition::MAIN, "a.m3u8"),
        (Kind::Rendition(Rendition::Audio(1)), Rendition::Audio(1), "a~a1.m3u8"),
    ] {
        let origin = Live::start(Stream::new(rendition, 7)).await;
        let stream = &origin.stream;
        stream.part();
        let relay = relay(&[origin.address], |_| {});
        assert_eq!(get(&relay, &object(kind)).await, Ok(stream.text()));
        for _ in 0..3 {
            let next = stream.next();
            let hint = name(next.0, Form::Part(next.1.try_into().unwrap()));
            stream.until_asked(&question(playlist, next)).await;
            stream.until_asked(&format!("/live/{hint}")).await;
            let playlists = join_all((0..50).map(|_| reload(&relay, kind, next)));
            let hinted = file(&hint);
            let parts = join_all((0..50).map(|_| get(&relay, &hinted)));
            let publish = async {
                while relay.stats().coalesced < 50 {
                    tokio::task::yield_now().await;
                }
                stream.part()
            };
            let (texts, parts, part) = tokio::join!(playlists, parts, publish);
            assert!(texts.iter().all(|text| *text == stream.text()), "the bytes of the origin");
            let data = Ok(Bytes::from(format!("<{part}>")));
            assert!(parts.iter().all(|got| *got == data), "{data:?}: {parts:?}");
            assert_eq!(stream.asked(&question(playlist, next)), 1);
            assert_eq!(stream.asked(&format!("/live/{hint}")), 1);
        }
        let segment = stream.segment();
        let next = stream.next();
        assert_eq!(reload(&relay, kind, (next.0 - 1, 99)).await, stream.text());
        stream.until_asked(&format!("/live/{segment}")).await;
        let whole: String = (0..4).map(|part| format!("<{}>", name(7, Form::Part(part)))).collect();
        assert_eq!(get(&relay, &file(&segment)).await, Ok(whole.into()));
        assert_eq!(stream.asked(&format!("/live/{segment}")), 1, "ahead, for everybody");
        assert_eq!(stream.asked(&format!("/live/{}", name(7, Form::Init))), 1, "ahead, too");
        stream.change(Playlist::end);
        let ended = reload(&relay, kind, (next.0, 5)).await;
        assert!(ended.ends_with(b"#EXT-X-ENDLIST\n") && ended == stream.text());
        assert_eq!(
            stream.asked(&format!("/live/{playlist}")),
            1,
            "only the first one did not wait"
        );
    }
}

#[tokio::test]
async fn what_another_edge_has_named_is_found() {
    let origin = Live::start(Stream::new(Rendition::MAIN, 7)).await;
    let stream = &origin.stream;
    let here = stream.part();
    let next = stream.next();
    let relay = relay(&[origin.address], |_| {});
    assert_eq!(get(&relay, &file(&here)).await, Ok(format!("<{here}>").into()));
    let hint = name(7, Form::Part(1));
    let (part, text, ()) = tokio::join!(
        async { get(&relay, &file(&hint)).await },
        reload(&relay, Kind::Playlist, next),
        async {
            stream.until_asked(&format!("/live/{hint}")).await;
            stream.until_asked(&question("a.m3u8", next)).await;
            stream.part();
        },
    );
    assert_eq!((part, text), (Ok(format!("<{hint}>").into()), stream.text()));
    assert_eq!(get(&relay, &file(&name(9, Form::Part(0)))).await, Err(404), "nobody has named it");
}

#[tokio::test]
async fn players_go_on_when_the_origin_is_started_again_while_they_wait() {
    let origin = Live::start(Stream::new(Rendition::MAIN, 7)).await;
    origin.stream.part();
    let relay = relay(&[origin.address], |_| {});
    let next = origin.stream.next();
    get(&relay, &object(Kind::Playlist)).await.expect("a playlist");
    origin.stream.until_asked(&question("a.m3u8", next)).await;
    let restart = async {
        let again = Live::start_at(origin.die().await, Stream::new(Rendition::MAIN, 8)).await;
        again.stream.part();
        again
    };
    let (first, again) = tokio::join!(reload(&relay, Kind::Playlist, next), restart);
    assert_eq!(first, again.stream.text());
    let next = again.stream.next();
    let (second, ()) = tokio::join!(reload(&relay, Kind::Playlist, next), async {
        again.stream.until_asked(&question("a.m3u8", next)).await;
        again.stream.part();
    });
    assert_eq!(second, again.stream.text());
}

/// Two origins with one port that both have the stream, and the addresses as an edge has them.
async fn two() -> ([Live; 2], [SocketAddr; 2]) {
    let probe = Live::start(Stream::new(Rendition::MAIN, 0)).await;
    let one = probe.die().await;
    let other = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), one.port());
    let start = async |address| Live::start_at(address, Stream::new(Rendition::MAIN, 7)).await;
    let origins = [start(one).await, start(other).await];
    origins.iter().for_each(|origin| drop(origin.stream.part()));
    (origins, [one, other])
}

/// The one that holds the question, then the other one.
async fn in_turn([a, b]: [Live; 2], next: (u64, usize)) -> [Live; 2] {
    let questions = [&a, &b].map(|origin| {
        let stream = Arc::clone(&origin.stream);
        Box::pin(async move { stream.until_asked(&question("a.m3u8", next)).await })
    });
    let (_, first, _) = futures_util::future::select_all(questions).await;
    let [asked, other] = if first == 0 { [a, b] } else { [b, a] };
    assert_eq!(other.stream.asked(&question("a.m3u8", next)), 0, "one of them is asked");
    [asked, other]
}

#[tokio::test]
async fn the_next_origin_is_asked_at_once_when_one_dies_while_players_wait() {
    let (origins, addresses) = two().await;
    // Both would be waited for longer than this test takes.
    let relay = relay(&addresses, |edge| edge.dead_after = 2 * SOON);
    let next = origins[0].stream.next();
    get(&relay, &object(Kind::Playlist)).await.expect("a playlist");
    let [dying, left] = in_turn(origins, next).await;
    let (text, ()) = tokio::join!(reload(&relay, Kind::Playlist, next), async {
        drop(dying);
        left.stream.until_asked(&question("a.m3u8", next)).await;
        left.stream.part();
    });
    assert_eq!(text, left.stream.text());
}

#[tokio::test]
async fn players_go_on_at_the_origin_to_which_the_publisher_has_moved() {
    let (origins, addresses) = two().await;
    let relay = relay(&addresses, |edge| edge.dead_after = Duration::from_millis(600));
    let next = origins[0].stream.next();
    get(&relay, &object(Kind::Playlist)).await.expect("a playlist");
    let [left, other] = in_turn(origins, next).await;
    let (text, ()) = tokio::join!(reload(&relay, Kind::Playlist, next), async {
        // The first one still waits for it.
        other.stream.change(|it| *it = playlist(100));
        other.stream.part();
    });
    assert_eq!(text, other.stream.text());
    let next = other.stream.next();
    let (text, ()) = tokio::join!(reload(&relay, Kind::Playlist, next), async {
        other.stream.until_asked(&question("a.m3u8", next)).await;
        other.stream.part();
    });
    assert_eq!(text, other.stream.text());
    assert_eq!(left.stream.asked(&question("a.m3u8", next)), 0);
}

#[tokio::test]
async fn what_had_to_make_room_is_fetched_again() {
    let origin = Live::start(Stream::new(Rendition::MAIN, 7)).await;
    let stream = &origin.stream;
    let part = stream.part();
    // Room for the playlist and one object.
    let relay = relay(&[origin.address], |edge| edge.hls_cache = 3500);
    for _ in 0..3 {
        let next = stream.next();
        assert_eq!(get(&relay, &file(&part)).await, Ok(format!("<{part}>").into()));
        get(&relay, &object(Kind::Playlist)).await.expect("a playlist");
        let (text, _) = tokio::join!(reload(&relay, Kind::Playlist, next), async {
            stream.until_asked(&question("a.m3u8", next)).await;
            stream.part()
        });
        assert_eq!(text, stream.text());
        let stats = relay.stats();
        assert!(stats.bytes <= 3500 && stats.memory <= 3500, "{stats:?}");
    }
}

#[tokio::test]
async fn who_waits_asks_for_itself_when_the_one_who_began_is_not_let_in_any_more() {
    let origin = Live::start(Stream::new(Rendition::MAIN, 7)).await;
    let stream = &origin.stream;
    stream.part();
    let relay = relay(&[origin.address], |edge| edge.dead_after = 2 * SOON);
    let next = stream.next();
    get(&relay, &object(Kind::Playlist)).await.expect("a playlist");
    stream.until_asked(&question("a.m3u8", next)).await;
    let (text, ()) = tokio::join!(reload(&relay, Kind::Playlist, next), async {
        *stream.refuses.lock().unwrap() = Some("403 Forbidden");
        // The question that is held is answered, and the next one is refused.
        let after = (next.0, next.1 + 1);
        stream.part();
        stream.until_asked(&question("a.m3u8", after)).await;
        let over = async {
            while relay.followed.follows(&object(Kind::Playlist)) {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, over).await.expect("it is not followed");
        *stream.refuses.lock().unwrap() = None;
    });
    assert!(!text.is_empty());
    let next = stream.next();
    let (text, ()) = tokio::join!(reload(&relay, Kind::Playlist, next), async {
        stream.until_asked(&question("a.m3u8", next)).await;
        stream.part();
    });
    assert_eq!(text, stream.text());
}

#[tokio::test]
async fn the_playlist_of_another_stream_is_none_of_a_rendition() {
    // It is published as `a~a1`, and has the name of a rendition of `a` for itself.
    let origin = Live::start(Stream::new(Rendition::Audio(1), 7)).await;
    let other = SegmentName { sequence: 7, nonce: Some(Nonce::new(7)), form: Form::Mp4 };
    origin.stream.change(|it| {
        *it = playlist(7);
        it.push(&other.file("a~a1"), Duration::from_secs(2));
    });
    let relay = relay(&[origin.address], |_| {});
    let kind = Kind::Rendition(Rendition::Audio(1));
    assert_eq!(get(&relay, &object(kind)).await, Err(404));
    let key = StreamKey::new(DEFAULT_VHOST, "live", "a~a1").expect("a name");
    let stream = Object { key, kind: Kind::Playlist };
    assert_eq!(get(&relay, &stream).await, Ok(origin.stream.text()));
    // And the other way round.
    let origin = Live::start(Stream::new(Rendition::Audio(1), 7)).await;
    origin.stream.part();
    origin.stream.segment();
    let relay = self::relay(&[origin.address], |_| {});
    assert_eq!(get(&relay, &stream).await, Err(404));
    assert_eq!(get(&relay, &object(kind)).await, Ok(origin.stream.text()));
}

#[tokio::test]
async fn a_question_that_is_not_answered_in_time_is_put_again_and_is_no_trouble() {
    let origin = Live::start(Stream::new(Rendition::MAIN, 7)).await;
    let stream = &origin.stream;
    stream.part();
    let relay = relay(&[origin.address], |edge| edge.dead_after = Duration::from_millis(300));
    let next = stream.next();
    get(&relay, &object(Kind::Playlist)).await.expect("a playlist");
    let again = async {
        while stream.asked(&question("a.m3u8", next)) < 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, again).await.expect("it is put again");
    assert!(relay.lock().troubles.is_empty(), "nothing is wrong with a publisher that pauses");
    let begun = TokioInstant::now();
    let (text, _) = tokio::join!(reload(&relay, Kind::Playlist, next), async { stream.part() });
    assert_eq!(text, stream.text(), "after {:?}", begun.elapsed());
    let progress = Progress { sequence: 7, parts: 2, is_ended: false };
    assert_eq!(stream.playlist.lock().unwrap().progress(), progress);
}

#[tokio::test]
async fn a_segment_whose_parts_are_here_is_not_asked_for() {
    let origin = Live::start(Stream::new(Rendition::MAIN, 7)).await;
    let stream = &origin.stream;
    let relay = relay(&[origin.address], |_| {});
    get(&relay, &object(Kind::Playlist)).await.expect("a playlist");
    let go_on = async |parts: usize| {
        let mut whole = String::new();
        for _ in 0..parts {
            let next = stream.next();
            let hint = name(next.0, Form::Part(next.1.try_into().unwrap()));
            stream.until_asked(&question("a.m3u8", next)).await;
            stream.until_asked(&format!("/live/{hint}")).await;
            assert_eq!(stream.part(), hint);
            whole += &format!("<{hint}>");
        }
        stream.until_asked(&question("a.m3u8", stream.next())).await;
        (stream.segment(), whole)
    };
    for _ in 0..3 {
        let (segment, whole) = go_on(4).await;
        // The next part of the playlist is asked for once the segment has been taken note of.
        stream.until_asked(&question("a.m3u8", stream.next())).await;
        assert_eq!(get(&relay, &file(&segment)).await, Ok(whole.into()));
        assert_eq!(stream.asked(&format!("/live/{segment}")), 0);
        let first = name(stream.next().0 - 1, Form::Part(0));
        assert_eq!(get(&relay, &file(&first)).await, Ok(format!("<{first}>").into()));
        assert_eq!(stream.asked(&format!("/live/{first}")), 1, "it is still here");
    }
    // Two at a time: nobody has asked for the first of them.
    let next = stream.next();
    stream.until_asked(&question("a.m3u8", next)).await;
    let parts = [0, 1].map(|part| name(next.0, Form::Part(part)));
    for part in &parts {
        stream.window.put_part(part, Bytes::from(format!("<{part}>")));
    }
    stream.change(|it| {
        for file in &parts {
            let (file, duration) = (file.clone(), Duration::from_millis(200));
            it.push_part(Part { file, duration, independent: false });
        }
    });
    stream.until_asked(&question("a.m3u8", stream.next())).await;
    let segment = stream.segment();
    stream.until_asked(&format!("/live/{segment}")).await;
    let whole = format!("<{}><{}>", parts[0], parts[1]);
    assert_eq!(get(&relay, &file(&segment)).await, Ok(whole.into()));
    assert_eq!(stream.asked(&format!("/live/{segment}")), 1, "a part was missing");
}
