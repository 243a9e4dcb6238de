//! The calls about it.

use std::time::{Duration, Instant, SystemTime};

use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize, Serializer};
use weir_media::ids;

use super::{
    Changes,
    health::{self, Health},
    past::{EVERY, Past, Point},
    row::Row,
};
#[cfg(test)]
use crate::api::answer::{NotFound, ReadFailures};
use crate::api::{
    answer::{Answer, Failure, Params, Scope},
    clock::millis,
    cluster,
    samples::Kbps,
    state::Api,
    streams,
};

/// How long a call may wait for news: shorter than the shortest time-outs of proxies.
pub const WAIT_MAX: u64 = 25;

/// What has been seen, and how long to wait for more.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub struct Since {
    /// The `version` of the answer before; 0, or none, for all streams.
    #[serde(default)]
    #[cfg_attr(test, param(minimum = 0, maximum = 9_007_199_254_740_991_u64))]
    after: u64,
    /// Seconds to wait until something has changed, 25 at most.
    #[serde(default)]
    #[cfg_attr(test, param(minimum = 0, maximum = 25))]
    wait: u64,
}

/// All streams, or what has changed of them.
#[derive(Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Wall {
    /// What to ask with next, as `after`.
    version: u64,
    /// Whether all streams are in the answer: those that are not, are not there.
    full: bool,
    /// How often the figures have been noted.
    ticks: u64,
    /// Milliseconds between two notes.
    interval_ms: u64,
    /// Streams that are new or have changed, in no order.
    #[cfg_attr(test, schema(value_type = Vec<Item>))]
    streams: Listed,
    /// Ids of streams that have gone.
    gone: Vec<String>,
    node: Totals,
}

/// A stream in a few words.
#[derive(Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Item<'a> {
    #[serde(flatten)]
    row: &'a Row,
    /// In an answer with all streams: the notes of `kbps` so far, the oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    spark: Option<&'a [u32]>,
}

struct Listed(Changes);

impl Serialize for Listed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Changes { rows, sparks, .. } = &self.0;
        serializer.collect_seq(rows.iter().map(|row| {
            let spark = sparks.get(&row.id).map(Vec::as_slice);
            Item { row, spark }
        }))
    }
}

/// Sums over all streams of the node.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Totals {
    /// Viewers over all protocols.
    viewers: usize,
    /// Kilobits a second from clients lately.
    recv_kbps: u64,
    /// Kilobits a second to viewers lately.
    send_kbps: u64,
    /// The port of RTMP; null if it is not served.
    #[cfg_attr(test, schema(required))]
    rtmp_port: Option<u16>,
}

/// The streams of this node at a glance: all, or those that have changed since an answer before. A call waits until
/// there is something to say, so that a page that shows the streams need not ask again and again.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/wall", tag = "streams", params(Since),
    responses((status = 200, body = inline(Answer<Wall>)), ReadFailures)))]
pub async fn wall(
    State(api): State<Api>,
    Params(since): Params<Since>,
) -> Result<cluster::Text, Failure> {
    let wait = waiting(since.wait)?;
    let changes = api.wall.changes(&api.node, seen(since.after)?, wait).await;
    let Kbps { recv_30s, send_30s } = api.samples.of_process(&api.node);
    let wall = Wall {
        version: changes.version,
        full: changes.is_full,
        ticks: changes.ticks,
        interval_ms: EVERY.as_millis() as u64,
        gone: changes.gone.clone(),
        streams: Listed(changes),
        node: Totals {
            viewers: api.node.clients.quotas.viewers_total(),
            recv_kbps: recv_30s,
            send_kbps: send_30s,
            rtmp_port: api.ports.rtmp,
        },
    };
    cluster::merged(&api, Scope::Node, ("wall", "streams"), wall).await
}

/// So long a call waits.
///
/// # Errors
/// When that is longer than it may.
pub fn waiting(seconds: u64) -> Result<Duration, Failure> {
    if seconds > WAIT_MAX {
        return Err(Failure::bad(format!("wait: {seconds} is too large (maximum {WAIT_MAX})")));
    }
    Ok(Duration::from_secs(seconds))
}

/// What a call has seen already.
///
/// # Errors
/// When that is more than a number of JSON can be.
pub fn seen(after: u64) -> Result<u64, Failure> {
    if after > AFTER_MAX {
        return Err(Failure::bad(format!("after: {after} is too large (maximum {AFTER_MAX})")));
    }
    Ok(after)
}

/// The largest whole number that every reader of JSON has (RFC 8259, section 6).
const AFTER_MAX: u64 = (1 << 53) - 1;

/// The last minutes of a stream. All lists have a value for each note, the oldest first.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct OneStreamPast {
    /// The stream's id.
    stream: String,
    /// When the answer was made, in milliseconds since 1970-01-01 UTC: about when the last note was taken.
    until_ms: u64,
    /// Milliseconds between two notes.
    interval_ms: u64,
    /// Kilobits a second from its publisher.
    kbps: Vec<u32>,
    /// Kilobits a second to its viewers.
    send_kbps: Vec<u32>,
    /// Pictures a second.
    fps: Vec<f32>,
    /// Viewers.
    viewers: Vec<u32>,
    /// Lengths of the last whole group, in milliseconds; 0 before there was one.
    group_ms: Vec<u32>,
    /// How often viewers were too slow and were moved on.
    skips: Vec<u16>,
    health: Health,
}

/// The last minutes of a stream, and how it does.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/streams/{id}/history", tag = "streams",
    params(("id" = String, Path, description = "the id, or the name with `%2F` for each `/`")),
    responses((status = 200, body = inline(Answer<OneStreamPast>)), ReadFailures, NotFound)))]
pub async fn history(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Answer<OneStreamPast>>, Failure> {
    let stats = streams::find(&api, &id)?;
    let (hls, recording) = (api.node.hls.state(&stats.key), api.node.record.recording(&stats.key));
    let (points, health) = api.wall.past(&stats, |past| {
        let points: Vec<Point> = past.into_iter().flat_map(Past::points).copied().collect();
        let health = health::health(&stats, past, hls.as_ref(), recording.as_ref(), Instant::now());
        (points, health)
    });
    Ok(api.identity.answer(OneStreamPast {
        stream: ids::stream(&stats.key),
        until_ms: millis(SystemTime::now()),
        interval_ms: EVERY.as_millis() as u64,
        kbps: points.iter().map(|point| point.recv_kbps).collect(),
        send_kbps: points.iter().map(|point| point.send_kbps).collect(),
        fps: points.iter().map(|point| f32::from(point.fps_x10) / 10.0).collect(),
        viewers: points.iter().map(|point| point.viewers).collect(),
        group_ms: points.iter().map(|point| point.group_ms).collect(),
        skips: points.iter().map(|point| point.skips).collect(),
        health,
    }))
}
