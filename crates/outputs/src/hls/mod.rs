//! HLS output: each published stream is cut into segments, which are held in memory for our own HTTP port.
//!
//! ```text
//! hub ──► follower ──► Window ──► HTTP
//!                        └──────► writer ──► files in hls.dir, for nginx and for the next process
//! ```
//!
//! One task per stream follows the hub's log and fills the window; another one brings the files up to date. A disk that
//! is slow, full or gone costs the files. A stream that has ended has no task once all of it is in files: what remains
//! is served, and a publisher that returns goes on with it.

pub(crate) mod disk;
mod disks;
mod files;
mod folders;
mod follower;
mod health;
mod layout;
mod left;
mod look;
mod names;
mod output;
mod packager;
mod plan;
mod renditions;
mod share;
mod state;
mod sweep;
mod view;
mod writer;

pub use disks::is_claimed;
pub(crate) use disks::try_folder;
pub use files::Files;
pub(crate) use folders::is_lasting;
pub use folders::{BadFolder, bad_folders};
pub use layout::{Layout, Levels, Names};
pub use output::{Found, HlsOutput};
pub use state::{DISPOSE, State};
pub(crate) use state::{Stopping, is_published};
