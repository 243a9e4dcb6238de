//! Whoever watches is a viewer, whatever it speaks, and nobody else is.

use std::time::Duration;

use serde_json::Value;
use weir_testkit::{
    Weir, eventually, http,
    http::Response,
    peer::{Caller, Encoder, Numbered, Publisher},
    raw::Raw,
    server::field,
};

use crate::{ADMIN, READ, SOON, call, read, until};

const FRAME: Duration = Duration::from_millis(40);

/// A server with segments of a second and both tokens.
fn start(config: &str) -> Weir {
    Weir::builder(env!("CARGO_BIN_EXE_weir"))
        .config(&format!("publish: {{ linger: 0s }}\nhls: {{ segment: 1s, window: 3 }}\n{config}"))
        .env("WEIR_API__ADMIN_TOKENS", ADMIN)
        .env("WEIR_API__READ_TOKENS", READ)
        .start()
}

/// Asks as a player does that calls itself `agent`.
async fn get(weir: &Weir, path: &str, agent: &str) -> Response {
    let head = format!(
        "GET /{path} HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n"
    );
    http::request(weir.http(), head.as_bytes()).await
}

/// The playlist of `live/a`, which there is sooner or later, for the player `agent`.
async fn playlist(weir: &Weir, query: &str, agent: &str) -> String {
    let path = format!("live/a.m3u8{query}");
    eventually("a playlist", SOON, async || {
        let mut answer = get(weir, &path, agent).await;
        let text = answer.text().await;
        (answer.status == 200).then_some(text)
    })
    .await
}

async fn metric(weir: &Weir, series: &str) -> f64 {
    let page = call(weir.api(), "GET", "metrics", READ).await.text;
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series}")).parse().expect("a number")
}

fn list(answer: &Value) -> &Vec<Value> {
    answer["clients"].as_array().expect("a list")
}

fn kinds(answer: &Value) -> Vec<(&str, &str)> {
    let mut kinds: Vec<_> = list(answer)
        .iter()
        .map(|it| (it["type"].as_str().expect("a type"), it["url"].as_str().expect("a URL")))
        .collect();
    kinds.sort_unstable();
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_viewers_count_are_listed_and_can_be_ended() {
    let weir = start("limits: { viewers_per_stream: 4 }\n");
    let _encoder = Encoder::start(&weir.rtmp_url("live/a"), Numbered::new(25), FRAME).await;
    for _ in 0..3 {
        playlist(&weir, "", "one").await;
    }
    playlist(&weir, "", "two").await;
    playlist(&weir, "?hls_ctx=x", "two").await;
    let text = playlist(&weir, "?hls_ctx=y", "two").await;
    assert_eq!(get(&weir, "live/a.m3u8", "three").await.status, 503, "one too many");
    assert_eq!(get(&weir, "live/a.flv", "three").await.status, 503, "one too many");

    let streams = read(&weir, "streams").await;
    assert_eq!((&streams["total"], &streams["streams"][0]["viewers"]), (&1.into(), &4.into()));
    assert_eq!(metric(&weir, "weir_viewers{protocol=\"hls\"}").await, 4.0);
    let clients = until(&weir, "clients", |answer| answer["total"] == 5).await;
    let hls = ("hls-play", "/live/a");
    assert_eq!(kinds(&clients), [("fmle-publish", "/live/a"), hls, hls, hls, hls]);

    // What a segment's bytes are is known by who asks for it.
    let segment = text.lines().rfind(|line| line.ends_with(".ts")).expect("a segment").to_owned();
    let path = format!("live/{segment}");
    let bytes = get(&weir, &path, "one").await.bytes().await.len();
    let is_fat = |it: &Value| it["send_bytes"].as_u64() >= Some(bytes as u64);
    let clients = read(&weir, "clients").await;
    let fat: Vec<_> = list(&clients).iter().filter(|it| is_fat(it)).collect();
    assert_eq!(fat.len(), 1, "{clients:#}");
    let streams = read(&weir, "streams").await;
    assert!(is_fat(&streams["streams"][0]), "{streams:#}");

    let id = fat[0]["id"].as_str().expect("an id");
    assert_eq!(read(&weir, &format!("clients/{id}")).await["client"]["type"], "hls-play");
    let ended = call(weir.api(), "DELETE", &format!("api/v1/clients/{id}"), ADMIN).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let gone = call(weir.api(), "DELETE", &format!("api/v1/clients/{id}"), ADMIN).await;
    assert_eq!(gone.status, 404, "{gone:?}");
    let mut refused = get(&weir, "live/a.m3u8", "one").await;
    assert_eq!((refused.status, &*refused.text().await), (403, "ended by an operator\n"));
    assert_eq!(get(&weir, &path, "one").await.status, 403);
    assert_eq!(get(&weir, &path, "two").await.status, 200, "others are not");
    assert_eq!(read(&weir, "streams").await["streams"][0]["viewers"], 3);

    // The log speaks of them as of others, and not of their requests.
    let log: Vec<Value> =
        weir.log().all().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let said = |message: &str| {
        let hls = log.iter().filter(|line| field(line, "protocol") == "hls");
        hls.filter(|line| field(line, "message") == message).collect::<Vec<_>>()
    };
    let (began, ended) = (said("session began"), said("session ended"));
    assert_eq!((began.len(), ended.len()), (4, 1), "{}", weir.log());
    assert!(began.iter().all(|line| field(line, "stream") == "/live/a"), "{began:?}");
    assert_eq!(field(ended[0], "kind"), "kicked");
    assert!(field(ended[0], "sent").as_u64() >= Some(bytes as u64), "{:?}", ended[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_is_no_crowd_and_a_look_is_no_viewer() {
    let weir = start("");
    let publisher = Encoder::start(&weir.rtmp_url("live/a"), Numbered::new(25), FRAME).await;
    playlist(&weir, "", "0").await;
    for number in 0..300 {
        assert_eq!(get(&weir, "live/a.m3u8", &format!("{number}")).await.status, 200);
    }
    let streams = read(&weir, "streams").await;
    assert_eq!(streams["streams"][0]["viewers"], 257, "256 that are told apart, and the others");
    // Names that nobody publishes make no viewers, and a HEAD is not watching.
    let head = b"HEAD /live/a.m3u8 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert_eq!(http::request(weir.http(), head).await.status, 200);
    let nobody =
        "GET /live/no.m3u8 HTTP/1.1\r\nHost: h\r\nWeir-Wait: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(http::request(weir.http(), nobody.as_bytes()).await.status, 404);
    assert_eq!(metric(&weir, "weir_viewers{protocol=\"hls\"}").await, 257.0);
    // No line of the log for each file.
    eventually("the end of all connections", SOON, async || {
        (metric(&weir, "weir_connections{protocol=\"http\"}").await == 0.0).then_some(())
    })
    .await;
    let log = weir.log().all();
    let http = log.iter().filter(|line| line.contains("\"protocol\":\"http\"")).count();
    assert_eq!(http, 0, "{log:#?}");
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_on_a_connection_that_was_used_before_is_one() {
    // Long enough for the questions below, whatever else the machine does.
    let weir = start("play: { stall_timeout: 4s }\nlimits: { stream_memory: 4MiB }\n");
    let source = Numbered::default().with_picture_bytes(50_000);
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source).await;
    publisher.pictures(1).await;
    let mut late = Raw::narrow(weir.http()).await;
    let both =
        b"GET /player HTTP/1.1\r\nHost: h\r\n\r\nGET /live/a.flv HTTP/1.1\r\nHost: h\r\n\r\n";
    assert!(late.send(both).await);
    // Before that it may be one that waits, who is listed too and counts for nothing.
    until(&weir, "streams", |answer| answer["streams"][0]["viewers"] == 1).await;
    let clients = read(&weir, "clients").await;
    assert_eq!(kinds(&clients), [("flv-play", "/live/a"), ("fmle-publish", "/live/a")]);
    assert_eq!(metric(&weir, "weir_viewers{protocol=\"http-flv\"}").await, 1.0);
    // It reads nothing, and is let go as others are.
    let publishing = async {
        loop {
            publisher.pictures(5).await;
            tokio::task::yield_now().await;
        }
    };
    let end = tokio::select! {
        () = publishing => unreachable!(),
        end = weir.session_end(late.local(), SOON) => end,
    };
    assert_eq!(end, ("policy".to_owned(), "took no data for 4s (play.stall_timeout)".to_owned()));
    let sessions = weir.sessions("play", "/live/a");
    assert_eq!((sessions.began, sessions.ended), (1, 1));
    // Who has read the line finds one viewer less, at once.
    assert_eq!(read(&weir, "streams").await["streams"][0]["viewers"], 0);
    until(&weir, "clients", |answer| answer["total"] == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_vain_is_a_viewer_of_what_it_waits_for() {
    let weir = start("play: { wait: 3s }\n");
    let request = |file: &str| format!("GET /live/{file} HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut raws = Vec::new();
    for text in [
        request("flv.flv"),
        request("hls.m3u8"),
        format!("GET /player HTTP/1.1\r\nHost: h\r\n\r\n{}", request("late.flv")),
    ] {
        let mut raw = Raw::connect(weir.http()).await;
        assert!(raw.send(text.as_bytes()).await);
        raws.push(raw);
    }
    let mut caller = Caller::connect(weir.rtmp(), "live").await;
    let stream = caller.create_stream().await;
    let waiting = async { caller.play(stream, "rtmp").await };
    let looking = until(&weir, "clients", |answer| {
        answer["total"] == 4 && list(answer).iter().all(|it| it["type"] != "control")
    });
    let (_, clients) = tokio::join!(waiting, looking);
    assert_eq!(
        kinds(&clients),
        [
            ("flv-play", "/live/flv"),
            ("flv-play", "/live/late"),
            ("hls-play", "/live/hls"),
            ("rtmp-play", "/live/rtmp"),
        ]
    );
    let local = raws[0].local().to_string();
    let end = weir.wait_session_end(|line| field(line, "peer") == local.as_str(), SOON);
    assert_eq!(
        (field(&end, "role"), field(&end, "stream")),
        (&Value::from("play"), &Value::from("/live/flv"))
    );
    let local = caller.local().to_string();
    drop(caller);
    let end = weir.wait_session_end(|line| field(line, "peer") == local.as_str(), SOON);
    assert_eq!(
        (field(&end, "role"), field(&end, "stream")),
        (&Value::from("play"), &Value::from("/live/rtmp"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_has_ended_waits_for_nobody() {
    let weir = start("");
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(25)).await;
    publisher.pictures(60).await;
    until(&weir, "streams", |answer| answer["streams"][0]["status"] == "live").await;
    publisher.stop().await;
    until(&weir, "streams", |answer| answer["total"] == 0).await;
    assert_eq!(metric(&weir, "weir_streams{state=\"waiting\"}").await, 0.0);
    // Its playlist is there for two minutes more, and whoever plays to the end is a viewer.
    playlist(&weir, "", "one").await;
    let streams = read(&weir, "streams").await;
    let stream = &streams["streams"][0];
    assert_eq!((&stream["status"], &stream["viewers"]), (&"ended".into(), &1.into()), "{streams}");
}
