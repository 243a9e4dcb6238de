//! Programs that run for streams: commands, FFmpeg that transcodes, and FFmpeg that brings streams in.

mod ends;
mod exec;
mod handover;
mod ingest;
mod srs;
mod transcode;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use weir_testkit::{
    Weir, eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    http,
    peer::{Encoder, Numbered},
    server::Builder,
};

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// For what FFmpeg does, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(40);

const PICTURE: Duration = Duration::from_millis(40);

/// What is made of a stream as quickly as can be.
const SMALL: &str = "[-s, 160x90, '-c:v', libx264, -preset, ultrafast, -g, 25, '-c:a', copy]";

const NO_HLS: &str = "hls: { enabled: false }\npublish: { linger: 0s }\n";

const ADMIN: &str = "admin-of-the-tests";

fn server(config: &str) -> Builder {
    let config = format!("{NO_HLS}{config}");
    Weir::builder(BINARY).env("WEIR_API__ADMIN_TOKENS", ADMIN).config(&config)
}

async fn encoder(weir: &Weir, stream: &str) -> Encoder {
    Encoder::start(&weir.rtmp_url(stream), Numbered::new(12), PICTURE).await
}

/// What the API says of programs.
async fn children(weir: &Weir) -> Vec<Value> {
    let text = http::get(weir.api(), "api/v1/children").await.text().await;
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    answer["children"].as_array().expect("a list").clone()
}

/// The program for the stream `url`, once `is_it`.
async fn until_child(weir: &Weir, url: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("a program for {url}"), SOON, async || {
        children(weir).await.into_iter().find(|child| child["url"] == url && is_it(child))
    })
    .await
}

/// The number of the process of the program that runs for `url`.
async fn until_runs(weir: &Weir, url: &str) -> u64 {
    let child = until_child(weir, url, |child| child["state"] == "running").await;
    child["pid"].as_u64().expect("it has a number")
}

/// The full names of all streams that are published.
async fn streams(weir: &Weir) -> Vec<String> {
    let text = http::get(weir.api(), "api/v1/streams").await.text().await;
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let all = answer["streams"].as_array().expect("a list").iter();
    let live = all.filter(|stream| stream["publish"]["active"] == true);
    let mut urls: Vec<_> =
        live.map(|stream| stream["url"].as_str().expect("a name").to_owned()).collect();
    urls.sort();
    urls
}

/// Waits until there is no process with this number any more.
async fn until_gone(pid: u64) {
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    eventually(&format!("process {pid} is gone"), SOON, async || {
        let stat = std::fs::read_to_string(&path).unwrap_or_default();
        // What nobody has waited for is not there either.
        let is_gone = stat.is_empty() || stat.contains(") Z ");
        is_gone.then_some(())
    })
    .await;
}

/// Waits for a line of the log in which all `words` occur.
async fn until_logged(weir: &Weir, words: &[&str]) {
    eventually(&format!("a line with {words:?}"), SOON, async || {
        let lines = weir.log().all();
        lines.iter().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    })
    .await;
}

/// Width and height of the pictures at `url`, once there are some.
async fn size_of(url: &str) -> (u64, u64) {
    eventually(&format!("pictures at {url}"), 2 * SOON, async || {
        let mut probe = Command::new("ffprobe");
        probe.args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"]);
        probe.args(["-show_entries", "stream=width,height", url]);
        let output = tokio::task::block_in_place(|| probe.output()).expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (width, height) = text.lines().next()?.trim().split_once(',')?;
        Some((width.parse().ok()?, height.parse().ok()?))
    })
    .await
}

/// Puts `yaml` in force.
async fn reload(weir: &mut Weir, yaml: &str) {
    weir.reload(&format!("{NO_HLS}{yaml}"), ADMIN).await;
}

/// Two seconds of H.264 and AAC as MP4, in `dir`.
fn clip(dir: &Path) -> PathBuf {
    let path = dir.join("clip.mp4");
    let mut copy = Ffmpeg::System.command();
    copy.args(["-t", "2", "-i"]).arg(Fixture::AvcAac.file()).args(["-c", "copy"]).arg(&path);
    assert!(copy.status().expect("it runs").success());
    path
}
