//! Servers that go, publishers that come, and what must not be shown or go round in circles.

use std::process::Command;

use weir_testkit::{
    Weir,
    cluster::{Cluster, Ports},
    http,
    peer::{Encoder, Numbered, Viewer},
};

use super::{
    ADMIN, BINARY, NO_HLS, PICTURE, encoder, listed, server, stream, until_logged, until_no_pull,
    until_pull,
};

/// A configuration with these pulls, of streams that linger for a minute.
fn pulling(pulls: &[(&str, String)]) -> String {
    let line =
        |(stream, from): &(&str, String)| format!("- {{ stream: {stream}, from: {from:?} }}\n");
    let lines: String = pulls.iter().map(line).collect();
    let pulls = if lines.is_empty() { "pull: []\n".to_owned() } else { format!("pull:\n{lines}") };
    format!("{NO_HLS}publish: {{ linger: 60s }}\n{pulls}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_and_comes_back_is_found_again_and_viewers_stay() {
    let ports = Ports::free();
    let mut there = server(NO_HLS).at(Cluster::ip(7), &ports).start();
    let published = encoder(&there, "live/x", 0).await;
    let here = server(&pulling(&[("live/y", there.rtmp_url("live/x"))])).start();
    until_pull(&here, "/live/y", "flowing").await;
    let mut viewer = Viewer::http_flv(here.http(), "live/y.flv").await.allowing_skips();
    viewer.until_picture(published.next_number() + 5).await;
    there.kill();
    let waiting = until_pull(&here, "/live/y", "waiting").await;
    assert_eq!(waiting["losses"], 1, "{waiting}");
    assert!(waiting["last_failure"].is_string(), "{waiting}");
    there.restart();
    let back = encoder(&there, "live/x", 5000).await;
    viewer.until_picture(5020).await;
    back.assert_connected();
    until_logged(&here, &["pull lost", "upstream"]).await;
    let page = http::get(here.api(), "metrics").await.text().await;
    for series in
        ["weir_pulls{state=\"flowing\"} 1", "weir_pulls_lost_total 1", "weir_pull_retries_total "]
    {
        assert!(page.contains(series), "{series}:\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_and_a_pull_settle_it_as_two_encoders_do() {
    let there = server(NO_HLS).start();
    let _published = encoder(&there, "live/x", 0).await;
    let from = there.rtmp_url("live/x");
    let config = |conflict: &str| {
        format!(
            "{NO_HLS}publish: {{ linger: 0s, conflict: {conflict} }}\npull: [{{ stream: live/y, from: {from:?} }}]\n"
        )
    };
    let mut here = server(&config("takeover_if_idle")).start();
    until_pull(&here, "/live/y", "flowing").await;
    let url = here.rtmp_url("live/y");
    let try_encoder = async || Encoder::try_start(&url, Numbered::new(5), PICTURE).await;
    let refused = try_encoder().await.expect_err("the pull has it");
    assert!(format!("{refused:?}").contains("BadName"), "{refused:?}");
    here.reload(&config("takeover"), ADMIN).await;
    let taken = try_encoder().await.expect("the newcomer has it");
    until_pull(&here, "/live/y", "replaced").await;
    taken.assert_connected();
    drop(taken);
    until_pull(&here, "/live/y", "flowing").await;
    let mut viewer = Viewer::http_flv(here.http(), "live/y.flv").await;
    assert!(viewer.next().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_adds_and_removes_pulls_and_leaves_the_others_alone() {
    let there = server(NO_HLS).start();
    let published = encoder(&there, "live/x", 0).await;
    let (a, b) = (("live/a", there.rtmp_url("live/x")), ("live/b", there.http_url("live/x.flv")));
    let mut here = server(&pulling(std::slice::from_ref(&a))).start();
    until_pull(&here, "/live/a", "flowing").await;
    let mut stays = Viewer::rtmp(&here.rtmp_url("live/a")).await;
    here.reload(&pulling(&[b.clone(), a.clone()]), ADMIN).await;
    until_pull(&here, "/live/b", "flowing").await;
    here.reload(&pulling(&[a]), ADMIN).await;
    until_no_pull(&here, "/live/b").await;
    let gone = stream(&here, "/live/b").await.expect("it lingers");
    assert_eq!(gone["status"], "lingering", "{gone}");
    // Without a skip: it has been the same connection all the time.
    stays.until_picture(published.next_number() + 5).await;
    assert_eq!(there.sessions("play", "/live/x").began, 2, "one for a, one for b");
    here.reload(&pulling(&[]), ADMIN).await;
    until_no_pull(&here, "/live/a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_sent_to_the_other_server_and_shown_to_nobody() {
    const SECRET: &str = "hunter22hunter22";
    let there = server(&format!(
        "{NO_HLS}auth: {{ play: [secret: {{ param: key, values: [{SECRET}] }}] }}\n"
    ))
    .start();
    let _published = encoder(&there, "live/x", 0).await;
    let with = |secret: &str| format!("{}?key={secret}", there.rtmp_url("live/x"));
    // One that is right, one that is wrong and secret all the same.
    let config = pulling(&[("live/a", with(SECRET)), ("live/b", with(&format!("not-{SECRET}")))]);
    let mut here = server(&config).start();
    until_pull(&here, "/live/a", "flowing").await;
    until_pull(&here, "/live/b", "waiting").await;
    here.reload(&pulling(&[("live/a", with(&format!("other-{SECRET}")))]), ADMIN).await;
    let mut shown = here.log().all().join("\n");
    for path in ["api/v1/pulls", "api/v1/streams", "metrics"] {
        shown += &http::get(here.api(), path).await.text().await;
    }
    let file = here.dir().join("check.yaml");
    std::fs::write(&file, config).expect("written");
    let checked = Command::new(BINARY).args(["check", "-c"]).arg(&file).output().expect("it runs");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let line = "/live/x?***, always";
    assert!(said.contains("live/a from rtmp://") && said.contains(line), "{said}");
    shown += &said;
    shown += &String::from_utf8_lossy(&checked.stderr);
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn what_can_only_be_a_mistake_is_said_before_it_runs() {
    let dir = tempfile::tempdir().expect("a folder");
    let check = |yaml: &str| {
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, yaml).expect("written");
        let mut command = Command::new(BINARY);
        let output = command.args(["check", "-c"]).arg(&file).output().expect("it runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let listen = "rtmp: { listen: 127.0.0.1:0 }\nhttp: { listen: [] }\napi: { listen: [] }\nhls: { dir: '' }\n";
    for (yaml, said) in [
        (
            "rtmp: { listen: 127.0.0.1:1 }\npull: [{ stream: live/a, from: 'rtmp://localhost:1/live/a' }]\n",
            "a loop",
        ),
        ("pull: [{ stream: live/a, from: 'file:/none.flv' }]\n", "/none.flv: it cannot be opened"),
        ("publish: { fallback: /none.flv }\n", "/none.flv: it cannot be opened"),
        (
            "pull: [{ stream: live/a, from: 'rtmps://h/live/a', ca: /none.pem }]\n",
            "/none.pem cannot be read",
        ),
        (
            "pull: [{ stream: live/a, from: 'file:/a' }, { stream: live/a, from: 'file:/b' }]\n",
            "is pulled twice",
        ),
    ] {
        let whole =
            if yaml.contains("listen") { yaml.to_owned() } else { format!("{listen}{yaml}") };
        let (is_good, errors) = check(&whole);
        assert!(!is_good && errors.contains(said), "{yaml}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_two_servers_want_from_each_other_is_a_loop() {
    let (first, second) = (Ports::free(), Ports::free());
    let at = |number: u8, ports: &Ports, other: &str| -> Weir {
        let config = format!(
            "{NO_HLS}play: {{ wait: 20s }}\n\
             pull: [{{ stream: live/*, from: 'rtmp://{other}/live/{{stream}}', when: demand }}]\n"
        );
        server(&config).at(Cluster::ip(number), ports).start()
    };
    let a = at(8, &first, &format!("{}:{}", Cluster::ip(9), second.rtmp));
    let b = at(9, &second, &format!("{}:{}", Cluster::ip(8), first.rtmp));
    let viewer = tokio::spawn(http::get(a.http(), "live/x.flv"));
    until_logged(&a, &["a loop"]).await;
    assert!(listed(&b, "pulls").await.iter().all(|pull| pull["state"] != "flowing"));
    // Whoever publishes it at either of them is seen at both.
    let published = encoder(&b, "live/x", 0).await;
    let answer = viewer.await.expect("no panic");
    assert_eq!(answer.status, 200);
    published.assert_connected();
}
