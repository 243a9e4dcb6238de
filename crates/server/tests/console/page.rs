//! A page of the console in a browser, and what tests do with it.

use std::{ops::Deref, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weir_testkit::{Weir, browser::Page};

use crate::SOON;

/// Between two looks at a page.
const POLL: Duration = Duration::from_millis(50);

/// A page that has complained about nothing so far.
pub struct Console {
    page: Page,
    origins: Vec<String>,
}

impl Deref for Console {
    type Target = Page;

    fn deref(&self) -> &Page {
        &self.page
    }
}

impl Console {
    /// Opens the page at `path` of the API's port.
    pub async fn open(weir: &Weir, path: &str) -> Self {
        Self::open_at(weir, &weir.api_url(path)).await
    }

    /// Opens any page.
    pub async fn open_at(weir: &Weir, url: &str) -> Self {
        let origins =
            [weir.api_url(""), weir.http_url("")].map(|it| it.trim_end_matches('/').to_owned());
        Self { page: Page::open(url).await, origins: origins.to_vec() }
    }

    /// Waits until the function body `script` returns something that is neither null, false nor empty.
    #[track_caller]
    pub fn until<'a>(&'a self, script: &'a str) -> impl Future<Output = Value> + 'a {
        self.until_within(script, SOON)
    }

    /// The same, within `most`.
    pub async fn until_within(&self, script: &str, most: Duration) -> Value {
        let deadline = Instant::now() + most;
        loop {
            let value = self.eval(script).await;
            if !matches!(&value, Value::Null | Value::Bool(false)) && value != "" && value != 0 {
                return value;
            }
            if Instant::now() >= deadline {
                let text = self.eval("return document.body.innerText").await;
                panic!("not within {most:?}: {script}\nthe page says: {text}");
            }
            sleep(POLL).await;
        }
    }

    /// Waits until an element matches.
    pub async fn until_there(&self, selector: &str) {
        self.until(&format!("return Boolean(document.querySelector({}))", json!(selector))).await;
    }

    /// Clicks the first element that matches, once it is there.
    pub async fn click(&self, selector: &str) {
        self.until_there(selector).await;
        self.eval(&format!("document.querySelector({}).click()", json!(selector))).await;
    }

    /// Enters a token into the question for it.
    pub async fn enter_token(&self, token: &str) {
        self.until_there("dialog[open] #token").await;
        let script = format!(
            "document.querySelector('#token').value = {}; document.querySelector('dialog form').requestSubmit()",
            json!(token)
        );
        self.eval(&script).await;
    }

    /// The text of the page.
    pub async fn text(&self) -> String {
        self.eval("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// The page shows as on a screen of this size.
    pub async fn size(&self, width: u32, height: u32, is_phone: bool) {
        let params =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.devtools("Emulation.setDeviceMetricsOverride", params).await;
    }

    /// The system is dark, or light.
    pub async fn dark(&self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": value }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Fails if the page has complained, but for `expected`, or has asked anybody but this server.
    pub async fn assert_clean(&self, expected: &[&str]) {
        let complaints = self.complaints().await;
        let unexpected: Vec<_> =
            complaints.iter().filter(|said| !expected.iter().any(|it| said.contains(it))).collect();
        assert!(unexpected.is_empty(), "{unexpected:#?}");
        let asked = self
            .eval("return performance.getEntriesByType('resource').map((entry) => entry.name)")
            .await;
        for url in asked.as_array().into_iter().flatten().filter_map(Value::as_str) {
            let is_own = url.starts_with("blob:")
                || self.origins.iter().any(|origin| url.starts_with(origin));
            assert!(is_own, "{url} is not of this server");
        }
    }
}
