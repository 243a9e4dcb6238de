//! How the recording of a stream goes.

use serde::Serialize;
use weir_outputs::record;

use super::clock::millis;

/// The recording of a stream.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Recording {
    /// `starting` until the first file is written, `recording`, `failing` while it cannot be written (it is tried
    /// again), `unsupported` if the container has no room for the stream, or `stopped` by the API.
    state: &'static str,
    /// Why it fails, or what the container has no room for; null otherwise.
    #[cfg_attr(test, schema(required))]
    reason: Option<String>,
    /// The name that the present file gets when it is complete, below `record.dir`; null while there is none.
    #[cfg_attr(test, schema(required))]
    file: Option<String>,
    /// Bytes of that file so far.
    bytes: u64,
    /// When the recording began, in milliseconds since 1970-01-01 UTC.
    since_ms: u64,
    /// Groups of pictures that are missing in it.
    dropped_groups: u64,
}

impl From<record::Recording> for Recording {
    fn from(recording: record::Recording) -> Self {
        let record::Recording { state, reason, file, bytes, since, dropped_groups } = recording;
        Self {
            state,
            reason: reason.map(|reason| reason.to_string()),
            file: file.map(|file| file.display().to_string()),
            bytes,
            since_ms: millis(since),
            dropped_groups,
        }
    }
}
