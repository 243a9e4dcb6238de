//! Uploads: recordings that are finished, and segments of HLS with their playlists, go to a storage that speaks S3.
//!
//! ```text
//! outputs ── FinishedFile ──► Uploader ──► a note beside the file ──► queue ──► S3: put, or parts ──► the note goes
//!                                              ▲ found again after a restart
//! ```
//!
//! The files on the disk are the queue: what is to be uploaded has a note (`jobs.rs`) in a folder of its own beside
//! them, and is tried until it has been. Nothing here is on the way of a frame.

mod credentials;
mod jobs;
mod local;
mod queue;
mod s3;
mod sign;
mod target;
mod uploader;
mod work;

pub use jobs::{File, Job};
pub use queue::{Listed, ListedFile};
pub use uploader::{Stats, Uploader};
