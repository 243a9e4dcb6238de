use proptest::prelude::*;
use weir_media::VideoCodec::{self, *};

use super::*;

fn header(body: &[u8]) -> Header {
    parse(body).unwrap()
}

fn coded(codec: VideoCodec, composition: i32) -> Packet {
    Packet::Coded { codec, composition }
}

/// Frame type, packet, track and payload of `body`.
#[track_caller]
fn check(body: &[u8], frame_type: FrameType, packet: Packet, track: u8, payload: &[u8]) {
    let header = header(body);
    assert_eq!((header.frame_type, header.packet, header.track), (frame_type, packet, track));
    assert_eq!(body[header.payload].escape_ascii().to_string(), payload.escape_ascii().to_string());
}

#[test]
fn legacy_avc() {
    check(b"\x17\x00\x00\x00\x00avcC", FrameType::Key, Packet::Config(Avc), 0, b"avcC");
    check(b"\x17\x01\x00\x00\x50idr", FrameType::Key, coded(Avc, 80), 0, b"idr");
    check(b"\x27\x01\xff\xff\xd8p", FrameType::Inter, coded(Avc, -40), 0, b"p");
    check(b"\x37\x01\x00\x00\x00b", FrameType::Disposable, coded(Avc, 0), 0, b"b");
    check(b"\x17\x02\x00\x00\x00", FrameType::Key, Packet::End(Avc), 0, b"\x00\x00\x00");
    check(b"\x17\x02", FrameType::Key, Packet::End(Avc), 0, b"");
    check(b"\x17\x09", FrameType::Key, Packet::Unknown(9), 0, b"");
}

#[test]
fn legacy_hevc_of_chinese_encoders() {
    check(b"\x1c\x00\x00\x00\x00hvcC", FrameType::Key, Packet::Config(Hevc), 0, b"hvcC");
    check(b"\x2c\x01\x00\x00\x21p", FrameType::Inter, coded(Hevc, 33), 0, b"p");
}

#[test]
fn legacy_codecs_have_a_header_of_one_byte() {
    check(b"\x12h263", FrameType::Key, coded(Legacy(2), 0), 0, b"h263");
    check(b"\x44\x00vp6", FrameType::GeneratedKey, coded(Legacy(4), 0), 0, b"\x00vp6");
}

#[test]
fn command_frames_have_no_codec_fields() {
    check(b"\x57\x00", FrameType::Command, Packet::Command, 0, b"\x00");
    check(b"\xd1\x01", FrameType::Command, Packet::Command, 0, b"\x01");
    check(b"\xd6", FrameType::Command, Packet::Command, 0, b"");
}

/// FFmpeg 9 sends `colorInfo` with the frame type of commands; the packet type is what counts.
#[test]
fn metadata_is_metadata_in_a_command_frame_too() {
    check(b"\xd4hvc1amf", FrameType::Command, Packet::Metadata(Hevc), 0, b"amf");
    check(b"\x94av01amf", FrameType::Key, Packet::Metadata(Av1), 0, b"amf");
}

#[test]
fn enhanced_packet_types() {
    check(b"\x90hvc1hvcC", FrameType::Key, Packet::Config(Hevc), 0, b"hvcC");
    check(b"\xa1hvc1\x00\x00\x28p", FrameType::Inter, coded(Hevc, 40), 0, b"p");
    check(b"\xa1hvc1\xff\xff\xffp", FrameType::Inter, coded(Hevc, -1), 0, b"p");
    check(b"\x92hvc1", FrameType::Key, Packet::End(Hevc), 0, b"");
    check(b"\xa3hvc1p", FrameType::Inter, coded(Hevc, 0), 0, b"p");
    check(b"\x95av01desc", FrameType::Key, Packet::Mpeg2TsConfig(Av1), 0, b"desc");
}

#[test]
fn only_some_codecs_have_a_composition_time() {
    check(b"\x91avc1\x00\x00\x01x", FrameType::Key, coded(Avc, 1), 0, b"x");
    check(b"\x91vvc1\x00\x00\x01x", FrameType::Key, coded(Vvc, 1), 0, b"x");
    let other = Other(FourCc(*b"xyz1"));
    for (four_cc, codec) in [(b"av01", Av1), (b"vp08", Vp8), (b"vp09", Vp9), (b"xyz1", other)] {
        let body = [&b"\x91"[..], four_cc, b"\x00\x00\x01x"].concat();
        check(&body, FrameType::Key, coded(codec, 0), 0, b"\x00\x00\x01x");
    }
}

#[test]
fn multitrack_gives_the_first_track() {
    let one = b"\x96\x00avc1\x07avcC";
    check(one, FrameType::Key, Packet::Config(Avc), 7, b"avcC");
    let many = b"\x96\x11hvc1\x01\x00\x00\x06\x00\x00\x14idr\x02\x00\x00\x04\x00\x00\x00p";
    check(many, FrameType::Key, coded(Hevc, 20), 1, b"idr");
    let codecs = b"\xa6\x21av01\x03\x00\x00\x02ab\x61vc1\x04\x00\x00\x01c";
    check(codecs, FrameType::Inter, coded(Av1, 0), 3, b"ab");
}

#[test]
fn a_track_too_short_for_its_composition_time_does_not_read_the_next_one() {
    let body = b"\x96\x11hvc1\x01\x00\x00\x02\x00\x00\x02\x00\x00\x04\x00\x00\x00p";
    let error = Error::Truncated { field: "compositionTimeOffset", needed: 3, left: 2 };
    assert_eq!(parse(body), Err(error));
}

#[test]
fn mod_ex_may_precede_everything() {
    let body = b"\x97\x02\x07\xa1\x20\x01hvc1\x00\x00\x28idr";
    check(body, FrameType::Key, coded(Hevc, 40), 0, b"idr");
    assert_eq!(header(body).nanos, 500_000);
    let body = b"\x97\x02\x00\x00\x09\x06\x03av01\x05obu";
    check(body, FrameType::Key, coded(Av1, 0), 5, b"obu");
    assert_eq!(header(body).nanos, 9);
}

#[test]
fn what_is_not_defined_is_unknown_and_unread() {
    for packet_type in 8..=15 {
        let body = [0x90 | packet_type, 1];
        check(&body, FrameType::Key, Packet::Unknown(packet_type), 0, b"\x01");
    }
    check(b"\x96\x31avc1", FrameType::Key, Packet::Unknown(6), 0, b"avc1");
    check(b"\x96\x0aavc1\x05x", FrameType::Key, Packet::Unknown(10), 5, b"x");
    check(b"\x97\x00\x00\x0fx", FrameType::Key, Packet::Unknown(15), 0, b"x");
}

#[test]
fn an_empty_body_is_empty() {
    check(b"", FrameType::Reserved(0), Packet::Empty, 0, b"");
}

#[test]
fn a_cut_header_names_its_field() {
    let error = |body: &[u8]| match parse(body) {
        Err(Error::Truncated { field, .. }) => field,
        other => panic!("{body:?}: {other:?}"),
    };
    assert_eq!(error(b"\x17"), "AVCPacketType");
    assert_eq!(error(b"\x17\x01\x00\x00"), "CompositionTime");
    assert_eq!(error(b"\x17\x00"), "CompositionTime");
    assert_eq!(error(b"\x90hvc"), "FourCC");
    assert_eq!(error(b"\x91hvc1\x00"), "compositionTimeOffset");
    assert_eq!(error(b"\x96"), "multitrack type");
    assert_eq!(error(b"\x96\x00av0"), "track FourCC");
    assert_eq!(error(b"\x96\x00av01"), "track id");
    assert_eq!(error(b"\x96\x10av01\x00\x00"), "track size");
    assert_eq!(error(b"\x97"), "ModEx size");
}

#[test]
fn four_ccs_name_each_codec_once() {
    for codec in [Avc, Hevc, Vvc, Av1, Vp8, Vp9, Other(FourCc(*b"abcd"))] {
        assert_eq!(four_cc_of(codec).map(codec_of), Some(codec));
    }
    assert_eq!(four_cc_of(Legacy(2)), None);
}

#[test]
fn h264_is_written_in_its_legacy_form_and_hevc_in_the_enhanced_one() {
    assert_eq!(&encode(FrameType::Key, Packet::Config(Avc), b"r")[..], b"\x17\x00\x00\x00\x00r");
    assert_eq!(&encode(FrameType::Inter, coded(Avc, -2), b"p")[..], b"\x27\x01\xff\xff\xfep");
    assert_eq!(&encode(FrameType::Key, coded(Hevc, 0), b"i")[..], b"\x93hvc1i");
    assert_eq!(&encode(FrameType::Inter, coded(Hevc, 40), b"p")[..], b"\xa1hvc1\x00\x00\x28p");
}

fn any_codec() -> impl Strategy<Value = VideoCodec> {
    prop::sample::select(vec![Avc, Hevc, Vvc, Av1, Vp8, Vp9, Other(FourCc(*b"xyz1"))])
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let with_composition = (any_codec(), -0x80_0000..0x80_0000).prop_map(|(codec, composition)| {
        coded(codec, if has_composition(codec) { composition } else { 0 })
    });
    prop_oneof![
        any_codec().prop_map(Packet::Config),
        with_composition,
        prop::sample::select(vec![2, 3, 4, 5, 6]).prop_map(|id| coded(Legacy(id), 0)),
        any_codec().prop_map(Packet::Metadata),
        any_codec().prop_map(Packet::Mpeg2TsConfig),
        (8u8..16).prop_map(Packet::Unknown),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        packet in any_packet(),
        bits in 1u8..5,
        data in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let frame_type = FrameType::from_bits(bits);
        let body = encode(frame_type, packet, &data);
        let header = parse(&body).unwrap();
        prop_assert_eq!((header.frame_type, header.packet), (frame_type, packet));
        prop_assert_eq!(&body[header.payload], &data[..]);
    }

    #[test]
    fn random_bodies_never_panic_and_payloads_lie_inside(
        first in any::<u8>(),
        rest in prop::collection::vec(prop_oneof![0u8..0x28, any::<u8>()], 0..40),
    ) {
        let body = [&[first][..], &rest].concat();
        if let Ok(header) = parse(&body) {
            prop_assert!(body.get(header.payload).is_some());
        }
    }
}
