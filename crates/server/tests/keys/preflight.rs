//! What a configuration needs of the machine: `weir check`, the start and a reload say what is not to be had, and where
//! it stands; a disk that is full or read-only later is said by `/readyz` and metrics, and costs files and no viewer.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tokio::{sync::watch, task::JoinSet};
use weir_testkit::{
    Weir,
    camera::Camera,
    eventually,
    fixture::Fixture,
    hls::Playlist,
    hls_client::Client,
    http,
    peer::{Encoder, Numbered, Viewer},
    server::field,
};

use crate::{BINARY, PICTURE, SOON, encoder, hls::Player, metric, reload, server, try_reload};

/// Nobody may be asked for a port of this machine.
const QUIET: &str = "rtmp: { listen: [] }\nhttp: { listen: [] }\napi: { listen: [127.0.0.1:0] }\n";

fn weir(dir: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(words).current_dir(dir).output().expect("weir runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Configurations with something that is not to be had, and what is said of it.
const FAULTY: [(&str, &str, &str); 9] = [
    ("hls: { dir: file }\n", "weir.yaml:1:13: hls.dir: ", "not a folder"),
    ("hls: { dir: file/below }\n", "weir.yaml:1:13: hls.dir: ", "not a folder"),
    ("hls: { dir: /proc/weir }\n", "weir.yaml:1:13: hls.dir: ", "/proc/weir"),
    (
        "vhosts:\n  a.org:\n    hls: { dir: file }\n",
        "weir.yaml:3:17: vhosts.a.org.hls.dir: ",
        "not a folder",
    ),
    (
        "auth:\n  play:\n    - jwt: { algorithm: RS256, public_key: none.pem }\n",
        "weir.yaml:3:44: auth.play[0].jwt.public_key: ",
        "No such file",
    ),
    (
        "vhosts: { a.org: { auth: { publish: [jwt: { algorithm: ES256, public_key: file }] } } }\n",
        "weir.yaml:1:75: vhosts.a.org.auth.publish[0].jwt.public_key: ",
        "no public key of ES256",
    ),
    ("handover: { socket: none/s }\n", "weir.yaml:1:21: handover.socket: ", "No such file"),
    ("handover: { socket: file }\n", "weir.yaml:1:21: handover.socket: ", "not a socket"),
    ("role: origin\nhls: { dir: file, enabled: yes }\n", "weir.yaml:2:13: hls.dir: ", "HLS"),
];

#[test]
fn check_and_start_refuse_what_is_not_to_be_had_and_say_where_it_stands() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("file"), "no key").expect("written");
    let file = dir.path().join("weir.yaml");
    let refused = |text: &str, place: &str, why: &str| {
        fs::write(&file, text).expect("written");
        for command in ["check", "serve"] {
            let output = weir(dir.path(), &[command, "--config", "weir.yaml"]);
            let said = said(&output);
            assert!(!output.status.success(), "{command} takes {text}{said}");
            assert!(said.contains(place) && said.contains(why), "{command}: {text}{said}");
            assert!(said.contains("= help: "), "{command}: {text}{said}");
        }
    };
    for (more, place, why) in FAULTY {
        refused(&format!("{more}{QUIET}"), place, why);
    }
    for key in ["cert: none.pem, key: file", "cert: file, key: file"] {
        let api = format!("api: {{ listen: [127.0.0.1:0], tls: {{ {key} }} }}\n");
        let rest = QUIET.lines().take(2).collect::<Vec<_>>().join("\n");
        refused(&format!("{api}{rest}\n"), "weir.yaml:1:44: api.tls.cert: ", "");
    }
    // For another machine it may be right.
    let output = weir(dir.path(), &["check", "--text-only", "--config", "weir.yaml"]);
    assert!(output.status.success(), "{}", said(&output));
    // What stands nowhere, or in the environment.
    // A start that was refused for another folder has made this one.
    let _ = fs::remove_dir_all(dir.path().join("data"));
    fs::create_dir(dir.path().join("data")).expect("a folder");
    fs::write(dir.path().join("data/hls"), "").expect("written");
    refused(QUIET, "error: hls.dir: ", "(by default)");
    let mut command = Command::new(BINARY);
    command.arg("check").env("WEIR_HLS__DIR", "file").current_dir(dir.path());
    let output = command.output().expect("weir runs");
    assert!(said(&output).contains("WEIR_HLS__DIR: hls.dir: "), "{}", said(&output));
    // An edge writes none, and neither does who has switched it off.
    for text in ["role: edge\nedge: { origins: o }\n", "hls: { enabled: false }\n"] {
        fs::write(&file, format!("{text}{QUIET}")).expect("written");
        let output = weir(dir.path(), &["check", "--config", "weir.yaml"]);
        assert!(output.status.success(), "{text}{}", said(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_another_server_has_and_leaves_nothing_behind() {
    let other = server().config("hls: { dir: shared }\n").start();
    let shared = other.dir().join("shared");
    let dir = tempfile::tempdir().expect("a folder");
    let ports = format!("rtmp: {{ listen: [\"{}\"] }}\n", other.rtmp());
    let rest = "http: { listen: [] }\napi: { listen: [] }\n";
    let text = format!("hls: {{ dir: {:?} }}\n{ports}{rest}", shared.display());
    fs::write(dir.path().join("weir.yaml"), text).expect("written");
    let output = weir(dir.path(), &["check", "--config", "weir.yaml"]);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("is in use") && said.contains("another process writes HLS"), "{said}");
    // A second server says it in its log.
    let second = server().config(&format!("hls: {{ dir: {:?} }}\n", shared.display())).start();
    second.wait_log(|line| line.to_string().contains("another process writes HLS"), SOON);
    fs::write(dir.path().join("weir.yaml"), QUIET).expect("written");
    assert!(weir(dir.path(), &["check", "--config", "weir.yaml"]).status.success());
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1, "no folder is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_to_what_is_not_to_be_had_changes_nothing() {
    let mut weir = server().config("hls: { dir: one }\n").start();
    fs::write(weir.dir().join("file"), "").expect("written");
    for (text, place) in [
        ("hls: { dir: file }\n", "weir.yaml:1:13: hls.dir"),
        (
            "auth: { play: [jwt: { algorithm: RS256, public_key: none }] }\n",
            "weir.yaml:1:53: auth.play",
        ),
    ] {
        let (status, answer) = try_reload(&mut weir, text).await;
        assert!(status == 422 || status == 409 || status == 400, "{status} {answer}");
        assert!(answer.contains(place), "{answer}");
    }
    reload(&mut weir, "hls: { dir: two }\n").await;
    assert!(weir.dir().join("two").is_dir());
}

/// A file system of a few megabytes of its own; goes with this.
struct Small(PathBuf);

impl Small {
    /// None where this user may not have one.
    fn mount(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&at).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "weir-keys"]).arg(&at);
        mount.status().is_ok_and(|status| status.success()).then_some(Self(at))
    }

    fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{options}")]).arg(&self.0);
        assert!(mount.status().is_ok_and(|status| status.success()), "remounted {options}");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Until `/readyz` says no more than that all is well, or a fault in these words beside it: no disk turns clients away.
async fn until_said(weir: &Weir, fault: Option<&str>) {
    eventually(&format!("readiness with {fault:?}"), SOON, async || {
        let mut response = http::get(weir.api(), "readyz").await;
        let text = response.text().await;
        assert_eq!(response.status, 200, "{text}");
        let is_said = fault.map_or(text == "ok\n", |fault| text.contains(fault));
        is_said.then_some(())
    })
    .await;
}

fn lines(weir: &Weir, message: &str) -> usize {
    let lines = weir.log().all();
    let lines = lines.iter().filter_map(|line| serde_json::from_str(line).ok());
    lines.filter(|line: &serde_json::Value| field(line, "message") == message).count()
}

/// The number after the newest segment that the playlist in the folder lists; 0 without one.
fn newest_in_file(dir: &Path) -> u64 {
    let text = fs::read_to_string(dir.join("live/a.m3u8"));
    text.map_or(0, |text| Playlist::parse(&text).next_sequence())
}

/// Plays more than a window of `live/a`, and misses nothing of it; the number after that.
async fn play_on(weir: &Weir) -> u64 {
    let mut player = Player::default();
    let next = player.look(weir).await.next_sequence() + 8;
    player.until(weir, "segments", |list| list.next_sequence() >= next).await;
    next
}

/// A disk that fills up, becomes one that cannot be written to at all, and loses its files: the files are behind until
/// that is over, who has to know knows it, and viewers miss no segment.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_or_read_only_later_costs_files_and_no_viewer() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(small) = Small::mount(dir.path().join("hls"), "size=4m") else {
        eprintln!("not tried: this user may not mount a file system");
        return;
    };
    let config = format!("hls: {{ dir: {:?}, segment: 500ms, window: 6 }}\n", small.0.display());
    let weir = server().config(&config).start();
    until_said(&weir, None).await;
    let _published = encoder(&weir, "live/a").await;
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    eventually("a playlist", SOON, async || {
        (http::get(weir.http(), "live/a.m3u8").await.status == 200).then_some(())
    })
    .await;

    // Somebody else fills it.
    let filler = small.0.join("filler");
    let _ = fs::write(&filler, vec![0; 4 << 20]);
    until_said(&weir, Some("No space left")).await;
    let mut next = play_on(&weir).await;
    let source = Numbered::new(12).with_picture_bytes(20_000);
    let other = Encoder::start(&weir.rtmp_url("live/b"), source, PICTURE).await;
    eventually("a newcomer", SOON, async || {
        (http::get(weir.http(), "live/b.m3u8").await.status == 200).then_some(())
    })
    .await;
    drop(other);
    let metrics = http::get(weir.api(), "metrics").await.text().await;
    let gauge = format!("weir_hls_writable{{dir=\"{}\"}} 0", small.0.display());
    assert!(metrics.contains(&gauge), "{metrics}");
    assert!(metric(&weir, "weir_hls_write_errors_total").await > 0.0, "{metrics}");
    let errors = lines(&weir, "cannot write HLS files: viewers are served from memory")
        + lines(&weir, "HLS files cannot be written: viewers are served from memory");
    assert_eq!(errors, 1, "one line a minute:\n{}", weir.log());

    fs::remove_file(&filler).expect("removed");
    until_said(&weir, None).await;
    let caught_up = async || (newest_in_file(&small.0) >= next).then_some(());
    eventually("the files go on", SOON, caught_up).await;

    small.remount("ro");
    until_said(&weir, Some("Read-only")).await;
    next = play_on(&weir).await;
    small.remount("rw");
    until_said(&weir, None).await;
    eventually("the files go on", SOON, async || (newest_in_file(&small.0) >= next).then_some(()))
        .await;

    // Somebody cleans up.
    fs::remove_dir_all(small.0.join("live")).expect("removed");
    next = play_on(&weir).await;
    eventually("there are files again", SOON, async || {
        (newest_in_file(&small.0) >= next).then_some(())
    })
    .await;
    let newest = viewer.numbers().newest_picture().unwrap_or_default();
    viewer.until_picture(newest + 25).await;
}

/// The same with low latency and several playlists: whoever waits for each part misses none.
#[tokio::test(flavor = "multi_thread")]
async fn a_ladder_of_low_latency_misses_nothing_while_its_disk_is_in_trouble() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(small) = Small::mount(dir.path().join("hls"), "size=4m") else {
        eprintln!("not tried: this user may not mount a file system");
        return;
    };
    let hls = format!("hls: {{ dir: {:?}, segment: 1s, part: 200ms }}\n", small.0.display());
    let weir = server().config(&format!("play: {{ wait: 30s }}\n{hls}")).start();
    let _camera = Camera::of(Fixture::Ladder, &weir.rtmp_url("live/a"), true).await;
    let address = weir.http();
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    for size in ["a~v0", "a~v1", "a~v2"] {
        let stopped = stopped.clone();
        let path = format!("live/{size}.m3u8");
        eventually("a playlist", SOON, async || {
            (http::get(address, &path).await.status == 200).then_some(())
        })
        .await;
        clients.spawn(async move {
            let mut client = Client::new(&path);
            client.follow(address, |_| *stopped.borrow()).await;
            client
        });
    }
    let newest = async || {
        let text = http::get(address, "live/a~v0.m3u8").await.text().await;
        Playlist::parse(&text).next_sequence()
    };
    // What is there now and three segments more of it are in the files of all of them.
    let files_go_on = async || {
        let next = newest().await + 3;
        eventually("the files go on", SOON, async || {
            let is_there = |size: &str| {
                let text = fs::read_to_string(small.0.join("live").join(size)).unwrap_or_default();
                !text.is_empty() && Playlist::parse(&text).next_sequence() >= next
            };
            ["a~v0.m3u8", "a~v1.m3u8", "a~v2.m3u8"].into_iter().all(is_there).then_some(())
        })
        .await;
    };
    // Longer than a list.
    let play_on = async || {
        let next = newest().await + 8;
        eventually("segments", SOON, async || (newest().await >= next).then_some(())).await;
    };
    files_go_on().await;

    let filler = small.0.join("filler");
    let _ = fs::write(&filler, vec![0; 4 << 20]);
    until_said(&weir, Some("No space left")).await;
    play_on().await;
    fs::remove_file(&filler).expect("removed");
    files_go_on().await;

    small.remount("ro");
    until_said(&weir, Some("Read-only")).await;
    play_on().await;
    small.remount("rw");
    files_go_on().await;

    fs::remove_dir_all(small.0.join("live")).expect("removed");
    play_on().await;
    files_go_on().await;
    stop.send_replace(true);
    for client in clients.join_all().await {
        let list = &client.playlist;
        assert!(client.runs.len() == 1 && client.runs[0].segments >= 30, "{list:?}");
        assert!(list.segments.iter().all(|segment| !segment.discontinuity), "{list:?}");
    }
}

/// A disk that is full at the start keeps nobody away; one that is mounted later is found.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_does_not_keep_the_server_from_starting() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = dir.path().join("hls");
    let Some(small) = Small::mount(at.clone(), "size=64k") else {
        eprintln!("not tried: this user may not mount a file system");
        return;
    };
    let _ = fs::write(at.join("filler"), vec![0; 64 << 10]);
    let weir = server().config(&format!("hls: {{ dir: {:?} }}\n", at.display())).start();
    until_said(&weir, Some("No space left")).await;
    drop(small);
    until_said(&weir, None).await;
}

/// A live stream without a segment yet is not one that nobody publishes.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_stream_without_a_segment_is_not_said_to_be_nobodys() {
    let weir = server().config("play: { wait: 1s }\nhls: { segment: 1m }\n").start();
    let _published = encoder(&weir, "live/a").await;
    let mut response = http::get(weir.http(), "live/a.m3u8").await;
    let text = response.text().await;
    assert!(
        response.status == 503 && text.contains("live/a is live"),
        "{} {text}",
        response.status
    );
    assert!(response.header("retry-after").is_some());
    let mut response = http::get(weir.http(), "live/b.m3u8").await;
    assert_eq!((response.status, &*response.text().await), (404, "nobody publishes /live/b\n"));
}

/// Too few descriptors for what is promised are said.
#[test]
fn too_few_descriptors_are_said() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("weir.yaml"), QUIET).expect("written");
    let mut command = Command::new("prlimit");
    command.args(["--nofile=1024:1024", BINARY, "check", "--config", "weir.yaml"]);
    let output = command.current_dir(dir.path()).output().expect("prlimit runs");
    assert!(said(&output).contains("limits.connections is 20000"), "{}", said(&output));
}
