//! What is sent of a file of HLS, and what an answer says about it.

use std::{io, ops::Range};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{
    StatusCode,
    header::{ACCEPT_RANGES, CONTENT_RANGE},
};
use http_body_util::BodyExt as _;
use tracing::warn;
use weir_clients::counts::Refused;
use weir_edge::HlsKind;
use weir_hls::SegmentName;
use weir_media::StreamKey;

use super::viewer::Asker;
use crate::http::{
    answer::{ANY_ORIGIN, not_found, plain, retry_after},
    conditional::{self, Wanted},
};

/// With a playlist. A cache may answer for us for a moment: half the shortest segment, so that it never costs a viewer
/// a segment.
pub const PLAYLIST_HEADERS: [(&str, &str); 2] =
    [("content-type", "application/vnd.apple.mpegurl"), ("cache-control", "public, max-age=1")];

/// With a segment. Its name is never used twice.
pub const SEGMENT_HEADERS: [(&str, &str); 2] =
    [("content-type", "video/mp2t"), ("cache-control", "public, max-age=86400, immutable")];

pub fn served(kind: HlsKind, body: Bytes) -> Response {
    let headers = match kind {
        HlsKind::Playlist => PLAYLIST_HEADERS,
        HlsKind::Segment(_) => SEGMENT_HEADERS,
    };
    // Has its content-length from the body, for HEAD too.
    (headers, [ANY_ORIGIN], Body::from(body)).into_response()
}

/// 503 for what may be there in a moment.
pub fn not_now(reason: &str) -> Response {
    Refused::Unavailable.count();
    (retry_after(), plain(StatusCode::SERVICE_UNAVAILABLE, reason)).into_response()
}

/// 404 for a file that is not there, and 503 for one that may be.
pub fn no_file(key: &StreamKey, error: &io::Error, missing: impl FnOnce() -> String) -> Response {
    if error.kind() == io::ErrorKind::NotFound {
        return not_found(&missing());
    }
    warn!(stream = %key, %error, "cannot read an HLS file");
    (retry_after(), plain(StatusCode::SERVICE_UNAVAILABLE, "the file cannot be read at the moment"))
        .into_response()
}

/// What the client wants of a file that is in memory: of a segment with this name, or of a playlist, which has no
/// parts.
pub async fn in_part(answer: Response, segment: Option<SegmentName>, asker: &Asker) -> Response {
    if answer.status() != StatusCode::OK {
        return answer;
    }
    let body = answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let length = body.len() as u64;
    let etag = segment.and_then(name_of).unwrap_or_else(|| conditional::etag(&body));
    let (headers, wanted) = match segment {
        Some(_) => (SEGMENT_HEADERS, asker.conditions.wanted(&etag, length)),
        None => (PLAYLIST_HEADERS, asker.conditions.wanted_whole(&etag)),
    };
    let Some((mut answer, part)) = begun(&wanted, length) else {
        return with_fields(StatusCode::NOT_MODIFIED.into_response(), headers, &etag);
    };
    if wanted != Wanted::Beyond {
        // Both ends are within the body.
        *answer.body_mut() = Body::from(body.slice(part.start as usize..part.end as usize));
        answer = with_fields(answer, headers, &etag);
    }
    if segment.is_none() {
        answer.headers_mut().remove(ACCEPT_RANGES);
    }
    answer
}

/// The name of what is in a segment, if its own name is never used twice.
pub fn name_of(segment: SegmentName) -> Option<String> {
    let file = segment.file("");
    let name = file.trim_start_matches('-').trim_end_matches(".ts");
    segment.nonce.is_some().then(|| format!("\"{name}\""))
}

/// An answer without its body, and the part of a file of `length` bytes that it sends; none if it sends nothing because
/// the client has it.
pub fn begun(wanted: &Wanted, length: u64) -> Option<(Response, Range<u64>)> {
    match wanted {
        Wanted::Nothing => None,
        Wanted::Whole => {
            let answer = ([(ACCEPT_RANGES, "bytes")], Body::empty()).into_response();
            Some((answer, 0..length))
        }
        Wanted::Part(part) => {
            let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            let fields = [(ACCEPT_RANGES, "bytes".to_owned()), (CONTENT_RANGE, range)];
            let answer = (StatusCode::PARTIAL_CONTENT, fields, Body::empty()).into_response();
            Some((answer, part.clone()))
        }
        Wanted::Beyond => {
            let fields = [(CONTENT_RANGE, format!("bytes */{length}"))];
            let reason = format!("the file has {length} bytes");
            let answer = (fields, plain(StatusCode::RANGE_NOT_SATISFIABLE, &reason));
            Some((answer.into_response(), 0..0))
        }
    }
}

/// The same answer with what all answers with, or about, this file say.
pub fn with_fields(answer: Response, headers: [(&str, &str); 2], etag: &str) -> Response {
    // Scripts of pages from elsewhere may read these.
    let exposed = "Content-Length, Content-Range, ETag";
    let fields = [("etag", etag), ("access-control-expose-headers", exposed)];
    let (status, own) = (answer.status(), answer.headers().clone());
    let mut all = (status, headers, fields, [ANY_ORIGIN], answer.into_body()).into_response();
    all.headers_mut().extend(own);
    all
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use weir_hls::Form;

    use super::*;

    #[test]
    fn what_an_edge_relays_looks_like_what_its_origins_say() {
        let segment = HlsKind::Segment(SegmentName { sequence: 7, nonce: None, form: Form::Ts });
        for (kind, content_type, cache) in [
            (HlsKind::Playlist, "application/vnd.apple.mpegurl", "public, max-age=1"),
            (segment, "video/mp2t", "public, max-age=86400, immutable"),
        ] {
            let (parts, body) = served(kind, Bytes::from_static(b"seven")).into_parts();
            let header = |name: &str| parts.headers[name].to_str().expect("text").to_owned();
            assert_eq!(header("content-type"), content_type);
            assert_eq!(header("cache-control"), cache);
            assert_eq!(header("access-control-allow-origin"), "*");
            assert_eq!(body.size_hint().exact(), Some(5), "what content-length is made of");
        }
    }
}
