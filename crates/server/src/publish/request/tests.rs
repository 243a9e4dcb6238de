use std::{pin::pin, time::Duration};

use tokio::time::timeout;
use weir_clients::roster::RosterEntry;
use weir_hub::Status;
use weir_media::{Charge, Use};

use super::*;
use crate::testing::{self, HOME, SOON, ask, client, does, key, url};

/// A node that serves.
fn node(config: &str) -> Arc<Node> {
    let node = testing::node(config);
    node.phase.send_replace(Phase::Serving);
    node
}

async fn publish(
    node: &Arc<Node>,
    client: &RosterEntry,
    name: &str,
) -> Result<Publication, Refusal> {
    let url = url(name);
    let asked = Request { url: &url, ask: &ask(&url), ip: HOME, presence: client };
    timeout(SOON, request(node, &asked)).await.expect("an answer")
}

/// Why `name` cannot be published at `node`, and whether that may be a guess.
async fn refused(node: &Arc<Node>, name: &str) -> (Refusal, bool) {
    let encoder = client(node);
    let why = publish(node, &encoder, name).await.err().expect("refused");
    assert_eq!(does(&encoder).0, Activity::Control);
    let is_guess = why.may_be_guess(&ask(&url(name)));
    (why, is_guess)
}

#[tokio::test]
async fn each_kind_of_refusal_says_why() {
    let (why, _) = refused(&node(""), &format!("/live/{}", "a".repeat(300))).await;
    assert!(matches!(why, Refusal::BadName(_)), "{why:?}");

    let secret = node("auth: { publish: [{ secret: { values: [right], param: secret } }] }\n");
    let (why, is_guess) = refused(&secret, "/live/a?secret=wrong").await;
    assert!(matches!(why, Refusal::Denied { why: Denied::Invalid(..), .. }) && is_guess, "{why:?}");
    let (why, is_guess) = refused(&secret, "/live/a").await;
    assert!(matches!(why, Refusal::Denied { .. }) && !is_guess, "{why:?}");
    publish(&secret, &client(&secret), "/live/a?secret=right").await.expect("let in");

    let rejecting = node("publish: { conflict: reject }\n");
    let _first = publish(&rejecting, &client(&rejecting), "/live/a").await.expect("the first");
    let (why, _) = refused(&rejecting, "/live/a").await;
    assert!(matches!(why, Refusal::Taken { .. }), "{why:?}");
    assert_eq!(
        why.to_string(),
        format!("{} is already being published", key(&rejecting, "/live/a"))
    );

    let full = node("limits: { memory: 64MiB }\n");
    let mut all = Charge::new(full.streams.registry.budget(), Use::Logs);
    all.add(1 << 30);
    let (why, _) = refused(&full, "/live/a").await;
    assert!(matches!(why, Refusal::Memory { .. }), "{why:?}");
}

#[tokio::test]
async fn an_edge_whose_origins_do_not_take_it_refuses() {
    let edge = node("role: edge\nedge: { origins: [\"127.0.0.1:1\"], http_port: 1 }\n");
    let (why, is_guess) = refused(&edge, "/live/a?token=x").await;
    assert!(matches!(why, Refusal::Origin { .. }) && !is_guess, "nobody has seen it: {why:?}");
    assert!(why.to_string().starts_with("no origin accepts the stream: "), "{why}");
    assert_eq!(edge.streams.registry.status(&key(&edge, "/live/a")), None);
}

#[tokio::test]
async fn a_publish_gives_everything_back_when_it_is_dropped() {
    let node = node("publish: { linger: 0s }\n");
    let (encoder, key) = (client(&node), key(&node, "/live/a"));
    let publication = publish(&node, &encoder, "/live/a").await.expect("let in");
    assert_eq!(does(&encoder), (Activity::Publish, Some(key.clone())));
    assert_eq!(node.streams.registry.status(&key), Some(Status::Live));
    drop(publication);
    assert_eq!(does(&encoder).0, Activity::Control);
    node.streams.registry.expire(Instant::now());
    assert_eq!(node.streams.registry.status(&key), None);
    publish(&node, &encoder, "/live/a").await.expect("it may begin anew");
}

#[tokio::test]
async fn who_gives_up_waiting_leaves_nothing_behind() {
    let node = testing::node("");
    let (first, second, key) = (client(&node), client(&node), key(&node, "/live/a"));
    {
        let mut early = pin!(publish(&node, &first, "/live/a"));
        assert!(timeout(Duration::ZERO, early.as_mut()).await.is_err(), "the node has not started");
    }
    assert_eq!((does(&first).0, node.streams.registry.status(&key)), (Activity::Control, None));
    node.phase.send_replace(Phase::Serving);
    let publication = publish(&node, &first, "/live/a").await.expect("let in");
    {
        // Whether the first one is still there is not certain at once.
        let mut late = pin!(publish(&node, &second, "/live/a"));
        assert!(timeout(Duration::ZERO, late.as_mut()).await.is_err(), "it does not wait");
        assert_eq!(second.doing().asks, Some((Activity::Publish, key.clone())));
    }
    assert_eq!(does(&second).0, Activity::Control);
    assert_eq!(does(&first).0, Activity::Publish);
    drop(publication);
    let second = publish(&node, &second, "/live/a").await.expect("the stream is free");
    assert_eq!(second.intake.publisher.key(), &key);
}
