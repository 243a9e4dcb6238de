//! Who may publish and who may play, with real encoders and players, on an origin and through an edge.

use std::{fs, process::Command, time::Duration};

use futures_util::future::join_all;
use weir_testkit::{
    Weir,
    cluster::Cluster,
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls::Playlist,
    http,
    peer::{Caller, Encoder, Numbered, PICTURE_MILLIS, Publisher, Refused, Viewer},
    process::Process,
    raw::Raw,
    server::field,
};

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// For the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The pace of a stream in real time.
const PICTURE: Duration = Duration::from_millis(PICTURE_MILLIS as u64);

/// Segments that come soon.
const HLS: &str = "hls: { segment: 1s, window: 20 }\n";

/// Signs publishing and playing; what the log must never have in it.
const KEY: &str = "k3yOfTheSigner";
const SECRET: &str = "s3cretOfTheEncoder";

/// A server that logs all it has to say.
fn start(config: &str) -> Weir {
    Weir::builder(BINARY).config(config).env("WEIR_LOG", "trace").start()
}

fn assert_refused(refused: &Refused, code: &str, words: &str) {
    assert_eq!((&*refused.code, &*refused.description), (code, words));
}

async fn publish_refused(url: &str) -> Refused {
    Publisher::try_start(url, Numbered::default()).await.expect_err("the publisher is refused")
}

async fn play_refused(url: &str) -> Refused {
    Viewer::try_rtmp(url).await.expect_err("the viewer is refused")
}

/// What `weir token` prints for these words.
fn token(words: &str) -> String {
    let output = Command::new(BINARY)
        .args(["token", "--secret", KEY])
        .args(words.split(' '))
        .output()
        .expect("weir can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// FFmpeg publishes a clip over and over.
fn ffmpeg_publishes(url: &str) -> Process {
    Ffmpeg::System.publish_with(&["-stream_loop", "-1"], &Fixture::AvcAac.file(), url)
}

/// FFmpeg plays a second of `url`.
async fn ffmpeg_plays(url: String) {
    let play = move || {
        let mut command = Ffmpeg::System.command();
        command.args(["-i", &url, "-t", "1", "-c", "copy", "-f", "null", "-"]);
        Process::start(&url, &mut command).wait_success(TIMEOUT);
    };
    tokio::task::spawn_blocking(play).await.expect("FFmpeg plays");
}

fn assert_never_logged(weir: &Weir, secret: &str) {
    let found = weir.log().all().into_iter().find(|line| line.contains(secret));
    assert_eq!(found, None, "the log has {secret}");
}

/// The lines of sessions that ended because of a check.
fn denials(weir: &Weir, words: &str) -> usize {
    let lines = weir.log().all();
    let lines = lines.iter().filter_map(|line| serde_json::from_str(line).ok());
    let is_it = |line: &serde_json::Value| {
        field(line, "side") == "policy"
            && field(line, "reason").as_str().is_some_and(|reason| reason.contains(words))
    };
    lines.filter(is_it).count()
}

/// OBS has a server and a stream key, and the secret is a part of either.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_into_the_stream_key() {
    let weir =
        start(&format!("{HLS}auth: {{ publish: [{{ secret: {{ values: [{SECRET}] }} }}] }}\n"));
    let _ffmpeg = ffmpeg_publishes(&weir.rtmp_url(&format!("live/a?secret={SECRET}")));
    Viewer::rtmp(&weir.rtmp_url("live/a")).await.next().await.expect("media, for everybody");
    // In the server's URL, as FMLE has it.
    let url = weir.rtmp_url(&format!("live?secret={SECRET}/b"));
    let ffmpeg = ffmpeg_publishes(&url);
    Viewer::rtmp(&weir.rtmp_url("live/b")).await.next().await.expect("media");
    drop(ffmpeg);

    let wrong = publish_refused(&weir.rtmp_url("live/c?secret=s3creT")).await;
    assert_refused(&wrong, "NetStream.Publish.Denied", "denied: the secret is not valid");
    let none = publish_refused(&weir.rtmp_url("live/c")).await;
    let missing = "denied: the parameter `secret` is missing";
    assert_refused(&none, "NetStream.Publish.Denied", missing);
    let said = tokio::task::spawn_blocking({
        let url = weir.rtmp_url("live/c?secret=s3creT");
        move || {
            let mut ffmpeg = ffmpeg_publishes(&url);
            assert!(!ffmpeg.wait(TIMEOUT).success());
            ffmpeg.stderr().all().concat()
        }
    });
    let said = said.await.expect("FFmpeg ends");
    assert!(said.contains("denied: the secret is not valid"), "{said}");
    for (reason, times) in [
        ("publish of /live/c refused: denied: the secret is not valid", 2),
        ("publish of /live/c refused: denied: the parameter `secret` is missing", 1),
    ] {
        eventually("a line for each", TIMEOUT, async || {
            (denials(&weir, reason) == times).then_some(())
        })
        .await;
    }
    for secret in [SECRET, "s3creT"] {
        assert_never_logged(&weir, secret);
    }
    let shown = http::get(weir.api(), "api/v1/clients").await.text().await;
    assert!(!shown.contains(SECRET), "{shown}");
}

/// Both check; the edge passes on what it was shown.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_go_through_an_edge() {
    let check = format!("{{ token: {{ secrets: [older, {KEY}] }} }}");
    let config = format!("{HLS}auth: {{ publish: [{check}], play: [{check}] }}\n");
    let cluster = Cluster::new(BINARY);
    let origin = cluster.origin(1, &config);
    let edge = cluster.edge(&["127.0.0.1"], "", &config);

    let may_publish = token("--action publish --stream /live/a --for 1h");
    let may_play = token("--action play --stream /live/a --for 1h");
    let expired = token("--action play --stream /live/a --for 0s");
    let other = token("--action play --stream /live/b --for 1h");
    let (gone, wrong) = ("denied: the token has expired", "denied: the token is not valid");

    let direct = publish_refused(&edge.rtmp_url(&format!("live/a?{may_play}"))).await;
    assert_refused(&direct, "NetStream.Publish.Denied", wrong);
    let _ffmpeg = ffmpeg_publishes(&edge.rtmp_url(&format!("live/a?{may_publish}")));
    for weir in [&origin, &edge] {
        for (params, said) in [(&expired, gone), (&other, wrong), (&may_publish, wrong)] {
            let refused = play_refused(&weir.rtmp_url(&format!("live/a?{params}"))).await;
            assert_refused(&refused, "NetStream.Play.Failed", said);
            for file in ["a.flv", "a.m3u8"] {
                let mut answer = http::get(weir.http(), &format!("live/{file}?{params}")).await;
                let text = answer.text().await;
                assert_eq!((answer.status, text.trim()), (403, said), "{file}");
                assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            }
        }
        ffmpeg_plays(weir.rtmp_url(&format!("live/a?{may_play}"))).await;
        ffmpeg_plays(weir.http_url(&format!("live/a.flv?{may_play}"))).await;
        ffmpeg_plays(weir.http_url(&format!("live/a.m3u8?{may_play}"))).await;
        let mut playlist = http::get(weir.http(), &format!("live/a.m3u8?{may_play}")).await;
        let playlist = Playlist::parse(&playlist.text().await);
        let segment = &playlist.segments.first().expect("a segment").uri;
        // Its name has no parameters, and needs none.
        assert_eq!(http::get(weir.http(), &format!("live/{segment}")).await.status, 200);
        for secret in [&may_publish, &may_play, &expired, &other] {
            assert_never_logged(weir, &secret[secret.find("&token=").expect("a token")..]);
        }
    }
}

/// The origin's no reaches encoders and viewers of an edge that checks nothing itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_checks_for_its_edges() {
    let check = format!("{{ secret: {{ values: [{SECRET}] }} }}");
    let cluster = Cluster::new(BINARY);
    let _origin =
        cluster.origin(1, &format!("{HLS}auth: {{ publish: [{check}], play: [{check}] }}\n"));
    let edge = cluster.edge(&["127.0.0.1"], "", "");
    let refused = publish_refused(&edge.rtmp_url("live/a?secret=x")).await;
    assert_refused(&refused, "NetStream.Publish.Denied", "denied: the secret is not valid");
    let url = edge.rtmp_url(&format!("live/a?secret={SECRET}"));
    let _encoder = Encoder::start(&url, Numbered::default(), PICTURE).await;
    Viewer::rtmp(&url).await.until_picture(1).await;
    let refused = play_refused(&edge.rtmp_url("live/b?secret=x")).await;
    assert_eq!(refused.code, "NetStream.Play.Failed");
    assert!(refused.description.contains("denied: the secret is not valid"), "{refused:?}");
}

#[tokio::test]
async fn addresses_of_either_family_may_or_may_not() {
    let config = "rtmp: { listen: ['[::1]:0', '127.0.0.1:0'] }\n\
                  http: { listen: '127.0.0.1:0', trusted_proxies: [127.0.0.1] }\n\
                  auth: { play: [{ cidr: { deny: ['::1', 'fd00::/8'] } }] }\n";
    let weir = start(&format!("{HLS}{config}"));
    let words = "denied: not from this address";
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::default()).await;
    publisher.pictures(60).await;
    let refused = play_refused(&weir.rtmp_url("live/a")).await;
    assert_refused(&refused, "NetStream.Play.Failed", words);
    // Behind a proxy it is the client's address that counts, on any request of a connection and for segments too.
    for (client, is_denied) in [("fd00::1", true), ("fe80::1", false)] {
        for file in ["a.flv", "a.m3u8", "a-0.ts"] {
            let request = format!(
                "GET /live/{file} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {client}\r\nConnection: close\r\n\r\n"
            );
            let mut answer = http::request(weir.http(), request.as_bytes()).await;
            // That segment does not exist: who may have it is told so.
            assert_eq!(answer.status == 403, is_denied, "{file} for {client}: {}", answer.status);
            if is_denied {
                assert_eq!(answer.text().await.trim(), words);
            }
        }
    }
    let v4 = weir.said().all().into_iter().find_map(|line| {
        line.strip_prefix("listening rtmp 127.0.0.1:").map(|port| port.trim().to_owned())
    });
    let url = format!("rtmp://127.0.0.1:{}/live/a", v4.expect("a listener on IPv4"));
    Viewer::rtmp(&url).await.until_picture(1).await;
}

/// Newcomers fall under the rule of the moment; those who are inside stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_for_newcomers() {
    let weir = start(HLS);
    let url = weir.rtmp_url("live/a");
    let encoder = Encoder::start(&url, Numbered::default(), PICTURE).await;
    let mut viewers = [Viewer::rtmp(&url).await, Viewer::http_flv(weir.http(), "live/a.flv").await];

    let file = weir.dir().join("weir.yaml");
    let before = fs::read_to_string(&file).expect("the configuration is there");
    let list = format!("[{{ secret: {{ values: [{SECRET}] }} }}]");
    fs::write(&file, format!("{before}auth: {{ publish: {list}, play: {list} }}\n"))
        .expect("the configuration can be written");
    let status = Command::new("kill").args(["-HUP", &weir.pid().to_string()]).status();
    assert!(status.expect("kill runs").success());
    eventually("newcomers are refused", TIMEOUT, async || Viewer::try_rtmp(&url).await.err()).await;

    assert_eq!(http::get(weir.http(), "live/a.flv").await.status, 403);
    let refused = publish_refused(&weir.rtmp_url("live/b")).await;
    assert_eq!(refused.code, "NetStream.Publish.Denied");
    Viewer::rtmp(&format!("{url}?secret={SECRET}")).await.until_picture(1).await;
    let newest = encoder.next_number() + 25;
    for viewer in &mut viewers {
        viewer.until_picture(newest).await;
    }
    encoder.assert_connected();
    // The log says which list changed, and not to what.
    eventually("the reload is logged", TIMEOUT, async || {
        weir.log().all().iter().any(|line| line.contains("configuration reloaded")).then_some(())
    })
    .await;
    assert_never_logged(&weir, SECRET);
}

/// GET as a trusted proxy makes it for `client`.
async fn get_for(weir: &Weir, path: &str, client: &str) -> (u16, String) {
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {client}\r\nConnection: close\r\n\r\n"
    );
    let mut answer = http::request(weir.http(), request.as_bytes()).await;
    let text = String::from_utf8_lossy(&answer.bytes().await).into_owned();
    (answer.status, text)
}

/// Asks on one connection for a hundred segments that are not there; the answers.
async fn ask_for_many(weir: &Weir, first: u32, client: &str) -> String {
    let mut raw = Raw::connect(weir.http()).await;
    for number in first..first + 100 {
        let name = format!("/live/a-{number}-abcdefghijklmnop.ts");
        let close = if number == first + 99 { "Connection: close\r\n" } else { "" };
        let request =
            format!("GET {name} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {client}\r\n{close}\r\n");
        raw.send(request.as_bytes()).await;
    }
    String::from_utf8_lossy(&raw.expect_close(TIMEOUT).await).into_owned()
}

/// The names of segments are in the playlist, and nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_guesses_a_segment() {
    const VIEWER: &str = "192.0.2.7";
    const STRANGER: &str = "198.51.100.9";
    let check = format!("{HLS}auth: {{ play: [{{ secret: {{ values: [{SECRET}] }} }}] }}\n");
    let proxies = ("WEIR_HTTP__TRUSTED_PROXIES", "127.0.0.1");
    let origin = Weir::builder(BINARY).config(&check).env(proxies.0, proxies.1).start();
    let address = [origin.rtmp().to_string()];
    let edge = Cluster::new(BINARY).edge_to(&address, origin.http().port(), "", &check);
    let edge = edge.env(proxies.0, proxies.1).start();
    let _encoder = Encoder::start(&origin.rtmp_url("live/a"), Numbered::default(), PICTURE).await;
    let playlist = format!("live/a.m3u8?secret={SECRET}");
    let list = eventually("some segments", TIMEOUT, async || {
        let (status, text) = get_for(&origin, &playlist, VIEWER).await;
        (status == 200).then(|| Playlist::parse(&text)).filter(|list| list.segments.len() >= 3)
    })
    .await;
    assert_eq!(get_for(&edge, &playlist, VIEWER).await.0, 200);
    let numbers = list.media_sequence..list.next_sequence();
    for weir in [&origin, &edge] {
        // As one guesses who has a clock.
        let mut answers = Vec::new();
        for number in numbers.clone().cycle().take(150) {
            answers.push(get_for(weir, &format!("live/a-{number}.ts"), STRANGER).await.0);
            let wrong = format!("live/a-{number}-abcdefghijklmnop.ts");
            answers.push(get_for(weir, &wrong, STRANGER).await.0);
        }
        let count = |status| answers.iter().filter(|it| **it == status).count();
        assert_eq!(count(403), 150, "a name that can be guessed needs the secret: {answers:?}");
        assert!(count(404) <= 100 && count(404) + count(429) == 150, "{answers:?}");
        let segment = &list.segments.last().expect("a segment").uri;
        let segment = format!("live/{segment}");
        assert_eq!(get_for(weir, &segment, STRANGER).await.0, 429, "it has guessed too often");
        // A player asks for what is gone, and more than once, and is not taken for one who guesses.
        for _ in 0..150 {
            let gone = get_for(weir, "live/a-1-abcdefghijklmnop.ts", VIEWER).await.0;
            assert_eq!(gone, 404);
        }
        assert_eq!(get_for(weir, &segment, VIEWER).await.0, 200);
        assert_eq!(get_for(weir, &segment, "203.0.113.5").await.0, 200, "who was handed the name");
        // Not without end, and never at the expense of what is there.
        eventually("it has asked for too much", 4 * TIMEOUT, async || {
            let asked = (0..20).map(|part| ask_for_many(weir, 100 * part, VIEWER));
            let answers = join_all(asked).await;
            answers.iter().any(|text| text.contains(" 429 ")).then_some(())
        })
        .await;
        assert_eq!(get_for(weir, &segment, VIEWER).await.0, 200, "it is there");
    }
    // What another web server would serve.
    let folder = origin.dir().join("data/hls/live");
    for entry in fs::read_dir(&folder).expect("the folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        let can_be_guessed = numbers.clone().any(|number| name == format!("a-{number}.ts"));
        assert!(!can_be_guessed, "{name} in {}", folder.display());
    }
}

/// What an earlier release, or another server behind an edge, has named so that it can be guessed is checked in full.
#[tokio::test]
async fn a_segment_whose_name_can_be_guessed_needs_what_the_playlist_needs() {
    let weir = start(&format!(
        "{HLS}play: {{ wait: 0s }}\nauth: {{ play: [{{ secret: {{ values: [{SECRET}] }} }}] }}\n"
    ));
    let folder = weir.dir().join("data/hls/live");
    fs::create_dir_all(&folder).expect("the server's folder can be written to");
    let list = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:7\n\
                #EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXTINF:1.000,\na-7.ts\n";
    fs::write(folder.join("a.m3u8"), list).expect("written");
    fs::write(folder.join("a-7.ts"), "seven").expect("written");
    assert_eq!(http::get(weir.http(), "live/a-7.ts").await.status, 403);
    let mut answer = http::get(weir.http(), &format!("live/a.m3u8?secret={SECRET}")).await;
    let playlist = Playlist::parse(&answer.text().await);
    let segment = &playlist.segments[0].uri;
    assert_eq!(*segment, format!("a-7.ts?secret={SECRET}"));
    let mut answer = http::get(weir.http(), &format!("live/{segment}")).await;
    assert_eq!((answer.status, answer.text().await.as_str()), (200, "seven"));
}

/// What a request with these header fields is answered.
async fn status(weir: &Weir, path: &str, fields: &str) -> u16 {
    let head = format!("GET /{path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", weir.http());
    http::request(weir.http(), head.as_bytes()).await.status
}

/// The code that a player over RTMP gets which is on this page.
async fn play_from(weir: &Weir, page: &str) -> String {
    let mut caller = Caller::greet(weir.rtmp()).await;
    caller.connect_from("live", page).await;
    let stream = caller.create_stream().await;
    caller.play(stream, "a").await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pages_of_certain_sites_play_over_every_protocol_and_through_an_edge() {
    let cluster = Cluster::new(BINARY);
    let config = "auth: { play: [referer: { hosts: [example.com] }] }\nplay: { wait: 1s }\n";
    let origin = cluster.origin(1, &format!("{config}{HLS}"));
    let edge = cluster.edge(&["127.0.0.1"], "", "play: { wait: 5s }\n");
    let flv_edge = cluster.edge(&["127.0.0.1"], "protocol: flv", "play: { wait: 5s }\n");
    let _published = Encoder::start(&origin.rtmp_url("live/a"), Numbered::new(12), PICTURE).await;
    let good = "Referer: https://www.example.com/watch\r\n";
    eventually("a playlist", TIMEOUT, async || {
        (status(&origin, "live/a.m3u8", good).await == 200).then_some(())
    })
    .await;
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    for weir in [&origin, &edge, &flv_edge] {
        for bad in [
            "",
            "Referer: https://evilexample.com/\r\n",
            "Referer: http://example.com@evil.org/\r\n",
        ] {
            for path in ["live/a.flv", "live/a.ts", "live/a.m3u8"] {
                assert_eq!(status(weir, path, bad).await, 403, "{path} {bad:?}");
            }
            assert_eq!(
                status(weir, "live/a.flv", &format!("{bad}{upgrade}")).await,
                403,
                "{bad:?}"
            );
        }
        for path in ["live/a.flv", "live/a.ts", "live/a.m3u8"] {
            assert_eq!(status(weir, path, good).await, 200, "{path}");
        }
        assert_eq!(status(weir, "live/a.flv", &format!("{good}{upgrade}")).await, 101);
        assert_eq!(play_from(weir, "http://evil.org/").await, "NetStream.Play.Failed");
        assert_ne!(play_from(weir, "http://example.com/").await, "NetStream.Play.Failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_looked_at_over_every_protocol_and_behind_a_proxy() {
    let config = "http: { trusted_proxies: [127.0.0.1] }\nplay: { wait: 0s }\n\
                  auth: { play: [cidr: { allow: [10.0.0.0/8, 'fd00::/8'], deny: [10.1.0.0/16] }] }\n";
    let weir = start(&format!("{config}{HLS}"));
    let _published = Encoder::start(&weir.rtmp_url("live/a"), Numbered::new(12), PICTURE).await;
    let from = |ip: &str| format!("X-Forwarded-For: {ip}\r\n");
    eventually("a playlist", TIMEOUT, async || {
        (status(&weir, "live/a.m3u8", &from("10.2.0.1")).await == 200).then_some(())
    })
    .await;
    for (ip, answer) in [
        ("10.2.0.1", 200),
        ("fd00::7", 200),
        ("10.1.0.1", 403),
        ("192.0.2.1", 403),
        ("fe80::1", 403),
    ] {
        for path in ["live/a.flv", "live/a.ts", "live/a.mp4", "live/a.m3u8"] {
            assert_eq!(status(&weir, path, &from(ip)).await, answer, "{path} from {ip}");
        }
    }
    assert_eq!(play_refused(&weir.rtmp_url("live/a")).await.code, "NetStream.Play.Failed");
}
