//! Commands.

use std::{fs, process::Command};

use weir_testkit::{
    camera::Camera,
    eventually,
    ffmpeg::Ffmpeg,
    packets::{Form, Kind, read},
};

use super::{SOON, children, encoder, server, until_child, until_gone, until_logged, until_runs};

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_records_a_stream_until_it_ends() {
    let run = "[ffmpeg, -loglevel, warning, -i, '{url}', -c, copy, -y, './{stream}.flv']";
    let weir = server(&format!("exec: [{{ streams: live/*, run: {run} }}]\n")).start();
    let camera = Camera::start(&weir.rtmp_url("live/a")).await;
    let _other = encoder(&weir, "other/b").await;
    let pid = until_runs(&weir, "/live/a").await;
    let file = weir.dir().join("a.flv");
    eventually("something is recorded", SOON, async || {
        fs::metadata(&file).is_ok_and(|about| about.len() > 100_000).then_some(())
    })
    .await;
    assert_eq!(children(&weir).await.len(), 1, "of no other app");
    drop(camera);
    until_gone(pid).await;
    let recorded = tokio::task::block_in_place(|| {
        read(Ffmpeg::System, &file.display().to_string(), Form::Carried, SOON)
    });
    assert!(recorded.packets(Kind::Video).len() >= 25 && !recorded.packets(Kind::Audio).is_empty());
    eventually("no program is left", SOON, async || children(&weir).await.is_empty().then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_comes_again() {
    let weir = server("exec: [{ run: [sleep, 1000] }]\n").start();
    let _published = encoder(&weir, "live/a").await;
    let pid = until_runs(&weir, "/live/a").await;
    let kill = Command::new("kill").args(["-KILL", &pid.to_string()]).status().expect("it runs");
    assert!(kill.success());
    let again = |child: &serde_json::Value| child["state"] == "running" && child["pid"] != pid;
    until_child(&weir, "/live/a", again).await;
    until_logged(&weir, &["child ended: it is started again", "signal: 9"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_words_and_nothing_else() {
    let run = "[touch, './made {stream}', '{stream}']";
    let weir = server(&format!("exec: [{{ run: {run}, restart: never }}]\n")).start();
    let _fine = encoder(&weir, "live/$(reboot);x%20y").await;
    until_child(&weir, "/live/$(reboot);x y", |child| child["state"] == "over").await;
    // It begins with no letter.
    assert!(!weir.dir().join("made $(reboot);x y").exists());
    let _fine = encoder(&weir, "live/a$(reboot);x%20y").await;
    until_child(&weir, "/live/a$(reboot);x y", |child| child["reason"] == "exit status: 0").await;
    assert!(weir.dir().join("made a$(reboot);x y").exists());
    assert!(weir.dir().join("a$(reboot);x y").exists());
    let _hostile = encoder(&weir, "live/--version").await;
    let over = until_child(&weir, "/live/--version", |child| child["state"] == "over").await;
    let why = over["reason"].as_str().expect("a reason");
    assert!(why.contains("no argument may begin with the name"), "{why}");
    assert!(!weir.log().all().iter().any(|line| line.contains("GNU coreutils")));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_run_than_may() {
    let weir = server("children: { max: 1 }\nexec: [{ run: [sleep, 1000] }]\n").start();
    let first = encoder(&weir, "live/a").await;
    until_runs(&weir, "/live/a").await;
    let _second = encoder(&weir, "live/b").await;
    let waits = until_child(&weir, "/live/b", |child| child["state"] == "waiting").await;
    assert!(waits["reason"].as_str().is_some_and(|why| why.contains("children.max")), "{waits}");
    drop(first);
    until_runs(&weir, "/live/b").await;
}
