//! The server under test: the `weir` binary in a folder and on ports of its own.

use std::{
    collections::HashSet,
    env,
    ffi::{OsStr, OsString},
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    config_map::ConfigMap,
    http,
    netns::Host,
    ports::Ports,
    process::{Lines, Process},
};

/// Until every listener is bound. The budget of the server is 100 ms; a loaded test machine may take longer.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// For the log of a server that did not start.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running server. Dropping it kills it, and shows its log if the test is failing.
#[derive(Debug)]
pub struct Weir {
    process: Process,
    /// Those before the latest [`restart`](Self::restart), for their logs.
    earlier: Vec<Process>,
    launch: Launch,
    rtmp: SocketAddr,
    http: SocketAddr,
    api: SocketAddr,
    /// Those that its file names; port 0 takes any.
    listeners: [SocketAddr; 3],
    config_map: Option<ConfigMap>,
    dir: TempDir,
}

/// How a server is to be started.
#[derive(Debug)]
pub struct Builder {
    launch: Launch,
    config: String,
    config_map: bool,
    /// Whether the file has exactly that text.
    is_exact: bool,
    /// Whether the environment has the listeners then.
    sets_listeners: bool,
    listeners: [SocketAddr; 3],
}

/// The command line of a server, but for its configuration.
#[derive(Debug)]
struct Launch {
    /// A program that runs the binary in its own place, and its arguments.
    through: Vec<OsString>,
    binary: PathBuf,
    command: &'static str,
    environment: Vec<(OsString, OsString)>,
}

/// How many sessions of one kind there were, as the log says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// So many began.
    pub began: usize,
    /// So many of them have ended.
    pub ended: usize,
}

impl Sessions {
    /// Those that go on.
    pub fn open(self) -> usize {
        self.began - self.ended
    }
}

impl Weir {
    /// A server from `binary`, which a test knows as `env!("CARGO_BIN_EXE_weir")`.
    pub fn builder(binary: impl Into<PathBuf>) -> Builder {
        let launch = Launch {
            through: Vec::new(),
            binary: binary.into(),
            command: "serve",
            environment: Vec::new(),
        };
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Builder {
            launch,
            config: String::new(),
            config_map: false,
            is_exact: false,
            sets_listeners: true,
            listeners: [free; 3],
        }
    }

    /// Where it takes RTMP.
    pub fn rtmp(&self) -> SocketAddr {
        self.rtmp
    }

    /// Where it serves HTTP-FLV, HLS and pages.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it serves its API and metrics.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Where it takes `service`, such as `rtmps` and `https`, which not every server has.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn listens(&self, service: &str) -> SocketAddr {
        let found = self.said().find(START_TIMEOUT, |line| listening(line, service));
        found.unwrap_or_else(|| panic!("the server does not listen for {service}: {}", self.said()))
    }

    /// The RTMP URL of `stream`, such as `live/a`.
    pub fn rtmp_url(&self, stream: &str) -> String {
        format!("rtmp://{}/{stream}", self.rtmp)
    }

    /// The HTTP URL of `path`, such as `live/a.flv`.
    pub fn http_url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.http)
    }

    /// The URL of `path` of the API.
    pub fn api_url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.api)
    }

    /// The folder it runs in, which is empty at the start but for its configuration, and goes with it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its log so far: a JSON object a line.
    pub fn log(&self) -> &Lines {
        self.process.stderr()
    }

    /// What it has printed: where to publish, play and watch, and what it listens on.
    pub fn said(&self) -> &Lines {
        self.process.stdout()
    }

    /// The first line of the log, earlier ones included, for which `matches` holds. Blocks the thread.
    ///
    /// # Panics
    /// If there is none before `timeout`.
    #[track_caller]
    pub fn wait_log(&self, matches: impl Fn(&Value) -> bool, timeout: Duration) -> Value {
        let find = |line: &str| parse(line).filter(|line| matches(line));
        self.log().find(timeout, find).unwrap_or_else(|| {
            panic!("the server logged no such line within {timeout:?}, only:\n{}", self.log())
        })
    }

    /// How the first session ended for which `matches` holds: the line `session ended` of its log, with the fields
    /// `conn`, `peer`, `stream`, `side` and `reason`, which [`field`] reads. Blocks the thread.
    ///
    /// # Panics
    /// If none has before `timeout`.
    #[track_caller]
    pub fn wait_session_end(&self, matches: impl Fn(&Value) -> bool, timeout: Duration) -> Value {
        self.wait_log(|line| field(line, "message") == "session ended" && matches(line), timeout)
    }

    /// How the session of the client at `peer` ended: `side` and `reason` of its line `session ended`. Does not block
    /// the thread.
    ///
    /// # Panics
    /// If it has not before `timeout`.
    pub async fn session_end(&self, peer: SocketAddr, timeout: Duration) -> (String, String) {
        let (log, peer) = (self.log().clone(), peer.to_string());
        let find = move || {
            log.find(timeout, |line| {
                let line = parse(line).filter(|line| field(line, "message") == "session ended")?;
                let text = |name| field(&line, name).as_str().unwrap_or_default().to_owned();
                (text("peer") == peer).then(|| (text("side"), text("reason")))
            })
            .ok_or((log, peer))
        };
        let found =
            tokio::task::spawn_blocking(find).await.expect("looking at lines does not panic");
        found.unwrap_or_else(|(log, peer)| {
            panic!("no session of {peer} ended within {timeout:?}; the log:\n{log}")
        })
    }

    /// The sessions of `role`, `play` or `publish`, of the stream `key`, such as `/live/a`, since the latest start.
    /// Viewers of HLS are none: they have no connection of their own.
    pub fn sessions(&self, role: &str, key: &str) -> Sessions {
        let mut sessions = Sessions::default();
        // Who has waited for a stream in vain ends without having begun.
        let mut began = HashSet::new();
        let lines = self.log().all();
        let lines = lines.iter().filter_map(|line| parse(line));
        let lines = lines.filter(|line| field(line, "protocol") != "hls");
        for line in lines.filter(|l| field(l, "role") == role && field(l, "stream") == key) {
            match field(&line, "message").as_str() {
                Some("session began") => {
                    sessions.began += 1;
                    began.insert(field(&line, "conn").to_string());
                }
                Some("session ended") if began.contains(&field(&line, "conn").to_string()) => {
                    sessions.ended += 1;
                }
                _ => {}
            }
        }
        sessions
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Memory that it holds: its resident set.
    ///
    /// # Panics
    /// If it has ended, or the system has no `/proc`.
    #[track_caller]
    pub fn rss_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        resident_bytes(&status).unwrap_or_else(|| panic!("{path} has no VmRSS:\n{status}"))
    }

    /// Files and sockets that it has open.
    ///
    /// # Panics
    /// If it has ended, or the system has no `/proc`.
    #[track_caller]
    pub fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid());
        fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}")).count()
    }

    /// Asks it to read its configuration again, with SIGHUP.
    #[track_caller]
    pub fn hang_up(&self) {
        self.process.signal("HUP");
    }

    /// Sends it a signal, such as `QUIT`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Asks it to stop, as Kubernetes does, with SIGTERM.
    #[track_caller]
    pub fn terminate(&self) {
        self.process.signal("TERM");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// If it still runs after `timeout`.
    #[track_caller]
    pub fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        self.process.wait(timeout)
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Freezes it, as SIGSTOP does: its sockets stay open, and nobody answers there.
    #[track_caller]
    pub fn freeze(&self) {
        self.process.stop();
    }

    /// Lets it go on after it was [frozen](Self::freeze).
    #[track_caller]
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// Starts it again in the same folder, with the same configuration, after it has ended. It has the same ports if
    /// they were [fixed](Builder::at). The log begins anew.
    ///
    /// # Panics
    /// If it does not listen soon.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process.kill();
        let process = self.launch.start(self.dir.path(), &[]);
        self.earlier.push(std::mem::replace(&mut self.process, process));
        [self.rtmp, self.http, self.api] = listeners(&self.process);
    }

    /// Starts another one in the same folder, with the same configuration, which takes the listeners over from the one
    /// that runs; returns the latter. The log begins anew.
    ///
    /// # Panics
    /// If the new one does not listen soon.
    #[track_caller]
    pub fn replace(&mut self) -> Process {
        let process = self.launch.start(self.dir.path(), &["--replace"]);
        [self.rtmp, self.http, self.api] = listeners(&process);
        std::mem::replace(&mut self.process, process)
    }

    /// Starts another one in the same folder which is to take the listeners over, and does not wait until it has.
    #[track_caller]
    pub fn begin_replacement(&self) -> Process {
        self.launch.start(self.dir.path(), &["--replace"])
    }

    /// Writes another configuration into its file, as a whole, beside the listeners that it has. Where the file comes
    /// from a [ConfigMap](Builder::config_map), that is swapped as the kubelet does. The server is not told.
    ///
    /// # Panics
    /// If the file cannot be written.
    #[track_caller]
    pub fn configure(&mut self, yaml: &str) {
        self.write_config(&with_listeners(yaml, self.listeners));
    }

    /// The same, and has the server put it in force, by the token of an administrator.
    ///
    /// # Panics
    /// If it does not.
    pub async fn reload(&mut self, yaml: &str, token: &str) {
        self.configure(yaml);
        let request = format!(
            "POST /api/v1/reload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        let mut response = http::request(self.api(), request.as_bytes()).await;
        let text = response.text().await;
        assert_eq!(response.status, 200, "{yaml}: {text}");
    }

    /// [`Self::configure`] with exactly this text.
    ///
    /// # Panics
    /// If the file cannot be written.
    #[track_caller]
    pub fn write_config(&mut self, text: &str) {
        if let Some(map) = &mut self.config_map {
            return map.swap(text);
        }
        let (new, path) = (self.dir.path().join("weir.yaml.new"), self.dir.path().join(CONFIG));
        fs::write(&new, text).expect("a temporary folder can be written to");
        fs::rename(&new, &path).expect("a file can be renamed in its folder");
    }
}

/// The configuration file in the folder of a server.
const CONFIG: &str = "weir.yaml";

impl Launch {
    #[track_caller]
    fn start(&self, dir: &Path, more: &[&str]) -> Process {
        let mut words =
            self.through.iter().map(OsString::as_os_str).chain([self.binary.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        // What the developer has set for the tests is no setting of this server.
        let ours = |name: &OsString| name.to_str().is_some_and(|name| name.starts_with("WEIR_"));
        for (name, _) in env::vars_os().filter(|(name, _)| ours(name) && name != "WEIR_LOG") {
            command.env_remove(name);
        }
        command
            // Tests count sessions by their lines, and all of their peers have the same address.
            .env("WEIR_LOG_BURST", "1000000")
            .args(words)
            .args([self.command, "--config", CONFIG])
            .args(more)
            .current_dir(dir)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        Process::start("weir", &mut command)
    }
}

/// Waits until `process` listens, and says where it takes RTMP, HTTP and the API.
#[track_caller]
fn listeners(process: &Process) -> [SocketAddr; 3] {
    ["rtmp", "http", "api"].map(|name| {
        let find = |line: &str| listening(line, name);
        process.stdout().find(START_TIMEOUT, find).unwrap_or_else(|| {
            let (stdout, stderr) = (process.stdout(), process.stderr());
            // It may have said why a moment after it closed its output.
            stderr.find(LAST_WORDS, |_| None::<()>);
            panic!(
                "weir printed no `listening {name} ADDRESS`, only:\n{stdout}and logged:\n{stderr}"
            )
        })
    })
}

impl Builder {
    /// `weir demo`: the server with a stream of its own.
    #[must_use]
    pub fn demo(mut self) -> Self {
        self.launch.command = "demo";
        self
    }

    /// Its configuration file, YAML. Listeners that it does not mention get free ports on the loopback interface.
    #[must_use]
    pub fn config(mut self, yaml: &str) -> Self {
        self.config = yaml.to_owned();
        self
    }

    /// Its configuration file in whatever format, exactly as it is. Listeners that are not set by an environment
    /// variable get free ports on the loopback interface.
    #[must_use]
    pub fn exactly(mut self, text: &str) -> Self {
        self.config = text.to_owned();
        self.is_exact = true;
        self
    }

    /// The same, with the listeners that are in the text.
    #[must_use]
    pub fn exactly_there(mut self, text: &str) -> Self {
        self.sets_listeners = false;
        self.exactly(text)
    }

    /// The configuration file comes from a mounted ConfigMap: it is a link to a file of a folder that is swapped.
    #[must_use]
    pub fn config_map(mut self) -> Self {
        self.config_map = true;
        self
    }

    /// An environment variable for it.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.launch.environment.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Listeners that the configuration does not mention are on these ports of `ip`.
    #[must_use]
    pub fn at(mut self, ip: impl Into<IpAddr>, ports: &Ports) -> Self {
        let ip = ip.into();
        self.listeners = [ports.rtmp, ports.http, ports.api].map(|port| SocketAddr::new(ip, port));
        self
    }

    /// The system allows it so many descriptors. Not together with [`on`](Self::on).
    #[must_use]
    pub fn descriptors(mut self, most: usize) -> Self {
        self.launch.through = vec!["prlimit".into(), format!("--nofile={most}:{most}").into()];
        self
    }

    /// It runs on another host of the test's network, from which the test may read its API.
    #[must_use]
    pub fn on(mut self, host: &Host) -> Self {
        self.launch.through = host.enter();
        self.env("WEIR_API__READ_FROM", format!("[\"{}\"]", host.our_ip()))
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn start(self) -> Weir {
        let dir = tempfile::Builder::new()
            .prefix("weir-")
            .tempdir()
            .expect("a temporary folder can be made");
        let mut launch = self.launch;
        let config = match self.is_exact {
            true => {
                let names = ["WEIR_RTMP__LISTEN", "WEIR_HTTP__LISTEN", "WEIR_API__LISTEN"];
                for (name, address) in names.into_iter().zip(self.listeners) {
                    if self.sets_listeners && !launch.environment.iter().any(|(set, _)| set == name)
                    {
                        launch.environment.push((name.into(), address.to_string().into()));
                    }
                }
                self.config
            }
            false => with_listeners(&self.config, self.listeners),
        };
        let config_map = self.config_map.then(|| ConfigMap::mount(dir.path(), CONFIG, &config));
        if config_map.is_none() {
            fs::write(dir.path().join(CONFIG), config)
                .expect("a temporary folder can be written to");
        }
        let process = launch.start(dir.path(), &[]);
        let [rtmp, http, api] = listeners(&process);
        let (earlier, listeners) = (Vec::new(), self.listeners);
        Weir { process, earlier, launch, rtmp, http, api, listeners, config_map, dir }
    }
}

/// A field of a line of the log, wherever the log format puts it; `Null` if it is not there.
pub fn field<'a>(line: &'a Value, name: &str) -> &'a Value {
    match &line[name] {
        Value::Null => &line["fields"][name],
        value => value,
    }
}

fn parse(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

/// The address of the line `listening NAME ADDRESS`.
fn listening(line: &str, name: &str) -> Option<SocketAddr> {
    line.strip_prefix("listening ")?.strip_prefix(name)?.trim().parse().ok()
}

/// `yaml` with one of `addresses` for each listener that it leaves to the default, which another test may be using.
fn with_listeners(yaml: &str, addresses: [SocketAddr; 3]) -> String {
    let listeners = ["rtmp", "http", "api"].into_iter().zip(addresses);
    listeners.fold(yaml.to_owned(), |mut config, (name, address)| {
        let start = format!("{name}:");
        let listen = format!("listen: [\"{address}\"]");
        let Some(section) = config.lines().find(|line| line.starts_with(&start)) else {
            let line_end = if config.is_empty() || config.ends_with('\n') { "" } else { "\n" };
            config.push_str(&format!("{line_end}{name}: {{ {listen} }}\n"));
            return config;
        };
        // Other keys of the section, on the same line.
        match section.split_once('{') {
            Some((_, keys)) if !keys.contains("listen:") => {
                let whole = format!("{name}: {{ {listen},{keys}");
                config.replacen(section, &whole, 1)
            }
            _ => config,
        }
    })
}

/// `VmRSS` of a `/proc/PID/status` file.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_listening_lines_alone() {
        let address = Some("127.0.0.1:4000".parse().unwrap());
        assert_eq!(listening("listening rtmp 127.0.0.1:4000", "rtmp"), address);
        assert_eq!(listening("listening rtmp 127.0.0.1:4000", "http"), None);
        assert_eq!(listening("publish to rtmp://127.0.0.1:4000/live/a", "rtmp"), None);
    }

    #[test]
    fn listeners_that_are_configured_are_left_alone() {
        let addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); 3];
        let config =
            with_listeners("http:\n  listen: [\"127.0.0.1:80\"]\nhls: { rtmp: 1 }", addresses);
        let lines: Vec<_> = config.lines().collect();
        let free = ["rtmp", "api"].map(|name| format!("{name}: {{ listen: [\"127.0.0.1:0\"] }}"));
        assert_eq!(lines[2..], ["hls: { rtmp: 1 }", &free[0], &free[1]]);
        assert_eq!(with_listeners("", addresses).lines().count(), 3);
        let config = with_listeners("http: { proxy_protocol: true }\n", addresses);
        let first = "http: { listen: [\"127.0.0.1:0\"], proxy_protocol: true }";
        assert_eq!((config.lines().next(), config.lines().count()), (Some(first), 3));
    }

    #[test]
    fn fields_are_found_flat_and_nested() {
        let flat = parse(r#"{"message":"session ended","side":"peer"}"#).unwrap();
        let nested = parse(r#"{"level":"INFO","fields":{"message":"session ended"}}"#).unwrap();
        assert_eq!(field(&flat, "side"), "peer");
        assert_eq!(field(&nested, "message"), "session ended");
        assert_eq!(field(&nested, "side"), &Value::Null);
        assert_eq!(parse("a panic message"), None);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(resident_bytes("Name:\tweir\nVmRSS:\t   512 kB\n"), Some(512 * 1024));
        assert_eq!(resident_bytes("Name:\tweir\n"), None);
    }

    /// A stand-in for the server, as a script. Another program writes it: a file that this process has open for writing
    /// while one of its threads starts a program cannot be run.
    fn script(text: &str) -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weir");
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" >"$2" && chmod +x "$2""#;
        let status = Command::new("sh").args(["-c", write, "sh", text]).arg(&path).status();
        assert!(status.unwrap().success());
        (dir, path)
    }

    #[test]
    fn a_server_is_known_by_its_ports_and_its_log() {
        let (_dir, binary) = script(
            "echo welcome\n\
             for l in 'api 127.0.0.1:3' 'rtmp 127.0.0.1:1' 'http 127.0.0.1:2'; do echo listening $l; done\n\
             echo \"{\\\"message\\\":\\\"session ended\\\",\\\"stream\\\":\\\"$STREAM\\\"}\" >&2\n\
             exec sleep 100",
        );
        let mut weir = Weir::builder(binary).env("STREAM", "live/a").config("role: origin").start();
        assert_eq!([weir.rtmp(), weir.http(), weir.api()].map(|address| address.port()), [1, 2, 3]);
        assert_eq!(weir.rtmp_url("live/a"), "rtmp://127.0.0.1:1/live/a");
        assert!(
            fs::read_to_string(weir.dir().join("weir.yaml")).unwrap().starts_with("role: origin\n")
        );
        let line = weir.wait_session_end(|_| true, START_TIMEOUT);
        assert_eq!(field(&line, "stream"), "live/a");
        assert!(weir.rss_bytes() > 0 && weir.open_files() > 0);
        weir.terminate();
        assert!(!weir.wait_exit(START_TIMEOUT).success());
    }

    #[test]
    fn a_server_that_is_started_again_has_a_new_log() {
        let (_dir, binary) = script(
            "for l in rtmp http api; do echo listening $l 127.0.0.1:1; done\n\
             play='\"role\":\"play\",\"stream\":\"/live/a\"'\n\
             say() { echo \"{\\\"message\\\":\\\"session $1\\\",$play}\" >&2; }\n\
             say began; [ -e again ] || { say began; say ended; }; touch again; echo done >&2\n\
             exec sleep 100",
        );
        let mut weir = Weir::builder(binary).start();
        let (first, done) = (weir.pid(), |line: &str| (line == "done").then_some(()));
        assert!(weir.log().find(START_TIMEOUT, done).is_some());
        assert_eq!(weir.sessions("play", "/live/a"), Sessions { began: 2, ended: 1 });
        assert_eq!(weir.sessions("publish", "/live/a"), Sessions::default());
        weir.freeze();
        weir.thaw();
        weir.restart();
        assert_ne!(weir.pid(), first);
        assert!(weir.log().find(START_TIMEOUT, done).is_some());
        assert_eq!(weir.sessions("play", "/live/a").open(), 1);
    }

    #[test]
    #[should_panic(expected = "port in use")]
    fn a_server_that_does_not_start_shows_its_log() {
        let (_dir, binary) = script("echo port in use >&2; exit 1");
        Weir::builder(binary).start();
    }
}
