//! The edge: each stream is pulled from its origin once, and a publish is passed on to it.
//!
//! ```text
//! viewers ──► play ──► pull ──► search: who has it? ──► a Source ──frames──► hub ──► viewers
//! encoder ──► ingest ──► push ──► search: who owns it? ──► a Sink
//!                └──frames──► hub ──frames──► push
//! HLS ──► hls ──► origin: one request an object
//! ```
//!
//! [`Origins`] knows where the origins are, which of them owns a stream and which of them are alive.
//!
//! Whoever serves viewers and encoders says what one of them wants with an [`Ask`]. A viewer is let in by
//! [`Edge::admit`], and [`Edge::denied`] has the stream pulled into the hub or says why there is none ([`NoStream`]);
//! [`Edge::open_push`] finds the origin that takes an encoder's stream ([`Opened`]); [`HlsRelay::serve`] gives objects
//! of HLS. Nothing here knows viewers' sockets, or in which protocol somebody asks.

mod ask;
mod edge;
mod hls;
mod idle;
mod no_stream;
mod origins;
mod pull;
mod pulls;
mod push;
mod pushing;
mod query;
mod questions;
mod search;
mod seek;
mod silence;
mod tls;
mod turns;
mod upstream;

pub use ask::Ask;
pub use edge::Edge;
pub use hls::{
    HlsRelay, Kind as HlsKind, Media as HlsMedia, NotServed, Object as HlsObject,
    Relayed as HlsRelayed, Stats as HlsStats,
};
pub use no_stream::NoStream;
pub use origins::{Name, OriginStatus, Origins};
pub use pulls::Answer;
pub use push::{Opened, Push, refusal};
pub use questions::{Protocol, Verdict};
pub use weir_upstream::{Failure, Hops};

pub(crate) use origins::Origin;
pub(crate) use upstream::Request;
pub(crate) use weir_upstream::NodeId;
