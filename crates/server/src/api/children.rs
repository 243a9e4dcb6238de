//! Programs that run for streams.

use axum::{Json, extract};
use serde::Serialize;
use weir_children::{ChildStatus, State};
use weir_media::ids;

#[cfg(test)]
use super::answer::ReadFailures;
use super::{answer::Answer, state::Api};

/// A program that runs for a stream.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Child {
    /// The stream's id, the same on all nodes.
    stream: String,
    /// Its full name, with app and vhost.
    url: String,
    /// The key of the configuration that it is of: `exec`, `transcode`, `ingest`.
    kind: &'static str,
    /// What tells it apart from others there: the name of a transcode, else the program.
    name: String,
    /// The full name of the stream that it makes here; null if it makes none.
    #[cfg_attr(test, schema(required))]
    makes: Option<String>,
    /// `starting`, `running`, `waiting` to be started again, or `over`: it is not started again for this stream.
    state: &'static str,
    /// The number of its process; null while it does not run.
    #[cfg_attr(test, schema(required))]
    pid: Option<u32>,
    /// How long it has run, in milliseconds; null while it does not.
    #[cfg_attr(test, schema(required))]
    since_ms: Option<u64>,
    /// How it ended, or why it does not run; null while it runs.
    #[cfg_attr(test, schema(required))]
    reason: Option<String>,
}

/// Programs.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct AllChildren {
    children: Vec<Child>,
}

/// The programs of `exec`, `transcode` and `ingest` that there are now, and how they are doing.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/children", tag = "operation",
    responses((status = 200, body = inline(Answer<AllChildren>)), ReadFailures)))]
pub async fn children(extract::State(api): extract::State<Api>) -> Json<Answer<AllChildren>> {
    let mut children: Vec<Child> = api.node.children.list().into_iter().map(Child::from).collect();
    children.sort_by(|a, b| (&a.url, a.kind, &a.name).cmp(&(&b.url, b.kind, &b.name)));
    api.identity.answer(AllChildren { children })
}

impl From<ChildStatus> for Child {
    fn from(child: ChildStatus) -> Self {
        let label = child.state.label();
        let (running, reason) = match child.state {
            State::Starting => (None, None),
            State::Running { pid, since } => {
                (Some((pid, since.elapsed().as_millis() as u64)), None)
            }
            State::Waiting { why } | State::Over { why } => (None, Some(why)),
        };
        Self {
            stream: ids::stream(&child.key),
            url: child.key.to_string(),
            kind: child.kind,
            name: child.name,
            makes: child.makes.map(|key| key.to_string()),
            state: label,
            pid: running.map(|(pid, _)| pid),
            since_ms: running.map(|(_, since)| since),
            reason,
        }
    }
}
