//! What the server answers.

use bytes::BytesMut;
use weir_flv::{
    TagKind,
    amf0::{self, Object, Value},
};

use super::config::Config;
use crate::{
    Capabilities,
    chunk::{CSID_COMMAND, CSID_STATUS},
    link::Link,
    message::{BandwidthLimit, Command, Control, QUESTIONS_FIELD, QUESTIONS_MAX, UserControl},
};

/// The server that clients believe to talk to; some refuse to play H.264 from older ones. The same as SRS's and
/// nginx-rtmp's.
const FMS_VERSION: &str = "FMS/3,5,3,888";

/// Answers `connect`: window, bandwidth, our chunk size, and the result.
pub(super) fn connected(
    link: &mut Link,
    config: Config,
    transaction: f64,
    object_encoding: f64,
    enhanced: Option<&Capabilities>,
) {
    link.send_control(Control::WindowAckSize(config.window_ack_size));
    link.send_control(Control::SetPeerBandwidth {
        size: config.window_ack_size,
        limit: BandwidthLimit::Dynamic,
    });
    link.set_out_chunk_size(config.chunk_size);

    let mut properties = Object::new();
    properties.push("fmsVer", FMS_VERSION);
    properties.push("capabilities", 127.0);
    properties.push("mode", 1.0);
    let mut info = Object::new();
    info.push("level", "status");
    info.push("code", "NetConnection.Connect.Success");
    info.push("description", "Connection succeeded.");
    info.push("objectEncoding", object_encoding);
    info.push("data", Value::EcmaArray(config.connect_reply));
    info.push(QUESTIONS_FIELD, QUESTIONS_MAX as f64);
    if let Some(enhanced) = enhanced {
        // The specification says "the response"; implementations look in one object or the other.
        enhanced.put_reply(&mut properties);
        enhanced.put_reply(&mut info);
    }
    let mut result = Command::new("_result", transaction, vec![info.into()]);
    result.object = properties.into();
    link.send_command(CSID_COMMAND, 0, &result);
}

/// Answers a call with `value`, if an answer was asked for.
pub(super) fn result(link: &mut Link, transaction: f64, value: Value) {
    if transaction != 0.0 {
        link.send_command(CSID_COMMAND, 0, &Command::new("_result", transaction, vec![value]));
    }
}

/// Tells that a call has failed, and why.
pub(super) fn failed(link: &mut Link, transaction: f64, description: &str) {
    let mut error = Command::status("error", "NetConnection.Call.Failed", description);
    (error.name, error.transaction) = ("_error".to_owned(), transaction);
    link.send_command(CSID_COMMAND, 0, &error);
}

/// FMLE waits for `onFCPublish`, everybody else for the status.
pub(super) fn publish_start(link: &mut Link, stream_id: u32) {
    const CODE: &str = "NetStream.Publish.Start";
    let mut fc = Command::status("status", CODE, "Started publishing stream.");
    fc.name = "onFCPublish".to_owned();
    link.send_command(CSID_STATUS, stream_id, &fc);
    link.send_status(stream_id, "status", CODE, "Started publishing stream.");
}

/// Tells an encoder that its publish has ended as it wished.
pub(super) fn publish_end(link: &mut Link, stream_id: u32) {
    const CODE: &str = "NetStream.Unpublish.Success";
    let mut fc = Command::status("status", CODE, "Stopped publishing stream.");
    fc.name = "onFCUnpublish".to_owned();
    link.send_command(CSID_STATUS, stream_id, &fc);
    link.send_status(stream_id, "status", CODE, "Stopped publishing stream.");
}

/// What SRS and nginx-rtmp send before the first media; Flash Player draws nothing without the sample access. SRS's
/// `NetStream.Data.Start` after it is left out: FFmpeg takes that for a third, empty stream.
pub(super) fn play_start(link: &mut Link, stream_id: u32) {
    link.send_control(Control::User(UserControl::StreamBegin(stream_id)));
    link.send_status(stream_id, "status", "NetStream.Play.Reset", "Playing and resetting stream.");
    link.send_status(stream_id, "status", "NetStream.Play.Start", "Started playing stream.");
    let mut access = BytesMut::new();
    for value in ["|RtmpSampleAccess".into(), Value::Boolean(true), Value::Boolean(true)] {
        amf0::encode(&value, &mut access);
    }
    link.send_media(stream_id, TagKind::Script, 0, &access);
}

/// FFmpeg ends at either status, librtmp (OBS, VLC) at the first one, others at the end of the stream.
pub(super) fn play_end(link: &mut Link, stream_id: u32) {
    const UNPUBLISH: &str = "NetStream.Play.UnpublishNotify";
    link.send_status(stream_id, "status", UNPUBLISH, "The stream is no longer published.");
    link.send_control(Control::User(UserControl::StreamEof(stream_id)));
    link.send_status(stream_id, "status", "NetStream.Play.Stop", "Stopped playing stream.");
}

/// Confirms a pause or its end as SRS does.
pub(super) fn paused(link: &mut Link, stream_id: u32, paused: bool) {
    let (event, code, text) = match paused {
        true => (UserControl::StreamEof(stream_id), "NetStream.Pause.Notify", "Paused stream."),
        false => {
            (UserControl::StreamBegin(stream_id), "NetStream.Unpause.Notify", "Resumed stream.")
        }
    };
    link.send_control(Control::User(event));
    link.send_status(stream_id, "status", code, text);
}

/// A live stream has one position. The status must not be an error: FFmpeg ends the connection at one.
pub(super) fn seek(link: &mut Link, stream_id: u32) {
    let text = "Seeking is not supported in a live stream.";
    link.send_status(stream_id, "status", "NetStream.Seek.Notify", text);
}
