//! What waits to be uploaded.

use axum::{Json, extract};
use serde::{Deserialize, Serialize};
use weir_upload::{File, ListedFile};

#[cfg(test)]
use super::answer::ReadFailures;
use super::{
    answer::{Answer, Failure, Page, Params, Scope},
    clock::millis,
    state::Api,
};

/// Which part of the list is wanted.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub struct Part {
    /// How many files are left out at the beginning; 0 where it is not said.
    #[cfg_attr(test, param(minimum = 0, maximum = 4_294_967_295_u64))]
    start: Option<u32>,
    /// How many files are wanted, 10 where it is not said.
    #[cfg_attr(test, param(minimum = 0, maximum = 10_000))]
    count: Option<u32>,
}

/// How uploads go.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Uploads {
    /// Where files go (`upload.url` and its server); null if nothing is uploaded.
    #[cfg_attr(test, schema(required))]
    target: Option<String>,
    /// Attempts that have failed at the storage since its last success. If there are any, everything waits, but for one
    /// attempt now and then.
    failures: u32,
    /// How long it is until the next of these, in milliseconds; null if the storage does not fail.
    #[cfg_attr(test, schema(required))]
    next_attempt_ms: Option<u64>,
    /// Why the storage failed last, since the start or the last reload; null if it has not.
    #[cfg_attr(test, schema(required))]
    last_error: Option<String>,
    /// When that was, in milliseconds since 1970-01-01 UTC.
    #[cfg_attr(test, schema(required))]
    last_error_ms: Option<u64>,
    /// Whether there are more files than `total`: they are taken up when others are done.
    has_more: bool,
    /// How many files are to be uploaded, as far as they are known.
    total: usize,
    /// Those that are being uploaded, and then the others, in the order in which they are tried.
    files: Vec<UploadedFile>,
}

/// A file that is to be uploaded.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct UploadedFile {
    /// `recording`, `segment`, or `playlist`: one that may still change.
    kind: &'static str,
    /// The folder that it is in: `record.dir` or `hls.dir`.
    dir: String,
    /// Its path below that folder.
    file: String,
    /// `uploading`, `waiting`, or `failed`: it has failed for a reason of its own, and is tried again.
    state: &'static str,
    /// Why it has failed; null if it has not.
    #[cfg_attr(test, schema(required))]
    error: Option<String>,
}

/// Uploads.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct AllUploads {
    /// Null on an edge.
    #[cfg_attr(test, schema(required))]
    uploads: Option<Uploads>,
}

/// What waits to be uploaded, what fails, and why; null on an edge.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/uploads", tag = "operation", params(Part),
    responses((status = 200, body = inline(Answer<AllUploads>)), ReadFailures)))]
pub async fn uploads(
    extract::State(api): extract::State<Api>,
    Params(Part { start, count }): Params<Part>,
) -> Result<Json<Answer<AllUploads>>, Failure> {
    let (start, count) = Page { start, count, scope: Scope::Node }.range()?;
    let uploads = api.node.uploader.as_ref().map(|uploader| {
        let listed = uploader.list();
        let (last_error, at) = listed.last.unzip();
        Uploads {
            target: uploader.target(),
            failures: listed.failures,
            next_attempt_ms: listed.pause.map(|pause| pause.as_millis() as u64),
            last_error,
            last_error_ms: at.map(millis),
            has_more: listed.has_left_out,
            total: listed.files.len(),
            files: listed.files.into_iter().skip(start).take(count).map(Into::into).collect(),
        }
    });
    Ok(api.identity.answer(AllUploads { uploads }))
}

impl From<ListedFile> for UploadedFile {
    fn from(listed: ListedFile) -> Self {
        let ListedFile { job, is_running, reason } = listed;
        let kind = match job.file {
            File::Recording(_) => "recording",
            File::Segment { .. } => "segment",
            File::Playlist(_) => "playlist",
        };
        let state = match (is_running, &reason) {
            (true, _) => "uploading",
            (false, Some(_)) => "failed",
            (false, None) => "waiting",
        };
        let (dir, file) = (job.dir.display().to_string(), job.path().to_owned());
        Self { kind, dir, file, state, error: reason }
    }
}
