//! Enhanced RTMP's capability exchange in `connect`.

use weir_flv::amf0::{Object, Value};
use weir_media::FourCc;

use crate::message::Command;

/// `capsEx` bits of what we support: reconnect requests (1), multitrack (2), ModEx (4), nanosecond timestamp offsets
/// (8). All but the first are properties of messages that we pass on unread.
const CAPS_EX: u32 = 0x0f;

/// The bit of [`Capabilities::caps_ex`] for messages with several tracks, or with the number of one.
const MULTITRACK: u32 = 2;

/// `CanForward`: we pass every codec on and decode none.
const CAN_FORWARD: f64 = 4.0;

/// What a peer can do beyond classic RTMP (Enhanced RTMP v2, "Enhancing NetConnection connect Command").
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capabilities {
    /// FourCCs that it knows, `*` for all (v1; v2 has the maps instead).
    pub four_cc_list: Vec<String>,
    /// Bits for each video FourCC: 1 decodes, 2 encodes, 4 forwards.
    pub video_four_cc_info_map: Vec<(String, u32)>,
    /// Bits for each audio FourCC.
    pub audio_four_cc_info_map: Vec<(String, u32)>,
    /// Bits: 1 reconnect requests, 2 multitrack, 4 ModEx, 8 nanosecond timestamp offsets.
    pub caps_ex: u32,
}

impl Capabilities {
    /// Whether a client follows a `NetConnection.Connect.ReconnectRequest`.
    pub fn reconnects(&self) -> bool {
        self.caps_ex & 1 != 0
    }

    /// Whether it takes messages with several tracks, or with the number of one.
    pub fn takes_multitrack(&self) -> bool {
        self.caps_ex & MULTITRACK != 0
    }

    /// Whether it does anything with video that has this FourCC.
    pub fn takes_video(&self, four_cc: FourCc) -> bool {
        self.takes(&self.video_four_cc_info_map, four_cc)
    }

    /// The same of audio.
    pub fn takes_audio(&self, four_cc: FourCc) -> bool {
        self.takes(&self.audio_four_cc_info_map, four_cc)
    }

    /// The map says more than the list, where there is one.
    fn takes(&self, map: &[(String, u32)], four_cc: FourCc) -> bool {
        let is_meant = |name: &str| name == "*" || name.as_bytes() == four_cc.0;
        match map {
            [] => self.four_cc_list.iter().any(|name| is_meant(name)),
            _ => map.iter().any(|(name, bits)| *bits != 0 && is_meant(name)),
        }
    }

    /// What a server answers to `connect`: it may stand in the properties or in the information object.
    pub(crate) fn answered(answer: &Command) -> Option<Self> {
        let info = answer.arguments.first().and_then(Value::as_object);
        let objects = [info, answer.object.as_object()];
        objects.into_iter().flatten().find_map(Self::announced)
    }

    /// What the command object of `connect` announces; `None` if there is nothing of Enhanced RTMP in it.
    pub(crate) fn announced(object: &Object) -> Option<Self> {
        const NAMES: [&str; 4] =
            ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"];
        NAMES.iter().any(|name| object.get(name).is_some()).then(|| Self {
            four_cc_list: list(object.get(NAMES[0])),
            video_four_cc_info_map: map(object.get(NAMES[1])),
            audio_four_cc_info_map: map(object.get(NAMES[2])),
            caps_ex: object.get(NAMES[3]).and_then(Value::as_number).unwrap_or(0.0) as u32,
        })
    }

    /// Answers in kind: our own capabilities, for each property that the client has.
    pub(crate) fn put_reply(&self, object: &mut Object) {
        let any = || {
            let mut map = Object::new();
            map.push("*", CAN_FORWARD);
            map
        };
        if !self.four_cc_list.is_empty() {
            object.push("fourCcList", vec![Value::from("*")]);
        }
        if !self.video_four_cc_info_map.is_empty() {
            object.push("videoFourCcInfoMap", any());
        }
        if !self.audio_four_cc_info_map.is_empty() {
            object.push("audioFourCcInfoMap", any());
        }
        if self.caps_ex != 0 {
            object.push("capsEx", self.caps_ex & CAPS_EX);
        }
    }
}

fn list(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::StrictArray(values)) => {
            values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        // HaishinKit and others send the list as an array with names "0", "1", ...
        Some(Value::EcmaArray(object) | Value::Object(object)) => {
            object.iter().filter_map(|(_, value)| value.as_str()).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

fn map(value: Option<&Value>) -> Vec<(String, u32)> {
    let properties = value.and_then(Value::as_object).into_iter().flat_map(Object::iter);
    properties
        .filter_map(|(name, value)| Some((name.to_owned(), value.as_number()? as u32)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(in_info: bool, name: &str, value: impl Into<Value>) -> Command {
        let mut object = Object::new();
        object.push(name, value);
        let plain = Object::new();
        let (properties, info) = if in_info { (plain, object) } else { (object, plain) };
        let mut answer = Command::new("_result", 1.0, vec![info.into()]);
        answer.object = properties.into();
        answer
    }

    #[test]
    fn what_a_server_takes_is_in_either_object_of_its_answer() {
        for in_info in [true, false] {
            let list = answer(in_info, "fourCcList", vec![Value::from("hvc1")]);
            let known = Capabilities::answered(&list).expect("capabilities");
            assert!(known.takes_video(FourCc(*b"hvc1")) && !known.takes_video(FourCc(*b"av01")));
            assert!(!known.takes_audio(FourCc(*b"Opus")) && !known.takes_multitrack());
            let caps = Capabilities::answered(&answer(in_info, "capsEx", 6.0)).expect("some");
            assert!(caps.takes_multitrack() && !caps.takes_video(FourCc(*b"hvc1")));
        }
        assert_eq!(Capabilities::answered(&answer(true, "fmsVer", "x")), None);
    }

    #[test]
    fn a_map_says_more_than_the_list() {
        let known = Capabilities {
            four_cc_list: vec!["*".to_owned()],
            video_four_cc_info_map: vec![("hvc1".to_owned(), 1), ("av01".to_owned(), 0)],
            ..Capabilities::default()
        };
        assert!(known.takes_video(FourCc(*b"hvc1")) && !known.takes_video(FourCc(*b"av01")));
        assert!(known.takes_audio(FourCc(*b"Opus")), "there is no map of audio");
    }
}
