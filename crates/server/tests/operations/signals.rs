//! The process as a supervisor sees it: its signals, its log file and its pid file.

use std::{fs, path::Path, process::Command};

use weir_testkit::{
    Weir, eventually, http,
    peer::{Numbered, Publisher, Viewer},
    server::field,
};

use crate::{BINARY, DRAIN_TIMEOUT, NO_HLS, SOON};

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Waits until the file at `path` has a line with `text`.
async fn until_line(path: &Path, text: &str) {
    eventually(&format!("{text} in {}", path.display()), SOON, async || {
        read(path).lines().any(|line| line.contains(text)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigusr1_opens_the_log_file_again_and_nothing_else_happens() {
    let config = format!("{NO_HLS}log_file: weir.log\n");
    let mut weir = Weir::builder(BINARY).config(&config).start();
    let (log, moved) = (weir.dir().join("weir.log"), weir.dir().join("weir.log.1"));
    // Nothing waits for it, so that lines go to stderr until then.
    until_line(&log, "log file opened").await;
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(25)).await;
    publisher.pictures(1).await;
    until_line(&log, "session began").await;
    fs::rename(&log, &moved).expect("moved");
    weir.signal("USR1");
    until_line(&log, "log file opened").await;
    let before = read(&moved);
    let mut second = Publisher::start(&weir.rtmp_url("live/b"), Numbered::new(25)).await;
    second.pictures(1).await;
    until_line(&log, "/live/b").await;
    assert_eq!(read(&moved), before, "the old file is left alone");
    assert!(read(&log).lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert!(!weir.log().to_string().contains("session began"), "{}", weir.log());
    publisher.pictures(1).await;
    drop((publisher, second));
    weir.terminate();
    let ended = tokio::task::block_in_place(|| weir.wait_exit(DRAIN_TIMEOUT * 2));
    assert!(ended.success());
    assert!(read(&log).contains("drain ended"), "the last lines are there: {}", read(&log));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_log_file_sigusr1_does_nothing() {
    let weir = Weir::builder(BINARY).config(NO_HLS).start();
    weir.signal("USR1");
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(25)).await;
    publisher.pictures(1).await;
    weir.wait_log(|line| field(line, "message") == "session began", SOON);
}

/// A FIFO that nobody reads hangs whoever opens it, as a file system of a network does that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_file_that_hangs_or_is_full_stops_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let fifo = dir.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs");
    assert!(made.success());
    for path in [fifo.as_path(), Path::new("/dev/full")] {
        let drain = "drain: { notice: 0s, timeout: 5s }\n";
        let config = format!("{NO_HLS}{drain}log_file: {path:?}\n");
        let mut weir = Weir::builder(BINARY).config(&config).start();
        let url = weir.rtmp_url("live/a");
        let mut publisher = Publisher::start(&url, Numbered::new(25)).await;
        publisher.pictures(25).await;
        let mut viewer = Viewer::rtmp(&url).await;
        let newest = publisher.pictures(25).await;
        let seen = tokio::time::timeout(SOON, viewer.until_picture(newest)).await;
        seen.expect("the stream goes on");
        weir.signal("USR1");
        assert_eq!(http::get(weir.api(), "healthz").await.status, 200);
        if path.starts_with("/dev") {
            eventually("lines are lost and counted", SOON, async || {
                let page = http::get(weir.api(), "metrics").await.text().await;
                let lost = page.lines().find(|line| line.starts_with("weir_log_lines_lost_total "));
                lost.filter(|line| !line.ends_with(" 0")).map(drop)
            })
            .await;
        }
        drop((publisher, viewer));
        weir.terminate();
        let ended = tokio::task::block_in_place(|| weir.wait_exit(SOON));
        assert!(ended.success(), "{}", path.display());
    }
}

/// What Kubernetes does with a `preStop` hook that runs `srs grace`: SIGQUIT, and SIGTERM as soon as the hook is done.
#[tokio::test(flavor = "multi_thread")]
async fn sigquit_lets_everybody_go_and_a_sigterm_behind_it_is_no_second_signal() {
    let config = format!("{NO_HLS}drain: {{ notice: 1s, timeout: 30s }}\npid_file: weir.pid\n");
    let mut weir = Weir::builder(BINARY).config(&config).start();
    let pid_file = weir.dir().join("weir.pid");
    assert_eq!(read(&pid_file), format!("{}\n", weir.pid()));
    weir.signal("QUIT");
    weir.wait_log(|line| field(line, "message") == "drain began", SOON);
    weir.signal("QUIT");
    weir.signal("TERM");
    let ended = tokio::task::block_in_place(|| weir.wait_exit(SOON));
    assert!(ended.success(), "{}", weir.log());
    let log = weir.log().to_string();
    assert!(log.contains("drain ended") && !log.contains("second signal"), "{log}");
    assert!(log.contains("SIGQUIT"), "{log}");
    assert!(!pid_file.exists(), "it is removed with the process");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pid_file_is_that_of_the_process_that_serves() {
    let config = format!(
        "{NO_HLS}drain: {{ notice: 0s, timeout: 20s }}\npid_file: weir.pid\nhandover: {{ socket: weir.sock }}\n"
    );
    let mut weir = Weir::builder(BINARY).config(&config).start();
    let pid_file = weir.dir().join("weir.pid");
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(25)).await;
    publisher.pictures(1).await;
    // A new process, and the old one has clients that it lets go.
    let mut old = weir.replace();
    assert_eq!(read(&pid_file), format!("{}\n", weir.pid()));
    tokio::task::block_in_place(|| old.wait_success(SOON));
    assert_eq!(read(&pid_file), format!("{}\n", weir.pid()), "the old one leaves it");
    // It is killed: its file stays, and the next process takes its place.
    weir.kill();
    assert_eq!(read(&pid_file), format!("{}\n", weir.pid()));
    weir.restart();
    assert_eq!(read(&pid_file), format!("{}\n", weir.pid()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_takes_over_again_has_its_pid_in_the_file() {
    let config = format!(
        "{NO_HLS}drain: {{ notice: 0s, timeout: 30s }}\npid_file: weir.pid\nhandover: {{ socket: weir.sock }}\n"
    );
    let mut weir = Weir::builder(BINARY).config(&config).start();
    let pid_file = weir.dir().join("weir.pid");
    // A publisher who stays a while: its key frames are far apart.
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(1000)).await;
    publisher.pictures(1).await;
    let old = weir.replace();
    weir.kill();
    let expected = format!("{}\n", old.pid());
    eventually("the old process has its file again", SOON, async || {
        (read(&pid_file) == expected).then_some(())
    })
    .await;
}

#[test]
fn what_cannot_be_written_is_said_before_it_starts() {
    let dir = tempfile::tempdir().expect("a folder");
    for (config, said) in [
        ("pid_file: none/weir.pid\n", "pid_file: cannot create a file in none"),
        ("log_file: none/weir.log\n", "log_file: cannot create a file in none"),
        ("pid_file: .\n", "pid_file: . exists and is not a file"),
    ] {
        fs::write(dir.path().join("weir.yaml"), config).expect("written");
        for command in ["serve", "check"] {
            let mut run = Command::new(BINARY);
            let run = run.args([command, "-c", "weir.yaml"]).current_dir(dir.path());
            let output = run.output().expect("weir runs");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && stderr.contains(said), "{command}: {stderr}");
        }
    }
}
