//! Requests that are read without hyper, and how they pass to it.

use weir_clients::roster::Farewell;

use super::*;

/// What hyper answers, and nothing else: the connection is its own after this.
const FOR_HYPER: &str = "/live/a.m3u8";

impl Server {
    /// A connection that hyper has.
    async fn connect_to_hyper(&self) -> Connection {
        let mut connection = self.connect().await;
        assert_eq!(connection.ask("OPTIONS", FOR_HYPER, "").await.status, 204);
        connection
    }

    fn ask_to_leave(&self, farewell: Farewell) {
        for presence in self.node.clients.roster.list() {
            presence.ask_to_leave(farewell);
        }
    }
}

/// What two answers may not differ in.
fn told(answer: &Answer) -> (u16, Vec<(String, String)>, &[u8]) {
    assert!(httpdate::parse_http_date(answer.field("date")).is_ok(), "{:?}", answer.fields);
    let fields = answer.fields.iter().map(|(name, value)| (name.to_lowercase(), value.clone()));
    let mut fields: Vec<_> = fields.filter(|(name, _)| name != "date").collect();
    fields.sort();
    (answer.status, fields, &answer.body)
}

#[tokio::test]
async fn what_is_answered_is_what_hyper_would_answer() {
    let server = Server::start().await;
    server.list(7, 1);
    server.window.put_part(&part(7, 0), Bytes::from_static(b"part"));
    let segment = format!("a-6-{NONCE}.ts");
    server.window.put(&segment, Bytes::from(vec![0x47; 100_000]));
    let etag = server.get("/live/a.m3u8").await.field("etag").to_owned();
    let known = format!("If-None-Match: {etag}\r\n");
    let (part, segment) = (format!("/live/{}", part(7, 0)), format!("/live/{segment}"));
    let (mut own, mut hypers) = (server.connect().await, server.connect_to_hyper().await);
    for (path, fields) in [
        ("/live/a.m3u8", ""),
        ("/live/a.m3u8", ""),
        ("/live/a.m3u8", "Accept: */*\r\nOrigin: https://h\r\nReferer: https://h/page\r\n"),
        ("/live/a.m3u8", &known),
        ("/live/a.m3u8?token=x", ""),
        ("/live/%61.m3u8", ""),
        ("/live/a~v0.m3u8?_HLS_msn=7&_HLS_part=0&_HLS_skip=YES", ""),
        ("/live/a.m3u8?_HLS_msn=x", ""),
        ("/live/nobody.m3u8", ""),
        (&*part, ""),
        (&*segment, ""),
        (&*segment, "Range: bytes=99990-\r\n"),
        (&*segment, "Range: bytes=5-9\r\nIf-Range: \"x\"\r\n"),
        (&*segment, "Range: bytes=100000-\r\n"),
        ("/live/a-9-abcdefghijklmnoq.ts", ""),
        ("/live/a.m3u8", "Host: other\r\n"),
    ] {
        for method in ["GET", "HEAD"] {
            let answers =
                [own.ask(method, path, fields).await, hypers.ask(method, path, fields).await];
            let [own, hypers] = answers.each_ref().map(told);
            assert!(own == hypers, "{method} {path} {fields}: {own:?}, and by hyper: {hypers:?}");
        }
    }
}

#[tokio::test]
async fn a_request_that_comes_again_is_answered_and_counted_again() {
    let server = Server::start().await;
    let mut viewer = server.connect().await;
    let mut sent = 0;
    for (sequence, parts) in [(7, 1), (7, 1), (7, 2), (8, 0)] {
        server.list(sequence, parts);
        let answer = viewer.ask("GET", "/live/a.m3u8", "").await;
        assert_eq!((answer.status, answer.line()), (200, &*format!("# {sequence}.{parts}")));
        sent += answer.body.len() as u64;
        // Another one between two that are alike.
        assert_eq!(viewer.ask("GET", "/live/b.m3u8", "").await.status, 404);
    }
    let viewers = server.node.clients.quotas.hls_viewers(Instant::now());
    let [viewer] = &viewers[..] else { panic!("one viewer: {viewers:?}") };
    assert_eq!(viewer.sent, sent);
}

#[tokio::test]
async fn a_request_that_comes_again_means_what_the_settings_say_by_then() {
    let server = Server::start().await;
    server.list(7, 1);
    let mut viewer = server.connect().await;
    let (usual, named) = ("/live/a.m3u8", "/live/here/a.m3u8");
    for hls in ["{ dir: '' }", "{ dir: '', playlist_path: '{app}/here/{stream}.m3u8' }"] {
        let config = format!("hls: {hls}\nworkers: 1\nplay: {{ wait: 0s }}\n");
        let config = Config::parse(&config, "a test").expect("a good configuration");
        server.node.settings.prepare(config, &[]).expect("it needs no restart").apply();
        let expected = if hls.contains("here") { 200 } else { 404 };
        for _ in 0..2 {
            assert_eq!(viewer.ask("GET", named, "").await.status, expected, "{hls}");
        }
        assert_eq!(viewer.ask("GET", usual, "").await.status, 200, "{hls}");
    }
}

#[tokio::test]
async fn what_is_not_for_hls_goes_to_hyper_and_what_follows_it() {
    let server = Server::start().await;
    server.list(7, 1);
    let mut viewer = server.connect().await;
    let all = [
        ("GET", "/live/a.m3u8", 200),
        ("GET", "/live/a.m3u8", 200),
        ("GET", "/player", 200),
        ("GET", "/live/a.m3u8", 200),
        ("POST", "/live/a.m3u8", 405),
        ("GET", "/nothing", 404),
        ("GET", "/live/a.m3u8", 200),
    ];
    for (method, path, status) in all {
        assert_eq!(viewer.ask(method, path, "").await.status, status, "{method} {path}");
    }
    // The same in one packet.
    let mut viewer = server.connect().await;
    let text = all.map(|(method, path, _)| format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
    viewer.socket.write_all(text.concat().as_bytes()).await.expect("sent");
    for (method, path, status) in all {
        assert_eq!(viewer.answer(false).await.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn who_waits_for_nothing_is_let_go_when_the_server_stops() {
    let server = Server::start().await;
    server.list(7, 1);
    let mut viewer = server.connect().await;
    assert_eq!(viewer.ask("GET", "/live/a.m3u8", "").await.status, 200);
    server.ask_to_leave(Farewell::Draining);
    viewer.until_end().await;
}

#[tokio::test]
async fn who_is_to_go_at_once_does_whatever_it_waits_for() {
    let server = Server::start().await;
    server.list(7, 1);
    let (mut idle, mut waits) = (server.connect().await, server.connect().await);
    assert_eq!(idle.ask("GET", "/live/a.m3u8", "").await.status, 200);
    waits.send("GET", "/live/a.m3u8?_HLS_msn=8", "").await;
    server.until_waiting(1).await;
    server.ask_to_leave(Farewell::Kicked);
    idle.until_end().await;
    waits.until_end().await;
    server.until_waiting(0).await;
}
