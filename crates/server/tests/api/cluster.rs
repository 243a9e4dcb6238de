//! One answer of all nodes.

use std::{net::IpAddr, time::Duration};

use serde_json::Value;
use weir_testkit::{
    Weir,
    cluster::Ports,
    dns::Dns,
    peer::{Encoder, Numbered, Viewer},
};

use crate::{READ, SOON, call, read, server, until};

const FRAME: Duration = Duration::from_millis(40);

fn ip(number: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, number])
}

/// Three nodes behind one name, as pods behind a headless Service, and a fourth that does not answer.
async fn nodes() -> (Dns, Ports, Vec<Weir>) {
    let (dns, ports) = (Dns::start().await, Ports::free());
    dns.set("peers.test", (1..=4).map(ip).collect());
    let start = |number| {
        server()
            .config(&format!(
                "hls: {{ enabled: false }}\nedge: {{ resolvers: [\"{}\"] }}\n",
                dns.address()
            ))
            .env("WEIR_API__PEERS", format!("peers.test:{}", ports.api))
            .env("WEIR_API__PEER_TOKEN", READ)
            .at(ip(number), &ports)
            .start()
    };
    let nodes = (1..=3).map(start).collect();
    (dns, ports, nodes)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_counts_once_and_a_dead_one_is_named() {
    let (_dns, ports, nodes) = nodes().await;
    let mut encoders = Vec::new();
    for (weir, name) in nodes.iter().zip(["a", "b", "c"]) {
        let url = weir.rtmp_url(&format!("live/{name}"));
        encoders.push(Encoder::start(&url, Numbered::new(25), FRAME).await);
    }
    let mut viewer = Viewer::rtmp(&nodes[1].rtmp_url("live/b")).await;
    viewer.until_picture(1).await;

    let whole = until(&nodes[0], "streams?scope=cluster", |answer| answer["total"] == 3).await;
    let names: Vec<_> =
        list(&whole, "streams").iter().map(|stream| stream["name"].as_str()).collect();
    assert_eq!(names, [Some("a"), Some("b"), Some("c")]);
    let peers = list(&whole, "peers");
    let answered: Vec<_> = peers.iter().map(|peer| peer["ok"].as_bool()).collect();
    assert_eq!(answered, [Some(true), Some(true), Some(true), Some(false)], "{peers:#?}");
    assert_eq!(peers[3]["address"], format!("127.0.0.4:{}", ports.api));
    assert!(
        peers[3]["error"].as_str().is_some_and(|error| error.contains("cannot connect")),
        "{peers:#?}"
    );
    for (stream, peer) in list(&whole, "streams").iter().zip(peers) {
        assert_eq!(stream["node"], peer["node"]);
    }

    let clients =
        until(&nodes[2], "clients?scope=cluster&start=1&count=2", |answer| answer["total"] == 4)
            .await;
    assert_eq!(list(&clients, "clients").len(), 2, "{clients:#}");
    let summaries = read(&nodes[0], "summaries?scope=cluster").await;
    let viewers: Vec<_> =
        list(&summaries, "nodes").iter().map(|node| node["data"]["viewers"].as_u64()).collect();
    assert_eq!(viewers, [Some(0), Some(1), Some(0)]);
    assert_eq!(summaries["data"]["viewers"], 0, "the node's own");
    for path in ["versions", "origins", "pulls"] {
        assert_eq!(
            list(&read(&nodes[0], &format!("{path}?scope=cluster")).await, "peers").len(),
            4,
            "{path}"
        );
    }

    // Nobody is waited for longer than is said.
    nodes[1].freeze();
    let asked = tokio::time::timeout(SOON, read(&nodes[0], "streams?scope=cluster"))
        .await
        .expect("an answer");
    nodes[1].thaw();
    assert_eq!((asked["total"].as_u64(), list(&asked, "peers").len()), (Some(2), 4), "{asked:#}");
    let late = list(&asked, "peers").iter().any(|peer| peer["error"] == "no answer within 2s");
    assert!(late, "{asked:#}");
}

fn list<'a>(answer: &'a Value, name: &str) -> &'a Vec<Value> {
    answer[name].as_array().unwrap_or_else(|| panic!("no {name} in {answer:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_wants_another_token_is_named_and_gets_no_secret_back() {
    let strict = server().env("WEIR_API__READ_TOKENS", "another").start();
    let weir = server().env("WEIR_API__PEERS", strict.api().to_string()).start();
    let answer = call(weir.api(), "GET", "api/v1/streams?scope=cluster", READ).await;
    let error = answer.json()["peers"][1]["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("401") && error.contains("api.peer_token"), "{answer:?}");
}
