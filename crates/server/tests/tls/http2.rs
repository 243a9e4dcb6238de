//! HTTP/2, with curl and with h2's own frames at the other end.

use std::{fs, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::timeout,
};
use weir_testkit::{
    camera::Camera,
    eventually, http,
    http2::{Flood, RST_STREAM, connect, frame, get},
    peer::{Encoder, Numbered, Witness},
    server::field,
};

use crate::{Rig, SOON, metric, said};

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_pages_playlists_and_segments_over_one_connection() {
    let rig = Rig::start("hls: { segment: 1s }\n");
    let _camera = Camera::start(&rig.weir.rtmp_url("live/a")).await;
    let playlist = eventually("a segment", SOON, async || {
        let mut answer = http::get(rig.weir.http(), "live/a.m3u8").await;
        let text = answer.text().await;
        text.lines().any(|line| line.contains(".ts")).then_some(text)
    })
    .await;
    let segment = playlist.lines().find(|line| line.contains(".ts")).expect("a segment");
    let urls = ["player", "live/a.m3u8", &format!("live/{segment}"), "player"]
        .map(|path| rig.https_url(path));
    let mut curl = rig.curl(&["--http2"]);
    for url in &urls {
        curl.args([
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_version} %{http_code} %{num_connects} ",
        ])
        .arg(url);
    }
    let text = tokio::task::spawn_blocking(move || said(&mut curl, true)).await.expect("no panic");
    assert_eq!(text, "2 200 1 2 200 0 2 200 0 2 200 0 ");
    // The same bytes as without it.
    let (one, two) = (rig.at("one"), rig.at("two"));
    for (version, file) in [("--http1.1", &one), ("--http2", &two)] {
        let mut curl = rig.curl(&[version, "--output", &file.display().to_string(), &urls[2]]);
        tokio::task::spawn_blocking(move || said(&mut curl, true)).await.expect("no panic");
    }
    let [one, two] = [one, two].map(|file| fs::read(file).expect("written"));
    assert!(!one.is_empty() && one == two, "{} and {} bytes", one.len(), two.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_switched_off() {
    let rig = Rig::start("");
    let url = rig.https_url("player");
    let version = |rig: &Rig| {
        let words = ["--http2", "--output", "/dev/null", "--write-out", "%{http_version}", &url];
        said(&mut rig.curl(&words), true)
    };
    assert_eq!(version(&rig), "2");
    let off = {
        let files = crate::Files::new();
        files.authority.certify(files.dir.path(), "server", &crate::NAMES);
        let (plain, tls) = (files.tls(&["server"], ""), files.tls(&["server"], "http2: false"));
        let dir = files.dir.path().join("ca.pem");
        let weir = weir_testkit::Weir::builder(env!("CARGO_BIN_EXE_weir"))
            .env("WEIR_RTMP__TLS", plain)
            .env("WEIR_HTTP__TLS", tls)
            .start();
        let port = weir.listens("https").port();
        let mut curl = std::process::Command::new("curl");
        curl.args([
            "--silent",
            "--http2",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_version}",
            "--cacert",
        ]);
        said(curl.arg(dir).arg(format!("https://localhost:{port}/player")), true)
    };
    assert_eq!(off, "1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_over_http2_is_a_client_of_its_own() {
    let rig = Rig::start("");
    let encoder =
        Encoder::start(&rig.weir.rtmp_url("live/a"), Numbered::new(5), Duration::from_millis(40))
            .await;
    let (file, url) = (rig.at("a.flv"), rig.https_url("live/a.flv"));
    let words = ["--http2", "--max-time", "60", "--output", &file.display().to_string(), &url];
    let mut curl = weir_testkit::process::Process::start("curl", &mut rig.curl(&words));
    let viewers = "weir_viewers{protocol=\"http-flv\"}";
    eventually("it is a viewer", SOON, async || {
        (metric(&rig.weir, viewers).await == 1.0).then_some(())
    })
    .await;
    eventually("it is sent something", SOON, async || {
        fs::metadata(&file).ok().filter(|file| file.len() > 2000)
    })
    .await;
    let text = http::get(rig.weir.api(), "api/v1/clients").await.text().await;
    let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let clients = answer["clients"].as_array().expect("clients");
    let viewer = clients.iter().find(|it| it["type"] == "flv-play").expect("the viewer");
    assert_eq!(viewer["tls"], "TLSv1.3");
    // Kicked alone.
    let id = viewer["id"].as_str().expect("a number");
    let kick = format!(
        "DELETE /api/v1/clients/{id} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer admin\r\nConnection: close\r\n\r\n"
    );
    let kicked = http::request(rig.weir.api(), kick.as_bytes()).await;
    assert_eq!(kicked.status, 200);
    curl.wait_success(SOON);
    encoder.assert_connected();
    eventually("it is gone", SOON, async || {
        (metric(&rig.weir, viewers).await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_taken_back_at_once_end_the_connection() {
    let rig = Rig::start("");
    let mut witness = Witness::start(&rig.weir).await;
    let attack = async {
        let mut stream = connect(rig.https(), &rig.ca()).await;
        let mut flood = Vec::new();
        for number in (1..20_000_u32).step_by(2) {
            flood.extend(get(number, "/live/none.m3u8"));
            flood.extend(frame(RST_STREAM, 0, number, &[0, 0, 0, 8]));
        }
        // It need not take all of it.
        let _ = timeout(SOON, stream.write_all(&flood)).await.expect("taken or refused");
        let mut rest = Vec::new();
        let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("ended");
    };
    witness.during(attack).await;
    witness.finish().await;
    tokio::task::block_in_place(|| {
        rig.weir.wait_log(|line| field(line, "message") == "session began", SOON);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_end_the_connection() {
    let rig = Rig::start("hls: { segment: 1s }\nplay: { stall_timeout: 5s }\n");
    let encoder = Encoder::start(
        &rig.weir.rtmp_url("live/a"),
        Numbered::new(5).with_picture_bytes(50_000),
        Duration::from_millis(40),
    )
    .await;
    let mut stream = connect(rig.https(), &rig.ca()).await;
    // Its window is 65,535 bytes, and is never opened again.
    stream.write_all(&get(1, "/live/a.flv")).await.expect("written");
    let mut all = Vec::new();
    let ended = timeout(Duration::from_secs(60), stream.read_to_end(&mut all)).await;
    let _ = ended.expect("ended in time");
    let end = rig.weir.wait_session_end(
        |line| field(line, "tls") == "TLSv1.3" && field(line, "role") == "play",
        SOON,
    );
    assert_eq!(field(&end, "kind"), "stalled", "{end}");
    encoder.assert_connected();
}

/// Frames that have to be answered, or looked at, without an end: they cost no other viewer a frame, and no memory.
#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_hold_no_memory_and_nobody_up() {
    const TIME: Duration = Duration::from_secs(2);
    /// What connections, and the allocator, may hold: far less than what is sent.
    const HELD_MAX: u64 = 24 << 20;
    let rig = Rig::start("hls: { enabled: false }\n");
    // What the first connections need stays.
    Flood::Pings.run(rig.https(), &rig.ca(), true, TIME / 4).await;
    let (before, mut witness) = (rig.weir.rss_bytes(), Witness::start(&rig.weir).await);
    for flood in Flood::ALL {
        let mut floods = JoinSet::new();
        for reads in [true, false, true, false] {
            let (server, ca) = (rig.https(), rig.ca());
            floods.spawn(async move { flood.run(server, &ca, reads, TIME).await });
        }
        let mut sent = 0;
        witness.during(async { sent = floods.join_all().await.into_iter().sum::<usize>() }).await;
        let grown = rig.weir.rss_bytes().saturating_sub(before);
        eprintln!("{flood:?}: {} KiB sent, {} KiB more held", sent >> 10, grown >> 10);
        assert!(grown < HELD_MAX, "{flood:?}: {grown} bytes more after {sent}");
        assert_eq!(http::get(rig.weir.api(), "healthz").await.status, 200);
    }
    witness.finish().await;
}
