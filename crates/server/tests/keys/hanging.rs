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

async fn until_ready(weir: &Weir, ready: bool, words: &str) {
    eventually(&format!("readiness {ready} {words}"), SOON, async || {
        let mut response = http::get(weir.api(), "readyz").await;
        let text = response.text().await;
        ((response.status == 200) == ready && text.contains(words)).then_some(())
    })
    .await;
}

/// Who watches elsewhere notices nothing of it, who has to know does, and the streams go on in another folder as soon
/// as there is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_holds_up_its_own_hls_and_nothing_else() {
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
    until_ready(&weir, true, "ok").await;

    let one = weir.dir().join("one");
    let Some(hanging) = Hanging::over(&one) else {
        eprintln!("not tried: this user may not mount a file system");
        return;
    };
    until_ready(&weir, false, "is a file system hanging?").await;
    assert_eq!(metric(&weir, "weir_hls_writable{dir=\"one\"}").await, 0.0);
    assert_eq!(metric(&weir, "weir_hls_writable{dir=\"other\"}").await, 1.0);
    // By now every stream there has had a segment to write.
    let other = newest(&weir, OTHER).await;
    until_newer(&weir, OTHER, other + 4).await;
    for viewer in &mut viewers {
        let picture = viewer.numbers().newest_picture().expect("a picture");
        viewer.until_picture(picture + 25).await;
    }
    // More viewers of these files than there are threads; whoever else wants one is served meanwhile.
    let asked = (0..STREAMS).map(|number| {
        let address = weir.http();
        tokio::spawn(async move { http::get(address, &format!("live/{number}.m3u8")).await.status })
    });
    let asked: Vec<_> = asked.collect();
    let other = newest(&weir, OTHER).await;
    until_newer(&weir, OTHER, other + 1).await;
    for status in asked {
        assert_eq!(status.await.expect("an answer"), 503);
    }

    reload(&mut weir, &config("three")).await;
    for number in [0, STREAMS / 2, STREAMS - 1] {
        let path = format!("live/{number}.m3u8");
        let there = newest(&weir, &path).await;
        until_newer(&weir, &path, there).await;
        assert!(weir.dir().join(format!("three/{path}")).exists(), "{path}");
    }
    until_ready(&weir, true, "ok").await;
    drop(hanging);
    for encoder in &encoders {
        encoder.assert_connected();
    }
    let _watching = viewers;
}

/// One that hangs at the start keeps nobody from RTMP, and is found when it answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_at_the_start_keeps_nobody_from_rtmp() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(hanging) = Hanging::over(dir.path()) else {
        eprintln!("not tried: this user may not mount a file system");
        return;
    };
    let config = format!("hls: {{ dir: {:?}, segment: 500ms, window: 3 }}\n", dir.path().display());
    let weir = server().config(&config).start();
    let _encoder = encoder(&weir, "live/a").await;
    Viewer::rtmp(&weir.rtmp_url("live/a")).await.until_picture(1).await;
    until_ready(&weir, false, "is a file system hanging?").await;
    drop(hanging);
    until_ready(&weir, true, "ok").await;
    newest(&weir, "live/a.m3u8").await;
}
