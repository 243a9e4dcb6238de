//! Another configuration under five hundred viewers.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use weir_testkit::{
    Weir,
    cluster::{Cluster, Ports},
    crowd::{Crowd, Protocol, Seen},
    eventually, http,
    peer::{Encoder, Numbered, PICTURE_MILLIS, Player},
    server::field,
};

use crate::{BINARY, NO_HLS, SOON, edge};

const VIEWERS: usize = 500;
const STREAMS: [&str; 2] = ["live/a", "live/b"];

/// Of which the moments are measured at which pictures arrive.
const FINE: &str = "live/fine";

/// For a change of the file to be in force.
const NOTICE_MAX: Duration = Duration::from_secs(1);

const ADMIN: &str = "s3same";
const API: &str = "api: { admin_tokens: [\"s3same\"] }\n";

/// The line of the log with which a reload ends.
const DONE: &str = "configuration reloaded";
const NOT_DONE: &str = "configuration not reloaded: the previous one stays in force";

/// An edge under test, and what its configuration has in all variants.
struct Scene {
    edge: Weir,
    head: String,
    /// Lines of the log that have been looked at.
    read: usize,
}

impl Scene {
    /// An edge in front of `origins`, with addresses that stay its own, which `more` is the rest of the configuration
    /// of.
    fn begin(cluster: &Cluster, origin: &Weir, ports: &Ports, is_map: bool) -> Self {
        let builder = edge(cluster, &[origin.rtmp().to_string()], "", API, ports);
        let builder = if is_map { builder.config_map() } else { builder };
        let edge = builder.start();
        let head = head(cluster, origin);
        Self { edge, head, read: 0 }
    }

    /// Puts this behind the head, where its file is watched, and waits for the line that says what came of it: the
    /// line, and how long that took.
    async fn change(&mut self, more: &str, message: &str) -> (serde_json::Value, Duration) {
        let start = Instant::now();
        self.edge.configure(&format!("{}{more}", self.head));
        let line = self.said(message).await;
        (line, start.elapsed())
    }

    /// The same, which must be in force soon.
    async fn reload(&mut self, more: &str) {
        let (line, took) = self.change(more, DONE).await;
        eprintln!("reloaded after {} ms: {}", took.as_millis(), field(&line, "what"));
        assert!(took <= NOTICE_MAX, "noticed only after {took:?}:\n{}", self.edge.log());
    }

    /// Waits for the next line with this message.
    async fn said(&mut self, message: &str) -> serde_json::Value {
        let (from, log) = (self.read, self.edge.log().clone());
        let (line, read) = eventually(&format!("a line {message:?}"), SOON, async || {
            let lines = log.all();
            lines.iter().enumerate().skip(from).find_map(|(number, line)| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                (field(&line, "message") == message).then_some((line, number + 1))
            })
        })
        .await;
        self.read = read;
        line
    }

    /// Lets one viewer of each protocol ask for `stream`; what became of them.
    async fn newcomers(&self, stream: &str) -> Vec<Seen> {
        let mut crowd = Crowd::new();
        for protocol in Protocol::ALL {
            crowd.viewer(&self.edge, stream, protocol, Duration::ZERO);
        }
        let answered = |seen: &Seen| seen.first.is_some() || seen.end.is_some();
        eventually("an answer", SOON, async || crowd.seen().iter().all(answered).then_some(()))
            .await;
        crowd.seen()
    }

    async fn assert_let_in(&self, stream: &str) {
        let seen = self.newcomers(stream).await;
        let played = seen.iter().all(|seen| seen.first.is_some() && seen.end.is_none());
        assert!(played, "newcomers of {stream}: {seen:?}");
    }

    async fn assert_refused(&self, stream: &str) {
        let seen = self.newcomers(stream).await;
        let refused = seen.iter().all(|seen| seen.first.is_none() && seen.end.is_some());
        assert!(refused, "newcomers of {stream}: {seen:?}");
        let ends: Vec<_> = seen.iter().map(|seen| seen.end.as_deref()).collect();
        eprintln!("newcomers of {stream} are told {ends:?}");
    }
}

/// What an edge's configuration begins with.
fn head(cluster: &Cluster, origin: &Weir) -> String {
    let (address, port) = (origin.rtmp(), cluster.ports.http);
    format!("role: edge\n{NO_HLS}{API}edge: {{ origins: [\"{address}\"], http_port: {port} }}\n")
}

/// Asks the API to reload, with a token or without; the status and the answer.
async fn post_reload(api: SocketAddr, token: Option<&str>) -> (u16, String) {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "POST /api/v1/reload HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n{}Content-Length: 0\r\n\r\n",
        token.unwrap_or_default()
    );
    let mut response = http::request(api, request.as_bytes()).await;
    (response.status, response.text().await)
}

/// At how many moments pictures come to one viewer in `time`.
async fn moments(edge: &Weir, time: Duration) -> usize {
    /// What comes in one piece is less apart.
    const APART: Duration = Duration::from_millis(15);
    let mut player = Player::http_flv(edge.http(), &format!("{FINE}.flv")).await;
    // The first group comes at once.
    let settle = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < settle {
        player.next().await.expect("the stream goes on");
    }
    let (end, mut latest, mut count) = (Instant::now() + time, Instant::now(), 0);
    while Instant::now() < end {
        player.next().await.expect("the stream goes on");
        count += usize::from(latest.elapsed() >= APART);
        latest = Instant::now();
    }
    count
}

/// A small stream for the crowd.
async fn quiet(origin: &Weir, stream: &str) -> Encoder {
    let source = Numbered::new(5).with_picture_millis(200).without_sound();
    Encoder::start(&origin.rtmp_url(stream), source, Duration::from_millis(200)).await
}

/// All streams, at one origin.
async fn encoders(origin: &Weir) -> Vec<Encoder> {
    let mut encoders = Vec::new();
    for stream in STREAMS {
        encoders.push(quiet(origin, stream).await);
    }
    let every = Duration::from_millis(PICTURE_MILLIS.into());
    let fine = Numbered::default().without_sound();
    encoders.push(Encoder::start(&origin.rtmp_url(FINE), fine, every).await);
    encoders
}

/// Requires that everybody is there and sees what is new.
async fn assert_watching(crowd: &Crowd, encoder: &Encoder) {
    crowd.mark();
    crowd.until("something new", SOON, |seen| seen.resumed.is_some()).await;
    crowd.until_picture(encoder.next_number() + 2, SOON).await;
    crowd.assert_undisturbed();
}

/// Every change that a ConfigMap can bring, one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn limits_checks_flush_and_origins_change_under_viewers() {
    let (cluster, ports) = (Cluster::new(BINARY), Ports::free());
    let origins = [1, 2].map(|number| cluster.origin(number, NO_HLS));
    // The second origin has the streams too, as if somebody had moved them.
    let (first, _second) = (encoders(&origins[0]).await, encoders(&origins[1]).await);
    let mut scene = Scene::begin(&cluster, &origins[0], &ports, true);
    let mut crowd = Crowd::new();
    for stream in STREAMS {
        crowd.join(&scene.edge, stream, VIEWERS / 2, Duration::from_secs(4));
    }
    crowd.until_picture(first[0].next_number() + 15, SOON).await;
    assert_watching(&crowd, &first[0]).await;

    scene.reload("limits: { viewers_per_stream: 100 }\n").await;
    scene.assert_refused(STREAMS[0]).await;
    assert_watching(&crowd, &first[0]).await;

    scene.reload("auth: { play: [{ secret: { values: [\"open\"] } }] }\n").await;
    scene.assert_refused(STREAMS[0]).await;
    scene.assert_let_in(&format!("{}?secret=open", STREAMS[0])).await;
    assert_watching(&crowd, &first[0]).await;

    scene.reload("").await;
    scene.assert_let_in(STREAMS[0]).await;
    let time = Duration::from_secs(3);
    let before = moments(&scene.edge, time).await;
    scene.reload("play: { flush: 350ms }\n").await;
    let batched = moments(&scene.edge, time).await;
    scene.reload("play: { flush: video }\n").await;
    let after = moments(&scene.edge, time).await;
    eprintln!(
        "moments of arrival in {time:?}: {before}, with flush: 350ms {batched}, then {after}"
    );
    assert!(before >= 45 && after >= 45, "pictures come one by one: {before} and {after} moments");
    assert!((6..=14).contains(&batched), "each 350 ms: {batched} moments in {time:?}");
    assert_watching(&crowd, &first[0]).await;

    scene.head = head(&cluster, &origins[1]);
    scene.reload("").await;
    for stream in STREAMS {
        let key = format!("/{stream}");
        let pulls = async || origins.each_ref().map(|it| it.sessions("play", &key).open());
        eventually("the pull at the other origin alone", SOON, async || {
            (pulls().await == [0, 1]).then_some(())
        })
        .await;
    }
    assert_watching(&crowd, &first[0]).await;
    assert_eq!(crowd.len(), VIEWERS);
}

/// What cannot be put in force changes nothing, and says why, whoever asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_or_needs_a_restart_changes_nothing() {
    let (cluster, ports) = (Cluster::new(BINARY), Ports::free());
    let origin = cluster.origin(1, NO_HLS);
    let encoders = encoders(&origin).await;
    let mut scene = Scene::begin(&cluster, &origin, &ports, false);
    let mut crowd = Crowd::new();
    for stream in STREAMS {
        crowd.join(&scene.edge, stream, VIEWERS / 2, Duration::from_secs(4));
    }
    crowd.until_picture(encoders[0].next_number() + 5, SOON).await;

    // A file that is written anew, as editors do.
    scene.reload("limits: { viewers_per_stream: 100 }\n").await;
    scene.assert_refused(STREAMS[0]).await;

    // Line, column and key of what is wrong; and what else is in the file is not in force.
    let wrong = "auth: { play: [] }\nlimits: { viewers_per_stream: lots }\n";
    let (line, _) = scene.change(wrong, NOT_DONE).await;
    let place = format!("weir.yaml:{}:", scene.head.lines().count() + 2);
    let reason = field(&line, "reason").as_str().unwrap_or_default().to_owned();
    assert!(reason.contains(&place) && reason.contains("viewers_per_stream"), "{reason}");
    let (status, answer) = post_reload(scene.edge.api(), Some(ADMIN)).await;
    eprintln!("POST /api/v1/reload with a wrong file: {status} {answer}");
    assert!((400..500).contains(&status) && answer.contains(&place), "{status} {answer}");
    scene.said(NOT_DONE).await;
    scene.assert_refused(STREAMS[0]).await;

    // As a whole or not at all: the limit is not lifted either.
    let other = Ports::free();
    let listen = SocketAddr::new(Cluster::ip(1), other.rtmp);
    let moved =
        format!("rtmp: {{ listen: [\"{listen}\"] }}\nlimits: {{ viewers_per_stream: 0 }}\n");
    let (line, _) = scene.change(&moved, NOT_DONE).await;
    let reason = field(&line, "reason").as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("rtmp.listen"), "the key is named: {reason}");
    scene.edge.hang_up();
    let line = scene.said(NOT_DONE).await;
    assert_eq!(field(&line, "cause"), "SIGHUP");
    let (status, answer) = post_reload(scene.edge.api(), Some(ADMIN)).await;
    eprintln!("POST /api/v1/reload with other ports: {status} {answer}");
    assert!((400..500).contains(&status) && answer.contains("rtmp.listen"), "{status} {answer}");
    scene.said(NOT_DONE).await;
    scene.assert_refused(STREAMS[0]).await;

    // Without a token nobody reloads; with one, what is right is in force again.
    let (status, answer) = post_reload(scene.edge.api(), None).await;
    assert_eq!(status, 401, "{answer}");
    scene.reload("").await;
    let (status, answer) = post_reload(scene.edge.api(), Some(ADMIN)).await;
    eprintln!("POST /api/v1/reload: {status} {answer}");
    assert_eq!(status, 200, "{answer}");
    scene.said(DONE).await;
    scene.edge.hang_up();
    assert_eq!(field(&scene.said(DONE).await, "cause"), "SIGHUP");
    scene.assert_let_in(STREAMS[0]).await;
    assert_watching(&crowd, &encoders[0]).await;
}
