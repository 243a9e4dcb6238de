//! HLS of low latency through edges: the bytes and numbers of the origin, one question for each object whatever the
//! number of viewers, and players that go on when origins go.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    task::{AbortHandle, JoinSet},
};
use weir_hls::{EntryKind, MediaPlaylist, Progress};
use weir_testkit::{
    Weir,
    cluster::Cluster,
    eventually, http,
    peer::{Encoder, Numbered},
};

use crate::{PICTURE, SOON, cluster, encoder, live_streams};

const ORIGIN: &str =
    "hls: { segment: 1s, part: 200ms }\npublish: { linger: 0s }\nplay: { wait: 30s }\n";
const EDGE: &str = "play: { wait: 30s }\n";

/// A machine that is slow is no origin that is dead.
const PATIENT: &str = "dead_after: 20s";

/// Passes connections on to a server, and takes note of what is asked for on them.
struct Tap {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    /// Bytes that the server has sent.
    sent: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tap {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let notes = Arc::clone(&asked);
        let sent = Arc::<AtomicUsize>::default();
        let all = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (notes, all) = (Arc::clone(&notes), Arc::clone(&all));
                connections.spawn(async move {
                    let server = TcpStream::connect(server).await.expect("the server listens");
                    let (from_client, mut to_client) = client.into_split();
                    let (mut from_server, to_server) = server.into_split();
                    let answers = async {
                        let mut piece = BytesMut::with_capacity(1 << 16);
                        while let Ok(1..) = from_server.read_buf(&mut piece).await {
                            all.fetch_add(piece.len(), Ordering::Relaxed);
                            if to_client.write_all_buf(&mut piece).await.is_err() {
                                break;
                            }
                        }
                    };
                    // Either may go first.
                    tokio::select! {
                        () = answers => {}
                        _ = pass_on(from_client, to_server, notes) => {}
                    }
                });
            }
        });
        Self { address, asked, sent, task: task.abort_handle() }
    }

    /// How often each target was asked for.
    fn counts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for target in self.asked.lock().expect("no panic").iter() {
            *counts.entry(target.clone()).or_default() += 1;
        }
        counts
    }
}

/// Requests have no bodies.
async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    notes: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        head.push(from.read_u8().await?);
        if head.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&head);
            let target = text.split(' ').nth(1).expect("a request").to_owned();
            notes.lock().expect("no panic").push(target);
            to.write_all(&head).await?;
            head.clear();
        }
    }
}

async fn get(address: SocketAddr, path: &str) -> (u16, Bytes) {
    let mut response = http::get(address, path).await;
    let body = response.bytes().await;
    (response.status, body)
}

/// What is there of low latency, once it is.
async fn until_live(weir: &Weir) -> String {
    eventually("a playlist with parts", SOON, async || {
        let (status, text) = get(weir.http(), "live/a.m3u8").await;
        let text = String::from_utf8(text.to_vec()).expect("text");
        (status == 200 && text.contains("#EXT-X-PRELOAD-HINT")).then_some(text)
    })
    .await
}

fn read(text: &str) -> MediaPlaylist<'_> {
    MediaPlaylist::parse(text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

/// The request of a player that has this playlist.
fn next(text: &str) -> String {
    let Progress { sequence, parts, .. } = read(text).progress;
    format!("live/a.m3u8?_HLS_msn={sequence}&_HLS_part={parts}")
}

fn path(uri: &str) -> String {
    format!("live/{uri}")
}

/// What the head of an answer takes, or a playlist that none of the viewers has seen.
const HEAD_BYTES: usize = 1024;

/// Who gives something.
const ORIGINS: &str = "the origin";
const EDGES: &str = "the second edge";

/// Everything that is named has these bytes, whoever gives it.
#[derive(Default)]
struct Seen {
    playlists: HashMap<(u64, usize), String>,
    objects: HashMap<String, Bytes>,
    /// Who gave which playlist.
    by: HashSet<((u64, usize), &'static str)>,
}

impl Seen {
    fn playlist(&mut self, (status, text): (u16, Bytes), by: &'static str) -> String {
        let text = String::from_utf8(text.to_vec()).expect("text");
        assert_eq!(status, 200, "{by}: {text}");
        let Progress { sequence, parts, .. } = read(&text).progress;
        let before = self.playlists.entry((sequence, parts)).or_insert_with(|| text.clone());
        assert_eq!(*before, text, "of the playlist with {sequence}.{parts} {by} gives another one");
        self.by.insert(((sequence, parts), by));
        text
    }

    /// How many playlists both gave.
    fn same(&self) -> usize {
        let own = self.by.iter().filter(|(_, by)| *by == ORIGINS);
        own.filter(|(at, _)| self.by.contains(&(*at, EDGES))).count()
    }

    fn object(&mut self, uri: &str, (status, data): (u16, Bytes), by: &str) {
        assert_eq!(status, 200, "{uri} at {by}: {data:?}");
        let before = self.objects.entry(uri.to_owned()).or_insert_with(|| data.clone());
        assert!(*before == data && !data.is_empty(), "{uri} at {by} has other bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_viewers_behind_two_edges_are_one_question_for_each_object() {
    let cluster = cluster();
    let origin = cluster.origin(1, ORIGIN);
    let tap = Tap::start(origin.http()).await;
    let origins = [cluster.origin_at("127.0.0.1")];
    let first = cluster.edge_to(&origins, tap.address.port(), PATIENT, EDGE).start();
    let firsts = [first.rtmp().to_string()];
    let second = cluster.edge_to(&firsts, first.http().port(), PATIENT, EDGE).start();
    let encoder = encoder(&origin, "live/a").await;
    let mut seen = Seen::default();
    let mut text = until_live(&second).await;
    let mut rounds = 0;
    // On a slow machine they seldom give the same one at a time.
    while rounds < 15 || seen.same() == 0 {
        rounds += 1;
        assert!(rounds < 200, "the edge and the origin never gave the same");
        let question = next(&text);
        let hint = read(&text).hint.expect("a hint").to_owned();
        let part = path(&hint);
        let (viewers, parts, (own, own_part)) = tokio::join!(
            join_all((0..50).map(|_| get(second.http(), &question))),
            join_all((0..50).map(|_| get(second.http(), &part))),
            async { tokio::join!(get(origin.http(), &question), get(origin.http(), &part)) },
        );
        seen.playlist(own, ORIGINS);
        seen.object(&hint, own_part, ORIGINS);
        parts.into_iter().for_each(|data| seen.object(&hint, data, EDGES));
        for viewer in viewers {
            text = seen.playlist(viewer, EDGES);
        }
    }
    for entry in read(&text).entries {
        for weir in [&origin, &second, &first] {
            seen.object(entry.uri, get(weir.http(), &path(entry.uri)).await, "one of them");
        }
    }
    let counts = tap.counts();
    // Fifty viewers cost the origin what one does: each object once, and the heads of its answers.
    let objects: usize = seen.objects.values().map(Bytes::len).sum();
    let playlists: usize = seen.playlists.values().map(String::len).sum();
    let (asked, sent) = (counts.values().sum::<usize>(), tap.sent.load(Ordering::Relaxed));
    let most = objects + playlists + asked * 2 * HEAD_BYTES;
    assert!(
        sent <= most,
        "the origin has sent {sent} bytes, {objects} of files, {playlists} of playlists"
    );
    for (target, count) in counts {
        let is_object = target.contains("_HLS_") || !target.contains(".m3u8");
        assert!(count == 1 || !is_object, "{target} was asked for {count} times");
    }
    drop(encoder);
    let ended = async {
        while !text.ends_with("#EXT-X-ENDLIST\n") {
            let (status, body) = get(second.http(), &next(&text)).await;
            if status == 200 {
                text = String::from_utf8(body.to_vec()).expect("text");
            }
        }
    };
    tokio::time::timeout(SOON, ended).await.expect("the end reaches everybody");
    let (_, own) = get(origin.http(), "live/a.m3u8").await;
    assert_eq!(text.as_bytes(), own, "the end is that of the origin");
}

/// A balancer that sends each request to another edge, for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn edges_without_affinity_have_whatever_another_one_has_named() {
    let cluster = cluster();
    let origin = cluster.origin(1, ORIGIN);
    let edges = [(); 2].map(|()| cluster.edge(&["127.0.0.1"], PATIENT, EDGE));
    let _encoder = encoder(&origin, "live/a").await;
    let mut text = until_live(&edges[0]).await;
    let mut known = HashSet::new();
    let end = Instant::now() + Duration::from_secs(60);
    for turn in (0..).take_while(|_| Instant::now() < end) {
        let [one, other] = [turn, turn + 1].map(|turn| edges[turn % 2].http());
        let playlist = read(&text);
        // What comes next is asked for first, as players do.
        let hint = playlist.hint.expect("a hint").to_owned();
        let waits = tokio::spawn(async move { get(other, &path(&hint)).await });
        let (status, newer) = get(one, &next(&text)).await;
        assert_eq!(status, 200, "turn {turn}: {newer:?}");
        let newest = playlist.entries.iter().rev();
        let whole = newest.filter(|entry| entry.kind != EntryKind::Part).take(2);
        let parts = playlist.of(EntryKind::Part).skip(playlist.of(EntryKind::Part).count() - 1);
        for entry in whole.chain(parts).filter(|entry| known.insert(entry.uri.to_owned())) {
            let (status, data) = get(other, &path(entry.uri)).await;
            assert_eq!(status, 200, "turn {turn}: {}: {data:?}", entry.uri);
        }
        let (status, data) = waits.await.expect("it is answered");
        assert_eq!(status, 200, "turn {turn}: what comes next: {data:?}");
        text = String::from_utf8(newer.to_vec()).expect("text");
    }
}

/// Asks as a player does, and again when there is nothing, until the playlist has a segment with this number. Returns
/// the newest one.
async fn until_segment(edge: &Weir, mut text: String, number: u64) -> String {
    let reached = async {
        while read(&text).progress.sequence <= number {
            let (status, body) = get(edge.http(), &next(&text)).await;
            let (status, body) = match status {
                200 => (status, body),
                // What it has is no beginning of what there is now.
                _ => get(edge.http(), "live/a.m3u8").await,
            };
            if status == 200 {
                text = String::from_utf8(body.to_vec()).expect("text");
                assert!(!text.contains("#EXT-X-ENDLIST"), "it goes on: {text}");
            }
        }
        text
    };
    tokio::time::timeout(2 * SOON, reached).await.expect("the playlist goes on")
}

#[tokio::test(flavor = "multi_thread")]
async fn players_at_an_edge_go_on_when_the_origin_is_killed_and_started_again() {
    let cluster = cluster();
    let mut origin = cluster.origin(1, ORIGIN);
    let edge = cluster.edge(&["127.0.0.1"], "", EDGE);
    let first = encoder(&origin, "live/a").await;
    let text = until_live(&edge).await;
    let text = until_segment(&edge, text.clone(), read(&text).progress.sequence).await;
    let sequence = read(&text).progress.sequence;
    let player = until_segment(&edge, text, sequence + 2);
    let restart = async {
        origin.kill();
        drop(first);
        origin.restart();
        encoder(&origin, "live/a").await
    };
    let (text, _encoder) = tokio::join!(player, restart);
    let newest = read(&text).of(EntryKind::Segment).last().expect("a segment").uri.to_owned();
    let there = get(origin.http(), &path(&newest)).await;
    assert_eq!((there.0, there.clone()), (200, get(edge.http(), &path(&newest)).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn players_at_an_edge_go_on_when_their_stream_moves_to_another_origin() {
    let cluster = cluster();
    let mut origins = [1, 2].map(|number| cluster.origin(number, ORIGIN));
    let edge = cluster.edge(&["127.0.0.1", "127.0.0.2"], "", EDGE);
    let source = Numbered::default();
    // The edge takes it to the other origin when its own has died.
    let _encoder = Encoder::start(&edge.rtmp_url("live/a"), source, PICTURE).await;
    let text = until_live(&edge).await;
    let sequence = read(&text).progress.sequence;
    let player = until_segment(&edge, text, sequence + 3);
    let (text, ()) = tokio::join!(player, async {
        for origin in &mut origins {
            if live_streams(origin).await.contains(&"/live/a".to_owned()) {
                origin.kill();
                return;
            }
        }
        panic!("one of them has it");
    });
    assert!(read(&text).can_block_reload);
}

/// Where the stream is not of low latency, edges look once a second, as ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_whole_segments_is_not_waited_for() {
    let cluster = cluster();
    let origin = cluster.origin(1, "hls: { segment: 1s }\nplay: { wait: 30s }\n");
    let tap = Tap::start(origin.http()).await;
    let origins = [Cluster::ip(1)].map(|ip| cluster.origin_at(ip));
    let edge = cluster.edge_to(&origins, tap.address.port(), PATIENT, EDGE).start();
    let _encoder = encoder(&origin, "live/a").await;
    eventually("a playlist", SOON, async || {
        let (status, _) = get(edge.http(), "live/a.m3u8?_HLS_msn=1&_HLS_part=0").await;
        (status == 200).then_some(())
    })
    .await;
    let asked = tap.counts();
    assert!(asked.keys().all(|target| !target.contains("_HLS_")), "{asked:?}");
}
