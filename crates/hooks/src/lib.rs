//! Callbacks: a back end hears over HTTP what clients do, and decides about it, by the contract of SRS.
//!
//! ```text
//! session begins ─► Hooks::play, publish, connect ─┐ a decision: waited for
//! session ends ───► drop of a Ticket ──────────────┤ a notice: nobody waits for it
//!                                                  ▼
//!                                      Lanes: one queue per client, in order
//!                                                  ▼
//!                                      Backends: a bounded number of connections to each
//! ```
//!
//! Whoever tells something only puts it into the queue of its client, which takes no more than a lock held for a
//! moment: delivery threads do so. Everything else happens on the runtime. `docs/guide/hooks.md` is for those who write
//! back ends.

mod answer;
mod backend;
mod event;
mod figures;
mod health;
mod hooks;
mod lanes;
mod publishing;
mod route;
mod sign;
mod ticket;
mod trust;

pub use self::{
    answer::Refused,
    event::{Action, Names, Segment, Subject},
    figures::{Figures, Outcome},
    hooks::Hooks,
    route::own_address,
    sign::{EVENT_HEADER, SIGNATURE_HEADER, signature},
    ticket::Ticket,
    trust::Trusts,
};
