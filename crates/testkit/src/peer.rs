//! Scripted peers: publishers and viewers that do what the test says, when it says so.
//!
//! They publish and expect [`Numbered`] streams: each picture and each packet of sound carries its number, so a viewer
//! knows at once what was lost, doubled or out of order. Nothing is paced by the clock; a test that wants time to pass
//! waits for something to happen.

mod connection;
mod numbered;
mod publisher;
mod viewer;

pub use connection::Refused;
pub use numbered::{Numbered, Numbers, PICTURE_MILLIS};
pub use publisher::Publisher;
pub use viewer::{End, Viewer};
