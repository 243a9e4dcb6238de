//! TLS, for connections of both sides: reading certificates and keys, which of them a client is shown, whom to trust,
//! and a TCP connection that may have it.
//!
//! ```text
//! pem ─► server (names, client certificates) ─► handshake ─► Session: bytes in, bytes out ─► Stream
//!   └──► x509 (for whom, until when)
//! ```
//!
//! Nothing here knows a protocol above TLS, the configuration or a file: bytes of files come in, and what is wrong with
//! them is said in words for the person who wrote them.

pub mod client;
pub mod handshake;
pub mod pem;
mod records;
pub mod server;
pub mod session;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod x509;

pub use self::{session::Session, stream::Stream};
