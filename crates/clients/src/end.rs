//! Why a session ended, and whose doing it was.

use std::{borrow::Cow, fmt, io, time::Duration};

use crate::detail::Detail;

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

/// What happened in one word: a closed set, for metrics. Each kind is the doing of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The client closed its side.
    Closed,
    /// The client, or the network, reset the connection.
    Reset,
    /// The connection failed otherwise.
    Failed,
    /// The client broke the protocol.
    Protocol,
    /// The stream ended.
    Ended,
    /// The origin refused the stream, or ended it.
    Origin,
    /// A fault of ours.
    Fault,
    /// It did nothing for too long.
    Idle,
    /// It took no data for too long.
    Stalled,
    /// What it asked for was refused.
    Refused,
    /// A limit.
    Limit,
    /// Another publisher took its stream over.
    Replaced,
    /// An operator ended it.
    Kicked,
    /// It was let go because the process is going to stop.
    Drained,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Closed,
        Self::Reset,
        Self::Failed,
        Self::Protocol,
        Self::Ended,
        Self::Origin,
        Self::Fault,
        Self::Idle,
        Self::Stalled,
        Self::Refused,
        Self::Limit,
        Self::Replaced,
        Self::Kicked,
        Self::Drained,
    ];

    /// The label in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Failed => "failed",
            Self::Protocol => "protocol",
            Self::Ended => "ended",
            Self::Origin => "origin",
            Self::Fault => "fault",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Refused => "refused",
            Self::Limit => "limit",
            Self::Replaced => "replaced",
            Self::Kicked => "kicked",
            Self::Drained => "drained",
        }
    }

    /// Whether a publisher that ends like this is one that is missed: not by its own goodbye, another's or an
    /// operator's will.
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::Ended | Self::Replaced | Self::Kicked | Self::Drained)
    }

    /// Whose doing it is.
    pub const fn side(self) -> Side {
        match self {
            Self::Closed | Self::Reset | Self::Failed | Self::Protocol => Side::Peer,
            Self::Ended | Self::Origin => Side::Upstream,
            Self::Fault => Side::Us,
            Self::Idle
            | Self::Stalled
            | Self::Refused
            | Self::Limit
            | Self::Replaced
            | Self::Kicked
            | Self::Drained => Side::Policy,
        }
    }
}

/// The end of a session: whose doing, and a sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Who caused it.
    pub side: Side,
    /// What happened, as metrics count it.
    pub kind: Kind,
    /// What happened, as the log says it.
    pub reason: Cow<'static, str>,
    /// The same in parts, where the kind alone says too little.
    pub detail: Option<Box<Detail>>,
}

impl End {
    /// An end of this kind.
    pub fn new(kind: Kind, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { side: kind.side(), kind, reason: reason.into(), detail: None }
    }

    /// The same end, which is this in parts.
    #[must_use]
    pub fn saying(self, detail: Detail) -> Self {
        Self { detail: Some(Box::new(detail)), ..self }
    }

    /// What happened, for operators: at least its kind, and the reason.
    pub fn told(&self) -> Detail {
        match &self.detail {
            Some(detail) => (**detail).clone(),
            None => Detail::new(self.kind.label(), [&self.reason], &self.reason),
        }
    }

    /// The client broke the protocol, or went in a way that has no kind of its own.
    pub fn peer(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Protocol, reason)
    }

    /// The stream is over.
    pub fn upstream(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Ended, reason)
    }

    /// What the client asked for is refused by a rule of the configuration.
    pub fn policy(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Refused, reason)
    }

    /// We caused it.
    pub fn us(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Fault, reason)
    }

    /// The client closed its side.
    pub fn closed() -> Self {
        Self::new(Kind::Closed, "closed the connection")
    }
}

/// A socket error: the peer is gone, one way or another.
impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Self::new(Kind::Reset, "reset the connection")
            }
            io::ErrorKind::UnexpectedEof => Self::closed(),
            // It is the TLS above a socket that can be wrong.
            io::ErrorKind::InvalidData => Self::peer(error.to_string()),
            _ => Self::new(Kind::Failed, format!("connection failed: {error}")),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.side.label(), self.reason)
    }
}

/// How long something took, in seconds, as the log and its readers want it: to the millisecond.
pub fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
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
        for (error, kind, reason) in [
            (io::ErrorKind::ConnectionReset, Kind::Reset, "reset the connection"),
            (io::ErrorKind::BrokenPipe, Kind::Reset, "reset the connection"),
            (io::ErrorKind::UnexpectedEof, Kind::Closed, "closed the connection"),
            (io::ErrorKind::TimedOut, Kind::Failed, "connection failed: timed out"),
        ] {
            let end = End::from(io::Error::from(error));
            assert_eq!((end.side, &end), (Side::Peer, &End::new(kind, reason)));
        }
    }

    #[test]
    fn every_kind_is_listed_once_and_has_a_label_of_its_own() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "{kind:?} is not in its place");
        }
        let labels: std::collections::HashSet<_> = Kind::ALL.map(Kind::label).into();
        assert_eq!(labels.len(), Kind::ALL.len());
    }

    #[test]
    fn durations_are_logged_to_the_millisecond() {
        for (micros, shown) in
            [(1_234_567, "1.235"), (600_000, "0.6"), (40, "0.0"), (86_400_001_499, "86400.001")]
        {
            assert_eq!(format!("{:?}", seconds(Duration::from_micros(micros))), shown);
        }
    }
}
