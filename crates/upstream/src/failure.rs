//! Why a server gives no stream, takes none, or none any more.

/// Characters of a server's words that are repeated: a sentence or two.
pub const WORDS_MAX: usize = 200;

/// What is said of a server that takes the question and never sends anything. nginx-rtmp and SRS do that when they are
/// asked for a stream that nobody publishes.
pub const NOTHING: &str = "accepted but sent nothing";

/// Why a server gave no stream, or took none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no server that works: no connection, no answer, or garbage. It counts against its health.
    #[error("{0}")]
    Unreachable(String),
    /// It has no such stream.
    #[error("{0}")]
    Missing(String),
    /// It has no room now, or whoever it has the stream from.
    #[error("{0}")]
    Busy(String),
    /// It decided so.
    #[error("{code}: {description}")]
    Refused {
        /// The RTMP status code, or `HTTP` and the number.
        code: String,
        /// The server's words.
        description: String,
    },
}

/// A connection that is of no further use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// A sentence for the log.
    pub why: String,
    /// Whether the server itself is in doubt: it fell silent, or broke the protocol. A connection that it closed says
    /// nothing of the others.
    pub is_failure: bool,
}

impl Lost {
    /// The server closed it.
    pub fn closed() -> Self {
        Self { why: "it closed the connection".to_owned(), is_failure: false }
    }
}

/// Why no more tags come.
#[derive(Debug)]
pub enum Over {
    /// The stream has ended.
    Ended,
    /// The server has closed the connection.
    Closed,
    /// The server ended the stream and said why.
    Refused {
        /// The RTMP status code.
        code: String,
        /// The server's words.
        description: String,
    },
    /// The connection is of no further use.
    Broke(String),
}

impl Over {
    /// What it means for somebody who has not seen anything of the stream.
    pub fn before_media(self) -> Failure {
        match self {
            Self::Ended => Failure::Missing(NOTHING.to_owned()),
            Self::Closed => Failure::Missing(format!("{NOTHING}, and closed the connection")),
            Self::Refused { code, description } => Failure::said(&code, &description),
            Self::Broke(reason) => Failure::Unreachable(reason),
        }
    }
}

impl Failure {
    /// What the RTMP status `code` means before there is a stream.
    pub fn said(code: &str, description: &str) -> Self {
        let description = words(if description.is_empty() { code } else { description });
        match code {
            "NetStream.Play.StreamNotFound" => Self::Missing(description),
            _ if is_end(code) => Self::Missing(description),
            _ => Self::Refused { code: words(code), description },
        }
    }
}

/// Whether a status code says that the stream has ended as streams do.
pub fn is_end(code: &str) -> bool {
    matches!(
        code,
        "NetStream.Play.UnpublishNotify" | "NetStream.Play.Stop" | "NetStream.Play.Complete"
    )
}

/// Text from a server as far as it belongs into a log line.
pub fn words(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(printable).take(WORDS_MAX).collect()
}
