//! HLS in hls.js, shaka, video.js, and in what Chromium plays by itself.

use std::time::Duration;

use serde_json::{Value, json};
use weir_testkit::{
    Weir,
    camera::Camera,
    cluster::Cluster,
    fixture::{Fixture, RUNGS},
    players::{PlayerPage, Request, WebPlayer, now},
    pulse::Pulse,
};

use crate::{COLOURS_MIN, TIMEOUT};

/// Different pictures that are seen when a player has begun to play: about two seconds.
const PICTURES: usize = 20;

/// Low latency, as the guide recommends it.
const LOW_LATENCY: &str = "hls: { segment: 1s, part: 200ms }\n";

/// How far behind the encoder hls.js may be, at the origin and behind two edges.
const BEHIND: [Duration; 2] = [Duration::from_millis(1500), Duration::from_millis(1800)];

/// How late a machine may be whose players have to be punctual.
const CALM: Duration = Duration::from_millis(50);

/// So much further behind hls.js plays after each stall (`liveSyncOnStallIncrease`).
const STALLED: Duration = Duration::from_secs(1);

/// What hls.js says when it has nothing to show, and goes on by itself.
const STALLED_FOR_NOW: &str = "bufferStalledError: goes on: ";

fn start(config: &str) -> Weir {
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(config).start()
}

/// Plays each URL in each player, one after the other, and requires that the picture moves and has sound. One that has
/// begun with the first segment of a stream waits for the next one if the machine, or one of the `cameras`, is late.
async fn every_player_plays(urls: &[String], cameras: &[Camera]) {
    let mut page: Option<PlayerPage> = None;
    for url in urls {
        for player in WebPlayer::HLS {
            let pulse = Pulse::start();
            let page = match &mut page {
                Some(page) => {
                    page.play(player, url, &json!({})).await;
                    page
                }
                None => page.insert(PlayerPage::open(player, url).await),
            };
            page.wait_pictures(PICTURES, TIMEOUT).await;
            let video = page.page().video().await;
            assert!(video.colours >= COLOURS_MIN, "{player:?} {url}: a blank picture: {video:?}");
            assert!(video.sound > 0, "{player:?} {url}: silent: {video:?}");
            let late = pulse.late().max(page.lag().await);
            let late = cameras.iter().map(Camera::late).fold(late, Duration::max);
            let may_be = |error: &String| late > CALM && error.starts_with(STALLED_FOR_NOW);
            let errors = page.errors().await;
            assert!(errors.iter().all(may_be), "{player:?} {url}: {errors:?}, late by {late:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_player_plays_ts_and_fragmented_mp4_and_variants() {
    let containers = ["ts", "fmp4"];
    let weirs = containers.map(|it| start(&format!("hls: {{ segment: 1s, container: {it} }}\n")));
    let mut cameras = Vec::new();
    for weir in &weirs {
        cameras.push(Camera::start(&weir.rtmp_url("live/a")).await);
    }
    cameras.push(Camera::of(Fixture::Ladder, &weirs[1].rtmp_url("live/ladder"), true).await);
    let mut urls: Vec<_> = weirs.iter().map(|weir| weir.http_url("live/a.m3u8")).collect();
    urls.push(weirs[1].http_url("live/ladder.m3u8"));
    every_player_plays(&urls, &cameras).await;
}

/// What hls.js has shown in a while.
#[derive(Debug)]
struct Played {
    /// How far behind the encoder the pictures were, in order.
    behind: Vec<Duration>,
    /// How often there was nothing to show.
    stalls: usize,
    errors: Vec<String>,
    requests: Vec<Request>,
    /// By how much the machine was late: the encoder, the page, or a thread that does nothing.
    late: Duration,
}

impl Played {
    /// Lets hls.js play for so many pictures, ten of which are looked at in a second.
    async fn watch(page: &PlayerPage, camera: &Camera, pictures: usize) -> Self {
        page.wait_pictures(PICTURES, TIMEOUT).await;
        let (pulse, from) = (Pulse::start(), now());
        let timeout =
            TIMEOUT + Duration::from_millis(200) * pictures.try_into().unwrap_or(u32::MAX);
        page.wait_pictures(PICTURES + pictures, timeout).await;
        let shown = page.shown().await.into_iter().filter(|shown| shown.at >= from);
        let mut behind: Vec<_> = shown.map(|shown| camera.behind(shown)).collect();
        behind.sort();
        let events = page.events().await.into_iter();
        let is_stall =
            |event: &weir_testkit::players::Event| event.what == "waiting" && event.at >= from;
        Self {
            behind,
            stalls: events.filter(is_stall).count(),
            errors: page.errors().await,
            requests: page.requests().await,
            late: pulse.late().max(camera.late()).max(page.lag().await),
        }
    }

    fn percentile(&self, percent: usize) -> Duration {
        self.behind.get((self.behind.len() - 1) * percent / 100).copied().unwrap_or_default()
    }

    fn show(&self) -> String {
        let blocking = self.requests.iter().filter(|it| it.url.contains("_HLS_part=")).count();
        format!(
            "behind the encoder by {:?} to {:?}, half of the time by {:?}; {} stalls; {} of {} \
             requests wait for a part; the machine was late by {:?}; {:?}",
            self.percentile(0),
            self.percentile(100),
            self.percentile(50),
            self.stalls,
            blocking,
            self.requests.len(),
            self.late,
            self.errors,
        )
    }
}

/// What a page does that is to be near the encoder: it plays faster until it is.
fn near() -> Value {
    json!({ "maxLiveSyncPlaybackRate": 1.5 })
}

/// The nodes of a chain: an origin, an edge, and an edge that asks that one.
fn chain() -> ([Weir; 3], Cluster) {
    const PATIENT: &str = "dead_after: 20s";
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let origin = cluster.origin(1, LOW_LATENCY);
    let edge = cluster.edge(&["127.0.0.1"], PATIENT, "");
    let firsts = [edge.rtmp().to_string()];
    let second = cluster.edge_to(&firsts, edge.http().port(), PATIENT, "").start();
    ([origin, edge, second], cluster)
}

async fn play_near(pictures: usize) -> [Played; 2] {
    let (nodes, _cluster) = chain();
    let camera = Camera::start(&nodes[0].rtmp_url("live/a")).await;
    let urls = [&nodes[0], &nodes[2]].map(|weir| weir.http_url("live/a.m3u8"));
    let page = PlayerPage::open_with(WebPlayer::HlsJs, &urls[0], &near()).await;
    let origin = Played::watch(&page, &camera, pictures).await;
    page.play(WebPlayer::HlsJs, &urls[1], &near()).await;
    let edges = Played::watch(&page, &camera, pictures).await;
    [origin, edges]
}

/// The pictures carry their numbers, so how old one is when it is seen is measured from the moment when it was due at
/// the encoder, with everything between: the network, the server, the player's buffer and the decoder.
#[tokio::test(flavor = "multi_thread")]
async fn hls_js_is_near_the_encoder_without_a_stall() {
    for (played, most) in play_near(80).await.iter().zip(BEHIND) {
        let said = played.show();
        let waited = played.requests.iter().filter(|it| {
            it.url.contains("_HLS_msn=") && it.url.contains("_HLS_part=") && it.to > it.from
        });
        assert!(waited.count() >= 20, "no blocking reload: {said}");
        // A request that the player gives up has no status.
        let refused: Vec<_> = played.requests.iter().filter(|it| it.status >= 400).collect();
        assert!(refused.is_empty(), "{refused:?}: {said}");
        assert!(played.stalls == 0 || played.late > CALM, "{said}");
        // After a stall, be it when it has just begun, it plays a second further behind.
        let stalled = played.errors.iter().filter(|error| error.starts_with("bufferStalled"));
        let most =
            most + 2 * played.late + STALLED * stalled.count().try_into().unwrap_or(u32::MAX);
        assert!(played.percentile(50) <= most, "{said}");
    }
}

/// The figures of a minute: `cargo nextest run -p weir-server --test players --run-ignored only --no-capture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "two minutes, on a machine that does nothing else"]
async fn a_minute_near_the_encoder() {
    for (played, most) in play_near(580).await.iter().zip(BEHIND) {
        eprintln!("{}", played.show());
        assert_eq!(played.stalls, 0);
        assert!(played.percentile(100) <= most);
    }
}

/// Joins again and again, and prints what became of the first seconds of each. What hls.js says of itself is printed of
/// those that stall: it may take a segment for loaded whose last part has come while it parsed the first ones, and that
/// is the one stall that is known.
///
/// `cargo nextest run -p weir-server --test players --run-ignored only --no-capture joins`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "three minutes, on a machine that does nothing else"]
async fn joins_near_the_encoder() {
    const JOINS: usize = 30;
    const SEEN: Duration = Duration::from_secs(3);
    let weir = start(LOW_LATENCY);
    let _camera = Camera::start(&weir.rtmp_url("live/a")).await;
    let url = weir.http_url("live/a.m3u8");
    let mut options = near();
    options["debug"] = json!(true);
    let page = PlayerPage::open_with(WebPlayer::HlsJs, &url, &options).await;
    let mut stalled = 0;
    for join in 0..JOINS {
        page.play(WebPlayer::HlsJs, &url, &options).await;
        let pulse = Pulse::start();
        page.wait_pictures(1, TIMEOUT).await;
        let from = now();
        tokio::time::sleep(SEEN).await;
        let events = page.events().await;
        let begun = events.iter().position(|event| event.what == "playing").unwrap_or_default();
        let stalls = events[begun..].iter().filter(|event| event.what == "waiting").count();
        let late = pulse.late().max(page.lag().await);
        eprintln!("join {join}: {stalls} stalls, {:?}, late by {late:?}", page.errors().await);
        if stalls > 0 {
            stalled += 1;
            let log = page.page().eval("return weir.log").await;
            eprintln!("at {}: {events:?}\n{log:#}", from.as_millis());
            eprintln!("{:?}", page.requests().await);
        }
    }
    eprintln!("{stalled} of {JOINS} joins have stalled");
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_js_follows_the_network_down_and_up_a_ladder() {
    let weir = start("hls: { segment: 1s, container: fmp4, window: 15 }\n");
    let file = Fixture::Ladder.file();
    let options = ["-stream_loop", "-1"];
    let _encoder = Fixture::Ladder.ffmpeg().publish_with(&options, &file, &weir.rtmp_url("live/a"));
    // Far enough behind to have something to play from while it notices that the network is slow. What it knows of the
    // slow network is soon of no weight: a segment counts by how long it took, which is next to nothing afterwards.
    let behind = json!({
        "lowLatencyMode": false,
        "liveSyncDurationCount": 8,
        "abrEwmaFastLive": 0.5,
        "abrEwmaSlowLive": 1,
    });
    let url = weir.http_url("live/a.m3u8");
    let page = PlayerPage::open_with(WebPlayer::HlsJs, &url, &behind).await;
    let [(large, lines), (small, _), _] = RUNGS;
    page.wait_size(|size| size == lines, TIMEOUT).await;
    let pulse = Pulse::start();
    page.page().throttle(Some((large + small) / 2)).await;
    page.wait_size(|size| size < lines, TIMEOUT).await;
    page.page().throttle(None).await;
    page.wait_size(|size| size == lines, TIMEOUT).await;
    let late = pulse.late().max(page.lag().await);
    let (events, errors) = (page.events().await, page.errors().await);
    let said = format!("{events:?} {errors:?}, and the machine was late by {late:?}");
    // A segment that comes too slowly is given up for a smaller one: that is an error which goes on.
    assert!(errors.iter().all(|error| error.contains("goes on")), "{said}");
    let begun = events.iter().position(|event| event.what == "playing").expect("it plays");
    let stalls = events[begun..].iter().filter(|event| event.what == "waiting").count();
    assert!(stalls == 0 || late > CALM, "{said}");
}
