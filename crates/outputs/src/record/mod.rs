//! Recordings: streams to files of FLV, fragmented MP4 or MPEG-TS.
//!
//! ```text
//! hub ──► recorder ──► cutter (frames to files) ──► lane (what waits) ──► sink, on a thread of the folder
//! ```
//!
//! One task per stream that is recorded follows the hub's log. A file has its last name when it is complete; until then
//! it ends with `.tmp` and is locked, so that what a process leaves behind that was killed is known by the next one,
//! which completes it. A disk that is slow, full or gone costs recordings, and nobody else.

mod cutter;
mod file;
mod health;
mod lane;
mod output;
mod places;
mod recorder;
mod recover;
mod retention;
mod sink;

pub use output::{NotRecorded, RecordOutput, Recording, plan_of};
pub use places::{BadPlace, bad_places};
pub use retention::Lists;
