//! Players of any stream.

use std::{collections::VecDeque, net::SocketAddr};

use weir_flv::{
    Tag,
    file::{Header, Item, Reader},
};
use weir_rtmp::client::{Event, Session};

use super::{Refused, connection::Connection};
use crate::{
    http::{self, Response},
    raw::Raw,
};

/// Plays a stream message by message, whatever it carries.
#[derive(Debug)]
pub struct Player {
    input: Input,
    end: Option<End>,
}

#[derive(Debug)]
enum Input {
    Rtmp(Box<Connection>),
    Flv(Box<Flv>),
}

/// How a viewer's stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With a status code of RTMP, such as `NetStream.Play.UnpublishNotify`.
    Status(String),
    /// With the end of the connection, or of the HTTP response.
    Closed,
}

impl Player {
    /// Plays `url` over RTMP.
    ///
    /// # Panics
    /// If the server does not let it.
    pub async fn rtmp(url: &str) -> Self {
        let player = Self::try_rtmp(url).await;
        player.unwrap_or_else(|refused| panic!("{url}: the viewer is refused: {refused:?}"))
    }

    /// As [`rtmp`](Self::rtmp), for players that may be refused.
    ///
    /// # Errors
    /// The server's no.
    pub async fn try_rtmp(url: &str) -> Result<Self, Refused> {
        let connection = Connection::open(url, Session::new_play).await?;
        Ok(Self { input: Input::Rtmp(Box::new(connection)), end: None })
    }

    /// Plays `url` over RTMP on a connection of the test's own.
    ///
    /// # Panics
    /// If the server does not let it.
    pub async fn rtmp_on(raw: Raw, url: &str) -> Self {
        let connection = Connection::open_on(raw.into_inner(), url, Session::new_play).await;
        let connection = connection
            .unwrap_or_else(|refused| panic!("{url}: the viewer is refused: {refused:?}"));
        Self { input: Input::Rtmp(Box::new(connection)), end: None }
    }

    /// Plays `path`, such as `live/a.flv`, over HTTP.
    ///
    /// # Panics
    /// If the answer is not 200 and FLV.
    pub async fn http_flv(address: SocketAddr, path: &str) -> Self {
        Self::http_flv_on(Raw::connect(address).await, path).await
    }

    /// As [`http_flv`](Self::http_flv), on a connection of the test's own.
    ///
    /// # Panics
    /// If the answer is not 200 and FLV.
    pub async fn http_flv_on(raw: Raw, path: &str) -> Self {
        let mut response = http::get_on(raw, path).await;
        if response.status != 200 {
            let text = response.text().await;
            panic!("{path}: {} {text}", response.status);
        }
        let flv = Flv { response, reader: Reader::new(), header: None, tags: VecDeque::new() };
        Self { input: Input::Flv(Box::new(flv)), end: None }
    }

    /// The next message; `None` when the stream has ended.
    ///
    /// # Panics
    /// If nothing comes for 20 seconds, or the server breaks the protocol.
    pub async fn next(&mut self) -> Option<Tag> {
        let next = match &mut self.input {
            Input::Rtmp(connection) => next_of_rtmp(connection).await,
            Input::Flv(flv) => flv.next().await.ok_or(End::Closed),
        };
        next.map_err(|end| self.end.get_or_insert(end)).ok()
    }

    /// All messages from here to the end of the stream.
    ///
    /// # Panics
    /// As [`next`](Self::next).
    pub async fn until_end(&mut self) -> Vec<Tag> {
        let mut tags = Vec::new();
        while let Some(tag) = self.next().await {
            tags.push(tag);
        }
        tags
    }

    /// How the stream ended, if it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Our end of the connection, by which the server's log calls it.
    pub fn local(&self) -> SocketAddr {
        match &self.input {
            Input::Rtmp(connection) => connection.local(),
            Input::Flv(flv) => flv.response.local(),
        }
    }

    /// The header of the FLV file, once it has come.
    pub fn flv_header(&self) -> Option<Header> {
        match &self.input {
            Input::Flv(flv) => flv.header,
            Input::Rtmp(_) => None,
        }
    }
}

async fn next_of_rtmp(connection: &mut Connection) -> Result<Tag, End> {
    loop {
        match connection.event().await {
            Some(Event::Media(tag)) => return Ok(tag),
            Some(Event::Ended { code, .. }) => return Err(End::Status(code)),
            Some(_) => {}
            None => return Err(End::Closed),
        }
    }
}

/// An FLV file over HTTP.
#[derive(Debug)]
struct Flv {
    response: Response,
    reader: Reader,
    header: Option<Header>,
    tags: VecDeque<Tag>,
}

impl Flv {
    async fn next(&mut self) -> Option<Tag> {
        loop {
            if let Some(tag) = self.tags.pop_front() {
                return Some(tag);
            }
            self.reader.push(&self.response.chunk().await?);
            while let Some(item) =
                self.reader.poll().unwrap_or_else(|error| panic!("no FLV file: {error}"))
            {
                match item {
                    Item::Header(header) => self.header = Some(header),
                    Item::Tag(tag) => self.tags.push_back(tag),
                }
            }
        }
    }
}
