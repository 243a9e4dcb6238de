//! `weir publish`: sends an FLV file to an RTMP server in real time.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::PathBuf,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tracing::info;
use weir_config::Pin;
use weir_pull::{Tags, Unreadable};
use weir_rtmp::{
    client::{Config, Event, Session},
    url::RtmpUrl,
};
use weir_tls::{
    Stream,
    client::{Failed, Spoken, Trust},
};
use weir_upstream::client::{Lost, RtmpClient};

use super::trust;
use crate::auth::without_secrets;

/// How long connecting and the server's yes may take.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server may take no data.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the tags come from.
pub enum Source {
    /// An FLV file.
    File(PathBuf),
    /// An FLV file in memory.
    Bytes(&'static [u8]),
}

/// Whom to trust where the URL begins with `rtmps://`.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Tls {
    /// The PEM file with the CA certificates that sign the server's; without it, those that this system trusts.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The SHA-256 fingerprint of the server's certificate, or of its public key, in place of a CA, or beside it.
    #[arg(long, value_name = "SHA256")]
    pin: Vec<Pin>,
}

/// Why publishing failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// The file is no FLV.
    #[error(
        "{path} is not an FLV file: {error}; convert it: `ffmpeg -i INPUT -c copy -f flv OUTPUT.flv`"
    )]
    Format {
        /// The file.
        path: String,
        /// What is wrong.
        error: weir_flv::Error,
    },
    /// The file has no media.
    #[error("{0} has no media")]
    Empty(String),
    /// The URL is no RTMP URL.
    #[error("{0}")]
    Url(#[source] weir_rtmp::Error),
    /// There is nobody to trust.
    #[error("{0}")]
    Trust(#[source] io::Error),
    /// The URL has no TLS, and there is to be some.
    #[error("--ca and --pin are for rtmps:// URLs: without TLS nothing shows who the server is")]
    NoTls,
    /// There is no TLS with the server.
    #[error("{server}: {error}")]
    Tls {
        /// Its address.
        server: String,
        /// Why.
        error: Failed,
    },
    /// The server cannot be reached.
    #[error("{server}: {error}")]
    Network {
        /// Its address.
        server: String,
        /// What the system says.
        error: io::Error,
    },
    /// The connection was lost.
    #[error("{server}: {error}")]
    Lost {
        /// Its address.
        server: String,
        /// What happened.
        error: Lost,
    },
    /// The server refused the stream, or ended it.
    #[error("the server answered {code}: {description}")]
    Refused {
        /// The status code.
        code: String,
        /// What it adds.
        description: String,
    },
}

/// Publishes `source` to `url`, again and again if `repeat`.
///
/// # Errors
/// When the source cannot be read, or the server does not take it to the end.
pub async fn run(source: &Source, url: &str, repeat: bool, tls: &Tls) -> Result<(), Error> {
    let url = RtmpUrl::parse(url).map_err(Error::Url)?;
    let trust = tls.trust(&url)?;
    let mut tags = Tags::new(source.open()?, 0);
    let mut link = Link::open(&url, trust.as_ref()).await?;
    info!(server = link.server, stream = without_secrets(&url.stream_with_query), "publishing");
    let start = Instant::now();
    loop {
        let mut any = false;
        while let Some(tag) = tags.read().map_err(|why| source.unreadable(why))? {
            any = true;
            link.wait_until(start + Duration::from_millis(u64::from(tag.timestamp))).await?;
            link.client.send(tag.kind, tag.timestamp, &tag.body);
            link.flush().await?;
        }
        if !any {
            return Err(Error::Empty(source.name()));
        }
        if !repeat {
            return link.close().await;
        }
        tags = Tags::new(source.open()?, tags.end());
    }
}

impl Tls {
    /// Whom to trust at `url`, if that has TLS.
    fn trust(&self, url: &RtmpUrl) -> Result<Option<Trust>, Error> {
        match url.is_tls {
            true => {
                trust::in_servers(self.ca.as_deref(), &self.pin).map(Some).map_err(Error::Trust)
            }
            false if *self == Self::default() => Ok(None),
            false => Err(Error::NoTls),
        }
    }
}

impl Source {
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Bytes(_) => "the built-in clip".to_owned(),
        }
    }

    fn unreadable(&self, why: Unreadable) -> Error {
        let path = self.name();
        match why {
            Unreadable::Read(error) => Error::Read { path, error },
            Unreadable::Format(error) => Error::Format { path, error },
        }
    }

    fn open(&self) -> Result<Box<dyn Read + Send>, Error> {
        match self {
            Self::Bytes(bytes) => Ok(Box::new(*bytes)),
            Self::File(path) => match File::open(path) {
                Ok(file) => Ok(Box::new(BufReader::new(file))),
                Err(error) => Err(Error::Read { path: self.name(), error }),
            },
        }
    }
}

/// The connection to the server.
struct Link {
    server: String,
    client: RtmpClient,
}

impl Link {
    async fn open(url: &RtmpUrl, trust: Option<&Trust>) -> Result<Self, Error> {
        let server = format!("{}:{}", url.host, url.port);
        let network = |error| Error::Network { server: server.clone(), error };
        let late = || network(io::Error::new(io::ErrorKind::TimedOut, "no answer"));
        let connect = TcpStream::connect((url.host.as_str(), url.port));
        let socket =
            timeout(ACCEPT_TIMEOUT, connect).await.map_err(|_| late())?.map_err(network)?;
        socket.set_nodelay(true).map_err(network)?;
        let stream = match trust {
            None => Stream::from(socket),
            Some(trust) => {
                let shaken = trust.connect(socket, &url.host, Spoken::Silent);
                let shaken = timeout(ACCEPT_TIMEOUT, shaken).await;
                let late = |_| Err(Failed::late(&url.host, ACCEPT_TIMEOUT));
                let failed = |error| Error::Tls { server: server.clone(), error };
                shaken.unwrap_or_else(late).map_err(failed)?
            }
        };
        let mut random = [0; 1536];
        getrandom::fill(&mut random).map_err(|error| network(io::Error::other(error)))?;
        let config = Config { timeout: ACCEPT_TIMEOUT, ..Config::new(url.clone()) };
        let session = Session::new_publish(config, random, Instant::now().into_std());
        let client = RtmpClient::new(session, stream, TAKE_TIMEOUT);
        let mut link = Self { server, client };
        while link.event().await? != Event::Accepted {}
        Ok(link)
    }

    /// Hears what the server says until `deadline`.
    async fn wait_until(&mut self, deadline: Instant) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = sleep_until(deadline) => return Ok(()),
                event = self.event() => drop(event?),
            }
        }
    }

    /// What the server does, unless it ends the stream.
    async fn event(&mut self) -> Result<Event, Error> {
        let event = self.client.event().await;
        match event.map_err(|error| self.lost(error))? {
            Event::Refused { code, description } | Event::Ended { code, description } => {
                Err(Error::Refused { code, description })
            }
            event => Ok(event),
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.client.flush().await.map_err(|error| self.lost(error))
    }

    async fn close(self) -> Result<(), Error> {
        let server = self.server;
        self.client.close().await.map_err(|error| Error::Lost { server, error })
    }

    fn lost(&self, error: Lost) -> Error {
        Error::Lost { server: self.server.clone(), error }
    }
}
