//! The limits of an edge: who comes beyond them is told so, and who is there is not disturbed.

use std::time::Duration;

use weir_testkit::{
    crowd::{Crowd, Protocol},
    peer::{Encoder, Numbered},
};

use crate::{NO_HLS, PICTURE, SOON, cluster, encoder, is_clear, was_refused};

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_at_its_egress_limit_keeps_who_is_there() {
    /// With which a picture each 40 ms is 1 Mb/s.
    const PICTURE_BYTES: usize = 5000;
    const LIMIT_MBPS: usize = 10;
    const VIEWERS: usize = 30;
    let cluster = cluster();
    let origin = cluster.origin(1, NO_HLS);
    let limit = format!("{NO_HLS}limits: {{ egress: {LIMIT_MBPS}Mbps }}\n");
    let limited = cluster.edge(&["127.0.0.1"], "", &limit);
    let free = cluster.edge(&["127.0.0.1"], "", NO_HLS);
    let source = Numbered::default().with_picture_bytes(PICTURE_BYTES).without_sound();
    let encoder = Encoder::start(&origin.rtmp_url("live/a"), source, PICTURE).await;

    let (mut here, mut there) = (Crowd::new(), Crowd::new());
    here.join(&limited, "live/a", VIEWERS, Duration::from_secs(10));
    there.join(&free, "live/a", VIEWERS, Duration::from_secs(10));
    here.until("media or a refusal", SOON, |seen| seen.first.is_some() || was_refused(seen)).await;
    let newest = encoder.next_number() + 100;
    here.until("media on and on", SOON, |seen| was_refused(seen) || seen.newest() >= Some(newest))
        .await;
    there.until_picture(newest, SOON).await;
    there.assert_complete();

    let seen = here.seen();
    for (seen, protocol) in seen.iter().zip(Protocol::ALL.into_iter().cycle()) {
        if was_refused(seen) {
            let end = seen.end.as_deref().unwrap_or_default();
            assert_refusal(protocol, end);
        } else {
            assert_eq!((seen.fault(), seen.end.as_deref()), (None, None));
            assert_eq!(seen.watch.jumps(), 0, "who is there is kept at full quality: {seen:?}");
        }
    }
    let kept = seen.iter().filter(|seen| !was_refused(seen)).count();
    // The limit is a mean; groups at the start of a viewer are beyond it.
    let expected = LIMIT_MBPS / 2..=LIMIT_MBPS + 3;
    assert!(expected.contains(&kept), "{kept} viewers of 1 Mb/s at a limit of {LIMIT_MBPS} Mb/s");
}

#[track_caller]
fn assert_refusal(protocol: Protocol, end: &str) {
    let expected = match protocol {
        Protocol::Rtmp => "NetStream.Play.Failed: ",
        Protocol::HttpFlv => "503, Retry-After: ",
    };
    assert!(end.starts_with(expected) && is_clear(protocol, end), "{protocol:?}: {end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_so_many_viewers_and_no_more() {
    let cluster = cluster();
    let origin = cluster.origin(1, NO_HLS);
    let config = format!("{NO_HLS}limits: {{ viewers_per_stream: 2 }}\n");
    let edge = cluster.edge(&["127.0.0.1"], "", &config);
    let (a, _b) = (encoder(&origin, "live/a").await, encoder(&origin, "live/b").await);
    let mut crowd = Crowd::new();
    crowd.join(&edge, "live/a", 2, Duration::ZERO);
    crowd.until_picture(0, SOON).await;
    for (protocol, end, _) in crate::refusals(&edge, "live/a").await {
        assert_refusal(protocol, &end);
    }
    // Other streams have viewers of their own, and places that are left can be taken.
    let mut other = Crowd::new();
    other.join(&edge, "live/b", 2, Duration::ZERO);
    other.until_picture(0, SOON).await;
    crowd.until_picture(a.next_number(), SOON).await;
    crowd.assert_complete();
    drop(crowd);
    crate::eventually_or_none(SOON, async || {
        let mut crowd = Crowd::new();
        crowd.viewer(&edge, "live/a", Protocol::Rtmp, Duration::ZERO);
        crowd.until("an answer", SOON, |seen| seen.first.is_some() || seen.end.is_some()).await;
        crowd.seen()[0].first
    })
    .await
    .expect("places that were left can be taken");
}
