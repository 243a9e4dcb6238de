//! RTMP and HTTP over TLS: what clients of all kinds get, and what others cannot do to them.

mod browser;
mod clients;
mod hostile;
mod http2;
mod media;
mod renewal;

use std::{net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use tempfile::TempDir;
use weir_testkit::{Weir, certificates::Authority, http, tls::Tunnel};

/// For the slowest machine.
const SOON: Duration = Duration::from_secs(20);

/// What the certificates here are for, unless a test says otherwise.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// A server with RTMPS and HTTPS, and the folder with its certificates.
struct Rig {
    dir: TempDir,
    authority: Authority,
    weir: Weir,
}

impl Rig {
    /// One with a certificate for [`NAMES`].
    fn start(config: &str) -> Self {
        Self::start_with(config, "")
    }

    /// The same, with `more` keys in both `tls`.
    fn start_with(config: &str, more: &str) -> Self {
        let rig = Files::new();
        rig.authority.certify(rig.dir.path(), "server", &NAMES);
        let tls = rig.tls(&["server"], more);
        rig.serve(config, &tls)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The file with the authority that has signed the server's certificate.
    fn ca(&self) -> PathBuf {
        self.at("ca.pem")
    }

    fn rtmps(&self) -> SocketAddr {
        self.weir.listens("rtmps")
    }

    fn https(&self) -> SocketAddr {
        self.weir.listens("https")
    }

    fn rtmps_url(&self, stream: &str) -> String {
        format!("rtmps://localhost:{}/{stream}", self.rtmps().port())
    }

    fn https_url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.https().port())
    }

    /// Ways through TLS to RTMP and HTTP.
    async fn tunnels(&self) -> (Tunnel, Tunnel) {
        (Tunnel::open(self.rtmps(), &self.ca()).await, Tunnel::open(self.https(), &self.ca()).await)
    }

    /// curl, told whom to trust.
    fn curl(&self, words: &[&str]) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]).arg(self.ca());
        curl.args(words);
        curl
    }
}

/// A folder with an authority, before there is a server.
struct Files {
    dir: TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let authority = Authority::new("the authority of this test");
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).expect("written");
        Self { dir, authority }
    }

    /// The keys of a `tls` with these certificates.
    fn tls(&self, certificates: &[&str], more: &str) -> String {
        let at = |file: String| self.dir.path().join(file).display().to_string();
        let files = certificates.iter().map(|name| {
            let (cert, key) = (at(format!("{name}.pem")), at(format!("{name}.key")));
            format!("{{ cert: {cert}, key: {key} }}")
        });
        let files: Vec<_> = files.collect();
        let comma = if more.is_empty() { "" } else { ", " };
        format!("{{ listen: \"127.0.0.1:0\", certificates: [{}]{comma}{more} }}", files.join(", "))
    }

    fn serve(self, config: &str, tls: &str) -> Rig {
        let weir = Weir::builder(env!("CARGO_BIN_EXE_weir"))
            .config(config)
            .env("WEIR_RTMP__TLS", tls)
            .env("WEIR_HTTP__TLS", tls)
            .env("WEIR_API__ADMIN_TOKENS", "admin")
            .start();
        Rig { dir: self.dir, authority: self.authority, weir }
    }
}

/// What a program says, on both outputs; it must end well if `is_good`.
#[track_caller]
fn said(command: &mut Command, is_good: bool) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), is_good, "{command:?} said:\n{text}");
    text.into_owned()
}

/// The number of a series of `/metrics`; 0 if there is none.
async fn metric(weir: &Weir, series: &str) -> f64 {
    let page = http::get(weir.api(), "metrics").await.text().await;
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}
