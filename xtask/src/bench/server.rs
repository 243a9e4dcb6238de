//! A server under test: started on its own CPU, ended when dropped.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{programs::Programs, tls};
use crate::{
    Result,
    command::{create_dir, target_dir},
};

/// The CPU of the server, and that of the load.
pub const SERVER_CPU: &str = "0";
/// See [`SERVER_CPU`].
pub const LOAD_CPU: &str = "1";

/// The ports of the benchmark: unlikely to be taken, the same for all so that the runs are alike.
const RTMP_PORT: u16 = 21_935;
const HTTP_PORT: u16 = 21_080;

/// How long a server may take to listen.
const START_MAX: Duration = Duration::from_secs(5);

/// What is started.
pub enum Kind {
    /// Weir, with this `play.flush` and this many shards, on these CPUs.
    Weir { flush: &'static str, shards: usize, cpus: &'static str },
    /// nginx-rtmp with its documented settings.
    Nginx,
    /// A Weir origin, and so many edges in a row before it; the viewers are at the last of them.
    Chain { edges: u16 },
    /// HLS from files: a Weir origin that writes them, and what serves them.
    Hls { from: HlsFrom },
    /// A Weir origin, and who does TLS for it.
    Tls { by: TlsBy, hls: bool },
    /// A server that records all that is published to it.
    Recording { by: RecordBy },
    /// The bare loop, at this bit rate and flush in milliseconds.
    Floor { bit_rate: u64, flush_ms: u64 },
}

impl Kind {
    /// Whether it is Weir that is measured.
    pub fn is_weir(&self) -> bool {
        match self {
            Self::Weir { .. } | Self::Chain { .. } => true,
            Self::Nginx | Self::Floor { .. } => false,
            Self::Hls { from } => *from != HlsFrom::Nginx,
            Self::Tls { by, .. } => *by != TlsBy::Nginx,
            Self::Recording { by } => *by != RecordBy::Nginx,
        }
    }
}

/// Who does TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TlsBy {
    /// Nobody: the ports without it are measured.
    Nobody,
    /// Weir.
    Weir,
    /// nginx: before the ports of Weir, which has none; of HLS, it serves the files.
    Nginx,
}

/// Who records.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RecordBy {
    /// Weir, in this container.
    Weir(&'static str),
    /// nginx-rtmp, in FLV, which is all that it has.
    Nginx,
}

/// What HLS is asked of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum HlsFrom {
    /// The origin itself.
    Origin,
    /// A Weir edge.
    Edge,
    /// nginx, which serves the origin's files.
    Nginx,
}

/// A running server.
pub struct Server {
    /// The one that viewers are at is the last.
    children: Vec<Child>,
    /// How many of them, from the first, are not part of what is measured.
    unmeasured: usize,
    /// Where it is published to; none for the bare loop, which makes its own stream.
    pub publish: Option<String>,
    /// Where RTMP is played from.
    pub play: String,
    /// Where HTTP-FLV is played from.
    pub http: String,
    /// The certificates by which it shows who it is, if it has TLS.
    pub ca: Option<PathBuf>,
}

impl Server {
    /// Starts a server and waits until it listens.
    pub fn start(kind: &Kind, programs: &Programs) -> Result<Self> {
        let dir = target_dir().join("bench");
        create_dir(&dir)?;
        let publish = format!("rtmp://127.0.0.1:{RTMP_PORT}/live");
        let (mut command, publish, port) = match kind {
            Kind::Weir { flush, shards, cpus } => {
                let config = write(dir.join("weir.yaml"), &weir_config(flush, *shards))?;
                let mut command = pinned(cpus, &programs.weir);
                command.args(["serve", "--config"]).arg(config);
                (command, Some(publish), RTMP_PORT)
            }
            Kind::Hls { from } => return Self::hls(*from, &dir, publish, programs),
            Kind::Tls { by, hls } => return Self::tls(*by, *hls, &dir, publish, programs),
            Kind::Recording { by } => return Self::recording(*by, &dir, publish, programs),
            Kind::Chain { edges } => return Self::chain(*edges, &dir, publish, programs),
            Kind::Nginx => {
                let config = write(dir.join("nginx.conf"), &nginx_config())?;
                let nginx = programs.nginx.as_ref().ok_or("nginx-rtmp is not installed")?;
                let mut command = pinned(SERVER_CPU, nginx);
                command
                    .arg("-e")
                    .arg(dir.join("nginx.log"))
                    .arg("-p")
                    .arg(&dir)
                    .arg("-c")
                    .arg(config);
                (command, Some(publish), RTMP_PORT)
            }
            Kind::Floor { bit_rate, flush_ms } => {
                let mut command = pinned(SERVER_CPU, &programs.load);
                command.args(["floor", &format!("127.0.0.1:{HTTP_PORT}")]);
                command.args([
                    "--bit-rate",
                    &bit_rate.to_string(),
                    "--flush-ms",
                    &flush_ms.to_string(),
                ]);
                (command, None, HTTP_PORT)
            }
        };
        let play = format!("rtmp://127.0.0.1:{RTMP_PORT}/live");
        let http = format!("http://127.0.0.1:{HTTP_PORT}/live");
        let mut server =
            Self { children: Vec::new(), unmeasured: 0, publish, play, http, ca: None };
        server.add(&mut command, port)?;
        Ok(server)
    }

    fn chain(edges: u16, dir: &Path, publish: String, programs: &Programs) -> Result<Self> {
        let ports = |place: u16| (RTMP_PORT + place, HTTP_PORT + place);
        let (rtmp, http) = ports(edges);
        let mut server = Self {
            children: Vec::new(),
            unmeasured: 0,
            publish: Some(publish),
            play: format!("rtmp://127.0.0.1:{rtmp}/live"),
            http: format!("http://127.0.0.1:{http}/live"),
            ca: None,
        };
        for place in 0..=edges {
            let (rtmp, http) = ports(place);
            let mut config = node_config((rtmp, http), "video", 1);
            if place > 0 {
                let (origin, http_port) = ports(place - 1);
                config += &format!(
                    "role: edge\n\
                     edge: {{ origins: [\"127.0.0.1:{origin}\"], http_port: {http_port} }}\n"
                );
            }
            let config = write(dir.join(format!("weir-{place}.yaml")), &config)?;
            let mut command = pinned(SERVER_CPU, &programs.weir);
            command.args(["serve", "--config"]).arg(config);
            server.add(&mut command, rtmp)?;
        }
        Ok(server)
    }

    /// An origin that writes files, and before it what is asked for them.
    fn hls(from: HlsFrom, dir: &Path, publish: String, programs: &Programs) -> Result<Self> {
        let files = dir.join("hls");
        // Files of the last case are not this one's.
        let _ = fs::remove_dir_all(&files);
        create_dir(&files)?;
        let ports = |place: u16| (RTMP_PORT + place, HTTP_PORT + place);
        let place = if from == HlsFrom::Origin { 0 } else { 1 };
        let mut server = Self {
            children: Vec::new(),
            unmeasured: usize::from(place),
            publish: Some(publish),
            play: format!("rtmp://127.0.0.1:{RTMP_PORT}/live"),
            http: format!("http://127.0.0.1:{}/live", ports(place).1),
            ca: None,
        };
        let hls = format!("hls: {{ dir: {} }}\n", files.display());
        let config = write(dir.join("weir-0.yaml"), &with_hls(ports(0), &hls))?;
        let mut command = pinned(SERVER_CPU, &programs.weir);
        command.args(["serve", "--config"]).arg(config);
        server.add(&mut command, RTMP_PORT)?;
        let (rtmp, http) = ports(1);
        match from {
            HlsFrom::Origin => {}
            HlsFrom::Edge => {
                let role = format!(
                    "role: edge\n\
                     edge: {{ origins: [\"127.0.0.1:{RTMP_PORT}\"], http_port: {HTTP_PORT} }}\n"
                );
                let config = write(dir.join("weir-1.yaml"), &with_hls((rtmp, http), &role))?;
                let mut command = pinned(SERVER_CPU, &programs.weir);
                command.args(["serve", "--config"]).arg(config);
                server.add(&mut command, rtmp)?;
            }
            HlsFrom::Nginx => {
                let config = write(dir.join("nginx-hls.conf"), &nginx_of_files(&files, http))?;
                let nginx = programs.nginx.as_ref().ok_or("nginx is not installed")?;
                let mut command = pinned(SERVER_CPU, nginx);
                command
                    .arg("-e")
                    .arg(dir.join("nginx.log"))
                    .arg("-p")
                    .arg(dir)
                    .arg("-c")
                    .arg(config);
                server.add(&mut command, http)?;
            }
        }
        Ok(server)
    }

    fn recording(by: RecordBy, dir: &Path, publish: String, programs: &Programs) -> Result<Self> {
        let files = dir.join("recordings");
        // Files of the last case are not this one's, and 300 streams fill a disk.
        let _ = fs::remove_dir_all(&files);
        create_dir(&files)?;
        let mut server = Self {
            children: Vec::new(),
            unmeasured: 0,
            publish: Some(publish),
            play: format!("rtmp://127.0.0.1:{RTMP_PORT}/live"),
            http: format!("http://127.0.0.1:{HTTP_PORT}/live"),
            ca: None,
        };
        let files = files.display();
        let mut command = match by {
            RecordBy::Weir(container) => {
                let record =
                    format!("record: {{ dir: {files}, streams: \"*\", container: {container} }}\n");
                let config = write(dir.join("weir.yaml"), &(weir_config("video", 1) + &record))?;
                let mut command = pinned(SERVER_CPU, &programs.weir);
                command.args(["serve", "--config"]).arg(config);
                command
            }
            RecordBy::Nginx => {
                let record = format!("record all; record_path {files}; record_unique on; ");
                let text = nginx_config().replace("live on; ", &format!("live on; {record}"));
                let config = write(dir.join("nginx.conf"), &text)?;
                let nginx = programs.nginx.as_ref().ok_or("nginx-rtmp is not installed")?;
                let mut command = pinned(SERVER_CPU, nginx);
                command.arg("-e").arg(dir.join("nginx.log")).arg("-p").arg(dir);
                command.arg("-c").arg(config);
                command
            }
        };
        server.add(&mut command, RTMP_PORT)?;
        Ok(server)
    }

    /// An origin, with TLS or behind it; of what nginx serves, the origin is not measured.
    fn tls(by: TlsBy, hls: bool, dir: &Path, publish: String, programs: &Programs) -> Result<Self> {
        let pair = tls::certificate(dir)?;
        let files = dir.join("hls");
        // Files of the last case are not this one's.
        let _ = fs::remove_dir_all(&files);
        create_dir(&files)?;
        let (scheme, rtmp, http) = match by {
            TlsBy::Nobody => ("", RTMP_PORT, HTTP_PORT),
            TlsBy::Weir | TlsBy::Nginx => ("s", tls::RTMPS_PORT, tls::HTTPS_PORT),
        };
        let mut server = Self {
            children: Vec::new(),
            unmeasured: usize::from(hls && by == TlsBy::Nginx),
            publish: Some(publish),
            play: format!("rtmp{scheme}://127.0.0.1:{rtmp}/live"),
            http: format!("http{scheme}://127.0.0.1:{http}/live"),
            ca: (by != TlsBy::Nobody).then(|| pair.certificate.clone()),
        };
        let own = (by == TlsBy::Weir).then_some(&pair);
        let config = tls::weir((RTMP_PORT, HTTP_PORT), own, hls.then_some(&*files));
        let config = write(dir.join("weir.yaml"), &config)?;
        let mut command = pinned(SERVER_CPU, &programs.weir);
        command.args(["serve", "--config"]).arg(config);
        server.add(&mut command, if by == TlsBy::Weir { rtmp } else { RTMP_PORT })?;
        if by == TlsBy::Nginx {
            let text = match hls {
                true => tls::nginx_of_files(&pair, &files),
                false => tls::nginx_before((RTMP_PORT, HTTP_PORT), &pair),
            };
            let config = write(dir.join("nginx-tls.conf"), &text)?;
            let nginx = programs.nginx.as_ref().ok_or("nginx is not installed")?;
            let mut command = pinned(SERVER_CPU, nginx);
            command.arg("-e").arg(dir.join("nginx.log")).arg("-p").arg(dir);
            command.arg("-c").arg(config);
            server.add(&mut command, http)?;
        }
        Ok(server)
    }

    fn add(&mut self, command: &mut Command, port: u16) -> Result {
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.children.push(child.map_err(|error| format!("cannot start {command:?}: {error}"))?);
        self.wait_for(port)
    }

    /// `--watch` for its processes that are measured.
    pub fn watch(&self) -> Vec<String> {
        let pids = self.children.iter().skip(self.unmeasured).map(Child::id);
        pids.flat_map(|pid| ["--watch".to_owned(), pid.to_string()]).collect()
    }

    fn wait_for(&mut self, port: u16) -> Result {
        let start = Instant::now();
        while start.elapsed() < START_MAX {
            let newest = self.children.last_mut().map(Child::try_wait);
            if let Some(Ok(Some(status))) = newest {
                return Err(format!("a server under test ended with {status}"));
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("a server under test does not listen on port {port}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which its measurement has shown.
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A load process; ended when dropped.
pub struct Load(Child);

impl Load {
    /// Starts publishers and waits until all of them publish.
    pub fn publish(programs: &Programs, args: &[&str]) -> Result<Self> {
        let mut command = pinned(LOAD_CPU, &programs.load);
        command
            .arg("publish")
            .args(args)
            .arg("--announce")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("cannot start publishers: {error}"))?;
        let mut load = Self(child);
        let mut line = String::new();
        let out = load.0.stdout.take().ok_or("publishers without an output")?;
        BufReader::new(out).read_line(&mut line).map_err(|error| error.to_string())?;
        if line.trim() == "publishing" {
            Ok(load)
        } else {
            Err("the publishers were not accepted".to_owned())
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `program`, on `cpus`.
pub fn pinned(cpus: &str, program: &PathBuf) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cpus]).arg(program);
    command
}

/// The same for a load whose own work must not delay what another one measures on these CPUs.
pub fn behind(cpus: &str, program: &PathBuf) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "19", "taskset", "-c", cpus]).arg(program);
    command
}

fn write(path: PathBuf, text: &str) -> Result<PathBuf> {
    fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}

fn weir_config(flush: &str, shards: usize) -> String {
    node_config((RTMP_PORT, HTTP_PORT), flush, shards)
}

fn node_config((rtmp, http): (u16, u16), flush: &str, shards: usize) -> String {
    format!(
        "rtmp: {{ listen: [\"127.0.0.1:{rtmp}\"] }}\n\
         http: {{ listen: [\"127.0.0.1:{http}\"] }}\n\
         api: {{ listen: [] }}\n\
         workers: {shards}\n\
         play: {{ flush: {flush} }}\n\
         hls: {{ enabled: false }}\n"
    )
}

/// With room for ten thousand clients of one address.
fn with_hls((rtmp, http): (u16, u16), rest: &str) -> String {
    format!(
        "rtmp: {{ listen: [\"127.0.0.1:{rtmp}\"] }}\n\
         http: {{ listen: [\"127.0.0.1:{http}\"] }}\n\
         api: {{ listen: [] }}\n\
         workers: 1\n\
         play: {{ flush: video }}\n\
         limits: {{ connections: 16000 }}\n\
         {rest}"
    )
}

/// As in the manifests: the files as they are, without a copy.
fn nginx_of_files(files: &Path, port: u16) -> String {
    let files = files.display();
    format!(
        "daemon off;\nmaster_process off;\npid nginx-hls.pid;\n\
         worker_rlimit_nofile 20000;\n\
         events {{ worker_connections 16000; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n\
         types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}\n\
         server {{ listen 127.0.0.1:{port}; root {files}; }} }}\n"
    )
}

fn nginx_config() -> String {
    format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\n\
         daemon off;\nmaster_process off;\npid nginx.pid;\n\
         worker_rlimit_nofile 20000;\n\
         events {{ worker_connections 16000; }}\n\
         rtmp {{ server {{ listen 127.0.0.1:{RTMP_PORT}; application live {{ live on; }} }} }}\n"
    )
}
