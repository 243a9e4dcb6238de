//! Requests for streams that do not exist.

use std::time::Duration;

use weir_testkit::{
    Weir,
    cluster::Cluster,
    crowd::{Crowd, Protocol},
    relay::Relay,
};

use crate::{NO_HLS, SOON, cluster, encoder, is_clear, was_refused};

const REQUESTS: usize = 5000;

/// At one time: a load balancer's worth.
const AT_ONCE: usize = 500;

/// Questions that one name may cost.
const HANDFUL: usize = 5;

/// Both relays of an origin, and an edge that comes through them.
async fn watched(cluster: &Cluster, origin: &Weir, keys: &str) -> ([Relay; 2], Weir) {
    let relays = [Relay::start(origin.rtmp()).await, Relay::start(origin.http()).await];
    let address = [relays[0].address().to_string()];
    let config = format!("{NO_HLS}play: {{ wait: 1s }}\n");
    let edge = cluster.edge_to(&address, relays[1].address().port(), keys, &config).start();
    (relays, edge)
}

fn questions(relays: &[Relay; 2]) -> usize {
    relays.iter().map(Relay::connections).sum()
}

/// Asks for streams, so many at a time, and requires that each request is answered clearly.
async fn flood(edge: &Weir, stream: impl Fn(usize) -> String) {
    for batch in 0..REQUESTS / AT_ONCE {
        let mut crowd = Crowd::new();
        for number in 0..AT_ONCE {
            let stream = stream(batch * AT_ONCE + number);
            crowd.viewer(edge, &stream, Protocol::ALL[number % 2], Duration::ZERO);
        }
        crowd.until("an answer", SOON, |seen| seen.end.is_some()).await;
        for (seen, protocol) in crowd.seen().iter().zip(Protocol::ALL.into_iter().cycle()) {
            let end = seen.end.as_deref().unwrap_or_default();
            assert!(was_refused(seen) && is_clear(protocol, end), "{protocol:?}: {end:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_exist_is_asked_for_a_handful_of_times() {
    for keys in ["protocol: rtmp", "protocol: flv"] {
        let cluster = cluster();
        let origin = cluster.origin(1, NO_HLS);
        let (relays, edge) = watched(&cluster, &origin, keys).await;
        let other = cluster.edge(&["127.0.0.1"], "", NO_HLS);
        let encoder = encoder(&origin, "live/other").await;
        let mut beside = Crowd::new();
        beside.join(&other, "live/other", 4, Duration::ZERO);
        beside.until_picture(0, SOON).await;

        flood(&edge, |_| "live/nothing".into()).await;
        let asked = questions(&relays);
        assert!(asked <= HANDFUL, "{REQUESTS} requests were {asked} questions, with {keys}");

        beside.until_picture(encoder.next_number(), SOON).await;
        beside.assert_complete();
        // What begins after all is seen all the same.
        let mut crowd = Crowd::new();
        let late = crate::encoder(&origin, "live/nothing").await;
        crowd.viewer(&edge, "live/nothing", Protocol::Rtmp, Duration::from_secs(2));
        crowd.until_picture(late.next_number(), SOON).await;
    }
}

/// Names cannot be known to be wrong before they are asked for, but they are asked for once, and not all at one time.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_names_that_do_not_exist_are_asked_for_once_each() {
    const AT_ONE_TIME_MAX: usize = AT_ONCE + 50;
    let cluster = cluster();
    let origin = cluster.origin(1, NO_HLS);
    let (relays, edge) = watched(&cluster, &origin, "").await;
    flood(&edge, |number| format!("live/n{number}")).await;
    let (asked, peak) = (questions(&relays), relays.each_ref().map(Relay::peak));
    eprintln!("{REQUESTS} names were {asked} questions, {peak:?} at one time");
    assert!(asked <= REQUESTS + HANDFUL, "{REQUESTS} names were {asked} questions");
    let peak = peak.into_iter().max();
    assert!(peak <= Some(AT_ONE_TIME_MAX), "{peak:?} questions at one time");
}
