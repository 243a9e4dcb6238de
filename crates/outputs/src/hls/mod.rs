//! HLS output: each published stream is cut into segments that are written to `hls.dir`, for our own HTTP port or for
//! nginx.
//!
//! One task per stream follows the hub's log, so that a slow disk never holds a publisher or a viewer up.

mod disk;
mod disks;
mod files;
mod folders;
mod follower;
mod health;
mod look;
mod names;
mod output;
mod state;
mod sweep;

pub use disks::is_claimed;
pub use files::Files;
pub use folders::{BadFolder, bad_folders};
pub use output::HlsOutput;
pub use state::{DISPOSE, State};
