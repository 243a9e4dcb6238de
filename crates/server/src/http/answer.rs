//! Answers in a sentence: why somebody gets nothing, in the words of HTTP.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CONNECTION, RETRY_AFTER},
};
use weir_clients::{SERVER, counts::Refused, quota};
use weir_edge::NoStream;

use crate::play;

/// Lets pages from anywhere play: what they get is public to whoever can reach the port.
pub const ANY_ORIGIN: (&str, &str) = ("access-control-allow-origin", "*");

/// Fields that a page may send from anywhere.
const ALLOWED_HEADERS: &str =
    "*, Authorization, Range, If-Range, If-None-Match, Cache-Control, Content-Type";

/// 404 with a reason that a person can read.
pub fn not_found(reason: &str) -> Response {
    plain(StatusCode::NOT_FOUND, reason)
}

/// An answer in a sentence, not to be cached.
pub fn plain(status: StatusCode, reason: &str) -> Response {
    let headers = [
        ANY_ORIGIN,
        ("cache-control", "no-store"),
        ("server", SERVER),
        // It may repeat a name that somebody has made up.
        ("x-content-type-options", "nosniff"),
    ];
    (status, headers, format!("{reason}\n")).into_response()
}

/// What a viewer is told that gets nothing.
pub fn refused(refusal: &play::Refusal) -> Response {
    let (status, may_come_again) = status(refusal);
    let mut answer = plain(status, &refusal.to_string());
    if may_come_again {
        answer.headers_mut().insert(RETRY_AFTER, quota::RETRY_AFTER.as_secs().into());
    }
    if matches!(refusal, play::Refusal::Guesses { .. }) {
        // The next one costs it a connection.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// The status of a refusal, and whether it holds only for now.
fn status(refusal: &play::Refusal) -> (StatusCode, bool) {
    match refusal {
        play::Refusal::BadName(_) => (StatusCode::BAD_REQUEST, false),
        play::Refusal::Denied { why, .. } if why.is_passing() => {
            (StatusCode::SERVICE_UNAVAILABLE, true)
        }
        play::Refusal::Denied { .. } => (StatusCode::FORBIDDEN, false),
        play::Refusal::NoStream { why, .. } => match why {
            NoStream::Missing(_) => (StatusCode::NOT_FOUND, false),
            NoStream::Refused(_) | NoStream::Full(quota::Refusal::Kicked) => {
                (StatusCode::FORBIDDEN, false)
            }
            NoStream::Unavailable(_) | NoStream::Full(_) => (StatusCode::SERVICE_UNAVAILABLE, true),
        },
        play::Refusal::Unfit { .. } => (StatusCode::NOT_ACCEPTABLE, false),
        play::Refusal::Guesses { .. } => (StatusCode::TOO_MANY_REQUESTS, true),
    }
}

/// When one who is refused for now may come back.
pub fn retry_after() -> [(&'static str, String); 1] {
    [("retry-after", quota::RETRY_AFTER.as_secs().to_string())]
}

/// 503 for one whose request, or its answer, there is no memory for.
pub fn no_room(reason: &str) -> Response {
    Refused::Unavailable.count();
    let fields = (retry_after(), [("connection", "close")]);
    (fields, plain(StatusCode::SERVICE_UNAVAILABLE, reason)).into_response()
}

/// What pages from anywhere are told that ask whether they may ask.
pub fn preflight() -> Response {
    let headers = [
        ANY_ORIGIN,
        ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
        // The star does not stand for `Authorization` (Fetch section 3.3.3), and old browsers do not know it.
        ("access-control-allow-headers", ALLOWED_HEADERS),
        ("access-control-max-age", "86400"),
    ];
    (StatusCode::NO_CONTENT, headers, Body::empty()).into_response()
}

/// The same as [`refused`] where hyper does not have the connection, which ends with it.
pub fn closing_refused(refusal: &play::Refusal, is_head: bool) -> String {
    let (status, may_come_again) = status(refusal);
    let fields = if may_come_again { retry_field() } else { String::new() };
    closing(&status.to_string(), &refusal.to_string(), &fields, is_head)
}

/// What a connection is told, before it ends, that is one too many.
pub fn closing_turned_away(refusal: &quota::Refusal) -> String {
    closing("503 Service Unavailable", &refusal.to_string(), &retry_field(), false)
}

fn retry_field() -> String {
    format!("Retry-After: {}\r\n", quota::RETRY_AFTER.as_secs())
}

/// The answer to the last request of a connection that hyper does not have: a sentence for people.
pub fn closing(status: &str, reason: &str, fields: &str, is_head: bool) -> String {
    let body = if is_head { "" } else { reason };
    format!(
        "HTTP/1.1 {status}\r\nServer: {SERVER}\r\n\
         Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
         {}: {}\r\n{fields}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        ANY_ORIGIN.0,
        ANY_ORIGIN.1,
        reason.len()
    )
}
