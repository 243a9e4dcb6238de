//! Limits that more than one file goes by, and that errors name.

/// Answers to the peer that may wait to be taken from `Link::poll_output`. They are some hundred bytes each, and are
/// taken after each read; only who asks for thousands of them in one packet gets here.
pub const ANSWER_BYTES_MAX: usize = 128 * 1024;

/// Tags in one aggregate message. Servers that make them fill 64 KB, with a hundred tags or two; each tag costs a
/// hundred bytes beside its own, so that a message full of tiny ones would take many times its size.
pub const AGGREGATE_TAGS_MAX: usize = 4096;

/// Bytes of a peer's command name that an error repeats.
pub const NAME_BYTES_SHOWN: usize = 64;

/// Message streams that a connection may have at a time. Encoders and players use one; a Flash application may hold one
/// for each camera and each thing it watches.
pub const MESSAGE_STREAMS_MAX: usize = 16;

/// What may be held in any case. One more read, in messages of 20 bytes, as sound is at its smallest, makes 1 MiB.
pub const HELD_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes of a peer's URL that an error repeats.
pub const BYTES_SHOWN: usize = 128;

/// The longest URL, `tcUrl` or stream name with its query. Signed URLs have up to 2 KB.
pub const URL_BYTES_MAX: usize = 8 * 1024;
