//! Recordings: what was published is in their files, whatever becomes of publishers, processes and disks.

mod contents;
mod disks;
mod origins;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use weir_flv::Tag;
use weir_media::{Content, Frame};
use weir_testkit::{
    Weir, eventually, http,
    packets::{frame_of, tags_of},
    peer::Publisher,
};

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// For the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(30);

const ADMIN: &str = "admin-of-the-tests";

fn start(config: &str) -> Weir {
    let config = format!("hls: {{ enabled: false }}\n{config}");
    Weir::builder(BINARY).env("WEIR_API__ADMIN_TOKENS", ADMIN).config(&config).start()
}

/// A call of the API; its status and answer.
async fn call(weir: &Weir, method: &str, path: &str) -> (u16, String) {
    let address = weir.api();
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\
         Authorization: Bearer {ADMIN}\r\n\r\n"
    );
    let mut response = http::request(address, request.as_bytes()).await;
    (response.status, response.text().await)
}

/// The value of the series that begins with `name` in `/metrics`, 0 without one.
async fn metric(weir: &Weir, name: &str) -> f64 {
    let page = http::get(weir.api(), "metrics").await.text().await;
    let value = |line: &str| line.strip_prefix(name)?.split(' ').next_back()?.parse::<f64>().ok();
    page.lines().filter(|line| !line.starts_with('#')).find_map(value).unwrap_or_default()
}

/// All files below `dir`, by their names.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut ahead = vec![dir.to_owned()];
    while let Some(dir) = ahead.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            // Lists of what was finished are no recordings.
            if path.ends_with(".weir-recordings") {
                continue;
            }
            if path.is_dir() { ahead.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Whether a file has its last name.
fn is_complete(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    !name.contains(".tmp")
}

/// The recordings below `dir` once there are so many, all of them complete.
async fn recordings(dir: &Path, count: usize) -> Vec<PathBuf> {
    eventually(
        &format!("{count} recordings in {}: {:?}", dir.display(), files(dir)),
        SOON,
        async || {
            let files = files(dir);
            let are_complete = files.iter().all(|file| is_complete(file));
            (are_complete && files.len() == count).then_some(files)
        },
    )
    .await
}

/// Sends `tags`, `after` milliseconds later than they say.
async fn send(publisher: &mut Publisher, tags: &[Tag], after: u32) {
    for tag in tags {
        publisher.send(&Tag { timestamp: tag.timestamp + after, ..tag.clone() }).await;
    }
}

/// Publishes `tags` as fast as they are taken.
async fn publish(weir: &Weir, stream: &str, tags: &[Tag]) {
    let mut publisher = Publisher::silent(&weir.rtmp_url(stream)).await;
    send(&mut publisher, tags, 0).await;
    publisher.stop().await;
}

fn is_media(frame: &Frame) -> bool {
    matches!(frame.content, Content::Video { .. } | Content::Audio(_))
}

/// Pictures and packets of sound, as track and bytes.
fn media(tags: &[Tag]) -> Vec<(weir_media::Track, Vec<u8>)> {
    let frames = tags.iter().map(frame_of).filter(is_media);
    frames.map(|frame| (frame.track, frame.payload.to_vec())).collect()
}

/// The same of FLV files, one after the other. Each begins with a key frame.
fn recorded(files: &[PathBuf]) -> Vec<(weir_media::Track, Vec<u8>)> {
    let mut all = Vec::new();
    for file in files {
        let tags = tags_of(file);
        let first = tags.iter().map(frame_of).find(is_media).expect("media");
        assert!(first.is_key(), "{}: it begins with {first:?}", file.display());
        all.extend(media(&tags));
    }
    all
}
