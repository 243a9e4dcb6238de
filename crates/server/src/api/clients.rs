//! Clients: who is connected, and ending their connections.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Serialize, Serializer};
use tracing::info;
use weir_clients::{
    detail::Detail,
    end::seconds,
    events::{EVENTS, EventKind},
    quota::HlsViewer,
    roster::{Activity, Presence},
};
use weir_media::{StreamKey, ids};

#[cfg(test)]
use super::answer::{AdminFailures, NotFound, ReadFailures};
use super::{
    answer::{Answer, Done, Failure, Page, Params, Scope, code},
    cluster,
    gate::Held,
    samples::{Kbps, Traffic},
    state::Api,
    streams,
};

/// Somebody who is connected for a stream.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Client {
    /// The client's id: the number that the log calls `conn`.
    id: String,
    /// The id of its vhost.
    vhost: String,
    /// The id of its stream; empty while it has none.
    stream: String,
    /// Its IP address; behind a trusted proxy, that of the client.
    ip: String,
    /// The web page that the player says it is embedded in.
    #[serde(rename = "pageUrl")]
    page_url: String,
    /// The URL that the player gives as its own (Flash).
    #[serde(rename = "swfUrl")]
    swf_url: String,
    /// The URL that it connected to.
    #[serde(rename = "tcUrl")]
    tc_url: String,
    /// The full name of its stream, with app and vhost.
    url: String,
    /// The name of its stream without the app; of a file without an end with its extension, as in SRS: `cam.flv`.
    name: String,
    /// As in SRS: `fmle-publish`, `rtmp-play`, `hls-play`, and `flv-play` for HTTP-FLV, HTTP-TS, HTTP-AAC and HTTP-MP3,
    /// also while it still waits for its stream; also `mp4-play`, and `ws-flv-play` and the like over WebSocket;
    /// `control` before it has asked for a stream.
    #[serde(rename = "type")]
    kind: String,
    /// Whether it is publishing.
    publish: bool,
    /// Seconds since it connected.
    alive: f64,
    /// Bytes of media sent to it.
    send_bytes: u64,
    /// Bytes received from it.
    recv_bytes: u64,
    kbps: Kbps,
    /// What it speaks: `rtmp`, `hls`, `http-flv`, `http-ts`, `ws-flv` and the like; empty before it has asked for a
    /// stream over HTTP.
    format: &'static str,
    /// How often it was too slow and was moved on to the newest group of pictures.
    skips: u32,
    /// The age in seconds of the oldest bytes that its connection has not taken: 0 for a viewer that takes everything
    /// as it comes. What is on its way, and in the player, comes on top. Null where nobody knows: for publishers, HLS,
    /// and who plays on a connection that has been asked for something else before.
    #[cfg_attr(test, schema(required))]
    behind_s: Option<f64>,
    /// Whether it is another Weir server: an edge that pulls or publishes.
    is_edge: bool,
    /// The version of TLS: `TLSv1.3`, `TLSv1.2`; empty without TLS, and for viewers of HLS.
    tls: &'static str,
}

/// Clients, in the order in which they came.
#[derive(Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Clients<'a> {
    /// How many there are.
    total: usize,
    #[cfg_attr(test, schema(value_type = Vec<Client>))]
    clients: Listed<'a>,
}

/// Some of those who are there. Each is described when it is written: all descriptions at once would take several
/// times their text.
struct Listed<'a> {
    api: &'a Api,
    all: Vec<Anybody>,
    start: usize,
    count: usize,
    _held: Held,
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let some = self.all.iter().skip(self.start).take(self.count);
        serializer.collect_seq(some.map(|it| it.describe(self.api)))
    }
}

/// One client.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct OneClient {
    client: Client,
}

fn describe(api: &Api, presence: &Presence) -> Client {
    let doing = presence.doing();
    let figures = presence.figures();
    let traffic = Traffic { received: figures.received, sent: figures.sent };
    let (activity, stream) = match &doing.asks {
        Some((activity, stream)) => (*activity, Some(stream)),
        None => (doing.activity, doing.stream.as_ref()),
    };
    let format = match presence.protocol {
        "http" | "https" if doing.fetches => "hls",
        "http" | "https" => doing.format.unwrap_or_default(),
        "rtmps" => "rtmp",
        other => other,
    };
    Client {
        id: presence.id.to_string(),
        vhost: stream.map(|key| ids::vhost(key.vhost())).unwrap_or_default(),
        stream: stream.map(ids::stream).unwrap_or_default(),
        ip: doing.peer.ip().to_string(),
        page_url: doing.page_url.into(),
        swf_url: doing.swf_url.into(),
        tc_url: doing.tc_url.into(),
        url: stream.map(ToString::to_string).unwrap_or_default(),
        name: stream.map(|key| name_of(key.stream(), format)).unwrap_or_default(),
        kind: kind_of(activity, format),
        publish: doing.activity == Activity::Publish,
        alive: presence.since.elapsed().as_secs_f64(),
        send_bytes: figures.sent,
        recv_bytes: figures.received,
        kbps: api.samples.client(presence.id, traffic),
        format,
        skips: figures.skips,
        behind_s: figures.behind.map(seconds),
        is_edge: doing.is_node,
        tls: doing.tls,
    }
}

/// What SRS calls a client that does this.
fn kind_of(activity: Activity, format: &str) -> String {
    let format = match format {
        // SRS has one kind for whatever it remuxes.
        "" | "http-flv" | "http-ts" | "http-aac" | "http-mp3" => "flv",
        other => other.strip_prefix("http-").unwrap_or(other),
    };
    match (activity, format) {
        (Activity::Control, _) => Activity::Control.label().to_owned(),
        (Activity::Publish, "rtmp") => "fmle-publish".to_owned(),
        (activity, format) => format!("{format}-{}", activity.label()),
    }
}

/// The name of a stream as SRS knows it of a client: with the extension of the file that it plays.
fn name_of(stream: &str, format: &str) -> String {
    let extension = format.strip_prefix("http-").or_else(|| format.strip_prefix("ws-"));
    extension.map_or_else(|| stream.to_owned(), |extension| format!("{stream}.{extension}"))
}

fn describe_hls(api: &Api, viewer: &HlsViewer) -> Client {
    let traffic = Traffic { received: 0, sent: viewer.sent };
    Client {
        id: viewer.id.to_string(),
        vhost: ids::vhost(viewer.key.vhost()),
        stream: ids::stream(&viewer.key),
        ip: viewer.ip.to_string(),
        page_url: String::new(),
        swf_url: String::new(),
        tc_url: format!("http://{}/{}", viewer.key.vhost(), viewer.key.app()),
        url: viewer.key.to_string(),
        name: viewer.key.stream().to_owned(),
        kind: "hls-play".to_owned(),
        publish: false,
        alive: viewer.since.elapsed().as_secs_f64(),
        send_bytes: viewer.sent,
        recv_bytes: 0,
        kbps: api.samples.client(viewer.id, traffic),
        format: "hls",
        skips: 0,
        behind_s: None,
        is_edge: viewer.is_node,
        tls: "",
    }
}

/// Somebody who is there.
enum Anybody {
    Connected(Arc<Presence>),
    Hls(HlsViewer),
}

impl Anybody {
    fn id(&self) -> u64 {
        match self {
            Self::Connected(presence) => presence.id,
            Self::Hls(viewer) => viewer.id,
        }
    }

    fn describe(&self, api: &Api) -> Client {
        match self {
            Self::Connected(presence) => describe(api, presence),
            Self::Hls(viewer) => describe_hls(api, viewer),
        }
    }
}

/// Everybody, in the order in which they came. Connections that fetch the files of HLS viewers are no clients of their
/// own.
fn everybody(api: &Api) -> Vec<Anybody> {
    let (roster, quotas) = (&api.node.clients.roster, &api.node.clients.quotas);
    in_order(roster.list(), quotas.hls_viewers(Instant::now()))
}

/// The same of those of one stream.
fn everybody_of(api: &Api, key: &StreamKey) -> Vec<Anybody> {
    let (roster, quotas) = (&api.node.clients.roster, &api.node.clients.quotas);
    in_order(roster.of_stream(key), quotas.hls_viewers_of(key, Instant::now()))
}

fn in_order(connected: Vec<Arc<Presence>>, hls: Vec<HlsViewer>) -> Vec<Anybody> {
    let is_client = |presence: &Arc<Presence>| {
        presence.read(|doing| {
            !doing.fetches || doing.asks.is_some() || doing.activity != Activity::Control
        })
    };
    let connected = connected.into_iter().filter(is_client).map(Anybody::Connected);
    let mut all: Vec<_> = connected.chain(hls.into_iter().map(Anybody::Hls)).collect();
    all.sort_unstable_by_key(Anybody::id);
    all
}

/// Bytes that [`everybody`] may take: the list, and those that it is made from.
fn most_of_everybody(api: &Api) -> usize {
    let (connected, hls) = (api.node.clients.roster.count(), api.node.clients.quotas.hls_count());
    let listed = size_of::<Anybody>() * (connected + hls);
    let connected = connected * size_of::<Arc<Presence>>();
    let hls = hls * size_of::<HlsViewer>();
    hls + connected + listed
}

fn number(id: &str) -> Option<u64> {
    // Only as it is written in answers: `+7` and `007` are nobody.
    id.parse().ok().filter(|number: &u64| number.to_string() == id)
}

fn nobody() -> Failure {
    Failure::not_found(code::CLIENT_NOT_FOUND, "no such client")
}

fn find(api: &Api, id: &str) -> Result<Anybody, Failure> {
    let id = number(id).ok_or_else(nobody)?;
    let hls =
        || api.node.clients.quotas.hls_viewers(Instant::now()).into_iter().find(|it| it.id == id);
    let connected = api.node.clients.roster.find(id).map(Anybody::Connected);
    connected.or_else(|| hls().map(Anybody::Hls)).ok_or_else(nobody)
}

/// Publishers and viewers: who is connected over RTMP or watches HTTP-FLV, and who has asked for HLS lately.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/clients", tag = "clients", params(Page),
    responses((status = 200, body = inline(Answer<Clients>)), ReadFailures)))]
pub async fn clients(
    State(api): State<Api>,
    Params(page): Params<Page>,
) -> Result<cluster::Text, Failure> {
    let (start, count) = page.range()?;
    cluster::paged(&api, page.scope, ("clients", "clients"), (start, count), |start, count| {
        // Before they are gathered: there may be tens of thousands.
        let held = api.gate.room().take(most_of_everybody(&api))?;
        let all = everybody(&api);
        let total = all.len();
        Ok(Clients { total, clients: Listed { api: &api, all, start, count, _held: held } })
    })
    .await
}

/// Clients of a stream that are listed at most: a page that shows them asks every few seconds.
const OF_STREAM_MAX: usize = 200;

/// The clients of one stream, in the order in which they came: the first 200, and how many there are.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/streams/{id}/clients", tag = "streams",
    params(("id" = String, Path, description = "the id, or the name with `%2F` for each `/`")),
    responses((status = 200, body = inline(Answer<Clients>)), ReadFailures, NotFound)))]
pub async fn of_stream(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<cluster::Text, Failure> {
    let key = streams::find(&api, &id)?.key;
    let held = api.gate.room().take(most_of_everybody(&api))?;
    let all = everybody_of(&api, &key);
    let (total, start, count) = (all.len(), 0, OF_STREAM_MAX);
    let clients = Clients { total, clients: Listed { api: &api, all, start, count, _held: held } };
    cluster::merged(&api, Scope::Node, ("clients", "clients"), clients).await
}

/// One client.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/clients/{id}", tag = "clients",
    params(("id" = String, Path, description = "its number")),
    responses((status = 200, body = inline(Answer<OneClient>)), ReadFailures, NotFound)))]
pub async fn client(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Answer<OneClient>>, Failure> {
    Ok(api.identity.answer(OneClient { client: find(&api, &id)?.describe(&api) }))
}

/// Ends the connection of a client at once; it may come back. A viewer of HLS gets nothing for half a minute.
#[cfg_attr(test, utoipa::path(delete, path = "/api/v1/clients/{id}", tag = "clients",
    params(("id" = String, Path, description = "its number")),
    responses((status = 200, body = inline(Answer<Done>)), AdminFailures, NotFound)))]
pub async fn kick(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Answer<Done>>, Failure> {
    let number = number(&id).ok_or_else(nobody)?;
    let who = api.node.clients.roster.find(number).map(|presence| presence.doing());
    let (stream, peer) =
        (who.as_ref().and_then(|it| it.stream.clone()), who.map(|it| it.peer.ip()));
    if !api.control.kick(number) {
        return Err(nobody());
    }
    info!(conn = number, "an operator ends this connection");
    let detail = Detail::new("client", [&number.to_string()], &format!("client {number}"));
    EVENTS.note(EventKind::ClientEnded, stream.as_ref(), peer, detail);
    Ok(api.identity.answer(Done {}))
}

/// Who was ended.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Kicked {
    /// The id of the client that published.
    cid: String,
}

/// Ends the connection of a stream's publisher at once. It may come back.
#[cfg_attr(test, utoipa::path(delete, path = "/api/v1/streams/{id}/publisher", tag = "streams",
    params(("id" = String, Path, description = "the stream's id, or its name with `%2F` for each `/`")),
    responses((status = 200, body = inline(Answer<Kicked>)), AdminFailures, NotFound)))]
pub async fn kick_publisher(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Answer<Kicked>>, Failure> {
    let key = streams::find(&api, &id)?.key;
    let Some(conn) = api.control.kick_publisher(&key) else {
        let error = "no client connected here publishes this stream";
        return Err(Failure::not_found(code::STREAM_NOT_FOUND, error));
    };
    info!(conn, stream = %key, "an operator ends this publisher's connection");
    Ok(api.identity.answer(Kicked { cid: conn.to_string() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_called_what_srs_calls_them() {
        for (activity, format, kind, name) in [
            (Activity::Publish, "rtmp", "fmle-publish", "cam"),
            (Activity::Play, "rtmp", "rtmp-play", "cam"),
            (Activity::Play, "hls", "hls-play", "cam"),
            (Activity::Play, "http-flv", "flv-play", "cam.flv"),
            (Activity::Play, "http-ts", "flv-play", "cam.ts"),
            (Activity::Play, "http-mp3", "flv-play", "cam.mp3"),
            (Activity::Play, "http-mp4", "mp4-play", "cam.mp4"),
            (Activity::Play, "ws-flv", "ws-flv-play", "cam.flv"),
            (Activity::Play, "", "flv-play", "cam"),
            (Activity::Control, "rtmp", "control", "cam"),
        ] {
            let said = (kind_of(activity, format), name_of("cam", format));
            assert_eq!(said, (kind.to_owned(), name.to_owned()), "{activity:?} {format}");
        }
    }
}
