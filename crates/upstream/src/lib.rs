//! Connections to other servers: a [`Source`] is a stream that is played from one, a [`Sink`] one that is published to
//! one.
//!
//! ```text
//! edge ─────┐                     ┌─ Source::play, Source::download ──tags──►
//! forwarding├─► connect, PeerTls ─┤
//! pulling ──┘                     └─ Sink::publish ◄──messages──
//! ```
//!
//! Whoever asks says where ([`connect()`], [`connect_to_name`], with [`Secure`] for TLS) and what ([`Call`] in RTMP,
//! [`HttpCall`] in HTTP-FLV), and hears in one vocabulary what became of it: [`Failure`] before there is a stream,
//! [`Lost`] or [`Broken`] after. A [`Feed`] gives a sink what a stream's log has. Nothing here knows why a server is
//! asked, or which one comes next.

pub mod client;

mod ask;
mod backoff;
mod connect;
mod failure;
mod feed;
mod flv;
mod hops;
mod rtmp;
mod sink;
mod source;
mod tls;
mod turns;

pub use ask::{Ask, Asking};
pub use backoff::{backoff, pause};
pub use connect::{CONNECT_TIMEOUT, connect, connect_to_name};
pub use failure::{Failure, Lost, NOTHING, WORDS_MAX, words};
pub use feed::{AsItIs, Dry, Feed, Fit};
pub use flv::{HttpCall, HttpServer, Redirect};
pub use hops::{HOPS_MAX, Hops, NodeId};
pub use rtmp::{Call, lost, play, questions};
pub use sink::{Broken, Sink};
pub use source::Source;
pub use tls::{PeerTls, Peers, Secure, Trusted};
pub use turns::{Asker, Turn, Turns, asker};
