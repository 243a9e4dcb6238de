//! Keys of `record` that change while a stream is recorded: each holds from the next group on, and no packet is lost.

use std::path::{Path, PathBuf};

use weir_testkit::eventually;

use crate::{SOON, encoder, metric, reload, server};

/// All files below `dir`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => files(&path),
            path => vec![path],
        })
        .collect()
}

async fn until_file(dir: &Path, is_it: impl Fn(&str) -> bool) {
    eventually(&format!("another file in {}", dir.display()), SOON, async || {
        let names = files(dir).into_iter().map(|file| file.display().to_string());
        names.into_iter().any(|name| is_it(&name)).then_some(())
    })
    .await;
}

/// Where, what and how streams are recorded.
#[tokio::test(flavor = "multi_thread")]
pub async fn recording_follows_a_reload() {
    let mut weir = server().config("").start();
    let dir = weir.dir().to_owned();
    let encoder = encoder(&weir, "live/a").await;
    reload(&mut weir, "record: { dir: one, streams: [other/*] }\n").await;
    assert_eq!(metric(&weir, "weir_recordings{state=\"starting\"}").await, 0.0);
    reload(&mut weir, "record: { dir: one, streams: [other/*, live/*] }\n").await;
    until_file(&dir.join("one"), |name| name.ends_with(".flv.tmp")).await;
    reload(&mut weir, "record: { dir: two, streams: live/* }\n").await;
    until_file(&dir.join("one"), |name| name.ends_with(".flv")).await;
    until_file(&dir.join("two"), |name| name.ends_with(".flv.tmp")).await;
    reload(&mut weir, "record: { dir: two, streams: live/*, container: ts }\n").await;
    until_file(&dir.join("two"), |name| name.ends_with(".ts.tmp")).await;
    reload(&mut weir, "record: { dir: two, streams: live/*, path: 'x/{stream}-{number}' }\n").await;
    until_file(&dir.join("two/x"), |name| name.ends_with(".flv.tmp")).await;
    let split = "record: { dir: three, streams: live/*, path: 'x-{number}', split: ";
    reload(&mut weir, &format!("{split}{{ duration: 500ms }} }}\n")).await;
    until_file(&dir.join("three"), |name| name.contains("x-3") && name.ends_with(".flv")).await;
    let split = split.replace("three", "four");
    reload(&mut weir, &format!("{split}{{ size: 10B }} }}\n")).await;
    until_file(&dir.join("four"), |name| name.contains("x-3") && name.ends_with(".flv")).await;
    reload(&mut weir, "vhosts: { __defaultVhost__: { record: { dir: five, streams: '*' } } }\n")
        .await;
    until_file(&dir.join("five"), |name| name.ends_with(".flv.tmp")).await;
    reload(&mut weir, "").await;
    until_file(&dir.join("five"), |name| name.ends_with(".flv")).await;
    encoder.assert_connected();
}

/// A file is complete as soon as its publisher has gone, although the stream lingers; who returns begins another.
#[tokio::test(flavor = "multi_thread")]
pub async fn a_publisher_has_files_of_its_own() {
    const LINGER: &str = "publish: { linger: 1h }\n";
    let record = |publisher: bool| {
        format!(
            "{LINGER}record: {{ dir: r, streams: live/*, path: 'x-{{number}}', split: {{ publisher: {publisher} }} }}\n"
        )
    };
    let mut weir = server().config(&record(false)).start();
    let dir = weir.dir().join("r");
    let first = encoder(&weir, "live/a").await;
    until_file(&dir, |name| name.ends_with(".flv.tmp")).await;
    reload(&mut weir, &record(true)).await;
    first.assert_connected();
    drop(first);
    until_file(&dir, |name| name.contains("/x-1") && name.ends_with(".flv")).await;
    let second = encoder(&weir, "live/a").await;
    until_file(&dir, |name| name.contains("/x-2") && name.ends_with(".flv.tmp")).await;
    drop(second);
    until_file(&dir, |name| name.contains("/x-2") && name.ends_with(".flv")).await;
}

/// What is finished goes when it is not to be kept any more, what is being written stays.
#[tokio::test(flavor = "multi_thread")]
pub async fn what_is_kept_follows_a_reload() {
    const BASE: &str = "dir: r, streams: live/*, split: { duration: 500ms }, path: 'x-{number}-'";
    let mut weir = server().config(&format!("record: {{ {BASE} }}\n")).start();
    let dir = weir.dir().join("r");
    let encoder = encoder(&weir, "live/a").await;
    let is_first = |name: &str| name.contains("x-1-") && name.ends_with(".flv");
    until_file(&dir, is_first).await;
    std::fs::write(dir.join("theirs.flv"), "theirs").expect("written");
    reload(&mut weir, &format!("record: {{ {BASE}, keep: {{ age: 1ms }} }}\n")).await;
    eventually("the first one is removed", SOON, async || {
        let names = files(&dir).into_iter().map(|file| file.display().to_string());
        (!names.into_iter().any(|name| is_first(&name))).then_some(())
    })
    .await;
    let reached = metric(&weir, "weir_recording_files_removed_total").await;
    assert!(reached >= 1.0, "{reached}");
    reload(&mut weir, &format!("record: {{ {BASE} }}\n")).await;
    until_file(&dir, |name| name.ends_with(".flv") && !name.ends_with("theirs.flv")).await;
    reload(&mut weir, &format!("record: {{ {BASE}, keep: {{ size: 1B }} }}\n")).await;
    eventually("no more than what was finished since", SOON, async || {
        (metric(&weir, "weir_recording_files_removed_total").await > reached).then_some(())
    })
    .await;
    assert!(dir.join("theirs.flv").exists(), "what Weir has not written stays");
    encoder.assert_connected();
}
