//! What the back end hears: every field of SRS's contract, of clients of every protocol, each begin with its end.

use weir_testkit::{
    backend::{Backend, Call, Reply},
    eventually, http,
    peer::Viewer,
    raw::Raw,
};

use crate::{HLS, KEY, SOON, assert_never_logged, encoder, start, until_playlist};

/// Every key that has no reply of its own.
fn all(url: &str) -> String {
    let keys = ["connect", "close", "publish", "unpublish", "play", "stop", "hls", "record"];
    let keys = keys.map(|key| format!("on_{key}: {url:?}"));
    format!("hooks: {{ {}, secret: {KEY} }}\n", keys.join(", "))
}

fn said(call: &Call, names: [&str; 4]) -> [String; 4] {
    names.map(|name| call.said(name).to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_every_protocol_are_told_of_as_by_srs() {
    let back_end = Backend::start().await;
    let url = format!("{}?key={KEY}", back_end.url());
    let drain = "drain: { notice: 0s, timeout: 10s }\n";
    let mut weir = start(&format!("{HLS}{drain}{}", all(&url)));
    let encoder = encoder(&weir, "live/cam?k=v").await;
    let published = back_end.until("on_publish", 1).await.remove(0);
    let expected = [weir_media_default(), "live".to_owned(), "cam".to_owned(), "?k=v".to_owned()];
    assert_eq!(said(&published, ["vhost", "app", "stream", "param"]), expected);
    assert_eq!(published.said("tcUrl"), format!("rtmp://{}/live", weir.rtmp()));
    assert_eq!((published.said("ip"), published.said("stream_url")), ("127.0.0.1", "/live/cam"));
    assert_eq!(
        back_end.until("on_connect", 1).await[0].said("client_id"),
        published.said("client_id")
    );

    // A viewer of each protocol; only the first one ends by itself.
    let mut rtmp = Viewer::rtmp(&weir.rtmp_url("live/cam?viewer=1")).await;
    rtmp.next().await.expect("media");
    let flv = format!(
        "GET /live/cam.flv?viewer=2 HTTP/1.1\r\nHost: {}\r\nReferer: http://page/\r\n\r\n",
        weir.http()
    );
    let mut raw = Raw::connect(weir.http()).await;
    assert!(raw.send(flv.as_bytes()).await);
    until_playlist(&weir, "live/cam.m3u8?viewer=3").await;
    for _ in 0..3 {
        assert_eq!(http::get(weir.http(), "live/cam.m3u8?viewer=3").await.status, 200);
    }
    let plays = back_end.until("on_play", 3).await;
    let of = |calls: &[Call], viewer: u32| {
        let param = format!("?viewer={viewer}");
        let mut of = calls.iter().filter(|call| call.said("param") == param);
        let first = of.next().unwrap_or_else(|| panic!("nothing of {viewer}: {calls:?}")).clone();
        assert!(of.next().is_none(), "{viewer} is told of once: {calls:?}");
        first
    };
    let [first, second, third] = [1, 2, 3].map(|viewer| of(&plays, viewer));
    assert_eq!(second.said("pageUrl"), "http://page/");
    assert!(second.said("tcUrl").starts_with("rtmp://") && second.said("tcUrl").ends_with("/live"));

    let segment = back_end.until("on_hls", 2).await.remove(1);
    assert_eq!(segment.said("client_id"), published.said("client_id"));
    let file = std::path::Path::new(segment.said("cwd")).join(segment.said("file"));
    let number = segment.body["seq_no"].as_u64().expect("a number");
    assert!(
        file.file_name()
            .is_some_and(|name| name.to_string_lossy().contains(&format!("cam-{number}")))
    );
    assert!(segment.said("url").starts_with("live/cam-"), "{}", segment.text);
    assert_eq!(segment.said("m3u8_url"), "live/cam.m3u8");

    drop(rtmp);
    let stopped = back_end.until("on_stop", 1).await;
    assert_eq!(of(&stopped, 1).said("client_id"), first.said("client_id"));
    let closed = back_end.until("on_close", 1).await.remove(0);
    assert_eq!(closed.said("client_id"), first.said("client_id"));
    assert!(
        closed.body["send_bytes"].as_u64() > Some(0)
            && closed.body["recv_bytes"].as_u64() > Some(0)
    );

    drop(encoder);
    let gone = back_end.until("on_unpublish", 1).await.remove(0);
    assert_eq!(gone.said("client_id"), published.said("client_id"));
    // Those who are still here are told of before the process ends.
    weir.terminate();
    assert!(weir.wait_exit(SOON).success());
    let stopped = back_end.of("on_stop");
    for (viewer, play) in [(2, second), (3, third)] {
        assert_eq!(of(&stopped, viewer).said("client_id"), play.said("client_id"));
    }
    back_end.assert_contract();
    assert_never_logged(&weir, KEY);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_recording_is_told_of_once_it_is_complete() {
    let (one, other) = (Backend::start().await, Backend::start().await);
    let weir = start(&format!(
        "record: {{ dir: r, streams: '*', path: '{{stream}}-{{number}}', split: {{ duration: 500ms }} }}\n\
         hooks: {{ on_publish: {:?}, on_record: {:?}, on_dvr: {:?} }}\n\
         publish: {{ linger: 0s }}\n",
        one.url(),
        one.url(),
        other.url()
    ));
    let encoder = encoder(&weir, "live/cam?k=v").await;
    let published = one.until("on_publish", 1).await.remove(0);
    one.until("on_dvr", 2).await;
    drop(encoder);
    let dir = weir.dir().join("r");
    let names = || {
        let entries = std::fs::read_dir(&dir).expect("a folder").flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("cam-")).collect();
        names.sort();
        names
    };
    for back_end in [&one, &other] {
        weir_testkit::eventually("all files are told of", SOON, async || {
            let calls = back_end.of("on_dvr");
            let mut told: Vec<_> = calls
                .iter()
                .map(|call| {
                    let file = std::path::Path::new(call.said("cwd")).join(call.said("file"));
                    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
                })
                .collect();
            told.sort();
            (told == names()).then_some(())
        })
        .await;
        for call in back_end.of("on_dvr") {
            let who = ["client_id", "ip", "vhost", "app", "stream", "param", "tcUrl"];
            for field in who {
                assert_eq!(call.said(field), published.said(field), "{field}");
            }
            let file = weir.dir().join(call.said("file"));
            assert!(file.exists(), "{}", call.text);
        }
        back_end.assert_contract();
    }
    assert!(one.of("on_dvr").len() >= 2 && other.of("on_publish").is_empty());
}

/// As of SRS's ingest, which is an encoder on the same machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_pulled_is_told_of_as_one_that_is_published() {
    let back_end = Backend::start().await;
    let no = || Reply::Text(200, r#"{"code":1}"#.to_owned());
    let yes = || Reply::Text(200, "0".to_owned());
    back_end.replies(no());
    let url = back_end.url();
    let there = start("");
    let weir = start(&format!(
        "pull: [{{ stream: live/x, from: \"rtmp://{}/live/cam\" }}]\npublish: {{ linger: 0s }}\n\
         hooks: {{ on_connect: {url:?}, on_publish: {url:?}, on_unpublish: {url:?}, on_close: {url:?} }}\n",
        there.rtmp()
    ));
    let encoder = encoder(&there, "live/cam").await;
    // One that is refused is no stream, and is asked for again.
    back_end.until("on_connect", 2).await;
    assert!(back_end.of("on_publish").is_empty(), "who may not connect is not asked about further");
    assert!(back_end.of("on_close").is_empty(), "and is not told of");
    back_end.answers(move |call| if call.said("action") == "on_publish" { no() } else { yes() });
    back_end.until("on_publish", 2).await;
    back_end.until("on_close", 1).await;
    assert_ne!(http::get(weir.http(), "live/x.flv").await.status, 200);
    assert!(back_end.of("on_unpublish").is_empty(), "what has not begun does not end");
    back_end.replies(yes());
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/x")).await;
    viewer.until_picture(1).await;
    let published = back_end.of("on_publish").pop().expect("it was asked about");
    assert_eq!(said(&published, ["ip", "app", "stream", "param"]), ["127.0.0.1", "live", "x", ""]);
    assert_eq!(published.said("tcUrl"), "rtmp://__defaultVhost__/live");
    let connected = back_end.of("on_connect").pop().expect("it was asked about");
    assert_eq!(said(&connected, ["ip", "app", "stream", "param"]), ["127.0.0.1", "live", "", ""]);
    assert_eq!(connected.said("client_id"), published.said("client_id"));
    assert!(back_end.of("on_unpublish").is_empty());
    drop(encoder);
    let gone = back_end.until("on_unpublish", 1).await.remove(0);
    assert_eq!(gone.said("client_id"), published.said("client_id"));
    let id = published.said("client_id").to_owned();
    let closed = eventually("it is told that it has gone", SOON, async || {
        back_end.of("on_close").into_iter().find(|call| call.said("client_id") == id)
    })
    .await;
    assert!(closed.body["recv_bytes"].as_u64() > Some(0), "{}", closed.text);
    let calls = back_end.calls();
    let own = calls.iter().filter(|call| call.said("client_id") == id);
    let own: Vec<_> = own.map(|call| call.said("action")).collect();
    assert_eq!(own, ["on_connect", "on_publish", "on_unpublish", "on_close"]);
    back_end.assert_contract();
}

fn weir_media_default() -> String {
    "__defaultVhost__".to_owned()
}
