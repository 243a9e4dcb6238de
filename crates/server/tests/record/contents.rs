//! What is in the files.

use std::{fs, path::Path, time::Duration};

use tokio::task::{JoinSet, block_in_place};
use weir_media::Track;
use weir_testkit::{
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    packets::{Extent, Form, Kind, continuation, read, tags_of},
    peer::Publisher,
    process::Process,
};

use crate::{
    SOON, TIMEOUT, call, files, is_complete, media, publish, recorded, recordings, send, start,
};

/// Times are milliseconds in FLV; sound in MPEG-TS has those of its sampling rate.
const TOLERANCE: Duration = Duration::from_millis(2);

/// What each container has room for of the fixtures.
const CASES: [(&str, &[Fixture]); 3] = [
    (
        "flv",
        &[
            Fixture::AvcBFramesAac,
            Fixture::HevcAac,
            Fixture::Av1Aac,
            Fixture::Av1Opus,
            Fixture::Vp9Opus,
        ],
    ),
    (
        "mp4",
        &[
            Fixture::AvcBFramesAac,
            Fixture::HevcAac,
            Fixture::Av1Aac,
            Fixture::Av1Opus,
            Fixture::Vp9Opus,
        ],
    ),
    ("ts", &[Fixture::AvcBFramesAac, Fixture::HevcAac, Fixture::AvcMp3]),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_is_in_the_files_of_every_container() {
    let vhosts = CASES.map(|(container, _)| {
        format!("  {container}.org: {{ record: {{ dir: {container}, container: {container} }} }}\n")
    });
    let weir = start(&format!(
        "publish: {{ linger: 0s }}\nrecord: {{ streams: '*', path: '{{vhost}}/{{app}}/{{stream}}' }}\nvhosts:\n{}",
        vhosts.concat()
    ));
    let mut publishers = JoinSet::new();
    for (container, fixtures) in CASES {
        for fixture in fixtures {
            let url = weir.rtmp_url(&format!("live/{fixture:?}?vhost={container}.org"));
            publishers.spawn(async move {
                let mut publisher = Publisher::silent(&url).await;
                send(&mut publisher, &tags_of(&fixture.file()), 0).await;
                publisher.stop().await;
            });
        }
    }
    publishers.join_all().await;
    for (container, fixtures) in CASES {
        let dir = weir.dir().join(container);
        recordings(&dir, fixtures.len()).await;
        for fixture in fixtures {
            let file = dir.join(format!("{container}.org/live/{fixture:?}.{container}"));
            block_in_place(|| check(*fixture, &file)).unwrap_or_else(|why| panic!("{why}"));
        }
    }
}

fn check(fixture: Fixture, file: &Path) -> Result<(), String> {
    let which = file.display();
    let form = Form::Elementary(fixture);
    let [source, media] = [&fixture.file(), &file.to_owned()]
        .map(|file| read(Ffmpeg::Nine, &file.display().to_string(), form, TIMEOUT));
    continuation(&source, &media, Extent::ToEnd, TOLERANCE)
        .map_err(|why| format!("{which}: {why}"))?;
    let count = |media: &weir_testkit::packets::Media, kind| media.packets(kind).len();
    let [published, recorded] = [&source, &media].map(|media| count(media, Kind::Video));
    if published != recorded {
        return Err(format!("{which}: {recorded} of {published} pictures"));
    }
    let [published, recorded] = [&source, &media].map(|media| count(media, Kind::Audio));
    // What comes before the first picture is no viewer's either.
    if recorded + 3 < published {
        return Err(format!("{which}: {recorded} of {published} packets of sound"));
    }
    let mut command = Ffmpeg::Nine.command();
    command.args(["-v", "error", "-xerror", "-i"]).arg(file).args(["-f", "null", "-"]);
    let mut ffmpeg = Process::start("a decoder", &mut command);
    let status = ffmpeg.wait(TIMEOUT);
    let said = ffmpeg.stderr().to_string();
    let is_good = status.success() && said.trim().is_empty();
    if is_good { Ok(()) } else { Err(format!("{which}: decoder: {status}: {said}")) }
}

/// Packets of the tracks of a file as FFmpeg has them, by their number.
fn packets_of_tracks(file: &Path) -> Vec<usize> {
    let read = |index: usize| {
        let mut command = Ffmpeg::Nine.command();
        command.args(["-v", "error", "-i"]).arg(file).args(["-map", &format!("0:{index}?")]);
        command.args(["-c", "copy", "-f", "framecrc", "-"]);
        let mut ffmpeg = Process::start("a reader of packets", &mut command);
        ffmpeg.wait(TIMEOUT);
        let lines = ffmpeg.stdout().to_string();
        lines
            .lines()
            .filter(|line| !line.trim_start().starts_with('#') && line.contains(','))
            .count()
    };
    (0..4).map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tracks_of_a_stream_are_recorded() {
    let weir = start(
        "publish: { linger: 0s }\nrecord: { streams: '*', path: '{stream}', dir: flv }\n\
         vhosts: { m.org: { record: { dir: mp4, container: mp4 } } }\n",
    );
    let tags = tags_of(&Fixture::Ladder.file());
    publish(&weir, "live/a", &tags).await;
    publish(&weir, "live/a?vhost=m.org", &tags).await;
    let files = recordings(&weir.dir().join("flv"), 1).await;
    let (published, recorded) = (media(&tags), recorded(&files));
    let of = |all: &[(Track, Vec<u8>)], wanted| {
        all.iter()
            .filter(|(track, _)| *track == wanted)
            .map(|(_, bytes)| bytes.clone())
            .collect::<Vec<_>>()
    };
    for track in 0..3 {
        let [published, recorded] = [&published, &recorded].map(|all| of(all, Track::Video(track)));
        assert!(published.len() > 100 && published == recorded, "track {track}");
    }
    let movie = recordings(&weir.dir().join("mp4"), 1).await;
    block_in_place(|| {
        let counts = packets_of_tracks(&movie[0]);
        let pictures = of(&published, Track::Video(0)).len();
        assert_eq!(counts[..3], [pictures; 3], "{counts:?}");
        assert!(counts[3] > 300, "{counts:?}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_seam_nothing_is_lost_and_nothing_is_there_twice() {
    let weir = start(
        "publish: { linger: 0s }\nrecord: { dir: d, streams: [live/*], split: { duration: 2s } }\n\
         vhosts: { s.org: { record: { dir: s, split: { duration: 0s, size: 100KiB } } } }\n",
    );
    let tags = tags_of(&Fixture::AvcBFramesAac.file());
    publish(&weir, "live/a", &tags).await;
    publish(&weir, "live/a?vhost=s.org", &tags).await;
    // Eight seconds with a key frame in each.
    let by_time = recordings(&weir.dir().join("d"), 4).await;
    let mut published = media(&tags);
    let recorded_by_time = recorded(&by_time);
    published.drain(..published.len() - recorded_by_time.len());
    assert!(published == recorded_by_time, "by duration");
    let by_size = eventually("files by size", SOON, async || {
        let all = files(&weir.dir().join("s"));
        let are_complete = all.iter().all(|file| is_complete(file));
        let is_all = || recorded(&all).len() == published.len();
        (are_complete && all.len() > 1 && is_all()).then_some(all)
    })
    .await;
    assert!(recorded(&by_size) == published, "by size");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_returns_in_time_goes_on_in_the_same_file() {
    let weir =
        start("publish: { linger: 60s }\nrecord: { dir: d, streams: '*', path: '{stream}' }\n");
    let tags = tags_of(&Fixture::AvcBFramesAac.file());
    let dir = weir.dir().join("d");
    let of_one: usize = media(&tags).iter().map(|(_, bytes)| bytes.len()).sum();
    // The log has no room for more than ten seconds that come at once.
    let written = async |least: usize| {
        eventually("all of it in the file", SOON, async || {
            let lens = files(&dir).into_iter().filter_map(|file| Some(file.metadata().ok()?.len()));
            (lens.sum::<u64>() > least as u64).then_some(())
        })
        .await;
    };
    publish(&weir, "live/a", &tags).await;
    written(of_one / 10 * 9).await;
    publish(&weir, "live/a", &tags).await;
    written(of_one / 10 * 19).await;
    let id = "api/v1/streams/live%2Fa/record";
    assert_eq!(call(&weir, "DELETE", id).await.0, 200);
    let files = recordings(&dir, 1).await;
    let one = media(&tags);
    let all = recorded(&files);
    // The first publish from its first key frame on, and all of the second.
    assert!(
        all.len() > 2 * one.len() - 4 && all.ends_with(&one),
        "{} of twice {}",
        all.len(),
        one.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_codec_begins_another_file() {
    let weir = start("publish: { linger: 0s }\nrecord: { dir: d, streams: '*', container: mp4 }\n");
    let [avc, hevc] = [Fixture::AvcAac, Fixture::HevcAac].map(|fixture| tags_of(&fixture.file()));
    let mut publisher = Publisher::silent(&weir.rtmp_url("live/a")).await;
    send(&mut publisher, &avc, 0).await;
    send(&mut publisher, &hevc, 8000).await;
    publisher.stop().await;
    let files = recordings(&weir.dir().join("d"), 2).await;
    block_in_place(|| {
        let codecs = files.iter().map(|file| {
            let media = read(Ffmpeg::Nine, &file.display().to_string(), Form::Carried, TIMEOUT);
            let pictures = media.stream(Kind::Video).expect("pictures");
            (pictures.codec.clone(), pictures.packets.len())
        });
        let codecs: Vec<_> = codecs.collect();
        assert_eq!(codecs, [("h264".to_owned(), 200), ("hevc".to_owned(), 200)]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_starts_and_stops_a_recording() {
    let weir = start("record: { dir: d, streams: [other/*], path: '{app}-{stream}-{number}' }\n");
    let source = weir_testkit::peer::Numbered::new(12);
    let every = Duration::from_millis(40);
    let encoder = weir_testkit::peer::Encoder::start(&weir.rtmp_url("live/a"), source, every).await;
    let path = "api/v1/streams/live%2Fa/record";
    let (status, _) = call(&weir, "POST", "api/v1/streams/live%2Fnone/record").await;
    assert_eq!(status, 404);
    let (status, answer) = call(&weir, "POST", path).await;
    assert_eq!(status, 200, "{answer}");
    let described = async || {
        let (_, text) = call(&weir, "GET", "api/v1/streams/live%2Fa").await;
        let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        answer["stream"]["recording"].clone()
    };
    eventually("a file that grows", SOON, async || {
        let recording = described().await;
        let is_on = recording["state"] == "recording" && recording["bytes"].as_u64() > Some(2000);
        is_on.then_some(())
    })
    .await;
    assert_eq!(call(&weir, "DELETE", path).await.0, 200);
    let first = recordings(&weir.dir().join("d"), 1).await;
    assert!(!recorded(&first).is_empty());
    eventually("the recording is stopped", SOON, async || {
        (described().await["state"] == "stopped").then_some(())
    })
    .await;
    assert_eq!(call(&weir, "POST", path).await.0, 200);
    eventually("another file", SOON, async || {
        (described().await["bytes"].as_u64() > Some(2000)).then_some(())
    })
    .await;
    assert_eq!(call(&weir, "DELETE", path).await.0, 200);
    recordings(&weir.dir().join("d"), 2).await;
    encoder.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_leaves_files_that_the_next_one_completes() {
    let mut weir = start(
        "publish: { linger: 0s }\nrecord: { streams: '*', path: '{stream}', dir: flv }\n\
         vhosts: { m.org: { record: { dir: mp4, container: mp4 } }, t.org: { record: { dir: ts, container: ts } } }\n",
    );
    let tags = tags_of(&Fixture::AvcBFramesAac.file());
    let mut publishers = Vec::new();
    for vhost in ["", "?vhost=m.org", "?vhost=t.org"] {
        let mut publisher = Publisher::silent(&weir.rtmp_url(&format!("live/a{vhost}"))).await;
        send(&mut publisher, &tags, 0).await;
        publishers.push(publisher);
    }
    let dirs = ["flv", "mp4", "ts"].map(|dir| weir.dir().join(dir));
    let payload: usize = media(&tags).iter().map(|(_, bytes)| bytes.len()).sum();
    for dir in &dirs {
        eventually("nearly all of it in a file", SOON, async || {
            let files = files(dir);
            let is_long = |file: &std::path::PathBuf| {
                file.metadata().is_ok_and(|about| about.len() > payload as u64 / 10 * 9)
            };
            files.iter().any(is_long).then_some(())
        })
        .await;
    }
    weir.kill();
    for dir in &dirs {
        // Half a tag, fragment or packet.
        let file = files(dir).into_iter().find(|file| file.to_string_lossy().ends_with(".tmp"));
        let file = fs::OpenOptions::new().append(true).open(file.expect("an unfinished file"));
        std::io::Write::write_all(&mut file.expect("opened"), &[9, 0, 0, 99]).expect("written");
    }
    weir.restart();
    for (dir, container) in dirs.iter().zip(["flv", "mp4", "ts"]) {
        let files = recordings(dir, 1).await;
        let form = Form::Elementary(Fixture::AvcBFramesAac);
        block_in_place(|| {
            let [source, left] = [&Fixture::AvcBFramesAac.file(), &files[0]]
                .map(|file| read(Ffmpeg::Nine, &file.display().to_string(), form, TIMEOUT));
            continuation(&source, &left, Extent::Run, TOLERANCE)
                .unwrap_or_else(|why| panic!("{why}"));
            let [published, recorded] = [&source, &left].map(|it| it.packets(Kind::Video).len());
            assert!(recorded + 30 > published, "{container}: {recorded} of {published}");
        });
    }
    drop(publishers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_begins_in_a_burst_has_all_that_follows() {
    // As an encoder that was cut off sends what it has kept.
    const PICTURES: u64 = 400;
    const BYTES: usize = 100_000;
    let weir = start("publish: { linger: 0s }\nrecord: { dir: d, path: '{stream}' }\n");
    let source = weir_testkit::peer::Numbered::new(25).with_picture_bytes(BYTES);
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source).await;
    let asked = async {
        eventually("it is recorded", SOON, async || {
            let (status, _) = call(&weir, "POST", "api/v1/streams/live%2Fa/record").await;
            (status == 200).then_some(())
        })
        .await;
    };
    let burst = async {
        publisher.pictures(PICTURES).await;
        publisher
    };
    let (publisher, ()) = tokio::join!(burst, asked);
    publisher.stop().await;
    let files = recordings(&weir.dir().join("d"), 1).await;
    let pictures =
        recorded(&files).into_iter().filter(|(track, _)| matches!(track, Track::Video(_)));
    let mut numbers: Vec<_> = pictures.map(|(_, bytes)| bytes).collect();
    let all = numbers.len() as u64;
    numbers.dedup();
    assert_eq!(numbers.len() as u64, all, "none is there twice");
    assert!(
        all > 0 && (PICTURES - all).is_multiple_of(25),
        "{all} of {PICTURES}: whole groups up to the end"
    );
    assert_eq!(crate::metric(&weir, "weir_recording_groups_dropped_total").await, 0.0);
}
