//! Keys of `api`.

use std::{path::PathBuf, process::Command};

use serde_json::Value;
use weir_testkit::{
    Weir,
    certificates::{Authority, put},
    eventually,
};

use crate::{BINARY, SOON, call, reload, server};

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

async fn status(weir: &Weir, method: &str, path: &str, fields: &str) -> u16 {
    call(weir.api(), method, path, fields).await.0
}

#[tokio::test(flavor = "multi_thread")]
pub async fn admin_tokens() {
    let mut weir = Weir::builder(BINARY).config("api: { admin_tokens: [one] }\n").start();
    assert_eq!(status(&weir, "POST", "api/v1/reload", &bearer("one")).await, 200);
    weir.configure("api: { admin_tokens: [two] }\n");
    assert_eq!(status(&weir, "POST", "api/v1/reload", &bearer("one")).await, 200);
    assert_eq!(status(&weir, "POST", "api/v1/reload", &bearer("one")).await, 401);
    assert_eq!(status(&weir, "POST", "api/v1/reload", &bearer("two")).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn read_tokens() {
    let mut weir = server().start();
    assert_eq!(status(&weir, "GET", "api/v1/streams", "").await, 200);
    reload(&mut weir, "api: { read_tokens: [reader] }\n").await;
    assert_eq!(status(&weir, "GET", "api/v1/streams", "").await, 401);
    assert_eq!(status(&weir, "GET", "api/v1/streams", &bearer("reader")).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn read_from() {
    let mut weir = server().start();
    assert_eq!(status(&weir, "GET", "api/v1/streams", "").await, 200);
    reload(&mut weir, "api: { read_from: [192.0.2.0/24] }\n").await;
    let refused = status(&weir, "GET", "api/v1/streams", "").await;
    assert!(refused == 401 || refused == 403, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn peers() {
    let other = server().env("WEIR_API__READ_TOKENS", "reader").start();
    let mut weir = server().start();
    let is_well = async |weir: &Weir| {
        let (_, text) = call(weir.api(), "GET", "api/v1/streams?scope=cluster", "").await;
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        let peers = answer["peers"].as_array().cloned().unwrap_or_default();
        let address = other.api().to_string();
        let peer = peers.into_iter().find(|peer| peer["address"] == address.as_str());
        peer.map(|peer| peer["ok"] == true)
    };
    assert_eq!(is_well(&weir).await, None, "it knows of no other");
    let of = |token: &str| format!("api: {{ peers: [\"{}\"]{token} }}\n", other.api());
    reload(&mut weir, &of("")).await;
    assert_eq!(is_well(&weir).await, Some(false), "it shows no token");
    reload(&mut weir, &of(", peer_token: reader")).await;
    assert_eq!(is_well(&weir).await, Some(true));
}

/// `Authorization` of a user with a password, as `curl -u` writes it.
const ONE: &str = "Authorization: Basic YWRtaW46b25l\r\n";
const TWO: &str = "Authorization: Basic b3BzOm9uZQ==\r\n";

#[tokio::test(flavor = "multi_thread")]
pub async fn basic() {
    let mut weir = server().start();
    assert_eq!(status(&weir, "GET", "api/v1/streams", "").await, 200);
    assert_eq!(status(&weir, "POST", "api/v1/reload", ONE).await, 401);
    reload(&mut weir, "api: { basic: { username: admin, password: one } }\n").await;
    assert_eq!(status(&weir, "GET", "api/v1/streams", "").await, 401, "as with SRS");
    assert_eq!(status(&weir, "GET", "metrics", "").await, 200, "as with SRS");
    assert_eq!(status(&weir, "POST", "api/v1/reload", ONE).await, 200);
    assert_eq!(status(&weir, "POST", "api/v1/reload", TWO).await, 401);
    reload(&mut weir, "api: { basic: { username: ops, password: one } }\n").await;
    assert_eq!(status(&weir, "GET", "api/v1/streams", ONE).await, 401);
    assert_eq!(status(&weir, "GET", "api/v1/streams", TWO).await, 200);
    reload(&mut weir, "api: { basic: { username: ops, password: two } }\n").await;
    assert_eq!(status(&weir, "GET", "api/v1/streams", TWO).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn web_origins() {
    let mut weir = server().start();
    let page = "Origin: https://console.example\r\nUser-Agent: Mozilla/5.0\r\n";
    let path = "api/v1/versions?callback=f";
    assert_eq!(status(&weir, "GET", path, page).await, 403);
    reload(&mut weir, "api: { web_origins: [\"https://console.example\"] }\n").await;
    assert_eq!(status(&weir, "GET", path, page).await, 200);
    let other = page.replace("console", "evil");
    assert_eq!(status(&weir, "GET", path, &other).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn raw_reload() {
    let mut weir = server().start();
    let path = "api/v1/raw?rpc=reload";
    let (refused, answer) = call(weir.api(), "GET", path, &bearer(crate::ADMIN)).await;
    assert!(refused == 403 && answer.contains("1061"), "{answer}");
    reload(&mut weir, "api: { raw_reload: true }\n").await;
    assert_eq!(status(&weir, "GET", path, "").await, 401, "an administrator alone may");
    assert_eq!(status(&weir, "GET", path, &bearer(crate::ADMIN)).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn srs_status() {
    let mut weir = server().start();
    let (status, answer) = call(weir.api(), "GET", "api/v1/streams/none", "").await;
    assert!(status == 404 && answer.contains("2048"), "{answer}");
    reload(&mut weir, "api: { srs_status: true }\n").await;
    let (status, answer) = call(weir.api(), "GET", "api/v1/streams/none", "").await;
    assert!(status == 200 && answer.contains("2048"), "{answer}");
}

/// Two authorities, `one` and `two`, each with a certificate of its name.
struct Papers(tempfile::TempDir);

impl Papers {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["one", "two"] {
            let authority = Authority::new(name);
            put(dir.path(), &format!("{name}.ca"), &authority.pem());
            authority.certify(dir.path(), name, &["127.0.0.1"]);
        }
        Self(dir)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self, own: &str, more: &str) -> String {
        let [cert, key] = ["pem", "key"].map(|kind| self.at(&format!("{own}.{kind}")));
        format!(
            "api: {{ read_tokens: [r], tls: {{ cert: {}, key: {}{more} }} }}\n",
            cert.display(),
            key.display()
        )
    }

    /// The status of a call by curl, which trusts `server` and shows the certificate of `client`; 000 without any.
    fn status(&self, weir: &Weir, server: &str, client: &str, call: [&str; 2]) -> String {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "10", "--output", "/dev/null"]);
        curl.args(["--write-out", "%{http_code}", "--request", call[0], "--cacert"]);
        curl.arg(self.at(&format!("{server}.ca")));
        if !client.is_empty() {
            curl.arg("--cert").arg(self.at(&format!("{client}.pem")));
            curl.arg("--key").arg(self.at(&format!("{client}.key")));
        }
        let output = curl.arg(format!("https://{}/{}", weir.api(), call[1])).output();
        String::from_utf8_lossy(&output.expect("curl is installed").stdout).into_owned()
    }
}

const PROBE: [&str; 2] = ["GET", "healthz"];

#[tokio::test(flavor = "multi_thread")]
pub async fn certificate_and_key() {
    let papers = Papers::new();
    let mut weir = Weir::builder(BINARY).config(&papers.config("one", "")).start();
    assert_eq!(papers.status(&weir, "one", "", PROBE), "200");
    weir.configure(&papers.config("two", ""));
    weir.hang_up();
    eventually("the other certificate", SOON, async || {
        (papers.status(&weir, "two", "", PROBE) == "200").then_some(())
    })
    .await;
    assert_eq!(papers.status(&weir, "one", "", PROBE), "000");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn authorities() {
    let papers = Papers::new();
    let of = |keys: &str| papers.config("one", keys);
    let mut weir = Weir::builder(BINARY).config(&of("")).start();
    let (read, admin) = (["GET", "api/v1/streams"], ["POST", "api/v1/reload"]);
    assert_eq!(papers.status(&weir, "one", "two", read), "401");
    let ca = papers.at("two.ca").display().to_string();
    for (key, call) in [("read_ca", read), ("admin_ca", admin)] {
        weir.configure(&of(&format!(", {key}: {ca}")));
        weir.hang_up();
        eventually(&format!("{key} lets it"), SOON, async || {
            (papers.status(&weir, "one", "two", call) == "200").then_some(())
        })
        .await;
    }
    weir.configure(&of(""));
    weir.hang_up();
    eventually("nobody is let", SOON, async || {
        (papers.status(&weir, "one", "two", read) == "401").then_some(())
    })
    .await;
}
