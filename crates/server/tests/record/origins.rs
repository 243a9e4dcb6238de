//! Origins that share a volume and nothing else, with an edge before them: what either has received is in its files,
//! also when one takes the place of the other.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use tokio::task::{JoinHandle, block_in_place};
use weir_flv::Tag;
use weir_media::Track;
use weir_testkit::{
    Weir,
    cluster::Cluster,
    eventually,
    fixture::Fixture,
    hls::Playlist,
    http,
    packets::{Form, Kind, Media, frame_of, read, tags_of},
    peer::{Encoder, Numbered, PICTURE_MILLIS, Piece, Player, Publisher},
};

use crate::{BINARY, SOON, TIMEOUT, files, is_complete, is_media, media, recordings, send};

/// Pictures from one key frame to the next: half a second.
const GROUP: u64 = 12;

const PICTURE: Duration = Duration::from_millis(PICTURE_MILLIS as u64);

const ORIGINS: [&str; 2] = ["127.0.0.1", "127.0.0.2"];

/// Enough that both origins have some of them.
const STREAMS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// An origin that writes all it has below `volume`.
fn config(volume: &Path) -> String {
    let volume = volume.display();
    format!(
        "publish: {{ linger: 0s }}\ndrain: {{ notice: 0s, timeout: 30s }}\n\
         hls: {{ dir: {volume}/hls, segment: 1s, window: 60 }}\n\
         record: {{ streams: '*', dir: {volume}/r, path: '{{stream}}' }}\n"
    )
}

/// The names of the streams that are published to this one.
async fn live(weir: &Weir) -> Vec<String> {
    let text = http::get(weir.api(), "api/v1/streams?count=100").await.text().await;
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let streams = answer["streams"].as_array().expect("streams").clone();
    let live = streams.iter().filter(|stream| stream["publish"]["active"] == true);
    live.filter_map(|stream| stream["name"].as_str().map(str::to_owned)).collect()
}

/// Plays `stream` where it is recorded: what is seen there was received there.
fn tap(origin: &Weir, stream: &str) -> JoinHandle<Vec<Tag>> {
    let url = origin.rtmp_url(&format!("live/{stream}"));
    tokio::spawn(async move { Player::rtmp(&url).await.until_end().await })
}

fn numbers(tags: &[Tag]) -> Vec<u64> {
    let pieces = tags.iter().map(|tag| Piece::of(tag).expect("whole"));
    let number = |piece| match piece {
        Piece::Picture { number, .. } => Some(number),
        _ => None,
    };
    pieces.filter_map(number).collect()
}

/// Requires that all media of `seen` is in `recorded`, in one piece and byte by byte.
#[track_caller]
fn assert_has(recorded: &[(Track, Vec<u8>)], seen: &[Tag], what: &str) {
    let seen = media(seen);
    assert!(seen.len() > 20, "{what}: only {} packets were seen: that proves nothing", seen.len());
    let start = recorded.iter().position(|packet| *packet == seen[0]);
    let start =
        start.unwrap_or_else(|| panic!("{what}: the first packet that was seen is missing"));
    let there = &recorded[start..recorded.len().min(start + seen.len())];
    let same = there.iter().zip(&seen).take_while(|(one, other)| one == other).count();
    assert_eq!(same, seen.len(), "{what}: of {} packets that were seen", seen.len());
}

/// The files of each stream: `a~HASH.flv`, and another one of the origin that comes later.
fn by_stream(files: &[PathBuf]) -> BTreeMap<String, Vec<PathBuf>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for file in files {
        let name = file.file_stem().expect("a name").to_string_lossy();
        let stream =
            name.split(|it: char| !it.is_alphanumeric()).next().unwrap_or_default().to_owned();
        all.entry(stream).or_default().push(file.clone());
    }
    all
}

/// One of two origins goes for good, as in a rolling update, and the other one has its streams from then on.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_goes_leaves_all_it_received_and_the_other_goes_on() {
    let volume = tempfile::tempdir().expect("a folder");
    let (config, cluster) = (config(volume.path()), Cluster::new(BINARY));
    let mut origins = [1, 2].map(|number| cluster.origin(number, &config));
    let edge = cluster.edge(&ORIGINS, "", "hls: { enabled: false }\n");
    let mut encoders = Vec::new();
    for stream in STREAMS {
        let url = edge.rtmp_url(&format!("live/{stream}"));
        encoders.push(Encoder::start(&url, Numbered::new(GROUP), PICTURE).await);
    }
    let owned = eventually("all of them are at an origin", SOON, async || {
        let owned = [live(&origins[0]).await, live(&origins[1]).await];
        (owned[0].len() + owned[1].len() == STREAMS.len()).then_some(owned)
    })
    .await;
    assert!(owned.iter().all(|some| !some.is_empty()), "both have some of them: {owned:?}");
    let taps: Vec<_> = [0, 1]
        .into_iter()
        .flat_map(|at| owned[at].iter().map(move |stream| (at, stream.clone())))
        .map(|(at, stream)| (at, tap(&origins[at], &stream), stream))
        .collect();
    let until = async |number: u64| {
        eventually("pictures", SOON, async || {
            encoders.iter().all(|encoder| encoder.next_number() > number).then_some(())
        })
        .await;
    };
    until(5 * GROUP).await;
    let [gone, stays] = &mut origins;
    gone.terminate();
    block_in_place(|| gone.wait_exit(TIMEOUT));
    eventually("the other one has them all", SOON, async || {
        (live(stays).await.len() == STREAMS.len()).then_some(())
    })
    .await;
    let moved: Vec<_> = owned[0].iter().map(|stream| (tap(stays, stream), stream)).collect();
    let newest = encoders.iter().map(Encoder::next_number).max().unwrap_or_default();
    until(newest + 5 * GROUP).await;
    encoders.iter().for_each(Encoder::assert_connected);
    drop(encoders);
    let files = recordings(&volume.path().join("r"), STREAMS.len() + owned[0].len()).await;
    let files = by_stream(&files);
    let mut seen = Vec::new();
    for (at, tap, stream) in taps {
        seen.push((at, stream, tap.await.expect("a player")));
    }
    for (tap, stream) in moved {
        seen.push((1, stream.clone(), tap.await.expect("a player")));
    }
    // A stream that has moved has two files. The first one's pictures are older.
    for stream in STREAMS {
        let mut pieces: Vec<_> = files[stream].iter().map(|file| tags_of(file)).collect();
        pieces.sort_by_key(|tags| numbers(tags)[0]);
        let is_moved = owned[0].iter().any(|moved| moved == stream);
        assert_eq!(pieces.len(), if is_moved { 2 } else { 1 }, "{stream}: {:?}", files[stream]);
        for tags in &pieces {
            let numbers = numbers(tags);
            let is_whole = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
            assert!(is_whole, "{stream}: a gap in {numbers:?}");
        }
        for (at, _, seen) in seen.iter().filter(|(_, of, _)| of == stream) {
            let piece = if is_moved { &pieces[*at] } else { &pieces[0] };
            assert_has(&media(piece), seen, &format!("{stream} at origin {at}"));
        }
        if is_moved {
            let (last, next) =
                (numbers(&pieces[0]).pop().expect("pictures"), numbers(&pieces[1])[0]);
            eprintln!("{stream}: up to picture {last} at the first, from {next} at the second");
            assert!(next <= last + 1 + GROUP, "more than a group is in neither: {last}, {next}");
        }
    }
    assert_lists_what_is_there(&volume.path().join("hls/live"));
}

/// Each playlist of the volume lists files that are there.
#[track_caller]
fn assert_lists_what_is_there(folder: &Path) {
    for stream in STREAMS {
        let text = fs::read_to_string(folder.join(format!("{stream}.m3u8"))).expect("a playlist");
        let list = Playlist::parse(&text);
        assert!(list.segments.len() > 3, "{text}");
        let is_there = |uri: &str| folder.join(uri).metadata().is_ok_and(|it| it.len() > 0);
        assert!(list.segments.iter().all(|segment| is_there(&segment.uri)), "{text}");
    }
}

/// All packets that are published to two origins one after the other, each once: in the recordings, and in the segments
/// of the one playlist that the second goes on with, as an edge gives them out.
#[tokio::test(flavor = "multi_thread")]
async fn recordings_and_hls_of_two_origins_are_what_was_published() {
    const FIXTURE: Fixture = Fixture::AvcBFramesAac;
    let volume = tempfile::tempdir().expect("a folder");
    let (config, cluster) = (config(volume.path()), Cluster::new(BINARY));
    let [mut first, second] = [1, 2].map(|number| cluster.origin(number, &config));
    let edge = cluster.edge(&ORIGINS, "", "");
    let tags = block_in_place(|| tags_of(&FIXTURE.file()));
    let middle = tags.iter().position(|tag| tag.timestamp >= 4000 && frame_of(tag).is_key());
    let (before, after) = tags.split_at(middle.expect("a key frame after four seconds"));
    let init: Vec<_> = before.iter().filter(|tag| !is_media(&frame_of(tag))).cloned().collect();
    // Another stream at the other origin, in the same folders, for all of the time.
    let other = second.rtmp_url("live/other");
    let other = Encoder::start(&other, Numbered::new(GROUP), PICTURE).await;
    let mut publisher = Publisher::silent(&first.rtmp_url("live/a")).await;
    send(&mut publisher, before, 0).await;
    // The origin has received it all: a viewer has the end of it.
    let mut player = Player::rtmp(&first.rtmp_url("live/a")).await;
    let last = media(before).pop().expect("media");
    while media(&[player.next().await.expect("it plays")]).pop().as_ref() != Some(&last) {}
    first.terminate();
    publisher.wait_end().await;
    block_in_place(|| first.wait_exit(TIMEOUT));
    let dir = volume.path().join("r");
    let written =
        || -> Vec<_> { files(&dir).into_iter().filter(|file| is_complete(file)).collect() };
    assert_eq!(written().len(), 1, "it has completed its file before it exits: {:?}", files(&dir));
    let mut publisher = Publisher::silent(&second.rtmp_url("live/a")).await;
    send(&mut publisher, &init, 0).await;
    send(&mut publisher, after, 0).await;
    publisher.stop().await;
    let list = eventually("the end of the playlist", SOON, async || {
        // As long as the second one has no playlist, the edge says that it cannot reach the first.
        let mut answer = http::get(edge.http(), "live/a.m3u8").await;
        let list = answer.text().await;
        (answer.status == 200).then(|| Playlist::parse(&list)).filter(|list| list.ended)
    })
    .await;
    let recorded = eventually("the second one's file", SOON, async || {
        Some(written()).filter(|files| files.len() == 2)
    })
    .await;
    other.assert_connected();
    assert!(list.segments.len() >= 8, "eight seconds, a second each: {list:#?}");
    let folder = tempfile::tempdir().expect("a folder");
    let mut segments = Vec::new();
    for segment in &list.segments {
        let mut response = http::get(edge.http(), &format!("live/{}", segment.uri)).await;
        assert_eq!(response.status, 200, "{}", segment.uri);
        let file = folder.path().join(&segment.uri);
        fs::write(&file, response.bytes().await).expect("written");
        segments.push(file);
    }
    block_in_place(|| {
        let source = packets(&[FIXTURE.file()], FIXTURE);
        for (what, files) in [("recordings", recorded), ("segments", segments)] {
            for ((kind, published), (_, there)) in source.iter().zip(packets(&files, FIXTURE)) {
                // Sound that comes before the first picture is no viewer's either.
                let missing = published.len() - there.len();
                let allowed = if *kind == Kind::Audio { 3 } else { 0 };
                assert!(missing <= allowed, "{what}: {missing} packets of {kind:?} are missing");
                assert!(there == published[missing..], "{what}: other packets of {kind:?}");
            }
        }
    });
}

/// The hashes of all packets of files that follow each other, by kind.
fn packets(files: &[PathBuf], fixture: Fixture) -> [(Kind, Vec<String>); 2] {
    let read = |file: &PathBuf| {
        read(fixture.ffmpeg(), &file.display().to_string(), Form::Elementary(fixture), TIMEOUT)
    };
    let all: Vec<Media> = files.iter().map(read).collect();
    [Kind::Video, Kind::Audio].map(|kind| {
        let packets = all.iter().flat_map(|media| media.packets(kind));
        (kind, packets.map(|packet| packet.hash.clone()).collect())
    })
}
