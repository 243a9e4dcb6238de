//! The log: nobody who reads it, or does not, and nobody whom it speaks of can do the server harm.
#![cfg(target_os = "linux")]

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    net::{Ipv4Addr, SocketAddr},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use weir_flv::amf0;
use weir_rtmp::message::{Control, UserControl};
use weir_testkit::{
    Weir,
    cluster::Ports,
    eventually, http,
    peer::{Caller, Numbered, Publisher, Viewer},
    raw::Raw,
    server::field,
};

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(20);

/// Connections of a flood: more lines than the buffer has room for, and many more than strangers may cause.
const FLOOD: usize = 3000;

/// A server whose output is full from the start, and nobody reads it.
struct Unread {
    child: Child,
    ports: Ports,
    /// Our ends of its stdout and stderr.
    ends: [UnixStream; 2],
    _dir: tempfile::TempDir,
}

/// Both ends of an output into which nothing goes any more.
fn full() -> (UnixStream, OwnedFd) {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    theirs.set_nonblocking(true).expect("a socket can be non-blocking");
    loop {
        match theirs.write(b"filled by the test\n") {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("the output cannot be filled: {error}"),
        }
    }
    theirs.set_nonblocking(false).expect("a socket can be blocking");
    (ours, theirs.into())
}

impl Unread {
    fn start() -> Self {
        Self::at(Ports::free())
    }

    fn at(ports: Ports) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let config = format!(
            "hls: {{ enabled: false }}\nworkers: 1\ndrain: {{ notice: 0s, timeout: 5s }}\n\
             rtmp: {{ listen: [\"127.0.0.1:{}\"] }}\nhttp: {{ listen: [\"127.0.0.1:{}\"] }}\n\
             api: {{ listen: [\"127.0.0.1:{}\"] }}\n",
            ports.rtmp, ports.http, ports.api
        );
        std::fs::write(dir.path().join("weir.yaml"), config).expect("a file can be written");
        let ((stdout, their_stdout), (stderr, their_stderr)) = (full(), full());
        let child = Command::new(BINARY)
            .args(["serve", "--config", "weir.yaml", "--log-burst", "1000000"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(their_stdout)
            .stderr(their_stderr)
            .spawn()
            .expect("weir can be started");
        Self { child, ports, ends: [stdout, stderr], _dir: dir }
    }

    fn address(&self, port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// Waits until it serves.
    async fn until_ready(&self) {
        let api = self.address(self.ports.api);
        eventually("the server is there", SOON, async || {
            tokio::net::TcpStream::connect(api).await.ok().map(drop)
        })
        .await;
        self.assert_healthy().await;
    }

    async fn assert_healthy(&self) {
        let answer = http::get(self.address(self.ports.api), "healthz");
        let answer = tokio::time::timeout(SOON, answer).await.expect("an answer in time");
        assert_eq!(answer.status, 200);
    }

    async fn metric(&self, name: &str) -> f64 {
        metric(self.address(self.ports.api), name).await
    }

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(killed.is_ok_and(|status| status.success()));
    }

    async fn exit(&mut self) -> ExitStatus {
        eventually("the server ends", SOON, async || self.child.try_wait().expect("our child"))
            .await
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        // It has ended already in a test that succeeds.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn metric(api: SocketAddr, name: &str) -> f64 {
    let text = http::get(api, "metrics").await.text().await;
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

/// So many connections that send what is no RTMP.
async fn flood(rtmp: SocketAddr, count: usize) {
    for _ in 0..count {
        let mut raw = Raw::connect(rtmp).await;
        raw.send(b"GET / HTTP/1.1\r\n\r\n").await;
    }
}

#[tokio::test]
async fn a_reader_of_the_log_that_stalls_stops_nobody() {
    let weir = Unread::start();
    weir.until_ready().await;
    let rtmp = weir.address(weir.ports.rtmp);
    let url = format!("rtmp://{rtmp}/live/a");
    let mut publisher = Publisher::start(&url, Numbered::new(25)).await;
    let mut newest = publisher.pictures(25).await;
    let mut viewers = [
        Viewer::rtmp(&url).await,
        Viewer::http_flv(weir.address(weir.ports.http), "live/a.flv").await,
    ];
    for _ in 0..4 {
        flood(rtmp, FLOOD / 4).await;
        newest = publisher.pictures(25).await.max(newest);
        for viewer in &mut viewers {
            let seen = tokio::time::timeout(SOON, viewer.until_picture(newest)).await;
            seen.expect("the stream goes on");
        }
        weir.assert_healthy().await;
    }
    let lost = eventually("lines are lost", SOON, async || {
        Some(weir.metric("weir_log_lines_lost_total").await).filter(|lost| *lost > 0.0)
    })
    .await;
    // Once somebody reads, the log says what is missing, and goes on.
    let stderr = weir.ends[1].try_clone().expect("a socket can be cloned");
    stderr.set_read_timeout(Some(SOON)).expect("a socket can time out");
    let lines = BufReader::new(stderr).lines().map(|line| line.expect("the log goes on"));
    let ours = lines.skip_while(|line| line == "filled by the test");
    let mut parsed = ours.map(|line| serde_json::from_str::<Value>(&line).expect(&line));
    let told = parsed.find(|line| {
        let message = field(line, "message").as_str().unwrap_or_default();
        message.starts_with("log lines were lost")
    });
    let told = told.expect("the log has no end");
    assert!(field(&told, "lines").as_f64().is_some_and(|lines| lines >= lost), "{told} {lost}");
    publisher.pictures(1).await;
}

#[tokio::test]
async fn a_server_that_nobody_reads_ends_when_it_is_told_to() {
    let mut weir = Unread::start();
    weir.until_ready().await;
    flood(weir.address(weir.ports.rtmp), 10).await;
    weir.terminate();
    assert!(weir.exit().await.success());
}

#[tokio::test]
async fn a_server_that_cannot_start_ends_even_if_nobody_reads_why() {
    let ports = Ports::free();
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, ports.rtmp)).expect("free");
    let mut weir = Unread::at(ports);
    assert_eq!(weir.exit().await.code(), Some(1));
    drop(taken);
}

#[tokio::test]
async fn a_log_that_nobody_can_read_any_more_stops_nobody() {
    let mut weir = Unread::start();
    weir.until_ready().await;
    let (a, b) = UnixStream::pair().expect("a pair of sockets");
    weir.ends = [a, b];
    flood(weir.address(weir.ports.rtmp), 100).await;
    weir.assert_healthy().await;
    weir.terminate();
    assert!(weir.exit().await.success());
}

/// A server that logs as it does for everybody.
fn server(config: &str) -> Weir {
    let config = format!("hls: {{ enabled: false }}\n{config}");
    Weir::builder(BINARY).config(&config).env("WEIR_LOG_BURST", "").start()
}

/// How many lines have this message.
fn count(weir: &Weir, message: &str) -> usize {
    let lines = weir.log().all();
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| field(line, "message") == message).count()
}

/// How many lines of one kind one address may have caused since `began`.
fn bound(began: Instant) -> usize {
    100 + began.elapsed().as_secs() as usize + 2
}

/// Waits until the log says how many lines like this it left out.
fn wait_left_out(weir: &Weir, of: &str) -> u64 {
    let left_out = weir.wait_log(
        |line| field(line, "message") == "similar lines suppressed" && field(line, "of") == of,
        SOON,
    );
    field(&left_out, "count").as_u64().expect("a number")
}

#[tokio::test]
async fn connections_that_come_and_go_cannot_fill_the_log() {
    let (weir, began) = (server(""), Instant::now());
    flood(weir.rtmp(), FLOOD).await;
    assert!(wait_left_out(&weir, "session ended") > 0);
    let (lines, most) = (count(&weir, "session ended"), bound(began));
    assert!((90..=most).contains(&lines), "{lines} of {most}");
    // The last of them wait to be let in.
    let least = (FLOOD - most) as f64;
    let look = async || {
        let left_out = metric(weir.api(), "weir_log_lines_left_out_total").await;
        (left_out >= least).then_some(())
    };
    eventually("the others are counted", SOON, look).await;
    let bytes: usize = weir.log().all().iter().map(String::len).sum();
    println!("{FLOOD} hostile connections: {bytes} bytes of log");
    assert!(bytes < 100_000, "{bytes} bytes");
    // What is of another kind is seen.
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(25)).await;
    publisher.pictures(1).await;
    let peer = publisher.local().to_string();
    weir.wait_log(
        |line| field(line, "message") == "session began" && field(line, "peer") == &*peer,
        SOON,
    );
}

#[tokio::test]
async fn names_that_nobody_publishes_cannot_fill_the_log() {
    let (weir, began) = (server("play: { wait: 0s }"), Instant::now());
    for number in 0..500 {
        let mut caller = Caller::connect(weir.rtmp(), "live").await;
        let stream = caller.create_stream().await;
        assert_eq!(
            caller.play(stream, &format!("nobody-{number}")).await,
            "NetStream.Play.StreamNotFound"
        );
    }
    assert!(wait_left_out(&weir, "play refused") > 0);
    let (lines, most) = (count(&weir, "play refused"), bound(began));
    assert!((100..=most).contains(&lines), "{lines} of {most}");
}

#[tokio::test]
async fn requests_for_files_are_no_lines() {
    let weir = server("");
    for _ in 0..50 {
        assert_eq!(http::get(weir.http(), "live/nobody.m3u8").await.status, 404);
    }
    flood(weir.rtmp(), 1).await;
    weir.wait_session_end(|_| true, SOON);
    assert_eq!(count(&weir, "session ended"), 1, "{}", weir.log());
}

#[tokio::test]
async fn a_connection_that_publishes_again_and_again_is_told_to_stop() {
    let weir = server("");
    let mut caller = Caller::connect(weir.rtmp(), "live").await;
    let stream = caller.create_stream().await;
    let mut cycles = 0;
    let told = loop {
        let code = caller.publish(stream, &format!("s{cycles}")).await;
        caller.call(stream, "closeStream", amf0::Value::Null, vec![]).await;
        if code != "NetStream.Publish.Start" {
            break code;
        }
        cycles += 1;
        assert!(cycles < 1000, "it may go on for ever");
    };
    assert_eq!(told, "NetConnection.Call.Failed");
    let (side, reason) = weir.session_end(caller.local(), SOON).await;
    assert_eq!((&*side, &*reason), ("peer", "more than 10 commands per second"));
}

#[tokio::test]
async fn a_viewer_that_asks_again_and_again_is_told_to_stop() {
    let weir = server("");
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(25)).await;
    publisher.pictures(25).await;
    let mut caller = Caller::connect(weir.rtmp(), "live").await;
    let stream = caller.create_stream().await;
    assert_eq!(caller.play(stream, "a").await, "NetStream.Play.Start");
    let peer = caller.local();
    let ended = tokio::spawn(async move {
        // Notices that are not answered, so that it is not for answers that it does not read.
        let control = Control::User(UserControl::PingResponse(1));
        for _ in 0..5000 {
            caller.control(control).await;
        }
        caller.status().await
    });
    let (_, reason) = weir.session_end(peer, SOON).await;
    assert_eq!(reason, "more than 200 control and data messages per second");
    drop(ended);
}
