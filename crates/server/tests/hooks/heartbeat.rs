//! The heartbeat over TLS.

use weir_testkit::{
    Weir,
    backend::Backend,
    certificates::{Authority, put},
    eventually, http,
    tls_front::TlsFront,
};

use super::{SOON, start};

/// How many heartbeats were `accepted` or have `failed`, as `/metrics` says.
async fn beats(weir: &Weir, result: &str) -> f64 {
    let text = http::get(weir.api(), "metrics").await.text().await;
    let series = format!("weir_heartbeats_total{{result=\"{result}\"}} ");
    let count = text.lines().find_map(|line| line.strip_prefix(&*series)).expect("a counter");
    count.parse().expect("a number")
}

/// Waits for so many heartbeats in all.
async fn until_heard(back_end: &Backend, count: usize) {
    eventually(&format!("{count} heartbeats"), SOON, async || {
        (back_end.calls().len() >= count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_over_tls_is_heard_by_the_right_back_end_alone() {
    let mut back_end = Backend::start().await;
    let (right, wrong) = (Authority::new("right"), Authority::new("wrong"));
    let front = TlsFront::start(back_end.address(), &right.issue(&["127.0.0.1"])).await;
    let dir = tempfile::tempdir().expect("a folder");
    let ca = put(dir.path(), "ca.pem", &right.pem());
    let address = front.address();
    let weir = start(&format!(
        "hls: {{ enabled: false }}\nhooks: {{ ca: {ca:?} }}\n\
         heartbeat: {{ url: 'https://{address}/api/v1/servers?key=s3cret', interval: 1s, device_id: a }}\n"
    ));
    until_heard(&back_end, 2).await;
    let first = &back_end.calls()[0];
    assert_eq!((&*first.target, first.said("device_id")), ("/api/v1/servers?key=s3cret", "a"));
    assert!(front.handshakes() > 0 && beats(&weir, "accepted").await >= 1.0);
    assert!(beats(&weir, "failed").await < 1.0);

    // Somebody else is there from the next connection on, who has a certificate as well.
    front.show(&wrong.issue(&["127.0.0.1"]));
    back_end.stop().await;
    back_end.go_on().await;
    eventually("it fails", SOON, async || (beats(&weir, "failed").await >= 2.0).then_some(()))
        .await;
    let (before, handshakes) = (back_end.calls().len(), front.handshakes());
    let failed = beats(&weir, "failed").await;
    eventually("it fails again", SOON, async || {
        (beats(&weir, "failed").await > failed).then_some(())
    })
    .await;
    assert_eq!(
        (back_end.calls().len(), front.handshakes()),
        (before, handshakes),
        "nobody is told"
    );
    let told = |words: &str| weir.log().all().iter().filter(|line| line.contains(words)).count();
    assert_eq!(told("the heartbeat is not heard"), 1);
    front.show(&right.issue(&["127.0.0.1"]));
    until_heard(&back_end, before + 2).await;
    eventually("it is said", SOON, async || {
        (told("the heartbeat is heard again") == 1).then_some(())
    })
    .await;
    assert_eq!(told("s3cret"), 0, "what stands behind the question mark is shown nowhere");
}
