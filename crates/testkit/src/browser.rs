//! Headless Chromium, driven through WebDriver.

use std::{fs, process::Command, time::Duration};

use fantoccini::{Client, ClientBuilder, wd::Capabilities};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{http, process::Process};

/// Until chromedriver says its port.
const DRIVER_TIMEOUT: Duration = Duration::from_secs(20);

/// Chromedriver is given a free port of IPv4 and ends if that very port of IPv6 is taken: so often it is started.
const DRIVER_STARTS: usize = 10;

/// How long a killed browser may take to die.
const DEATH_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two looks at a page, or at a dying browser.
const POLL: Duration = Duration::from_millis(100);

/// No display, no sandbox (tests may run as root), no traffic of the browser's own, and videos that start by
/// themselves.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
];

/// What a `<video>` shows: the seconds played, how many different colours a small copy of its picture has, and the
/// bytes of sound that were decoded.
const VIDEO: &str = "
    const video = document.querySelector('video');
    if (!video) return { error: 'the page has no <video>' };
    const [width, height] = [32, 18];
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0, width, height);
    const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
    return {
        seconds: video.currentTime,
        colours: new Set(pixels).size,
        sound: video.webkitAudioDecodedByteCount,
        error: video.error && video.error.message,
    };";

/// A page in a browser of its own, with an empty profile. Dropping it ends the browser.
#[derive(Debug)]
pub struct Page {
    client: Client,
    browser: Browser,
}

/// What a `<video>` element shows at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    /// `currentTime`.
    pub seconds: f64,
    /// Different colours in its picture: one, if it is blank.
    pub colours: u64,
    /// Bytes of its sound that have been decoded.
    pub sound: u64,
    /// What the browser says is wrong with it.
    pub error: Option<String>,
}

impl Page {
    /// Starts a browser and opens `url` in it.
    ///
    /// # Panics
    /// If there is no Chromium or chromedriver, or the page cannot be loaded.
    pub async fn open(url: &str) -> Self {
        Self::open_with(url, &[]).await
    }

    /// The same, with more flags for the browser.
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub async fn open_with(url: &str, flags: &[String]) -> Self {
        Self::start(url, flags, false).await
    }

    /// The same, and each request that the browser makes is noted.
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub async fn open_noting_requests(url: &str) -> Self {
        Self::start(url, &[], true).await
    }

    async fn start(url: &str, flags: &[String], notes_requests: bool) -> Self {
        let browser = Browser::start();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(browser.capabilities(flags, notes_requests));
        let client = builder
            .connect(&browser.url)
            .await
            .unwrap_or_else(|error| panic!("no browser: {error}"));
        let page = Self { client, browser };
        page.goto(url).await;
        page
    }

    /// Opens another `url` in it.
    ///
    /// # Panics
    /// If it cannot be loaded.
    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// From now on the page gets so many bits a second from the network; without a number as many as there are.
    ///
    /// # Panics
    /// If the browser cannot do that.
    pub async fn throttle(&self, bits: Option<u64>) {
        // Bytes a second; -1 is no limit.
        let download = bits.map_or(json!(-1), |bits| json!(bits / 8));
        let conditions = json!({
            "offline": false, "latency": 0, "download_throughput": download, "upload_throughput": -1,
        });
        self.tell("chromium/network_conditions", &json!({ "network_conditions": conditions }))
            .await;
    }

    /// Calls a method of the DevTools protocol, and returns its result.
    ///
    /// # Panics
    /// If the browser refuses.
    pub async fn devtools(&self, method: &str, params: Value) -> Value {
        self.tell("goog/cdp/execute", &json!({ "cmd": method, "params": params })).await
    }

    /// What the browser has complained about since this was asked last: errors of scripts, of loading, and what a
    /// Content-Security-Policy forbids.
    ///
    /// # Panics
    /// If the browser does not say.
    pub async fn complaints(&self) -> Vec<String> {
        let said = self.tell("se/log", &json!({ "type": "browser" })).await;
        let all = said.as_array().cloned().unwrap_or_default();
        let is_bad = |entry: &&Value| entry["level"] == "SEVERE" || entry["level"] == "WARNING";
        all.iter().filter(is_bad).map(|entry| entry["message"].to_string()).collect()
    }

    /// What the browser has asked for since this was asked last, by the URLs: those of documents that have gone too.
    ///
    /// # Panics
    /// If the browser does not say, or was not told to note it.
    pub async fn requests(&self) -> Vec<String> {
        let said = self.tell("se/log", &json!({ "type": "performance" })).await;
        let all = said.as_array().cloned().unwrap_or_default();
        let event = |entry: &Value| serde_json::from_str::<Value>(entry["message"].as_str()?).ok();
        let asked = |event: Value| {
            let (method, params) = (&event["message"]["method"], &event["message"]["params"]);
            let url = match method.as_str()? {
                "Network.requestWillBeSent" => &params["request"]["url"],
                "Network.webSocketCreated" => &params["url"],
                _ => return None,
            };
            url.as_str().map(str::to_owned)
        };
        all.iter().filter_map(event).filter_map(asked).collect()
    }

    /// A command of chromedriver that WebDriver does not have, and its answer.
    async fn tell(&self, command: &str, body: &Value) -> Value {
        let id = self.client.session_id().await.ok().flatten().unwrap_or_default();
        let address = self.browser.url.trim_start_matches("http://");
        let body = body.to_string();
        let request = format!(
            "POST /session/{id}/{command} HTTP/1.1\r\nHost: {address}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let address = address.parse().expect("the address of chromedriver");
        let mut response = http::request(address, request.as_bytes()).await;
        let said = response.text().await;
        assert_eq!(response.status, 200, "{command}: {said}");
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        said["value"].clone()
    }

    /// What the function body `script` returns in the page.
    ///
    /// # Panics
    /// If it throws.
    pub async fn eval(&self, script: &str) -> Value {
        let result = self.client.execute(script, Vec::new()).await;
        result.unwrap_or_else(|error| panic!("the script failed in the page: {error}\n{script}"))
    }

    /// Looks at the first `<video>` of the page.
    ///
    /// # Panics
    /// If there is none.
    pub async fn video(&self) -> Video {
        let value = self.eval(VIDEO).await;
        let error = value["error"].as_str().map(str::to_owned);
        let count = |name: &str| value[name].as_u64();
        let (Some(seconds), Some(colours), Some(sound)) =
            (value["seconds"].as_f64(), count("colours"), count("sound"))
        else {
            panic!("{}", error.unwrap_or_else(|| value.to_string()));
        };
        Video { seconds, colours, sound, error }
    }

    /// Waits until the first `<video>` of the page has gone on for `seconds` and shows a picture with more than one
    /// colour.
    ///
    /// # Panics
    /// If it does not before `timeout`.
    pub async fn wait_playing(&self, seconds: f64, timeout: Duration) -> Video {
        let deadline = Instant::now() + timeout;
        let first = self.video().await;
        loop {
            let video = self.video().await;
            if video.seconds >= first.seconds + seconds && video.colours > 1 {
                return video;
            }
            assert!(
                Instant::now() < deadline,
                "the video does not play within {timeout:?}: {first:?}, then {video:?}"
            );
            sleep(POLL).await;
        }
    }

    /// Ends the browser in good order. Without it, dropping the page ends it too.
    pub async fn close(self) {
        // A browser that is gone already is as good as closed.
        let _ = self.client.close().await;
        drop(self.browser);
    }
}

/// Chromedriver, and the browser that it starts.
#[derive(Debug)]
struct Browser {
    driver: Process,
    url: String,
    profile: TempDir,
}

impl Browser {
    #[track_caller]
    fn start() -> Self {
        let (driver, port) = (0..DRIVER_STARTS)
            .find_map(|_| start_driver())
            .unwrap_or_else(|| panic!("chromedriver finds no free port in {DRIVER_STARTS} starts"));
        let profile = tempfile::tempdir().expect("a temporary folder can be made");
        Self { driver, url: format!("http://127.0.0.1:{port}"), profile }
    }

    fn capabilities(&self, more: &[String], notes_requests: bool) -> Capabilities {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let flags: Vec<_> = FLAGS
            .iter()
            .copied()
            .chain([profile.as_str()])
            .chain(more.iter().map(String::as_str))
            .collect();
        let mut options = json!({ "args": flags });
        let mut logs = json!({ "browser": "ALL" });
        if notes_requests {
            logs["performance"] = json!("ALL");
            options["perfLoggingPrefs"] = json!({ "enableNetwork": true, "enablePage": false });
        }
        Capabilities::from_iter([
            ("goog:chromeOptions".to_owned(), options),
            ("goog:loggingPrefs".to_owned(), logs),
        ])
    }
}

/// Chromedriver's death leaves its browser alive, so that goes first.
impl Drop for Browser {
    fn drop(&mut self) {
        let browsers = descendants(self.driver.pid());
        if !browsers.is_empty() {
            let pids = browsers.iter().map(u32::to_string);
            // It fails for those that have ended since.
            let _ = Command::new("kill").arg("-KILL").args(pids).output();
        }
        // They are not our children, so nobody tells us when they have died.
        let deadline = Instant::now() + DEATH_TIMEOUT;
        while browsers.iter().any(|pid| running(*pid)) && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
    }
}

/// Chromedriver and its port; none if somebody else has that.
#[track_caller]
fn start_driver() -> Option<(Process, u16)> {
    let driver = Process::start("chromedriver", Command::new("chromedriver").arg("--port=0"));
    if let Some(port) = driver.stdout().find(DRIVER_TIMEOUT, driver_port) {
        return Some((driver, port));
    }
    let said = driver.stderr().to_string();
    assert!(said.contains("Address already in use"), "chromedriver says no port:\n{said}");
    None
}

/// `ChromeDriver was started successfully on port 40123.`
fn driver_port(line: &str) -> Option<u16> {
    line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
}

/// The processes that `pid` has started, and that those have.
fn descendants(pid: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let parents: Vec<(u32, u32)> = processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, parent(&stat)?))
        })
        .collect();
    let (mut found, mut next) = (vec![pid], 0);
    while next < found.len() {
        let children = parents.iter().filter(|(_, parent)| *parent == found[next]);
        found.extend(children.map(|(child, _)| *child).collect::<Vec<_>>());
        next += 1;
    }
    found.split_off(1)
}

/// Whether a process is there and has not only to be waited for.
fn running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The parent of a `/proc/PID/stat` line: the second field behind the name, which is in parentheses and may contain any
/// character.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_in_the_line_of_success() {
        assert_eq!(
            driver_port("ChromeDriver was started successfully on port 40123."),
            Some(40123)
        );
        assert_eq!(driver_port("Starting ChromeDriver 156.0 on port 0"), None);
    }

    #[test]
    fn parents_are_read_behind_any_name() {
        assert_eq!(parent("12 (a) b) S 7 12 12 0"), Some(7));
        assert_eq!(parent(""), None);
    }

    #[test]
    fn descendants_are_found_over_generations() {
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'read line; :'; :"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let deadline = std::time::Instant::now() + DRIVER_TIMEOUT;
        while descendants(shell.id()).is_empty() {
            assert!(std::time::Instant::now() < deadline, "the shell starts no shell");
            std::thread::yield_now();
        }
        assert!(descendants(std::process::id()).len() >= 2);
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    #[tokio::test]
    async fn scripts_run_in_the_page_and_the_browser_ends_with_it() {
        let page = Page::open("data:text/html,<title>weir</title>").await;
        assert_eq!(page.eval("return document.title").await, "weir");
        let browsers = descendants(page.browser.driver.pid());
        assert!(!browsers.is_empty(), "chromedriver has started no browser");
        drop(page);
        let alive: Vec<_> = browsers.iter().filter(|pid| running(**pid)).collect();
        assert!(alive.is_empty(), "still running: {alive:?}");
    }
}
