//! What the server holds when it has nothing to do any more. `cargo xtask test release` runs this on the release binary
//! and names it in `WEIR_RELEASE_BIN`; size, start-up and idle memory are measured there.

use std::{fs, ops::Range, time::Duration};

use weir_testkit::{
    Weir, eventually,
    peer::{Numbered, Publisher, Viewer},
};

/// Streams published and ended.
const STREAMS: usize = 1000;

/// So many at a time. Few, because the allocator keeps what the largest number of streams needed at once, and this is
/// to measure what streams leave behind.
const BATCH: usize = 4;

/// What may be left of all of them: of each a window, and what its playlist goes on with if its publisher returns. Some
/// 12 MB are left, of which a half is in use.
const GROWTH_BYTES_MAX: u64 = 13_500_000;

/// A stream has three groups of one second.
const PICTURES: u64 = 75;
const PICTURE_BYTES: usize = 4000;

/// HLS is on, as it is by default: the files of an ended stream, and its playlist, stay for two minutes on purpose and
/// count.
const CONFIG: &str = "publish: { linger: 0s }\n";

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
#[ignore = "measures the release binary: cargo xtask test release"]
async fn a_thousand_streams_leave_no_memory_behind() {
    let binary = std::env::var_os("WEIR_RELEASE_BIN");
    let binary = binary.expect("WEIR_RELEASE_BIN names the binary; cargo xtask test release does");
    let weir = Weir::builder(binary).config(CONFIG).env("WEIR_LOG", "info").start();
    let before = weir.rss_bytes();
    let mut most = before;
    for first in (0..STREAMS).step_by(BATCH) {
        most = most.max(batch(&weir, first..first + BATCH).await);
    }
    wait_sessions_ended(&weir, 2 * STREAMS);
    // The memory of ended streams is given back a moment after the last one.
    let back = async || Some(weir.rss_bytes()).filter(|after| *after <= before + GROWTH_BYTES_MAX);
    let after = eventually("the memory of all streams comes back", SOON, back).await;
    println!("memory at the start, bytes  {before:>12}");
    println!("memory at the most, bytes   {most:>12}");
    println!("after {STREAMS} streams, bytes   {after:>12}   budget {}", before + GROWTH_BYTES_MAX);
}

/// Publishes and plays some streams to their ends; the memory held before they ended.
async fn batch(weir: &Weir, numbers: Range<usize>) -> u64 {
    let mut streams = Vec::new();
    for number in numbers.clone() {
        let source = Numbered::default().with_picture_bytes(PICTURE_BYTES);
        let name = format!("live/{number}");
        let mut publisher = Publisher::start(&weir.rtmp_url(&name), source).await;
        publisher.pictures(1).await;
        let viewer = if number % 2 == 0 {
            Viewer::rtmp(&weir.rtmp_url(&name)).await
        } else {
            Viewer::http_flv(weir.http(), &format!("{name}.flv")).await
        };
        streams.push((publisher, viewer));
    }
    for (publisher, viewer) in &mut streams {
        let last = publisher.pictures(PICTURES).await;
        viewer.until_picture(last).await;
    }
    let held = weir.rss_bytes();
    for (publisher, mut viewer) in streams {
        publisher.stop().await;
        viewer.until_end().await;
    }
    // On a slow disk more and more streams would wait to be written, and the most at a time decides what the allocator
    // keeps.
    for number in numbers {
        let playlist = weir.dir().join(format!("data/hls/live/{number}.m3u8"));
        let ended =
            async || fs::read_to_string(&playlist).ok().filter(|it| it.contains("#EXT-X-ENDLIST"));
        eventually("the end of the playlist is written", SOON, ended).await;
    }
    held
}

/// Each stream had a publisher and a viewer, which have closed their connections.
fn wait_sessions_ended(weir: &Weir, count: usize) {
    let mut ended = 0;
    let all = weir.log().find(SOON, |line| {
        ended += usize::from(line.contains("session ended"));
        (ended == count).then_some(())
    });
    assert!(all.is_some(), "{ended} of {count} sessions have ended");
}
