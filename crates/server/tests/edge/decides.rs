//! Origins that decide who may watch: each viewer of an edge is judged by what it shows itself, and by nothing that
//! another one has shown.

use std::{
    fs,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};
use weir_testkit::{
    Weir,
    cluster::Cluster,
    crowd::{Crowd, Protocol},
    eventually, http,
    nginx::Nginx,
    peer::{Numbered, Publisher, Viewer},
    relay::Relay,
};

use crate::{NO_HLS, SOON, cluster, encoder, until_live};

/// What an origin lets viewers in with.
const SECRET: &str = "s3cretOfTheViewers";

/// What anything takes that need not wait for somebody else, on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(4);

/// An origin that wants to see a secret from viewers.
fn origin(cluster: &Cluster, more: &str) -> Weir {
    cluster.origin(1, &format!("auth: {{ play: [secret: {{ values: [{SECRET}] }}] }}\n{more}"))
}

/// An edge that checks nothing itself.
fn edge(cluster: &Cluster, keys: &str) -> Weir {
    cluster.edge(&["127.0.0.1"], keys, "play: { wait: 3s }\n")
}

fn right(stream: &str) -> String {
    format!("{stream}?secret={SECRET}")
}

/// What a viewer of each protocol is told.
async fn answers(edge: &Weir, stream: &str, params: &str) -> [String; 3] {
    let rtmp = match Viewer::try_rtmp(&edge.rtmp_url(&format!("{stream}{params}"))).await {
        Ok(_) => "200".to_owned(),
        Err(refused) => refused.code,
    };
    let flv = http::get(edge.http(), &format!("{stream}.flv{params}")).await.status;
    let hls = http::get(edge.http(), &format!("{stream}.m3u8{params}")).await.status;
    [rtmp, flv.to_string(), hls.to_string()]
}

/// Nobody who shows nothing, or the wrong thing, is let in.
async fn assert_refused(edge: &Weir, stream: &str) {
    for params in ["", "?secret=wrong", "?x=1", "?secret=", "?Secret=s3cretOfTheViewers"] {
        let refused = ["NetStream.Play.Failed", "403", "403"];
        assert_eq!(answers(edge, stream, params).await, refused, "{params:?} at {stream}");
    }
}

async fn until_playlist(server: &Weir, path: &str) {
    eventually(&format!("{path} of {}", server.http()), SOON, async || {
        (http::get(server.http(), path).await.status == 200).then_some(())
    })
    .await;
}

/// What the stream shows to a viewer who may, whatever others ask for at the same time, over and over.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_locks_nobody_out_of_a_cold_stream() {
    for keys in ["protocol: rtmp", "protocol: flv"] {
        let cluster = cluster();
        let origin = origin(&cluster, "hls: { segment: 1s }\n");
        let edge = edge(&cluster, keys);
        let encoder = encoder(&origin, "live/a").await;
        until_playlist(&origin, &format!("live/a.m3u8?secret={SECRET}")).await;

        let mut hostile = JoinSet::new();
        for number in 0..4 {
            let (url, address) = (edge.rtmp_url("live/a"), edge.http());
            hostile.spawn(async move {
                for attempt in 0.. {
                    let params = format!("?secret={number}x{attempt}");
                    let paths = [format!("live/a.flv{params}"), format!("live/a.m3u8{params}")];
                    assert!(Viewer::try_rtmp(&format!("{url}{params}")).await.is_err());
                    for path in paths {
                        assert_eq!(http::get(address, &path).await.status, 403, "{path}");
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
        // The first of them have been refused.
        let refused = || edge.log().all().iter().any(|line| line.contains("play refused"));
        eventually("somebody is refused", SOON, async || refused().then_some(())).await;
        let begin = Instant::now();
        let mut crowd = Crowd::new();
        for number in 0..10 {
            crowd.viewer(&edge, &right("live/a"), Protocol::ALL[number % 2], Duration::ZERO);
        }
        let path = format!("live/a.m3u8?secret={SECRET}");
        let hls = http::get(edge.http(), &path).await;
        assert_eq!(hls.status, 200, "HLS with the right secret, {keys}");
        crowd.until_picture(0, AT_ONCE).await;
        eprintln!("{keys}: 10 of 10 had a picture after {:?}", begin.elapsed());
        crowd.until_picture(encoder.next_number() + 25, SOON).await;
        crowd.assert_undisturbed();
        assert!(hostile.try_join_next().is_none(), "the hostile ones go on");
    }
}

/// One who may brings the stream to the edge; that lets nobody else in.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_flows_is_not_for_everybody() {
    for keys in ["protocol: rtmp", "protocol: flv"] {
        let cluster = cluster();
        let origin = origin(&cluster, "hls: { segment: 1s }\n");
        let edge = edge(&cluster, keys);
        // One comes from the origin, the other one through the edge.
        let _encoders = [encoder(&origin, "live/a").await, encoder(&edge, "live/b").await];
        for stream in ["live/a", "live/b"] {
            until_playlist(&origin, &format!("{stream}.m3u8?secret={SECRET}")).await;
            let mut viewer = Viewer::rtmp(&edge.rtmp_url(&right(stream))).await;
            viewer.until_picture(0).await;
            until_playlist(&edge, &format!("{stream}.m3u8?secret={SECRET}")).await;
            assert_refused(&edge, stream).await;
            let path = |who| format!("{stream}.m3u8?secret={SECRET}&who={who}");
            assert_eq!(http::get(edge.http(), &path("first")).await.status, 200);
            let text = http::get(edge.http(), &path("second")).await.text().await;
            assert!(text.contains(".ts"), "{text}");
            for others in [SECRET, "first"] {
                assert!(!text.contains(others), "{others} is another viewer's: {text}");
            }
            let all = ["200", "200", "200"];
            assert_eq!(answers(&edge, stream, &format!("?secret={SECRET}")).await, all);
        }
    }
}

/// An edge of an edge asks through it.
#[tokio::test(flavor = "multi_thread")]
async fn the_origin_behind_an_edge_decides() {
    let cluster = cluster();
    let origin = origin(&cluster, NO_HLS);
    let near = edge(&cluster, "");
    let (rtmp, http) = (near.rtmp().to_string(), near.http().port());
    let far = cluster.edge_to(&[rtmp], http, "", "play: { wait: 3s }\n").start();
    let _encoder = encoder(&origin, "live/a").await;
    assert!(Viewer::try_rtmp(&far.rtmp_url("live/a?secret=wrong")).await.is_err());
    let mut viewer = Viewer::rtmp(&far.rtmp_url(&right("live/a"))).await;
    viewer.until_picture(0).await;
    for edge in [&near, &far] {
        for params in ["", "?secret=wrong"] {
            let refused = Viewer::try_rtmp(&edge.rtmp_url(&format!("live/a{params}"))).await;
            let refused = refused.expect_err("the origin does not let it");
            assert!(refused.description.contains("denied: "), "{refused:?}");
        }
        Viewer::rtmp(&edge.rtmp_url(&right("live/a"))).await.until_picture(0).await;
    }
}

/// So many wrong ones are answered at once, and then one a second.
const WRONG_AT_ONCE: usize = 20;

/// Who guesses at an edge waits there, though it is the origin that says no; who is right does not.
#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_what_the_origin_wants_waits_at_the_edge() {
    for protocol in ["publish", "rtmp", "flv", "m3u8"] {
        let cluster = cluster();
        let publish = "auth: { publish: [secret: { values: [encoder] }], \
                       play: [secret: { values: [s3cretOfTheViewers] }] }\n";
        let origin = cluster.origin(1, publish);
        let edge = edge(&cluster, "");
        let _encoder = encoder(&origin, "live/a?secret=encoder").await;
        let guess = async || {
            let url = edge.rtmp_url("live/a?secret=wrong");
            let code = match protocol {
                "publish" => {
                    Publisher::try_start(&url, Numbered::default())
                        .await
                        .expect_err("it is wrong")
                        .code
                }
                "rtmp" => Viewer::try_rtmp(&url).await.expect_err("it is wrong").code,
                end => {
                    let path = format!("live/a.{end}?secret=wrong");
                    http::get(edge.http(), &path).await.status.to_string()
                }
            };
            let no = match protocol {
                "publish" => "NetStream.Publish.Denied",
                "rtmp" => "NetStream.Play.Failed",
                _ => "403",
            };
            assert_eq!(code, no, "{protocol}");
        };
        for _ in 0..WRONG_AT_ONCE {
            guess().await;
        }
        let began = Instant::now();
        let mut viewer = Viewer::rtmp(&edge.rtmp_url(&right("live/a"))).await;
        viewer.until_picture(0).await;
        assert!(began.elapsed() < AT_ONCE, "{protocol}: who is right took {:?}", began.elapsed());
        let began = Instant::now();
        for _ in 0..3 {
            guess().await;
        }
        let took = began.elapsed();
        assert!(took > Duration::from_secs(1), "{protocol}: three more wrong ones took {took:?}");
    }
}

/// Segments with names that can be guessed are left by earlier releases, and by other servers: each viewer is asked
/// about, whatever another one has brought here.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_can_be_guessed_are_for_those_whom_the_origin_lets_in() {
    let cluster = cluster();
    let origin = origin(&cluster, "");
    let folder = origin.dir().join("data/hls/live");
    fs::create_dir_all(&folder).expect("a folder");
    for number in 1..=3 {
        fs::write(folder.join(format!("cam-{number}.ts")), "a segment").expect("a file");
    }
    let playlist = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:1\n\
                    #EXTINF:2.000,\ncam-1.ts\n#EXTINF:2.000,\ncam-2.ts\n#EXTINF:2.000,\ncam-3.ts\n";
    fs::write(folder.join("cam.m3u8"), playlist).expect("a file");
    let edge = edge(&cluster, "");
    let mut given = http::get(edge.http(), &format!("live/cam.m3u8?secret={SECRET}")).await;
    let text = given.text().await;
    assert_eq!(
        (given.status, text.matches(&format!("?secret={SECRET}\n")).count()),
        (200, 3),
        "{text}"
    );
    for number in 1..=3 {
        let path = format!("live/cam-{number}.ts");
        for params in ["", "?secret=wrong"] {
            let status = http::get(edge.http(), &format!("{path}{params}")).await.status;
            assert_eq!(status, 403, "{path}{params}");
        }
        assert_eq!(http::get(edge.http(), &format!("{path}?secret={SECRET}")).await.status, 200);
    }
    // What another edge gets goes to many viewers.
    let head = format!(
        "GET /live/cam.m3u8?secret={SECRET} HTTP/1.1\r\nHost: h\r\nWeir-Hops: leaf\r\n\
         Connection: close\r\n\r\n"
    );
    let mut given = http::request(edge.http(), head.as_bytes()).await;
    let text = given.text().await;
    assert!(given.status == 200 && !text.contains(SECRET), "{text}");
}

/// While the origin is away, who was let in may come back, who was not is told to come later, and where an origin lets
/// everybody in, everybody still may.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_away_locks_nobody_out_who_was_let_in() {
    let cluster = cluster();
    let config = format!(
        "auth: {{ play: [secret: {{ values: [{SECRET}] }}] }}\n{NO_HLS}\
         vhosts: {{ open.org: {{ auth: {{ play: [] }} }} }}\n"
    );
    let mut origin = cluster.origin(1, &config);
    let vhosts = "play: { wait: 1s }\nvhosts: { open.org: {} }\n";
    let edge = cluster.edge(&["127.0.0.1"], "give_up: 30s", vhosts);
    let _encoders = [encoder(&edge, "live/a").await, encoder(&edge, "live/b?vhost=open.org").await];
    let known = edge.rtmp_url(&right("live/a"));
    Viewer::rtmp(&known).await.until_picture(0).await;
    Viewer::rtmp(&edge.rtmp_url("live/b?vhost=open.org")).await.until_picture(0).await;
    origin.kill();
    Viewer::rtmp(&known).await.until_picture(1).await;
    Viewer::rtmp(&edge.rtmp_url("live/b?vhost=open.org&new=1")).await.until_picture(1).await;
    let answer = http::get(edge.http(), "live/a.flv?secret=new").await;
    assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true));
    origin.restart();
    until_live(&origin, "live/a").await;
    assert_eq!(http::get(edge.http(), "live/a.flv?secret=new").await.status, 403);
    Viewer::rtmp(&known).await.until_picture(2).await;
}

/// A token that has expired does not end the stream for those whose own are good.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_goes_on_with_the_token_of_another_viewer() {
    const KEY: &str = "k3y";
    for keys in ["protocol: rtmp", "protocol: flv"] {
        let cluster = cluster();
        let config = format!("auth: {{ play: [token: {{ secrets: [{KEY}] }}] }}\n{NO_HLS}");
        let origin = cluster.origin(1, &config);
        let relays = [Relay::start(origin.rtmp()).await, Relay::start(origin.http()).await];
        let address = [relays[0].address().to_string()];
        let keys = format!("give_up: 5s, {keys}");
        let edge = cluster.edge_to(&address, relays[1].address().port(), &keys, "").start();
        let encoder = encoder(&origin, "live/a").await;
        let token = |seconds: u64| {
            let words = ["token", "--secret", KEY, "--action", "play", "--stream", "/live/a"];
            let output = std::process::Command::new(crate::BINARY)
                .args(words)
                .args(["--for", &format!("{seconds}s")])
                .output()
                .expect("weir can be run");
            String::from_utf8(output.stdout).expect("text").trim().to_owned()
        };
        let short = format!("live/a?{}", token(4));
        let began = Instant::now();
        let mut crowd = Crowd::new();
        crowd.viewer(&edge, &short, Protocol::Rtmp, Duration::ZERO);
        crowd.until_picture(0, SOON).await;
        crowd.viewer(&edge, &format!("live/a?{}", token(3600)), Protocol::HttpFlv, Duration::ZERO);
        crowd.until_picture(0, SOON).await;
        // Until the first one has expired.
        tokio::time::sleep_until((began + Duration::from_secs(6)).into()).await;
        relays.iter().for_each(Relay::reset);
        crowd.until_picture(encoder.next_number() + 50, SOON).await;
        assert!(crowd.seen().iter().all(|seen| seen.end.is_none()), "{:?}", crowd.seen());
    }
}

/// A service that nginx-rtmp asks whether somebody may play: it answers 200 where the arguments have `words`, else 403.
async fn callback(words: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 8192];
                let mut length = 0;
                while let Ok(read) = socket.read(&mut request[length..]).await {
                    length += read;
                    let text = String::from_utf8_lossy(&request[..length]).into_owned();
                    let status = if text.contains(words) { "200 OK" } else { "403 Forbidden" };
                    if read == 0 || text.contains("call=") {
                        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                        return socket.write_all(answer.as_bytes()).await;
                    }
                }
                Ok(())
            });
        }
    });
    address
}

/// Other servers have no questions: they are asked to play, and no more than that.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_origin_decides_as_well() {
    let service = callback(SECRET).await;
    let nginx = Nginx::start(&format!("on_play http://{service}/;"));
    let cluster = cluster();
    let edge = cluster
        .edge_to(&[nginx.rtmp().to_string()], 80, "", &format!("{NO_HLS}play: {{ wait: 5s }}\n"))
        .start();
    let source = weir_testkit::peer::Numbered::default();
    let _encoder =
        weir_testkit::peer::Encoder::start(&nginx.rtmp_url("a"), source, crate::PICTURE).await;
    assert!(Viewer::try_rtmp(&edge.rtmp_url("live/a?secret=wrong")).await.is_err());
    let mut viewer = Viewer::rtmp(&edge.rtmp_url(&right("live/a"))).await;
    viewer.until_picture(0).await;
    for params in ["", "?secret=wrong"] {
        let refused = Viewer::try_rtmp(&edge.rtmp_url(&format!("live/a{params}"))).await;
        assert!(refused.is_err(), "{params:?} plays what flows");
    }
    Viewer::rtmp(&edge.rtmp_url(&right("live/a"))).await.until_picture(0).await;
}

/// What a cache or a player adds to an URL is no new question where the origin lets everybody in.
#[tokio::test(flavor = "multi_thread")]
async fn parameters_cost_an_origin_nothing_that_lets_everybody_in() {
    let cluster = cluster();
    let origin = cluster.origin(1, NO_HLS);
    let relay = Relay::start(origin.rtmp()).await;
    let edge = cluster.edge_to(&[relay.address().to_string()], 80, "", NO_HLS).start();
    let encoder = encoder(&origin, "live/a").await;
    let mut crowd = Crowd::new();
    for number in 0..200 {
        let stream = format!("live/a?n={number}");
        crowd.viewer(&edge, &stream, Protocol::ALL[number % 2], Duration::ZERO);
    }
    crowd.until_picture(encoder.next_number(), SOON).await;
    assert_eq!(origin.sessions("play", "/live/a").began, 1);
    assert!(relay.connections() <= 3, "{} connections", relay.connections());
}

/// Invented names do not hold up a stream that is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_names_delays_no_stream_that_is_there() {
    const NAMES: usize = 3000;
    let cluster = cluster();
    let origin = cluster.origin(1, NO_HLS);
    let relay = Relay::start(origin.rtmp()).await;
    let edge = cluster
        .edge_to(
            &[relay.address().to_string()],
            80,
            "",
            &format!("{NO_HLS}play: {{ wait: 20s }}\n"),
        )
        .start();
    let encoder = encoder(&origin, "live/a").await;
    let mut flood = Crowd::new();
    for number in 0..NAMES {
        flood.viewer(&edge, &format!("live/n{number}"), Protocol::ALL[number % 2], Duration::ZERO);
    }
    // They are asked for.
    eventually("the flood", SOON, async || (relay.connections() > 200).then_some(())).await;
    let begin = Instant::now();
    let mut crowd = Crowd::new();
    crowd.viewer(&edge, "live/a", Protocol::Rtmp, Duration::ZERO);
    crowd.until_picture(0, SOON).await;
    let took = begin.elapsed();
    let connections = relay.connections();
    eprintln!("a cold stream beside {NAMES} unknown names: {took:?}, {connections} connections");
    assert!(took <= AT_ONCE, "{took:?}");
    assert!(connections <= 600, "{connections} connections");
    encoder.assert_connected();
}
