//! Enhanced RTMP's capability exchange in `connect`.

use weir_flv::amf0::{Object, Value};

/// `capsEx` bits of what we support: reconnect requests (1), multitrack (2), ModEx (4), nanosecond timestamp offsets
/// (8). All but the first are properties of messages that we pass on unread.
const CAPS_EX: u32 = 0x0f;

/// `CanForward`: we pass every codec on and decode none.
const CAN_FORWARD: f64 = 4.0;

/// What a client can do beyond classic RTMP (Enhanced RTMP v2, "Enhancing NetConnection connect Command").
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capabilities {
    /// FourCCs that it decodes, `*` for all (v1; v2 has the maps instead).
    pub four_cc_list: Vec<String>,
    /// Bits for each video FourCC: 1 decodes, 2 encodes, 4 forwards.
    pub video_four_cc_info_map: Vec<(String, u32)>,
    /// Bits for each audio FourCC.
    pub audio_four_cc_info_map: Vec<(String, u32)>,
    /// Bits: 1 reconnect requests, 2 multitrack, 4 ModEx, 8 nanosecond timestamp offsets.
    pub caps_ex: u32,
}

impl Capabilities {
    /// Whether the client follows a `NetConnection.Connect.ReconnectRequest`.
    pub fn reconnects(&self) -> bool {
        self.caps_ex & 1 != 0
    }

    /// What the command object of `connect` announces; `None` if there is nothing of Enhanced RTMP in it.
    pub(super) fn announced(object: &Object) -> Option<Self> {
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
    pub(super) fn put_reply(&self, object: &mut Object) {
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
