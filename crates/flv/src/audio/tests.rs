use proptest::prelude::*;
use weir_media::AudioCodec::{self, *};

use super::*;

/// Packet, track and payload of `body`.
#[track_caller]
fn check(body: &[u8], packet: Packet, track: u8, payload: &[u8]) {
    let header = parse(body).unwrap();
    assert_eq!((header.packet, header.track), (packet, track));
    assert_eq!(body[header.payload].escape_ascii().to_string(), payload.escape_ascii().to_string());
}

#[test]
fn legacy_aac() {
    check(b"\xaf\x00\x12\x10", Packet::Config(Aac), 0, b"\x12\x10");
    check(b"\xaf\x01raw", Packet::Coded(Aac), 0, b"raw");
    check(b"\xaf\x02x", Packet::Unknown(2), 0, b"x");
}

#[test]
fn legacy_formats_have_a_header_of_one_byte() {
    check(b"\x2fmp3", Packet::Coded(Mp3), 0, b"mp3");
    check(b"\xe2mp3", Packet::Coded(Mp3), 0, b"mp3");
    check(b"\xb2speex", Packet::Coded(Legacy(11)), 0, b"speex");
    check(b"\x7ealaw", Packet::Coded(Legacy(7)), 0, b"alaw");
    check(b"\x3fpcm", Packet::Coded(Legacy(3)), 0, b"pcm");
}

#[test]
fn enhanced_packet_types() {
    check(b"\x90OpusOpusHead", Packet::Config(Opus), 0, b"OpusHead");
    check(b"\x91Opusp", Packet::Coded(Opus), 0, b"p");
    check(b"\x92Opus", Packet::End(Opus), 0, b"");
    check(b"\x94ec-3\x01\x06", Packet::Multichannel(Eac3), 0, b"\x01\x06");
}

#[test]
fn multitrack_gives_the_first_track() {
    check(b"\x95\x00mp4a\x01\x11\x88", Packet::Config(Aac), 1, b"\x11\x88");
    check(b"\x95\x11Opus\x02\x00\x00\x02ab\x03\x00\x00\x01c", Packet::Coded(Opus), 2, b"ab");
    check(b"\x95\x21fLaC\x04\x00\x00\x01aac-3\x05\x00\x00\x01b", Packet::Coded(Flac), 4, b"a");
}

#[test]
fn mod_ex_may_precede_everything() {
    let body = b"\x97\x02\x00\x00\x07\x05\x01Opus\x06p";
    check(body, Packet::Coded(Opus), 6, b"p");
    assert_eq!(parse(body).unwrap().nanos, 7);
}

#[test]
fn what_is_not_defined_is_unknown_and_unread() {
    for packet_type in [3, 6, 8, 9, 10, 11, 12, 13, 14, 15] {
        check(&[0x90 | packet_type, 1], Packet::Unknown(packet_type), 0, b"\x01");
    }
    check(b"\x95\x41Opus", Packet::Unknown(5), 0, b"Opus");
    check(b"\x95\x03Opus\x02x", Packet::Unknown(3), 2, b"x");
}

#[test]
fn an_empty_body_is_empty() {
    check(b"", Packet::Empty, 0, b"");
}

#[test]
fn a_cut_header_names_its_field() {
    let error = |body: &[u8]| match parse(body) {
        Err(Error::Truncated { field, .. }) => field,
        other => panic!("{body:?}: {other:?}"),
    };
    assert_eq!(error(b"\xaf"), "AACPacketType");
    assert_eq!(error(b"\x90Opu"), "FourCC");
    assert_eq!(error(b"\x95"), "multitrack type");
    assert_eq!(error(b"\x95\x10Opus\x00\x00"), "track size");
    assert_eq!(error(b"\x95\x10Opus\x00\x00\x00\x09x"), "track data");
    assert_eq!(error(b"\x97\x05"), "ModEx data");
}

#[test]
fn four_ccs_name_each_codec_once() {
    for codec in [Aac, Mp3, Opus, Flac, Ac3, Eac3, Other(FourCc(*b"abcd"))] {
        assert_eq!(four_cc_of(codec).map(codec_of), Some(codec));
    }
    assert_eq!(four_cc_of(Legacy(11)), None);
}

#[test]
fn aac_is_written_in_its_legacy_form_and_opus_in_the_enhanced_one() {
    assert_eq!(&encode(Packet::Config(Aac), b"\x12\x10")[..], b"\xaf\x00\x12\x10");
    assert_eq!(&encode(Packet::Coded(Aac), b"raw")[..], b"\xaf\x01raw");
    assert_eq!(&encode(Packet::Coded(Mp3), b"mp3")[..], b"\x2fmp3");
    assert_eq!(&encode(Packet::Coded(Opus), b"p")[..], b"\x91Opusp");
}

fn any_codec() -> impl Strategy<Value = AudioCodec> {
    prop::sample::select(vec![Aac, Mp3, Opus, Flac, Ac3, Eac3, Other(FourCc(*b"xyz1"))])
}

fn any_packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        any_codec().prop_map(Packet::Config),
        any_codec().prop_map(Packet::Coded),
        prop::sample::select(vec![0, 1, 3, 5, 6, 11]).prop_map(|id| Packet::Coded(Legacy(id))),
        any_codec().prop_map(Packet::End),
        any_codec().prop_map(Packet::Multichannel),
        (8u8..16).prop_map(Packet::Unknown),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        packet in any_packet(),
        data in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let body = encode(packet, &data);
        let header = parse(&body).unwrap();
        prop_assert_eq!(header.packet, packet);
        prop_assert_eq!(&body[header.payload], &data[..]);
    }

    #[test]
    fn random_bodies_never_panic_and_payloads_lie_inside(
        first in prop_oneof![0x90u8..0xa0, any::<u8>()],
        rest in prop::collection::vec(prop_oneof![0u8..0x28, any::<u8>()], 0..40),
    ) {
        let body = [&[first][..], &rest].concat();
        if let Ok(header) = parse(&body) {
            prop_assert!(body.get(header.payload).is_some());
        }
    }
}
