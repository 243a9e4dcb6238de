//! Everybody who connects to Weir: how they come in, who they are, what they may take, and why they went.
//!
//! ```text
//! socket ─► listen: a Acceptor, a place ─► PROXY header ─► Client ─► a Service serves it ─► End: a line in the log
//!                   └─ refused                           └─ roster, quota: who is here, what they take
//! ```
//!
//! In reading order: [`listen`] accepts; [`client`] is what a connection holds while it is here; [`roster`] lists them;
//! [`session`] is what they do; [`quota`] counts what they take; [`end`] says why they went; [`counts`] is what only
//! ever counts up. Nothing here knows a format, a stream's frames, the configuration or HTTP: what it is to do, it is
//! told.

pub mod client;
pub mod counts;
pub mod descriptors;
pub mod detail;
pub mod end;
pub mod events;
pub mod held;
pub mod histogram;
pub mod listen;
pub mod permits;
pub mod quota;
pub mod roster;
pub mod session;
pub mod socket;
pub mod wrong_secrets;

/// The name and version that clients are told.
pub const SERVER: &str = concat!("Weir/", env!("CARGO_PKG_VERSION"));
