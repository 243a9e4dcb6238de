//! A page of Weir's own in Chromium, and what tests do with it. Every one is judged before its test ends: it complains
//! about nothing that is not expected, breaks no policy, and asks nobody but its server.

use std::{cell::Cell, ops::Deref, thread, time::Duration};

use serde_json::{Value, json};

use crate::{Weir, browser::Page, patience};

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(30);

/// A page of Weir's own. A test that does not end with [`assert_clean`](Self::assert_clean) fails.
#[derive(Debug)]
pub struct OwnPage {
    page: Page,
    origins: Vec<String>,
    is_judged: Cell<bool>,
}

impl Deref for OwnPage {
    type Target = Page;

    fn deref(&self) -> &Page {
        &self.page
    }
}

impl Drop for OwnPage {
    fn drop(&mut self) {
        assert!(
            self.is_judged.get() || thread::panicking(),
            "the test ends without `assert_clean`: nobody knows what the page has complained about"
        );
    }
}

impl OwnPage {
    /// Opens the page at `path` of the API's port.
    pub async fn open(weir: &Weir, path: &str) -> Self {
        Self::open_at(weir, &weir.api_url(path)).await
    }

    /// Opens any page.
    pub async fn open_at(weir: &Weir, url: &str) -> Self {
        let origins =
            [weir.api_url(""), weir.http_url("")].map(|it| it.trim_end_matches('/').to_owned());
        let page = Page::open_noting_requests(url).await;
        Self { page, origins: origins.to_vec(), is_judged: Cell::new(false) }
    }

    /// Waits until the function body `script` returns something that is neither null, false nor empty.
    ///
    /// # Panics
    /// If it does not in time.
    #[track_caller]
    pub fn until<'a>(&'a self, script: &'a str) -> impl Future<Output = Value> + 'a {
        self.until_within(script, SOON)
    }

    /// The same, within `most`.
    ///
    /// # Panics
    /// If it does not in time.
    pub async fn until_within(&self, script: &str, most: Duration) -> Value {
        patience::until(script, most, async |script| self.eval(script).await).await
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
    ///
    /// # Panics
    /// Then.
    pub async fn assert_clean(&self, expected: &[&str]) {
        self.is_judged.set(true);
        let complaints = self.complaints().await;
        let unexpected: Vec<_> =
            complaints.iter().filter(|said| !expected.iter().any(|it| said.contains(it))).collect();
        assert!(unexpected.is_empty(), "{unexpected:#?}");
        let asked = self.requests().await;
        assert!(!asked.is_empty(), "a page that has not even asked for itself");
        for url in asked {
            let is_of = |origin: &String| {
                url.strip_prefix(origin.as_str()).is_some_and(|rest| rest.starts_with('/'))
            };
            // What a page has made itself, and the empty page that a browser starts with, are on no network.
            let is_near =
                ["blob:", "data:", "chrome:"].iter().any(|scheme| url.starts_with(scheme));
            assert!(is_near || self.origins.iter().any(is_of), "{url} is not of this server");
        }
    }
}
