//! What this is.

/// The name and version that clients are told.
pub const SERVER: &str = concat!("Weir/", env!("CARGO_PKG_VERSION"));
