//! Sans-IO RTMP: handshakes, chunks, messages, server and client sessions.
//!
//! ```text
//! bytes ─► handshake ─► chunk::Reader ─► Message ─┬─► protocol control: answered inside
//!                                                 ├─► command ─► Event::{Connected, Publish, Play, ...}
//!                                                 └─► media   ─► Event::Media(Tag)
//! bytes ◄─ chunk::encode_message ◄─ replies, media
//! ```
//!
//! A [`server::Session`] or [`client::Session`] is one end of one connection. Bytes and the time go in
//! (`handle_input`, `handle_timeout`); bytes, events and the next deadline come out (`poll_output`, `poll_event`,
//! `poll_timeout`). Nothing here opens a socket, reads a clock or draws a random number: the caller hands all of them
//! in.
//!
//! Sources: Adobe's Real Time Messaging Protocol (RTMP) specification 1.0 ("the specification" below), Enhanced RTMP
//! v2, and what real peers send where the two are silent.

mod capabilities;
pub mod chunk;
pub mod client;
mod error;
pub mod handshake;
mod limits;
mod link;
mod media;
pub mod message;
pub mod server;
pub mod url;

pub use capabilities::Capabilities;
pub use error::Error;
pub use media::LeftOut;
