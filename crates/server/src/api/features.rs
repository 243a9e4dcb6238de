//! What this server can do, and what of SRS's list there is.

use axum::{Json, extract::State};
use serde::Serialize;
use weir_clients::SERVER;

#[cfg(test)]
use super::answer::ReadFailures;
use super::{answer::Answer, state::Api};

/// What the server can do.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Feature {
    /// RTMP.
    rtmp: bool,
    /// Enhanced RTMP: further codecs, several tracks.
    enhanced_rtmp: bool,
    /// HTTP-FLV.
    http_flv: bool,
    /// HLS.
    hls: bool,
    /// Edges that have their streams from origins.
    edge: bool,
    /// This API.
    api: bool,
    /// Reloading the configuration without a restart.
    reload: bool,
    /// Draining: stopping without cutting clients off.
    drain: bool,
    #[serde(flatten)]
    built: Built,
}

/// What the server can do.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Features {
    data: Feature,
}

/// What this server can do.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/features", tag = "server",
    responses((status = 200, body = inline(Answer<Features>)), ReadFailures)))]
pub async fn features(State(api): State<Api>) -> Json<Answer<Features>> {
    let data = Feature {
        rtmp: true,
        enhanced_rtmp: true,
        http_flv: true,
        hls: true,
        edge: true,
        api: true,
        reload: true,
        drain: true,
        built: built(),
    };
    api.identity.answer(Features { data })
}

/// What was built, in SRS's members of `features`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Built {
    /// Options of the build; there are none.
    options: &'static str,
    /// The same.
    options2: &'static str,
    /// When it was built; not known.
    build: &'static str,
    /// What was built.
    build2: &'static str,
    features: SrsFeatures,
}

/// What of SRS's list there is.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct SrsFeatures {
    /// RTMPS and HTTPS.
    ssl: bool,
    /// HLS.
    hls: bool,
    /// Adobe's HDS.
    hds: bool,
    /// Callbacks over HTTP.
    callback: bool,
    /// This API.
    api: bool,
    /// HTTP for viewers.
    httpd: bool,
    /// Recording.
    dvr: bool,
    /// Transcoding.
    transcode: bool,
    /// Pulling streams in.
    ingest: bool,
    /// Figures.
    stat: bool,
    /// Streams that are pushed in other protocols.
    caster: bool,
    /// Several messages in one system call.
    complex_send: bool,
    /// Sending without delay.
    tcp_nodelay: bool,
    /// The socket's buffer can be set.
    so_sendbuf: bool,
    /// Merged reading.
    mr: bool,
}

/// What there is of what SRS lists.
const fn built() -> Built {
    let features = SrsFeatures {
        ssl: true,
        hls: true,
        hds: false,
        callback: true,
        api: true,
        httpd: true,
        dvr: true,
        transcode: true,
        ingest: true,
        stat: true,
        caster: false,
        complex_send: true,
        tcp_nodelay: true,
        so_sendbuf: false,
        mr: true,
    };
    Built { options: "", options2: "", build: "", build2: SERVER, features }
}
