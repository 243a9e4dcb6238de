//! TLS of the API, with curl at the other end.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::Command,
};

use tempfile::TempDir;
use weir_testkit::{Weir, certificates::Authority};

use crate::{ADMIN, SOON};

/// What all certificates here are for.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

pub struct Rig {
    dir: TempDir,
    pub weir: Weir,
}

impl Rig {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let [servers, admins, readers, strangers] =
            ["servers", "admins", "readers", "strangers"].map(Authority::new);
        for (name, by) in [
            ("server", &servers),
            ("admin", &admins),
            ("reader", &readers),
            ("stranger", &strangers),
        ] {
            by.certify(dir.path(), name, &NAMES);
        }
        for (name, authority) in [("servers", &servers), ("admins", &admins), ("readers", &readers)]
        {
            fs::write(dir.path().join(format!("{name}.ca")), authority.pem()).expect("written");
        }
        let at = |name: &str| dir.path().join(name).display().to_string();
        let tls = format!(
            "{{ cert: {}, key: {}, admin_ca: {}, read_ca: {} }}",
            at("server.pem"),
            at("server.key"),
            at("admins.ca"),
            at("readers.ca")
        );
        let weir = Weir::builder(env!("CARGO_BIN_EXE_weir"))
            .env("WEIR_API__TLS", tls)
            .env("WEIR_API__ADMIN_TOKENS", ADMIN)
            .start();
        Self { dir, weir }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The status of a call, 0 if there is no answer; and how often curl connected.
    fn call(&self, options: &[&str], paths: &[&str]) -> (String, String) {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "10", "--cacert"])
            .arg(self.at("servers.ca"))
            .args(options);
        for path in paths {
            curl.args(["--output", "/dev/null", "--write-out", "%{http_code} %{num_connects} "]);
            curl.arg(format!("https://{}/{path}", self.weir.api()));
        }
        let output = curl.output().expect("curl is installed (cargo xtask test tools)");
        let text = String::from_utf8_lossy(&output.stdout);
        let mut words = text.split_ascii_whitespace().map(str::to_owned);
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    pub fn status(&self, client: &str, more: &[&str], path: &str) -> String {
        let (certificate, key) =
            (self.at(&format!("{client}.pem")), self.at(&format!("{client}.key")));
        let mut options = more.to_vec();
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        if !client.is_empty() {
            options.extend(["--cert", &certificate, "--key", &key]);
        }
        self.call(&options, &[path]).0
    }
}

#[test]
fn certificates_give_the_rights_of_the_authority_that_signed_them() {
    let rig = Rig::start();
    let delete = ["--request", "DELETE"];
    let token = format!("Authorization: Bearer {ADMIN}");
    let cases: [(&str, &[&str], &str, &str); 9] = [
        ("", &[], "healthz", "200"),
        ("", &[], "api/v1/streams", "401"),
        ("", &["--header", &token], "api/v1/streams", "200"),
        ("reader", &[], "api/v1/streams", "200"),
        ("reader", &delete, "api/v1/clients/0", "403"),
        ("admin", &[], "api/v1/streams", "200"),
        ("admin", &delete, "api/v1/clients/0", "404"),
        ("stranger", &[], "api/v1/streams", "000"),
        ("stranger", &[], "healthz", "000"),
    ];
    for (client, options, path, status) in cases {
        assert_eq!(rig.status(client, options, path), status, "{client:?} {options:?} {path}");
    }
    // Who speaks plain HTTP to it is told so, and it lives on.
    let plain = Command::new("curl")
        .args(["--silent", "--max-time", "20", "--write-out", "%{http_code}"])
        .arg(rig.weir.api_url("healthz"))
        .output();
    let answer = plain.expect("curl runs").stdout;
    assert_eq!(String::from_utf8_lossy(&answer), "this port speaks HTTPS\n400");
    assert_eq!(rig.status("", &[], "healthz"), "200");
}

#[test]
fn probes_are_answered_beside_handshakes_that_stall_and_these_are_ended() {
    // More than the API has connections; each has begun a record of 512 bytes, and sends no more of it.
    const STALLED: usize = 300;
    let rig = Rig::start();
    let stall = |_| {
        let mut stalled = TcpStream::connect(rig.weir.api()).expect("a connection");
        stalled.set_read_timeout(Some(SOON)).expect("a timeout");
        stalled.write_all(&[22, 3, 1, 2, 0, 1]).expect("a few bytes have room");
        stalled
    };
    let stalled: Vec<_> = (0..STALLED).map(stall).collect();
    // Sooner than the first of the handshakes is given up.
    for _ in 0..5 {
        assert_eq!(rig.status("", &["--max-time", "4"], "healthz"), "200");
    }
    for mut stalled in stalled {
        let ended = loop {
            match stalled.read(&mut [0; 64]) {
                // An alert may come first.
                Ok(1..) => {}
                ended => break ended,
            }
        };
        let waits = ended.is_err_and(|why| why.kind() == io::ErrorKind::WouldBlock);
        assert!(!waits, "it is ended");
    }
}

#[test]
fn a_renewed_certificate_is_shown_after_a_reload_and_a_broken_one_changes_nothing() {
    let rig = Rig::start();
    let reload = ["--request", "POST"];
    assert_eq!(rig.status("admin", &reload, "api/v1/reload"), "200");
    fs::write(rig.at("server.pem"), "nonsense").expect("written");
    assert_eq!(rig.status("admin", &reload, "api/v1/reload"), "422");
    assert_eq!(rig.status("", &[], "healthz"), "200", "the certificate before stays in force");

    // Signed by another authority: whoever trusts the old one does not trust it any more.
    let other = Authority::new("others");
    other.certify(rig.dir.path(), "server", &NAMES);
    assert_eq!(rig.status("admin", &reload, "api/v1/reload"), "200");
    assert_eq!(rig.status("", &[], "healthz"), "000");
    fs::write(rig.at("servers.ca"), other.pem()).expect("written");
    assert_eq!(rig.status("", &[], "healthz"), "200");
}

#[test]
fn peers_that_have_the_same_certificate_are_asked_over_tls() {
    let rig = Rig::start();
    let at = |name: &str| rig.at(name).display().to_string();
    let start = |certificate: &str, peers: String| {
        let tls = format!(
            "{{ cert: {}, key: {} }}",
            at(&format!("{certificate}.pem")),
            at(&format!("{certificate}.key"))
        );
        Weir::builder(env!("CARGO_BIN_EXE_weir"))
            .env("WEIR_API__TLS", tls)
            .env("WEIR_API__PEERS", peers)
            .start()
    };
    let (same, other) = (start("server", "[]".to_owned()), start("admin", "[]".to_owned()));
    let asking = start("server", format!("[\"{}\", \"{}\"]", same.api(), other.api()));
    let url = format!("https://{}/api/v1/streams?scope=cluster", asking.api());
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "10", "--cacert", &at("servers.ca"), &url])
        .output();
    let answer: serde_json::Value =
        serde_json::from_slice(&output.expect("curl runs").stdout).expect("JSON");
    let peers = answer["peers"].as_array().expect("peers");
    let error = |address: std::net::SocketAddr| {
        let peer = peers.iter().find(|peer| peer["address"] == address.to_string());
        peer.map(|peer| peer["error"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(error(same.api()).as_deref(), Some(""), "{peers:#?}");
    assert!(
        error(other.api()).is_some_and(|error| error.starts_with("TLS failed: ")),
        "{peers:#?}"
    );
}
