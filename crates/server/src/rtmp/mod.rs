//! RTMP: its ports, its connections, and what they ask for.
//!
//! ```text
//! service ─► connection ─┬─ play ─► play::request ─► a shard, or slow
//!                        ├─ publish ─► publish::request ─► the hub, until the end
//!                        └─ question ─► answers
//! ```

mod connection;
mod pace;
mod play;
mod publish;
mod question;
mod service;
mod slow;

pub use service::{Service, resume};
