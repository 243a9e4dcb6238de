//! What has happened lately.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use weir_clients::events::{EVENTS, Event as Known};
use weir_media::ids;

#[cfg(test)]
use super::answer::{Answer, ReadFailures};
use super::{
    answer::{Failure, Params, Scope},
    clock::millis,
    cluster,
    state::Api,
    wall,
};

/// Something that has happened.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Event {
    /// The same while the event is known, also when it happens again.
    id: u64,
    /// Higher than those of all that happened before.
    number: u64,
    /// When it happened last, in milliseconds since 1970-01-01 UTC.
    at_ms: u64,
    /// `publisher_came`, `publisher_left`, `publish_refused`, `play_refused`, `client_ended` (by an operator),
    /// `origin_lost`, `origin_back`, `pull_lost`, `push_lost`, `reloaded`, `reload_failed`, `recording_began`,
    /// `recording_ended` or `drain_began`.
    kind: &'static str,
    /// The id of the stream that it is about; null if it is about none.
    #[cfg_attr(test, schema(required))]
    stream: Option<String>,
    /// The full name of that stream.
    #[cfg_attr(test, schema(required))]
    url: Option<String>,
    /// The address of the client that it is about; null if it is about none.
    #[cfg_attr(test, schema(required))]
    peer: Option<String>,
    /// Why, or what else there is to say; may be empty.
    detail: String,
    /// Which sentence `detail` is, in a word, for programs that say it in other words: how a session ended (`closed`,
    /// `replaced`, ... as in `weir_sessions_ended_total`), why somebody was denied (`denied_token`, ...), or another
    /// one. Empty where `detail` is what a peer or the system has said. There may be new ones.
    code: &'static str,
    /// What the sentence is about: names, numbers, and what others have said.
    values: Vec<String>,
    /// How often it has happened, within a minute each.
    count: u64,
}

impl From<Known> for Event {
    fn from(event: Known) -> Self {
        let Known { id, number, at, kind, stream, peer, detail, count } = event;
        Self {
            id,
            number,
            at_ms: millis(at),
            kind: kind.label(),
            stream: stream.as_ref().map(ids::stream),
            url: stream.map(|key| key.to_string()),
            peer: peer.map(|ip| ip.to_string()),
            detail: detail.text.into(),
            code: detail.code,
            values: detail.values.into_iter().map(Into::into).collect(),
            count,
        }
    }
}

/// Which events are wanted.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub struct Wanted {
    /// `last` of the answer before; 0, or none, for all that are known.
    #[serde(default)]
    #[cfg_attr(test, param(minimum = 0, maximum = 9_007_199_254_740_991_u64))]
    after: u64,
    /// Seconds to wait for the next event, 25 at most; not with `scope=cluster`.
    #[serde(default)]
    #[cfg_attr(test, param(minimum = 0, maximum = 25))]
    wait: u64,
    /// The id of a stream: only its events.
    stream: Option<String>,
    /// Whose answer is wanted: `node` is this node's, `cluster` merges those of all nodes of `api.peers`.
    #[serde(default)]
    #[cfg_attr(test, param(inline))]
    scope: Scope,
}

/// Events.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Events {
    /// What to ask with next, as `after`.
    last: u64,
    events: Vec<Event>,
}

/// What has happened at this node lately, the oldest first: some hundred events are kept. A call may wait for the next.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/events", tag = "operation", params(Wanted),
    responses((status = 200, body = inline(Answer<Events>)), ReadFailures)))]
pub async fn events(
    State(api): State<Api>,
    Params(wanted): Params<Wanted>,
) -> Result<cluster::Text, Failure> {
    let wait = wall::waiting(wanted.wait)?;
    // A number from before a restart is not one of this process.
    let after = wall::seen(wanted.after)?;
    let after = if after > EVENTS.last() { 0 } else { after };
    if wanted.scope == Scope::Node && wanted.after > 0 {
        // Who has waited in vain is told that nothing has happened.
        let _ = timeout(wait, EVENTS.beyond(after)).await;
    }
    let last = EVENTS.last();
    let all = EVENTS.after(after).into_iter().map(Event::from);
    let is_wanted = |event: &Event| wanted.stream.is_none() || event.stream == wanted.stream;
    let events = Events { last, events: all.filter(is_wanted).collect() };
    cluster::merged(&api, wanted.scope, ("events", "events"), events).await
}

#[cfg(test)]
mod tests {
    use weir_clients::end::Kind;

    /// The console's words for what happens, in Chinese.
    const WORDS: &str = include_str!("../../../console/web/details.js");

    #[test]
    fn every_end_of_a_session_has_words_in_the_console() {
        for kind in Kind::ALL {
            assert!(WORDS.contains(&format!("\n  {}: \"", kind.label())), "{}", kind.label());
        }
    }
}
