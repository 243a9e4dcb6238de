//! TLS of the ports for encoders and viewers: what changes for those who come next, while others stay.

use std::{fs, process::Command};

use tempfile::TempDir;
use weir_testkit::{
    Weir,
    certificates::Authority,
    peer::{Numbered, Publisher, Viewer},
    tls::Tunnel,
};

use crate::{reload, server, try_reload};

/// A server with TLS, and a viewer on each of its ports who must not notice anything.
struct Rig {
    dir: TempDir,
    weir: Weir,
    publisher: Publisher,
    viewers: [Viewer; 2],
    _tunnels: [Tunnel; 2],
}

impl Rig {
    async fn start() -> Self {
        let (dir, authority) = (tempfile::tempdir().expect("a folder"), Authority::new("a"));
        authority.certify(dir.path(), "server", &["localhost", "server.example"]);
        authority.certify(dir.path(), "other", &["localhost", "other.example"]);
        let ca = dir.path().join("ca.pem");
        fs::write(&ca, authority.pem()).expect("written");
        let weir = server().config(&Yaml::new(&dir).text()).start();
        let https = Tunnel::open(weir.listens("https"), &ca).await;
        let rtmps = Tunnel::open(weir.listens("rtmps"), &ca).await;
        let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(5)).await;
        publisher.pictures(6).await;
        let viewers = [
            Viewer::rtmp(&rtmps.rtmp_url("live/a")).await,
            Viewer::http_flv(https.address(), "live/a.flv").await,
        ];
        Self { dir, weir, publisher, viewers, _tunnels: [rtmps, https] }
    }

    fn yaml(&self) -> Yaml<'_> {
        Yaml::new(&self.dir)
    }

    /// What OpenSSL says of a handshake on each port.
    fn handshakes(&self, options: &[&str]) -> [String; 2] {
        ["rtmps", "https"].map(|service| {
            let mut openssl = Command::new("openssl");
            openssl.args(["s_client", "-connect", &self.weir.listens(service).to_string()]);
            openssl.arg("-CAfile").arg(self.dir.path().join("ca.pem")).args(options);
            // Its input ends at once.
            let output = openssl.stdin(std::process::Stdio::null()).output().expect("openssl runs");
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    }

    /// Requires that nobody has noticed anything.
    async fn finish(mut self) {
        let last = self.publisher.pictures(10).await;
        for viewer in &mut self.viewers {
            viewer.until_picture(last).await;
        }
    }
}

/// A configuration with TLS.
struct Yaml<'a> {
    dir: &'a TempDir,
    port: &'static str,
    certificate: &'static str,
    more: &'static str,
    http: &'static str,
}

impl<'a> Yaml<'a> {
    fn new(dir: &'a TempDir) -> Self {
        Self { dir, port: "0", certificate: "server", more: "", http: "" }
    }

    fn text(&self) -> String {
        let Self { port, certificate, more, http, .. } = self;
        let dir = self.dir.path().display();
        let section = |name: &str, more: &str| {
            let files =
                format!("{{ cert: {dir}/{certificate}.pem, key: {dir}/{certificate}.key }}");
            let tls = format!("listen: \"127.0.0.1:{port}\", certificates: [{files}]{more}");
            format!("{name}: {{ listen: \"127.0.0.1:0\", tls: {{ {tls} }} }}\n")
        };
        section("rtmp", more) + &section("http", &format!("{more}{http}"))
    }
}

const IS_WELL: &str = "Verify return code: 0 (ok)";

#[tokio::test(flavor = "multi_thread")]
pub async fn listen() {
    let mut rig = Rig::start().await;
    let text =
        Yaml { port: "1", ..rig.yaml() }.text().replacen("127.0.0.1:1\"", "127.0.0.1:2\"", 1);
    let (status, answer) = try_reload(&mut rig.weir, &text).await;
    let names = answer.contains("rtmp.tls.listen") && answer.contains("http.tls.listen");
    assert!(status == 409 && names, "{status} {answer}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn certificates() {
    let mut rig = Rig::start().await;
    let shows = |rig: &Rig, name: &str| {
        let options = ["-verify_hostname", name];
        rig.handshakes(&options).iter().all(|text| text.contains(IS_WELL))
    };
    assert!(shows(&rig, "server.example") && !shows(&rig, "other.example"));
    let text = Yaml { certificate: "other", ..rig.yaml() }.text();
    reload(&mut rig.weir, &text).await;
    assert!(shows(&rig, "other.example") && !shows(&rig, "server.example"));
    // What cannot be read is not put in force.
    let text = Yaml { certificate: "none", ..rig.yaml() }.text();
    let (status, answer) = try_reload(&mut rig.weir, &text).await;
    assert!(status == 422 && answer.contains("rtmp.tls.certificates[0].cert"), "{status} {answer}");
    assert!(shows(&rig, "other.example"));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn client_ca() {
    let mut rig = Rig::start().await;
    let asks = |rig: &Rig| {
        rig.handshakes(&["-tls1_2"]).map(|text| text.contains("Acceptable client certificate CA"))
    };
    assert_eq!(asks(&rig), [false, false]);
    let ca = format!(", client_ca: {}/ca.pem", rig.dir.path().display());
    let text = Yaml { more: ca.leak(), ..rig.yaml() }.text();
    reload(&mut rig.weir, &text).await;
    assert_eq!(asks(&rig), [true, true]);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn min_version() {
    let mut rig = Rig::start().await;
    let knows = |rig: &Rig| rig.handshakes(&["-tls1_2"]).map(|text| text.contains(IS_WELL));
    assert_eq!(knows(&rig), [true, true]);
    let text = Yaml { more: ", min_version: 1.3", ..rig.yaml() }.text();
    reload(&mut rig.weir, &text).await;
    let said = rig.handshakes(&["-tls1_2"]);
    assert!(said.iter().all(|text| text.contains("Cipher is (NONE)")), "{said:?}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn http2() {
    let mut rig = Rig::start().await;
    let speaks = |rig: &Rig| {
        rig.handshakes(&["-alpn", "h2,http/1.1"]).map(|text| text.contains("ALPN protocol: h2"))
    };
    assert_eq!(speaks(&rig), [false, true]);
    let text = Yaml { http: ", http2: off", ..rig.yaml() }.text();
    reload(&mut rig.weir, &text).await;
    assert_eq!(speaks(&rig), [false, false]);
    rig.finish().await;
}
