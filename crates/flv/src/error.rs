//! What can be wrong with the bytes of a peer.

use crate::limits;

/// Why bytes are not what they should be. "More bytes are needed" is never an error of the
/// [`Reader`](crate::file::Reader), but it is one inside a message, whose length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A message ends inside a field.
    #[error("{field} needs {needed} bytes, the message has {left} left")]
    Truncated {
        /// The field, as its specification names it.
        field: &'static str,
        /// Its size in bytes.
        needed: usize,
        /// How many bytes there are.
        left: usize,
    },
    /// An AMF0 value begins with a type marker that is reserved or belongs to AMF3.
    #[error("AMF0 type marker {0:#04x} is not supported")]
    AmfMarker(u8),
    /// AMF0 objects and arrays are nested deeper than [`DEPTH_MAX`](crate::amf0::DEPTH_MAX).
    #[error("AMF0 values are nested deeper than {} levels", limits::DEPTH_MAX)]
    AmfDepth,
    /// An AMF0 message has more than [`VALUES_MAX`](crate::amf0::VALUES_MAX) values.
    #[error("the AMF0 message has more than {} values", limits::VALUES_MAX)]
    AmfCount,
    /// An AMF0 string is not UTF-8.
    #[error("an AMF0 string of {len} bytes is not UTF-8 at byte {at}")]
    AmfUtf8 {
        /// The string's length in bytes.
        len: usize,
        /// Where the first wrong byte is.
        at: usize,
    },
    /// An Enhanced RTMP header has more than [`MOD_EX_MAX`](crate::video::MOD_EX_MAX) `ModEx` prefixes.
    #[error("the Enhanced RTMP header has more than {} ModEx prefixes", limits::MOD_EX_MAX)]
    ModExCount,
    /// A tag announces a longer body than is accepted.
    #[error("a tag of {len} bytes, at most {max} are accepted here")]
    TagTooLong {
        /// The announced length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The process holds as much as it may, and this tag wants more.
    #[error("no memory for {0} bytes of a tag (limits.memory)")]
    Memory(usize),
    /// A file does not begin with `FLV`.
    #[error("an FLV file starts with \"FLV\", not \"{}\"", .0.escape_ascii())]
    Signature([u8; 3]),
    /// A file is of a version other than 1.
    #[error("FLV version {0} is not supported")]
    Version(u8),
    /// The header of a file is shorter than its fields or longer than
    /// [`HEADER_BYTES_MAX`](crate::file::HEADER_BYTES_MAX).
    #[error("FLV header of {0} bytes (9 to {max} are allowed)", max = limits::HEADER_BYTES_MAX)]
    HeaderSize(u32),
    /// A tag is neither audio nor video nor script data, or it is encrypted.
    #[error("FLV tag type {0} is not supported")]
    TagType(u8),
}
