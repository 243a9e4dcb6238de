//! A stream in a few words.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use serde::Serialize;
use weir_flv::describe;
use weir_hub::{Status, StreamStats};
use weir_media::{Init, ids};

use super::{
    crowd::{By, Crowd},
    health::{self, Health},
    past::Past,
};
use crate::{api::clock::millis, node::Node};

/// A stream in a few words.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Row {
    /// The stream's id, the same on all nodes.
    pub id: String,
    /// Its full name, with app and vhost, as in the log.
    url: String,
    /// The name of its vhost.
    vhost: String,
    /// Its app.
    app: String,
    /// Its name without the app.
    name: String,
    /// `waiting`, `live`, `lingering` or `ended`, as in the list of streams.
    status: &'static str,
    /// Since when it has had its present publisher, in milliseconds since 1970-01-01 UTC; 0 without one.
    since_ms: u64,
    /// Its pictures; null if it has none.
    #[cfg_attr(test, schema(required))]
    video: Option<RowVideo>,
    /// Its sound; null if it has none.
    #[cfg_attr(test, schema(required))]
    audio: Option<RowAudio>,
    /// Pictures a second lately.
    fps: f32,
    /// Kilobits a second from its publisher lately. What changes by less than 5 % is not made known.
    pub kbps: u32,
    /// Kilobits a second to its viewers lately.
    send_kbps: u32,
    /// Its viewers. Edges that pull it do not count.
    viewers: u32,
    by: By,
    health: Health,
    /// Whether it is recorded.
    recording: bool,
    /// What the descriptions are made of, so that they are made once.
    #[serde(skip)]
    #[cfg_attr(test, schema(ignore))]
    init: Arc<Init>,
}

/// The pictures of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct RowVideo {
    /// The codec.
    codec: String,
    /// Width in pixels; null if it is not known.
    #[cfg_attr(test, schema(required))]
    width: Option<u32>,
    /// Height in pixels; null if it is not known.
    #[cfg_attr(test, schema(required))]
    height: Option<u32>,
}

/// The sound of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct RowAudio {
    /// The codec.
    codec: String,
}

/// Whether two figures differ by more than a twentieth, and by more than a few.
fn differ(a: f64, b: f64, few: f64) -> bool {
    (a - b).abs() > (a.max(b) / 20.0).max(few)
}

impl Row {
    /// That of the stream with these figures; `known` is the row before.
    pub fn new(
        node: &Node,
        stats: &StreamStats,
        crowd: &Crowd,
        past: Option<&Past>,
        known: Option<&Self>,
        now: Instant,
    ) -> Self {
        let key = &stats.key;
        let newest = past.map(Past::newest).unwrap_or_default();
        let same = known.filter(|known| Arc::ptr_eq(&known.init, &stats.init));
        let video = || {
            let video = stats.video.map(|codec| describe::video(codec, &stats.init))?;
            Some(RowVideo { codec: video.codec, width: video.width, height: video.height })
        };
        let audio = || {
            Some(RowAudio {
                codec: stats.audio.map(|codec| describe::audio(codec, &stats.init))?.codec,
            })
        };
        let (video, audio) = match same {
            // A track that is new has a description; one may be there before its configuration.
            Some(known)
                if known.video.is_some() == stats.video.is_some()
                    && known.audio.is_some() == stats.audio.is_some() =>
            {
                (known.video.clone(), known.audio.clone())
            }
            _ => (video(), audio()),
        };
        let recording = node.record.recording(key);
        let is_recorded = recording.as_ref().is_some_and(|it| it.state == "recording");
        let hls = node.hls.state(key);
        let since_ms = match (stats.since, known) {
            (None, _) => 0,
            // Computed once: clocks differ by a bit each time.
            (Some(since), _) => millis(SystemTime::now() - since.elapsed()) / 1000 * 1000,
        };
        Self {
            id: ids::stream(key),
            url: key.to_string(),
            vhost: key.vhost().to_owned(),
            app: key.app().to_owned(),
            name: key.stream().to_owned(),
            status: label(stats.status),
            since_ms,
            video,
            audio,
            fps: f32::from(newest.fps_x10) / 10.0,
            kbps: newest.recv_kbps,
            send_kbps: newest.send_kbps,
            viewers: crowd.by.all(),
            by: crowd.by,
            health: health::health(stats, past, hls.as_ref(), recording.as_ref(), now),
            recording: is_recorded,
            init: Arc::clone(&stats.init),
        }
    }

    /// Whether it is worth to be made known in the place of `other`.
    pub fn differs_from(&self, other: &Self) -> bool {
        self.status != other.status
            || self.since_ms.abs_diff(other.since_ms) > 2000
            || self.video != other.video
            || self.audio != other.audio
            || self.by != other.by
            || self.health != other.health
            || self.recording != other.recording
            || differ(f64::from(self.kbps), f64::from(other.kbps), 8.0)
            || differ(f64::from(self.send_kbps), f64::from(other.send_kbps), 8.0)
            || differ(f64::from(self.fps), f64::from(other.fps), 0.5)
    }
}

const fn label(status: Status) -> &'static str {
    match status {
        Status::Waiting => "waiting",
        Status::Live => "live",
        Status::Lingering => "lingering",
        Status::Ended => "ended",
    }
}
