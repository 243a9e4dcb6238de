//! Scripted peers: publishers and viewers that do what the test says, when it says so.
//!
//! [`Publisher`] and [`Viewer`] know [`Numbered`] streams: each picture and each packet of sound carries its number, so
//! a viewer knows at once what was lost, doubled or out of order. A [`Player`] takes any stream, a [`Caller`] says
//! whatever the test says, and a [`Witness`] sees that the others are not disturbed. Only the witness is paced by the
//! clock; a test that wants time to pass waits for something to happen.

mod caller;
mod connection;
mod encoder;
mod numbered;
mod player;
mod publisher;
mod viewer;
mod witness;

pub use caller::{Caller, Said};
pub use connection::Refused;
pub(crate) use connection::close;
pub use encoder::Encoder;
pub use numbered::{Numbered, Numbers, PICTURE_MILLIS, Piece};
pub use player::{End, Player};
pub use publisher::Publisher;
pub use viewer::Viewer;
pub use witness::Witness;
