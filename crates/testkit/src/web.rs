//! nginx as the server of HLS files, with the configuration that ships and an access log that can be judged.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{nginx, ports::Ports, process::Process};

/// Until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// What is logged of each request, behind which the user agent may have spaces.
const LOG_FORMAT: &str = "log_format judged \
    '$status $body_bytes_sent $request_completion $request_uri $http_user_agent';";

/// A running nginx that serves files. Dropping it ends it.
#[derive(Debug)]
pub struct Web {
    process: Process,
    address: SocketAddr,
    dir: TempDir,
    _ports: Ports,
}

/// A request as the access log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The status code.
    pub status: u16,
    /// Bytes of the body that were sent.
    pub bytes: u64,
    /// Whether all of the response was sent.
    pub is_complete: bool,
    /// The path, with the query if there is one.
    pub path: String,
    /// What the client calls itself.
    pub agent: String,
}

/// What a configuration that was written for a container says, and what is put there instead.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// `listen` of its server.
    pub listen: &'a str,
    /// `root` of its server, and the folder to serve.
    pub root: (&'a str, &'a Path),
    /// The server that it asks for what is not there, and the one of the test.
    pub upstream: (&'a str, SocketAddr),
}

impl Web {
    /// Starts it with `config`, a whole configuration for a container: its places, its folder `/tmp` and its
    /// `access_log off` are replaced, nothing else.
    ///
    /// # Panics
    /// If nginx is not installed or does not listen soon, or if `config` does not have what is to be replaced.
    #[track_caller]
    pub fn start(config: &str, places: Places<'_>) -> Self {
        let (dir, ports) =
            (tempfile::tempdir().expect("a temporary folder can be made"), Ports::free());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.http));
        let file = dir.path().join("nginx.conf");
        fs::write(&file, placed(config, places, address, dir.path()))
            .expect("a temporary folder can be written to");
        let mut command = nginx::command();
        command.arg("-p").arg(dir.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
        // One process, as the user that runs the test: it owns the folder that is served.
        command.args(["-g", "daemon off; master_process off;"]);
        let web =
            Self { process: Process::start("nginx", &mut command), address, dir, _ports: ports };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            let said = web.process.stderr();
            assert!(Instant::now() < deadline, "nginx does not listen on {address}:\n{said}");
            std::thread::sleep(crate::POLL);
        }
        web
    }

    /// Where it serves HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of `path`, such as `live/a.m3u8`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Every request that has been answered, or has been given up by its client.
    ///
    /// # Panics
    /// If the log is not what this module asked for.
    #[track_caller]
    pub fn requests(&self) -> Vec<Request> {
        let text = fs::read_to_string(log_file(self.dir.path())).unwrap_or_default();
        let line = |line: &str| {
            Request::parse(line).unwrap_or_else(|| panic!("no line of our format: {line:?}"))
        };
        text.lines().map(line).collect()
    }
}

impl Request {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(5, ' ');
        Some(Self {
            status: fields.next()?.parse().ok()?,
            bytes: fields.next()?.parse().ok()?,
            is_complete: fields.next()? == "OK",
            path: fields.next()?.to_owned(),
            agent: fields.next()?.to_owned(),
        })
    }
}

fn log_file(dir: &Path) -> PathBuf {
    dir.join("access.log")
}

/// `config` for a server at `address` that writes into `dir`.
#[track_caller]
fn placed(config: &str, places: Places<'_>, address: SocketAddr, dir: &Path) -> String {
    let (root, folder) = places.root;
    let (upstream, server) = places.upstream;
    let log = log_file(dir);
    let replacements = [
        // First: the places of the test are below /tmp too.
        ("/tmp/".to_owned(), format!("{}/", dir.display())),
        (format!("listen {};", places.listen), format!("listen {address};")),
        (format!("root {root};"), format!("root {};", folder.display())),
        (upstream.to_owned(), server.to_string()),
        (
            "access_log off;".to_owned(),
            format!("{LOG_FORMAT}\naccess_log {} judged;", log.display()),
        ),
    ];
    replacements.into_iter().fold(config.to_owned(), |config, (from, to)| {
        assert!(config.contains(&from), "there is no `{from}` to be replaced in\n{config}");
        config.replace(&from, &to)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places<'static> {
        Places {
            listen: "8081",
            root: ("/data/hls", Path::new("/srv")),
            upstream: ("127.0.0.1:8080", SocketAddr::from((Ipv4Addr::LOCALHOST, 7))),
        }
    }

    #[test]
    fn a_line_of_the_log_is_read() {
        let request = Request::parse("200 376 OK /live/a-1.ts Lavf/59 of a test").unwrap();
        assert_eq!((request.status, request.bytes, request.is_complete), (200, 376, true));
        assert_eq!(
            (request.path.as_str(), request.agent.as_str()),
            ("/live/a-1.ts", "Lavf/59 of a test")
        );
        assert!(!Request::parse("200 0  /live/a-1.ts -").unwrap().is_complete, "given up");
    }

    #[test]
    fn the_places_of_a_configuration_are_replaced() {
        let config = "pid /tmp/n.pid; access_log off; listen 8081; root /data/hls; proxy_pass http://127.0.0.1:8080;";
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let placed = placed(config, places(), address, Path::new("/tmp/t"));
        let expected = format!(
            "pid /tmp/t/n.pid; {LOG_FORMAT}\naccess_log /tmp/t/access.log judged; listen 127.0.0.1:9; root /srv; \
             proxy_pass http://127.0.0.1:7;"
        );
        assert_eq!(placed, expected);
    }

    #[test]
    #[should_panic(expected = "there is no `listen 8081;`")]
    fn what_cannot_be_replaced_is_named() {
        placed("pid /tmp/x;", places(), SocketAddr::from((Ipv4Addr::LOCALHOST, 9)), Path::new("/"));
    }
}
