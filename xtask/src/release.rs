//! What a user gets: the size of the release binary, how soon it listens, and what it holds when idle.
//!
//! It is the static program of the image that is looked at: optimizing the whole program at once takes minutes, and the
//! one that needs a C library beside it is the same code without that library.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Result,
    command::{cargo, create_dir, run, target_dir},
    image,
};

const BINARY_BYTES_MAX: u64 = 14_300_000;
const START_MAX: Duration = Duration::from_millis(100);
const IDLE_RSS_BYTES_MAX: u64 = 15_000_000;

/// Starts measured; the middle one counts, so that one interruption by the machine does not.
const STARTS: usize = 5;

/// The listeners that each announce themselves with a line `listening NAME ADDRESS`.
const LISTENERS: usize = 3;

/// Any free ports, and nothing written outside the working folder.
const CONFIG: &str = "\
rtmp: { listen: [\"127.0.0.1:0\"] }
http: { listen: [\"127.0.0.1:0\"] }
api:  { listen: [\"127.0.0.1:0\"] }
";

/// Builds the release binary and holds it against the budgets.
pub fn check() -> Result {
    let binary = image::program()?;
    let bytes = fs::metadata(&binary).map_err(|error| format!("no release binary: {error}"))?.len();
    let work = target_dir().join("release-check");
    create_dir(&work)?;
    fs::write(work.join("weir.yaml"), CONFIG).map_err(|error| format!("cannot write: {error}"))?;
    let mut starts = (0..STARTS).map(|_| start(&binary, &work)).collect::<Result<Vec<_>>>()?;
    starts.sort_by_key(|start| start.took);
    let start = &starts[STARTS / 2];
    let mut failures = Vec::new();
    let mut hold = |what: &str, is: u64, most: u64| {
        println!("{what:<28}{is:>12}   budget {most}");
        if is > most {
            failures.push(format!("{what} is {is}, over the budget of {most}"));
        }
    };
    hold("binary, bytes", bytes, BINARY_BYTES_MAX);
    hold("start to listening, us", micros(start.took), micros(START_MAX));
    hold("idle memory, bytes", start.rss_bytes, IDLE_RSS_BYTES_MAX);
    if let Err(error) = streams_come_and_go(&binary) {
        failures.push(error);
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

/// What a thousand streams leave behind in memory: `crates/server/tests/small.rs`.
fn streams_come_and_go(binary: &Path) -> Result {
    let binary = std::path::absolute(binary).map_err(|error| format!("no such path: {error}"))?;
    run(cargo("test --workspace --test small -- --ignored --nocapture")
        .env("WEIR_RELEASE_BIN", binary))
}

/// One start of the server.
struct Start {
    took: Duration,
    rss_bytes: u64,
}

fn start(binary: &Path, work: &Path) -> Result<Start> {
    let begin = Instant::now();
    let mut server = Command::new(binary)
        .args(["serve", "--config", "weir.yaml"])
        .current_dir(work)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
    let result = measure(&mut server, begin);
    let ended = server.kill().and_then(|()| server.wait());
    ended.map_err(|error| format!("cannot end the server: {error}"))?;
    result
}

fn measure(server: &mut Child, begin: Instant) -> Result<Start> {
    let stdout = server.stdout.take().ok_or("the server has no standard output")?;
    wait_for_listeners(stdout)?;
    let took = begin.elapsed();
    let status = fs::read_to_string(format!("/proc/{}/status", server.id()));
    let status = status.map_err(|error| format!("cannot read the server's memory: {error}"))?;
    let rss_bytes = resident_bytes(&status).ok_or("no VmRSS in the server's status")?;
    Ok(Start { took, rss_bytes })
}

fn wait_for_listeners(stdout: ChildStdout) -> Result {
    let lines = BufReader::new(stdout).lines().map_while(std::io::Result::ok);
    let listening = lines.filter(|line| line.starts_with("listening ")).take(LISTENERS).count();
    if listening == LISTENERS {
        Ok(())
    } else {
        Err(format!("the server ended after {listening} of {LISTENERS} `listening` lines"))
    }
}

/// `VmRSS` of a `/proc/PID/status` file.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let status = "Name:\tweir\nVmPeak:\t  9999 kB\nVmRSS:\t   512 kB\n";
        assert_eq!(resident_bytes(status), Some(512 * 1024));
        assert_eq!(resident_bytes("Name:\tweir\n"), None);
    }
}
