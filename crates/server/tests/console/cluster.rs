//! The cluster, as the console of an edge shows it.

use std::time::Duration;

use weir_testkit::{
    cluster::Cluster,
    peer::{Numbered, Player, Publisher},
};

use crate::{ADMIN, page::Console};

/// How long a node that was killed may look alive.
const NOTICED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn the_graph_shows_who_pulls_from_whom_and_a_killed_edge_and_a_drain() {
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
    let page = Console::open(&edge, "console/#/cluster").await;
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
    page.click(".node.here button").await;
    page.enter_token(ADMIN).await;
    page.click("dialog[open] button.danger").await;
    let shown = ".node.here.notice, .node.here.draining, .toast.shown";
    page.until_there(shown).await;
    sending.abort();
}
