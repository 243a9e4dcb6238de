//! Keys of `upload`.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use weir_testkit::{
    Weir,
    certificates::{self, Authority},
    cluster::Ports,
    eventually,
    moto::{Keys, Moto},
    tls_front::TlsFront,
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

/// A storage that notes the heads of requests, and refuses all of them.
struct Refusing {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Refusing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Refusing {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut said = vec![0; 4096];
                let Ok(length) = socket.read(&mut said).await else { continue };
                let head = String::from_utf8_lossy(&said[..length]).into_owned();
                noted.lock().expect("noted").push(head);
                let no =
                    b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                let _ = socket.write_all(no).await;
                // Until it has been read.
                while socket.read(&mut said).await.is_ok_and(|length| length > 0) {}
            }
        });
        Self { address, heads, task }
    }

    /// Waits for a request whose head has all `words`.
    async fn until(&self, words: &[&str]) {
        eventually(&format!("a request with {words:?}"), SOON, async || {
            let heads = self.heads.lock().expect("heads");
            heads.iter().any(|head| words.iter().all(|word| head.contains(word))).then_some(())
        })
        .await;
    }
}

/// Where files go, and as whose: each of the keys changes alone.
#[tokio::test(flavor = "multi_thread")]
pub async fn target() {
    let dir = tempfile::tempdir().expect("a folder");
    let (one, two) = (Refusing::start().await, Refusing::start().await);
    let hls = format!("hls: {{ dir: \"{}\" }}\n", dir.path().display());
    put(dir.path(), "a.flv", 10);
    let mut weir = server().config(&hls).start();
    let mut keys = BTreeMap::from([
        ("url", "s3://one/p".to_owned()),
        ("endpoint", format!("\"http://{}\"", one.address)),
        ("access_key", "first".to_owned()),
        ("secret_key", "secret".to_owned()),
    ]);
    let text = |keys: &BTreeMap<&str, String>| {
        let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        format!("{hls}upload: {{ {} }}\n", keys.join(", "))
    };
    reload(&mut weir, &text(&keys)).await;
    one.until(&["PUT /one/p/a.flv ", "Credential=first/", "/us-east-1/s3/"]).await;
    keys.insert("url", "s3://other/q".to_owned());
    reload(&mut weir, &text(&keys)).await;
    one.until(&["PUT /other/q/a.flv ", "Credential=first/"]).await;
    keys.insert("region", "eu-central-1".to_owned());
    reload(&mut weir, &text(&keys)).await;
    one.until(&["PUT /other/q/a.flv ", "Credential=first/", "/eu-central-1/s3/"]).await;
    keys.insert("access_key", "second".to_owned());
    reload(&mut weir, &text(&keys)).await;
    one.until(&["Credential=second/", "/eu-central-1/s3/"]).await;
    keys.insert("endpoint", format!("\"http://{}\"", two.address));
    reload(&mut weir, &text(&keys)).await;
    two.until(&["PUT /other/q/a.flv ", "Credential=second/", "/eu-central-1/s3/"]).await;
    let file = dir.path().join("keys");
    let named = "[default]\naws_access_key_id=third\naws_secret_access_key=secret\n";
    fs::write(&file, named).expect("written");
    keys.remove("access_key");
    keys.remove("secret_key");
    keys.insert("credentials", format!("\"{}\"", file.display()));
    reload(&mut weir, &text(&keys)).await;
    two.until(&["PUT /other/q/a.flv ", "Credential=third/"]).await;
}

/// With which secret files are signed.
#[tokio::test(flavor = "multi_thread")]
pub async fn secret() {
    let (dir, ports) = (tempfile::tempdir().expect("a folder"), Ports::free());
    let storage = Moto::start(&ports).await;
    storage.make_bucket("one").await;
    let Keys { access, secret } = storage.require_keys().await;
    let text = |secret: &str| {
        format!(
            "hls: {{ dir: \"{}\" }}\nupload: {{ url: s3://one, endpoint: \"http://{}\", access_key: \"{access}\", \
             secret_key: \"{secret}\" }}\n",
            dir.path().display(),
            storage.address()
        )
    };
    put(dir.path(), "a.flv", 10);
    let mut weir = server().config(&text("wrong")).start();
    let is_failing = async || (metric(&weir, "weir_uploads_failing").await == 1.0).then_some(());
    eventually("the wrong one is refused", SOON, is_failing).await;
    reload(&mut weir, &text(&secret)).await;
    until_uploaded(&weir, 1.0).await;
    storage.open().await;
    until_there(&storage, "one/a.flv").await;
}

/// Whom to trust over TLS.
#[tokio::test(flavor = "multi_thread")]
pub async fn ca() {
    let (dir, storage) = (tempfile::tempdir().expect("a folder"), Refusing::start().await);
    let right = Authority::new("right");
    let front = TlsFront::start(storage.address, &right.issue(&["127.0.0.1"])).await;
    let wrong = certificates::put(dir.path(), "wrong.pem", &Authority::new("wrong").pem());
    let right = certificates::put(dir.path(), "right.pem", &right.pem());
    let text = |ca: &Path| {
        format!(
            "hls: {{ dir: {:?} }}\nupload: {{ url: s3://one, endpoint: \"https://{}\", access_key: a, secret_key: b, \
             ca: {ca:?} }}\n",
            dir.path(),
            front.address()
        )
    };
    put(dir.path(), "a.flv", 10);
    let mut weir = server().config(&text(&wrong)).start();
    let is_failing = async || (metric(&weir, "weir_uploads_failing").await == 1.0).then_some(());
    eventually("it is not trusted", SOON, is_failing).await;
    assert_eq!(front.handshakes(), 0);
    reload(&mut weir, &text(&right)).await;
    storage.until(&["PUT /one/a.flv "]).await;
    let (status, answer) = try_reload(&mut weir, &text(&dir.path().join("a.flv"))).await;
    assert!(status == 422 && answer.contains("upload.ca"), "{status} {answer}");
}

/// How many files are uploaded at a time.
#[tokio::test(flavor = "multi_thread")]
pub async fn at_once() {
    let (dir, silent) = (tempfile::tempdir().expect("a folder"), Impassive::start().await);
    let text = |at_once: usize| {
        format!(
            "hls: {{ dir: {:?} }}\nupload: {{ url: s3://one, endpoint: \"http://{}\", access_key: a, secret_key: b, \
             at_once: {at_once} }}\n",
            dir.path(),
            silent.address
        )
    };
    for name in ["a.flv", "b.flv", "c.flv", "d.flv"] {
        put(dir.path(), name, 10);
    }
    let mut weir = server().config(&text(1)).start();
    silent.until(1).await;
    reload(&mut weir, &text(3)).await;
    silent.until(3).await;
    let pending = metric(&weir, "weir_uploads_pending").await;
    assert_eq!((pending, silent.taken.load(Ordering::SeqCst)), (4.0, 3), "one waits");
}

/// A storage that takes connections and never answers.
struct Impassive {
    address: SocketAddr,
    taken: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Impassive {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Impassive {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let taken = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&taken);
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                held.push(socket);
            }
        });
        Self { address, taken, task }
    }

    /// Waits until it has taken exactly so many.
    async fn until(&self, count: usize) {
        eventually(&format!("{count} at once"), SOON, async || {
            (self.taken.load(Ordering::SeqCst) == count).then_some(())
        })
        .await;
    }
}

/// Recordings below `dir` that are complete, by their numbers: `x-1.flv` and so on.
fn recorded(dir: &Path) -> usize {
    (1..).take_while(|number| dir.join(format!("x-{number}.flv")).exists()).count()
}

async fn until_recorded(dir: &Path, count: usize) {
    let what = format!("{count} recordings");
    eventually(&what, SOON, async || (recorded(dir) >= count).then_some(())).await;
}

/// What is uploaded: recordings, segments, or both.
#[tokio::test(flavor = "multi_thread")]
pub async fn what() {
    let (dir, ports) = (tempfile::tempdir().expect("a folder"), Ports::free());
    let storage = Moto::start(&ports).await;
    storage.make_bucket("one").await;
    let base = format!(
        "hls: {{ dir: {:?}, segment: 500ms }}\n\
         record: {{ dir: r, streams: '*', path: '{{vhost}}/{{app}}/{{stream}}/x-{{number}}', \
         split: {{ duration: 500ms }} }}\n",
        dir.path()
    );
    let at = format!(
        "url: s3://one, endpoint: \"http://{}\", access_key: a, secret_key: b",
        storage.address()
    );
    let mut weir = server().config(&format!("{base}upload: {{ {at} }}\n")).start();
    let records = weir.dir().join("r/__defaultVhost__/live/a");
    let published = encoder(&weir, "live/a").await;
    until_there(&storage, "one/__defaultVhost__/live/a/x-2.flv").await;
    let has_segments =
        async || (metric(&weir, "weir_hls_segments_total").await >= 2.0).then_some(());
    eventually("segments", SOON, has_segments).await;
    assert!(storage.object("one/live/a.m3u8").await.is_none(), "HLS is not uploaded unasked");
    let more = "hls: true, recordings: false";
    reload(&mut weir, &format!("{base}upload: {{ {at}, {more} }}\n")).await;
    let left_out = recorded(&records) + 2;
    until_recorded(&records, left_out).await;
    until_there(&storage, "one/live/a.m3u8").await;
    reload(&mut weir, &format!("{base}upload: {{ {at}, hls: true }}\n")).await;
    let next = recorded(&records) + 2;
    until_there(&storage, &format!("one/__defaultVhost__/live/a/x-{next}.flv")).await;
    let unwanted = storage.object(&format!("one/__defaultVhost__/live/a/x-{left_out}.flv")).await;
    assert!(unwanted.is_none(), "recordings were not to be uploaded");
    assert!(records.join(format!("x-{next}.flv")).exists(), "they are kept here");
    published.assert_connected();
}

/// How large files are uploaded, and what becomes of them here.
#[tokio::test(flavor = "multi_thread")]
pub async fn parts_and_what_is_kept() {
    let (dir, ports) = (tempfile::tempdir().expect("a folder"), Ports::free());
    let storage = Moto::start(&ports).await;
    storage.make_bucket("one").await;
    let text = |more: &str| {
        format!(
            "hls: {{ dir: {:?} }}\nupload: {{ url: s3://one, endpoint: \"http://{}\", access_key: a, secret_key: b, \
             {more} }}\n",
            dir.path(),
            storage.address()
        )
    };
    put(dir.path(), "whole.flv", 6 << 20);
    let mut weir = server().config(&text("part: 8MiB")).start();
    until_uploaded(&weir, 1.0).await;
    let tag = async |path: &str| {
        storage.get(path).await.header("etag").map(str::to_owned).unwrap_or_default()
    };
    assert!(!tag("one/whole.flv").await.contains('-'), "it is less than a part");
    assert!(dir.path().join("whole.flv").exists(), "it stays");
    reload(&mut weir, &text("part: 5MiB")).await;
    put(dir.path(), "parts.flv", 6 << 20);
    reload(&mut weir, &text("part: 5MiB, at_once: 2")).await;
    until_uploaded(&weir, 2.0).await;
    assert!(tag("one/parts.flv").await.ends_with("-2\""), "two parts");
    assert!(dir.path().join("parts.flv").exists(), "it stays");
    put(dir.path(), "gone.flv", 10);
    reload(&mut weir, &text("part: 5MiB, keep_local: false")).await;
    let is_gone = async || (!dir.path().join("gone.flv").exists()).then_some(());
    eventually("the file is removed", SOON, is_gone).await;
    until_there(&storage, "one/gone.flv").await;
}
