//! Stills: `GET /app/stream.mp4?still` is the newest key frame as a file of one picture.

use std::{fs, path::Path, time::Duration};

use weir_flv::Tag;
use weir_testkit::{
    Weir,
    cluster::Cluster,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    http::{self, Response},
    packets::{Form, Kind, Packet, read, tags_of},
    peer::{Numbered, Publisher},
};

/// For the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(60);

async fn get(weir: &Weir, path: &str) -> Response {
    http::get(weir.http(), path).await
}

/// Publishes these and stays.
async fn publish(weir: &Weir, stream: &str, tags: &[Tag]) -> Publisher {
    let mut publisher = Publisher::silent(&weir.rtmp_url(stream)).await;
    for tag in tags {
        publisher.send(tag).await;
    }
    publisher
}

/// The pictures in a file, as checksums of what a decoder shows.
///
/// # Panics
/// If FFmpeg finds something wrong.
fn shown(ffmpeg: Ffmpeg, file: &Path) -> Vec<String> {
    let mut command = ffmpeg.command();
    command.args(["-v", "error", "-xerror", "-i"]).arg(file);
    command.args(["-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-"]);
    let output = command.output().expect("FFmpeg runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{}: {said}", file.display());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(',')?.1.trim().to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_still_is_the_newest_key_frame_at_origins_and_edges() {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let origin = cluster.origin(1, "hls: { enabled: false }\npublish: { idle_timeout: 1m }\n");
    let edge = cluster.edge(&["127.0.0.1"], "", "");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for fixture in Fixture::ALL.into_iter().filter(|fixture| fixture.has_video()) {
        let (ffmpeg, form) = (fixture.ffmpeg(), Form::Elementary(fixture));
        let stream = format!("live/{fixture:?}");
        let publisher = publish(&origin, &stream, &tags_of(&fixture.file())).await;
        let source = read(ffmpeg, &fixture.file().display().to_string(), form, TIMEOUT);
        let mut keys = source.packets(Kind::Video).iter().filter(|packet| packet.key);
        let newest = keys.next_back().expect("a key frame");
        let all_shown = shown(ffmpeg, &fixture.file());
        for (weir, at) in [(&origin, "origin"), (&edge, "edge")] {
            let mut answer = get(weir, &format!("{stream}.mp4?still")).await;
            let data = answer.bytes().await;
            assert_eq!(answer.status, 200, "{fixture:?} at the {at}: {data:?}");
            assert_eq!(answer.header("content-type"), Some("video/mp4"));
            assert_eq!(answer.header("cache-control"), Some("public, max-age=1"));
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            let file = folder.path().join(format!("{fixture:?}-{at}.mp4"));
            fs::write(&file, &data).expect("a temporary folder can be written to");
            let still = read(ffmpeg, &file.display().to_string(), form, TIMEOUT);
            let [Packet { hash, key: true, pts_us: 0, .. }] = still.packets(Kind::Video) else {
                panic!("{fixture:?} at the {at}: no still of one key frame: {still:?}");
            };
            assert_eq!(*hash, newest.hash, "{fixture:?} at the {at}: another picture");
            assert_eq!(still.streams.len(), 1, "{fixture:?} at the {at}: pictures only");
            let picture = shown(ffmpeg, &file);
            assert_eq!(picture.len(), 1, "{fixture:?} at the {at}");
            assert!(all_shown.contains(&picture[0]), "{fixture:?} at the {at}: it looks otherwise");
        }
        publisher.stop().await;
    }
    for (weir, at) in [(&origin, "origin"), (&edge, "edge")] {
        let sessions = weir.sessions("play", "/live/AvcAac");
        assert_eq!(sessions.began, usize::from(at == "origin"), "only the edge is a viewer: {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_still_is_waited_for_and_why_there_is_none_is_said() {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let origin = cluster.origin(1, "publish: { idle_timeout: 1m }\n");
    let early = tokio::spawn(http::get(origin.http(), "live/a.mp4?still"));
    let mut publisher = Publisher::start(&origin.rtmp_url("live/a"), Numbered::new(25)).await;
    publisher.pictures(2).await;
    let mut answer = early.await.expect("it is answered");
    let data = answer.bytes().await;
    assert_eq!(answer.status, 200, "it has waited: {data:?}");

    let sound = publish(&origin, "live/sound", &tags_of(&Fixture::AudioOnly.file())).await;
    let mut none = get(&origin, "live/sound.mp4?still").await;
    let reason = "/live/sound: the stream has no pictures\n".to_owned();
    assert_eq!((none.status, none.text().await), (406, reason));

    let head =
        "GET /live/b.mp4?still HTTP/1.1\r\nHost: weir\r\nWeir-Wait: 0\r\nConnection: close\r\n\r\n";
    let mut nobody = http::request(origin.http(), head.as_bytes()).await;
    let reason = "nobody publishes /live/b\n".to_owned();
    assert_eq!((nobody.status, nobody.text().await), (404, reason));
    publisher.stop().await;
    sound.stop().await;
}
