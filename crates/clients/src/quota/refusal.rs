//! Why somebody is not let in.

use std::{fmt, time::Duration};

use weir_media::StreamKey;

/// When a client that was refused may ask again, for `Retry-After`: soon enough for a person who waits, and a crowd
/// that is refused comes back as a few hundred requests a second and not at once.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The stream has as many viewers as it may.
    Stream {
        /// Which.
        key: StreamKey,
        /// How many that is.
        limit: usize,
    },
    /// The process sends as much as it may.
    Egress {
        /// Bits per second.
        limit: u64,
    },
    /// The address has as many connections as it may.
    Address {
        /// Which, or the network that counts as one.
        network: String,
        /// How many that is.
        limit: usize,
    },
    /// An operator has ended it a moment ago.
    Kicked,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream { key, limit } => {
                write!(f, "too many viewers of {key} (limit {limit}, limits.viewers_per_stream)")
            }
            Self::Egress { limit } => {
                let megabits = *limit as f64 / 1e6;
                let seconds = RETRY_AFTER.as_secs();
                write!(
                    f,
                    "egress limit reached ({megabits} Mb/s, limits.egress); retry in {seconds} s"
                )
            }
            Self::Address { network, limit } => {
                write!(
                    f,
                    "too many connections from {network} (limit {limit}, limits.connections_per_ip)"
                )
            }
            Self::Kicked => f.write_str("ended by an operator"),
        }
    }
}
