//! What operators do: look at the configuration, reload it, stop the server.

use axum::{Json, extract::State};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

#[cfg(test)]
use super::answer::{AdminFailures, ReadFailures, Refused};
use super::{
    answer::{Answer, Failure},
    clock::millis,
    state::Api,
};
use crate::operate::{control::Why, reload::ReloadError};

/// The configuration in force.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct InForce {
    /// Every key with its value; secrets are `***`.
    #[cfg_attr(test, schema(value_type = Object))]
    config: Value,
}

/// The configuration in force: every key, the defaults included. Secrets are not shown.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/config", tag = "operation",
    responses((status = 200, body = inline(Answer<InForce>)), ReadFailures)))]
pub async fn config(State(api): State<Api>) -> Json<Answer<InForce>> {
    api.identity.answer(InForce { config: api.node.config().to_json() })
}

/// How reloads went.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Reloads {
    reload: Last,
}

/// How the reloads so far went.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Last {
    /// When the configuration in force was applied, at the start or by a reload, in milliseconds since 1970-01-01 UTC.
    applied_ms: u64,
    /// Whether the last reload succeeded; true before the first one.
    success: bool,
    /// Reloads that succeeded.
    succeeded: u64,
    /// Reloads that failed.
    failed: u64,
    /// Why the last reload failed; null if it did not.
    #[cfg_attr(test, schema(required))]
    error: Option<String>,
}

/// How the reloads so far went.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/reload", tag = "operation",
    responses((status = 200, body = inline(Answer<Reloads>)), ReadFailures)))]
pub async fn reloads(State(api): State<Api>) -> Json<Answer<Reloads>> {
    let last = api.control.reloader.last();
    let [succeeded, failed] = last.counts;
    let applied_ms = millis(last.applied_at);
    let reload =
        Last { applied_ms, success: last.is_success, succeeded, failed, error: last.error };
    api.identity.answer(Reloads { reload })
}

/// What a reload changed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Reloaded {
    /// The keys that have other values now; empty if the configuration was the same.
    changes: Vec<Change>,
}

/// A key whose value changed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Change {
    /// The key, such as `limits.egress`.
    key: String,
    /// Its value before the reload.
    from: String,
    /// Its value since the reload.
    to: String,
}

impl From<weir_config::Change> for Change {
    fn from(change: weir_config::Change) -> Self {
        Self { key: change.path, from: change.from, to: change.to }
    }
}

/// Reads the configuration anew and puts it in force, as a whole or not at all. Nobody is disconnected.
#[cfg_attr(test, utoipa::path(post, path = "/api/v1/reload", tag = "operation",
    responses(
        (status = 200, body = inline(Answer<Reloaded>)), AdminFailures,
        (status = 409, description = "it needs a restart; nothing was changed", body = Refused),
        (status = 422, description = "the configuration is invalid; nothing was changed", body = Refused),
        (status = 500, description = "a system call failed; nothing was changed", body = Refused),
    )))]
pub async fn reload(State(api): State<Api>) -> Result<Json<Answer<Reloaded>>, Failure> {
    Ok(api.identity.answer(reload_once(&api).await?))
}

/// Reloads.
///
/// # Errors
/// When nothing was changed.
pub async fn reload_once(api: &Api) -> Result<Reloaded, Failure> {
    let reloaded = api.control.reloader.reload("API request").await;
    let diff = reloaded.map_err(|error| refusal(&error))?;
    Ok(Reloaded { changes: diff.changes.into_iter().map(Change::from).collect() })
}

fn refusal(error: &ReloadError) -> Failure {
    match error {
        ReloadError::NeedsRestart(changes) => {
            let keys = changes.iter().map(|change| change.path.clone()).collect();
            Failure::new(StatusCode::CONFLICT, error).about(keys)
        }
        ReloadError::Config(_) => Failure::new(StatusCode::UNPROCESSABLE_ENTITY, error),
        ReloadError::System(_) => Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

/// How long the drain takes.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Draining {
    /// How long clients are still served as before, in milliseconds (`drain.notice`).
    notice_ms: u64,
    /// Milliseconds after which the process exits at the latest (`drain.timeout`).
    timeout_ms: u64,
}

/// Lets everybody go, as SIGTERM does, and ends the process then.
#[cfg_attr(test, utoipa::path(post, path = "/api/v1/drain", tag = "operation",
    responses((status = 202, body = inline(Answer<Draining>)), AdminFailures)))]
pub async fn drain(State(api): State<Api>) -> (StatusCode, Json<Answer<Draining>>) {
    let drain = api.node.config().drain.clone();
    api.control.drain(Why::Asked);
    let notice_ms = drain.notice.as_millis() as u64;
    let answer = Draining { notice_ms, timeout_ms: drain.timeout.as_millis() as u64 };
    (StatusCode::ACCEPTED, api.identity.answer(answer))
}
