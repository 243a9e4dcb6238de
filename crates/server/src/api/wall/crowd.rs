//! Who is with which stream, counted in one pass over everybody.

use std::{collections::HashMap, time::Instant};

use serde::Serialize;
use weir_clients::roster::Activity;
use weir_media::StreamKey;

use crate::node::Node;

/// Viewers by what they speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct By {
    /// RTMP, with and without TLS.
    #[serde(skip_serializing_if = "is_zero")]
    pub rtmp: u32,
    /// HTTP-FLV.
    #[serde(skip_serializing_if = "is_zero")]
    pub flv: u32,
    /// HLS.
    #[serde(skip_serializing_if = "is_zero")]
    pub hls: u32,
    /// FLV and other files without an end over WebSocket.
    #[serde(skip_serializing_if = "is_zero")]
    pub ws: u32,
    /// Other files without an end.
    #[serde(skip_serializing_if = "is_zero")]
    pub other: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(many: &u32) -> bool {
    *many == 0
}

impl By {
    /// All of them.
    pub fn all(&self) -> u32 {
        self.rtmp + self.flv + self.hls + self.ws + self.other
    }

    fn count(&mut self, protocol: &str) {
        let many = match protocol {
            "rtmp" | "rtmps" => &mut self.rtmp,
            "http-flv" | "http" | "https" => &mut self.flv,
            "hls" => &mut self.hls,
            other if other.starts_with("ws-") => &mut self.ws,
            _ => &mut self.other,
        };
        *many += 1;
    }
}

/// The clients of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crowd {
    /// Its viewers; edges that pull it are not among them.
    pub by: By,
    /// Bytes that those who are here were sent.
    pub sent: u64,
    /// How often those who are here were moved on.
    pub skips: u64,
    /// The number of the client that publishes it.
    pub publisher: Option<u64>,
}

/// The clients of all streams.
pub fn crowds(node: &Node) -> HashMap<StreamKey, Crowd> {
    let mut all = HashMap::<StreamKey, Crowd>::new();
    for presence in node.clients.roster.list() {
        let (key, activity, is_node, format) = presence
            .read(|doing| (doing.stream.clone(), doing.activity, doing.is_node, doing.format));
        let Some(key) = key else { continue };
        let crowd = all.entry(key).or_default();
        let figures = presence.figures();
        crowd.sent += figures.sent;
        match activity {
            Activity::Publish => crowd.publisher = Some(presence.id),
            Activity::Play => {
                crowd.skips += u64::from(figures.skips);
                if !is_node {
                    crowd.by.count(format.unwrap_or(presence.protocol));
                }
            }
            Activity::Control => {}
        }
    }
    for viewer in node.clients.quotas.hls_viewers(Instant::now()).iter().filter(|it| !it.is_node) {
        all.entry(viewer.key.clone()).or_default().by.count("hls");
    }
    for (key, sent) in node.clients.quotas.hls_sent() {
        all.entry(key).or_default().sent += sent;
    }
    all
}
