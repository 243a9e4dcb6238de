use std::{future::Future, pin::pin, time::Duration};

use tokio::time::timeout;
use weir_clients::roster::RosterEntry;
use weir_delivery::Format;
use weir_edge::Hops;
use weir_hub::Publisher;

use super::*;
use crate::{
    auth::Denied,
    play::live::{Live, LiveHead},
    testing::{HOME, SOON, ask, client, does, key, node, publish, url},
};

/// An edge whose origin answers nobody.
const EDGE: &str =
    "role: edge\nedge: { origins: [\"127.0.0.1:1\"], http_port: 1 }\nplay: { wait: 0s }\n";

async fn play(
    node: &Arc<Node>,
    client: &RosterEntry,
    name: &str,
) -> Result<Playing<Live>, Refusal> {
    let url = url(name);
    play_with(node, client, &url, &ask(&url)).await
}

async fn play_with(
    node: &Arc<Node>,
    client: &RosterEntry,
    url: &StreamUrl,
    ask: &Ask,
) -> Result<Playing<Live>, Refusal> {
    let asked = Request { url, ask, ip: HOME, presence: client };
    let mut live = Live(Format::FLV);
    timeout(SOON, request(node, &asked, &mut live)).await.expect("an answer")
}

/// Why `name` is not to be had at a node with this configuration.
async fn refused(config: &str, name: &str) -> Refusal {
    let node = node(config);
    let asked = client(&node);
    play(&node, &asked, name).await.err().expect("refused")
}

/// Polls it once: what it does without waiting is done.
async fn begin<F: Future>(future: std::pin::Pin<&mut F>) {
    assert!(timeout(Duration::ZERO, future).await.is_err(), "it does not wait");
}

/// A node with a viewer of `/live/a`.
async fn with_viewer(config: &str) -> (Arc<Node>, Publisher, RosterEntry, Playing<Live>) {
    let node = node(config);
    let publisher = publish(&node, &key(&node, "/live/a"));
    let viewer = client(&node);
    let playing = play(&node, &viewer, "/live/a").await.expect("let in");
    (node, publisher, viewer, playing)
}

#[tokio::test]
async fn a_name_that_no_stream_can_have_is_refused() {
    let node = node("");
    let long = url(&format!("/live/{}", "a".repeat(300)));
    let why = play_with(&node, &client(&node), &long, &ask(&long)).await.err();
    assert!(matches!(why, Some(Refusal::BadName(_))), "{why:?}");
}

#[tokio::test]
async fn who_shows_nothing_or_something_wrong_is_refused() {
    let config = "auth: { play: [{ secret: { values: [right], param: secret } }] }\n";
    let why = refused(config, "/live/a").await;
    let Refusal::Denied { why: Denied::Missing(_), .. } = &why else { panic!("{why:?}") };
    assert!(!why.may_be_guess(&Ask::default()), "it has shown nothing");
    let why = refused(config, "/live/a?secret=wrong").await;
    let Refusal::Denied { why: Denied::Invalid(..), .. } = &why else { panic!("{why:?}") };
    assert!(why.may_be_guess(&Ask::default()));
    let shown = Shown { peer: HOME, edge_token: None, page_url: "" };
    let resolved = resolve(&node(config), &url("/live/a?secret=right"), shown);
    assert_eq!(resolved.expect("allowed").0.stream(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_publishes_is_missing_after_the_wait() {
    let began = tokio::time::Instant::now();
    let why = refused("play: { wait: 7s }\n", "/live/a").await;
    let Refusal::NoStream { why: NoStream::Missing(reason), .. } = why else { panic!("{why:?}") };
    assert!(reason.starts_with("nobody publishes ") && reason.ends_with("/live/a"), "{reason}");
    assert!(began.elapsed() >= Duration::from_secs(7), "after {:?}", began.elapsed());
}

#[tokio::test]
async fn one_viewer_too_many_is_refused_until_another_goes() {
    let (node, _publisher, _viewer, playing) =
        with_viewer("limits: { viewers_per_stream: 1 }\n").await;
    let second = client(&node);
    let why = play(&node, &second, "/live/a").await.err().expect("refused");
    let full = quota::Refusal::Stream { key: key(&node, "/live/a"), limit: 1 };
    assert_eq!(why, Refusal::NoStream { key: key(&node, "/live/a"), why: full.into() });
    assert_eq!(does(&second).0, Activity::Control);
    drop(playing);
    play(&node, &second, "/live/a").await.expect("the place is free");
}

#[tokio::test]
async fn an_edge_says_what_its_origins_do_not() {
    let why = refused(EDGE, "/live/a").await;
    assert!(matches!(&why, Refusal::NoStream { why: NoStream::Unavailable(_), .. }), "{why:?}");
    let (node, around) = (node(EDGE), url("/live/a?token=x"));
    let ask = Ask { hops: Hops::parse("a,b,c,d,e,f,g,h"), ..ask(&around) };
    let why = play_with(&node, &client(&node), &around, &ask).await.err().expect("refused");
    assert!(matches!(&why, Refusal::NoStream { why: NoStream::Refused(_), .. }), "{why:?}");
    assert!(why.may_be_guess(&ask), "an origin may have been shown it");
}

#[tokio::test]
async fn a_viewer_gives_everything_back_when_it_is_dropped() {
    let (node, _publisher, viewer, playing) = with_viewer("").await;
    let key = key(&node, "/live/a");
    assert_eq!(playing.key, key);
    assert_eq!(does(&viewer), (Activity::Play, Some(key.clone())));
    assert_eq!((node.clients.quotas.viewers(&key), node.streams.registry.demand(&key)), (1, 1));
    drop(playing);
    assert_eq!(does(&viewer).0, Activity::Control);
    assert_eq!((node.clients.quotas.viewers(&key), node.streams.registry.demand(&key)), (0, 0));
}

#[tokio::test]
async fn who_only_looks_is_no_viewer() {
    let node = node("");
    let key = key(&node, "/live/a");
    let _publisher = publish(&node, &key);
    let (looker, url) = (client(&node), url("/live/a"));
    let asked = Request { url: &url, ask: &ask(&url), ip: HOME, presence: &looker };
    let looked = request(&node, &asked, &mut LiveHead(Format::FLV)).await.expect("it is there");
    assert_eq!((does(&looker).0, node.clients.quotas.viewers(&key)), (Activity::Control, 0));
    drop(looked);
    assert_eq!(node.streams.registry.demand(&key), 0);
}

#[tokio::test]
async fn who_gives_up_waiting_leaves_nothing_behind() {
    let node = node("play: { wait: 60s }\n");
    let (viewer, key) = (client(&node), key(&node, "/live/a"));
    {
        let mut waiting = pin!(play(&node, &viewer, "/live/a"));
        begin(waiting.as_mut()).await;
        assert_eq!(node.streams.registry.demand(&key), 1, "it waits");
        assert_eq!(viewer.doing().asks, Some((Activity::Play, key.clone())));
        assert_eq!((does(&viewer).0, node.clients.quotas.viewers(&key)), (Activity::Control, 0));
    }
    assert_eq!((node.streams.registry.status(&key), node.streams.registry.demand(&key)), (None, 0));
    assert_eq!((does(&viewer).0, node.clients.quotas.viewers(&key)), (Activity::Control, 0));
}

#[tokio::test]
async fn who_waits_is_let_in_when_the_stream_begins() {
    let node = node("play: { wait: 60s }\n");
    let (viewer, key) = (client(&node), key(&node, "/live/a"));
    let mut waiting = pin!(play(&node, &viewer, "/live/a"));
    begin(waiting.as_mut()).await;
    let _publisher = publish(&node, &key);
    let _playing = waiting.await.expect("let in");
    assert_eq!((does(&viewer).0, node.clients.quotas.viewers(&key)), (Activity::Play, 1));
    assert_eq!(viewer.doing().asks, None);
}
