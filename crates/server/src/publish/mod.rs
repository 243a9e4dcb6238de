//! Publishing, whatever the protocol: from a request to a stream that takes media in.
//!
//! ```text
//! a protocol ─► request: resolve ─► authorise ─► ask an origin (at an edge) ─► claim ─► begin ─► Publication
//!                  └─ a Refusal, which the protocol puts into its own words
//! ```

mod claim;
mod request;

pub use request::{Publication, Refusal, Request, request};
