//! Servers as values, within this process: several of them, and what one leaves behind.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, time::Duration};

use tokio::{net::TcpStream, sync::Mutex, time::timeout};
use weir_config::Config;
use weir_server::{ReloadError, Running, Server, StartError};
use weir_testkit::{
    eventually, http,
    peer::{Encoder, Numbered, Viewer},
};

const SOON: Duration = Duration::from_secs(20);

/// The time between two pictures.
const EVERY: Duration = Duration::from_millis(40);

/// Threads and descriptors are those of the process: one test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

fn config(dir: &Path, more: &str) -> Config {
    let port = "{ listen: 127.0.0.1:0 }";
    let text = format!(
        "rtmp: {port}\nhttp: {port}\napi: {port}\nworkers: 2\ndrain: {{ notice: 0s, timeout: 10s }}\n\
         hls: {{ dir: {:?} }}\n{more}",
        dir.display()
    );
    Config::parse(&text, "a.yaml").expect("a configuration")
}

async fn start(config: Config) -> Running {
    Server::start(config).await.expect("it starts")
}

fn rtmp(server: &Running) -> SocketAddr {
    server.addresses().rtmp[0]
}

fn rtmp_url(server: &Running) -> String {
    format!("rtmp://{}/live/a", rtmp(server))
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(SOON, work).await.unwrap_or_else(|_| panic!("{what}: not within {SOON:?}"))
}

async fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_err()
}

#[tokio::test]
async fn an_origin_goes_on_when_the_edge_in_the_same_process_is_drained() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().expect("a folder");
    let origin = start(config(dir.path(), "")).await;
    let origin_http = origin.addresses().http[0];
    let edge = format!(
        "role: edge\nedge: {{ origins: [{:?}], http_port: {} }}\n",
        rtmp(&origin).to_string(),
        origin_http.port()
    );
    let edge = start(config(dir.path(), &edge)).await;
    let encoder = Encoder::start(&rtmp_url(&origin), Numbered::default(), EVERY).await;
    let mut own = Viewer::rtmp(&rtmp_url(&origin)).await;
    let mut rtmp = Viewer::rtmp(&rtmp_url(&edge)).await;
    let mut flv = Viewer::http_flv(edge.addresses().http[0], "live/a.flv").await;
    for viewer in [&mut own, &mut rtmp, &mut flv] {
        within("viewers of both play", viewer.until_picture(encoder.next_number() + 5)).await;
    }
    let (edge_rtmp, edge_api) = (edge.addresses().rtmp[0], edge.addresses().api[0]);
    assert_eq!(http::get(edge_api, "/readyz").await.status, 200);
    edge.drain();
    within("viewers of the edge are let go", async {
        tokio::join!(rtmp.until_end(), flv.until_end())
    })
    .await;
    within("the edge has drained", edge.ended()).await;
    assert!(is_refused(edge_rtmp).await, "nobody new is let in");
    assert_eq!(http::get(edge_api, "/readyz").await.status, 503, "it says so");
    edge.stop().await;
    assert!(is_refused(edge_api).await, "nothing of the edge is left");

    within("the origin goes on", own.until_picture(encoder.next_number() + 25)).await;
    let mut late = Viewer::http_flv(origin_http, "live/a.flv").await;
    within("the origin lets viewers in", late.until_picture(encoder.next_number())).await;
    assert_eq!(http::get(origin.addresses().api[0], "/readyz").await.status, 200);
    encoder.assert_connected();
    origin.stop().await;
}

#[tokio::test]
async fn nothing_is_left_behind_by_a_server_that_has_started_reloaded_and_drained() {
    let _alone = ALONE.lock().await;
    let before = left();
    let live_and_drain = async || {
        let dir = tempfile::tempdir().expect("a folder");
        let server = start(config(dir.path(), "")).await;
        play_once(&server).await;
        reload(&server, dir.path()).await;
        server.drain();
        within("it has drained", server.ended()).await;
        let addresses = server.addresses().clone();
        server.stop().await;
        for address in addresses.rtmp.iter().chain(&addresses.http).chain(&addresses.api) {
            assert!(is_refused(*address).await, "{address} is closed");
        }
    };
    // What belongs to the process is made by the first one.
    live_and_drain().await;
    until_threads_are(&before.threads).await;
    let known = left();
    live_and_drain().await;
    until_left_is(&known).await;

    let dir = tempfile::tempdir().expect("a folder");
    let server = start(config(dir.path(), "")).await;
    let mut viewer = play_once(&server).await;
    drop(server);
    within("who is cut off notices it", viewer.until_end()).await;
    drop(viewer);
    until_left_is(&known).await;
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_and_leaves_nothing() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().expect("a folder");
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let known = left();
    let mut taken = config(dir.path(), "");
    taken.rtmp.listen = vec![other.local_addr().expect("bound")];
    let error = Server::start(taken).await.err().expect("the port is taken");
    assert!(matches!(error, StartError::Listen(_)), "{error}");
    let mut small = config(dir.path(), "");
    small.limits.memory = 1;
    let error = Server::start(small).await.err().expect("a contradiction").to_string();
    assert!(error.starts_with("error: limits."), "{error}");
    until_left_is(&known).await;
}

/// Publishes for a moment, and plays that over RTMP.
async fn play_once(server: &Running) -> Viewer {
    let encoder = Encoder::start(&rtmp_url(server), Numbered::default(), EVERY).await;
    let mut viewer = Viewer::rtmp(&rtmp_url(server)).await;
    within("it plays", viewer.until_picture(5)).await;
    drop(encoder);
    viewer
}

/// Puts another configuration in force, and tries one that needs a restart.
async fn reload(server: &Running, dir: &Path) {
    let diff = server.reload(config(dir, "limits: { egress: 1Gbps }\n")).await.expect("reloaded");
    let changed: Vec<_> = diff.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(changed, ["limits.egress"]);
    let edge = "role: edge\nedge: { origins: [127.0.0.1:1] }\nlimits: { egress: 2Gbps }\n";
    let other = config(dir, edge);
    let error = server.reload(other).await.expect_err("a restart is needed");
    assert!(matches!(error, ReloadError::NeedsRestart(_)), "{error}");
    let diff = server.reload(config(dir, "limits: { egress: 1Gbps }\n")).await;
    assert!(diff.expect("reloaded").changes.is_empty(), "nothing of the other is in force");
}

/// What there is of this process.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    /// Threads by their names.
    threads: BTreeMap<String, usize>,
    /// Open descriptors by what they are.
    descriptors: BTreeMap<String, usize>,
}

fn left() -> Left {
    Left { threads: threads(), descriptors: descriptors() }
}

fn threads() -> BTreeMap<String, usize> {
    let tasks = fs::read_dir("/proc/self/task").expect("threads").flatten();
    count(tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok()))
}

fn descriptors() -> BTreeMap<String, usize> {
    let open = fs::read_dir("/proc/self/fd").expect("descriptors").flatten();
    let names = open.filter_map(|fd| fs::read_link(fd.path()).ok());
    // The numbers of sockets and pipes are others each time.
    count(
        names.map(|name| {
            name.display().to_string().split(":[").next().unwrap_or_default().to_owned()
        }),
    )
}

fn count(names: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.trim().to_owned()).or_default() += 1;
    }
    counts
}

async fn until_threads_are(known: &BTreeMap<String, usize>) {
    let look = async || (threads() == *known).then_some(());
    let what = format!("threads are {known:?} again and not {:?}", threads());
    eventually(&what, SOON, look).await;
}

async fn until_left_is(known: &Left) {
    let look = async || (left() == *known).then_some(());
    let what = format!("what is left is {known:?} again and not {:?}", left());
    eventually(&what, SOON, look).await;
}
