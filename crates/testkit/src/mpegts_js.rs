//! mpegts.js, the player of HTTP-FLV that pages use.

use std::fs;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

use crate::{browser::Page, kept};

/// A page with a `<video>` and nothing else, as somebody else's web server has it.
const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n\
    <!doctype html><title>mpegts.js</title><video width=320 height=180></video>";

/// Plays what `weirUrl` names, as the player's own documentation has it for live streams.
const PLAY: &str = "
    window.weirErrors = [];
    const video = document.querySelector('video');
    window.weirPlayer = mpegts.createPlayer({ type: 'flv', isLive: true, url: weirUrl });
    weirPlayer.on(mpegts.Events.ERROR, (...what) => weirErrors.push(what));
    weirPlayer.attachMediaElement(video);
    weirPlayer.load();
    weirPlayer.play().catch((error) => weirErrors.push(String(error)));";

/// A page in which mpegts.js plays an HTTP-FLV stream.
#[derive(Debug)]
pub struct FlvPage {
    page: Page,
    server: JoinHandle<()>,
}

impl Drop for FlvPage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FlvPage {
    /// Has mpegts.js play `url` in a browser of its own.
    ///
    /// # Panics
    /// If mpegts.js is not installed, and as [`Page::open`].
    pub async fn open(url: &str) -> Self {
        let file = kept().join("tools/mpegts.js/node_modules/mpegts.js/dist/mpegts.js");
        let player = fs::read_to_string(&file).unwrap_or_else(|error| {
            panic!(
                "no mpegts.js, install it with `cargo xtask test tools`: {}: {error}",
                file.display()
            )
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of the loopback");
        let address = listener.local_addr().expect("its address");
        let server = tokio::spawn(serve(listener));
        let page = Page::open(&format!("http://{address}/")).await;
        page.eval(&player).await;
        page.eval(&format!("const weirUrl = {};{PLAY}", json!(url))).await;
        Self { page, server }
    }

    /// The page.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// What the player has complained about, each as it says it.
    pub async fn errors(&self) -> Vec<String> {
        let errors =
            self.page.eval("return weirErrors.map((error) => JSON.stringify(error))").await;
        let errors = errors.as_array().into_iter().flatten();
        errors.filter_map(|error| error.as_str().map(str::to_owned)).collect()
    }
}

/// Answers every request with the page.
async fn serve(listener: TcpListener) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let mut request = [0; 4096];
        // Who has gone meanwhile wants no page.
        if socket.read(&mut request).await.is_ok() {
            let _ = socket.write_all(PAGE).await;
            let _ = socket.shutdown().await;
        }
    }
}
