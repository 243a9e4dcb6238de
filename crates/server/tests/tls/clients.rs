//! Handshakes: versions, names, certificates of clients, and whoever knocks at the wrong port.

use std::process::{Command, Stdio};

use weir_testkit::{Weir, eventually, raw::Raw, server::field};

use crate::{Files, Rig, SOON, metric, said};

/// What `openssl s_client` says of a connection to `port`, with these options.
fn openssl(rig: &Rig, port: u16, options: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-CAfile"]);
    command.arg(rig.ca()).args(options).stdin(Stdio::null());
    let output = command.output().expect("openssl is installed (cargo xtask test tools)");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    text.into_owned()
}

#[test]
fn both_versions_are_spoken_on_both_ports_and_nothing_older() {
    let rig = Rig::start("");
    for port in [rig.rtmps().port(), rig.https().port()] {
        for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let text = openssl(&rig, port, &[option]);
            assert!(text.contains("Verify return code: 0 (ok)"), "{option}: {text}");
            assert!(text.contains(&format!("New, {version}, ")), "{option}: {text}");
        }
        // Suites without forward secrecy are none of ours.
        let text = openssl(&rig, port, &["-tls1_2", "-cipher", "AES128-SHA"]);
        assert!(text.contains("Cipher is (NONE)"), "{text}");
    }
}

#[test]
fn the_least_version_can_be_raised() {
    let rig = Rig::start_with("", "min_version: 1.3");
    let text = openssl(&rig, rig.https().port(), &["-tls1_2"]);
    assert!(text.contains("Cipher is (NONE)"), "{text}");
    let text = openssl(&rig, rig.https().port(), &["-tls1_3"]);
    assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
}

#[test]
fn each_name_has_its_certificate_and_the_first_is_for_all_others() {
    let files = Files::new();
    let all = [("first", "first.example"), ("wild", "*.wild.example"), ("last", "last.example")];
    for (name, host) in all {
        files.authority.certify(files.dir.path(), name, &[host]);
    }
    let tls = files.tls(&["first", "wild", "last"], "");
    let rig = files.serve("", &tls);
    let port = rig.https().port();
    for (asked, shown) in [
        ("first.example", "first.example"),
        ("a.wild.example", "*.wild.example"),
        ("LAST.example", "last.example"),
        ("b.a.wild.example", "first.example"),
        ("unknown.example", "first.example"),
        ("", "first.example"),
    ] {
        let name: &[&str] =
            if asked.is_empty() { &["-noservername"] } else { &["-servername", asked] };
        let shows = openssl(&rig, port, &[&["-showcerts"], name].concat());
        let mut x509 = Command::new("sh");
        let script = "printf '%s' \"$1\" | openssl x509 -noout -ext subjectAltName";
        let names = said(x509.args(["-c", script, "sh", &shows]), true);
        assert!(names.contains(&format!("DNS:{shown}")), "{asked:?}: {names}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_needs_a_certificate_and_has_none_is_refused_by_name() {
    let files = Files::new();
    for name in ["server", "client"] {
        files.authority.certify(files.dir.path(), name, &crate::NAMES);
    }
    let stranger = weir_testkit::certificates::Authority::new("somebody else");
    stranger.certify(files.dir.path(), "stranger", &crate::NAMES);
    let ca = files.dir.path().join("ca.pem").display().to_string();
    let tls = files.tls(&["server"], &format!("client_ca: {ca}"));
    let rig = files.serve("", &tls);
    let url = rig.https_url("player");
    let file = |name: String| rig.at(&name).display().to_string();
    let with = |name: &str| {
        [
            "--cert".to_owned(),
            file(format!("{name}.pem")),
            "--key".to_owned(),
            file(format!("{name}.key")),
        ]
    };
    let status = |name: &str, is_good| {
        let more = if name.is_empty() { Vec::new() } else { with(name).to_vec() };
        let more: Vec<_> = more.iter().map(String::as_str).collect();
        let words = [&["--output", "/dev/null", "--write-out", "%{http_code}", &url], &more[..]];
        said(&mut rig.curl(&words.concat()), is_good)
    };
    assert_eq!(status("client", true), "200");
    assert!(status("", false).starts_with("000"));
    assert!(status("stranger", false).starts_with("000"));
    let refused = |kind: &str, words: &str| {
        rig.weir.wait_log(
            |line| {
                field(line, "message") == "TLS handshake failed"
                    && field(line, "kind") == kind
                    && field(line, "protocol") == "https"
                    && field(line, "reason").as_str().is_some_and(|why| why.contains(words))
            },
            SOON,
        );
    };
    tokio::task::block_in_place(|| {
        refused("certificate", "peer sent no certificates");
        refused("certificate", "UnknownIssuer");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_plain_text_to_a_port_for_tls_is_told_so() {
    let rig = Rig::start("");
    let mut raw = Raw::connect(rig.https()).await;
    assert!(raw.send(b"GET /player HTTP/1.1\r\nHost: h\r\n\r\n").await);
    let answer = String::from_utf8(raw.expect_close(SOON).await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nthis port speaks HTTPS\n"), "{answer}");
    let mut raw = Raw::connect(rig.rtmps()).await;
    raw.send(&[3; 1537]).await;
    assert_eq!(raw.expect_close(SOON).await, b"", "RTMP has no words for it");
    for protocol in ["https", "rtmps"] {
        rig.weir.wait_log(
            |line| field(line, "protocol") == protocol && field(line, "kind") == "not_tls",
            SOON,
        );
    }
    let failed = "weir_tls_handshakes_failed_total{reason=\"not_tls\"}";
    eventually("both are counted", SOON, async || {
        (metric(&rig.weir, failed).await == 2.0).then_some(())
    })
    .await;
}

#[test]
fn who_speaks_tls_to_a_port_for_plain_text_is_named_in_the_log() {
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).start();
    for (port, key) in [(weir.rtmp(), "rtmp.tls.listen"), (weir.http(), "http.tls.listen")] {
        let url = format!("https://{port}/");
        said(
            Command::new("curl").args(["--silent", "--insecure", "--max-time", "20", &url]),
            false,
        );
        weir.wait_session_end(
            |line| {
                let reason = field(line, "reason").as_str().unwrap_or_default();
                reason.contains("speaks TLS") && reason.contains(key)
            },
            SOON,
        );
    }
}

#[test]
fn the_check_tries_the_files() {
    let files = Files::new();
    let dir = files.dir.path();
    files.authority.certify(dir, "server", &crate::NAMES);
    files.authority.certify(dir, "other", &crate::NAMES);
    files.authority.certify_until(dir, "over", &crate::NAMES, 2021);
    let check = |certificates: &str, is_good: bool| {
        let text = format!(
            "http: {{ tls: {{ certificates: [{certificates}] }} }}\nhls: {{ enabled: false }}\n"
        );
        std::fs::write(dir.join("weir.yaml"), text).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        said(command.args(["check", "-c", "weir.yaml"]).current_dir(dir), is_good)
    };
    let text = check("{ cert: server.pem, key: server.key }", true);
    assert!(text.contains("https") && text.contains("0.0.0.0:8443, 1 certificate"), "{text}");
    let text = check("{ cert: over.pem, key: over.key }", true);
    assert!(text.contains("over.pem has been over for"), "{text}");
    let text = check("{ cert: server.pem, key: other.key }", false);
    assert!(
        text.contains("http.tls.certificates[0].key: ") && text.contains("KeyMismatch"),
        "{text}"
    );
    let text = check("{ cert: none.pem, key: server.key }", false);
    assert!(text.contains("http.tls.certificates[0].cert: none.pem cannot be read"), "{text}");
    let text = check("{ cert: ca.pem, key: ca.pem }", false);
    assert!(text.contains("it has no private key"), "{text}");
    let text = check("{ cert: server.pem }", false);
    assert!(text.contains("a certificate needs its private key"), "{text}");
    assert!(check("", false).contains("TLS needs a certificate"));
}
