//! Encrypted HLS through edges: who has the playlist has the keys, and what was published.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use weir_flv::Tag;
use weir_testkit::{
    Weir,
    camera::publish_in_time,
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    http,
    packets::{Form, Kind, frame_of, read, tags_of},
};

use crate::{SOON, cluster};

/// What is published of a fixture each time.
const MILLIS: u32 = 4000;

/// A machine that is slow is no origin that is dead.
const PATIENT: &str = "dead_after: 20s";

const EDGE: &str = "play: { wait: 30s }\n";

/// How many segments each key has, by the key's URI.
fn keys(text: &str) -> BTreeMap<String, usize> {
    let (mut keys, mut current) = (BTreeMap::new(), None);
    for line in text.lines() {
        if let Some(attributes) = line.strip_prefix("#EXT-X-KEY:") {
            let uri = attributes.split_once("URI=\"").and_then(|(_, rest)| rest.split_once('"'));
            current = uri.map(|(uri, _)| uri.to_owned());
        } else if !line.starts_with('#') {
            let key = current.clone().unwrap_or_else(|| panic!("{line} has no key\n{text}"));
            *keys.entry(key).or_default() += 1;
        }
    }
    keys
}

/// The playlist once the stream has ended.
async fn ended(weir: &Weir) -> String {
    eventually("the end", 2 * SOON, async || {
        let mut response = http::get(weir.http(), "live/a.m3u8").await;
        let text = response.text().await;
        (response.status == 200 && text.ends_with("#EXT-X-ENDLIST\n")).then_some(text)
    })
    .await
}

fn count(tags: &[Tag], kind: Kind) -> usize {
    let is_it = |tag: &&Tag| {
        let frame = frame_of(tag);
        let is_sound = matches!(frame.content, weir_media::Content::Audio(_));
        if kind == Kind::Video { frame.is_picture() } else { is_sound }
    };
    tags.iter().filter(is_it).count()
}

async fn plays(container: &str, fixture: Fixture, form: Form) {
    let cluster = cluster();
    let origin = cluster.origin(
        1,
        &format!(
            "hls: {{ container: {container}, segment: 1s, window: 40, encrypt: true, segments_per_key: 2 }}\n\
             publish: {{ linger: 3s }}\nplay: {{ wait: 30s }}\n"
        ),
    );
    let first = cluster.edge(&["127.0.0.1"], PATIENT, EDGE);
    let firsts = [first.rtmp().to_string()];
    let second = cluster.edge_to(&firsts, first.http().port(), PATIENT, EDGE).start();
    let mut tags = tags_of(&fixture.file());
    tags.retain(|tag| tag.timestamp < MILLIS);
    // The encoder comes back.
    for _ in 0..2 {
        publish_in_time(&origin.rtmp_url("live/a"), &tags).await;
    }
    let text = ended(&second).await;
    assert_eq!(text, ended(&origin).await);
    let keys = keys(&text);
    assert!(keys.len() >= 4 && keys.values().all(|segments| *segments <= 2), "{keys:?}\n{text}");
    for key in keys.keys() {
        let mut known = None;
        for weir in [&origin, &second] {
            let mut response = http::get(weir.http(), &format!("live/{key}")).await;
            let (status, data) = (response.status, response.bytes().await);
            assert_eq!((status, data.len()), (200, 16), "{key}");
            let is_private = |value: &str| value.contains("private");
            assert!(response.header("cache-control").is_some_and(is_private), "{key}");
            assert_eq!(*known.get_or_insert_with(|| data.clone()), data, "{key}");
        }
        // Who has no playlist cannot know its name.
        let (name, _) = key.rsplit_once('-').expect("a name with a nonce");
        let guess = format!("live/{name}-aaaaaaaaaaaaaaaa.key");
        for weir in [&origin, &second] {
            assert_eq!(http::get(weir.http(), &guess).await.status, 404, "{guess}");
        }
    }
    let published = [Kind::Video, Kind::Audio].map(|kind| (kind, count(&tags, kind)));
    let urls = [&origin, &second].map(|weir| weir.http_url("live/a.m3u8"));
    tokio::task::block_in_place(|| {
        let file = fixture.file();
        let source = read(Ffmpeg::Nine, &file.display().to_string(), form, 2 * SOON);
        for url in urls {
            let played = read(Ffmpeg::Nine, &url, form, 2 * SOON);
            for (kind, count) in published {
                let hashes = |media: &weir_testkit::packets::Media| {
                    let packets = media.packets(kind).iter();
                    packets.map(|packet| packet.hash.clone()).collect::<Vec<_>>()
                };
                let (published, mut played) = (hashes(&source)[..count].to_vec(), hashes(&played));
                for run in ["last", "first"] {
                    // HLS begins with a key frame: sound before that is left out.
                    let most = published.iter().rev().zip(played.iter().rev());
                    let same = most.take_while(|(published, played)| published == played).count();
                    let missing = published.len() - same;
                    assert!(missing <= 2, "{run}: {missing} of {count} {kind:?} at {url}");
                    played.truncate(played.len() - same);
                }
                assert!(played.is_empty(), "{} more {kind:?} at {url}", played.len());
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_segments_of_mpeg_ts_are_played_behind_two_edges() {
    plays("ts", Fixture::AvcAac, Form::Elementary(Fixture::AvcAac)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_segments_of_fragmented_mp4_are_played_behind_two_edges() {
    plays("fmp4", Fixture::Vp9Opus, Form::Carried).await;
}

/// Somebody's own server of keys, at `/keys`: it notes which are asked for, and has them from the Weir at `weir`.
async fn hand_out(listener: TcpListener, weir: SocketAddr, asked: Arc<Mutex<BTreeSet<String>>>) {
    async fn answer(mut socket: TcpStream, weir: SocketAddr, asked: &Mutex<BTreeSet<String>>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            // Who has gone meanwhile wants no key.
            let Ok(byte) = socket.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).and_then(|path| path.strip_prefix("/keys/"));
        let path = path.expect("a key's URL begins with hls.key_url").to_owned();
        let key = http::get(weir, &path).await.bytes().await;
        asked.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 16\r\n\r\n";
        let _ = socket.write_all(&[head.as_bytes(), &key].concat()).await;
        let _ = socket.shutdown().await;
    }
    while let Ok((socket, _)) = listener.accept().await {
        answer(socket, weir, &asked).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_somebody_else_hands_out_are_so_behind_edges_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}/keys", listener.local_addr().expect("bound"));
    let cluster = cluster();
    let origin = cluster.origin(
        1,
        &format!(
            "hls: {{ segment: 1s, window: 40, encrypt: true, segments_per_key: 2, key_url: '{base}' }}\n\
             publish: {{ linger: 0s }}\nplay: {{ wait: 30s }}\n"
        ),
    );
    let first = cluster.edge(&["127.0.0.1"], PATIENT, EDGE);
    let firsts = [first.rtmp().to_string()];
    let second = cluster.edge_to(&firsts, first.http().port(), PATIENT, EDGE).start();
    let asked = Arc::default();
    let server = tokio::spawn(hand_out(listener, origin.http(), Arc::clone(&asked)));
    let fixture = Fixture::AvcAac;
    let mut tags = tags_of(&fixture.file());
    tags.retain(|tag| tag.timestamp < MILLIS);
    publish_in_time(&origin.rtmp_url("live/a"), &tags).await;
    let text = ended(&second).await;
    assert_eq!(text, ended(&origin).await);
    let keys = keys(&text);
    assert!(keys.len() >= 2, "{text}");
    let path = |uri: &String| {
        let path = uri.strip_prefix(&format!("{base}/")).unwrap_or_else(|| panic!("{uri}\n{text}"));
        assert!(path.starts_with("live/a-"), "{path}");
        path.to_owned()
    };
    let paths: BTreeSet<_> = keys.keys().map(path).collect();
    let url = second.http_url("live/a.m3u8");
    let form = Form::Elementary(fixture);
    let played = tokio::task::block_in_place(|| read(Ffmpeg::Nine, &url, form, 2 * SOON));
    assert_eq!(played.packets(Kind::Video).len(), count(&tags, Kind::Video));
    assert_eq!(*asked.lock().unwrap_or_else(PoisonError::into_inner), paths);
    server.abort();
}
