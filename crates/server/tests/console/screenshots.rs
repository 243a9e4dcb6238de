//! The pictures of the README: `cargo xtask screenshots`.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use weir_testkit::{cluster::Cluster, own_page::OwnPage, peer::Player};

use crate::SOON;

/// What is published: a name, and a picture that FFmpeg draws.
const STREAMS: [(&str, &str); 8] = [
    ("live/keynote", "gradients=s=640x360:r=12:c0=0x0b3d5c:c1=0x1fa2b8:c2=0xf3e9d2:n=3:speed=0.02"),
    ("live/workshop-1", "mandelbrot=s=640x360:r=12:start_scale=0.6"),
    ("live/workshop-2", "testsrc2=s=640x360:r=12"),
    (
        "live/camera-north",
        "gradients=s=640x360:r=12:c0=0xf2994a:c1=0x5b2a86:n=2:speed=0.02:type=radial",
    ),
    (
        "live/camera-south",
        "gradients=s=640x360:r=12:c0=0x134e5e:c1=0x71b280:n=2:speed=0.02:type=circular",
    ),
    ("tv/test-card", "smptehdbars=s=640x360:r=12"),
    ("tv/studio", "gradients=s=640x360:r=12:c0=0x2b5876:c1=0x4e4376:n=2:speed=0.02:type=spiral"),
    ("tv/harbour", "sierpinski=s=640x360:r=12"),
];

/// For the lines of the last minutes to be some.
const A_WHILE: Duration = Duration::from_secs(75);

/// For pictures to be there as a whole.
const FADE: Duration = Duration::from_secs(1);

/// An encoder, which ends with this.
struct Encoder(Child);

impl Drop for Encoder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn publish(url: &str, source: &str, kbps: usize) -> Encoder {
    let rate = format!("{kbps}k");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args([
        "-v",
        "quiet",
        "-re",
        "-f",
        "lavfi",
        "-i",
        source,
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=300",
    ]);
    ffmpeg.args([
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p",
        "-g",
        "24",
        "-b:v",
        &rate,
    ]);
    ffmpeg.args(["-c:a", "aac", "-f", "flv", url]).stdin(Stdio::null());
    Encoder(ffmpeg.spawn().expect("ffmpeg runs"))
}

/// Writes what the page shows, in few colours: a README is loaded often.
async fn shoot(page: &OwnPage, name: &str) {
    let shot = page.devtools("Page.captureScreenshot", json!({ "format": "png" })).await;
    let bytes =
        BASE64_STANDARD.decode(shot["data"].as_str().unwrap_or_default()).expect("a picture");
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/images");
    std::fs::create_dir_all(&images).expect("a folder");
    let raw: PathBuf = images.join(format!("{name}.raw.png"));
    std::fs::write(&raw, bytes).expect("it can be written");
    let few = "split[a][b];[a]palettegen=max_colors=200[p];[b][p]paletteuse=dither=none";
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y", "-i"]).arg(&raw).args(["-vf", few, "-frames:v", "1"]);
    let done = ffmpeg.arg(images.join(format!("{name}.png"))).status();
    std::fs::remove_file(&raw).expect("it is there");
    assert!(done.expect("ffmpeg runs").success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it writes files: cargo xtask screenshots"]
async fn screenshots() {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let origin = cluster.origin(1, "name: origin-1\n");
    let first = cluster.edge(&["127.0.0.1"], "", "name: edge-1\nlimits: { egress: 10Mbps }\n");
    let peers = format!(
        "name: edge-2\napi: {{ peers: [\"{}\", \"{}\"] }}\nlimits: {{ egress: 20Mbps }}\n",
        origin.api(),
        first.api()
    );
    let edge = cluster.edge(&["127.0.0.1"], "", &peers);
    let encoders: Vec<_> = STREAMS
        .iter()
        .enumerate()
        .map(|(at, (name, source))| publish(&origin.rtmp_url(name), source, 300 + at * 70))
        .collect();
    let mut viewers = Vec::new();
    for (at, (name, _)) in STREAMS.iter().enumerate() {
        for node in [&edge, &first, &origin].into_iter().take(1 + at % 3) {
            let mut player = Player::http_flv(node.http(), &format!("{name}.flv")).await;
            viewers.push(tokio::spawn(async move { while player.next().await.is_some() {} }));
        }
        let mut player = Player::rtmp(&origin.rtmp_url(name)).await;
        viewers.push(tokio::spawn(async move { while player.next().await.is_some() {} }));
    }
    tokio::time::sleep(A_WHILE).await;
    let page = OwnPage::open(&origin, "console/?lang=en").await;
    page.size(1440, 800, false).await;
    page.until("return document.querySelectorAll('.tile canvas.shown').length === 8").await;
    // The last of them fades in.
    tokio::time::sleep(FADE).await;
    shoot(&page, "wall").await;
    page.assert_clean(&[]).await;
    let page = OwnPage::open(&edge, "console/?lang=en#/cluster").await;
    page.size(1440, 860, false).await;
    page.dark(true).await;
    page.until_within("return document.querySelectorAll('.wire.flowing').length === 2", SOON).await;
    tokio::time::sleep(FADE).await;
    shoot(&page, "cluster").await;
    page.assert_clean(&[]).await;
    viewers.iter().for_each(tokio::task::JoinHandle::abort);
    drop(encoders);
}
