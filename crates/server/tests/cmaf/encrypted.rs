//! Encrypted segments: who has the keys gets what was published, and who has not gets nothing of it.

use std::collections::BTreeSet;

use weir_testkit::{
    Weir,
    camera::publish_in_time,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    http,
    packets::{Extent, Form, continuation, read, tags_of},
};

use crate::{TIMEOUT, start};

/// FFmpeg's player of HLS has times of its own.
const TOLERANCE: std::time::Duration = std::time::Duration::from_millis(1);

/// The values of `URI="..."` in lines that begin with `tag`.
fn uris(text: &str, tag: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| line.starts_with(tag));
    let uri =
        |line: &str| line.split_once("URI=\"")?.1.split_once('"').map(|(uri, _)| uri.to_owned());
    lines.filter_map(uri).collect()
}

async fn published(weir: &Weir, fixture: Fixture) -> String {
    let tags = tags_of(&fixture.file());
    publish_in_time(&weir.rtmp_url("live/a"), &tags).await;
    let mut answer = http::get(weir.http(), "live/a.m3u8").await;
    let text = answer.text().await;
    assert_eq!(answer.status, 200, "{text}");
    text
}

async fn plays(container: &str, fixture: Fixture, form: Form) {
    // Linger: the playlist does not end before FFmpeg has it all.
    let weir = start(&format!(
        "hls: {{ container: {container}, segment: 1s, window: 20, encrypt: true, segments_per_key: 3 }}\n\
         publish: {{ linger: 0s }}\n"
    ));
    let text = published(&weir, fixture).await;
    let keys = uris(&text, "#EXT-X-KEY:METHOD=AES-128,");
    assert!(keys.len() >= 2, "keys change: {text}");
    for key in &keys {
        let mut answer = http::get(weir.http(), &format!("live/{key}")).await;
        assert_eq!((answer.status, answer.bytes().await.len()), (200, 16), "{key}");
        let on_disk = weir.dir().join("data/hls/live").join(key);
        assert!(on_disk.exists(), "for other servers of the folder: {}", on_disk.display());
    }
    let segment = text.lines().find(|line| !line.starts_with('#')).expect("a segment");
    let encrypted = http::get(weir.http(), &format!("live/{segment}")).await.bytes().await;
    assert_eq!(encrypted.len() % 16, 0, "whole blocks");
    // One byte of what is encrypted is that of a packet's start now and then.
    let begins_packet = |at: usize| encrypted.get(at) == Some(&0x47);
    let is_plain =
        (0..4).all(|packet| begins_packet(packet * 188)) || encrypted.get(4..8) == Some(b"moof");
    assert!(!is_plain, "{segment} can be read");
    let url = weir.http_url("live/a.m3u8");
    for ffmpeg in Ffmpeg::ALL {
        tokio::task::block_in_place(|| {
            let file = fixture.file();
            let source = read(Ffmpeg::Nine, &file.display().to_string(), form, TIMEOUT);
            let played = read(ffmpeg, &url, form, TIMEOUT);
            let whole = continuation(&source, &played, Extent::ToEnd, TOLERANCE);
            whole.unwrap_or_else(|wrong| panic!("{ffmpeg:?}, {container}: {wrong}\n{text}"));
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_segments_of_mpeg_ts_are_played() {
    plays("auto", Fixture::AvcAac, Form::Elementary(Fixture::AvcAac)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_segments_of_fragmented_mp4_are_played() {
    plays("fmp4", Fixture::Vp9Opus, Form::Carried).await;
}
