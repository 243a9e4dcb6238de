use proptest::prelude::*;

use super::*;
use crate::nal::{Framing, START_CODE};

const SPS: [u8; 4] = [0x67, 0x64, 0, 31];
const PPS: [u8; 2] = [0x68, 0xEB];

fn avcc(length_minus_one: u8) -> Vec<u8> {
    let mut record = vec![1, 0x64, 0, 31, 0xFC | length_minus_one, 0xE1, 0, 4];
    record.extend_from_slice(&SPS);
    record.extend_from_slice(&[1, 0, 2]);
    record.extend_from_slice(&PPS);
    record
}

fn hvcc() -> Vec<u8> {
    let mut record = vec![1; 23];
    (record[21], record[22]) = (0xFF, 3);
    for nal_type in [32_u8, 33, 34] {
        record.extend_from_slice(&[nal_type, 0, 1, 0, 2, nal_type << 1, 1]);
    }
    record
}

fn annex_b(nals: &[&[u8]]) -> Vec<u8> {
    nals.iter().flat_map(|nal| [&START_CODE[..], nal].concat()).collect()
}

fn avc(record: &[u8]) -> VideoFormat {
    VideoFormat::parse(VideoCodec::Avc, record).0
}

fn hevc(record: &[u8]) -> VideoFormat {
    VideoFormat::parse(VideoCodec::Hevc, record).0
}

/// One message through, whatever is in it.
fn convert(format: &VideoFormat, unit: &[u8], key: bool) -> Result<Vec<u8>, Damage> {
    let survey = format.clone().survey(unit)?;
    let mut out = Vec::new();
    super::convert(format, survey, unit, key, &mut out).map(|()| out)
}

#[test]
fn a_key_frame_gets_delimiter_and_parameter_sets() {
    let sets = avc(&avcc(3));
    let unit = [0, 0, 0, 2, 0x65, 0x88, 0, 0, 0, 1, 0x0C];
    assert_eq!(
        convert(&sets, &unit, true).unwrap(),
        annex_b(&[&[9, 0xF0], &SPS, &PPS, &[0x65, 0x88], &[0x0C]])
    );
    assert_eq!(
        convert(&sets, &unit, false).unwrap(),
        annex_b(&[&[9, 0xF0], &[0x65, 0x88], &[0x0C]])
    );
}

#[test]
fn delimiter_and_parameter_sets_of_the_encoder_are_not_doubled() {
    let sets = avc(&avcc(0));
    let unit = [2, 9, 0x10, 2, 0x67, 0x42, 2, 0x68, 0xCE, 2, 0x65, 0x88];
    assert_eq!(
        convert(&sets, &unit, true).unwrap(),
        annex_b(&[&[9, 0xF0], &[0x67, 0x42], &[0x68, 0xCE], &[0x65, 0x88]])
    );
}

#[test]
fn hevc_gets_its_three_sets() {
    let sets = hevc(&hvcc());
    let unit = [0, 0, 0, 3, 0x26, 1, 0xAF];
    assert_eq!(
        convert(&sets, &unit, true).unwrap(),
        annex_b(&[&[0x46, 1, 0x50], &[64, 1], &[66, 1], &[68, 1], &[0x26, 1, 0xAF]])
    );
}

#[test]
fn lengths_of_one_two_and_four_bytes() {
    for (minus_one, unit) in [(0, &[1, 0x41][..]), (1, &[0, 1, 0x41]), (3, &[0, 0, 0, 1, 0x41])] {
        let sets = avc(&avcc(minus_one));
        assert_eq!(convert(&sets, unit, false).unwrap(), annex_b(&[&[9, 0xF0], &[0x41]]));
    }
    let read = VideoFormat::parse(VideoCodec::Avc, &avcc(2)).1;
    assert!(read.is_err(), "three bytes are not allowed");
}

#[test]
fn a_length_past_the_end_is_damage() {
    let sets = avc(&avcc(3));
    let damage = Damage::NalLength { at: 6, claimed: 0xFFFF_FFFF, left: 1 };
    let unit = [0, 0, 0, 2, 0x41, 0x9A, 0xFF, 0xFF, 0xFF, 0xFF, 0x41];
    assert_eq!(convert(&sets, &unit, false), Err(damage));
    let damage = Damage::NalLength { at: 6, claimed: 4, left: 2 };
    assert_eq!(convert(&sets, &unit[..8], false), Err(damage));
    assert_eq!(convert(&sets, &[], true), Err(Damage::Empty));
    assert_eq!(convert(&sets, &[0, 0, 0, 0], true), Err(Damage::Empty));
}

#[test]
fn a_record_cut_short_anywhere_is_damage_and_no_worse_than_none() {
    for (codec, record) in [(VideoCodec::Avc, avcc(3)), (VideoCodec::Hevc, hvcc())] {
        for len in 0..record.len() {
            let (format, read) = VideoFormat::parse(codec, &record[..len]);
            assert_eq!(read, Err(Damage::VideoConfig { codec, len }));
            assert!(!format.sets.are_complete(codec));
            let mut whole = VideoFormat::parse(codec, &record).0;
            assert_eq!(whole.update(&record[..len]), read, "what is known is kept");
            assert!(whole.sets.are_complete(codec));
        }
    }
}

#[test]
fn bits_without_a_meaning_make_no_other_format() {
    let plain = avcc(3);
    let mut odd = plain.clone();
    (odd[0], odd[2], odd[4], odd[5]) = (0, odd[2] | 3, 0x03, 0x01);
    odd.extend_from_slice(&[0xFD, 0xF8, 0xF8, 0]);
    let mut format = avc(&plain);
    assert_eq!(format.update(&odd), Ok(()));
    assert_eq!(format, avc(&plain));
    let mut level = plain.clone();
    level[3] += 1;
    assert_eq!(format.update(&level), Ok(()));
    assert_ne!(format, avc(&plain));
}

#[test]
fn start_codes_in_a_message_are_found() {
    let sets = avc(&avcc(3));
    let short = [&[0, 0, 1, 0x65, 0x88, 0x84, 0, 0, 1, 0x65, 0x11][..], &[0, 0]].concat();
    let expected = annex_b(&[&[9, 0xF0], &[0x65, 0x88, 0x84], &[0x65, 0x11]]);
    assert!(convert(&sets, &short, true).unwrap().ends_with(&expected[6..]));
    assert_eq!(
        convert(&sets, &short, false).unwrap(),
        expected,
        "padding at the end is none of it"
    );
    let long = annex_b(&[&[9, 0xF0], &[0x41, 0x9A, 0x21]]);
    assert_eq!(convert(&sets, &long, false).unwrap(), long);
    let wrapped = [&[0, 0, 0, 11][..], &short[..11]].concat();
    assert_eq!(convert(&sets, &wrapped, false).unwrap(), expected, "behind one length");
}

#[test]
fn what_can_be_read_in_two_ways_is_read_like_what_was_before() {
    // A NAL unit of 256 bytes after its length, or of 257 after a start code.
    let unit = [&[0, 0, 1, 0][..], &[0x41; 256]].concat();
    let lengths = annex_b(&[&[9, 0xF0], &[0x41; 256]]);
    let mut format = avc(&avcc(3));
    assert_eq!(convert(&format, &unit, false).unwrap(), lengths);
    let plain = annex_b(&[&[0x41, 0x9A, 0x21, 0x10]]);
    assert!(format.survey(&plain).unwrap().is_plain);
    assert_eq!(format.survey(&unit).unwrap().framing, Framing::StartCodes);
    assert!(format.survey(&[0, 0, 0, 2, 0x41, 0x9A]).unwrap().is_plain);
    assert_eq!(format.survey(&unit).unwrap().framing, Framing::Lengths(4));
}

#[test]
fn records_in_the_byte_stream_format_are_taken() {
    let record = annex_b(&[&SPS, &PPS]);
    let (format, read) = VideoFormat::parse(VideoCodec::Avc, &record);
    assert_eq!(read, Ok(()));
    let unit = [0, 0, 0, 2, 0x65, 0x88];
    let expected = annex_b(&[&[9, 0xF0], &SPS, &PPS, &[0x65, 0x88]]);
    assert_eq!(convert(&format, &unit, true).unwrap(), expected);
}

#[test]
fn sets_in_the_stream_are_repeated_where_a_key_frame_has_none() {
    let (sps, pps) = ([0x67, 0x42, 0, 20], [0x68, 0xCE]);
    let mut format = avc(&[1]);
    // Each in a message of its own, and an SEI message.
    for nal in [&sps[..], &pps, &[6, 5, 1]] {
        let unit = [&[0, 0, 0, u8::try_from(nal.len()).unwrap()][..], nal].concat();
        let survey = format.survey(&unit).unwrap();
        assert!(!survey.has_picture);
        format.keep(survey, &unit).unwrap();
    }
    let unit = [0, 0, 0, 2, 0x65, 0x88];
    let first = annex_b(&[&[9, 0xF0], &sps, &pps, &[6, 5, 1], &[0x65, 0x88]]);
    assert_eq!(convert(&format, &unit, true).unwrap(), first, "each once");
    format.ahead.clear();
    let later = annex_b(&[&[9, 0xF0], &sps, &pps, &[0x65, 0x88]]);
    assert_eq!(convert(&format, &unit, true).unwrap(), later);
}

#[test]
fn what_comes_before_a_picture_is_bounded() {
    let mut format = avc(&avcc(3));
    let unit = [&[0, 0, 0x10, 0][..], &[6; 4096]].concat();
    let survey = format.survey(&unit).unwrap();
    assert_eq!(format.keep(survey, &unit), Ok(()));
    assert!(matches!(format.keep(survey, &unit), Ok(()) | Err(Damage::NoPicture { .. })));
    assert!(matches!(format.keep(survey, &unit), Err(Damage::NoPicture { .. })));
    assert!(format.ahead.units.len() <= 16 * 1024);
}

proptest! {
    #[test]
    fn nal_units_come_out_as_they_went_in(
        nals in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 1..6),
        key: bool,
    ) {
        let sets = avc(&avcc(1));
        let slices: Vec<Vec<u8>> = nals.into_iter().map(|mut nal| { nal[0] = 0x41; nal }).collect();
        let unit: Vec<u8> = slices
            .iter()
            .flat_map(|nal| [&u16::try_from(nal.len()).unwrap().to_be_bytes()[..], nal].concat())
            .collect();
        let out = convert(&sets, &unit, key).unwrap();
        let expected: Vec<&[u8]> = slices.iter().map(Vec::as_slice).collect();
        prop_assert!(out.ends_with(&annex_b(&expected)));
    }

    #[test]
    fn any_bytes_are_converted_or_refused(
        record in proptest::collection::vec(any::<u8>(), 0..60),
        unit in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        for mut format in [avc(&record), hevc(&record)] {
            if let Ok(survey) = format.survey(&unit) {
                let _ = format.keep(survey, &unit);
            }
            let _ = convert(&format, &unit, true);
        }
    }
}
