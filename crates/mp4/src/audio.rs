//! Sound: configuration records and codec strings.

mod aac;
mod dolby;
mod flac;
mod mp3;
mod opus;
mod record;

pub use self::{
    aac::aac,
    dolby::{ac3, eac3},
    flac::flac,
    mp3::mp3,
    opus::opus,
    record::Described,
};
