//! The origins: where they are, which of them owns a stream, and which of them are alive.

use std::{fmt, net::SocketAddr, sync::Arc};

use weir_media::StreamKey;

/// One origin at one address.
#[derive(Debug)]
pub struct Origin {
    /// Its RTMP port.
    pub rtmp: SocketAddr,
    /// Its HTTP port.
    pub http: SocketAddr,
    /// The name it was configured under: it is asked for streams by this name.
    pub host: String,
}

impl Origin {
    /// It did what it was asked, or said why not.
    pub fn succeeded(&self) {}

    /// It could not be reached, broke the protocol or fell silent.
    pub fn failed(&self, _why: &str) {}

    /// Whether it is known to be alive, as far as one can know.
    pub fn is_healthy(&self) -> bool {
        true
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rtmp)
    }
}

/// All origins of an edge.
pub struct Origins(Vec<Arc<Origin>>);

impl Origins {
    /// Every origin, in the order in which to ask for `key`: where it was found last, then its owner, then the others;
    /// those that are alive before those that are not.
    pub fn order(&self, _key: &StreamKey) -> Vec<Arc<Origin>> {
        self.0.clone()
    }

    /// Takes note that `key` is at `origin`.
    pub fn found(&self, _key: &StreamKey, _origin: &Arc<Origin>) {}
}
