//! The API over HTTP/2: the same calls and rights, and connections that make room without cutting anybody.

use std::{process::Command, time::Duration};

use tokio::{io::AsyncWriteExt as _, task::JoinSet, time::timeout};
use weir_testkit::http2::{Flood, GOAWAY, HEADERS, connect, get, next};

use crate::{ADMIN, SOON, tls::Rig};

/// `:status: 200`, the entry 8 of the static table (RFC 7541 appendix A).
const OK: u8 = 0x88;

#[test]
fn calls_share_a_connection() {
    let rig = Rig::start();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--http2", "--max-time", "20", "--cacert"]).arg(rig.at("servers.ca"));
    curl.args(["--header", &format!("Authorization: Bearer {ADMIN}")]);
    for path in ["healthz", "api/v1/streams", "api/v1/openapi.json", "metrics"] {
        curl.args([
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_version} %{http_code} %{num_connects} ",
        ]);
        curl.arg(format!("https://{}/{path}", rig.weir.api()));
    }
    let text = curl.output().expect("curl is installed (cargo xtask test tools)").stdout;
    assert_eq!(String::from_utf8_lossy(&text), "2 200 1 2 200 0 2 200 0 2 200 0 ");
}

/// The oldest connection that waits for nothing makes room. What its client has asked in that moment, before it has
/// heard of that, is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_makes_room_answers_what_is_on_its_way() {
    let rig = Rig::start();
    let (api, ca) = (rig.weir.api(), rig.at("servers.ca"));
    // On a machine that is busy, a request may cross the network for too long.
    for attempt in 0.. {
        let mut oldest = connect(api, &ca).await;
        let mut others = Vec::new();
        {
            let mut told = std::pin::pin!(async {
                while next(&mut oldest).await.expect("it is told before it is cut").0 != GOAWAY {}
            });
            while timeout(Duration::from_millis(10), &mut told).await.is_err() {
                others.push(connect(api, &ca).await);
                assert!(others.len() < 1000, "nobody makes room");
            }
        }
        oldest.write_all(&get(1, "/healthz")).await.expect("written");
        let answered = async {
            loop {
                match next(&mut oldest).await {
                    Some((HEADERS, _, 1, block)) => break block.first() == Some(&OK),
                    Some(_) => {}
                    None => break false,
                }
            }
        };
        if timeout(SOON, answered).await.expect("answered or closed") {
            // It is closed then.
            timeout(SOON, async { while next(&mut oldest).await.is_some() {} })
                .await
                .expect("closed");
            break;
        }
        assert!(attempt < 5, "no answer before the connection is closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_beside_floods_of_frames() {
    const TIME: Duration = Duration::from_secs(2);
    const HELD_MAX: u64 = 24 << 20;
    let rig = Rig::start();
    let (api, ca) = (rig.weir.api(), rig.at("servers.ca"));
    Flood::Pings.run(api, &ca, true, TIME / 4).await;
    let before = rig.weir.rss_bytes();
    let mut probes = 0;
    for flood in Flood::ALL {
        let mut floods = JoinSet::new();
        for reads in [true, false] {
            let ca = ca.clone();
            floods.spawn(async move { flood.run(api, &ca, reads, TIME).await });
        }
        while !floods.is_empty() {
            // In a process of its own: this one is busy with what it sends.
            let status = tokio::task::block_in_place(|| rig.status("", &["--http2"], "healthz"));
            assert_eq!(status, "200", "probe {probes}, {flood:?}");
            probes += 1;
            while floods.try_join_next().is_some() {}
        }
    }
    let grown = rig.weir.rss_bytes().saturating_sub(before);
    eprintln!("{probes} probes; {} KiB more held", grown >> 10);
    assert!(grown < HELD_MAX, "{grown} bytes more");
}
