//! Where the tags of a pull come from.

use std::{future::Future, io, sync::atomic::AtomicBool, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;
use weir_config::{PullFrom, PullPlace, PullProtocol, PullServer};
use weir_flv::Tag;
use weir_intake::Allowance;
use weir_media::StreamKey;
use weir_rtmp::url::{RtmpUrl, written};
use weir_tls::{Stream, client::Spoken};
use weir_upstream::{
    Asking, Call, Failure, HttpCall, HttpServer, PeerTls, Redirect, Secure, connect_to_name,
};

use crate::{
    entry::{Entry, path_of},
    known::Why,
    looped::Looped,
};

/// How long another server may take to be connected to, and may be silent: as long as publishers may
/// (`publish.idle_timeout`, by default).
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// What a path component is written with as it is; all else is percent-encoded.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The app of a stream has its slashes.
const APP: &AsciiSet = &COMPONENT.remove(b'/');

/// A stream on its way.
pub enum Source {
    /// From another server.
    Server(Box<weir_upstream::Source>),
    /// From a file.
    File(Box<Looped>),
}

/// No more comes.
pub struct Gone {
    /// A sentence.
    pub why: String,
}

impl Source {
    /// Asks for the stream `key` where `entry` says, and resolves once it flows. Dropping the future gives it up.
    ///
    /// # Errors
    /// When it does not, with the reason; what is secret in it is masked.
    pub async fn open(
        entry: &Entry,
        key: &StreamKey,
        asking: Asking<'_>,
        memory: Allowance,
    ) -> Result<Self, Why> {
        let from = &entry.pull.from;
        match from.place() {
            PullPlace::File(_) => {
                let path = path_of(&entry.pull, key);
                let looped = Looped::open(path.into(), memory).await;
                let failed = |text| Why { is_missing: true, text };
                Ok(Self::File(Box::new(looped.map_err(failed)?)))
            }
            PullPlace::Server(server) => {
                let asked = match server.protocol {
                    PullProtocol::Rtmp => play(entry, server, key, asking, memory).await,
                    PullProtocol::Flv => download(entry, server, key, asking, memory).await,
                };
                let failed = |failure: Failure| Why {
                    is_missing: matches!(failure, Failure::Missing(_)),
                    text: from.masked(&failure.to_string()),
                };
                Ok(Self::Server(Box::new(asked.map_err(failed)?)))
            }
            PullPlace::Nowhere => {
                Err(Why { is_missing: true, text: "it comes from nowhere".to_owned() })
            }
        }
    }

    /// The next tag.
    ///
    /// # Errors
    /// When no more comes.
    pub async fn next(&mut self) -> Result<Tag, Gone> {
        match self {
            Self::File(looped) => looped.next().await.map_err(|why| Gone { why }),
            Self::Server(source) => match source.next().await {
                Ok(Some(tag)) => Ok(tag),
                Ok(None) => Err(Gone { why: "the other server ended the stream".to_owned() }),
                Err(lost) => Err(Gone { why: lost.why }),
            },
        }
    }
}

/// Connects to `server`.
async fn connect(
    entry: &Entry,
    server: &PullServer,
    spoken: Spoken,
    connected: &AtomicBool,
) -> io::Result<Stream> {
    let secure = Secure { tls: &entry.tls, host: &server.host, spoken };
    let secure = server.is_tls.then_some(secure);
    let by = Instant::now() + DEAD_AFTER;
    connect_to_name((&server.host, server.port), secure, by, connected).await
}

async fn play(
    entry: &Entry,
    server: &PullServer,
    key: &StreamKey,
    asking: Asking<'_>,
    memory: Allowance,
) -> Result<weir_upstream::Source, Failure> {
    let text = entry.pull.from.of(&written(key.app()), &written(key.stream()));
    // Its error would have the URL in it.
    let no_url = |_| Failure::Missing("no server can be asked for that URL".to_owned());
    let url = RtmpUrl::parse(&text).map_err(no_url)?;
    let (wait, dead_after) = (asking.wait, DEAD_AFTER);
    let call = Call { url, extra: asking.fields(), wait, dead_after, memory };
    let connected = AtomicBool::new(false);
    weir_upstream::Source::play(connect(entry, server, Spoken::Silent, &connected), call).await
}

async fn download(
    entry: &Entry,
    server: &PullServer,
    key: &StreamKey,
    asking: Asking<'_>,
    memory: Allowance,
) -> Result<weir_upstream::Source, Failure> {
    let app = utf8_percent_encode(key.app(), APP).to_string();
    let stream = utf8_percent_encode(key.stream(), COMPONENT).to_string();
    let url = entry.pull.from.of(&app, &stream);
    let host = url.split_once("://").map_or(&*url, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default().to_owned();
    let target = PullFrom::target(&url);
    let target = target.split('#').next().unwrap_or_default();
    let call = HttpCall {
        is_tls: server.is_tls,
        host,
        path_and_query: target.to_owned(),
        headers: asking.headers(),
        own_headers: Vec::new(),
        wait: asking.wait,
        dead_after: DEAD_AFTER,
        memory,
    };
    weir_upstream::Source::download(&Asked { entry, server }, call, &AtomicBool::new(false)).await
}

/// A server that is asked over HTTP.
struct Asked<'a> {
    entry: &'a Entry,
    server: &'a PullServer,
}

impl HttpServer for Asked<'_> {
    fn connect(&self, connected: &AtomicBool) -> impl Future<Output = io::Result<Stream>> + Send {
        connect(self.entry, self.server, Spoken::Http, connected)
    }

    fn tls(&self) -> &PeerTls {
        &self.entry.tls
    }

    /// The operator has said where a stream comes from, and nobody else does.
    fn lets_redirect(&self, _: Redirect<'_>) -> Result<(), String> {
        Err("and pulls follow no redirects".to_owned())
    }
}
