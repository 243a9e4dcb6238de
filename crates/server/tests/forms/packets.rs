//! What was published comes out, whatever the container.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::{JoinSet, block_in_place},
};
use weir_flv::Tag;
use weir_testkit::{
    Weir,
    camera::{Camera, publish_in_time},
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    packets::{Extent, Form, Kind, continuation, read, tags_of},
    peer::{Player, Publisher},
    process::Process,
    raw::Raw,
};

use crate::{CONFIG, TIMEOUT, fetch, nodes, start};

/// Times are milliseconds in FLV; sound in MPEG-TS and in files of its own has those of its sampling rate.
pub const TOLERANCE: Duration = Duration::from_millis(2);

/// What is played of a fixture, at the origin and, if it says so, at the edge.
const CASES: [(Fixture, &[&str], bool); 11] = [
    (Fixture::AvcAac, &["ts", "mp4", "aac"], true),
    (Fixture::AvcBFramesAac, &["ts", "mp4"], false),
    (Fixture::AudioOnly, &["ts", "mp4", "aac"], true),
    (Fixture::VideoOnly, &["ts", "mp4"], true),
    (Fixture::AvcMp3, &["ts", "mp4", "mp3"], true),
    (Fixture::HevcAac, &["ts", "mp4", "aac"], false),
    (Fixture::Av1Aac, &["mp4", "aac"], false),
    (Fixture::Vp9Opus, &["mp4"], false),
    (Fixture::AvcFlac, &["mp4"], false),
    (Fixture::AvcAc3, &["ts", "mp4"], false),
    (Fixture::AvcEac3, &["ts", "mp4"], false),
];

/// A file that was played.
struct Played {
    fixture: Fixture,
    extension: &'static str,
    node: usize,
    is_late: bool,
    bytes: Vec<u8>,
}

/// Eight seconds of each codec at once, in real time; for each container a viewer who waits for the stream, and one who
/// comes in its midst.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_comes_out_of_every_container() {
    let tags: Vec<_> = CASES.iter().map(|(fixture, ..)| tags_of(&fixture.file())).collect();
    let (nodes, _cluster) = nodes();
    let nodes = std::sync::Arc::new(nodes);
    let (mut viewers, mut publishers) = (JoinSet::new(), JoinSet::new());
    for ((fixture, extensions, at_edge), tags) in CASES.into_iter().zip(tags) {
        let url = nodes[0].rtmp_url(&format!("live/{fixture:?}"));
        for extension in extensions {
            for node in 0..1 + usize::from(at_edge) {
                for is_late in [false, true] {
                    let (nodes, path) = (nodes.clone(), format!("live/{fixture:?}.{extension}"));
                    viewers.spawn(async move {
                        if is_late {
                            until_messages(&nodes[0], &format!("live/{fixture:?}"), 200).await;
                        }
                        let bytes = fetch(&nodes[node], &path).await;
                        Played { fixture, extension, node, is_late, bytes }
                    });
                }
            }
        }
        publishers.spawn(async move { publish_in_time(&url, &tags).await });
    }
    publishers.join_all().await;
    let played = viewers.join_all().await;
    assert_eq!(played.len(), 70);
    let wrong: Vec<_> =
        block_in_place(|| played.iter().filter_map(|played| check(played).err()).collect());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Waits until so many messages of a stream have come.
async fn until_messages(weir: &Weir, stream: &str, count: usize) {
    let mut player = Player::http_flv(weir.http(), &format!("{stream}.flv")).await;
    for _ in 0..count {
        player.next().await.expect("a stream that goes on");
    }
}

fn check(played: &Played) -> Result<(), String> {
    let Played { fixture, extension, node, is_late, bytes } = played;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join(format!("played.{extension}"));
    fs::write(&file, bytes).expect("a temporary folder can be written to");
    let which = format!("{fixture:?}.{extension} of node {node}, late: {is_late}");
    let form = Form::Elementary(*fixture);
    let [mut source, media] = [&fixture.file(), &file]
        .map(|file| read(Ffmpeg::Nine, &file.display().to_string(), form, TIMEOUT));
    let has_pictures = matches!(*extension, "ts" | "mp4");
    source.streams.retain(|stream| has_pictures || stream.kind == Kind::Audio);
    continuation(&source, &media, Extent::ToEnd, TOLERANCE)
        .map_err(|why| format!("{which}: {why}"))?;
    for kind in [Kind::Video, Kind::Audio] {
        let [published, played] = [&source, &media].map(|media| media.packets(kind).len());
        // Who comes late misses something, and all others nothing but sound before the first picture.
        let most = if *is_late { published.saturating_sub(10) } else { published };
        let least = if *is_late { 1.min(published) } else { published.saturating_sub(3) };
        if !(least..=most).contains(&played) {
            return Err(format!("{which}: {played} of {published} packets, {kind:?}"));
        }
    }
    // Packets of MP3 refer to those before them, which one who comes late has not had.
    if *is_late && *fixture == Fixture::AvcMp3 {
        return Ok(());
    }
    decode(&file).map_err(|why| format!("{which}: {why}"))
}

/// Whether FFmpeg decodes a file without a complaint.
fn decode(file: &Path) -> Result<(), String> {
    let mut command = Ffmpeg::Nine.command();
    command.args(["-v", "error", "-xerror", "-i"]).arg(file).args(["-f", "null", "-"]);
    let mut ffmpeg = Process::start("a decoder", &mut command);
    let status = ffmpeg.wait(TIMEOUT);
    let said = ffmpeg.stderr().to_string();
    let is_good = status.success() && said.trim().is_empty();
    if is_good { Ok(()) } else { Err(format!("the decoder ended with {status}: {said}")) }
}

/// Sends `tags`, `after` milliseconds later than they say.
async fn send(publisher: &mut Publisher, tags: &[Tag], after: u32) {
    for tag in tags {
        publisher.send(&Tag { timestamp: tag.timestamp + after, ..tag.clone() }).await;
    }
}

async fn until_sessions(weir: &Weir, began: usize) {
    eventually(&format!("{began} viewers"), TIMEOUT, async || {
        (weir.sessions("play", "/live/a").began >= began).then_some(())
    })
    .await;
}

/// An encoder that goes on in another codec: a transport stream says so in its tables, and an MP4 ends with what it has
/// room for. Who asks again gets the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_changes_its_codec_goes_on_in_another_file() {
    let weir = start();
    let [avc, hevc] = [Fixture::AvcAac, Fixture::HevcAac].map(|fixture| tags_of(&fixture.file()));
    let mut publisher = Publisher::silent(&weir.rtmp_url("live/a")).await;
    let publish = async {
        // Within the first group.
        let (begin, rest) = avc.split_at(20);
        send(&mut publisher, begin, 0).await;
        until_sessions(&weir, 2).await;
        send(&mut publisher, rest, 0).await;
        send(&mut publisher, &hevc, 8000).await;
        until_sessions(&weir, 3).await;
        publisher.stop().await;
    };
    let twice = async {
        let first = fetch(&weir, "live/a.mp4").await;
        (first, fetch(&weir, "live/a.mp4").await)
    };
    let (ts, (first, second), ()) = tokio::join!(fetch(&weir, "live/a.ts"), twice, publish);
    block_in_place(|| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let pictures = |name: &str, bytes: &[u8]| {
            let file = folder.path().join(name);
            fs::write(&file, bytes).expect("a temporary folder can be written to");
            let media = read(Ffmpeg::Nine, &file.display().to_string(), Form::Carried, TIMEOUT);
            decode(&file).unwrap_or_else(|why| panic!("{name}: {why}"));
            let pictures = media.stream(Kind::Video).expect("pictures");
            (pictures.codec.clone(), pictures.packets.len())
        };
        assert_eq!(pictures("first.mp4", &first), ("h264".to_owned(), 200));
        let (codec, count) = pictures("second.mp4", &second);
        assert!(codec == "hevc" && count > 0, "{count} pictures in {codec}");
    });
    assert!(ts.len() > first.len(), "{} bytes in all, {} of MP4", ts.len(), first.len());
    weir.wait_log(|line| line.to_string().contains("codecs or tracks have changed"), TIMEOUT);
}

/// An encoder that comes back with the same settings within the linger: the file goes on, and nothing of it is damaged.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_on_with_the_next_publisher() {
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir"))
        .config(&CONFIG.replace("linger: 0s", "linger: 20s"))
        .start();
    let tags = tags_of(&Fixture::AvcAac.file());
    let publish = async {
        let mut first = Publisher::silent(&weir.rtmp_url("live/a")).await;
        let (begin, rest) = tags.split_at(20);
        send(&mut first, begin, 0).await;
        until_sessions(&weir, 3).await;
        send(&mut first, rest, 0).await;
        first.stop().await;
        let mut second = Publisher::silent(&weir.rtmp_url("live/a")).await;
        send(&mut second, &tags, 0).await;
        // All that it has sent has been taken when it has an answer to this.
        second.stop().await;
        weir.terminate();
    };
    let files = async {
        tokio::join!(
            fetch(&weir, "live/a.ts"),
            fetch(&weir, "live/a.mp4"),
            fetch(&weir, "live/a.aac")
        )
    };
    let ((ts, mp4, aac), ()) = tokio::join!(files, publish);
    block_in_place(|| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (name, bytes, kind) in
            [("a.ts", ts, Kind::Video), ("a.mp4", mp4, Kind::Video), ("a.aac", aac, Kind::Audio)]
        {
            let file = folder.path().join(name);
            fs::write(&file, bytes).expect("a temporary folder can be written to");
            decode(&file).unwrap_or_else(|why| panic!("{name}: {why}"));
            let media = read(Ffmpeg::Nine, &file.display().to_string(), Form::Carried, TIMEOUT);
            let packets = media.packets(kind).len();
            let least = if kind == Kind::Video { 2 * 200 - 25 } else { 2 * 340 };
            assert!(packets >= least, "{name}: {packets} packets");
        }
    });
}

/// Whether counters of a transport stream go on wherever it does not say that they do not; how often it says so.
fn jumps(bytes: &[u8]) -> Result<usize, String> {
    let (packets, _) = bytes.as_chunks::<188>();
    let (mut counters, mut jumps) = (HashMap::new(), 0);
    for (at, packet) in packets.iter().enumerate() {
        let pid = u16::from_be_bytes([packet[1] & 0x1F, packet[2]]);
        let (has_field, has_payload) = (packet[3] & 0x20 != 0, packet[3] & 0x10 != 0);
        let jumped = has_field && packet[4] > 0 && packet[5] & 0x80 != 0;
        let (counter, before) = (packet[3] & 0x0F, counters.insert(pid, packet[3] & 0x0F));
        let next = before.map(|before: u8| before.wrapping_add(u8::from(has_payload)) & 0x0F);
        if packet[0] != 0x47 || !jumped && next.is_some_and(|next| next != counter) {
            return Err(format!("packet {at} of PID {pid:#x}: {counter} after {before:?}"));
        }
        jumps += usize::from(jumped);
    }
    Ok(jumps)
}

/// A viewer that does not read for long goes on with a later group, and the stream says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_skips_is_told_that_counters_do_not_go_on() {
    let config = CONFIG.replace("flush: video", "flush: video, window: 1s, stall_timeout: 60s");
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).config(&config).start();
    let _camera = Camera::start(&weir.rtmp_url("live/a")).await;
    let mut slow = Raw::narrow(weir.http()).await.into_inner();
    slow.write_all(b"GET /live/a.ts HTTP/1.0\r\n\r\n").await.expect("it is taken");
    until_sessions(&weir, 1).await;
    // Twelve seconds: several times of what socket buffers hold.
    let mut player = Player::http_flv(weir.http(), "live/a.flv").await;
    let mut times = Vec::new();
    while times.first().is_none_or(|first| times[times.len() - 1] < first + 12_000) {
        times.push(player.next().await.expect("a stream that goes on").timestamp);
    }
    let mut bytes = Vec::new();
    let body = |bytes: &[u8]| bytes.windows(4).position(|it| it == b"\r\n\r\n").map(|at| at + 4);
    eventually("a jump", TIMEOUT, async || {
        slow.read_buf(&mut bytes).await.expect("more");
        let body = body(&bytes).map(|at| &bytes[at..])?;
        // And half a second of what follows.
        let jumps = jumps(body).unwrap_or_else(|why| panic!("{why}"));
        // One for each PID.
        (jumps >= 4 && body.len() > 300_000).then_some(())
    })
    .await;
}
