//! Streams with several playlists through edges: the multivariant playlist, what playlists report of each other, tracks
//! that vanish, and ladders of streams.

use std::time::Duration;

use weir_flv::Tag;
use weir_hls::{MediaPlaylist, Progress};
use weir_media::Track;
use weir_testkit::{
    Weir,
    camera::{Camera, publish_in_time},
    cluster::Cluster,
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls_client::Client,
    http,
    packets::{Extent, Form, Kind, Media, continuation, frame_of, read, tags_of},
    process::Process,
};

use crate::{SOON, cluster};

/// A machine that is slow is no origin that is dead.
const PATIENT: &str = "dead_after: 20s";

const EDGE: &str = "play: { wait: 30s }\n";

/// FFmpeg's player of HLS has times of its own.
const TOLERANCE: Duration = Duration::from_millis(1);

/// An origin, an edge, and an edge that asks that one.
fn chain(cluster: &Cluster, config: &str) -> [Weir; 3] {
    let origin = cluster.origin(1, &format!("play: {{ wait: 30s }}\n{config}"));
    let first = cluster.edge(&["127.0.0.1"], PATIENT, EDGE);
    let firsts = [first.rtmp().to_string()];
    let second = cluster.edge_to(&firsts, first.http().port(), PATIENT, EDGE).start();
    [origin, first, second]
}

async fn get(weir: &Weir, path: &str) -> (u16, String) {
    let mut response = http::get(weir.http(), path).await;
    (response.status, response.text().await)
}

/// The text of a playlist when it `is_it`.
async fn until(weir: &Weir, path: &str, what: &str, is_it: impl Fn(u16, &str) -> bool) -> String {
    eventually(&format!("{path}: {what}"), 2 * SOON, async || {
        let (status, text) = get(weir, path).await;
        is_it(status, &text).then_some(text)
    })
    .await
}

async fn ended(weir: &Weir, path: &str) {
    until(weir, path, "its end", |_, text| text.ends_with("#EXT-X-ENDLIST\n")).await;
}

/// The packets at `url`; decoder configurations look different in each container.
fn packets(url: &str, form: Form) -> Media {
    let mut media = read(Ffmpeg::Nine, url, form, 2 * SOON);
    media.streams.iter_mut().for_each(|stream| stream.config = None);
    media
}

/// What FFmpeg plays of a multivariant playlist: each of `pictures` with the first sound, and `sounds` in all.
fn everything(source: &Media, sounds: usize) -> Media {
    let of = |kind| source.streams.iter().filter(move |stream| stream.kind == kind).cloned();
    let sound = of(Kind::Audio).next().into_iter();
    let streams = of(Kind::Video).chain(sound.cycle().take(sounds));
    Media { streams: streams.collect() }
}

#[track_caller]
fn check(source: &Media, url: &str, form: Form) {
    let played = packets(url, form);
    let result = continuation(source, &played, Extent::ToEnd, TOLERANCE);
    result.unwrap_or_else(|difference| panic!("{url}: {difference}"));
}

/// Publishes two video tracks and two audio tracks of these codecs, in real time.
fn publish_twice(fixture: Fixture, url: &str) -> Process {
    let mut command = Ffmpeg::Nine.command();
    command.arg("-re").arg("-i").arg(fixture.file());
    command.args(["-map", "0:v", "-map", "0:v", "-map", "0:a", "-map", "0:a", "-c", "copy"]);
    command.args(["-f", "flv", url]);
    Process::start("multitrack publisher", &mut command)
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_plays_multivariant_playlists_of_all_codecs() {
    let cluster = cluster();
    let nodes = chain(&cluster, "publish: { linger: 0s }\nhls: { segment: 1s, window: 20 }\n");
    let codecs = [
        Fixture::AvcAac,
        Fixture::AvcMp3,
        Fixture::HevcAac,
        Fixture::Av1Aac,
        Fixture::Vp9Opus,
        Fixture::AvcFlac,
        Fixture::AvcAc3,
        Fixture::AvcEac3,
    ];
    let name = |fixture: Fixture| format!("live/{fixture:?}").to_lowercase();
    let ladder = tags_of(&Fixture::Ladder.file());
    let mut encoders =
        codecs.map(|fixture| publish_twice(fixture, &nodes[0].rtmp_url(&name(fixture))));
    publish_in_time(&nodes[0].rtmp_url("live/ladder"), &ladder).await;
    tokio::task::block_in_place(|| {
        encoders.iter_mut().for_each(|encoder| encoder.wait_success(2 * SOON));
    });
    for node in [&nodes[0], &nodes[2]] {
        for size in 0..3 {
            ended(node, &format!("live/ladder~v{size}.m3u8")).await;
        }
        let file = Fixture::Ladder.file().display().to_string();
        let url = node.http_url("live/ladder.m3u8");
        tokio::task::block_in_place(|| {
            check(&everything(&packets(&file, Form::Carried), 3), &url, Form::Carried);
        });
        for fixture in codecs {
            for rendition in ["~v0", "~v1", "~a1"] {
                ended(node, &format!("{}{rendition}.m3u8", name(fixture))).await;
            }
            let url = node.http_url(&format!("{}.m3u8", name(fixture)));
            let form = match fixture {
                Fixture::Av1Aac => Form::Elementary(fixture),
                _ => Form::Carried,
            };
            tokio::task::block_in_place(|| {
                let mut source = packets(&fixture.file().display().to_string(), form);
                source.streams.insert(0, source.streams[0].clone());
                check(&everything(&source, 3), &url, form);
            });
        }
    }
}

/// What a playlist says of others: their URI, and the request for what they are said to have.
fn reports(text: &str) -> Vec<(String, Progress)> {
    let attribute = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}="))?;
        Some(rest.split(',').next()?.trim_matches('"').to_owned())
    };
    let number = |line: &str, name: &str| attribute(line, name)?.parse::<u64>().ok();
    let lines = text.lines().filter(|line| line.starts_with("#EXT-X-RENDITION-REPORT:"));
    let report = |line: &str| {
        let parts = number(line, "LAST-PART").map_or(0, |last| last + 1);
        let progress = Progress {
            sequence: number(line, "LAST-MSN").expect("LAST-MSN"),
            parts: usize::try_from(parts).expect("a few parts"),
            is_ended: false,
        };
        (attribute(line, "URI").expect("a URI"), progress)
    };
    lines.map(report).collect()
}

fn progress(text: &str) -> Progress {
    MediaPlaylist::parse(text).unwrap_or_else(|why| panic!("{why}: {text}")).progress
}

#[tokio::test(flavor = "multi_thread")]
async fn what_playlists_report_of_each_other_is_there() {
    let cluster = cluster();
    let nodes = chain(&cluster, "hls: { segment: 1s, part: 200ms }\n");
    let _camera = Camera::of(Fixture::Ladder, &nodes[0].rtmp_url("live/a"), true).await;
    for (node, is_edge) in [(&nodes[0], false), (&nodes[2], true)] {
        let path = "live/a~v0.m3u8";
        let mut text = until(node, path, "two reports", |_, text| reports(text).len() == 2).await;
        for _ in 0..20 {
            let Progress { sequence, parts, .. } = progress(&text);
            let next = format!("{path}?_HLS_msn={sequence}&_HLS_part={parts}");
            let (status, newer) = get(node, &next).await;
            assert_eq!(status, 200, "{next}: {newer}");
            for (uri, reported) in reports(&newer) {
                // It says the newest segment, and this one counts up to it.
                let Progress { sequence: msn, parts, .. } = reported;
                let part = parts.checked_sub(1);
                let query = part.map(|part| format!("&_HLS_part={part}")).unwrap_or_default();
                // An edge asks for it, and waits; at the origin it is there.
                let query = if is_edge { format!("?_HLS_msn={msn}{query}") } else { String::new() };
                let (status, other) = get(node, &format!("live/{uri}{query}")).await;
                assert_eq!(status, 200, "{uri}{query}: {other}");
                let there = progress(&other);
                let is_there = there.sequence > msn
                    || there.sequence == msn && parts > 0 && there.parts >= parts;
                assert!(is_there, "{uri} has {there:?}, and was reported as {reported:?}\n{newer}");
            }
            assert_eq!(reports(&newer).len(), 2, "{newer}");
            text = newer;
        }
    }
}

/// Three sizes, twice as long as the fixture; the last of them for the first five seconds.
fn vanishing() -> Vec<Tag> {
    let tags = tags_of(&Fixture::Ladder.file());
    let length = 8000;
    let is_media = |tag: &&Tag| frame_of(tag).init_slot().is_none();
    let again = tags.iter().filter(is_media);
    let again = again.map(|tag| Tag { timestamp: tag.timestamp + length, ..tag.clone() });
    let again: Vec<_> = again.collect();
    let all = tags.into_iter().chain(again);
    all.filter(|tag| tag.timestamp < 5000 || frame_of(tag).track != Track::Video(2)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_that_vanishes_ends_its_playlist_and_no_other() {
    let cluster = cluster();
    let nodes =
        chain(&cluster, "publish: { linger: 0s }\nhls: { segment: 1s, part: 200ms, window: 10 }\n");
    let [origin, _, second] = &nodes;
    let gone = async |node: &Weir| {
        until(node, "live/a~v2.m3u8", "a playlist", |status, _| status == 200).await;
        until(node, "live/a~v2.m3u8", "none any more", |status, _| status == 404).await;
        let is_left = |status, text: &str| status == 200 && !text.contains("a~v2");
        until(node, "live/a.m3u8", "two to choose from", is_left).await
    };
    let goes_on = async |node: &Weir| {
        until(node, "live/a~v1.m3u8", "a playlist", |status, _| status == 200).await;
        let mut client = Client::new("live/a~v1.m3u8");
        client.follow(node.http(), |_| false).await;
        client
    };
    let tags = vanishing();
    let url = origin.rtmp_url("live/a");
    let (_, chosen, chosen_at_edge, client, client_at_edge) = tokio::join!(
        publish_in_time(&url, &tags),
        gone(origin),
        gone(second),
        goes_on(origin),
        goes_on(second),
    );
    assert_eq!(chosen.matches("#EXT-X-STREAM-INF:").count(), 2, "{chosen}");
    assert_eq!(chosen_at_edge.matches("#EXT-X-STREAM-INF:").count(), 2, "{chosen_at_edge}");
    for client in [client, client_at_edge] {
        assert!(client.playlist.ended && client.runs.len() == 1, "{:?}", client.playlist);
        assert!(client.runs[0].segments >= 14, "{} segments", client.runs[0].segments);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ladder_of_streams_is_played_behind_two_edges() {
    let cluster = cluster();
    let config = "publish: { linger: 0s }\n\
         hls: { segment: 1s, window: 20, container: fmp4, ladder: [_hi, _low] }\n";
    let nodes = chain(&cluster, config);
    let tags = tags_of(&Fixture::AvcBFramesAac.file());
    let urls = ["live/a_hi", "live/a_low"].map(|name| nodes[0].rtmp_url(name));
    let chosen = async |node: &Weir| {
        let is_whole =
            |status, text: &str| status == 200 && text.matches("RESOLUTION=").count() == 2;
        let text = until(node, "live/a.m3u8?x=1", "both streams", is_whole).await;
        let uris: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(uris, ["a_hi~v0.m3u8?x=1", "a_low~v0.m3u8?x=1"], "{text}");
    };
    let play = async |node: &Weir| {
        chosen(node).await;
        let url = node.http_url("live/a.m3u8");
        tokio::task::spawn_blocking(move || packets(&url, Form::Carried)).await.expect("it plays")
    };
    let [origin, _, second] = &nodes;
    let (_, _, at_origin, at_edge) = tokio::join!(
        publish_in_time(&urls[0], &tags),
        publish_in_time(&urls[1], &tags),
        play(origin),
        play(second),
    );
    let file = Fixture::AvcBFramesAac.file().display().to_string();
    let mut source = tokio::task::block_in_place(|| packets(&file, Form::Carried));
    source.streams.insert(0, source.streams[0].clone());
    let source = everything(&source, 2);
    for (where_, played) in [("origin", at_origin), ("edge", at_edge)] {
        let kinds: Vec<_> = played.streams.iter().map(|stream| stream.kind).collect();
        assert_eq!(kinds, [Kind::Video, Kind::Video, Kind::Audio, Kind::Audio], "{where_}");
        for (source, played) in source.streams.iter().zip(&played.streams) {
            let hashes = |stream: &weir_testkit::packets::Stream| {
                stream.packets.iter().map(|packet| packet.hash.clone()).collect::<Vec<_>>()
            };
            let (source, played) = (hashes(source), hashes(played));
            assert!(played.len() > 100 && source.ends_with(&played), "{where_}: {}", played.len());
        }
    }
}
