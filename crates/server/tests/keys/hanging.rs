//! A disk that hangs: whoever opens or writes a file there waits for good.

use weir_testkit::{Weir, eventually, hanging::Hanging, hls::Playlist, http, peer::Viewer};

use crate::{SOON, encoder, metric, reload, server};

/// More streams than a folder has threads.
const STREAMS: usize = 18;

const OTHER: &str = "live/other.m3u8?vhost=b.org";

fn config(dir: &str) -> String {
    let common = "segment: 500ms, window: 3";
    format!("hls: {{ dir: {dir}, {common} }}\nvhosts: {{ b.org: {{ hls: {{ dir: other }} }} }}\n")
}

/// The number of the newest segment in the playlist at `path`, once there is one.
async fn newest(weir: &Weir, path: &str) -> u64 {
    eventually(&format!("a playlist at {path}"), SOON, async || {
        let mut response = http::get(weir.http(), path).await;
        let text = response.text().await;
        let list = (response.status == 200).then(|| Playlist::parse(&text))?;
        Some(list.media_sequence + list.segments.len() as u64)
    })
    .await
}

async fn until_newer(weir: &Weir, path: &str, than: u64) {
    eventually(&format!("segments from {than} on at {path}"), SOON, async || {
        (newest(weir, path).await > than).then_some(())
    })
    .await;
}

/// Until `/readyz` says that a file system hangs, or that all is well.
async fn until_said(weir: &Weir, hangs: bool) {
    eventually(&format!("readiness while a file system hangs: {hangs}"), SOON, async || {
        let mut response = http::get(weir.api(), "readyz").await;
        let text = response.text().await;
        assert_eq!(response.status, 200, "{text}");
        (text.contains("is a file system hanging?") == hangs).then_some(())
    })
    .await;
}

/// Who watches notices nothing of it, who has to know does, and the files go on in another folder as soon as there is
/// one.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_holds_up_its_own_files_and_nothing_else() {
    let mut weir = server().config(&config("one")).start();
    let mut encoders = Vec::new();
    for number in 0..STREAMS {
        encoders.push(encoder(&weir, &format!("live/{number}")).await);
    }
    encoders.push(encoder(&weir, "live/other?vhost=b.org").await);
    for number in 0..STREAMS {
        newest(&weir, &format!("live/{number}.m3u8")).await;
    }
    newest(&weir, OTHER).await;
    let mut viewers = [
        Viewer::rtmp(&weir.rtmp_url("live/0")).await,
        Viewer::http_flv(weir.http(), "live/0.flv").await,
    ];
    for viewer in &mut viewers {
        viewer.until_picture(1).await;
    }
    until_said(&weir, false).await;

    let one = weir.dir().join("one");
    let Some(hanging) = Hanging::over(&one) else {
        eprintln!("not tried: this user may not mount a file system");
        return;
    };
    until_said(&weir, true).await;
    assert_eq!(metric(&weir, "weir_hls_writable{dir=\"one\"}").await, 0.0);
    assert_eq!(metric(&weir, "weir_hls_writable{dir=\"other\"}").await, 1.0);
    // By now every stream there has had a segment to write.
    let other = newest(&weir, OTHER).await;
    until_newer(&weir, OTHER, other + 4).await;
    for viewer in &mut viewers {
        let picture = viewer.numbers().newest_picture().expect("a picture");
        viewer.until_picture(picture + 25).await;
    }
    // Whoever watches one of these streams goes on.
    for number in 0..STREAMS {
        let path = format!("live/{number}.m3u8");
        let there = newest(&weir, &path).await;
        until_newer(&weir, &path, there).await;
    }

    reload(&mut weir, &config("three")).await;
    for number in [0, STREAMS / 2, STREAMS - 1] {
        let path = format!("live/{number}.m3u8");
        let there = newest(&weir, &path).await;
        until_newer(&weir, &path, there).await;
        let file = weir.dir().join(format!("three/{path}"));
        eventually(&format!("{path} in the other folder"), SOON, async || {
            file.exists().then_some(())
        })
        .await;
    }
    until_said(&weir, false).await;
    drop(hanging);
    for encoder in &encoders {
        encoder.assert_connected();
    }
    let _watching = viewers;
}

/// One that hangs at the start keeps nobody away, and gets its files when it answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_at_the_start_keeps_nobody_away() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(hanging) = Hanging::over(dir.path()) else {
        eprintln!("not tried: this user may not mount a file system");
        return;
    };
    let config = format!("hls: {{ dir: {:?}, segment: 500ms, window: 3 }}\n", dir.path().display());
    let weir = server().config(&config).start();
    let _encoder = encoder(&weir, "live/a").await;
    Viewer::rtmp(&weir.rtmp_url("live/a")).await.until_picture(1).await;
    let first = newest(&weir, "live/a.m3u8").await;
    until_newer(&weir, "live/a.m3u8", first).await;
    until_said(&weir, true).await;
    drop(hanging);
    until_said(&weir, false).await;
    let file = dir.path().join("live/a.m3u8");
    eventually("its files", SOON, async || file.exists().then_some(())).await;
}
