//! What decodes can be encoded, and decodes to the same again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use weir_flv::{
    amf0::{Value, decode_all, encode},
    metadata::{Metadata, normalize, with_server},
};

fn encode_all(values: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| encode(value, &mut bytes));
    bytes
}

fuzz_target!(|data: &[u8]| {
    if let Ok(values) = decode_all(data) {
        // Numbers may be NaN, which equals nothing: encodings are compared, not values.
        let encoded = encode_all(&values);
        let again = decode_all(&encoded).expect("our own encoding decodes");
        assert_eq!(encode_all(&again), encoded);
    }
    let body = Bytes::copy_from_slice(data);
    let _ = Metadata::parse(&body);
    let normal = normalize(&body);
    let ours = with_server(&normal, &[("server", "weir")]);
    if ours != normal {
        let metadata = Metadata::parse(&ours).expect("our own metadata parses");
        let metadata = metadata.expect("metadata stays metadata");
        let server = metadata.properties().get("server").and_then(|value| value.as_str());
        assert_eq!(server, Some("weir"));
    }
});
