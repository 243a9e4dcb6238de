//! Who decides about the viewers of an edge, and how an edge shows its origin that it is one.

use weir_testkit::{
    Weir,
    backend::Backend,
    cluster::Cluster,
    hls::Playlist,
    http,
    peer::{Numbered, Publisher, Viewer},
};

use crate::{
    BINARY, HLS, TOKEN, answers, assert_never_logged, encoder, refuse_bad, until_playlist,
};

const YES: [&str; 3] = ["200", "200", "200"];
const NO: [&str; 3] = ["NetStream.Play.Failed", "403", "403"];

/// An edge that logs all it has to say.
fn edge(cluster: &Cluster, keys: &str, config: &str) -> Weir {
    let origins = [cluster.origin_at("127.0.0.1")];
    let config = format!("play: {{ wait: 3s }}\n{config}");
    let builder = cluster.edge_to(&origins, cluster.ports.http, keys, &config);
    builder.env("WEIR_LOG", "trace").start()
}

fn origin(cluster: &Cluster, config: &str) -> Weir {
    let builder = Weir::builder(BINARY).config(&format!("{HLS}{config}")).env("WEIR_LOG", "trace");
    builder.at(Cluster::ip(1), &cluster.ports).start()
}

/// An origin that serves its edges only.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_lets_nobody_in_but_its_edges() {
    let cluster = Cluster::new(BINARY);
    let check = format!("[edge: {{ tokens: [older, {TOKEN}] }}]");
    let origin = origin(&cluster, &format!("auth: {{ play: {check} }}\n"));
    let _encoder = encoder(&origin, "live/a").await;
    assert_eq!(answers(&origin, "live/a", "").await, NO, "viewers are no edges");
    for protocol in ["rtmp", "flv"] {
        let keys = |token: &str| format!("protocol: {protocol}{token}");
        let right = edge(&cluster, &keys(&format!(", token: {TOKEN}")), "");
        until_playlist(&right, "live/a.m3u8").await;
        assert_eq!(answers(&right, "live/a", "").await, YES, "{protocol}");
        Viewer::rtmp(&right.rtmp_url("live/a")).await.next().await.expect("media");
        // What an edge gives away is of no use at the origin.
        let text = http::get(right.http(), "live/a.m3u8").await.text().await;
        let segment = format!("live/{}", Playlist::parse(&text).segments[0].uri);
        assert_eq!(http::get(origin.http(), &segment).await.status, 403);
        assert_eq!(http::get(right.http(), &segment).await.status, 200);
        assert_never_logged(&right, TOKEN);
        for token in ["", ", token: wr0ng"] {
            let wrong = edge(&cluster, &keys(token), "");
            assert_eq!(answers(&wrong, "live/a", "").await, NO, "{protocol}{token}");
            assert_never_logged(&wrong, "wr0ng");
        }
    }
    assert_never_logged(&origin, TOKEN);
    assert_never_logged(&origin, "wr0ng");
}

/// Publishes come through edges only, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_takes_streams_from_its_edges_only() {
    let cluster = Cluster::new(BINARY);
    let origin = origin(&cluster, &format!("auth: {{ publish: [edge: {{ tokens: {TOKEN} }}] }}\n"));
    let refused = Publisher::try_start(&origin.rtmp_url("live/a"), Numbered::default()).await;
    let refused = refused.expect_err("it is no edge");
    assert_eq!(refused.description, "denied: this server serves its edges only");
    let right = edge(&cluster, &format!("token: {TOKEN}"), "");
    let _encoder = encoder(&right, "live/a").await;
    Viewer::rtmp(&origin.rtmp_url("live/a")).await.next().await.expect("media");
    let wrong = edge(&cluster, "token: wr0ng", "");
    let refused = Publisher::try_start(&wrong.rtmp_url("live/b"), Numbered::default()).await;
    assert!(
        refused
            .expect_err("a wrong token")
            .description
            .contains("the token of the edge is not valid")
    );
}

/// With `edge.auth: local` the edge decides, by its own back end; the origin is not asked about viewers.
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_decides_alone() {
    let [of_edge, of_origin] = [Backend::start().await, Backend::start().await];
    refuse_bad(&of_edge);
    let cluster = Cluster::new(BINARY);
    let origin = origin(
        &cluster,
        &format!(
            "hooks: {{ on_publish: {:?} }}\nauth: {{ play: [edge: {{ tokens: {TOKEN} }}] }}\n",
            of_origin.url()
        ),
    );
    let url = of_edge.url();
    let hooks = format!("hooks: {{ on_play: {url:?}, on_stop: {url:?} }}\n");
    let edge = edge(&cluster, &format!("auth: local, token: {TOKEN}"), &hooks);
    let _encoder = encoder(&origin, "live/a").await;
    until_playlist(&edge, "live/a.m3u8?good").await;
    for _ in 0..2 {
        assert_eq!(answers(&edge, "live/a", "?good").await, YES);
        assert_eq!(answers(&edge, "live/a", "?bad").await, NO);
    }
    let plays = of_edge.of("on_play");
    assert!(
        plays.iter().any(|call| call.said("param") == "?good")
            && plays.iter().any(|call| call.said("param") == "?bad")
    );
    of_edge.assert_contract();
    assert_eq!(of_origin.of("on_publish").len(), 1);
    let questions = origin.log().all().into_iter().filter(|line| line.contains("weirMayPlay"));
    assert_eq!(questions.count(), 0, "nobody is asked");
}

/// With `edge.auth: origin` the back end of the origin decides, by the parameters of each viewer.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_decides_for_its_edges_by_its_back_end() {
    let back_end = Backend::start().await;
    refuse_bad(&back_end);
    let cluster = Cluster::new(BINARY);
    let origin = origin(&cluster, &format!("hooks: {{ on_play: {:?} }}\n", back_end.url()));
    let edge = edge(&cluster, "auth: origin", "");
    let _encoder = encoder(&origin, "live/a").await;
    until_playlist(&edge, "live/a.m3u8?good=1").await;
    assert_eq!(answers(&edge, "live/a", "?good=1").await, YES);
    assert_eq!(answers(&edge, "live/a", "?bad=1").await, NO);
    assert_eq!(answers(&edge, "live/a", "?good=2").await, YES);
    back_end.assert_contract();
}
