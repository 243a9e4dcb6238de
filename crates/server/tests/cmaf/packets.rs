//! What was published comes out, for every codec.

use std::time::Duration;

use tokio::task::JoinSet;
use weir_testkit::{
    camera::publish_in_time,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls_client::Client,
    packets::{Extent, Form, Kind, Media, continuation, frame_of, read, tags_of},
};

use crate::{TIMEOUT, decode, file_of, start};

const CONFIG: &str = "publish: { linger: 0s }\nplay: { wait: 60s }\n\
    hls: { container: fmp4, part: 200ms, segment: 2s, window: 20 }\n";

/// Eight seconds of each codec at once, in real time, with a client for each that takes every part and every segment.
/// A segment is its parts, joined, so what is read from segments holds for parts too.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_comes_out_of_segments_and_of_parts() {
    let fixtures: Vec<_> = Fixture::ALL.into_iter().chain(Fixture::SOUNDS).collect();
    // Made before anybody waits for them.
    let tags: Vec<_> = fixtures.iter().map(|fixture| tags_of(&fixture.file())).collect();
    let weir = start(CONFIG);
    let mut clients = JoinSet::new();
    for (fixture, tags) in fixtures.iter().copied().zip(tags) {
        let (url, http) = (weir.rtmp_url(&format!("live/{fixture:?}")), weir.http());
        clients.spawn(async move {
            let mut client = Client::new(&format!("live/{fixture:?}.m3u8"));
            let publish = publish_in_time(&url, &tags);
            tokio::join!(publish, client.follow(http, |_| false));
            (fixture, client)
        });
    }
    for (fixture, client) in clients.join_all().await {
        tokio::task::block_in_place(|| check(fixture, &client));
    }
}

#[track_caller]
fn check(fixture: Fixture, client: &Client) {
    let [run] = client.runs.as_slice() else {
        panic!("{fixture:?}: one init segment, not {:?}", client.runs)
    };
    assert!(run.map.ends_with(".mp4"), "{fixture:?}: {:?}", run.map);
    assert_eq!(run.segments, 4, "{fixture:?}: 8 s in segments of 2 s: {:?}", client.playlist);
    // The last ones of a stream that has ended are listed without parts.
    assert!(client.whole >= 1, "{fixture:?}: no segment with its parts");
    assert!(client.versions > 20, "{fixture:?}: only {} versions seen", client.versions);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = file_of(run, &folder, "played.mp4");
    let played = read(Ffmpeg::Nine, &file.display().to_string(), Form::Carried, TIMEOUT);
    let source = read(Ffmpeg::Nine, &fixture.file().display().to_string(), Form::Carried, TIMEOUT);
    let result = continuation(&source, &played, Extent::ToEnd, Duration::ZERO);
    result.unwrap_or_else(|difference| panic!("{fixture:?}: {difference}"));
    let tags = tags_of(&fixture.file());
    let first = tags.iter().position(|tag| frame_of(tag).is_key()).unwrap_or(0);
    let published = Media::of_tags(&tags[first..]);
    for kind in [Kind::Video, Kind::Audio] {
        let counts = [&published, &played].map(|media| media.packets(kind).len());
        assert_eq!(counts[0], counts[1], "{fixture:?}: {kind:?} packets published and played");
    }
    decode(&file);
}
