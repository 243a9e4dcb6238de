//! The vocabulary of a live stream, shared by every other crate.
//!
//! A publisher produces [`Frame`]s on the timeline of one stream, which is named by a [`StreamKey`]. A frame
//! says *when* ([`Timestamp`]), *what* ([`Content`]) and *which track* ([`Track`]); its bytes are shared,
//! never copied per reader. Nothing here knows a wire format or does IO.

mod budget;
mod codec;
pub mod date;
mod frame;
pub mod ids;
mod key;
mod time;
mod turns;

pub use budget::{Budget, Charge, Spent, Use};
pub use codec::{AudioCodec, FourCc, VideoCodec};
pub use frame::{Content, Frame, Init, InitSlot, Track};
pub use key::{DEFAULT_VHOST, InvalidKey, KEY_BYTES_MAX, StreamKey};
pub use time::Timestamp;
pub use turns::{TURN_FRAMES, Turn, Turns};
