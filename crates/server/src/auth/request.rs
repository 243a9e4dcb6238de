//! What a client asks for, as the checks see it.

use std::{
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use weir_config::Secret;
use weir_media::StreamKey;

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Send a stream.
    Publish,
    /// Watch it.
    Play,
}

impl Action {
    /// Its name in tokens and in the log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

/// What a client shows beside its URL.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its address: the one behind balancers and proxies, where they say it.
    pub peer: IpAddr,
    /// The secret by which it shows that it is an edge, if it does.
    pub edge_token: Option<&'a Secret>,
    /// The page that its player is in, as it says; empty if it does not.
    pub page_url: &'a str,
}

/// What a client asks for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// What it wants to do.
    pub action: Action,
    /// With which stream.
    pub key: &'a StreamKey,
    /// The parameters of its URL, with or without a `?` before them.
    pub params: &'a str,
    /// What it shows beside that.
    pub shown: Shown<'a>,
    /// When it asks, in seconds since 1970.
    pub now: u64,
}

/// The time, in seconds since 1970.
pub fn now() -> u64 {
    // A clock before 1970 knows of no time at all: then every token is from the future, and none has expired.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
