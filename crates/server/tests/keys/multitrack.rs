//! Keys of `publish` that say what OBS is told to send.

use serde_json::{Value, json};
use weir_testkit::{Weir, http};

use crate::{call, reload, server};

/// What OBS 31 sends, without what differs between machines.
fn request(width: u32, height: u32) -> String {
    let framerate = json!({ "numerator": 60, "denominator": 1 });
    json!({
        "service": "IVS",
        "schema_version": "2025-01-25",
        "authentication": "the stream key",
        "client": { "name": "obs-studio", "version": "31.0.0", "supported_codecs": ["h264", "av1"] },
        "capabilities": {
            "cpu": { "physical_cores": 8, "logical_cores": 16, "speed": null, "name": null },
            "memory": { "total": 1, "free": 1 },
            "gaming_features": null,
            "system": { "version": "6", "name": "Linux", "build": 0, "release": "", "revision": "", "bits": 64,
                "arm": false, "armEmulation": false },
            "gpu": null,
        },
        "preferences": {
            "maximum_aggregate_bitrate": null,
            "maximum_video_tracks": null,
            "vod_track_audio": false,
            "composition_gpu_index": 0,
            "audio_samples_per_sec": 48000,
            "audio_channels": 2,
            "audio_max_buffering_ms": 960,
            "audio_fixed_buffering": false,
            "canvases": [{ "width": width, "height": height, "canvas_width": width, "canvas_height": height,
                "framerate": framerate }],
        },
    })
    .to_string()
}

async fn ask(weir: &Weir, body: &str) -> (u16, Value) {
    let head = format!(
        "POST /multitrack?app=live/eu HTTP/1.1\r\nHost: weir.test:8080\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut response = http::request(weir.http(), head.as_bytes()).await;
    let text = response.text().await;
    (response.status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test(flavor = "multi_thread")]
pub async fn sizes() {
    let mut weir = server().start();
    let (status, none) = ask(&weir, &request(1920, 1080)).await;
    assert_eq!((status, &none["status"]["result"]), (200, &json!("error")), "{none}");
    reload(&mut weir, "publish: { multitrack: [1280x720@30 2Mbps, 640x360@30 700kbps] }\n").await;
    let (status, told) = ask(&weir, &request(1920, 1080)).await;
    assert_eq!((status, &told["status"]["result"]), (200, &json!("success")), "{told}");
    let sizes: Vec<_> = told["encoder_configurations"]
        .as_array()
        .expect("encoders")
        .iter()
        .map(|one| (one["type"].clone(), one["width"].clone(), one["settings"]["bitrate"].clone()))
        .collect();
    let x264 = json!("obs_x264");
    assert_eq!(sizes, [(x264.clone(), json!(1280), json!(2000)), (x264, json!(640), json!(700))]);
    let endpoint = &told["ingest_endpoints"][0];
    let url = "rtmp://weir.test/live/eu/{stream_key}";
    assert_eq!((&endpoint["protocol"], &endpoint["url_template"]), (&json!("RTMP"), &json!(url)));
    reload(
        &mut weir,
        "publish: { multitrack: 640x360 700kbps, multitrack_encoder: jim_nvenc, \
         multitrack_server: 'rtmps://ingest.test' }\n",
    )
    .await;
    let (_, told) = ask(&weir, &request(320, 180)).await;
    let only = &told["encoder_configurations"][0];
    assert_eq!((&only["type"], &only["width"]), (&json!("jim_nvenc"), &json!(320)));
    let url = &told["ingest_endpoints"][0]["url_template"];
    assert_eq!(url, "rtmps://ingest.test/live/eu/{stream_key}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_and_harms_nobody() {
    let weir = server().config("publish: { multitrack: [640x360 700kbps] }\n").start();
    assert_eq!(ask(&weir, "{").await.0, 400);
    assert_eq!(ask(&weir, "7").await.0, 400);
    assert_eq!(ask(&weir, &"[".repeat(60_000)).await.0, 400, "nested too deep");
    assert_eq!(ask(&weir, &" ".repeat(100_000)).await.0, 413);
    let (status, _) = call(weir.http(), "POST", "multitrack?app=../x", "").await;
    assert_eq!(status, 400);
    let (status, _) = call(weir.http(), "DELETE", "multitrack", "").await;
    assert_eq!(status, 405);
    let told = http::get(weir.http(), "multitrack").await.text().await;
    assert!(told.contains("640"), "a person can look at it: {told}");
}
