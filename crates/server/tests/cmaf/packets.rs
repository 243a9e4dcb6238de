//! What was published comes out, for every codec.

use std::time::Duration;

use tokio::task::JoinSet;
use weir_testkit::{
    Weir,
    camera::publish_in_time,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls_client::Client,
    packets::{Extent, Form, Kind, Media, continuation, frame_of, read, tags_of},
};

use crate::{TIMEOUT, decode, file_of, start};

const CONFIG: &str = "publish: { linger: 0s }\nplay: { wait: 60s }\n\
    hls: { container: fmp4, part: 200ms, segment: 2s, window: 20 }\n";

/// Those that FFmpeg plays from the playlist as well.
const PLAYED: [Fixture; 4] =
    [Fixture::AvcBFramesAac, Fixture::HevcAac, Fixture::Vp9Opus, Fixture::AudioOnly];

/// FFmpeg's player of HLS has times of its own.
const TOLERANCE: Duration = Duration::from_millis(1);

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
    let checked = clients.join_all().await.into_iter().map(|(fixture, client)| {
        let checked = tokio::task::block_in_place(|| check(fixture, &client, &weir));
        checked.map_err(|wrong| format!("{fixture:?}: {wrong}"))
    });
    let wrong: Vec<_> = checked.filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(fixture: Fixture, client: &Client, weir: &Weir) -> Result<(), String> {
    let runs: Vec<_> = client.runs.iter().map(|run| (&run.map, run.segments)).collect();
    let [run] = client.runs.as_slice() else {
        return Err(format!("one init segment, not {runs:?}"));
    };
    // 8 s in segments of 2 s. The last ones of a stream that has ended are listed without parts.
    if !run.map.ends_with(".mp4") || run.segments != 4 || client.whole < 1 || client.versions < 8 {
        return Err(format!("{runs:?}, {} as parts, {} versions", client.whole, client.versions));
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = file_of(run, &folder, "played.mp4");
    // MP4 has no temporal delimiters (AV1-ISOBMFF, 2.4); the rest is carried as in FLV.
    let is_av1 = fixture == Fixture::Av1Aac;
    let form = if is_av1 { Form::Elementary(fixture) } else { Form::Carried };
    let [source, played] = [&fixture.file(), &file]
        .map(|file| read(Ffmpeg::Nine, &file.display().to_string(), form, TIMEOUT));
    continuation(&source, &played, Extent::ToEnd, Duration::ZERO)?;
    if PLAYED.contains(&fixture) {
        let url = weir.http_url(&format!("live/{fixture:?}.m3u8"));
        let played = read(Ffmpeg::Nine, &url, form, TIMEOUT);
        continuation(&source, &played, Extent::ToEnd, TOLERANCE)
            .map_err(|wrong| format!("FFmpeg as a player: {wrong}"))?;
    }
    let tags = tags_of(&fixture.file());
    let first = tags.iter().position(|tag| frame_of(tag).is_key()).unwrap_or(0);
    let published = Media::of_tags(&tags[first..]);
    for kind in [Kind::Video, Kind::Audio] {
        let [published, played] = [&published, &played].map(|media| media.packets(kind).len());
        if published != played {
            return Err(format!("{kind:?}: {published} packets published, {played} played"));
        }
    }
    decode(&file)
}
