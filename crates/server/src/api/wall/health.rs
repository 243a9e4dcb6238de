//! How a stream does, in one word.

use std::time::{Duration, Instant};

use serde::Serialize;
use weir_hub::{Status, StreamStats};
use weir_outputs::{hls, record};

use super::past::Past;

/// How long nothing may arrive.
const STALLED: Duration = Duration::from_secs(9);

/// How long a track may be silent.
const SILENT: Duration = Duration::from_secs(10);

/// So often a publisher that is stable does not come within five minutes.
const UNSTABLE: usize = 3;

/// Viewers wait for a key frame: encoders send one every one to four seconds.
const GROUP_MAX_MS: u32 = 5000;

/// Slide shows have few pictures, and no rate that is usual.
const USUAL_MIN_X10: u16 = 50;

/// How a stream does: one word, and what its reason needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Health {
    /// `good`, or the first of these that holds: `away` (its publisher has left and may come back), `relayed` (an edge
    /// hands on its HLS only), `stalled` (nothing arrives), `unstable` (its publisher has come often), `slow` (fewer
    /// pictures than usual), `silent` (a track without sound), `repaired` (timestamps had to be), `keyframes` (they are
    /// far apart), `skipping` (viewers are too slow), `hls` or `record` (they fail).
    pub word: &'static str,
    /// Seconds, a number, or why: what the word is about. Null where there is nothing to say.
    #[cfg_attr(test, schema(required))]
    pub value: Option<String>,
}

impl Health {
    fn new(word: &'static str, value: String) -> Self {
        Self { word, value: Some(value) }
    }

    const fn of(word: &'static str) -> Self {
        Self { word, value: None }
    }
}

/// That of a stream with this `past`, which may not be known.
pub fn health(
    stats: &StreamStats,
    past: Option<&Past>,
    hls: Option<&hls::State>,
    recording: Option<&record::Recording>,
    now: Instant,
) -> Health {
    match stats.status {
        Status::Ended => return Health::of("relayed"),
        Status::Waiting | Status::Lingering => return Health::of("away"),
        Status::Live => {}
    }
    if let Some(past) = past
        && let Some(health) = of_media(stats, past, now)
    {
        return health;
    }
    if let Some(hls::State::Failing(reason)) = hls {
        return Health::new("hls", reason.to_string());
    }
    match recording {
        Some(recording) if recording.state == "failing" => {
            Health::new("record", recording.reason.as_deref().unwrap_or_default().to_owned())
        }
        _ => Health::of("good"),
    }
}

fn of_media(stats: &StreamStats, past: &Past, now: Instant) -> Option<Health> {
    let since = |at: Instant| now.saturating_duration_since(at);
    if since(past.heard) > STALLED {
        return Some(Health::new("stalled", since(past.heard).as_secs().to_string()));
    }
    let arrivals = past.arrivals(now);
    if arrivals >= UNSTABLE {
        return Some(Health::new("unstable", arrivals.to_string()));
    }
    let newest = past.newest();
    if let Some(usual) = past.usual_fps_x10()
        && usual >= USUAL_MIN_X10
        && newest.fps_x10 < usual / 2
    {
        return Some(Health::new("slow", format!("{:.1}", f64::from(newest.fps_x10) / 10.0)));
    }
    if stats.audio.is_some()
        && let Some(sounded) = past.sounded
        && since(sounded) > SILENT
    {
        return Some(Health::new("silent", since(sounded).as_secs().to_string()));
    }
    let sum =
        |of: fn(&super::past::Point) -> u16| past.minute().map(|it| u64::from(of(it))).sum::<u64>();
    let repairs = sum(|point| point.repairs);
    if repairs > 0 {
        return Some(Health::new("repaired", repairs.to_string()));
    }
    if newest.group_ms > GROUP_MAX_MS {
        return Some(Health::new(
            "keyframes",
            format!("{:.1}", f64::from(newest.group_ms) / 1000.0),
        ));
    }
    let skips = sum(|point| point.skips);
    (skips > 0).then(|| Health::new("skipping", skips.to_string()))
}
