//! Playing, whatever the protocol: from a request to what its viewer is sent.
//!
//! ```text
//! a protocol ─► request: resolve ─► authorise ─► look ─► ask the origins ─► open ─► admit, begin ─► Playing
//!                  └─ a Refusal, which the protocol puts into its own words
//! ```

pub mod live;
mod request;
pub mod still;

pub use request::{Playing, Refusal, Request, Resolved, Resource, authorize, request, resolve};
