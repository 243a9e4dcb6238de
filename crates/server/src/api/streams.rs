//! Streams and vhosts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Serialize, Serializer};
use weir_clients::roster::Presence;
use weir_flv::describe;
use weir_hub::{Status, StreamStats};
use weir_media::{DEFAULT_VHOST, StreamKey, ids};
use weir_outputs::{forward::ForwardStatus, hls};

#[cfg(test)]
use super::answer::{NotFound, ReadFailures};
use super::{
    answer::{Answer, Failure, Page, Params, code},
    cluster,
    recording::Recording,
    samples::{self, Kbps, Sent, Traffic},
    state::Api,
};
use crate::node::Node;

/// A stream.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Stream {
    /// The stream's id, the same on all nodes.
    id: String,
    /// Its name without the app.
    name: String,
    /// The id of its vhost.
    vhost: String,
    /// The name of its vhost.
    vhost_name: String,
    /// Its app.
    app: String,
    /// The URL that its publisher connected to; empty where it is not known, as for a stream that comes from an origin.
    #[serde(rename = "tcUrl")]
    tc_url: String,
    /// Its full name, with app and vhost, as in the log.
    url: String,
    /// How long it has had its present publisher, in milliseconds.
    live_ms: u64,
    /// Clients of the stream: its viewers and its publisher.
    clients: usize,
    /// Its viewers. Edges that pull it do not count.
    viewers: usize,
    /// Messages published: pictures, packets of sound, configurations and metadata.
    frames: u64,
    /// Video frames published.
    video_frames: u64,
    /// Audio frames published.
    audio_frames: u64,
    /// Bytes sent to its viewers.
    send_bytes: u64,
    /// Bytes received from its publishers.
    recv_bytes: u64,
    kbps: Kbps,
    publish: Publish,
    /// Its video; null if it has none.
    #[cfg_attr(test, schema(required))]
    video: Option<Video>,
    /// Its audio; null if it has none.
    #[cfg_attr(test, schema(required))]
    audio: Option<Audio>,
    /// Its HLS; null where it is not segmented: on edges, and where `hls.enabled` is false.
    #[cfg_attr(test, schema(required))]
    hls: Option<HlsOfStream>,
    /// The servers that it goes on to (`forward`), in no order.
    forwards: Vec<Forward>,
    /// Its recording; null if it has none.
    #[cfg_attr(test, schema(required))]
    recording: Option<Recording>,
    /// `waiting` for a publisher, `live`, `lingering` after its publisher has left, or `ended`, which HLS viewers still
    /// watch. `relayed` if an edge hands its HLS on without having its frames: what they are is not known there.
    status: &'static str,
    /// Bytes of the stream held in memory for its viewers, HLS segments not included.
    log_bytes: usize,
    /// Timestamps of the publisher that had to be corrected.
    timestamp_repairs: u64,
}

/// Who publishes a stream.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Publish {
    /// Whether the stream has a publisher now.
    active: bool,
    /// Where the stream comes from if no client publishes it: `pull` and where from, or `fallback` and the file that is
    /// shown while its publisher is away; null otherwise, and at an edge.
    #[cfg_attr(test, schema(required))]
    source: Option<String>,
    /// The id of the client that publishes it; missing for a stream that comes from an origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<String>,
}

/// The video of a stream.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Video {
    /// The codec: `H264`, `HEVC`, `AV1` as in SRS, or `VP9`.
    codec: String,
    /// The codec's profile in SRS's words, such as `High` and `High(10)`; `Other` if it is not known.
    profile: String,
    /// The codec's level; `Other` if it is not known.
    level: String,
    /// Width in pixels, as the encoder says; 0 if it does not.
    width: u32,
    /// Height in pixels, as the encoder says; 0 if it does not.
    height: u32,
}

/// The audio of a stream.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Audio {
    /// The codec.
    codec: String,
    /// Samples per second; 0 if it is not known.
    sample_rate: u32,
    /// Number of channels; 0 if it is not known.
    channel: u8,
    /// The codec's profile, such as `LC`; `Other` if it is not known.
    profile: String,
}

/// The HLS of a stream.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct HlsOfStream {
    /// `starting` until the first segment is complete, `playable`, `partly` (playable without the video or without the
    /// audio), `failing` while segments cannot be made, or `unsupported`.
    state: &'static str,
    /// Which codec is left out or not supported, or why segments cannot be made; null otherwise.
    #[cfg_attr(test, schema(required))]
    reason: Option<String>,
}

/// A server that a stream goes on to.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Forward {
    /// Its scheme, host and port; `/***` stands for the rest of its URL, which is a secret.
    target: String,
    /// `connecting`, `sending`, `partly` (it is sent what it can take), `waiting` for the next attempt after it was
    /// lost or could not be reached, or `refused`: it does not want the stream, and is asked again now and then.
    state: &'static str,
    /// How long that has been so, in milliseconds.
    since_ms: u64,
    /// Bytes of media that it was sent since the stream was published.
    bytes: u64,
    /// Frames that it missed because it was too slow.
    skips: u64,
    /// Why it is not sent the stream, or not all of it; or why it last was not. Null if there was no trouble.
    #[cfg_attr(test, schema(required))]
    error: Option<String>,
}

impl From<ForwardStatus> for Forward {
    fn from(status: ForwardStatus) -> Self {
        let ForwardStatus { target, state, since, bytes, skips, error } = status;
        let since_ms = since.elapsed().as_millis() as u64;
        Self { target, state: state.label(), since_ms, bytes, skips, error }
    }
}

impl From<hls::State> for HlsOfStream {
    fn from(state: hls::State) -> Self {
        let (state, reason) = match state {
            hls::State::Starting => ("starting", None),
            hls::State::Playable => ("playable", None),
            hls::State::Partly(reason) => ("partly", Some(reason)),
            hls::State::Failing(reason) => ("failing", Some(reason)),
            hls::State::Unsupported(reason) => ("unsupported", Some(reason)),
        };
        Self { state, reason }
    }
}

impl From<describe::Video> for Video {
    fn from(video: describe::Video) -> Self {
        let describe::Video { codec, profile, level, width, height } = video;
        let [profile, level] = [profile, level].map(or_other);
        let (width, height) = (width.unwrap_or_default(), height.unwrap_or_default());
        Self { codec, profile, level, width, height }
    }
}

impl From<describe::Audio> for Audio {
    fn from(audio: describe::Audio) -> Self {
        let describe::Audio { codec, sample_rate, channels, profile } = audio;
        let (sample_rate, channel) =
            (sample_rate.unwrap_or_default(), channels.unwrap_or_default());
        Self { codec, sample_rate, channel, profile: or_other(profile) }
    }
}

fn or_other(known: Option<String>) -> String {
    known.unwrap_or_else(|| describe::OTHER.to_owned())
}

/// Streams, ordered by vhost, app and name.
#[derive(Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Streams<'a> {
    /// How many there are.
    total: usize,
    #[cfg_attr(test, schema(value_type = Vec<Stream>))]
    streams: Listed<'a>,
}

/// Some of the streams, each of which is described when it is written.
struct Listed<'a> {
    around: Around<'a>,
    some: Vec<StreamStats>,
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.some.iter().map(|stats| self.around.describe(stats)))
    }
}

/// One stream.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct OneStream {
    stream: Stream,
}

/// What is needed of the clients to describe streams.
struct Around<'a> {
    api: &'a Api,
    sent: Sent<'a>,
    publishers: HashMap<StreamKey, (u64, Box<str>)>,
}

impl<'a> Around<'a> {
    /// All of them.
    fn all(api: &'a Api) -> Self {
        let publishers = api.node.clients.roster.publishers().into_iter();
        Self { api, sent: samples::sent(&api.node), publishers: publishers.map(known).collect() }
    }

    /// Those of one stream: a page that shows it asks every few seconds, and there may be thousands of others.
    fn of(api: &'a Api, key: &StreamKey) -> Self {
        let publisher = api.node.clients.roster.publisher(key);
        let publishers = publisher.into_iter().map(|who| known((key.clone(), who))).collect();
        Self { api, sent: samples::sent_of(&api.node, key), publishers }
    }

    fn describe(&self, stats: &StreamStats) -> Stream {
        let StreamStats { key, status, .. } = stats;
        let node = &self.api.node;
        let publisher = self.publishers.get(key);
        let viewers = node.clients.quotas.viewers(key);
        let active = *status == Status::Live;
        let traffic = Traffic { received: stats.bytes, sent: self.sent.of(key) };
        let cid = publisher.map(|(id, _)| id.to_string()).filter(|_| active);
        Stream {
            id: ids::stream(key),
            name: key.stream().to_owned(),
            vhost: ids::vhost(key.vhost()),
            vhost_name: key.vhost().to_owned(),
            app: key.app().to_owned(),
            tc_url: publisher.map(|(_, url)| url.to_string()).unwrap_or_default(),
            url: key.to_string(),
            live_ms: stats.since.map_or(0, |since| since.elapsed().as_millis() as u64),
            clients: viewers + usize::from(active),
            viewers,
            frames: stats.frames,
            video_frames: stats.pictures,
            audio_frames: stats.sounds,
            send_bytes: traffic.sent,
            recv_bytes: traffic.received,
            kbps: self.api.samples.stream(key, traffic),
            publish: Publish { active, source: source(node, key), cid },
            video: stats.video.map(|codec| describe::video(codec, &stats.init).into()),
            audio: stats.audio.map(|codec| describe::audio(codec, &stats.init).into()),
            hls: node.hls.state(key).map(Into::into),
            forwards: node.forward.status(key).into_iter().map(Into::into).collect(),
            recording: node.record.recording(key).map(Into::into),
            status: label(*status, node.edge.is_some()),
            log_bytes: stats.held,
            timestamp_repairs: stats.repairs,
        }
    }
}

/// What is said of a stream's publisher: its number, and where it connected to.
fn known((key, who): (StreamKey, Arc<Presence>)) -> (StreamKey, (u64, Box<str>)) {
    (key, (who.id, who.read(|doing| doing.tc_url.clone())))
}

/// Where a stream comes from that no client publishes.
fn source(node: &Node, key: &StreamKey) -> Option<String> {
    if let Some(file) = node.fallback.shown(key) {
        return Some(format!("fallback {}", file.display()));
    }
    node.pulls.as_ref()?.source_of(key).map(|from| format!("pull {from}"))
}

const fn label(status: Status, is_edge: bool) -> &'static str {
    match status {
        Status::Ended if is_edge => "relayed",
        Status::Waiting => "waiting",
        Status::Live => "live",
        Status::Lingering => "lingering",
        Status::Ended => "ended",
    }
}

fn ordered(node: &Node) -> Vec<StreamStats> {
    let mut all = node.stream_stats();
    all.sort_by(|a, b| name(&a.key).cmp(&name(&b.key)));
    all
}

fn name(key: &StreamKey) -> (&str, &str, &str) {
    (key.vhost(), key.app(), key.stream())
}

/// The stream that `name`, an id or a name in full, means.
pub fn find(api: &Api, name: &str) -> Result<StreamStats, Failure> {
    // A console asks for what is on its wall, several times a second.
    let on_wall = api.wall.key_of(name);
    if let Some(stats) = on_wall.and_then(|key| api.node.streams.registry.stats_of(&key)) {
        return Ok(stats);
    }
    let is_it = |key: &StreamKey| {
        let url = key.to_string();
        url == name
            || url.trim_start_matches('/') == name
            || ids::stream(key) == name
            || format!("{}{url}", key.vhost()) == name
    };
    let found = api.node.stream_stats().into_iter().find(|stream| is_it(&stream.key));
    found.ok_or_else(|| Failure::not_found(code::STREAM_NOT_FOUND, "no such stream"))
}

/// The streams that there are.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/streams", tag = "streams", params(Page),
    responses((status = 200, body = inline(Answer<Streams>)), ReadFailures)))]
pub async fn streams(
    State(api): State<Api>,
    Params(page): Params<Page>,
) -> Result<cluster::Text, Failure> {
    let (start, count) = page.range()?;
    cluster::paged(&api, page.scope, ("streams", "streams"), (start, count), |start, count| {
        let all = ordered(&api.node);
        let around = Around::all(&api);
        let total = all.len();
        let some = all.into_iter().skip(start).take(count).collect();
        Ok(Streams { total, streams: Listed { around, some } })
    })
    .await
}

/// One stream, by its id or by its name, written as `vhost%2Fapp%2Fstream` or `app%2Fstream`.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/streams/{id}", tag = "streams",
    params(("id" = String, Path, description = "the id, or the name with `%2F` for each `/`")),
    responses((status = 200, body = inline(Answer<OneStream>)), ReadFailures, NotFound)))]
pub async fn stream(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Answer<OneStream>>, Failure> {
    let stats = find(&api, &id)?;
    Ok(api.identity.answer(OneStream { stream: Around::of(&api, &stats.key).describe(&stats) }))
}

/// A vhost.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Vhost {
    /// The vhost's id, the same on all nodes.
    id: String,
    /// Its name, `__defaultVhost__` for the default one.
    name: String,
    /// Always true: a vhost that is not to be served is not configured.
    enabled: bool,
    /// Clients of its streams: publishers and viewers.
    clients: usize,
    /// How many streams it has.
    streams: usize,
    /// Bytes sent to viewers of its present streams.
    send_bytes: u64,
    /// Bytes received from publishers of its present streams.
    recv_bytes: u64,
    kbps: Kbps,
    hls: HlsOfVhost,
}

/// The HLS of a vhost.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct HlsOfVhost {
    /// Whether streams are segmented.
    enabled: bool,
    /// The minimum length of segments, in seconds.
    fragment: f64,
}

/// Vhosts, ordered by name.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Vhosts {
    vhosts: Vec<Vhost>,
}

/// One vhost.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct OneVhost {
    vhost: Vhost,
}

/// Those that are configured, and the default one.
fn vhosts_of(api: &Api) -> Vec<Vhost> {
    let config = api.node.config();
    let mut names: BTreeSet<&str> = config.vhosts.keys().map(String::as_str).collect();
    names.insert(DEFAULT_VHOST);
    let around = Around::all(api);
    let mut streams: BTreeMap<String, Vec<Stream>> = BTreeMap::new();
    for stats in api.node.stream_stats() {
        streams.entry(stats.key.vhost().to_owned()).or_default().push(around.describe(&stats));
    }
    let vhost = |name: &str| {
        let streams = streams.remove(name).unwrap_or_default();
        let hls = config.vhost(name).hls;
        let sum = |figure: fn(&Stream) -> u64| streams.iter().map(figure).sum::<u64>();
        Vhost {
            id: ids::vhost(name),
            name: name.to_owned(),
            enabled: true,
            clients: streams.iter().map(|stream| stream.clients).sum(),
            streams: streams.len(),
            send_bytes: sum(|stream| stream.send_bytes),
            recv_bytes: sum(|stream| stream.recv_bytes),
            kbps: Kbps {
                recv_30s: sum(|stream| stream.kbps.recv_30s),
                send_30s: sum(|stream| stream.kbps.send_30s),
            },
            hls: HlsOfVhost { enabled: hls.enabled, fragment: hls.segment.as_secs_f64() },
        }
    };
    names.into_iter().map(vhost).collect()
}

/// The vhosts that are configured, and the default one.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/vhosts", tag = "streams",
    responses((status = 200, body = inline(Answer<Vhosts>)), ReadFailures)))]
pub async fn vhosts(State(api): State<Api>) -> Json<Answer<Vhosts>> {
    api.identity.answer(Vhosts { vhosts: vhosts_of(&api) })
}

/// One vhost, by its id or its name.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/vhosts/{id}", tag = "streams",
    params(("id" = String, Path, description = "the id or the name")),
    responses((status = 200, body = inline(Answer<OneVhost>)), ReadFailures, NotFound)))]
pub async fn vhost(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Answer<OneVhost>>, Failure> {
    let found = vhosts_of(&api).into_iter().find(|vhost| vhost.id == id || vhost.name == id);
    let vhost = found.ok_or_else(|| Failure::not_found(code::VHOST_NOT_FOUND, "no such vhost"))?;
    Ok(api.identity.answer(OneVhost { vhost }))
}
