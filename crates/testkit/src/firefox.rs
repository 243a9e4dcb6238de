//! Headless Firefox, driven through WebDriver BiDi, which it speaks by itself: no driver stands between.

mod socket;

use std::{cell::RefCell, fmt::Write as _, fs, process::Command, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use self::socket::Socket;
use crate::{Weir, patience, process::Process};

/// Until it listens: the first start of a profile.
const START_TIMEOUT: Duration = Duration::from_secs(40);

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(40);

/// Nothing of the browser's own is asked for, and videos start by themselves.
const PREFERENCES: &[(&str, &str)] = &[
    ("app.normandy.enabled", "false"),
    ("browser.aboutConfig.showWarning", "false"),
    ("browser.shell.checkDefaultBrowser", "false"),
    ("datareporting.policy.dataSubmissionEnabled", "false"),
    ("extensions.update.enabled", "false"),
    ("media.autoplay.blocking_policy", "0"),
    ("media.autoplay.default", "0"),
    ("network.captive-portal-service.enabled", "false"),
    ("network.connectivity-service.enabled", "false"),
    ("toolkit.telemetry.reportingpolicy.firstRun", "false"),
];

/// What a page is told before any script of its own: to remember what its policy has forbidden.
const WATCH: &str = "() => {
    window.violations = [];
    addEventListener('securitypolicyviolation', (event) =>
        window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
}";

/// A page in a Firefox of its own, with an empty profile. Dropping it ends the browser.
#[derive(Debug)]
pub struct Firefox {
    /// Borrowed for one command at a time: a page has one test.
    socket: RefCell<Socket>,
    context: String,
    origins: Vec<String>,
    /// Ends before its profile goes.
    _process: Process,
    _profile: TempDir,
}

impl Firefox {
    /// Starts it for someone who wants this language (`zh-CN`), and dark pages or light ones, and opens the page at
    /// `path` of the API's port.
    ///
    /// # Panics
    /// If there is no Firefox, or the page cannot be loaded.
    pub async fn open(weir: &Weir, path: &str, language: &str, is_dark: bool) -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder can be made");
        let scheme = if is_dark { "0" } else { "1" };
        let language = format!("{language:?}");
        let mine = [
            ("intl.accept_languages", &*language),
            ("layout.css.prefers-color-scheme.content-override", scheme),
        ];
        let mut preferences = String::new();
        for (name, value) in PREFERENCES.iter().chain(&mine) {
            let _ = writeln!(preferences, "user_pref({name:?}, {value});");
        }
        fs::write(profile.path().join("user.js"), preferences)
            .expect("the folder can be written to");
        let mut command = Command::new("firefox-esr");
        command.args(["--headless", "--no-remote", "--remote-debugging-port=0", "--profile"]);
        // Its caches, and whatever else it keeps of its user, go with the profile.
        command.arg(profile.path()).arg("about:blank").env("HOME", profile.path());
        let process = Process::start("Firefox", &mut command);
        let address = process.stderr().find(START_TIMEOUT, |line| {
            line.split_once("BiDi listening on ws://")?.1.trim().parse().ok()
        });
        let address =
            address.unwrap_or_else(|| panic!("Firefox does not listen:\n{}", process.stderr()));
        let socket = Socket::connect(address, "/session").await;
        let origins =
            [weir.api_url(""), weir.http_url("")].map(|it| it.trim_end_matches('/').to_owned());
        let mut page = Self {
            socket: RefCell::new(socket),
            context: String::new(),
            origins: origins.to_vec(),
            _process: process,
            _profile: profile,
        };
        page.tell("session.new", json!({ "capabilities": {} })).await;
        let events = ["log.entryAdded", "network.beforeRequestSent"];
        page.tell("session.subscribe", json!({ "events": events })).await;
        page.tell("script.addPreloadScript", json!({ "functionDeclaration": WATCH })).await;
        let tree = page.tell("browsingContext.getTree", json!({})).await;
        page.context = tree["contexts"][0]["context"].as_str().expect("a page").to_owned();
        page.goto(&weir.api_url(path)).await;
        page
    }

    /// Opens another `url` in it.
    ///
    /// # Panics
    /// If it cannot be loaded.
    pub async fn goto(&self, url: &str) {
        let page = json!({ "context": self.context, "url": url, "wait": "complete" });
        self.tell("browsingContext.navigate", page).await;
    }

    /// What the function body `script` returns in the page.
    ///
    /// # Panics
    /// If it throws.
    pub async fn eval(&self, script: &str) -> Value {
        let expression = format!("JSON.stringify((() => {{ {script} }})() ?? null)");
        let target = json!({ "context": self.context });
        let call = json!({ "expression": expression, "target": target, "awaitPromise": false });
        let said = self.tell("script.evaluate", call).await;
        let text = said["result"]["value"].as_str();
        let text =
            text.unwrap_or_else(|| panic!("the script failed in the page: {said}\n{script}"));
        serde_json::from_str(text).expect("JSON")
    }

    /// Waits until the function body `script` returns something that is neither null, false nor empty.
    ///
    /// # Panics
    /// If it does not in time.
    pub async fn until(&self, script: &str) -> Value {
        patience::until(script, SOON, async |script| self.eval(script).await).await
    }

    /// Fails if the page has complained, but for `expected`, or has asked anybody but the server.
    ///
    /// # Panics
    /// Then.
    pub async fn assert_clean(&self, expected: &[&str]) {
        let violations = self.eval("return window.violations").await;
        assert_eq!(violations, json!([]), "what the policy has forbidden");
        let events = std::mem::take(&mut self.socket.borrow_mut().events);
        let mut has_asked = false;
        for event in events {
            let params = &event["params"];
            if event["method"] == "log.entryAdded" {
                let (level, text) = (&params["level"], params["text"].to_string());
                let is_bad = level == "error" || level == "warn";
                assert!(!is_bad || expected.iter().any(|it| text.contains(it)), "{level}: {text}");
                continue;
            }
            let url = params["request"]["url"].as_str().unwrap_or_default();
            has_asked = true;
            let is_made = ["blob:", "data:", "about:"].iter().any(|scheme| url.starts_with(scheme));
            let is_of = |origin: &String| {
                url.strip_prefix(origin.as_str()).is_some_and(|rest| rest.starts_with('/'))
            };
            assert!(is_made || self.origins.iter().any(is_of), "{url} is not of this server");
        }
        assert!(has_asked, "a page that has not even asked for itself");
    }

    /// A command of WebDriver BiDi, and its result.
    #[expect(clippy::await_holding_refcell_ref, reason = "a page has one test, which waits for it")]
    async fn tell(&self, method: &str, params: Value) -> Value {
        self.socket.borrow_mut().call(method, params).await
    }
}
