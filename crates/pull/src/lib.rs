//! Streams that an origin gets from elsewhere: from other servers, and from files that are read again and again; and
//! what it shows while a publisher is away.
//!
//! ```text
//! Pulls ─► Task (one a stream) ─► Source: another server (upstream), or Looped (a file) ──tags──► Intake ─► hub
//!   ▲ always, or when a viewer asks (Pulls::denied)                                                 ▲
//! a publisher leaves ─► Fallback: Looped, as its stand-in ──tags─────────────────────────────────────┘
//! ```
//!
//! A pull is a publisher among others: it takes nothing from an encoder, and what follows a stream follows it too
//! ([`Host`]). Nothing here knows who watches, or in which protocol somebody asks.

mod entry;
mod fallback;
mod known;
mod looped;
mod pulls;
mod shared;
mod slate;
mod source;
mod tags;
mod task;

pub use fallback::{Fallback, check_files};
pub use known::{PullStatus, State};
pub use pulls::{NoPull, Pulls};
pub use shared::{Asked, Host, Permit};
pub use slate::Kinds;
pub use tags::{Tags, Unreadable};

pub use entry::faults;

use weir_config::{Config, Fault};

/// Whether what pulls and fallbacks need is there, for a start. Files that are pulled may appear later.
///
/// # Errors
/// The first that is not.
pub fn check(config: &Config) -> Result<(), Fault> {
    entry::read(config)?;
    check_files(config).into_iter().try_for_each(|(_, _, kinds)| kinds.map(drop))
}
