//! Certificates that change under way.

use std::{fs, time::Duration};

use weir_testkit::{
    certificates::Authority,
    crowd::{Crowd, Protocol, allow_files},
    eventually,
    peer::{Encoder, Numbered, Viewer},
    server::field,
};

use crate::{NAMES, Rig, SOON, metric, said};

/// For hundreds of viewers on the slowest machine.
const LONG: Duration = Duration::from_secs(60);

/// Viewers who play while the certificate is swapped, and how many of them come at a time: a handshake has 5 seconds,
/// and all of them are done by this machine, both ends.
const VIEWERS: usize = 500;
const AT_ONCE: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_swapped_and_nobody_drops() {
    let rig = Rig::start("hls: { enabled: false }\n");
    let (rtmp, http) = rig.tunnels().await;
    let source = Numbered::new(5).without_sound();
    let url = rtmp.rtmp_url("live/a");
    let encoder = Encoder::start(&url, source, Duration::from_millis(200)).await;
    let mut crowd = Crowd::new();
    allow_files(rig.weir.pid());
    for number in 0..VIEWERS {
        let (address, protocol) = if number % 2 == 0 {
            (rtmp.address(), Protocol::Rtmp)
        } else {
            (http.address(), Protocol::HttpFlv)
        };
        crowd.viewer_at(address, "live/a", protocol, Duration::ZERO);
        if (number + 1) % AT_ONCE == 0 {
            crowd.until("a first picture", LONG, |seen| seen.first.is_some()).await;
        }
    }
    let url = rig.https_url("player");
    let words = ["--output", "/dev/null", "--write-out", "%{http_code}", &url];
    assert_eq!(said(&mut rig.curl(&words), true), "200");

    // Signed by another authority: whoever trusts the old one does not trust it any more.
    let other = Authority::new("another one");
    other.certify(rig.dir.path(), "server", &NAMES);
    rig.weir.hang_up();
    let applied = eventually("the new one is in force", LONG, async || {
        let text = rig.curl(&words).output().expect("curl runs").stdout;
        (text == b"000").then_some(())
    });
    applied.await;
    fs::write(rig.ca(), other.pem()).expect("written");
    assert_eq!(said(&mut rig.curl(&words), true), "200", "the new one is shown");
    let (anew, _) = rig.tunnels().await;
    let mut viewer = Viewer::rtmp(&anew.rtmp_url("live/a")).await;
    let reached = encoder.next_number() + 10;
    viewer.until_picture(reached).await;
    crowd.until_picture(reached, LONG).await;
    // Each has had every message.
    crowd.assert_complete();
    encoder.assert_connected();

    // A broken file changes nothing, and is told of.
    fs::write(rig.at("server.pem"), "nonsense").expect("written");
    rig.weir.hang_up();
    rig.weir
        .wait_log(|line| field(line, "level") == "WARN" || field(line, "level") == "ERROR", SOON);
    assert_eq!(said(&mut rig.curl(&words), true), "200", "the one before stays in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_files_are_found_without_a_reload_and_broken_ones_are_told_of() {
    // It is looked at them every 30 seconds.
    const LOOK: Duration = Duration::from_secs(60);
    let rig = Rig::start("");
    let current = "weir_tls_files_current{section=\"http.tls\"}";
    let path = rig.at("server.pem").display().to_string();
    let expires = |section: &str| {
        format!(
            "weir_tls_certificate_expires_timestamp_seconds{{section=\"{section}\",file=\"{path}\"}}"
        )
    };
    assert_eq!(metric(&rig.weir, current).await, 1.0);
    // The last day of 2099.
    assert_eq!(metric(&rig.weir, &expires("rtmp.tls")).await, 4_102_358_400.0);
    fs::write(rig.at("server.key"), "nonsense").expect("written");
    eventually("that it is broken", LOOK, async || {
        (metric(&rig.weir, current).await == 0.0).then_some(())
    })
    .await;
    rig.weir.wait_log(
        |line| {
            let message = field(line, "message").as_str().unwrap_or_default();
            message.starts_with("cannot load the changed http.tls files")
        },
        SOON,
    );
    let url = rig.https_url("player");
    let words = ["--output", "/dev/null", "--write-out", "%{http_code}", &url];
    assert_eq!(said(&mut rig.curl(&words), true), "200", "what was read before is in force");
    rig.authority.certify_until(rig.dir.path(), "server", &NAMES, 2098);
    eventually("the new one", LOOK, async || {
        let ends = metric(&rig.weir, &expires("http.tls")).await;
        (ends < 4_102_358_400.0 && metric(&rig.weir, current).await == 1.0).then_some(())
    })
    .await;
    assert_eq!(said(&mut rig.curl(&words), true), "200");
}
