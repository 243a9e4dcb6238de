//! What an encoder that can send several sizes of one picture is told to send.

use serde_json::json;

use super::{
    kind::{Element, Json, Secrets, Text},
    value::{self, Problem, Rate},
};

/// Encoders know no pictures with more pixels on a side.
const SIDE_MAX: u32 = 8192;

/// No camera is faster.
const FPS_MAX: u32 = 240;

/// One size of the picture, of several that are encoded side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Pictures a second, at most; none for as many as there are.
    pub fps: Option<u32>,
    /// In bits a second.
    pub bit_rate: u64,
}

impl Text for Step {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        const FIX: &str =
            "write size, frame rate (or none) and bit rate, such as \"1280x720@30 2500kbps\"";
        let is_bad = |what: &str| Problem::new(format!("{text}: {what}"), FIX);
        let (size, bit_rate) = text.split_once(' ').ok_or_else(|| is_bad("no bit rate"))?;
        let (size, fps) = match size.split_once('@') {
            Some((size, fps)) => (size, Some(fps)),
            None => (size, None),
        };
        let (width, height) = size.split_once('x').ok_or_else(|| is_bad("no size"))?;
        let side = |side: &str| {
            // Encoders halve the colours.
            let side =
                side.parse().ok().filter(|side| (2..=SIDE_MAX).contains(side) && side % 2 == 0);
            side.ok_or_else(|| is_bad("a side is an even number of up to 8192 pixels"))
        };
        let fps = fps.map(|fps| {
            let fps = fps.parse().ok().filter(|fps| (1..=FPS_MAX).contains(fps));
            fps.ok_or_else(|| is_bad("a frame rate is a number from 1 to 240"))
        });
        let bit_rate = value::parse_rate(bit_rate.trim()).map_err(|what| is_bad(&what))?;
        // Encoders take whole kilobits.
        if bit_rate < 1000 {
            return Err(is_bad("a bit rate is at least 1kbps"));
        }
        Ok(Self { width: side(width)?, height: side(height)?, fps: fps.transpose()?, bit_rate })
    }

    fn show(value: &Self, _: Secrets) -> Json {
        let Self { width, height, fps, bit_rate } = value;
        let fps = fps.map(|fps| format!("@{fps}")).unwrap_or_default();
        format!("{width}x{height}{fps} {}", Rate(*bit_rate)).into()
    }

    fn schema() -> Json {
        let pattern = r"^[0-9]+x[0-9]+(@[0-9]+)? +[0-9]+(\.[0-9]+)?(bps|kbps|Mbps|Gbps)$";
        json!({ "type": "string", "pattern": pattern })
    }
}

impl Element for Step {
    const EXPECTED: &'static str = "a size with its bit rate or a list of them";
    const WRITE: &'static str = "a size such as \"1280x720@30 2500kbps\"; [] means none";
    const MAY_BE_NUMBER: bool = false;
}

/// What encodes the pictures: a type of encoder by its name in OBS, or what fits the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// That of the graphics card if OBS says that there is one, else x264.
    Auto,
    /// This one.
    Named(String),
}

/// Longest name of an encoder that is taken for one.
const ENCODER_MAX: usize = 64;

impl Text for Encoder {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, Problem> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if text == "auto" {
            Ok(Self::Auto)
        } else if (1..=ENCODER_MAX).contains(&text.len()) && text.bytes().all(is_name) {
            Ok(Self::Named(text.to_owned()))
        } else {
            let fix = "use auto, or a type of encoder such as obs_x264 or obs_nvenc_h264_tex";
            Err(Problem::new(format!("`{text}` is no type of encoder"), fix))
        }
    }

    fn show(value: &Self, _: Secrets) -> Json {
        match value {
            Self::Auto => "auto".into(),
            Self::Named(name) => name.as_str().into(),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$" })
    }
}

/// Where encoders send what they are told to send: `rtmp://ingest.example.com`; none for the host that they asked.
pub struct Server;

/// Longest URL of a server.
const SERVER_MAX: usize = 300;

impl Text for Server {
    type Value = String;

    fn parse(text: &str) -> Result<String, Problem> {
        let host = text.strip_prefix("rtmp://").or_else(|| text.strip_prefix("rtmps://"));
        let is_plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        let is_host = |host: &str| !host.is_empty() && host.chars().all(is_plain);
        if text.len() <= SERVER_MAX && (text.is_empty() || host.is_some_and(is_host)) {
            return Ok(text.to_owned());
        }
        let fix = "write scheme and host, such as rtmp://ingest.example.com; the app is added";
        Err(Problem::new(format!("`{text}` is no RTMP server"), fix))
    }

    fn show(value: &String, _: Secrets) -> Json {
        value.as_str().into()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^(rtmps?://[A-Za-z0-9.:\[\]-]+)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_shown() {
        for text in ["1920x1080@60 6Mbps", "1280x720 2.5Mbps", "640x360@30 800kbps"] {
            let step = Step::parse(text).expect("a size");
            assert_eq!(Step::show(&step, Secrets::Masked), text);
        }
        let step = Step { width: 1280, height: 720, fps: Some(30), bit_rate: 2_500_000 };
        assert_eq!(Step::parse("1280x720@30  2500kbps"), Ok(step));
    }

    #[test]
    fn encoders_and_servers_are_names() {
        assert_eq!(Encoder::parse("auto"), Ok(Encoder::Auto));
        assert_eq!(Encoder::parse("obs_x264"), Ok(Encoder::Named("obs_x264".into())));
        assert!(Encoder::parse("a b").is_err() && Encoder::parse("").is_err());
        for server in ["", "rtmp://a.example.com", "rtmps://[::1]:443"] {
            assert_eq!(Server::parse(server).as_deref(), Ok(server));
        }
        for other in ["a.example.com", "rtmp://", "rtmp://a/live", "http://a", "rtmp://u@a"] {
            assert!(Server::parse(other).is_err(), "{other}");
        }
    }

    #[test]
    fn what_is_no_size_is_said() {
        for (text, what) in [
            ("1280x720", "no bit rate"),
            ("720p 2Mbps", "no size"),
            ("1280x721 2Mbps", "even number"),
            ("0x720 2Mbps", "even number"),
            ("1280x9000 2Mbps", "even number"),
            ("1280x720@0 2Mbps", "frame rate"),
            ("1280x720@fast 2Mbps", "frame rate"),
            ("1280x720 fast", ""),
            ("1280x720 0", "1kbps"),
        ] {
            let problem = Step::parse(text).expect_err(text);
            assert!(format!("{problem:?}").contains(what), "{text}: {problem:?}");
        }
    }
}
