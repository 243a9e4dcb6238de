//! Why a session ended, and whose doing it was.

use std::{borrow::Cow, fmt, io};

/// Who caused the end of a session. Log level and metric label derive from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client at the other end: it left, or broke the protocol.
    Peer,
    /// Where the stream came from: its publisher left for good.
    Upstream,
    /// This process: a fault of ours.
    Us,
    /// A rule of the configuration: a limit, a timeout, another publisher.
    Policy,
}

impl Side {
    /// The label in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Upstream => "upstream",
            Self::Us => "us",
            Self::Policy => "policy",
        }
    }
}

/// The end of a session: whose doing, and a sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Who caused it.
    pub side: Side,
    /// What happened, as the log says it.
    pub reason: Cow<'static, str>,
}

impl End {
    /// The client caused it.
    pub fn peer(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { side: Side::Peer, reason: reason.into() }
    }

    /// The stream's source caused it.
    pub fn upstream(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { side: Side::Upstream, reason: reason.into() }
    }

    /// A rule caused it.
    pub fn policy(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { side: Side::Policy, reason: reason.into() }
    }

    /// We caused it.
    pub fn us(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { side: Side::Us, reason: reason.into() }
    }

    /// The client closed its side.
    pub fn closed() -> Self {
        Self::peer("closed the connection")
    }
}

/// A socket error: the peer is gone, one way or another.
impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Self::peer("reset the connection")
            }
            io::ErrorKind::UnexpectedEof => Self::closed(),
            _ => Self::peer(format!("connection failed: {error}")),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.side.label(), self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_comes_first() {
        assert_eq!(End::us("out of memory").to_string(), "us: out of memory");
        let sides = [Side::Peer, Side::Upstream, Side::Us, Side::Policy].map(Side::label);
        assert_eq!(sides, ["peer", "upstream", "us", "policy"]);
    }

    #[test]
    fn socket_errors_are_the_peers_doing_in_words_for_people() {
        for (kind, reason) in [
            (io::ErrorKind::ConnectionReset, "reset the connection"),
            (io::ErrorKind::BrokenPipe, "reset the connection"),
            (io::ErrorKind::UnexpectedEof, "closed the connection"),
            (io::ErrorKind::TimedOut, "connection failed: timed out"),
        ] {
            assert_eq!(End::from(io::Error::from(kind)), End::peer(reason));
        }
    }
}
