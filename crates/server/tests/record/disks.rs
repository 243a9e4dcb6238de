//! Disks that are full, gone or silent, and folders that two processes share.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use weir_testkit::{
    Weir, eventually,
    hanging::Hanging,
    packets::tags_of,
    peer::{Encoder, Numbered, Piece, Viewer},
    roaming::RoamingEncoder,
    server::field,
};

use crate::{ADMIN, BINARY, SOON, call, files, metric, recorded, recordings, start};

const PICTURE: Duration = Duration::from_millis(40);

/// A file system of a few megabytes of its own; goes with this.
struct Small(PathBuf);

impl Small {
    /// None where this user may not have one.
    fn mount(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&at).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "weir-record"]).arg(&at);
        mount.status().is_ok_and(|status| status.success()).then_some(Self(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn lines(weir: &Weir, message: &str) -> usize {
    let lines = weir.log().all();
    let lines = lines.iter().filter_map(|line| serde_json::from_str(line).ok());
    let is_it = |line: &serde_json::Value| {
        field(line, "message").as_str().is_some_and(|text| text.starts_with(message))
    };
    lines.filter(is_it).count()
}

async fn encoder(weir: &Weir, stream: &str, bytes: usize) -> Encoder {
    let source = Numbered::new(12).with_picture_bytes(bytes);
    Encoder::start(&weir.rtmp_url(stream), source, PICTURE).await
}

async fn go_on(viewer: &mut Viewer) {
    let picture = viewer.numbers().newest_picture().unwrap_or_default();
    viewer.until_picture(picture + 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_recording_and_disturbs_nobody() {
    let weir = start("record: { streams: '*', dir: small/d }\n");
    let Some(small) = Small::mount(weir.dir().join("small"), "size=10m") else {
        eprintln!("not tried: this user may not mount a file system");
        return;
    };
    // 2.5 MB a second each.
    let one = encoder(&weir, "live/a", 100_000).await;
    let other = encoder(&weir, "live/b", 100_000).await;
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    viewer.until_picture(1).await;
    eventually("a recording that fails", SOON, async || {
        let is_failing = metric(&weir, "weir_recording_errors_total").await > 0.0
            && metric(&weir, "weir_recordings{state=\"failing\"}").await > 0.0;
        is_failing.then_some(())
    })
    .await;
    assert_eq!(metric(&weir, "weir_record_writable{dir=\"small/d\"}").await, 0.0);
    go_on(&mut viewer).await;
    assert_eq!(lines(&weir, "cannot write recordings"), 1);
    // What was written stays, and can be played.
    let whole = || -> Vec<_> {
        let all = files(&small.0).into_iter();
        all.filter(|file| file.extension().is_some_and(|it| it == "flv")).collect()
    };
    let first = eventually("a file that is complete", SOON, async || {
        Some(whole()).filter(|files| !files.is_empty())
    })
    .await;
    assert!(recorded(&first).len() > 10);
    first.iter().for_each(|file| fs::remove_file(file).expect("removed"));
    eventually("it is written again", SOON, async || {
        (metric(&weir, "weir_recordings{state=\"recording\"}").await > 0.0).then_some(())
    })
    .await;
    one.assert_connected();
    other.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_vanishes_is_made_anew() {
    let weir = start("record: { streams: '*', dir: d, path: '{app}/{stream}-{number}' }\n");
    let encoder = encoder(&weir, "live/a", 1000).await;
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    let dir = weir.dir().join("d");
    let growing = async || {
        eventually("a file", SOON, async || {
            files(&dir).iter().any(|it| it.metadata().is_ok_and(|it| it.len() > 5000)).then_some(())
        })
        .await;
    };
    growing().await;
    fs::remove_dir_all(&dir).expect("removed");
    eventually("an error", SOON, async || {
        (metric(&weir, "weir_recording_errors_total").await > 0.0).then_some(())
    })
    .await;
    go_on(&mut viewer).await;
    growing().await;
    assert_eq!(lines(&weir, "cannot write recordings"), 1);
    encoder.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_holds_up_its_recordings_and_nothing_else() {
    let weir = start(
        "record: { streams: '*', dir: d, path: '{stream}-{number}', split: { duration: 1s } }\n\
         vhosts: { o.org: { record: { dir: o } } }\n",
    );
    let one = encoder(&weir, "live/a", 1000).await;
    let other = encoder(&weir, "live/a?vhost=o.org", 1000).await;
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    let (d, o) = (weir.dir().join("d"), weir.dir().join("o"));
    let more = async |dir: &PathBuf, than: usize| {
        eventually("more files", SOON, async || {
            let count = files(dir).len();
            (count > than).then_some(count)
        })
        .await
    };
    more(&d, 3).await;
    let Some(hanging) = Hanging::over(&d) else {
        eprintln!("not tried: this user may not mount a file system");
        return;
    };
    eventually("it is said to hang", SOON, async || {
        (metric(&weir, "weir_record_writable{dir=\"d\"}").await == 0.0).then_some(())
    })
    .await;
    assert_eq!(metric(&weir, "weir_record_writable{dir=\"o\"}").await, 1.0);
    let there = files(&o).len();
    more(&o, there + 3).await;
    go_on(&mut viewer).await;
    drop(hanging);
    let there = files(&d).len();
    more(&d, there + 3).await;
    one.assert_connected();
    other.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_origins_record_to_one_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("d");
    let config = format!(
        "hls: {{ enabled: false }}\npublish: {{ linger: 0s }}\ndrain: {{ notice: 0s, timeout: 20s }}\n\
         record: {{ streams: '*', dir: {}, path: '{{vhost}}/{{app}}/{{stream}}' }}\n",
        dir.display()
    );
    let at = |name: &str| dir.join("__defaultVhost__/live").join(name);
    let begin =
        || Weir::builder(BINARY).env("WEIR_API__ADMIN_TOKENS", ADMIN).config(&config).start();
    let mut one = begin();
    let first = encoder(&one, "live/a", 1000).await;
    eventually("the first one's file", SOON, async || (!files(&dir).is_empty()).then_some(()))
        .await;
    // It looks through the folder, and leaves what the first one writes.
    let mut other = begin();
    let second = encoder(&other, "live/b", 1000).await;
    let mut viewer = Viewer::rtmp(&other.rtmp_url("live/b")).await;
    go_on(&mut viewer).await;
    assert!(at("a.flv.tmp").exists(), "{:?}", files(&dir));
    // A rolling update: the first one completes its file.
    one.terminate();
    tokio::task::block_in_place(|| one.wait_exit(SOON));
    assert!(at("a.flv").exists() && at("b.flv.tmp").exists(), "{:?}", files(&dir));
    other.terminate();
    tokio::task::block_in_place(|| other.wait_exit(SOON));
    drop((first, second, viewer));
    let files = recordings(&dir, 2).await;
    assert!(recorded(&files[..1]).len() > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_holds_although_somebody_looks_through_the_folder() {
    const BASE: &str =
        "dir: d, streams: '*', path: '{stream}-{number}', split: { duration: 500ms }";
    let mut weir = start(&format!("record: {{ {BASE} }}\n"));
    let encoder = encoder(&weir, "live/a", 1000).await;
    let dir = weir.dir().join("d");
    // Once there is a second one, the first is in the list of those that may be removed.
    let first = eventually("two files", SOON, async || {
        let is_whole = |file: &PathBuf| file.extension().is_some_and(|it| it == "flv");
        let mut whole = files(&dir).into_iter().filter(is_whole);
        whole.next().filter(|_| whole.next().is_some())
    })
    .await;
    let Some(hanging) = Hanging::over(&dir) else {
        eprintln!("not tried: this user may not mount a file system");
        return;
    };
    // The look that the first one begins does not come to its end.
    for age in ["1h", "1ms"] {
        let keep = format!("keep: {{ age: {age} }}");
        weir.configure(&format!("hls: {{ enabled: false }}\nrecord: {{ {BASE}, {keep} }}\n"));
        assert_eq!(call(&weir, "POST", "api/v1/reload").await.0, 200);
    }
    drop(hanging);
    eventually("the first one is removed", SOON, async || (!first.exists()).then_some(())).await;
    encoder.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_slow_disk_does_not_take_is_left_out_and_holds_no_memory() {
    /// What one recording holds at most, and frames and a piece that is being made of them.
    const HELD_MAX: f64 = (32 << 20) as f64 + (4 << 20) as f64;
    /// What the process may need beside that while it holds so much: what its allocator keeps of buffers of 400 kB, the
    /// copy that a thread writes, and a viewer that comes.
    const SLACK: u64 = 16 << 20;
    let weir = start(
        "record: { streams: '*', dir: d, path: '{stream}-{number}', split: { duration: 500ms } }\n",
    );
    // 10 MB a second.
    let encoder = encoder(&weir, "live/a", 400_000).await;
    let dir = weir.dir().join("d");
    eventually("files", SOON, async || (files(&dir).len() > 3).then_some(())).await;
    let Some(hanging) = Hanging::over(&dir) else {
        eprintln!("not tried: this user may not mount a file system");
        return;
    };
    let (mut most, mut most_rss): (f64, u64) = (0.0, 0);
    let rss = weir.rss_bytes();
    eventually("ten groups are left out", SOON, async || {
        most = most.max(metric(&weir, "weir_memory_bytes{what=\"recordings\"}").await);
        most_rss = most_rss.max(weir.rss_bytes());
        (metric(&weir, "weir_recording_groups_dropped_total").await > 10.0).then_some(())
    })
    .await;
    assert!(most > 8e6 && most < HELD_MAX, "{most} bytes");
    eprintln!("{most} bytes held; the process had {rss} bytes before, and {most_rss} at most");
    let grown = most_rss.saturating_sub(rss);
    assert!(grown < HELD_MAX as u64 + SLACK, "it grew by {grown} bytes, and held {most}");
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    viewer.next().await.expect("viewers are served");
    go_on(&mut viewer).await;
    drop(hanging);
    let there = files(&dir).len();
    eventually("it is written again", SOON, async || (files(&dir).len() > there + 3).then_some(()))
        .await;
    eventually("nothing is held", SOON, async || {
        (metric(&weir, "weir_memory_bytes{what=\"recordings\"}").await < 12e6).then_some(())
    })
    .await;
    encoder.assert_connected();
}

/// A rolling update: what each of two processes has received is in a file, and the encoder loses a group at most.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_moves_to_another_process_is_recorded_by_both() {
    const GROUP: u64 = 12;
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("d");
    let mut weir = start(&format!(
        "drain: {{ notice: 0s, timeout: 20s }}\nhandover: {{ socket: weir.sock }}\n\
         record: {{ streams: '*', dir: {}, path: '{{stream}}' }}\n",
        dir.display()
    ));
    let encoder = RoamingEncoder::start(weir.rtmp(), "live/a", Numbered::new(GROUP), PICTURE, true);
    let until = async |number: u64| {
        eventually("pictures", SOON, async || (encoder.voyage().next > number).then_some(())).await;
    };
    until(3 * GROUP).await;
    tokio::task::block_in_place(|| weir.replace().wait_success(SOON));
    let moved = encoder.voyage().next;
    until(moved + 3 * GROUP).await;
    let voyage = encoder.voyage();
    drop(encoder);
    weir.terminate();
    tokio::task::block_in_place(|| weir.wait_exit(SOON));
    let files = recordings(&dir, 2).await;
    let numbers = |file: &PathBuf| -> Vec<u64> {
        let pieces = tags_of(file).into_iter().map(|tag| Piece::of(&tag).expect("whole"));
        let number = |piece| match piece {
            Piece::Picture { number, .. } => Some(number),
            _ => None,
        };
        pieces.filter_map(number).collect()
    };
    let mut all: Vec<_> = files.iter().map(numbers).collect();
    all.sort();
    for numbers in &all {
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap in {numbers:?}");
    }
    let (last, next) = (*all[0].last().expect("pictures"), all[1][0]);
    assert!(next > last, "{next} is in both, {last} is the last of the first");
    let missing = next - last - 1;
    eprintln!("{missing} pictures are in neither, the encoder had {} unsent", voyage.unsent);
    assert!(missing <= voyage.unsent + GROUP, "{missing} of {voyage:?}");
    assert!(*all[1].last().expect("pictures") + GROUP > moved + 3 * GROUP);
}
