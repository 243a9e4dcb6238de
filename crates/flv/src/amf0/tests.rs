use proptest::prelude::*;

use super::*;
use crate::Error;

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out);
    out
}

fn only(input: &[u8]) -> Result<Value, Error> {
    let mut rest = input;
    let value = decode(&mut rest)?;
    assert!(rest.is_empty(), "{} bytes left over", rest.len());
    Ok(value)
}

fn truncated(field: &'static str, needed: usize, left: usize) -> Error {
    Error::Truncated { field, needed, left }
}

/// The `connect` of ffmpeg 5.1 (`-rtmp_app live`), shortened to its essential properties.
const CONNECT: &[u8] = b"\x02\x00\x07connect\x00\x3f\xf0\x00\x00\x00\x00\x00\x00\x03\
    \x00\x03app\x02\x00\x04live\x00\x04type\x02\x00\x0anonprivate\
    \x00\x08flashVer\x02\x00\x20FMLE/3.0 (compatible; Lavf59.27)\
    \x00\x00\x09";

#[test]
fn decodes_a_connect_command() {
    let object = Object::from([
        ("app", "live"),
        ("type", "nonprivate"),
        ("flashVer", "FMLE/3.0 (compatible; Lavf59.27)"),
    ]);
    let values = decode_all(CONNECT).unwrap();
    assert_eq!(values, [Value::from("connect"), Value::from(1.0), Value::Object(object)]);
    assert_eq!(values[2].as_object().unwrap().get("app").unwrap().as_str(), Some("live"));
    assert_eq!(values.iter().flat_map(encoded).collect::<Vec<_>>(), CONNECT);
}

#[test]
fn every_type_has_its_bytes() {
    let object = Object::from([("a", true)]);
    let cases: [(Value, &[u8]); 13] = [
        (Value::Number(-1.5), b"\x00\xbf\xf8\x00\x00\x00\x00\x00\x00"),
        (Value::Boolean(true), b"\x01\x01"),
        (Value::from("hi"), b"\x02\x00\x02hi"),
        (Value::Object(object.clone()), b"\x03\x00\x01a\x01\x01\x00\x00\x09"),
        (Value::Null, b"\x05"),
        (Value::Undefined, b"\x06"),
        (Value::Reference(7), b"\x07\x00\x07"),
        (Value::EcmaArray(object.clone()), b"\x08\x00\x00\x00\x01\x00\x01a\x01\x01\x00\x00\x09"),
        (Value::StrictArray(vec![Value::Null, Value::Null]), b"\x0a\x00\x00\x00\x02\x05\x05"),
        (Value::Date { millis: 2.0, zone: -60 }, b"\x0b\x40\x00\x00\x00\x00\x00\x00\x00\xff\xc4"),
        (Value::Unsupported, b"\x0d"),
        (Value::Xml("<a/>".into()), b"\x0f\x00\x00\x00\x04<a/>"),
        (Value::Typed { class: "C".into(), object }, b"\x10\x00\x01C\x00\x01a\x01\x01\x00\x00\x09"),
    ];
    for (value, bytes) in cases {
        assert_eq!(encoded(&value), bytes, "encoding {value:?}");
        assert_eq!(only(bytes).as_ref(), Ok(&value), "decoding {value:?}");
    }
}

#[test]
fn decode_takes_one_value_and_leaves_the_rest() {
    let mut input = &b"\x05\x01\x00"[..];
    assert_eq!(decode(&mut input), Ok(Value::Null));
    assert_eq!(input, b"\x01\x00");
    let mut input = &b"\x01"[..];
    assert_eq!(decode(&mut input), Err(truncated("AMF0 boolean", 1, 0)));
    assert_eq!(input, b"\x01", "not moved by an error");
}

#[test]
fn strings_change_their_form_at_64_kib() {
    let short = encoded(&Value::String("x".repeat(65_535)));
    assert_eq!(short[..3], [0x02, 0xff, 0xff]);
    let long = Value::String("x".repeat(65_536));
    assert_eq!(encoded(&long)[..5], [0x0c, 0, 1, 0, 0]);
    assert_eq!(only(&encoded(&long)), Ok(long));
}

#[test]
fn names_that_amf0_cannot_express_are_cut_between_characters() {
    let name = format!("{}é", "x".repeat(65_534));
    let value = only(&encoded(&Object::from([(name, true)]).into())).unwrap();
    let (name, _) = value.as_object().unwrap().iter().next().unwrap();
    assert_eq!(name, "x".repeat(65_534));
}

#[test]
fn an_ecma_array_ends_at_its_end_marker_whatever_its_count() {
    for count in [0u32, 1, u32::MAX] {
        let mut bytes = vec![0x08];
        bytes.extend(count.to_be_bytes());
        bytes.extend(b"\x00\x01a\x05\x00\x01b\x05\x00\x00\x09");
        let value = only(&bytes).unwrap();
        assert_eq!(value, Value::EcmaArray(Object::from([("a", Value::Null), ("b", Value::Null)])));
    }
}

#[test]
fn an_empty_name_is_a_property_unless_the_end_marker_follows() {
    let value = only(b"\x03\x00\x00\x05\x00\x00\x09").unwrap();
    assert_eq!(value, Value::Object(Object::from([("", Value::Null)])));
}

#[test]
fn of_equal_names_the_last_one_counts() {
    let value = only(b"\x03\x00\x01a\x05\x00\x01a\x01\x01\x00\x00\x09").unwrap();
    let object = value.as_object().unwrap();
    assert_eq!((object.get("a"), object.len()), (Some(&Value::Boolean(true)), 2));
}

#[test]
fn insert_replaces_and_push_appends() {
    let mut object = Object::from([("a", 1.0), ("b", 2.0)]);
    object.insert("a", "new");
    object.insert("c", true);
    object.push("b", Value::Null);
    let names: Vec<_> = object.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b", "c", "b"]);
    assert_eq!(object.get("a"), Some(&Value::from("new")));
    assert_eq!(object.get("b"), Some(&Value::Null));
    assert!(object.get("d").is_none() && !object.is_empty());
}

#[test]
fn accessors_take_only_their_own_type() {
    let values = [Value::from("s"), Value::from(1u32), Value::from(true), Value::Null];
    let got: Vec<_> =
        values.iter().map(|v| (v.as_str(), v.as_number(), v.as_bool(), v.is_null())).collect();
    assert_eq!(
        got,
        [
            (Some("s"), None, None, false),
            (None, Some(1.0), None, false),
            (None, None, Some(true), false),
            (None, None, None, true)
        ]
    );
    assert!(values.iter().all(|value| value.as_object().is_none()));
}

/// `depth` values inside each other, each opened by `open`; nothing closes them.
fn nested(open: &[u8], depth: usize) -> Vec<u8> {
    open.repeat(depth)
}

#[test]
fn nesting_is_limited_for_every_container() {
    let strict = b"\x0a\x00\x00\x00\x01";
    let mut deepest = nested(strict, DEPTH_MAX);
    deepest.push(0x05);
    assert!(only(&deepest).is_ok(), "{DEPTH_MAX} levels are allowed");
    let opens: [&[u8]; 4] =
        [strict, b"\x03\x00\x01a", b"\x08\x00\x00\x00\x01\x00\x01a", b"\x10\x00\x01C\x00\x01a"];
    for open in opens {
        assert_eq!(decode_all(&nested(open, DEPTH_MAX + 1)), Err(Error::AmfDepth), "{open:?}");
        assert_eq!(decode_all(&nested(open, 20_000)), Err(Error::AmfDepth), "{open:?}");
    }
}

#[test]
fn nesting_counts_levels_and_not_containers() {
    let mut siblings = vec![0x0a, 0, 0, 0, 100];
    siblings.extend(b"\x03\x00\x00\x09".repeat(100));
    assert!(only(&siblings).is_ok());
}

#[test]
fn an_announced_count_reserves_nothing() {
    let array = b"\x0a\xff\xff\xff\xff";
    assert_eq!(only(array), Err(truncated("AMF0 type marker", 1, 0)));
    let ecma = b"\x08\xff\xff\xff\xff";
    assert_eq!(only(ecma), Err(truncated("AMF0 string length", 2, 0)));
    let string = b"\x0c\xff\xff\xff\xffabc";
    assert_eq!(only(string), Err(truncated("AMF0 string", 0xffff_ffff, 3)));
}

#[test]
fn values_are_counted_over_the_whole_message() {
    let nulls = vec![0x05; VALUES_MAX];
    assert_eq!(decode_all(&nulls).unwrap().len(), VALUES_MAX);
    let nulls = vec![0x05; VALUES_MAX + 1];
    assert_eq!(decode_all(&nulls), Err(Error::AmfCount));
    let mut array = vec![0x0a, 0xff, 0xff, 0xff, 0xff];
    array.extend(vec![0x05; VALUES_MAX]);
    assert_eq!(only(&array), Err(Error::AmfCount), "the array itself counts too");
}

#[test]
fn strings_and_names_must_be_utf8() {
    let error = Error::AmfUtf8 { len: 3, at: 1 };
    assert_eq!(only(b"\x02\x00\x03a\xff\xff"), Err(error));
    assert_eq!(only(b"\x0c\x00\x00\x00\x03a\xff\xff"), Err(error));
    assert_eq!(only(b"\x03\x00\x03a\xff\xff\x05\x00\x00\x09"), Err(error));
    assert_eq!(error.to_string(), "an AMF0 string of 3 bytes is not UTF-8 at byte 1");
}

#[test]
fn reserved_and_amf3_types_are_refused() {
    for marker in [0x04, 0x09, 0x0e, 0x11, 0x12, 0xff] {
        assert_eq!(only(&[marker]), Err(Error::AmfMarker(marker)));
    }
}

#[test]
fn every_cut_of_a_message_is_an_error_or_a_shorter_message() {
    for len in 0..CONNECT.len() {
        if let Ok(values) = decode_all(&CONNECT[..len]) {
            assert!(matches!(len, 0 | 10 | 19), "{len} bytes decode to {values:?}");
        }
    }
}

fn any_text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<f64>()
            .prop_filter("NaN is not equal to itself", |n| !n.is_nan())
            .prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        any_text().prop_map(Value::String),
        any_text().prop_map(Value::Xml),
        any::<u16>().prop_map(Value::Reference),
        (-1e15..1e15, any::<i16>()).prop_map(|(millis, zone)| Value::Date { millis, zone }),
        Just(Value::Null),
        Just(Value::Undefined),
        Just(Value::Unsupported),
    ];
    leaf.prop_recursive(6, 64, 6, |value| {
        let object = prop::collection::vec((any_text(), value.clone()), 0..6)
            .prop_map(Object::from_iter)
            .boxed();
        prop_oneof![
            object.clone().prop_map(Value::Object),
            object.clone().prop_map(Value::EcmaArray),
            (any_text(), object).prop_map(|(class, object)| Value::Typed { class, object }),
            prop::collection::vec(value, 0..6).prop_map(Value::StrictArray),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(values in prop::collection::vec(any_value(), 0..4)) {
        let bytes: Vec<u8> = values.iter().flat_map(encoded).collect();
        prop_assert_eq!(decode_all(&bytes), Ok(values));
    }

    #[test]
    fn random_bytes_never_panic_and_what_decodes_encodes_again(
        bytes in prop::collection::vec(prop_oneof![0u8..0x12, any::<u8>()], 0..200),
    ) {
        if let Ok(values) = decode_all(&bytes) {
            let again: Vec<u8> = values.iter().flat_map(encoded).collect();
            prop_assert!(decode_all(&again).is_ok(), "{values:?}");
        }
    }
}
