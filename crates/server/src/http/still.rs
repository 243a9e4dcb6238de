//! `GET /app/stream.mp4?still`: the newest key frame as a file of one picture.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use super::{
    answer::{ANY_ORIGIN, no_room, plain},
    hls::{self, Asker},
};
use crate::{
    memory,
    node::Node,
    play::{self, Playing, Refusal, Request, still::Still},
};

/// Answers with the newest picture of a stream, which a cache may give others for a second.
///
/// # Errors
/// Why the client does not get it.
pub async fn serve(
    node: &Arc<Node>,
    request: &Request<'_>,
    asker: &Asker,
) -> Result<Response, Refusal> {
    let Playing { key, opened: picture, .. } = play::request(node, request, &mut Still).await?;
    let picture = match picture {
        Ok(picture) => memory::output(node.streams.registry.budget(), picture),
        Err(why) => return Ok(plain(StatusCode::NOT_ACCEPTABLE, &format!("{key}: {why}"))),
    };
    let picture = match picture {
        Ok(picture) => picture,
        Err(spent) => return Ok(no_room(&spent.to_string())),
    };
    let fields = [
        (CONTENT_TYPE, HeaderValue::from_static("video/mp4")),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=1")),
    ];
    Ok(hls::counted(node, (fields, [ANY_ORIGIN], picture).into_response(), None, asker))
}
