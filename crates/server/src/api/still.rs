//! A picture of a stream, for those who may read.

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use tokio::time::timeout;
use weir_hub::Status;

#[cfg(test)]
use super::answer::{NotFound, ReadFailures, Refused};
use super::{
    answer::{Failure, code},
    state::Api,
    streams,
};
use crate::play::still;

/// How long a key frame is waited for.
const WAIT: std::time::Duration = std::time::Duration::from_secs(2);

/// Bytes of a picture: a key frame of 4K has some hundreds of thousands.
const BYTES_MAX: usize = 4 << 20;

/// The newest key frame of a stream that is live here, as a fragmented MP4 of one picture. It costs a copy of the
/// frame; four of them are made at a time.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/streams/{id}/still", tag = "streams",
    params(("id" = String, Path, description = "the id, or the name with `%2F` for each `/`")),
    responses(
        (status = 200, description = "the picture", content_type = "video/mp4", body = Vec<u8>), ReadFailures, NotFound,
        (status = 406, description = "the stream has no pictures that MP4 can carry", body = Refused),
        (status = 503, description = "no key frame has come yet, or too many are asked for", body = Refused),
    )))]
pub async fn still(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Failure> {
    let stats = streams::find(&api.node, &id)?;
    if stats.status != Status::Live {
        return Err(Failure::not_found(
            code::STREAM_NOT_FOUND,
            "nobody publishes this stream here",
        ));
    }
    let late =
        |_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "no key frame has come yet; retry later");
    let picture =
        timeout(WAIT, still::newest(&api.node.streams.registry, &stats.key)).await.map_err(late)?;
    let gone = |_| Failure::not_found(code::STREAM_NOT_FOUND, "the stream has ended");
    let picture = picture.map_err(gone)?;
    let picture = picture.map_err(|why| Failure::new(StatusCode::NOT_ACCEPTABLE, why))?;
    if picture.len() > BYTES_MAX {
        return Err(Failure::new(
            StatusCode::NOT_ACCEPTABLE,
            "the picture is too large to be shown",
        ));
    }
    let fields = [
        (CONTENT_TYPE, HeaderValue::from_static("video/mp4")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((fields, picture).into_response())
}
