//! nginx with its RTMP module, as an origin and as an edge.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{ports::Ports, process::Process};

/// Where Debian's `libnginx-mod-rtmp` puts it.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// Debian's place for servers, which is not on everybody's `PATH`.
const PROGRAMS: [&str; 2] = ["/usr/sbin/nginx", "nginx"];

/// Until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The program.
pub fn command() -> Command {
    let program = PROGRAMS.into_iter().find(|program| Path::new(program).exists());
    Command::new(program.unwrap_or("nginx"))
}

/// A running nginx with the application `live`. Dropping it ends it.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    ports: Ports,
    _dir: TempDir,
}

impl Nginx {
    /// Starts it; `directives` are more for the application `live`, such as `pull rtmp://127.0.0.1:1936/live;`.
    ///
    /// # Panics
    /// If it is not installed, or does not listen soon.
    #[track_caller]
    pub fn start(directives: &str) -> Self {
        assert!(
            Path::new(MODULE).exists(),
            "no {MODULE}: install nginx with its RTMP module with `cargo xtask test tools`"
        );
        let (dir, ports) =
            (tempfile::tempdir().expect("a temporary folder can be made"), Ports::free());
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.rtmp));
        let config = format!(
            "load_module {MODULE};\ndaemon off;\nmaster_process off;\npid nginx.pid;\n\
             error_log stderr notice;\nevents {{ worker_connections 512; }}\n\
             rtmp {{ server {{ listen {listen}; application live {{ live on; {directives} }} }} }}\n"
        );
        fs::write(dir.path().join("nginx.conf"), config)
            .expect("a temporary folder can be written to");
        let mut command = command();
        command.arg("-p").arg(dir.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        let nginx = Self { process: Process::start("nginx", &mut command), ports, _dir: dir };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(nginx.rtmp()).is_err() {
            let said = nginx.process.stderr();
            assert!(Instant::now() < deadline, "nginx does not listen on {listen}:\n{said}");
            thread::sleep(crate::POLL);
        }
        nginx
    }

    /// Where it takes RTMP.
    pub fn rtmp(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.rtmp).into()
    }

    /// The RTMP URL of the stream `name` of the application `live`.
    pub fn rtmp_url(&self, name: &str) -> String {
        format!("rtmp://{}/live/{name}", self.rtmp())
    }
}
