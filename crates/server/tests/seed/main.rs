//! The set-up that Weir replaces, with the configuration that ships for it: an origin that writes HLS files, nginx that
//! serves them, and an edge that everybody publishes to and plays from.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tempfile::TempDir;
use weir_testkit::{
    Weir,
    cluster::Ports,
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls::Playlist,
    http,
    packets::{Extent, Form, Kind, Media, Recording, continuation, read},
    web::{Places, Request, Web},
};

/// nginx beside the origin.
const NGINX: &str = include_str!("../../../../deploy/kubernetes/base/origin/nginx.conf");

/// What the manifests give the origin and its edges.
const ORIGIN: &str = include_str!("../../../../deploy/kubernetes/base/origin/weir.yaml");
const EDGE: &str = include_str!("../../../../deploy/kubernetes/base/edge/weir.yaml");

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// Where that configuration says that things are.
const PORT: &str = "8081";
const ROOT: &str = "/data/hls";
const WEIR: &str = "127.0.0.1:8080";

const STREAM: &str = "live/livestream";
const PLAYLIST: &str = "live/livestream.m3u8";

const FIXTURE: Fixture = Fixture::AvcBFramesAac;

/// For the slowest machine; `publish.linger` is in it.
const TIMEOUT: Duration = Duration::from_secs(90);

/// How long a player plays while its origin dies.
const PLAYED: Duration = Duration::from_secs(60);

/// How long the origin is away: as long as Kubernetes takes to start a killed container again.
const AWAY: Duration = Duration::from_secs(2);

/// Pictures of a second of the fixture.
const RATE: u64 = 25;

/// Between two rounds in which everything is asked for that is listed.
const ROUND: Duration = Duration::from_millis(50);

/// The origin with nginx beside it, and an edge. All have the files of the manifests; the environment says what is
/// different on one machine: folders, ports, and the origin's name.
struct Seed {
    origin: Weir,
    nginx: Web,
    edge: Weir,
    files: TempDir,
    _ports: Ports,
}

impl Seed {
    fn start() -> Self {
        let files = tempfile::tempdir().expect("a temporary folder can be made");
        let ports = Ports::free();
        let ip = Ipv4Addr::LOCALHOST;
        let origin = Weir::builder(BINARY)
            .config(ORIGIN)
            .at(ip, &ports)
            .env("WEIR_API__LISTEN", format!("{ip}:{}", ports.api))
            .env("WEIR_HLS__DIR", files.path())
            .start();
        let places =
            Places { listen: PORT, root: (ROOT, files.path()), upstream: (WEIR, origin.http()) };
        let nginx = Web::start(NGINX, places);
        let edge = Weir::builder(BINARY)
            .config(EDGE)
            .env("WEIR_API__LISTEN", format!("{ip}:0"))
            .env("WEIR_EDGE__ORIGINS", format!("[\"{}\"]", origin.rtmp()))
            .env("WEIR_EDGE__HTTP_PORT", origin.http().port().to_string())
            .start();
        Self { origin, nginx, edge, files, _ports: ports }
    }

    /// Waits until the playlist is there as a file; whether it is that of a stream that has ended.
    async fn until_playlist(&self, what: &str, is_good: impl Fn(&Playlist) -> bool) {
        let file = self.files.path().join(PLAYLIST);
        eventually(what, TIMEOUT, async || {
            let text = fs::read_to_string(&file).ok()?;
            is_good(&Playlist::parse(&text)).then_some(())
        })
        .await;
    }
}

/// Publish to the edge; play RTMP and HTTP-FLV from the edge and HLS from nginx.
#[tokio::test(flavor = "multi_thread")]
async fn every_url_plays_what_was_published() {
    let seed = Seed::start();
    let urls = [seed.edge.rtmp_url(STREAM), seed.edge.http_url(&format!("{STREAM}.flv"))];
    let players = urls.map(|url| (Recording::start(Ffmpeg::System, &url, Form::Carried), url));
    let mut encoder = Ffmpeg::System.publish(&FIXTURE.file(), &seed.edge.rtmp_url(STREAM));
    seed.until_playlist("the end of the playlist", |playlist| playlist.ended).await;
    let url = seed.nginx.url(PLAYLIST);
    let compared = tokio::task::spawn_blocking(move || {
        encoder.wait_success(TIMEOUT);
        let source =
            |form| read(Ffmpeg::System, &FIXTURE.file().display().to_string(), form, TIMEOUT);
        let carried = source(Form::Carried);
        for (player, url) in players {
            let played = player.finish(TIMEOUT);
            let result = continuation(&carried, &played, Extent::ToEnd, Duration::ZERO);
            result.unwrap_or_else(|difference| panic!("{url}: {difference}"));
        }
        let form = Form::Elementary(FIXTURE);
        let played = read(Ffmpeg::System, &url, form, TIMEOUT);
        // Sound in MPEG-TS has the exact times of its sampling rate when FFmpeg reads it.
        let result = continuation(&source(form), &played, Extent::ToEnd, Duration::from_millis(1));
        result.unwrap_or_else(|difference| panic!("{url}: {difference}"));
        assert_eq!(played.packets(Kind::Video).len() as u64, 8 * RATE, "all pictures over HLS");
    });
    compared.await.expect("what was published is played");
    let requests = seed.nginx.requests();
    assert!(requests.iter().all(is_served), "{requests:#?}");
}

/// The encoder publishes through the edge and goes on; nobody who loads HLS from nginx sees a file that is not there or
/// not whole.
#[tokio::test(flavor = "multi_thread")]
async fn hls_from_nginx_outlives_its_origin() {
    let mut seed = Seed::start();
    let mut encoder = Ffmpeg::System.publish_with(
        &["-stream_loop", "-1"],
        &FIXTURE.file(),
        &seed.edge.rtmp_url(STREAM),
    );
    seed.until_playlist("a playlist", |_| true).await;

    let stop = Arc::new(AtomicBool::new(false));
    let (address, folder) = (seed.nginx.address(), seed.files.path().join("live"));
    let watcher = tokio::spawn(watch(address, folder, Arc::clone(&stop)));
    let started = Instant::now();
    let player =
        Recording::start(Ffmpeg::System, &seed.nginx.url(PLAYLIST), Form::Elementary(FIXTURE));
    let player = until_played(player, PLAYED / 3).await;
    seed.origin.kill();
    tokio::time::sleep(AWAY).await;
    seed.origin.restart();
    let player = until_played(player, PLAYED).await;
    let took = started.elapsed();
    let played =
        tokio::task::spawn_blocking(move || player.stop()).await.expect("the player plays");
    stop.store(true, Ordering::Relaxed);
    let seen = watcher.await.expect("every playlist and every segment is whole");

    // Fails if it has ended.
    encoder.signal("INT");
    encoder.wait(TIMEOUT);
    check_run(&played, took);
    check_log(&seed.nginx, &seen);
}

/// Waits until as many pictures have come as `length` has.
async fn until_played(player: Recording, length: Duration) -> Recording {
    // The sound's packets come with them; there are less than two for each picture.
    let packets =
        usize::try_from(length.as_secs() * (RATE + 44_100 / 1024)).expect("a short stream");
    let waited = tokio::task::spawn_blocking(move || {
        assert!(player.wait_packets(packets, length + TIMEOUT), "{length:?} were not played");
        player
    });
    waited.await.expect("the player goes on")
}

/// What was served of the stream.
#[derive(Default)]
struct Seen {
    rounds: usize,
    /// Every segment that was ever listed, with its bytes.
    segments: BTreeMap<String, Bytes>,
    /// The size of each as it was on disk at last.
    sizes: BTreeMap<String, u64>,
    /// Segments that were the first after an interruption.
    discontinuities: Vec<String>,
}

/// Asks nginx for the playlist and for everything that it lists, again and again, as very many players do.
async fn watch(
    address: std::net::SocketAddr,
    folder: impl AsRef<Path>,
    stop: Arc<AtomicBool>,
) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        let mut response = http::get(address, PLAYLIST).await;
        let text = response.text().await;
        assert_eq!(response.status, 200, "{PLAYLIST}: {text}");
        let playlist = Playlist::parse(&text);
        assert!(!playlist.ended, "the stream goes on, so the playlist must not end:\n{text}");
        for segment in playlist.segments {
            let mut response = http::get(address, &format!("live/{}", segment.uri)).await;
            let body = response.bytes().await;
            assert_eq!(response.status, 200, "{} is listed in\n{text}", segment.uri);
            assert!(is_whole(&body), "{} has {} bytes", segment.uri, body.len());
            if let Some(before) = seen.segments.get(&segment.uri) {
                assert_eq!(*before, body, "{} has changed", segment.uri);
            } else if segment.discontinuity {
                seen.discontinuities.push(segment.uri.clone());
            }
            if let Ok(file) = fs::metadata(folder.as_ref().join(&segment.uri)) {
                seen.sizes.insert(segment.uri.clone(), file.len());
            }
            seen.segments.insert(segment.uri, body);
        }
        seen.rounds += 1;
        tokio::time::sleep(ROUND).await;
    }
    seen
}

/// Whether a segment of fragmented MP4 ends with its last box.
fn is_whole(segment: &[u8]) -> bool {
    let mut rest = segment;
    while let Some((length, _)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        match rest.get(length..) {
            Some(next) if length >= 8 => rest = next,
            _ => return false,
        }
    }
    rest.is_empty() && !segment.is_empty()
}

/// Requires that the player got every picture that was published, one after the other, but for a hole where the origin
/// died.
fn check_run(played: &Media, took: Duration) {
    let file = FIXTURE.file().display().to_string();
    let source = read(Ffmpeg::System, &file, Form::Elementary(FIXTURE), TIMEOUT);
    let places: BTreeMap<_, _> = source
        .packets(Kind::Video)
        .iter()
        .enumerate()
        .map(|(at, packet)| (&packet.hash, at))
        .collect();
    let count = source.packets(Kind::Video).len();
    assert_eq!(places.len(), count, "the pictures of the fixture differ from each other");
    let pictures = played.packets(Kind::Video);
    let place = |at: usize| *places.get(&pictures[at].hash).expect("what is played was published");
    let holes: Vec<_> =
        (1..pictures.len()).filter(|&at| place(at) != (place(at - 1) + 1) % count).collect();
    // By the place in the fixture, which begins anew every eight seconds.
    let lost = |&at: &usize| (place(at) + count - place(at - 1) - 1) % count;
    println!(
        "{} pictures played in {took:.1?}; holes, in pictures of every {count}: {:?}",
        pictures.len(),
        holes.iter().map(lost).collect::<Vec<_>>()
    );
    assert!(pictures.len() as u64 >= (PLAYED.as_secs() - 1) * RATE, "{} pictures", pictures.len());
    assert!(holes.len() <= 1, "pictures are missing before {holes:?}");
    for at in &holes {
        assert!(pictures[*at].key, "it goes on with a key frame");
    }
}

/// Whether nginx had the file. FFmpeg asks for everything from the first byte on, which makes 206 of 200.
fn is_served(request: &Request) -> bool {
    matches!(request.status, 200 | 206)
}

/// Requires that nginx found every file and sent all of it.
fn check_log(nginx: &Web, seen: &Seen) {
    let requests = nginx.requests();
    let is_player = |agent: &str| agent.starts_with("Lavf");
    let players = requests.iter().filter(|request| is_player(&request.agent)).count();
    println!(
        "nginx answered {} requests, {players} of them FFmpeg's; {} rounds; {} segments, discontinuities at {:?}",
        requests.len(),
        seen.rounds,
        seen.segments.len(),
        seen.discontinuities
    );
    let other: Vec<_> = requests.iter().filter(|request| !is_served(request)).collect();
    assert!(other.is_empty(), "not found, or worse: {other:#?}");
    let last = requests.iter().rposition(|request| is_player(&request.agent));
    let mut checked = 0;
    for (at, request) in requests.iter().enumerate() {
        // The player may have been stopped in the midst of its last one.
        if Some(at) == last && !request.is_complete {
            continue;
        }
        assert!(request.is_complete, "not all was sent: {request:?}");
        let is_segment = |name: &&str| name.ends_with(".m4s");
        let Some(name) = request.path.strip_prefix("/live/").filter(is_segment) else {
            let is_init = request.path.starts_with("/live/") && request.path.ends_with(".mp4");
            assert!(is_init || request.path == format!("/{PLAYLIST}"), "{request:?}");
            continue;
        };
        assert_eq!(
            seen.sizes.get(name),
            Some(&request.bytes),
            "{request:?} and the file's final size"
        );
        checked += 1;
    }
    assert!(checked > 500 && players > 40, "{checked} segments, {players} requests of the player");
    assert!(
        seen.discontinuities.len() <= 2,
        "the start and the restart: {:?}",
        seen.discontinuities
    );
}
