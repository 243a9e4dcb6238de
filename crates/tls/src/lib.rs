//! TLS, for connections of both sides: reading certificates and keys, whom to trust, and a TCP connection that may have
//! it.
//!
//! Nothing here knows a protocol above TLS, the configuration or a file: bytes of files come in, and what is wrong with
//! them is said in words for the person who wrote them.

pub mod client;
pub mod pem;
pub mod session;
pub mod stream;

pub use self::stream::Stream;
