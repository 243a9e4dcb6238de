//! Streams that an origin gets from elsewhere, and what it shows while a publisher is away.

mod fallback;
mod files;
mod servers;
mod trouble;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::BytesMut;
use serde_json::Value;
use weir_flv::{
    Tag,
    file::{Header, write_tag},
};
use weir_testkit::{
    Weir, eventually, http,
    peer::{Encoder, Numbered, PICTURE_MILLIS},
    server::Builder,
};

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(20);

/// The pace of a stream in real time.
const PICTURE: Duration = Duration::from_millis(PICTURE_MILLIS as u64);

/// HLS is another matter where it is not tested.
const NO_HLS: &str = "hls: { enabled: false }\n";

const ADMIN: &str = "admin-of-the-tests";

fn server(config: &str) -> Builder {
    Weir::builder(BINARY).env("WEIR_API__ADMIN_TOKENS", ADMIN).config(config)
}

/// An encoder in real time, with a key frame five times a second.
async fn encoder(weir: &Weir, stream: &str, first: u64) -> Encoder {
    let mut source = Numbered::new(5);
    source.skip_to(first);
    Encoder::start(&weir.rtmp_url(stream), source, PICTURE).await
}

/// What the API says about `what`: `streams` or `pulls`.
async fn listed(weir: &Weir, what: &str) -> Vec<Value> {
    let text = http::get(weir.api(), &format!("api/v1/{what}")).await.text().await;
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    answer[what].as_array().expect("a list").clone()
}

/// The pull of the stream `url`, such as `/live/a`, once it is in `state`.
async fn until_pull(weir: &Weir, url: &str, state: &str) -> Value {
    eventually(&format!("the pull of {url} is {state}"), 2 * SOON, async || {
        let pulls = listed(weir, "pulls").await;
        pulls.into_iter().find(|pull| pull["url"] == url && pull["state"] == state)
    })
    .await
}

/// Waits until there is no pull of `url`.
async fn until_no_pull(weir: &Weir, url: &str) {
    eventually(&format!("no pull of {url}"), SOON, async || {
        listed(weir, "pulls").await.iter().all(|pull| pull["url"] != url).then_some(())
    })
    .await;
}

/// What the API says of the stream `url`, if there is one.
async fn stream(weir: &Weir, url: &str) -> Option<Value> {
    listed(weir, "streams").await.into_iter().find(|stream| stream["url"] == url)
}

/// Waits for a line of the log in which all `words` occur.
async fn until_logged(weir: &Weir, words: &[&str]) {
    eventually(&format!("a line with {words:?}"), SOON, async || {
        let lines = weir.log().all();
        lines.iter().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    })
    .await;
}

/// Writes an FLV file.
fn write_flv(dir: &Path, name: &str, tags: &[Tag]) -> PathBuf {
    let mut bytes = BytesMut::from(&Header { has_audio: true, has_video: true }.encode()[..]);
    for tag in tags {
        write_tag(&mut bytes, tag.kind, tag.timestamp, &tag.body);
    }
    let path = dir.join(name);
    std::fs::write(&path, &bytes).expect("written");
    path
}

/// A second of a numbered stream, from picture `first` on.
fn numbered(mut source: Numbered, first: u64) -> Vec<Tag> {
    source.skip_to(first);
    let mut tags = source.init();
    for _ in 0..25 {
        tags.extend(source.next_tags());
    }
    tags
}
