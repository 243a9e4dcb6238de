//! Which sizes an encoder gets to do.

use weir_config::{Encoder, Publish, Step};

use super::messages::{Ask, Canvas, Configuration, FrameRate, Settings};

/// How often players may begin and change over.
const KEY_FRAMES_SECONDS: u32 = 2;

/// What encodes H.264 on every machine that OBS runs on.
const X264: &str = "obs_x264";

/// What encodes H.264 on the graphics cards of a maker, by its PCI vendor.
const CARDS: [(u32, &str); 3] =
    [(0x10de, "obs_nvenc_h264_tex"), (0x1002, "h264_texture_amf"), (0x8086, "obs_qsv11_v2")];

/// What encodes H.264 on a Mac.
const MAC: &str = "com.apple.videotoolbox.videoencoder.ave.avc";

/// The sizes that are configured and that the asking OBS can do: not larger than its canvas, not more tracks and not
/// more bits than it says. The largest is the first track, which every player gets that knows one only.
pub fn sizes(ask: &Ask, publish: &Publish) -> Vec<Configuration> {
    let preferences = &ask.preferences;
    let canvas = preferences.canvases.first().copied().unwrap_or(preferences.only);
    let mut steps = publish.multitrack.clone();
    steps.sort_by_key(|step| {
        std::cmp::Reverse((u64::from(step.width) * u64::from(step.height), step.bit_rate))
    });
    let smallest = steps.last().copied();
    steps.retain(|step| fits(*step, canvas));
    // A canvas that is smaller than all of them is encoded as it is.
    if steps.is_empty()
        && let Some(step) = smallest
    {
        // Encoders halve the colours.
        let (width, height) = (canvas.width & !1, canvas.height & !1);
        steps.push(Step { width, height, ..step });
    }
    if let Some(most) = preferences.maximum_video_tracks {
        // The first and the last ones of those that would be too many are the most different.
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
        while steps.len() > most {
            steps.remove(if most == 1 { steps.len() - 1 } else { steps.len() - 2 });
        }
    }
    if let Some(most) = preferences.maximum_aggregate_bitrate {
        let most = most.saturating_mul(1000);
        // The largest goes first: it costs the most.
        while steps.len() > 1 && all(&steps) > most {
            steps.remove(0);
        }
        if let [only] = &mut *steps {
            only.bit_rate = only.bit_rate.min(most.max(1000));
        }
    }
    let encoder = encoder(ask, &publish.multitrack_encoder);
    steps.into_iter().map(|step| configuration(step, canvas, &encoder)).collect()
}

/// Bits a second of all together.
fn all(steps: &[Step]) -> u64 {
    steps.iter().fold(0, |bits, step| bits.saturating_add(step.bit_rate))
}

/// Whether it is no larger than the canvas, if that is known.
fn fits(step: Step, canvas: Canvas) -> bool {
    let is_known = canvas.width >= 2 && canvas.height >= 2;
    !is_known || step.width <= canvas.width && step.height <= canvas.height
}

fn encoder(ask: &Ask, configured: &Encoder) -> String {
    if let Encoder::Named(name) = configured {
        return name.clone();
    }
    if ask.capabilities.system.name.to_ascii_lowercase().contains("mac") {
        return MAC.to_owned();
    }
    let cards = ask.capabilities.gpu.as_deref().unwrap_or_default();
    let card = ask.preferences.composition_gpu_index.and_then(|index| cards.get(index));
    let card = card.or(cards.first());
    let known = card.and_then(|card| CARDS.iter().find(|(vendor, _)| *vendor == card.vendor_id));
    known.map_or(X264, |(_, encoder)| encoder).to_owned()
}

fn configuration(step: Step, canvas: Canvas, encoder: &str) -> Configuration {
    let is_x264 = encoder == X264;
    Configuration {
        r#type: encoder.to_owned(),
        width: step.width,
        height: step.height,
        framerate: frame_rate(step.fps, canvas.framerate),
        gpu_scale_type: "OBS_SCALE_BICUBIC",
        colorspace: "VIDEO_CS_709",
        range: "VIDEO_RANGE_PARTIAL",
        format: "VIDEO_FORMAT_NV12",
        settings: Settings {
            rate_control: "CBR",
            bitrate: step.bit_rate / 1000,
            keyint_sec: KEY_FRAMES_SECONDS,
            profile: "main",
            bf: 0,
            preset: is_x264.then_some("veryfast"),
            tune: is_x264.then_some("zerolatency"),
        },
        canvas_index: 0,
    }
}

/// The frame rate of a size: that of the canvas, or a whole part of it that comes next to what is configured. OBS
/// leaves out all but each second or third picture, and nothing between.
fn frame_rate(most: Option<u32>, canvas: FrameRate) -> FrameRate {
    let FrameRate { numerator, denominator } = canvas;
    if numerator == 0 || denominator == 0 {
        return FrameRate { numerator: most.unwrap_or(30), denominator: 1 };
    }
    let Some(most) = most else { return canvas };
    let (numerator, denominator) = (u64::from(numerator), u64::from(denominator));
    let divisor = numerator.div_ceil(denominator * u64::from(most)).max(1);
    // 59.94 is 60 for people.
    let is_near = numerator * 100 <= denominator * u64::from(most) * (divisor - 1) * 101;
    let divisor = if divisor > 1 && is_near { divisor - 1 } else { divisor };
    match u32::try_from(denominator * divisor) {
        Ok(denominator) => FrameRate { numerator: canvas.numerator, denominator },
        Err(_) => canvas,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn publish(steps: &[(u32, u32, Option<u32>, u64)]) -> Publish {
        let step = |&(width, height, fps, kbps): &(u32, u32, Option<u32>, u64)| Step {
            width,
            height,
            fps,
            bit_rate: kbps * 1000,
        };
        Publish { multitrack: steps.iter().map(step).collect(), ..Publish::default() }
    }

    fn three() -> Publish {
        publish(&[(1280, 720, Some(30), 2500), (1920, 1080, None, 6000), (640, 360, Some(30), 800)])
    }

    fn asked(ask: Value) -> Ask {
        serde_json::from_value(ask).expect("a request")
    }

    fn canvas(width: u32, height: u32, numerator: u32) -> Value {
        let framerate = json!({ "numerator": numerator, "denominator": 1 });
        json!({ "width": width, "height": height, "canvas_width": width, "canvas_height": height,
            "framerate": framerate })
    }

    fn heights(ask: Value) -> Vec<u32> {
        sizes(&asked(ask), &three()).iter().map(|one| one.height).collect()
    }

    #[test]
    fn the_largest_that_fits_the_canvas_is_the_first_track() {
        let with =
            |width, height| json!({ "preferences": { "canvases": [canvas(width, height, 60)] } });
        assert_eq!(heights(with(3840, 2160)), [1080, 720, 360]);
        assert_eq!(heights(with(1280, 720)), [720, 360]);
        assert_eq!(heights(with(321, 241)), [240], "as it is, but even");
        assert_eq!(heights(json!({})), [1080, 720, 360], "nothing is known");
        let of_30_2 = json!({ "preferences": canvas(1280, 720, 60) });
        assert_eq!(heights(of_30_2), [720, 360], "OBS 30.2 has one canvas");
    }

    #[test]
    fn no_more_tracks_and_bits_than_the_encoder_says() {
        let with = |key: &str, most: u32| json!({ "preferences": { key: most } });
        assert_eq!(heights(with("maximum_video_tracks", 2)), [1080, 360]);
        assert_eq!(heights(with("maximum_video_tracks", 1)), [1080]);
        assert_eq!(heights(with("maximum_aggregate_bitrate", 9300)), [1080, 720, 360]);
        assert_eq!(heights(with("maximum_aggregate_bitrate", 9299)), [720, 360]);
        let least = sizes(&asked(with("maximum_aggregate_bitrate", 500)), &three());
        assert_eq!((least.len(), least[0].height, least[0].settings.bitrate), (1, 360, 500));
    }

    #[test]
    fn the_graphics_card_encodes_if_there_is_one() {
        let with = |ask| sizes(&asked(ask), &three())[0].r#type.clone();
        assert_eq!(with(json!({})), X264);
        let cards = json!([{ "model": "a", "vendor_id": 0x8086, "device_id": 1 },
            { "model": "b", "vendor_id": 0x10de, "device_id": 2 }]);
        assert_eq!(with(json!({ "capabilities": { "gpu": cards } })), "obs_qsv11_v2");
        let second = json!({ "capabilities": { "gpu": cards }, "preferences": { "composition_gpu_index": 1 } });
        assert_eq!(with(second), "obs_nvenc_h264_tex");
        assert_eq!(with(json!({ "capabilities": { "system": { "name": "macOS" } } })), MAC);
        let named = Encoder::Named("obs_x265".into());
        let publish = Publish { multitrack_encoder: named, ..three() };
        assert_eq!(sizes(&Ask::default(), &publish)[0].r#type, "obs_x265");
    }

    #[test]
    fn pictures_are_left_out_evenly() {
        let rate = |most, numerator, denominator| {
            let FrameRate { numerator, denominator } =
                frame_rate(most, FrameRate { numerator, denominator });
            (numerator, denominator)
        };
        assert_eq!(rate(Some(30), 60, 1), (60, 2));
        assert_eq!(rate(Some(60), 60, 1), (60, 1));
        assert_eq!(rate(Some(30), 60000, 1001), (60000, 2002), "59.94 halved");
        assert_eq!(rate(Some(60), 60000, 1000), (60000, 1000));
        assert_eq!(rate(Some(30), 25, 1), (25, 1), "there are no more");
        assert_eq!(rate(Some(29), 60, 1), (60, 3));
        assert_eq!(rate(None, 144, 1), (144, 1));
        assert_eq!(rate(Some(25), 0, 0), (25, 1), "nothing is known");
    }
}
