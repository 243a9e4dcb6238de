//! That a stream is to be recorded, or not any more.

use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use serde::Serialize;
use weir_outputs::record::NotRecorded;

#[cfg(test)]
use super::answer::{AdminFailures, NotFound, Refused};
use super::{
    answer::{Answer, Failure, code},
    recording::Recording,
    state::Api,
    streams,
};

/// The recording that was started or stopped.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct OneRecording {
    /// The recording; null if the stream has none.
    #[cfg_attr(test, schema(required))]
    recording: Option<Recording>,
}

/// Records a stream from its newest key frame on, whether or not `record.streams` has it, until it ends or the
/// recording is stopped. A stream that is recorded already goes on to be.
#[cfg_attr(test, utoipa::path(post, path = "/api/v1/streams/{id}/record", tag = "streams",
    params(("id" = String, Path, description = "the id, or the name with `%2F` for each `/`")),
    responses(
        (status = 200, body = inline(Answer<OneRecording>)), AdminFailures, NotFound,
        (status = 409, description = "it cannot be recorded; the reason is in the answer", body = Refused),
    )))]
pub async fn start(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Answer<OneRecording>>, Failure> {
    let key = streams::find(&api, &id)?.key;
    if api.node.edge.is_some() {
        return Err(Failure::new(StatusCode::CONFLICT, "an edge records nothing: ask its origin"));
    }
    api.node.record.start(&key).map_err(|why| match why {
        NotRecorded::NotPublished => Failure::not_found(code::STREAM_NOT_FOUND, why),
        NotRecorded::NoFolder | NotRecorded::Stopping => Failure::new(StatusCode::CONFLICT, why),
    })?;
    let recording = api.node.record.recording(&key).map(Into::into);
    Ok(api.identity.answer(OneRecording { recording }))
}

/// Ends the recording of a stream, whatever `record.streams` says, until the stream ends or its recording is started
/// again. The file is completed after the answer. A stream that is not recorded is not any more.
#[cfg_attr(test, utoipa::path(delete, path = "/api/v1/streams/{id}/record", tag = "streams",
    params(("id" = String, Path, description = "the id, or the name with `%2F` for each `/`")),
    responses((status = 200, body = inline(Answer<OneRecording>)), AdminFailures, NotFound)))]
pub async fn stop(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Answer<OneRecording>>, Failure> {
    let key = streams::find(&api, &id)?.key;
    api.node.record.stop(&key);
    let recording = api.node.record.recording(&key).map(Into::into);
    Ok(api.identity.answer(OneRecording { recording }))
}
