//! Streams that FFmpeg brings in.

use weir_testkit::{eventually, peer::Player};

use super::{SOON, children, clip, reload, server, streams, until_gone, until_runs};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_round_as_a_stream_for_as_long_as_it_is_configured() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = clip(dir.path());
    let ingest = format!("ingest: [{{ stream: live/x, from: '{}' }}]\n", file.display());
    // Nobody else may publish.
    let auth = "auth: { publish: [secret: { values: [s3cret] }] }\n";
    let mut weir = server(&format!("{auth}{ingest}")).start();
    let pid = until_runs(&weir, "/live/x").await;
    let mut player = Player::rtmp(&weir.rtmp_url("live/x")).await;
    let first = player.next().await.expect("a stream").timestamp;
    let mut last = first;
    // Two seconds are in the file.
    while last < first + 5000 {
        let tag = player.next().await.expect("it goes on");
        assert!(tag.timestamp + 500 > last, "one timeline: {last} and {}", tag.timestamp);
        last = last.max(tag.timestamp);
    }
    reload(&mut weir, auth).await;
    until_gone(pid).await;
    eventually("the stream has ended", SOON, async || {
        (streams(&weir).await.is_empty() && children(&weir).await.is_empty()).then_some(())
    })
    .await;
}
