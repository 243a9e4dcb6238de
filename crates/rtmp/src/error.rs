//! What can be wrong with a peer, or with what it asks for.

use std::time::Duration;

use crate::limits;

/// Why a session cannot go on. "More bytes are needed" is never an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first byte of the connection is not RTMP's version 3 (6, 8 and 9 are the encrypted variants).
    #[error("handshake version {0} is not supported, only 3 is")]
    HandshakeVersion(u8),
    /// The handshake was not complete in time.
    #[error("the handshake took longer than {0:?}")]
    HandshakeTimeout(Duration),
    /// The peer neither published nor played for too long.
    #[error("no publish or play within {0:?}")]
    IdleTimeout(Duration),
    /// The server did not answer in time (client sessions).
    #[error("no answer to {waiting_for} within {limit:?}")]
    AnswerTimeout {
        /// What the client waited for.
        waiting_for: &'static str,
        /// How long it waited.
        limit: Duration,
    },
    /// The server said nothing for so long, though it was pinged (client sessions).
    #[error("silent for {0:?}")]
    Silence(Duration),
    /// A chunk stream begins with a header that refers to an earlier one.
    #[error("chunk stream {csid} starts with a chunk of type {fmt}, which needs an earlier header")]
    ChunkWithoutHeader {
        /// The chunk stream.
        csid: u32,
        /// The type of its first chunk.
        fmt: u8,
    },
    /// A new message begins on a chunk stream before its last one is complete.
    #[error("a chunk of type {fmt} cuts off an unfinished message on chunk stream {csid}")]
    ChunkInsideMessage {
        /// The chunk stream.
        csid: u32,
        /// The type of the chunk.
        fmt: u8,
    },
    /// The peer opened too many chunk streams.
    #[error("more than {max} chunk streams")]
    ChunkStreams {
        /// How many it may open.
        max: usize,
    },
    /// A chunk size outside 1 to 2^31 - 1.
    #[error("chunk size {0} is not between 1 and 2147483647")]
    ChunkSize(u32),
    /// A message is longer than is acceptable at this point.
    #[error("message of {length} bytes (type {type_id}), at most {max} are accepted here")]
    MessageTooLong {
        /// The message's type.
        type_id: u8,
        /// The announced length.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// Too many bytes of unfinished messages.
    #[error("more than {max} bytes of unfinished messages")]
    PartialBytes {
        /// How many there may be.
        max: usize,
    },
    /// The process holds as much as it may, and this peer wants more.
    #[error("no memory for {bytes} bytes of a message (limits.memory)")]
    Memory {
        /// How many it wants.
        bytes: usize,
    },
    /// More answers than anybody waits for have not been taken.
    #[error("more than {} bytes of answers wait", limits::ANSWER_BYTES_MAX)]
    Answers,
    /// An aggregate message has more tags than any encoder puts into one.
    #[error("more than {} tags in an aggregate message", limits::AGGREGATE_TAGS_MAX)]
    AggregateTags,
    /// A command or data message is not AMF0.
    #[error("message of type {type_id}: {source}")]
    Amf {
        /// The message's type.
        type_id: u8,
        /// What is wrong with it.
        source: weir_flv::Error,
    },
    /// A command has no name, or not the arguments it needs.
    #[error("command {command:?}: {missing} is missing or has the wrong type")]
    Command {
        /// The command's name, cut to [`NAME_BYTES_SHOWN`](crate::message::NAME_BYTES_SHOWN) bytes.
        command: String,
        /// What is missing.
        missing: &'static str,
    },
    /// A command before `connect`.
    #[error("command {0:?} before connect")]
    NotConnected(String),
    /// A second `connect`.
    #[error("a second connect on one connection")]
    AlreadyConnected,
    /// More message streams than one connection may have.
    #[error("more than {} message streams", limits::MESSAGE_STREAMS_MAX)]
    MessageStreams,
    /// More of something than a connection may send in a second.
    #[error("more than {per_second} {what} per second")]
    TooOften {
        /// Of what.
        what: &'static str,
        /// The limit in the long run; some more may come at once.
        per_second: u32,
    },
    /// Audio or video from a peer that has not asked to publish, and more of it than is kept until it does.
    #[error("media on message stream {stream_id} without a publish")]
    MediaWithoutPublish {
        /// The message stream.
        stream_id: u32,
    },
    /// More media before the answer to `publish` than any encoder sends.
    #[error("more than {} bytes of media before the answer to publish", limits::HELD_BYTES_MAX)]
    HeldMedia,
    /// A URL or stream name that names no stream.
    #[error("URL {url:?}: {reason}")]
    Url {
        /// The URL without its query, which may have secrets, cut to [`BYTES_SHOWN`](crate::url::BYTES_SHOWN) bytes.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The server refused or closed the connection itself (client sessions).
    #[error("the server refused the connection: {0}")]
    Rejected(String),
    /// The session failed before; it takes no more input.
    #[error("the session has ended")]
    Ended,
}

impl Error {
    pub(crate) fn url(url: &str, reason: &'static str) -> Self {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        Self::Url { url: cut(path, limits::BYTES_SHOWN), reason }
    }

    pub(crate) fn command(command: &str, missing: &'static str) -> Self {
        Self::Command { command: cut(command, limits::NAME_BYTES_SHOWN), missing }
    }
}

/// The beginning of text from a peer, short enough for a log line.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}
