//! The cluster, as the console of an edge shows it.

use std::time::Duration;

use weir_testkit::{
    cluster::Cluster,
    own_page::OwnPage,
    peer::{Encoder, Numbered, PICTURE_MILLIS, Player, Publisher},
    server::field,
};

use crate::{ADMIN, SOON};

/// The pace of a stream in real time.
const PICTURE: Duration = Duration::from_millis(PICTURE_MILLIS as u64);

/// How long a node that was killed may look alive.
const NOTICED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn the_graph_shows_who_pulls_from_whom_and_a_killed_edge() {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let api = format!("api: {{ admin_tokens: [{ADMIN}] }}\n");
    let origin = cluster.origin(1, &api);
    let mut other = cluster.edge(&["127.0.0.1"], "", &api);
    let peers = format!(
        "api: {{ admin_tokens: [{ADMIN}], peers: [\"{}\", \"{}\"] }}\n",
        origin.api(),
        other.api()
    );
    let edge = cluster.edge(&["127.0.0.1"], "", &peers);
    let mut publisher = Publisher::start(&origin.rtmp_url("live/a"), Numbered::new(10)).await;
    let sending = tokio::spawn(async move {
        loop {
            publisher.pictures(1).await;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });
    let mut viewers = [
        Player::rtmp(&edge.rtmp_url("live/a")).await,
        Player::rtmp(&other.rtmp_url("live/a")).await,
    ];
    for viewer in &mut viewers {
        assert!(viewer.next().await.is_some(), "it plays");
    }
    let page = OwnPage::open(&edge, "console/#/cluster").await;
    page.until("return document.querySelectorAll('.node').length === 3").await;
    page.until("return document.querySelectorAll('.node[data-role=origin]').length === 1").await;
    page.until("return document.querySelectorAll('.wire.flowing[data-pulls=\"1\"]').length === 2")
        .await;
    page.until(
        "const cells = [...document.querySelectorAll('td')];
         return cells.filter((cell) => cell.innerText.includes('/live/a')).length === 2;",
    )
    .await;
    other.kill();
    page.until_within("return document.querySelectorAll('.node.lost').length === 1", NOTICED).await;
    sending.abort();
    page.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_drains_is_shown_draining_and_its_viewers_go_elsewhere() {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let api = format!("api: {{ admin_tokens: [{ADMIN}] }}\n");
    let notice = format!("{api}drain: {{ notice: 4s }}\n");
    let mut edge = cluster.edge(&["127.0.0.1"], "", &notice);
    let peers = format!("api: {{ admin_tokens: [{ADMIN}], peers: [\"{}\"] }}\n", edge.api());
    let origin = cluster.origin(1, &peers);
    let _encoder = Encoder::start(&origin.rtmp_url("live/a"), Numbered::new(10), PICTURE).await;
    // One that follows requests to connect anew, and one that cannot hear of them.
    let mut rtmp = Player::rtmp(&edge.rtmp_url("live/a")).await;
    let mut flv = Player::http_flv(edge.http(), "live/a.flv").await;
    assert!(rtmp.next().await.is_some() && flv.next().await.is_some(), "they play");
    let graph = OwnPage::open(&origin, "console/#/cluster").await;
    graph
        .until("return document.querySelectorAll('.node.serving[data-role=edge]').length === 1")
        .await;
    let page = OwnPage::open(&edge, "console/#/cluster").await;
    page.click(".node.here button").await;
    page.enter_token(ADMIN).await;
    page.click("dialog[open] button.danger").await;
    // Its own console, and that of another node, say so; then who watches there is let go.
    let states = |role: &str| {
        let of = |phase: &str| format!(".node.{phase}[data-role={role}]");
        format!("{}, {}", of("notice"), of("draining"))
    };
    page.until_there(&states("edge")).await;
    graph.until_there(&states("edge")).await;
    rtmp.until_end().await;
    flv.until_end().await;
    let ended = edge.wait_session_end(|line| field(line, "role") == "play", SOON);
    assert_eq!(field(&ended, "kind"), "drained");
    assert!(edge.wait_exit(SOON).success());
    graph.until_there(".node.lost[data-role=edge]").await;
    // Another one takes them.
    let other = cluster.edge(&["127.0.0.1"], "", &api);
    let mut moved = Player::rtmp(&other.rtmp_url("live/a")).await;
    assert!(moved.next().await.is_some(), "it plays elsewhere");
    graph.assert_clean(&[]).await;
    // The page goes on asking a server that has gone.
    page.assert_clean(&[
        "ERR_CONNECTION_REFUSED",
        "ERR_CONNECTION_RESET",
        "ERR_EMPTY_RESPONSE",
        "503",
    ])
    .await;
}
