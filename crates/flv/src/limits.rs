//! Limits that more than one file goes by, and that errors name.

/// How deep objects and arrays may be nested. Commands nest one level, `onMetaData` three (the track maps of Enhanced
/// RTMP); the decoder recurses, so this also bounds its stack.
pub const DEPTH_MAX: usize = 32;

/// Values in one message. The largest honest message is the `onMetaData` of a recording with a key frame index, two
/// numbers a key frame: this is room for 18 hours of 2-second GOPs. At the limit a message takes at most some 20 MB
/// while it is decoded, if it is made of objects with one property each.
pub const VALUES_MAX: usize = 65_536;

/// `ModEx` prefixes of one message. One kind is defined (nanoseconds of the timestamp); a header with more prefixes
/// than this is made to cost time.
pub const MOD_EX_MAX: usize = 16;

/// The longest file header accepted. It is 9 bytes long in every version there is; its length field allows 4 GiB.
pub const HEADER_BYTES_MAX: u32 = 1024;

/// The longest body that a tag or an RTMP message can have: its length is 24 bits wide.
pub const BODY_BYTES_MAX: usize = 0xff_ffff;
