use std::{future::pending, pin::pin, task::Poll};

use futures_util::poll;
use weir_hls::Progress;

use super::*;

const MAIN: Rendition = Rendition::MAIN;

/// A playlist of segments of two seconds that is at this part of this segment.
fn at(sequence: u64, parts: usize) -> Listing {
    let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n# {sequence}, {parts}\n");
    let progress = Some(Progress { sequence, parts, is_ended: false });
    Listing { progress, ..Listing::new(text.into(), []) }
}

fn window(listing: Listing) -> Window {
    let window = Window::default();
    window.list(MAIN, listing);
    window
}

async fn reach(window: &Window, params: &str) -> Result<Reached, Unreached> {
    playlist(window, MAIN, Directives::of(params), pending()).await
}

/// How far the playlist is that a client gets, and whether it has what was asked for.
fn found(reached: Result<Reached, Unreached>) -> (Option<Progress>, bool) {
    let Reached { listing, is_asked } = reached.expect("a playlist");
    (listing.progress, is_asked)
}

fn progress(sequence: u64, parts: usize) -> Option<Progress> {
    Some(Progress { sequence, parts, is_ended: false })
}

#[test]
fn directives_are_read_and_told_nobody_else() {
    let of = Directives::of;
    assert_eq!(of("?token=x"), Directives::default());
    let all = of("?token=x&_HLS_msn=7&_HLS_part=2&_HLS_skip=YES&_HLS_else=1");
    assert_eq!(all, Directives { msn: Some(7), part: Some(2), skip: true, fault: None });
    assert_eq!(of("?_HLS_skip=NO"), Directives::default());
    for (params, fault) in [
        ("?_HLS_part=2", "_HLS_part needs _HLS_msn"),
        ("?_HLS_msn=-1", "_HLS_msn is not a number"),
        ("?_HLS_msn=", "_HLS_msn is not a number"),
        ("?_HLS_msn=1&_HLS_part=x", "_HLS_part is not a number"),
    ] {
        assert_eq!(of(params).fault, Some(fault), "{params}");
    }
    for (params, rest) in [
        ("", ""),
        ("?a=1&b=2", "?a=1&b=2"),
        ("?_HLS_msn=1", ""),
        ("?a=1&_HLS_msn=1&b=2&_HLS_skip=YES", "?a=1&b=2"),
        ("?_HLS_msn=1?a=1", "?a=1"),
    ] {
        assert_eq!(without_directives(params), rest, "{params}");
    }
}

#[tokio::test]
async fn what_is_there_is_answered_at_once() {
    let window = window(at(7, 2));
    assert_eq!(found(reach(&window, "").await), (progress(7, 2), false));
    for params in ["?_HLS_msn=6", "?_HLS_msn=6&_HLS_part=99", "?_HLS_msn=7&_HLS_part=1"] {
        assert_eq!(found(reach(&window, params).await), (progress(7, 2), true), "{params}");
    }
    assert_eq!(
        playlist(&window, Rendition::Video(1), Directives::default(), pending()).await,
        Err(Unreached::Missing)
    );
}

#[tokio::test]
async fn what_is_wrong_is_said_where_waiting_is_offered_and_not_understood_where_it_is_not() {
    let low_latency = window(at(7, 2));
    let plain = window(Listing::new(Bytes::from_static(b"#EXTM3U\n"), []));
    for (params, why) in [
        ("?_HLS_part=1", Unreached::Bad("_HLS_part needs _HLS_msn")),
        ("?_HLS_msn=x", Unreached::Bad("_HLS_msn is not a number")),
        ("?_HLS_msn=10", Unreached::TooFar),
        ("?_HLS_msn=7&_HLS_part=100000", Unreached::TooFar),
    ] {
        assert_eq!(reach(&low_latency, params).await, Err(why), "{params}");
        assert_eq!(found(reach(&plain, params).await), (None, false), "{params}");
    }
}

#[tokio::test]
async fn a_request_waits_for_what_it_asks_for_and_no_longer() {
    let window = window(at(7, 1));
    let mut part = pin!(reach(&window, "?_HLS_msn=7&_HLS_part=2"));
    let mut segment = pin!(reach(&window, "?_HLS_msn=7"));
    assert!(poll!(&mut part).is_pending() && poll!(&mut segment).is_pending());
    window.list(MAIN, at(7, 2));
    assert!(poll!(&mut part).is_pending(), "this is the second part, and it wants the third");
    window.list(MAIN, at(7, 3));
    let Poll::Ready(reached) = poll!(&mut part) else { panic!("it is there") };
    assert_eq!(found(reached), (progress(7, 3), true));
    assert!(poll!(&mut segment).is_pending(), "the segment is not complete");
    window.list(MAIN, at(8, 0));
    let Poll::Ready(reached) = poll!(&mut segment) else { panic!("it is complete") };
    assert_eq!(found(reached), (progress(8, 0), true));
}

#[tokio::test]
async fn the_end_of_the_stream_is_an_answer() {
    let window = window(at(7, 1));
    let mut waiting = pin!(reach(&window, "?_HLS_msn=8"));
    assert!(poll!(&mut waiting).is_pending());
    let end = Some(Progress { sequence: 8, parts: 0, is_ended: true });
    window.list(MAIN, Listing { progress: end, ..at(8, 0) });
    let Poll::Ready(reached) = poll!(&mut waiting) else { panic!("there will be no more") };
    assert_eq!(found(reached), (end, false), "a cache must not give it to who asks later");
    let mut waiting = pin!(reach(&window, "?_HLS_msn=8"));
    assert!(poll!(&mut waiting).is_ready());
    window.clear();
    assert_eq!(reach(&window, "?_HLS_msn=8").await, Err(Unreached::Missing));
}

#[tokio::test]
async fn when_the_publisher_goes_who_waits_gets_what_there_is_and_who_comes_then_waits() {
    let window = window(at(7, 1));
    let mut waiting = pin!(reach(&window, "?_HLS_msn=7&_HLS_part=1"));
    assert!(poll!(&mut waiting).is_pending());
    window.interrupt();
    let Poll::Ready(reached) = poll!(&mut waiting) else {
        panic!("nobody knows when there is more")
    };
    assert_eq!(found(reached), (progress(7, 1), false));
    // Else its player would ask again and again.
    let mut waiting = pin!(reach(&window, "?_HLS_msn=7&_HLS_part=1"));
    assert!(poll!(&mut waiting).is_pending());
    window.list(MAIN, at(7, 2));
    let Poll::Ready(reached) = poll!(&mut waiting) else { panic!("it has come back") };
    assert_eq!(found(reached), (progress(7, 2), true));
}

#[tokio::test]
async fn who_waits_is_answered_when_the_server_stops() {
    let window = window(at(7, 1));
    let (stop, stops) = tokio::sync::oneshot::channel::<()>();
    let asked = Directives::of("?_HLS_msn=8");
    let mut waiting = pin!(playlist(&window, MAIN, asked, async { drop(stops.await) }));
    assert!(poll!(&mut waiting).is_pending());
    drop(stop);
    let Poll::Ready(reached) = poll!(&mut waiting) else { panic!("the server stops") };
    assert_eq!(found(reached), (progress(7, 1), false));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_more_than_three_target_durations() {
    let window = window(Listing { hint: Some("a-7-x.1.m4s".into()), ..at(7, 1) });
    let began = tokio::time::Instant::now();
    let late = Duration::from_secs(6);
    assert_eq!(reach(&window, "?_HLS_msn=8").await, Err(Unreached::Late(late)));
    assert_eq!(part(&window, "a-7-x.1.m4s", pending()).await, Err(Unreached::Late(late)));
    assert_eq!(began.elapsed(), 2 * late);
}

#[tokio::test]
async fn a_part_that_is_announced_is_waited_for() {
    let (first, second) = ("a-7-x.1.m4s", "a-7-x.2.m4s");
    let hinting = |file: &str| Listing { hint: Some(file.into()), ..at(7, 1) };
    let window = window(hinting(first));
    assert_eq!(part(&window, second, pending()).await, Ok(None), "nobody has announced it");
    let mut waiting = pin!(part(&window, first, pending()));
    assert!(poll!(&mut waiting).is_pending());
    window.put_part(first, Bytes::from_static(b"part"));
    window.list(MAIN, hinting(second));
    let Poll::Ready(came) = poll!(&mut waiting) else { panic!("it is there") };
    assert_eq!(came, Ok(Some(Bytes::from_static(b"part"))));
    let mut waiting = pin!(part(&window, second, pending()));
    assert!(poll!(&mut waiting).is_pending());
    window.list(MAIN, at(8, 0));
    let Poll::Ready(came) = poll!(&mut waiting) else { panic!("it will not come") };
    assert_eq!(came, Ok(None));
}

#[test]
fn target_durations_are_believed_within_bounds() {
    let of = |text: &str| target_duration(text.as_bytes());
    assert_eq!(of("#EXTM3U\n#EXT-X-TARGETDURATION:4\r\n#EXTINF:4,\n"), Some(4));
    assert_eq!(of("#EXTM3U\n#EXT-X-TARGETDURATION:0\n"), Some(1));
    assert_eq!(of("#EXTM3U\n#EXT-X-TARGETDURATION:9999\n"), Some(60));
    assert_eq!(of("#EXTM3U\n#EXT-X-TARGETDURATION:x\n"), None);
    assert_eq!(of("#EXTM3U\n"), None);
}
