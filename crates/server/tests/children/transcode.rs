//! Streams that are made of others.

use weir_testkit::{
    camera::Camera,
    eventually, http,
    peer::{Player, Publisher},
};

use super::{SMALL, SOON, children, reload, server, size_of, streams, until_logged, until_runs};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_another_size_is_made_and_nothing_is_made_of_that() {
    // Whoever publishes and plays is asked for a secret.
    let auth =
        "auth: { publish: [secret: { values: [s3cret] }], play: [secret: { values: [s3cret] }] }\n";
    let weir = server(&format!("{auth}transcode: [{{ name: small, args: {SMALL} }}]\n")).start();
    let camera = Camera::start(&format!("{}?secret=s3cret", weir.rtmp_url("live/a"))).await;
    let url = |name: &str| format!("{}?secret=s3cret", weir.rtmp_url(name));
    assert_eq!(size_of(&url("live/a_small")).await, (160, 90));
    assert_eq!(size_of(&url("live/a")).await, (320, 180));
    let mut player = Player::rtmp(&url("live/a_small")).await;
    assert!(player.next().await.is_some());
    assert_eq!(streams(&weir).await, ["/live/a", "/live/a_small"]);
    let all = children(&weir).await;
    assert_eq!(all.len(), 1, "nothing is made of what was made: {all:?}");
    assert_eq!((&all[0]["name"], &all[0]["makes"]), (&"small".into(), &"/live/a_small".into()));
    let page = http::get(weir.api(), "metrics").await.text().await;
    assert!(page.contains("weir_children{state=\"running\"} 1"), "{page}");
    // Nobody else gets in by a pass, and nobody sees one.
    for pass in ["", "0123456789abcdef0123456789abcdef"] {
        let refused = format!("{}?weir_pass={pass}", weir.rtmp_url("live/a"));
        assert!(Player::try_rtmp(&refused).await.is_err(), "{pass}");
    }
    let pid = until_runs(&weir, "/live/a").await;
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it runs");
    let passes = line.split('\0').filter_map(|word| Some(word.split_once("weir_pass=")?.1));
    let passes: Vec<_> = passes.collect();
    let [play, publish] = passes[..] else { panic!("two passes: {line}") };
    assert!(!weir.log().all().iter().any(|line| line.contains(play) || line.contains(publish)));
    // A pass for one stream and one use is good for no other.
    for (pass, name) in [(publish, "live/a"), (play, "live/a_small")] {
        let wrong = format!("{}?weir_pass={pass}", weir.rtmp_url(name));
        assert!(Player::try_rtmp(&wrong).await.is_err(), "{name}");
    }
    let wrong = format!("{}?weir_pass={play}", weir.rtmp_url("live/a"));
    assert!(Publisher::try_start(&wrong, weir_testkit::peer::Numbered::new(5)).await.is_err());
    drop(camera);
    eventually("both streams have ended", SOON, async || {
        (streams(&weir).await.is_empty() && children(&weir).await.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_ends_what_is_gone_and_leaves_what_stays() {
    let mut weir = server("").start();
    let _camera = Camera::start(&weir.rtmp_url("live/a")).await;
    assert!(children(&weir).await.is_empty());
    let line = |name: &str| format!("{{ streams: live/a, name: {name}, args: {SMALL} }}");
    reload(&mut weir, &format!("transcode: [{}]\n", line("x"))).await;
    let first = until_runs(&weir, "/live/a").await;
    assert_eq!(size_of(&weir.rtmp_url("live/a_x")).await, (160, 90));
    reload(&mut weir, &format!("transcode: [{}, {}]\n", line("y"), line("x"))).await;
    assert_eq!(size_of(&weir.rtmp_url("live/a_y")).await, (160, 90));
    let all = children(&weir).await;
    assert_eq!(all.iter().filter(|child| child["pid"] == first).count(), 1, "it was not disturbed");
    reload(&mut weir, &format!("transcode: [{}]\n", line("y"))).await;
    super::until_gone(first).await;
    eventually("its stream is gone", SOON, async || {
        (streams(&weir).await == ["/live/a", "/live/a_y"]).then_some(())
    })
    .await;
    reload(&mut weir, "transcode: [{ name: x, args: [-no_such_option, 1] }]\n").await;
    // What FFmpeg says of it is in the log, and it is tried again.
    until_logged(&weir, &["child says", "no_such_option"]).await;
    until_logged(&weir, &["child ended: it is started again", "/live/a"]).await;
}
