//! Step `api`: schemathesis asks a running origin and a running edge, with a publisher and viewers on them, whatever
//! the OpenAPI document allows and much that it does not, and compares every answer with the document.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result,
    command::{build_weir, create_dir, output, root, run, target_dir},
};

/// The client that asks.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Requests of the random phase to each call: a minute for all of them, nearly all of it to think them up.
const EXAMPLES: &str = "20";

/// The same of one who shows no token, and is refused before anything else is looked at.
const REFUSED_EXAMPLES: &str = "2";

/// Until a server listens, and until what was begun is seen in its answers.
const SOON: Duration = Duration::from_secs(20);

const ADMIN: &str = "admin-of-the-check";

/// What does not stay as it was when it is called, which a random client must not do to the server that it asks.
const ENDING: &str = "/api/v1/drain";

/// Runs the step.
pub fn check() -> Result {
    let program = install()?;
    build_weir()?;
    let dir = target_dir().join("api");
    let origin = Server::start(&dir.join("origin"), "demo", "role: origin\n")?;
    let config = format!("role: edge\nedge: {{ origins: [\"{}\"] }}\n", origin.address("rtmp"));
    let edge = Server::start(&dir.join("edge"), "serve", &config)?;
    let mut viewers = Vec::new();
    for server in [&origin, &edge] {
        viewers.push(server.view()?);
        server.until_seen("\"active\":true")?;
    }
    // Both at once: it is the client that takes the time.
    let program = &program;
    thread::scope(|scope| {
        let asked = [&origin, &edge].map(|server| scope.spawn(move || server.ask_all(program)));
        asked.into_iter().try_for_each(|asked| asked.join().map_err(|_| "a client panicked")?)
    })?;
    drop(viewers);
    edge.drain()?;
    origin.drain()
}

/// The program, installed from PyPI into a folder of its own if it is not there yet.
pub fn install() -> Result<PathBuf> {
    let dir = root().join("target/tools/schemathesis");
    let program = dir.join("bin/schemathesis");
    let version = output(Command::new(&program).arg("--version")).unwrap_or_default();
    let (_, wanted) = SCHEMATHESIS.split_once("==").unwrap_or_default();
    if version.split_whitespace().any(|word| word.trim_matches(',') == wanted) {
        return Ok(program);
    }
    create_dir(&dir)?;
    run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    let mut pip = Command::new(dir.join("bin/pip"));
    run(pip.args(["install", "--quiet", SCHEMATHESIS])).map_err(|error| {
        format!("{error}\n{SCHEMATHESIS} from PyPI is needed in {}", dir.display())
    })?;
    Ok(program)
}

/// A running server, ended when it is dropped.
struct Server {
    process: Process,
    dir: PathBuf,
    addresses: Vec<(String, SocketAddr)>,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(dir: &Path, command: &str, config: &str) -> Result<Self> {
        create_dir(dir)?;
        let listen = "[\"127.0.0.1:0\"]";
        let config = format!(
            "{config}rtmp: {{ listen: {listen} }}\nhttp: {{ listen: {listen} }}\n\
             api: {{ listen: {listen}, admin_tokens: {ADMIN}, read_tokens: reader-of-the-check }}\n\
             drain: {{ notice: 0s, timeout: 5s }}\n"
        );
        let io = |error: std::io::Error| format!("{}: {error}", dir.display());
        fs::write(dir.join("weir.yaml"), config).map_err(io)?;
        let log = fs::File::create(dir.join("log.json")).map_err(io)?;
        let child = Command::new(target_dir().join("debug/weir"))
            .args([command, "--config", "weir.yaml"])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(io)?;
        let mut process = Process(child);
        let stdout = process.0.stdout.take().ok_or("the server has no output")?;
        let addresses = listeners(stdout).ok_or_else(|| {
            format!("the server does not listen: see {}", dir.join("log.json").display())
        })?;
        Ok(Self { process, dir: dir.to_owned(), addresses })
    }

    fn address(&self, service: &str) -> SocketAddr {
        let listener = self.addresses.iter().find(|(name, _)| name == service);
        listener.map_or(SocketAddr::from(([127, 0, 0, 1], 0)), |(_, address)| *address)
    }

    /// Somebody who watches the demo's stream.
    fn view(&self) -> Result<Process> {
        let url = format!("http://{}/live/demo.flv", self.address("http"));
        let curl = Command::new("curl").args(["--silent", "--output", "/dev/null", &url]).spawn();
        curl.map(Process).map_err(|error| format!("curl: {error}"))
    }

    fn get(&self, path: &str, method: &str) -> Option<String> {
        let url = format!("http://{}/api/v1/{path}", self.address("api"));
        let header = format!("Authorization: Bearer {ADMIN}");
        output(Command::new("curl").args([
            "--silent",
            "--fail",
            "--request",
            method,
            "--header",
            &header,
            &url,
        ]))
    }

    /// Waits until the list of streams has `text`: it lives, and has what it is to describe.
    fn until_seen(&self, text: &str) -> Result {
        let start = Instant::now();
        while start.elapsed() < SOON {
            if self.get("streams", "GET").is_some_and(|streams| streams.contains(text)) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Err(format!(
            "after {SOON:?} {text} is not among the streams: {:?}",
            self.get("streams", "GET")
        ))
    }

    /// Everything that may be asked.
    fn ask_all(&self, program: &Path) -> Result {
        let all = ["--exclude-path", ENDING, "--exclude-method", "DELETE"];
        self.ask(program, true, &all, &[])?;
        // Random names are nobody's. Without the phase that takes names from answers, nobody is ended.
        let ending = ["--include-method", "DELETE", "--phases", "coverage,fuzzing"];
        self.ask(program, true, &ending, &[])?;
        // Everything is refused, in the way that the document says.
        let refused = ["positive_data_acceptance", "negative_data_rejection"];
        self.ask(program, false, &[], &refused)?;
        self.until_seen("\"active\":true")
    }

    fn ask(&self, program: &Path, with_token: bool, which: &[&str], no_checks: &[&str]) -> Result {
        let mut command = Command::new(program);
        command
            .arg("run")
            .arg(root().join("docs/api/openapi.json"))
            .args(["--checks", "all", "--max-examples"])
            .arg(if with_token { EXAMPLES } else { REFUSED_EXAMPLES })
            // What fails today fails tomorrow.
            .args(["--seed", "1", "--warnings", "off", "--url"])
            .arg(format!("http://{}", self.address("api")))
            .args(which)
            // It keeps notes where it runs.
            .current_dir(&self.dir)
            .env("NO_COLOR", "1");
        if with_token {
            command.args(["--header", &format!("Authorization: Bearer {ADMIN}")]);
        }
        if !no_checks.is_empty() {
            command.args(["--exclude-checks", &no_checks.join(",")]);
        }
        // What it says is shown as a whole: another one runs beside it.
        let said = command.stdin(Stdio::null()).output();
        let said = said.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let text = [said.stdout, said.stderr].concat();
        println!("{} is asked:\n{}", self.dir.display(), String::from_utf8_lossy(&text));
        if said.status.success() { Ok(()) } else { Err(format!("{program:?}: {}", said.status)) }
    }

    /// The call that no random client may make.
    fn drain(mut self) -> Result {
        self.get("drain", "POST").ok_or("POST /api/v1/drain is refused")?;
        let start = Instant::now();
        while start.elapsed() < SOON {
            if let Ok(Some(status)) = self.process.0.try_wait() {
                return if status.success() {
                    Ok(())
                } else {
                    Err(format!("after drain: {status}"))
                };
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(format!("the server still runs {SOON:?} after it was asked to drain"))
    }
}

/// What the server says that it listens on, once it has said so of all its services.
fn listeners(stdout: std::process::ChildStdout) -> Option<Vec<(String, SocketAddr)>> {
    let (found, wait) = mpsc::channel();
    // It reads on to the end, so that the server is never held up.
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
            if let Some(listener) = listener(&line) {
                let _ = found.send(listener);
            }
        }
    });
    let mut listeners = Vec::new();
    while listeners.len() < 3 {
        listeners.push(wait.recv_timeout(SOON).ok()?);
    }
    let is_there = |(_, address): &(String, SocketAddr)| TcpStream::connect(address).is_ok();
    listeners.iter().all(is_there).then_some(listeners)
}

fn listener(line: &str) -> Option<(String, SocketAddr)> {
    let (service, address) = line.strip_prefix("listening ")?.split_once(' ')?;
    Some((service.to_owned(), address.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_from_what_the_server_says() {
        let address = SocketAddr::from(([127, 0, 0, 1], 5));
        assert_eq!(listener("listening api 127.0.0.1:5"), Some(("api".to_owned(), address)));
        assert_eq!(listener("  play rtmp://127.0.0.1:5"), None);
    }
}
