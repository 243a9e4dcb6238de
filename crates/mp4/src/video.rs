//! Video: configuration records, codec strings, and how large pictures are.

mod av1;
mod avc;
mod hevc;
mod record;
mod vp9;

pub use self::{av1::av1, avc::avc, hevc::hevc, record::Described, vp9::vp9};
