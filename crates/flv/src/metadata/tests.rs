use proptest::prelude::*;

use super::*;
use crate::amf0;

fn message(values: &[Value]) -> Bytes {
    let mut out = BytesMut::new();
    values.iter().for_each(|value| amf0::encode(value, &mut out));
    out.freeze()
}

fn on_meta_data<const N: usize>(properties: [(&str, Value); N]) -> Bytes {
    message(&[ON_META_DATA.into(), Value::EcmaArray(Object::from(properties))])
}

fn set_data_frame(body: &Bytes) -> Bytes {
    [SET_DATA_FRAME, body].concat().into()
}

fn parsed(body: &Bytes) -> Metadata {
    Metadata::parse(body).unwrap().unwrap()
}

/// `has_audio` and `has_video` of metadata with these properties.
fn hints<const N: usize>(properties: [(&str, Value); N]) -> (Option<bool>, Option<bool>) {
    let metadata = parsed(&on_meta_data(properties));
    (metadata.has_audio(), metadata.has_video())
}

#[test]
fn both_forms_and_both_kinds_of_object_are_metadata() {
    let object = Object::from([("width", 1920.0)]);
    for value in [Value::Object(object.clone()), Value::EcmaArray(object.clone())] {
        let body = message(&[ON_META_DATA.into(), value]);
        assert_eq!(parsed(&body).properties(), &object);
        assert_eq!(parsed(&set_data_frame(&body)).properties(), &object);
    }
}

#[test]
fn other_script_data_is_not_metadata() {
    let not = |values: &[Value]| assert_eq!(Metadata::parse(&message(values)), Ok(None));
    not(&["onTextData".into(), Object::from([("text", "hi")]).into()]);
    not(&[ON_META_DATA.into()]);
    not(&[ON_META_DATA.into(), Value::Null]);
    not(&[Value::Null]);
}

#[test]
fn normalize_takes_the_instruction_off_without_a_copy() {
    let plain = on_meta_data([("width", 1.0.into())]);
    let body = set_data_frame(&plain);
    let normalized = normalize(&body);
    assert_eq!(normalized, plain);
    assert_eq!(normalized.as_ptr(), body[SET_DATA_FRAME.len()..].as_ptr());
    assert_eq!(normalize(&plain), plain);
    assert_eq!(normalize(&Bytes::new()), "");
}

#[test]
fn codec_ids_tell_what_there_is() {
    let number = |name, id: f64| (name, Value::from(id));
    let (video, audio) = ("videocodecid", "audiocodecid");
    assert_eq!(hints([number(video, 7.0), number(audio, 10.0)]), (Some(true), Some(true)));
    assert_eq!(hints([number(video, 7.0)]), (Some(false), Some(true)), "as FFmpeg does it");
    assert_eq!(hints([number(audio, 10.0)]), (Some(true), Some(false)));
    assert_eq!(hints([number(video, 7.0), number(audio, 0.0)]), (Some(false), Some(true)));
    let hvc1 = f64::from(u32::from_be_bytes(*b"hvc1"));
    assert_eq!(hints([number(video, hvc1)]), (Some(false), Some(true)));
    assert_eq!(hints([("width", 1920.0.into())]), (None, None));
}

#[test]
fn codec_names_flags_and_track_maps_tell_it_too() {
    assert_eq!(
        hints([("videocodecid", "avc1".into()), ("audiocodecid", "".into())]),
        (Some(false), Some(true))
    );
    assert_eq!(
        hints([("hasVideo", false.into()), ("hasAudio", true.into())]),
        (Some(true), Some(false))
    );
    let tracks = Object::from([("1", Object::from([("width", 640.0)]))]);
    assert_eq!(
        hints([("audioTrackIdInfoMap", tracks.into()), ("hasVideo", true.into())]),
        (Some(true), Some(true))
    );
    assert_eq!(hints([("videoTrackIdInfoMap", Object::new().into())]), (Some(false), Some(false)));
    assert_eq!(hints([("audiocodecid", Value::Null)]), (None, None), "null says nothing");
}

#[test]
fn with_server_appends_and_counts() {
    let body = on_meta_data([("width", 1.0.into()), ("height", 2.0.into())]);
    let out = with_server(&body, &[("server", "Weir"), ("server_version", "0.1.0")]);
    let expected = on_meta_data([
        ("width", 1.0.into()),
        ("height", 2.0.into()),
        ("server", "Weir".into()),
        ("server_version", "0.1.0".into()),
    ]);
    assert_eq!(out, expected, "the count is 4 and the end marker is in its place");
}

#[test]
fn with_server_leaves_the_other_bytes_alone() {
    // Not as this crate would write it: a Long String for a short text, a property twice, something behind the object.
    let value = b"\x00\x01x\x0c\x00\x00\x00\x02hi\x00\x01y\x05\x00\x01y\x06";
    let body = [b"\x02\x00\x0aonMetaData\x03", &value[..], b"\x00\x00\x09\x05"].concat().into();
    let out = with_server(&body, &[("server", "W")]);
    let added = b"\x00\x06server\x02\x00\x01W\x00\x00\x09\x05";
    assert_eq!(out, [b"\x02\x00\x0aonMetaData\x03", &value[..], added].concat());
}

#[test]
fn with_server_replaces_what_the_server_before_wrote() {
    let body = on_meta_data([("server", "SRS".into()), ("width", 1.0.into())]);
    let once = with_server(&body, &[("server", "Weir")]);
    assert_eq!(once, on_meta_data([("width", 1.0.into()), ("server", "Weir".into())]));
    assert_eq!(with_server(&once, &[("server", "Weir")]), once, "a chain of edges adds nothing");
}

#[test]
fn with_server_works_behind_set_data_frame() {
    let body = on_meta_data([("width", 1.0.into())]);
    let expected = set_data_frame(&with_server(&body, &[("server", "Weir")]));
    assert_eq!(with_server(&set_data_frame(&body), &[("server", "Weir")]), expected);
}

#[test]
fn with_server_returns_what_it_cannot_read() {
    let whole = on_meta_data([("width", 1.0.into())]);
    let unchanged = |body: Bytes| assert_eq!(with_server(&body, &[("server", "Weir")]), body);
    for len in 0..whole.len() {
        unchanged(whole.slice(..len));
    }
    unchanged(message(&["onTextData".into(), Object::from([("text", "hi")]).into()]));
    unchanged(message(&[ON_META_DATA.into(), Value::Null]));
    unchanged(Bytes::from_static(b"\xff\xff"));
}

#[test]
fn names_decide_the_content() {
    let content = |body: &[u8]| parse_name(body).map(|script| script.content);
    assert_eq!(content(&on_meta_data([])), Ok(Content::Metadata));
    assert_eq!(content(&message(&["onCuePoint".into(), Value::Null])), Ok(Content::Data));
    assert_eq!(content(&message(&[Value::Null])), Ok(Content::Data));
    assert_eq!(content(b""), Ok(Content::Opaque));
    assert_eq!(content(b"\x02\x00\x02\xff\xff"), Err(Error::AmfUtf8 { len: 2, at: 0 }));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(prop_oneof![0u8..0x12, any::<u8>()], 0..100),
    ) {
        let body: Bytes = [b"\x02\x00\x0aonMetaData\x08\x00\x00\x00\x00", &bytes[..]].concat().into();
        let out = with_server(&body, &[("server", "Weir")]);
        if out != body {
            let metadata = parsed(&out);
            prop_assert_eq!(metadata.properties().get("server"), Some(&Value::from("Weir")));
        }
    }
}

#[test]
fn a_server_is_asked_to_keep_metadata_and_nothing_else() {
    let body = b"\x02\x00\x0aonMetaData\x05";
    let sent = for_server(body);
    assert_eq!(sent.len(), SET_DATA_FRAME.len() + body.len());
    assert_eq!(strip(&sent), body);
    for other in [&b"\x02\x00\x09onCaption\x05"[..], &sent, b""] {
        assert_eq!(&*for_server(other), other);
    }
}

#[test]
fn metadata_tells_of_the_tracks_that_there_are() {
    let body = on_meta_data([
        ("duration", 0.0.into()),
        ("hasAudio", Value::Boolean(true)),
        ("audiocodecid", 10.0.into()),
        ("stereo", Value::Boolean(true)),
        ("hasVideo", Value::Boolean(true)),
        ("width", 1920.0.into()),
        ("encoder", "obs".into()),
    ]);
    let same = with_tracks(&body, true, true);
    assert_eq!(same.as_ptr(), body.as_ptr(), "no copy of what is right");
    let pictures = on_meta_data([
        ("duration", 0.0.into()),
        ("hasAudio", Value::Boolean(false)),
        ("hasVideo", Value::Boolean(true)),
        ("width", 1920.0.into()),
        ("encoder", "obs".into()),
    ]);
    assert_eq!(with_tracks(&body, false, true), pictures);
    let told = parsed(&pictures);
    assert_eq!((told.has_audio(), told.has_video()), (Some(false), Some(true)));
    let again = with_tracks(&pictures, true, true);
    assert_eq!(parsed(&again).has_audio(), Some(true), "an edge's metadata from before the sound");
    let sound = parsed(&with_tracks(&body, true, false));
    assert_eq!((sound.has_audio(), sound.has_video()), (Some(true), Some(false)));
    // FFmpeg names only what it sends.
    let ffmpeg = on_meta_data([
        ("width", 1280.0.into()),
        ("videocodecid", 7.0.into()),
        ("audiocodecid", 10.0.into()),
    ]);
    let told = parsed(&with_tracks(&ffmpeg, false, true));
    assert_eq!((told.has_audio(), told.has_video()), (Some(false), Some(true)));
    for other in [
        message(&["onTextData".into()]),
        Bytes::from_static(b"\x02\x00\x0aonMetaData\x08\x00"),
        Bytes::new(),
    ] {
        assert_eq!(with_tracks(&other, false, true), other);
    }
}

#[test]
fn audio_tracks_have_names_and_languages() {
    let track = |properties: &[(&str, &str)]| -> Value {
        let mut track = Object::default();
        properties.iter().for_each(|(name, value)| track.insert(*name, *value));
        track.into()
    };
    let label = |properties: &[(&str, &str)]| {
        let map = Object::from([("1", track(properties))]);
        let metadata = parsed(&on_meta_data([("audioTrackIdInfoMap", map.into())]));
        assert_eq!(metadata.audio_label(0), AudioLabel::default());
        let AudioLabel { name, language } = metadata.audio_label(1);
        (name.unwrap_or_default(), language.unwrap_or_default())
    };
    let both = |name: &str, language: &str| (name.to_owned(), language.to_owned());
    assert_eq!(
        label(&[("name", " Commentary "), ("language", "es-419")]),
        both("Commentary", "es-419")
    );
    assert_eq!(label(&[("title", "Musik"), ("lang", "de")]), both("Musik", "de"));
    for odd in ["", "d", "1a", "de_AT", "de-", "deutschland", &"de-".repeat(12)] {
        assert_eq!(label(&[("language", odd)]), both("", ""), "{odd}");
    }
    assert_eq!(label(&[("name", &"x".repeat(101))]), both("", ""));
    assert_eq!(parsed(&on_meta_data([])).audio_label(1), AudioLabel::default());
}
