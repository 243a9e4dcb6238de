//! HAProxy, as the load balancer in front of edges.
//!
//! It is set up to hide nothing: it does not try a connection again that a server refuses (the client sees its own
//! connection closed then), it does not try another server, and it ends no connection because a server is not ready any
//! more. Whoever is cut off was cut off by the server.

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

use crate::{Weir, crowd::allow_files, eventually, ports::Ports, process::Process};

/// Debian's place for servers, which is not on everybody's `PATH`.
const PROGRAMS: [&str; 2] = ["/usr/sbin/haproxy", "haproxy"];

/// Until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Of its control socket, in its folder.
const SOCKET: &str = "control.sock";

/// Readiness is asked for twice a second, and a server is out of the list after two answers that are not 200: about a
/// second after it says so, and back in it after one that is.
const CHECK: &str = "inter 500ms fastinter 500ms downinter 500ms fall 2 rise 1";

/// A running HAProxy with a port for RTMP and one for HTTP, which hands connections to its servers in turn, as a
/// Service of Kubernetes does. Dropping it ends it.
#[derive(Debug)]
pub struct Haproxy {
    process: Process,
    ports: Ports,
    dir: TempDir,
}

impl Haproxy {
    /// Starts it in front of `servers`, which are known to it by their place in the list. They have to stay at their
    /// addresses.
    ///
    /// # Panics
    /// If it is not installed, or does not listen soon.
    pub async fn start(servers: &[&Weir]) -> Self {
        let (dir, ports) =
            (tempfile::tempdir().expect("a temporary folder can be made"), Ports::free());
        let config = config(dir.path(), &ports, servers);
        let file = dir.path().join("haproxy.cfg");
        fs::write(&file, config).expect("a temporary folder can be written to");
        let program = PROGRAMS.into_iter().find(|program| Path::new(program).exists());
        let mut command = Command::new(program.unwrap_or("haproxy"));
        command.arg("-db").arg("-f").arg(&file);
        let haproxy = Self { process: Process::start("haproxy", &mut command), ports, dir };
        allow_files(haproxy.process.pid());
        for address in [haproxy.rtmp(), haproxy.http()] {
            let listens = async || TcpStream::connect(address).await.ok();
            eventually(&format!("haproxy listens at {address}"), START_TIMEOUT, listens).await;
        }
        haproxy
    }

    /// Where it takes RTMP.
    pub fn rtmp(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.rtmp).into()
    }

    /// Where it takes HTTP.
    pub fn http(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.http).into()
    }

    /// Waits until it does, or does not, give new connections to server `number`.
    ///
    /// # Panics
    /// If that takes longer than `timeout`.
    pub async fn until(&self, number: usize, up: bool, timeout: Duration) {
        let what = format!("haproxy finds server {number} {}", if up { "up" } else { "down" });
        eventually(&what, timeout, async || {
            self.is_up(number).await.is_some_and(|is| is == up).then_some(())
        })
        .await;
    }

    /// Whether it gives new connections to server `number`; `None` if it does not say.
    async fn is_up(&self, number: usize) -> Option<bool> {
        let socket: PathBuf = self.dir.path().join(SOCKET);
        let mut socket = UnixStream::connect(socket).await.ok()?;
        socket.write_all(b"show stat\n").await.ok()?;
        let mut text = String::new();
        socket.read_to_string(&mut text).await.ok()?;
        status(&text, "rtmp", &name(number)).map(|status| status.starts_with("UP"))
    }
}

fn name(number: usize) -> String {
    format!("server{number}")
}

fn config(dir: &Path, ports: &Ports, servers: &[&Weir]) -> String {
    let socket = dir.join(SOCKET);
    let mut config = format!(
        "global\n  maxconn 4000\n  stats socket {} level admin\n\
         defaults\n  mode tcp\n  balance roundrobin\n  retries 0\n  no option redispatch\n\
         \x20 timeout connect 2s\n  timeout client 1h\n  timeout server 1h\n  timeout check 1s\n",
        socket.display()
    );
    for (side, port) in [("rtmp", ports.rtmp), ("http", ports.http)] {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let _ = write!(config, "listen {side}\n  bind {listen}\n  option httpchk GET /readyz\n");
        for (number, server) in servers.iter().enumerate() {
            let name = name(number);
            let _ = match side {
                "rtmp" => writeln!(
                    config,
                    "  server {name} {} check addr {} port {} {CHECK}",
                    server.rtmp(),
                    server.api().ip(),
                    server.api().port()
                ),
                _ => writeln!(config, "  server {name} {} track rtmp/{name}", server.http()),
            };
        }
    }
    config
}

/// What `show stat` says of a server. It is CSV with the names of the columns at the top.
fn status<'a>(stat: &'a str, proxy: &str, server: &str) -> Option<&'a str> {
    let mut lines = stat.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = lines.next()?;
    let column = names.iter().position(|name| *name == "status")?;
    let row = lines.find(|row| row.starts_with(&[proxy, server]))?;
    row.get(column).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_server_is_found_by_its_column() {
        let stat = "# pxname,svname,qcur,status,weight\nrtmp,FRONTEND,,OPEN,\n\
                    rtmp,server0,0,UP,1\nrtmp,server1,0,DOWN 1/2,1\nhttp,server1,0,UP,1\n";
        assert_eq!(status(stat, "rtmp", "server1"), Some("DOWN 1/2"));
        assert_eq!(status(stat, "http", "server1"), Some("UP"));
        assert_eq!(status(stat, "http", "server2"), None);
    }
}
