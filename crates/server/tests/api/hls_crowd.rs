//! Five hundred viewers of HLS at an origin and at an edge: each of them is somebody, and nobody is two.

use std::time::Duration;

use serde_json::Value;
use weir_testkit::{
    Weir,
    cluster::Cluster,
    eventually, http,
    http::Response,
    peer::{Encoder, Numbered},
    server::field,
};

use crate::{ADMIN, READ, SOON, call, read};

const FRAME: Duration = Duration::from_millis(40);

/// At each of the two nodes.
const VIEWERS: usize = 250;

/// Asks as the player that calls itself `agent`.
async fn get(weir: &Weir, path: &str, agent: &str) -> Response {
    let address = weir.http();
    let head = format!(
        "GET /{path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n"
    );
    http::request(address, head.as_bytes()).await
}

/// Has `agent` fetch the playlist and the newest segment in it; the bytes of both.
async fn watch(weir: &Weir, agent: &str) -> u64 {
    let text = eventually("a playlist", SOON, async || {
        let mut answer = get(weir, "live/a.m3u8", agent).await;
        let text = answer.text().await;
        (answer.status == 200).then_some(text)
    })
    .await;
    let segment = text.lines().rfind(|line| !line.starts_with('#')).expect("a segment");
    let mut answer = get(weir, &format!("live/{segment}"), agent).await;
    assert_eq!(answer.status, 200, "{agent}: {segment}");
    (text.len() + answer.bytes().await.len()) as u64
}

/// The viewers of HLS in an answer, without edges, which are listed as such: what each was sent, by id.
fn viewers(answer: &Value) -> Vec<(String, u64)> {
    let clients = answer["clients"].as_array().expect("a list");
    let is_viewer = |client: &&Value| client["type"] == "hls-play" && client["is_edge"] != true;
    let hls = clients.iter().filter(is_viewer);
    hls.map(|client| {
        let id = client["id"].as_str().expect("an id").to_owned();
        (id, client["send_bytes"].as_u64().expect("bytes"))
    })
    .collect()
}

fn bytes((_, bytes): (String, u64)) -> u64 {
    bytes
}

fn sorted(bytes: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut bytes: Vec<_> = bytes.into_iter().collect();
    bytes.sort_unstable();
    bytes
}

async fn clients(weir: &Weir, scope: &str) -> Vec<(String, u64)> {
    viewers(&read(weir, &format!("clients?count=1000{scope}")).await)
}

/// What the log says of viewers of HLS that have come, or gone.
fn said(weir: &Weir, message: &str) -> Vec<Value> {
    let log = weir.log().all();
    let lines = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| field(line, "protocol") == "hls" && field(line, "message") == message)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_viewer_of_hls_is_listed_counted_limited_kicked_and_logged_once() {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let peers: Vec<_> = (1..=2).map(|at| format!("127.0.0.{at}:{}", cluster.ports.api)).collect();
    let config = |viewers: usize| {
        format!(
            "hls: {{ segment: 1s, window: 3 }}\nlimits: {{ viewers_per_stream: {viewers} }}\n\
             api: {{ peers: {peers:?} }}\ndrain: {{ notice: 0s, timeout: 2s }}\n"
        )
    };
    let with_tokens = |builder: weir_testkit::server::Builder| {
        builder
            .env("WEIR_API__ADMIN_TOKENS", ADMIN)
            .env("WEIR_API__READ_TOKENS", READ)
            .env("WEIR_API__PEER_TOKEN", READ)
    };
    let origin = Weir::builder(env!("CARGO_BIN_EXE_weir"));
    // Who says that it is an edge is believed only where it costs nobody a place.
    let origin =
        with_tokens(origin.config(&config(VIEWERS + 1)).at(Cluster::ip(1), &cluster.ports)).start();
    let origins = [cluster.origin_at("127.0.0.1")];
    let edge = cluster.edge_to(&origins, cluster.ports.http, "", &config(VIEWERS));
    let edge = with_tokens(edge.at(Cluster::ip(2), &cluster.ports)).start();
    let mut nodes = [origin, edge];
    let _encoder = Encoder::start(&nodes[0].rtmp_url("live/a"), Numbered::new(25), FRAME).await;

    let mut sent = [Vec::new(), Vec::new()];
    // The edge takes its place at the origin before that is full.
    for (weir, sent) in nodes.iter().zip(&mut sent).rev() {
        for number in 0..VIEWERS {
            sent.push(watch(weir, &format!("player {number}")).await);
        }
        let one_more = get(weir, "live/a.m3u8", "one too many").await;
        assert_eq!(one_more.status, 503, "limits.viewers_per_stream");
    }

    for (weir, sent) in nodes.iter().zip(&sent) {
        let listed = clients(weir, "").await;
        assert_eq!(
            sorted(listed.into_iter().map(bytes)),
            sorted(sent.clone()),
            "to the byte, each"
        );
        let streams = read(weir, "streams").await;
        assert_eq!(streams["streams"][0]["viewers"], VIEWERS, "{streams:#}");
        assert_eq!(said(weir, "session began").len(), VIEWERS, "{}", weir.log());
    }
    // The edge is no viewer of its origin, and the same players at two nodes are no fewer.
    let whole = clients(&nodes[0], "&scope=cluster").await;
    assert_eq!(sorted(whole.into_iter().map(bytes)), sorted(sent.concat()));
    let summaries = read(&nodes[1], "summaries?scope=cluster").await;
    let of_nodes = summaries["nodes"].as_array().expect("nodes");
    let viewers: u64 = of_nodes.iter().filter_map(|node| node["data"]["viewers"].as_u64()).sum();
    assert_eq!(viewers as usize, 2 * VIEWERS, "{summaries:#}");

    for weir in &nodes {
        let listed = clients(weir, "").await;
        let id = &listed.first().expect("a viewer").0;
        let ended = call(weir.api(), "DELETE", &format!("api/v1/clients/{id}"), ADMIN).await;
        assert_eq!(ended.status, 200, "{ended:?}");
        let mut refused = 0;
        for number in 0..VIEWERS {
            let answer = get(weir, "live/a.m3u8", &format!("player {number}")).await;
            refused += usize::from(answer.status == 403);
            assert!(matches!(answer.status, 200 | 403), "player {number}: {}", answer.status);
        }
        assert_eq!(refused, 1, "one was ended, and nobody else");
    }
    for weir in &mut nodes {
        weir.terminate();
        weir.wait_exit(SOON);
        let ended = said(weir, "session ended");
        assert_eq!(ended.len(), VIEWERS, "{}", weir.log());
        let without_bytes = ended.iter().filter(|line| field(line, "sent").as_u64() < Some(1000));
        assert_eq!(without_bytes.count(), 0, "each with its bytes: {}", weir.log());
    }
}
