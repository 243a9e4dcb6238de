//! What the client calls.

use weir_flv::amf0::{Object, Value};

use super::{
    Phase, Session,
    purpose::Purpose,
    transaction::{ASK, CONNECT, CREATE_STREAM, FC_PUBLISH, FC_UNPUBLISH, RELEASE_STREAM},
};
use crate::{
    chunk::{CSID_COMMAND, CSID_STATUS},
    message::{Command, Control, UserControl},
};

/// `CanForward`, for every codec: what is done with a stream is up to the caller.
const CAN_FORWARD: f64 = 4.0;

/// Multitrack (2), ModEx (4) and nanosecond timestamp offsets (8).
const CAPS_EX: f64 = 14.0;

/// Reconnect requests.
const CAPS_EX_RECONNECT: f64 = 1.0;

impl Session {
    pub(super) fn connect(&mut self) {
        let mut object = Object::new();
        object.push("app", self.config.url.app.as_str());
        object.push("type", "nonprivate");
        object.push("flashVer", self.config.flash_ver.as_str());
        object.push("tcUrl", self.config.url.tc_url.as_str());
        if self.purpose == Purpose::Play {
            // All legacy codecs, as Flash Player and FFmpeg say.
            object.push("fpad", false);
            object.push("capabilities", 15.0);
            object.push("audioCodecs", 4071.0);
            object.push("videoCodecs", 252.0);
            object.push("videoFunction", 1.0);
        }
        if self.config.enhanced {
            announce_enhanced(&mut object, self.config.reconnects);
        }
        for (name, value) in self.config.connect_extra.iter() {
            object.push(name, value.clone());
        }
        let mut connect = Command::new("connect", CONNECT, vec![]);
        connect.object = object.into();
        self.link.send_command(CSID_COMMAND, 0, &connect);
        self.phase = Phase::Connecting;
    }

    pub(super) fn create_stream(&mut self) {
        self.link.set_out_chunk_size(self.config.chunk_size);
        if self.purpose == Purpose::Publish {
            self.call("releaseStream", RELEASE_STREAM, vec![self.stream_name()]);
            self.call("FCPublish", FC_PUBLISH, vec![self.stream_name()]);
        }
        self.call("createStream", CREATE_STREAM, vec![]);
    }

    /// Sends `publish` or `play`.
    pub(super) fn ask(&mut self, stream_id: u32) {
        let command = match self.purpose {
            Purpose::Publish => {
                Command::new("publish", ASK, vec![self.stream_name(), "live".into()])
            }
            Purpose::Play | Purpose::Ask => {
                let millis = u32::try_from(self.config.buffer.as_millis()).unwrap_or(u32::MAX);
                let buffer = UserControl::SetBufferLength { stream_id, millis };
                self.link.send_control(Control::User(buffer));
                // -2: live if there is a live stream of this name. FFmpeg sends -2000.
                Command::new("play", ASK, vec![self.stream_name(), Value::Number(-2.0)])
            }
        };
        self.link.send_command(CSID_STATUS, stream_id, &command);
    }

    pub(super) fn delete_stream(&mut self, stream_id: u32) {
        if self.purpose == Purpose::Publish {
            self.call("FCUnpublish", FC_UNPUBLISH, vec![self.stream_name()]);
        }
        self.call("deleteStream", 0.0, vec![stream_id.into()]);
    }

    fn call(&mut self, name: &str, transaction: f64, arguments: Vec<Value>) {
        let command = Command::new(name, transaction, arguments);
        self.link.send_command(CSID_COMMAND, 0, &command);
    }

    fn stream_name(&self) -> Value {
        self.config.url.stream_with_query.as_str().into()
    }
}

fn announce_enhanced(object: &mut Object, reconnects: bool) {
    let mut any = Object::new();
    any.push("*", CAN_FORWARD);
    object.push("fourCcList", vec![Value::from("*")]);
    object.push("videoFourCcInfoMap", any.clone());
    object.push("audioFourCcInfoMap", any);
    object.push("capsEx", CAPS_EX + if reconnects { CAPS_EX_RECONNECT } else { 0.0 });
}
