//! The Weir process.
