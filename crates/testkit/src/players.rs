//! The players that pages use, in Chromium: of HTTP-FLV and its like, and of HLS.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep},
};

use tokio_rustls::TlsAcceptor;

use crate::{browser::Page, kept, tls::acceptor};

/// Between two looks at a page.
const POLL: Duration = Duration::from_millis(100);

/// What all pages have in common.
const PAGE: &str = include_str!("players/page.js");

/// A player in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebPlayer {
    /// HTTP-FLV.
    MpegtsJs,
    /// HLS, in its low-latency mode.
    HlsJs,
    /// HLS.
    Shaka,
    /// HLS.
    VideoJs,
    /// What Chromium itself can play.
    Native,
    /// An endless MP4 by way of a `MediaSource`; the option `mime` says what is in it.
    Mse,
}

impl WebPlayer {
    /// Those that play HLS.
    pub const HLS: [Self; 4] = [Self::HlsJs, Self::Shaka, Self::VideoJs, Self::Native];

    /// Its name, which is that of its npm package and of its page.
    fn name(self) -> &'static str {
        match self {
            Self::MpegtsJs => "mpegts.js",
            Self::HlsJs => "hls.js",
            Self::Shaka => "shaka-player",
            Self::VideoJs => "video.js",
            Self::Native => "native",
            Self::Mse => "mse",
        }
    }

    /// The file of its package that pages load.
    fn file(self) -> Option<&'static str> {
        match self {
            Self::MpegtsJs => Some("dist/mpegts.js"),
            Self::HlsJs => Some("dist/hls.min.js"),
            Self::Shaka => Some("dist/shaka-player.compiled.js"),
            Self::VideoJs => Some("dist/video.min.js"),
            Self::Native | Self::Mse => None,
        }
    }

    #[track_caller]
    fn script(self) -> String {
        let Some(file) = self.file() else { return String::new() };
        let file = kept().join("tools/players/node_modules").join(self.name()).join(file);
        fs::read_to_string(&file).unwrap_or_else(|error| {
            let (name, file) = (self.name(), file.display());
            panic!("no {name}, install it with `cargo xtask test tools`: {file}: {error}")
        })
    }

    fn from_path(path: &str) -> Option<Self> {
        [Self::MpegtsJs, Self::Mse]
            .into_iter()
            .chain(Self::HLS)
            .find(|player| player.name() == path)
    }
}

/// A page in which a player plays a stream, as somebody else's web server has it, in a browser of its own.
#[derive(Debug)]
pub struct PlayerPage {
    page: Page,
    server: JoinHandle<()>,
    /// Where the page is from.
    origin: String,
}

/// Something that happened to the video.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, since the Unix epoch.
    pub at: Duration,
    /// `playing`, `waiting` (there is nothing to show), `ended`; `size` (the height of the picture has changed) and, in
    /// hls.js, `level` (the number of the variant that is shown).
    pub what: String,
    /// The height, the number, or else the second of the video.
    pub value: f64,
}

/// A request that the page has made, for which the answer is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// All of it.
    pub url: String,
    /// When it was made, since the Unix epoch.
    pub from: Duration,
    /// When the last byte of its answer came.
    pub to: Duration,
    /// The status of the answer, 0 if there was none.
    pub status: u64,
}

/// A picture that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// When, since the Unix epoch.
    pub at: Duration,
    /// The number that is [written](crate::fixture) in it.
    pub number: usize,
}

impl Drop for PlayerPage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl PlayerPage {
    /// Has `player` play `url` in a new browser.
    ///
    /// # Panics
    /// If the player is not installed, and as [`Page::open`].
    pub async fn open(player: WebPlayer, url: &str) -> Self {
        Self::open_with(player, url, &json!({})).await
    }

    /// The same, with options for the player.
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub async fn open_with(player: WebPlayer, url: &str, options: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of the loopback");
        let address = listener.local_addr().expect("its address");
        let server = tokio::spawn(serve(listener, None));
        let origin = format!("http://{address}");
        let page = Page::open(&page_url(&origin, player)).await;
        let player_page = Self { page, server, origin };
        player_page.start(player, url, options).await;
        player_page
    }

    /// The same, in a page that is itself from an HTTPS server, which has the certificate in `page.pem` of `dir`. The
    /// browser trusts whoever has a key whose hash is in `trusted`, in Base64.
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub async fn open_https(player: WebPlayer, url: &str, dir: &Path, trusted: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of the loopback");
        let port = listener.local_addr().expect("its address").port();
        let server = tokio::spawn(serve(listener, Some(acceptor(dir, "page"))));
        let flag = format!("--ignore-certificate-errors-spki-list={}", trusted.join(","));
        let origin = format!("https://localhost:{port}");
        let page = Page::open_with(&page_url(&origin, player), &[flag]).await;
        let player_page = Self { page, server, origin };
        player_page.start(player, url, &json!({})).await;
        player_page
    }

    /// Has another `player` play `url` in the same browser, in a new page.
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub async fn play(&self, player: WebPlayer, url: &str, options: &Value) {
        self.page.goto(&page_url(&self.origin, player)).await;
        self.start(player, url, options).await;
    }

    async fn start(&self, player: WebPlayer, url: &str, options: &Value) {
        // Its absence is told here, and not by the page.
        drop(player.script());
        self.page.eval(&format!("start[{:?}]({}, {options})", player.name(), json!(url))).await;
    }

    /// The page.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// What the player has complained about, each as it says it.
    pub async fn errors(&self) -> Vec<String> {
        let errors = self.list("errors").await.into_iter();
        errors.map(|error| error.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What has happened to the video so far.
    pub async fn events(&self) -> Vec<Event> {
        let events = self.list("events").await.into_iter();
        let event = |event: Value| Event {
            at: millis(&event["at"]),
            what: event["what"].as_str().unwrap_or_default().to_owned(),
            value: event["value"].as_f64().unwrap_or_default(),
        };
        events.map(event).collect()
    }

    /// What the page has asked for so far.
    pub async fn requests(&self) -> Vec<Request> {
        let requests = self.list("requests").await.into_iter();
        let request = |request: Value| Request {
            url: request["url"].as_str().unwrap_or_default().to_owned(),
            from: millis(&request["from"]),
            to: millis(&request["to"]),
            status: request["status"].as_u64().unwrap_or_default(),
        };
        requests.map(request).collect()
    }

    /// The pictures that were shown, ten a second.
    pub async fn shown(&self) -> Vec<Shown> {
        let shown = self.list("shown").await.into_iter();
        let number = |shown: &Value| shown["number"].as_u64().and_then(|it| it.try_into().ok());
        shown
            .map(|shown| Shown {
                at: millis(&shown["at"]),
                number: number(&shown).unwrap_or_default(),
            })
            .collect()
    }

    /// Waits until so many different pictures have been shown in this page.
    ///
    /// # Panics
    /// If they have not before `timeout`.
    pub async fn wait_pictures(&self, count: usize, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        loop {
            let mut shown: Vec<_> = self.shown().await.iter().map(|it| it.number).collect();
            shown.dedup();
            if shown.len() >= count {
                return;
            }
            if Instant::now() > deadline {
                let (errors, events) = (self.errors().await, self.events().await);
                panic!("{count} pictures: not within {timeout:?}: {shown:?} {errors:?} {events:?}");
            }
            sleep(POLL).await;
        }
    }

    /// Waits until a picture of such a height is shown, counted in lines.
    ///
    /// # Panics
    /// If none is before `timeout`.
    pub async fn wait_size(&self, is_it: impl Fn(u64) -> bool, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        loop {
            let height = self.page.eval("return video.videoHeight").await;
            if height.as_u64().is_some_and(&is_it) {
                return;
            }
            if Instant::now() > deadline {
                let (errors, events) = (self.errors().await, self.events().await);
                panic!("{height} lines after {timeout:?}: {errors:?} {events:?}");
            }
            sleep(POLL).await;
        }
    }

    /// How long the page itself has been held up at most: it is not what a server is to blame for.
    pub async fn lag(&self) -> Duration {
        millis(&self.page.eval("return weir.lag").await)
    }

    async fn list(&self, name: &str) -> Vec<Value> {
        match self.page.eval(&format!("return weir[{name:?}]")).await {
            Value::Array(list) => list,
            other => panic!("weir.{name} is {other}"),
        }
    }
}

/// The time of the clock that pages have too.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn millis(value: &Value) -> Duration {
    Duration::try_from_secs_f64(value.as_f64().unwrap_or_default() / 1000.0).unwrap_or_default()
}

fn page_url(origin: &str, player: WebPlayer) -> String {
    format!("{origin}/{}", player.name())
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>) {
    while let Ok((socket, _)) = listener.accept().await {
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None => answer(socket).await,
                // A browser that does not trust us shows that itself.
                Some(tls) => {
                    if let Ok(socket) = tls.accept(socket).await {
                        answer(socket).await;
                    }
                }
            }
        });
    }
}

/// Answers one request: for the page of a player, for its script, or for what browsers ask for by themselves.
async fn answer(socket: impl AsyncRead + AsyncWrite + Unpin) {
    let mut socket = BufReader::new(socket);
    let (mut line, mut rest) = (String::new(), String::new());
    // Who has gone meanwhile wants no page.
    let Ok(1..) = socket.read_line(&mut line).await else { return };
    while socket.read_line(&mut rest).await.is_ok_and(|count| count > 2) {}
    let path = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let (name, is_script) = match path.strip_suffix("/script") {
        Some(name) => (name, true),
        None => (path, false),
    };
    let (status, kind, body) = match WebPlayer::from_path(name) {
        Some(player) if is_script => ("200 OK", "text/javascript", player.script() + PAGE),
        Some(player) => ("200 OK", "text/html", html(player)),
        None => ("404 Not Found", "text/plain", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let _ = socket.write_all((head + &body).as_bytes()).await;
    let _ = socket.shutdown().await;
}

fn html(player: WebPlayer) -> String {
    let name = player.name();
    format!(
        "<!doctype html><title>{name}</title><link rel=icon href=data:,>\
         <video width=320 height=180 crossorigin=anonymous></video>\
         <script src=/{name}/script></script>"
    )
}
