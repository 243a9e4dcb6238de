//! What the back end decides, and what holds when it does not.

use std::{collections::HashMap, time::Duration};

use weir_testkit::{
    Weir,
    backend::{Backend, Reply},
    certificates::{Authority, put},
    crowd::{Crowd, Protocol},
    eventually, http,
    peer::{Encoder, Numbered, Publisher, Viewer},
    tls_front::TlsFront,
};

use crate::{BINARY, HLS, SOON, answers, encoder, refuse_bad, start, until_playlist};

const NO: [&str; 3] = ["NetStream.Play.Failed", "403", "403"];
const YES: [&str; 3] = ["200", "200", "200"];

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_learns_why_in_its_own_protocol() {
    let back_end = Backend::start().await;
    let url = back_end.url();
    refuse_bad(&back_end);
    let config = format!(
        "{HLS}auth: {{ play: [hook: {{}}] }}\nhooks: {{ on_publish: {url:?}, on_play: {url:?}, on_stop: {url:?} }}\n"
    );
    let weir = start(&config);
    let refused = Publisher::try_start(&weir.rtmp_url("live/a?bad"), Numbered::default()).await;
    let refused = refused.expect_err("the back end says no");
    assert_eq!(refused.code, "NetStream.Publish.Denied");
    assert_eq!(refused.description, "denied: the back end refused");
    let _encoder = encoder(&weir, "live/a").await;
    until_playlist(&weir, "live/a.m3u8?good").await;
    assert_eq!(answers(&weir, "live/a", "?bad").await, NO);
    assert_eq!(answers(&weir, "live/a", "?good").await, YES);
    // From the same address, with the same player: it is what each of them shows that counts.
    assert_eq!(answers(&weir, "live/a", "?bad").await, NO);
    let mut told = http::get(weir.http(), "live/a.m3u8?bad").await;
    assert_eq!(told.text().await.trim(), "denied: the back end refused");
    let hls = |calls: Vec<weir_testkit::backend::Call>| {
        calls.iter().filter(|call| call.said("param") == "?good").count()
    };
    // One over RTMP, one over HTTP-FLV, and one session of HLS, however often it fetched the playlist.
    assert_eq!(hls(back_end.of("on_play")), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_connect_is_told_so_at_its_first_request() {
    let back_end = Backend::start().await;
    back_end.replies(Reply::Text(200, "1".to_owned()));
    let url = back_end.url();
    let weir = start(&format!(
        "hooks: {{ on_connect: {url:?}, on_close: {url:?}, on_publish: {url:?} }}\n"
    ));
    let refused = Publisher::try_start(&weir.rtmp_url("live/a"), Numbered::default()).await;
    assert_eq!(refused.expect_err("refused").description, "denied: the back end refused");
    assert_eq!((back_end.of("on_connect").len(), back_end.of("on_publish").len()), (1, 0));
    back_end.replies(Reply::Text(200, "0".to_owned()));
    drop(Publisher::start(&weir.rtmp_url("live/a"), Numbered::default()).await);
    back_end.until("on_close", 1).await;
    assert_eq!(back_end.of("on_close").len(), 1, "the first one was never connected");
}

/// A back end that is down refuses, or lets in, as configured; a reload changes that, and nobody is disconnected.
#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_that_is_down_is_as_configured() {
    let mut back_end = Backend::start().await;
    let config = |fail: &str| {
        format!("{HLS}hooks: {{ on_play: {:?}, fail: {fail}, timeout: 1s }}\n", back_end.url())
    };
    let (closed, open) = (config("closed"), config("open"));
    let mut weir = start(&closed);
    let encoder = encoder(&weir, "live/a").await;
    until_playlist(&weir, "live/a.m3u8?first").await;
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    back_end.stop().await;
    let away = ["NetStream.Play.Failed", "503", "503"];
    assert_eq!(answers(&weir, "live/a", "?new").await, away);
    let mut told = http::get(weir.http(), "live/a.flv").await;
    assert_eq!(told.header("retry-after"), Some("5"));
    assert_eq!(told.text().await.trim(), "the back end does not decide; try again later");
    assert_eq!(http::get(weir.http(), "live/a.m3u8?first").await.status, 200, "it watches already");
    weir.configure(&open);
    weir.hang_up();
    eventually("the reload is in force", SOON, async || {
        (answers(&weir, "live/a", "?new").await == YES).then_some(())
    })
    .await;
    viewer.until_picture(encoder.next_number()).await;
    let fails = |line: &String| line.contains("a back end of hooks fails");
    assert_eq!(
        weir.log().all().iter().filter(|line| fails(line)).count(),
        1,
        "once a kind of failure"
    );
    let page = http::get(weir.api(), "metrics").await.text().await;
    assert!(page.contains("weir_hook_backends_failing 1"), "{page}");
}

/// A back end that takes ten seconds, or sends a gigabyte: those who come wait and are refused, and those who are here
/// notice nothing.
#[tokio::test(flavor = "multi_thread")]
async fn those_who_watch_notice_nothing_of_a_bad_back_end() {
    let back_end = Backend::start().await;
    let weir = start(&format!(
        "hls: {{ enabled: false }}\nhooks: {{ on_play: {:?}, on_stop: {0:?}, timeout: 1s }}\n",
        back_end.url()
    ));
    let encoder = encoder(&weir, "live/a").await;
    let mut crowd = Crowd::new();
    crowd.join(&weir, "live/a", 60, Duration::from_secs(1));
    crowd.until_picture(0, SOON).await;
    crowd.mark();
    let slow = Reply::Later(Duration::from_secs(10), Box::new(Reply::Text(200, "0".to_owned())));
    for reply in [slow, Reply::Huge] {
        back_end.replies(reply);
        let mut newcomers = Crowd::new();
        for number in 0..40 {
            newcomers.viewer(&weir, "live/a", Protocol::ALL[number % 2], Duration::ZERO);
        }
        newcomers.until("an answer", SOON, |seen| seen.end.is_some()).await;
        assert!(newcomers.seen().iter().all(|seen| seen.first.is_none()), "nobody is let in");
    }
    crowd.until_picture(encoder.next_number() + 25, SOON).await;
    crowd.assert_undisturbed();
}

/// Over RTMP and HTTP-FLV, with a few calls at a time: each is asked about, plays, and is told of when it has gone.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_who_join_at_once_are_asked_about_in_order_and_none_is_lost() {
    const CROWD: usize = 5000;
    const TIMEOUT: Duration = Duration::from_secs(60);
    /// Calls that one back end has at a time: 32 decisions and 16 notices.
    const CALLS_MAX: usize = 48;
    /// Connections: those, and some that wait to be used again.
    const CONNECTIONS_MAX: usize = 64;
    let back_end = Backend::start().await;
    let config = format!(
        "hls: {{ enabled: false }}\nhooks: {{ on_play: {:?}, on_stop: {0:?} }}\n",
        back_end.url()
    );
    let weir = Weir::builder(BINARY).config(&config).start();
    // It is about joining: a picture a second, each of them a key frame.
    let source = Numbered::new(1).with_picture_millis(1000);
    let every = Duration::from_secs(1);
    let encoder = Encoder::start(&weir.rtmp_url("live/a"), source, every).await;
    let mut crowd = Crowd::new();
    crowd.join(&weir, "live/a", CROWD, Duration::ZERO);
    crowd.until_picture(0, TIMEOUT).await;
    crowd.assert_undisturbed();
    assert_eq!(back_end.of("on_play").len(), CROWD);
    assert!(back_end.of("on_stop").is_empty());
    drop(crowd);
    eventually("everybody is told of", TIMEOUT, async || {
        (back_end.of("on_stop").len() >= CROWD).then_some(())
    })
    .await;
    let mut told: HashMap<String, Vec<String>> = HashMap::new();
    for call in back_end.calls() {
        told.entry(call.said("client_id").to_owned())
            .or_default()
            .push(call.said("action").to_owned());
    }
    assert_eq!(told.len(), CROWD);
    assert!(told.values().all(|actions| actions == &["on_play", "on_stop"]), "each in its order");
    let (open, busy) = back_end.most();
    eprintln!("{open} connections and {busy} calls at a time");
    assert!(open <= CONNECTIONS_MAX && busy <= CALLS_MAX, "{open} connections, {busy} calls");
    back_end.assert_contract();
    encoder.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_over_tls_has_to_be_the_right_one() {
    let back_end = Backend::start().await;
    let authority = Authority::new("an authority");
    let front = TlsFront::start(back_end.address(), &authority.issue(&["127.0.0.1"])).await;
    let dir = tempfile::tempdir().expect("a folder");
    let right = put(dir.path(), "right.pem", &authority.pem());
    let wrong = put(dir.path(), "wrong.pem", &Authority::new("another").pem());
    let config = |ca: &std::path::Path| {
        let url = format!("https://{}/hook", front.address());
        format!("hls: {{ enabled: false }}\nhooks: {{ on_play: {url:?}, ca: {ca:?}, retry: 0s }}\n")
    };
    let mut weir = start(&config(&wrong));
    let _encoder = encoder(&weir, "live/a").await;
    assert_eq!(http::get(weir.http(), "live/a.flv").await.status, 503);
    assert!(back_end.calls().is_empty());
    weir.configure(&config(&right));
    weir.hang_up();
    eventually("the right one is trusted", SOON, async || {
        (http::get(weir.http(), "live/a.flv").await.status == 200).then_some(())
    })
    .await;
    assert!(!back_end.of("on_play").is_empty());
}
