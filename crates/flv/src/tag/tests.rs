use proptest::prelude::*;
use weir_media::{AudioCodec, VideoCodec};

use super::*;

const DTS: Timestamp = Timestamp::from_millis(5_000_000_000);

fn frame(kind: TagKind, body: &'static [u8]) -> Frame {
    let tag = Tag { kind, timestamp: 7, body: Bytes::from_static(body) };
    to_frame(&tag, DTS, 3).unwrap()
}

/// The content and payload of a body.
fn content(kind: TagKind, body: &'static [u8]) -> (Content, Bytes) {
    let frame = frame(kind, body);
    assert_eq!(frame.body, body, "the body is untouched");
    (frame.content, frame.payload)
}

#[test]
fn kinds_and_type_ids() {
    for kind in [TagKind::Audio, TagKind::Video, TagKind::Script] {
        assert_eq!(TagKind::from_type_id(kind.type_id()), Some(kind));
    }
    assert_eq!([8, 9, 18].map(|id| TagKind::from_type_id(id).is_some()), [true; 3]);
    assert_eq!(TagKind::from_type_id(15), None);
}

#[test]
fn a_frame_takes_its_time_from_the_caller() {
    let frame = frame(TagKind::Video, b"\x17\x01\x00\x00\x50idr");
    assert_eq!((frame.dts, frame.epoch), (DTS, 3));
    assert_eq!(frame.pts(), Timestamp::from_millis(5_000_000_080));
    assert_eq!(frame.track, Track::Video(0));
}

#[test]
fn the_payload_shares_the_body() {
    let body = Bytes::from_static(b"\xaf\x01raw");
    let tag = Tag { kind: TagKind::Audio, timestamp: 0, body: body.clone() };
    let frame = to_frame(&tag, DTS, 0).unwrap();
    assert_eq!(frame.body.as_ptr(), body.as_ptr());
    assert_eq!(frame.payload.as_ptr(), body[2..].as_ptr());
}

#[test]
fn video_contents() {
    let video = |body| content(TagKind::Video, body);
    let coded = |codec, key, composition| Content::Video { codec, key, composition };
    use VideoCodec::{Av1, Avc, Hevc};
    let is = |content, payload: &'static [u8]| (content, Bytes::from_static(payload));
    assert_eq!(video(b"\x17\0\0\0\0avcC"), is(Content::VideoConfig(Avc), b"avcC"));
    assert_eq!(video(b"\x17\x01\0\0\x28idr"), is(coded(Avc, true, 40), b"idr"));
    assert_eq!(video(b"\x27\x01\0\0\0p"), is(coded(Avc, false, 0), b"p"));
    assert_eq!(video(b"\x47\x01\0\0\0g"), is(coded(Avc, false, 0), b"g"));
    assert_eq!(video(b"\x93hvc1idr"), is(coded(Hevc, true, 0), b"idr"));
    assert_eq!(video(b"\xd4hvc1amf"), is(Content::VideoInfo(Hevc), b"amf"));
    assert_eq!(video(b"\x95av01desc"), is(Content::VideoInfo(Av1), b"desc"));
}

#[test]
fn audio_contents() {
    let audio = |body| content(TagKind::Audio, body).0;
    use AudioCodec::{Aac, Eac3, Mp3, Opus};
    assert_eq!(audio(b"\xaf\x00\x12\x10"), Content::AudioConfig(Aac));
    assert_eq!(audio(b"\xaf\x01raw"), Content::Audio(Aac));
    assert_eq!(audio(b"\x2fmp3"), Content::Audio(Mp3));
    assert_eq!(audio(b"\x90OpusHead"), Content::AudioConfig(Opus));
    assert_eq!(audio(b"\x94ec-3\x01\x06"), Content::AudioInfo(Eac3));
}

#[test]
fn what_has_nothing_to_decode_is_opaque() {
    let videos: [&[u8]; 9] = [
        b"",                     // an empty message
        b"\x57\x00",             // seek start
        b"\x17\x02\x00\x00\x00", // end of sequence
        b"\x92hvc1",             // end of sequence
        b"\x9fsomething",        // a packet type of the future
        b"\x17\x05\x00\x00\x00", // an AVC packet type of the future
        b"\x96\x31",             // a multitrack type of the future
        b"\x17\x00\x00\x00\x00", // an empty configuration record
        b"\x17\x01\x00\x00\x00", // an empty picture
    ];
    for body in videos {
        assert_eq!(content(TagKind::Video, body).0, Content::Opaque, "{body:?}");
    }
    // FFmpeg 9 starts E-AC-3 with an empty configuration record.
    let audios: [&[u8]; 6] = [b"", b"\x92Opus", b"\x9fx", b"\xaf\x00", b"\xaf\x01", b"\x90ec-3"];
    for body in audios {
        assert_eq!(content(TagKind::Audio, body).0, Content::Opaque, "{body:?}");
    }
}

#[test]
fn tracks_have_their_ids() {
    let video = frame(TagKind::Video, b"\x96\x00avc1\x07avcC");
    assert_eq!((video.track, &video.payload[..]), (Track::Video(7), &b"avcC"[..]));
    let audio = frame(TagKind::Audio, b"\x95\x01Opus\x02p");
    assert_eq!((audio.track, &audio.payload[..]), (Track::Audio(2), &b"p"[..]));
}

#[test]
fn metadata_loses_its_instruction() {
    let plain = b"\x02\x00\x0aonMetaData\x03\x00\x00\x09";
    let sent = b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x03\x00\x00\x09";
    for body in [&plain[..], &sent[..]] {
        let frame = frame(TagKind::Script, body);
        assert_eq!((frame.track, frame.content), (Track::Data, Content::Metadata));
        assert_eq!(&frame.body[..], plain);
        assert_eq!(&frame.payload[..], b"\x03\x00\x00\x09");
    }
}

#[test]
fn other_script_data_is_data() {
    let frame = frame(TagKind::Script, b"\x02\x00\x0aonTextData\x05");
    assert_eq!((frame.track, frame.content), (Track::Data, Content::Data));
    assert_eq!(&frame.payload[..], b"\x05");
    assert_eq!(content(TagKind::Script, b"").0, Content::Opaque);
}

#[test]
fn cut_headers_are_errors() {
    let error = |kind, body: &'static [u8]| {
        to_frame(&Tag { kind, timestamp: 0, body: body.into() }, DTS, 0).unwrap_err()
    };
    let cut = |field, needed, left| Error::Truncated { field, needed, left };
    assert_eq!(error(TagKind::Video, b"\x17"), cut("AVCPacketType", 1, 0));
    assert_eq!(error(TagKind::Audio, b"\xaf"), cut("AACPacketType", 1, 0));
    assert_eq!(error(TagKind::Script, b"\x02\x00\x0aonMeta"), cut("AMF0 string", 10, 6));
}

proptest! {
    #[test]
    fn random_bodies_never_panic(
        kind in prop::sample::select(vec![TagKind::Audio, TagKind::Video, TagKind::Script]),
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let tag = Tag { kind, timestamp: 0, body: body.into() };
        if let Ok(frame) = to_frame(&tag, DTS, 0) {
            prop_assert!(frame.payload.len() <= frame.body.len());
        }
    }
}
