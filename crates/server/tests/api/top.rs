//! `weir top`, as text and in a terminal.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use weir_testkit::peer::{Encoder, Numbered};

use crate::{ADMIN, SOON, server, until};

/// Runs `command` in a terminal of 40 lines and 140 columns; its keys, and what it writes to the screen.
fn in_terminal(command: &str) -> (std::process::Child, mpsc::Receiver<Vec<u8>>) {
    let script = format!("stty rows 40 cols 140; exec {command}");
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command", &script, "/dev/null"])
        .env("WEIR_TOKEN", ADMIN)
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`script` of bsdutils runs");
    let mut screen = child.stdout.take().expect("a pipe");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            if sender.send(bytes[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    (child, receiver)
}

/// Waits until `text` is written to the screen.
fn wait_for(screen: &mpsc::Receiver<Vec<u8>>, text: &str) {
    let deadline = Instant::now() + SOON;
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        let left = deadline.saturating_duration_since(Instant::now());
        let more = screen.recv_timeout(left);
        seen.extend(more.unwrap_or_else(|_| {
            panic!(
                "`{text}` is not on the screen: {}",
                String::from_utf8_lossy(&seen).escape_debug()
            )
        }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_the_lists_that_keys_ask_for_until_it_is_ended() {
    let node = server().start();
    let every = Duration::from_millis(40);
    let _encoder = Encoder::start(&node.rtmp_url("live/a"), Numbered::new(10), every).await;
    until(&node, "streams", |answer| answer["total"] == 1).await;
    let command = format!("{} top --every 250ms --api {}", env!("CARGO_BIN_EXE_weir"), node.api());
    let played = tokio::task::spawn_blocking(move || {
        let (mut child, screen) = in_terminal(&command);
        let mut keys = child.stdin.take().expect("a pipe");
        let mut press = |key: &[u8]| {
            keys.write_all(key).and_then(|()| keys.flush()).expect("it takes keys");
        };
        wait_for(&screen, "/live/a");
        press(b"2");
        wait_for(&screen, "ADDRESS");
        press(b"3");
        wait_for(&screen, "MEMORY");
        press(b"q");
        // The screen that was there before is there again.
        wait_for(&screen, "\u{1b}[?1049l");
        child.wait().expect("it ends").success()
    });
    assert!(played.await.expect("it is played"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_it_is_text() {
    let node = server().start();
    let every = Duration::from_millis(40);
    let _encoder = Encoder::start(&node.rtmp_url("live/a"), Numbered::new(10), every).await;
    until(&node, "streams", |answer| answer["total"] == 1).await;
    let api = node.api().to_string();
    let run = move |token: &'static str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["top", "--api", &api]).env("WEIR_TOKEN", token);
        command.output().expect("weir runs")
    };
    let (said, refused) =
        tokio::task::spawn_blocking(move || (run(ADMIN), run("wrong"))).await.expect("they end");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && !text.contains('\u{1b}'), "{text}");
    assert!(text.starts_with("NODE ") && text.contains("origin"), "{text}");
    assert!(
        text.lines().any(|line| line.starts_with("/live/a ") && line.contains(" live ")),
        "{text}"
    );
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("answers 401"), "{why}");
}
