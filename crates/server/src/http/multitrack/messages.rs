//! What OBS asks, and what it is told: the parts of its go-live configuration that matter here.

use serde::{Deserialize, Serialize};

/// What OBS says; what else it says does not matter here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ask {
    pub capabilities: Capabilities,
    pub preferences: Preferences,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    pub gpu: Option<Vec<Gpu>>,
    pub system: System,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Gpu {
    pub vendor_id: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct System {
    pub name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// In kilobits a second.
    pub maximum_aggregate_bitrate: Option<u64>,
    pub maximum_video_tracks: Option<u32>,
    pub composition_gpu_index: Option<usize>,
    pub audio_channels: u32,
    pub canvases: Vec<Canvas>,
    /// The canvas of OBS 30.2, whose requests have no list of them.
    #[serde(flatten)]
    pub only: Canvas,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Canvas {
    pub width: u32,
    pub height: u32,
    pub framerate: FrameRate,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct FrameRate {
    pub numerator: u32,
    pub denominator: u32,
}

/// What OBS is told.
#[derive(Debug, Serialize)]
pub struct Answer {
    pub meta: Meta,
    pub status: Status,
    pub ingest_endpoints: Vec<Endpoint>,
    pub encoder_configurations: Vec<Configuration>,
    pub audio_configurations: Sound,
}

#[derive(Debug, Serialize)]
pub struct Meta {
    pub service: &'static str,
    pub schema_version: &'static str,
    /// OBS would add it to the stream key.
    pub config_id: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Status {
    pub result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html_en_us: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub struct Endpoint {
    pub protocol: &'static str,
    pub url_template: String,
}

#[derive(Debug, Serialize)]
pub struct Sound {
    pub live: Vec<Track>,
}

#[derive(Debug, Serialize)]
pub struct Track {
    pub codec: &'static str,
    pub track_id: u32,
    pub channels: u32,
    pub settings: SoundSettings,
}

#[derive(Debug, Serialize)]
pub struct SoundSettings {
    /// In kilobits a second.
    pub bitrate: u32,
}

/// One encoder.
#[derive(Debug, Serialize)]
pub struct Configuration {
    pub r#type: String,
    pub width: u32,
    pub height: u32,
    pub framerate: FrameRate,
    pub gpu_scale_type: &'static str,
    pub colorspace: &'static str,
    pub range: &'static str,
    pub format: &'static str,
    pub settings: Settings,
    pub canvas_index: u32,
}

#[derive(Debug, Serialize)]
pub struct Settings {
    pub rate_control: &'static str,
    /// In kilobits a second.
    pub bitrate: u64,
    pub keyint_sec: u32,
    pub profile: &'static str,
    /// Pictures that need later ones make each viewer wait.
    pub bf: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tune: Option<&'static str>,
}
