//! What who asks may do.

use axum::{Extension, Json, extract::State};
use serde::Serialize;

#[cfg(test)]
use super::answer::ReadFailures;
use super::{answer::Answer, rights::Shown, state::Api};
use crate::tls::Right;

/// The rights of whoever asks.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Session {
    /// `admin` for everything, or `read`.
    right: &'static str,
}

/// What the token or certificate of this request allows: `read`, or `admin` for everything. Who may not even read is
/// refused, as by every call.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/session", tag = "server",
    responses((status = 200, body = inline(Answer<Session>)), ReadFailures)))]
pub async fn session(
    State(api): State<Api>,
    Extension(Shown(right)): Extension<Shown>,
) -> Json<Answer<Session>> {
    let right = match right {
        Right::Admin => "admin",
        Right::Read | Right::None => "read",
    };
    api.identity.answer(Session { right })
}
