//! A publisher.

use std::{io, net::SocketAddr};

use weir_flv::Tag;
use weir_rtmp::client::{Event, Session};

use super::{Numbered, Refused, connection::Connection};

/// Publishes a [`Numbered`] stream over RTMP, as fast as the test asks for it. Dropping it closes the connection
/// without a word, as an encoder does that crashes.
#[derive(Debug)]
pub struct Publisher {
    connection: Connection,
    source: Numbered,
}

impl Publisher {
    /// Publishes to `url` and sends metadata and configuration records.
    ///
    /// # Panics
    /// If the server does not let it.
    pub async fn start(url: &str, source: Numbered) -> Self {
        let publisher = Self::try_start(url, source).await;
        publisher.unwrap_or_else(|refused| panic!("{url}: the publisher is refused: {refused:?}"))
    }

    /// Publishes to `url` and sends nothing; the test has messages of its own.
    ///
    /// # Panics
    /// If the server does not let it.
    pub async fn silent(url: &str) -> Self {
        let connection = Connection::open(url, Session::new_publish).await;
        let connection = connection
            .unwrap_or_else(|refused| panic!("{url}: the publisher is refused: {refused:?}"));
        Self { connection, source: Numbered::default() }
    }

    /// As [`start`](Self::start), for publishers that may be refused.
    ///
    /// # Errors
    /// The server's no.
    pub async fn try_start(url: &str, source: Numbered) -> Result<Self, Refused> {
        let connection = Connection::open(url, Session::new_publish).await?;
        let mut publisher = Self { connection, source };
        for tag in publisher.source.init() {
            publisher.send(&tag).await;
        }
        Ok(publisher)
    }

    /// Sends the next `count` pictures, each with a packet of sound; the number of the last one.
    ///
    /// # Panics
    /// If the server has closed the connection.
    pub async fn pictures(&mut self, count: u64) -> u64 {
        for _ in 0..count {
            for tag in self.source.next_tags() {
                self.send(&tag).await;
            }
        }
        self.source.next_number().saturating_sub(1)
    }

    /// Sends any message.
    ///
    /// # Panics
    /// If the server has closed the connection.
    pub async fn send(&mut self, tag: &Tag) {
        self.try_send(tag).await.unwrap_or_else(|error| {
            panic!("{}: the publisher is cut off: {error}", self.connection.url())
        });
    }

    /// As [`send`](Self::send), for publishers that may be cut off.
    pub(super) async fn try_send(&mut self, tag: &Tag) -> io::Result<()> {
        self.connection.session.send_media(tag.kind, tag.timestamp, &tag.body);
        self.connection.exchange().await
    }

    /// The next picture and its sound, as [`try_send`](Self::try_send); the number of the picture.
    pub(super) async fn try_picture(&mut self) -> io::Result<u64> {
        for tag in self.source.next_tags() {
            self.try_send(&tag).await?;
        }
        Ok(self.source.next_number() - 1)
    }

    /// The status with which the server has ended the publish, and its words, if it has.
    pub(super) fn ended(&mut self) -> Option<String> {
        std::iter::from_fn(|| self.connection.session.poll_event()).find_map(|event| match event {
            Event::Ended { code, description } => Some(format!("{code}: {description}")),
            _ => None,
        })
    }

    /// Our end of the connection, by which the server's log calls it.
    pub fn local(&self) -> SocketAddr {
        self.connection.local()
    }

    /// The stream to go on with after this publisher, in another one.
    pub fn source(&self) -> Numbered {
        self.source.clone()
    }

    /// Waits until the server ends the publish; its status code, or `None` if it only closes the connection.
    ///
    /// # Panics
    /// If it does not for 20 seconds.
    pub async fn wait_end(mut self) -> Option<String> {
        loop {
            match self.connection.event().await {
                Some(Event::Ended { code, .. }) => return Some(code),
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// Ends the publish in good order.
    pub async fn stop(self) {
        self.connection.stop().await;
    }
}
