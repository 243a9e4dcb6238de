//! Viewers.

use std::net::SocketAddr;

use weir_flv::{Tag, file::Header};

use super::{End, Numbers, Player, Refused};

/// Plays a numbered stream and requires of each message that it is the next one.
#[derive(Debug)]
pub struct Viewer {
    player: Player,
    numbers: Numbers,
}

impl Viewer {
    /// Plays `url` over RTMP.
    ///
    /// # Panics
    /// If the server does not let it.
    pub async fn rtmp(url: &str) -> Self {
        Self::new(Player::rtmp(url).await)
    }

    /// As [`rtmp`](Self::rtmp), for viewers that may be refused.
    ///
    /// # Errors
    /// The server's no.
    pub async fn try_rtmp(url: &str) -> Result<Self, Refused> {
        Player::try_rtmp(url).await.map(Self::new)
    }

    /// Plays `path`, such as `live/a.flv`, over HTTP.
    ///
    /// # Panics
    /// If the answer is not 200 and FLV.
    pub async fn http_flv(address: SocketAddr, path: &str) -> Self {
        Self::new(Player::http_flv(address, path).await)
    }

    /// Goes on with what `player` plays.
    pub fn new(player: Player) -> Self {
        Self { player, numbers: Numbers::default() }
    }

    /// From now on pictures and their sound may be missing up to a key frame.
    #[must_use]
    pub fn allowing_skips(mut self) -> Self {
        self.numbers = self.numbers.allowing_skips();
        self
    }

    /// Our end of the connection, by which the server's log calls it.
    pub fn local(&self) -> SocketAddr {
        self.player.local()
    }

    /// The next message; `None` when the stream has ended.
    ///
    /// # Panics
    /// If it is not the one that must follow, or nothing comes for 20 seconds.
    pub async fn next(&mut self) -> Option<Tag> {
        let tag = self.player.next().await?;
        let right = self.numbers.take(&tag);
        right.unwrap_or_else(|error| panic!("{error}; seen so far: {:?}", self.numbers));
        Some(tag)
    }

    /// Plays until picture `number` has come.
    ///
    /// # Panics
    /// If the stream ends before, and as [`next`](Self::next).
    pub async fn until_picture(&mut self, number: u64) {
        while self.numbers.newest_picture().is_none_or(|newest| newest < number) {
            let next = self.next().await;
            assert!(
                next.is_some(),
                "{:?} before picture {number}; seen: {:?}",
                self.player.end(),
                self.numbers
            );
        }
    }

    /// Plays until the stream ends, and says how.
    ///
    /// # Panics
    /// As [`next`](Self::next).
    pub async fn until_end(&mut self) -> End {
        while self.next().await.is_some() {}
        self.player.end().cloned().unwrap_or(End::Closed)
    }

    /// What has been seen.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// The header of the FLV file, once it has come.
    pub fn flv_header(&self) -> Option<Header> {
        self.player.flv_header()
    }
}

#[cfg(test)]
mod tests;
