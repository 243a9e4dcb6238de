//! Keys of `upload`.

use std::{fs, path::Path};

use weir_testkit::{
    Weir,
    cluster::Ports,
    eventually,
    moto::{Keys, Moto},
};
use weir_upload::Uploader;

use crate::{SOON, encoder, metric, reload, server, try_reload};

fn put(dir: &Path, name: &str, bytes: usize) {
    fs::write(dir.join(name), vec![7; bytes]).expect("written");
    Uploader::note(dir, name).expect("noted");
}

async fn until_there(storage: &Moto, path: &str) {
    eventually(path, SOON, async || storage.object(path).await).await;
}

async fn until_uploaded(weir: &Weir, many: f64) {
    let is_so = async || (metric(weir, "weir_uploads_total").await >= many).then_some(());
    eventually("an upload", SOON, is_so).await;
}

/// Where files go, and with which keys.
#[tokio::test(flavor = "multi_thread")]
pub async fn target() {
    let (dir, ports) = (tempfile::tempdir().expect("a folder"), Ports::free());
    let storage = Moto::start(&ports).await;
    storage.make_bucket("one").await;
    storage.make_bucket("two").await;
    let Keys { access, secret } = storage.require_keys().await;
    let hls = format!("hls: {{ dir: \"{}\" }}\n", dir.path().display());
    let mut weir = server().config(&hls).start();
    put(dir.path(), "a.flv", 10);
    let at = format!("endpoint: \"http://{}\"", storage.address());
    let keys = format!("access_key: \"{access}\", secret_key: \"{secret}\"");
    reload(&mut weir, &format!("{hls}upload: {{ url: s3://one/p, {at}, {keys} }}\n")).await;
    until_uploaded(&weir, 1.0).await;
    let file = dir.path().join("keys");
    let text = format!("[default]\naws_access_key_id={access}\naws_secret_access_key={secret}\n");
    fs::write(&file, text).expect("written");
    put(dir.path(), "b.flv", 10);
    let named = format!("credentials: \"{}\", region: eu-central-1", file.display());
    reload(&mut weir, &format!("{hls}upload: {{ url: s3://two, {at}, {named} }}\n")).await;
    until_uploaded(&weir, 2.0).await;
    let secure = format!("{hls}upload: {{ url: s3://two, {keys}, ca: \"{}\" }}\n", file.display());
    let (status, answer) = try_reload(&mut weir, &secure).await;
    assert!(status == 422 && answer.contains("upload.ca"), "{status} {answer}");
    storage.open().await;
    until_there(&storage, "one/p/a.flv").await;
    until_there(&storage, "two/b.flv").await;
}

/// What is uploaded, and how.
#[tokio::test(flavor = "multi_thread")]
pub async fn what() {
    let (dir, ports) = (tempfile::tempdir().expect("a folder"), Ports::free());
    let storage = Moto::start(&ports).await;
    storage.make_bucket("one").await;
    let hls = format!("hls: {{ dir: \"{}\", segment: 500ms }}\n", dir.path().display());
    let at = format!(
        "url: s3://one, endpoint: \"http://{}\", access_key: a, secret_key: b",
        storage.address()
    );
    let mut weir = server().config(&format!("{hls}upload: {{ {at} }}\n")).start();
    let published = encoder(&weir, "live/a").await;
    let has_segments =
        async || (metric(&weir, "weir_hls_segments_total").await >= 2.0).then_some(());
    eventually("segments", SOON, has_segments).await;
    assert_eq!(metric(&weir, "weir_uploads_total").await, 0.0, "HLS is not uploaded unasked");
    reload(
        &mut weir,
        &format!("{hls}upload: {{ {at}, hls: true, recordings: false, at_once: 1 }}\n"),
    )
    .await;
    until_there(&storage, "one/live/a.m3u8").await;
    put(dir.path(), "large.flv", 6 << 20);
    let more = "keep_local: false, part: 5MiB";
    reload(&mut weir, &format!("{hls}upload: {{ {at}, hls: true, {more} }}\n")).await;
    until_there(&storage, "one/large.flv").await;
    let response = storage.get("one/large.flv").await;
    assert!(response.header("etag").is_some_and(|tag| tag.ends_with("-2\"")), "{response:?}");
    let is_gone = async || (!dir.path().join("large.flv").exists()).then_some(());
    eventually("the file is removed", SOON, is_gone).await;
    published.assert_connected();
}
