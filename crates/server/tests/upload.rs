//! Uploads to a storage that speaks S3 and checks signatures: what arrives there, in which order, and what becomes of
//! it when the storage or the server is away.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use weir_testkit::{
    Weir,
    backend::{Backend, Reply},
    certificates::{self, Authority},
    cluster::Ports,
    eventually, http,
    moto::{Keys, Moto},
    peer::{Encoder, Numbered, Publisher},
    relay::Relay,
    server::field,
    tls_front::TlsFront,
};
use weir_upload::Uploader;

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// For whatever is waited for, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(60);

const MIB: usize = 1 << 20;

/// Uploads to the bucket `archive` at `storage`, of files below `dir`; `more` are further keys of `upload`.
fn config(dir: &Path, storage: SocketAddr, keys: &Keys, more: &str) -> String {
    let Keys { access, secret } = keys;
    format!(
        "hls: {{ dir: \"{}\", segment: 1s, window: 3 }}\n\
         upload: {{ url: s3://archive/weir, endpoint: \"http://{storage}\", access_key: \"{access}\", \
         secret_key: \"{secret}\", {more} }}\n",
        dir.display()
    )
}

async fn metric(weir: &Weir, name: &str) -> f64 {
    let page = http::get(weir.api(), "metrics").await.text().await;
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok();
    page.lines().find_map(value).unwrap_or_else(|| panic!("no {name} in {page}"))
}

async fn until_metric(weir: &Weir, name: &str, expected: f64) {
    let what = format!("{name} is {expected}");
    eventually(&what, SOON, async || (metric(weir, name).await == expected).then_some(())).await;
}

/// Writes a file of so many bytes below `dir`, as a recorder that has finished it; its path and its bytes.
fn put_recording(dir: &Path, name: &str, bytes: usize) -> (PathBuf, Vec<u8>) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    // Each piece of eight bytes is another one: a part in a wrong place shows.
    let data: Vec<u8> = (0..bytes as u64 / 8).flat_map(u64::to_be_bytes).collect();
    fs::write(&path, &data).expect("written");
    Uploader::note(dir, name).expect("noted");
    (path, data)
}

/// The files below `dir` that a recorder has completed, by their names, and what is in them.
fn recorded(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".flv")).collect();
    names.sort();
    let read = |name: String| Some((name.clone(), fs::read(dir.join(name)).ok()?));
    names.into_iter().filter_map(read).collect()
}

/// Until there are so many of them.
async fn until_recorded(dir: &Path, count: usize) -> Vec<(String, Vec<u8>)> {
    eventually(&format!("{count} recordings"), SOON, async || {
        Some(recorded(dir)).filter(|all| all.len() >= count)
    })
    .await
}

/// What the API says of uploads.
async fn uploads(weir: &Weir) -> serde_json::Value {
    let text = http::get(weir.api(), "api/v1/uploads?count=1000").await.text().await;
    let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    answer["uploads"].clone()
}

/// An encoder in real time, with a key frame twice a second.
async fn encoder(weir: &Weir) -> Encoder {
    let every = Duration::from_millis(40);
    Encoder::start(&weir.rtmp_url("live/a"), Numbered::new(12), every).await
}

/// The notes of what is not uploaded yet.
fn notes(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join(".weir-upload")).into_iter().flatten();
    entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_of_hls_and_then_their_playlist_are_uploaded() {
    let (dir, ports) = (tempfile::tempdir().expect("a folder"), Ports::free());
    let storage = Moto::start(&ports).await;
    storage.make_bucket("archive").await;
    let keys = storage.require_keys().await;
    let text = config(dir.path(), storage.address(), &keys, "hls: true");
    let weir = Weir::builder(BINARY).config(&text).start();
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a b"), Numbered::new(25)).await;
    publisher.pictures(25 * 6 + 1).await;
    publisher.stop().await;
    let uploaded = async || (metric(&weir, "weir_uploads_total").await >= 3.0).then_some(());
    eventually("three segments are uploaded", SOON, uploaded).await;
    storage.open().await;
    let playlist = eventually("a playlist with its end", SOON, async || {
        let text = storage.object("archive/weir/live/a%20b.m3u8").await?;
        let text = String::from_utf8(text.to_vec()).expect("text");
        // Whatever it lists is there, at every moment.
        for uri in text.lines().filter(|line| !line.starts_with('#')) {
            let segment = storage.object(&format!("archive/weir/live/{uri}")).await;
            assert!(segment.is_some_and(|it| it.first() == Some(&0x47)), "{uri} is a segment");
        }
        text.ends_with("#EXT-X-ENDLIST\n").then_some(text)
    })
    .await;
    assert!(playlist.matches("#EXTINF").count() >= 3, "{playlist}");
    let response = storage.get("archive/weir/live/a%20b.m3u8").await;
    assert_eq!(response.header("content-type"), Some("application/vnd.apple.mpegurl"));
    until_metric(&weir, "weir_uploads_pending", 0.0).await;
    assert_eq!(metric(&weir, "weir_uploads_failing").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_goes_on_where_it_was_when_the_server_was_killed() {
    let (dir, ports) = (tempfile::tempdir().expect("a folder"), Ports::free());
    let storage = Moto::start(&ports).await;
    storage.make_bucket("archive").await;
    let keys = storage.require_keys().await;
    // A part takes a fifth of a second at least.
    let far = Relay::far(storage.address(), Duration::from_millis(100)).await;
    let (path, data) = put_recording(dir.path(), "live/a.flv", 62 * MIB);
    let text = config(dir.path(), far.address(), &keys, "part: 5MiB, keep_local: false");
    let mut weir = Weir::builder(BINARY).config(&text).start();
    let begun = eventually("two parts are there", SOON, async || {
        notes(dir.path()).into_iter().find(|note| note.lines().count() >= 4)
    })
    .await;
    weir.kill();
    assert!(path.exists(), "it is not removed before it is uploaded: {begun}");
    weir.restart();
    until_metric(&weir, "weir_uploads_total", 1.0).await;
    until_metric(&weir, "weir_uploads_pending", 0.0).await;
    assert!(!path.exists() && notes(dir.path()).is_empty());
    storage.open().await;
    let uploaded = storage.object("archive/weir/live/a.flv").await.expect("it is there");
    assert!(uploaded == data, "{} bytes of {}", uploaded.len(), data.len());
    let response = storage.get("archive/weir/live/a.flv").await;
    assert!(response.header("etag").is_some_and(|tag| tag.ends_with("-13\"")), "{response:?}");
    // Whoever begins anew leaves the first upload behind.
    let left = storage.get("archive?uploads").await.text().await;
    assert!(!left.contains("<UploadId>"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_away_is_tried_until_it_is_back() {
    let (dir, ports) = (tempfile::tempdir().expect("a folder"), Ports::free());
    let storage = SocketAddr::from(([127, 0, 0, 1], ports.http));
    let keys = Keys { access: "anybody".to_owned(), secret: "anything".to_owned() };
    let (path, data) = put_recording(dir.path(), "live/a.flv", MIB);
    let weir = Weir::builder(BINARY).config(&config(dir.path(), storage, &keys, "")).start();
    until_metric(&weir, "weir_uploads_failing", 1.0).await;
    assert_eq!(metric(&weir, "weir_uploads_pending").await, 1.0);
    let is_said = |line: &serde_json::Value| {
        field(line, "message").as_str().is_some_and(|it| it.contains("fail"))
    };
    weir.wait_log(is_said, SOON);
    let storage = Moto::start(&ports).await;
    storage.make_bucket("archive").await;
    until_metric(&weir, "weir_uploads_total", 1.0).await;
    until_metric(&weir, "weir_uploads_failing", 0.0).await;
    assert_eq!(storage.object("archive/weir/live/a.flv").await.as_deref(), Some(&*data));
    assert!(path.exists(), "it stays unless the configuration says otherwise");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_refused_and_shown_nowhere() {
    let (dir, ports) = (tempfile::tempdir().expect("a folder"), Ports::free());
    let storage = Moto::start(&ports).await;
    storage.make_bucket("archive").await;
    let mut keys = storage.require_keys().await;
    keys.secret = "wrong-and-very-secret".to_owned();
    put_recording(dir.path(), "live/a.flv", 1024);
    let text = config(dir.path(), storage.address(), &keys, "");
    let weir = Weir::builder(BINARY).config(&text).env("WEIR_API__ADMIN_TOKENS", "admin").start();
    let is_said = |line: &serde_json::Value| {
        field(line, "error").as_str().is_some_and(|it| it.contains("403"))
    };
    let line = weir.wait_log(is_said, SOON).to_string();
    assert!(line.contains("SignatureDoesNotMatch") && line.contains("s3://archive/weir"), "{line}");
    until_metric(&weir, "weir_uploads_failing", 1.0).await;
    let asked = "GET /api/v1/config HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer admin\r\nConnection: close\r\n\r\n";
    let mut answer = http::request(weir.api(), asked.as_bytes()).await;
    let file = dir.path().join("check.yaml");
    fs::write(&file, &text).expect("written");
    let check = Command::new(BINARY)
        .args(["check", "--text-only", "-c"])
        .arg(&file)
        .output()
        .expect("it runs");
    let check = format!("{check:?}");
    assert!(check.contains("recordings to s3://archive/weir at http://127.0.0.1:"), "{check}");
    let shown = [
        format!("{:?}", weir.log()),
        http::get(weir.api(), "metrics").await.text().await,
        answer.text().await,
        check,
    ];
    assert!(shown[2].contains("s3://archive/weir"), "{}", shown[2]);
    for shown in shown {
        assert!(!shown.contains(&keys.secret) && !shown.contains(&keys.access), "{shown}");
    }
}

/// What is refused waits alone, and that is seen; its age is known to the next process too.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_storage_never_takes_is_seen_and_holds_up_no_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let storage = Backend::start().await;
    storage.answers(|call| match call.target.contains("never") {
        true => Reply::Text(400, "<Error><Code>EntityTooLarge</Code></Error>".to_owned()),
        false => Reply::Text(200, String::new()),
    });
    let (never, _) = put_recording(dir.path(), "live/never.flv", 1024);
    let notes_dir = dir.path().join(".weir-upload");
    for note in fs::read_dir(&notes_dir).expect("notes") {
        let note = fs::File::options().append(true).open(note.expect("a note").path());
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        note.expect("opened").set_modified(hour_ago).expect("set");
    }
    for number in 0..3 {
        put_recording(dir.path(), &format!("live/{number}.flv"), 1024);
    }
    let keys = Keys { access: "anybody".to_owned(), secret: "anything".to_owned() };
    let text = config(dir.path(), storage.address(), &keys, "keep_local: false");
    let mut weir =
        Weir::builder(BINARY).config(&text).env("WEIR_API__ADMIN_TOKENS", "admin").start();
    until_metric(&weir, "weir_uploads_total", 3.0).await;
    until_metric(&weir, "weir_uploads_refused", 1.0).await;
    until_metric(&weir, "weir_uploads_pending", 1.0).await;
    let oldest = metric(&weir, "weir_uploads_oldest_seconds").await;
    assert!((3600.0..3700.0).contains(&oldest), "{oldest} s");
    assert_eq!(metric(&weir, "weir_uploads_failing").await, 0.0, "it is not the storage");
    let is_said = |line: &serde_json::Value| field(line, "file") == "live/never.flv";
    let line = weir.wait_log(is_said, SOON);
    assert!(field(&line, "error").to_string().contains("EntityTooLarge"), "{line}");
    assert!(never.exists(), "it is not removed");
    // Whoever has mended the storage need not wait.
    storage.replies(Reply::Text(200, String::new()));
    weir.reload(&(text + "hooks: { retry: 2s }\n"), "admin").await;
    until_metric(&weir, "weir_uploads_total", 4.0).await;
    until_metric(&weir, "weir_uploads_refused", 0.0).await;
    assert_eq!(metric(&weir, "weir_uploads_oldest_seconds").await, 0.0);
    let lines = weir.log().all();
    let said = lines.iter().filter(|line| line.contains("live/never.flv")).count();
    assert_eq!(said, 1, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_arrives_over_tls_at_a_storage_that_is_trusted_by_its_file() {
    let ports = Ports::free();
    let storage = Moto::start(&ports).await;
    storage.make_bucket("archive").await;
    let authority = Authority::new("authority");
    let front = TlsFront::start(storage.address(), &authority.issue(&["127.0.0.1"])).await;
    let dir = tempfile::tempdir().expect("a folder");
    let right = certificates::put(dir.path(), "right.pem", &authority.pem());
    let wrong = certificates::put(dir.path(), "wrong.pem", &Authority::new("another").pem());
    let config = |ca: &Path| {
        format!(
            "record: {{ dir: r, streams: '*', path: '{{stream}}-{{number}}', split: {{ duration: 1s }} }}\n\
             upload: {{ url: s3://archive/weir, endpoint: \"https://{}\", access_key: a, secret_key: b, ca: {} }}\n",
            front.address(),
            ca.display()
        )
    };
    let mut weir = Weir::builder(BINARY)
        .env("WEIR_API__ADMIN_TOKENS", "admin")
        .config(&config(&wrong))
        .start();
    let published = encoder(&weir).await;
    until_recorded(&weir.dir().join("r"), 2).await;
    let said = eventually("the storage is not trusted", SOON, async || {
        uploads(&weir).await["last_error"].as_str().map(str::to_owned)
    })
    .await;
    assert!(said.contains("certificate"), "{said}");
    assert_eq!(metric(&weir, "weir_uploads_total").await, 0.0);
    weir.reload(&config(&right), "admin").await;
    drop(published);
    let files = until_recorded(&weir.dir().join("r"), 3).await;
    for (name, bytes) in files {
        let object = format!("archive/weir/{name}");
        let there = eventually(&object, SOON, async || storage.object(&object).await).await;
        assert!(there == bytes, "{name}: {} of {} bytes", there.len(), bytes.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_upload_is_listed_and_not_removed() {
    let ports = Ports::free();
    let storage = SocketAddr::from(([127, 0, 0, 1], ports.http));
    let config = |keep: &str| {
        format!(
            "record: {{ dir: r, streams: '*', path: '{{stream}}-{{number}}', split: {{ duration: 500ms }}{keep} }}\n\
             upload: {{ url: s3://archive, endpoint: \"http://{storage}\", access_key: a, secret_key: b }}\n\
             publish: {{ linger: 0s }}\n",
        )
    };
    let mut weir =
        Weir::builder(BINARY).env("WEIR_API__ADMIN_TOKENS", "admin").config(&config("")).start();
    let dir = weir.dir().join("r");
    let published = encoder(&weir).await;
    until_recorded(&dir, 3).await;
    drop(published);
    let there = eventually("all of them are complete and noted", SOON, async || {
        let (all, listed) = (recorded(&dir), uploads(&weir).await);
        (listed["total"].as_u64() == Some(all.len() as u64) && notes(&dir).len() == all.len())
            .then_some(all)
    })
    .await;
    let listed = eventually("the storage fails", SOON, async || {
        Some(uploads(&weir).await).filter(|it| it["failures"].as_u64() > Some(0))
    })
    .await;
    let target = listed["target"].as_str().expect("a target");
    assert!(target.starts_with("s3://archive at http://127.0.0.1:"), "{target}");
    assert!(listed["last_error"].as_str().is_some_and(|why| why.contains("no answer")), "{listed}");
    assert!(listed["last_error_ms"].as_u64().is_some(), "{listed}");
    let files = listed["files"].as_array().expect("files");
    assert_eq!(files.len(), there.len());
    let is_right = |it: &serde_json::Value| it["kind"] == "recording" && it["dir"] == "r";
    assert!(files.iter().all(is_right), "{listed}");
    weir.reload(&config(", keep: { size: 1B }"), "admin").await;
    let stays = |line: &serde_json::Value| {
        field(line, "message").as_str().is_some_and(|it| it.contains("until they are uploaded"))
    };
    weir.wait_log(stays, SOON);
    assert_eq!(recorded(&dir), there, "none is removed");
    let storage = Moto::start(&ports).await;
    storage.make_bucket("archive").await;
    until_metric(&weir, "weir_uploads_pending", 0.0).await;
    for (name, bytes) in &there {
        let object = storage.object(&format!("archive/{name}")).await;
        assert!(object.is_some_and(|object| object == *bytes), "{name}");
    }
    weir.reload(&config(", keep: { size: 2B }"), "admin").await;
    eventually("they are removed", SOON, async || recorded(&dir).is_empty().then_some(())).await;
    assert_eq!(metric(&weir, "weir_uploads_gone_total").await, 0.0);
    assert_eq!(uploads(&weir).await["failures"], 0);
}
