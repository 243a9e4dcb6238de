use weir_flv::amf0::Object;

use super::*;
use crate::Error;

fn controls() -> Vec<Control> {
    use UserControl as U;
    let mut controls = vec![
        Control::SetChunkSize(60_000),
        Control::Abort(4),
        Control::Acknowledgement(u32::MAX),
        Control::WindowAckSize(2_500_000),
    ];
    for limit in [BandwidthLimit::Hard, BandwidthLimit::Soft, BandwidthLimit::Dynamic] {
        controls.push(Control::SetPeerBandwidth { size: 1, limit });
    }
    let events = [
        U::StreamBegin(1),
        U::StreamEof(2),
        U::StreamDry(3),
        U::SetBufferLength { stream_id: 1, millis: 3000 },
        U::StreamIsRecorded(4),
        U::PingRequest(0xdead_beef),
        U::PingResponse(6),
        U::Other(31),
    ];
    controls.extend(events.map(Control::User));
    controls
}

#[test]
fn control_messages_round_trip() {
    for control in controls() {
        let (type_id, body) = control.encode();
        assert_eq!(Control::decode(type_id, &body), Some(control));
    }
}

#[test]
fn control_messages_cut_short_say_nothing() {
    for control in controls() {
        let (type_id, body) = control.encode();
        for length in 0..body.len() {
            let cut = Control::decode(type_id, &body[..length]);
            assert_eq!(cut, None, "{length} bytes of {control:?}");
        }
    }
}

#[test]
fn other_messages_are_no_control() {
    assert_eq!(Control::decode(type_id::VIDEO, &[0; 8]), None);
}

#[test]
fn the_wire_form_of_set_buffer_length() {
    let control = UserControl::SetBufferLength { stream_id: 1, millis: 0x0bb8 };
    let body = vec![0, 3, 0, 0, 0, 1, 0, 0, 0x0b, 0xb8];
    assert_eq!(Control::User(control).encode(), (type_id::USER_CONTROL, body));
}

#[test]
fn commands_round_trip() {
    let mut object = Object::new();
    object.push("app", "live");
    let mut command = Command::new("connect", 1.0, vec!["x".into(), 2.0.into(), true.into()]);
    command.object = object.into();
    let read = Command::decode(&command.encode()).unwrap();
    assert_eq!(read, command);
    assert_eq!((read.text(0), read.number(1), read.flag(2)), (Some("x"), Some(2.0), Some(true)));
    assert_eq!((read.text(1), read.number(9)), (None, None));
}

#[test]
fn a_command_may_lack_all_but_its_name() {
    let command = Command::decode(b"\x02\x00\x05close").unwrap();
    assert_eq!(command, Command::new("close", 0.0, vec![]));
}

#[test]
fn a_status_names_its_code() {
    let status = Command::status("error", "NetStream.Publish.BadName", "taken");
    let read = Command::decode(&status.encode()).unwrap();
    assert_eq!(read.info("code"), Some("NetStream.Publish.BadName"));
    assert_eq!(read.info("level"), Some("error"));
}

#[test]
fn commands_without_a_name_or_beyond_the_limit() {
    let nameless = Command::decode(&[5]);
    assert_eq!(
        nameless.unwrap_err().to_string(),
        "command \"\": the name is missing or has the wrong type"
    );
    let long = vec![5; COMMAND_BYTES_MAX + 1];
    assert!(matches!(Command::decode(&long), Err(Error::MessageTooLong { .. })));
}

#[test]
fn hostile_amf0_is_an_error() {
    let nested = [&b"\x02\x00\x01a"[..], &b"\x03\x00\x01x".repeat(15_000)].concat();
    let count = b"\x02\x00\x01a\x0a\xff\xff\xff\xff".to_vec();
    let amf3 = b"\x02\x00\x01a\x11\x09".to_vec();
    for body in [nested, count, amf3] {
        let error = Command::decode(&body).unwrap_err();
        assert!(matches!(error, Error::Amf { .. }), "{error}");
    }
}

#[test]
fn text_of_other_encodings_is_that_of_urls() {
    let command = Command::decode(b"\x02\x00\x04play\x05\x05\x02\x00\x06a\xd6\xd0%41").unwrap();
    assert_eq!(command.text(0), Some("a%D6%D0%41"));
}

#[test]
fn the_byte_before_wrapped_amf0_is_taken_off() {
    let wrapped = Bytes::from_static(b"\x00\x05");
    assert_eq!(amf0_body(type_id::COMMAND_AMF3, wrapped.clone()), b"\x05"[..]);
    assert_eq!(amf0_body(type_id::DATA_AMF3, wrapped.clone()), b"\x05"[..]);
    assert_eq!(amf0_body(type_id::COMMAND, wrapped), b"\x00\x05"[..]);
    let unwrapped = Bytes::from_static(b"\x02\x00\x00");
    assert_eq!(amf0_body(type_id::COMMAND_AMF3, unwrapped.clone()), unwrapped);
}
