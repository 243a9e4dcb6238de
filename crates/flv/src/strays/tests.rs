use bytes::Bytes;
use weir_media::Timestamp;

use super::*;

/// AudioSpecificConfigs: AAC-LC stereo, and of object type 42.
const LC: &[u8] = &[0x11, 0x90];
const XHE: &[u8] = &[0xF9, 0x46, 0x40];

/// Access units: of two channels, and of one.
const PAIR: &[u8] = &[0x21, 0x10];
const SINGLE: &[u8] = &[0x01, 0x10];

/// An avcC with a set of each kind, and one without.
const AVCC: &[u8] = &[1, 0x64, 0, 0x0C, 0xFF, 0xE1, 0, 2, 0x67, 0x64, 1, 0, 2, 0x68, 0xEF];
const CUT_AVCC: &[u8] = &[1, 0x64, 0, 0x0C, 0xFF, 0xE1, 0, 9, 0x67];

const PCMA: AudioCodec = AudioCodec::Legacy(7);

fn frame(track: Track, content: Content, payload: &'static [u8]) -> Frame {
    let payload = Bytes::from_static(payload);
    let dts = Timestamp::ZERO;
    Frame { track, dts, epoch: 0, content, stray: false, body: payload.clone(), payload }
}

fn sound(codec: AudioCodec, payload: &'static [u8]) -> Frame {
    frame(Track::Audio(0), Content::Audio(codec), payload)
}

fn asc(payload: &'static [u8]) -> Frame {
    frame(Track::Audio(0), Content::AudioConfig(AudioCodec::Aac), payload)
}

fn picture(codec: VideoCodec) -> Frame {
    frame(Track::Video(0), Content::Video { codec, key: true, composition: 0 }, b"picture")
}

fn record(codec: VideoCodec, payload: &'static [u8]) -> Frame {
    frame(Track::Video(0), Content::VideoConfig(codec), payload)
}

fn begins(config: &Frame) -> Standing {
    Standing::Begins(Box::new(config.clone()))
}

/// A stream of H.264 and stereo AAC that flows.
fn flowing() -> Strays {
    let mut strays = Strays::default();
    for frame in [
        record(VideoCodec::Avc, AVCC),
        asc(LC),
        picture(VideoCodec::Avc),
        sound(AudioCodec::Aac, PAIR),
    ] {
        assert_eq!(strays.judge(&frame), Standing::Own, "{frame:?}");
    }
    strays
}

#[test]
fn single_packets_and_records_of_other_codecs_are_strays() {
    let mut strays = flowing();
    let opus = Content::AudioConfig(AudioCodec::Opus);
    for odd in [
        sound(PCMA, &[0; 3]),
        sound(AudioCodec::Mp3, &[0xFF, 0xFB, 0x90]),
        frame(Track::Audio(0), opus, b"OpusHead"),
        asc(XHE),
        asc(&[0x12]),
        picture(VideoCodec::Legacy(2)),
        record(VideoCodec::Av1, &[0x81; 4]),
        record(VideoCodec::Avc, &[1]),
        record(VideoCodec::Avc, CUT_AVCC),
    ] {
        assert_eq!(strays.judge(&odd), Standing::Stray, "{odd:?}");
        for _ in 0..20 {
            for own in [picture(VideoCodec::Avc), sound(AudioCodec::Aac, PAIR)] {
                assert_eq!(strays.judge(&own), Standing::Own, "after {odd:?}");
            }
        }
    }
}

#[test]
fn a_configuration_that_packets_agree_with_counts_from_the_first_of_them() {
    let mut strays = flowing();
    let (av1, opus) = (
        record(VideoCodec::Av1, &[0x81; 4]),
        frame(Track::Audio(0), Content::AudioConfig(AudioCodec::Opus), b"OpusHead"),
    );
    assert_eq!(strays.judge(&av1), Standing::Stray);
    assert_eq!(strays.judge(&picture(VideoCodec::Avc)), Standing::Own, "some of the old may come");
    assert_eq!(strays.judge(&picture(VideoCodec::Av1)), begins(&av1));
    assert_eq!(strays.judge(&picture(VideoCodec::Av1)), Standing::Own);
    assert_eq!(strays.judge(&opus), Standing::Stray);
    assert_eq!(strays.judge(&sound(AudioCodec::Opus, b"opus")), begins(&opus));
    // And back, with a record and without one.
    let avc = record(VideoCodec::Avc, AVCC);
    assert_eq!(strays.judge(&avc), Standing::Stray);
    assert_eq!(strays.judge(&picture(VideoCodec::Avc)), begins(&avc));
    let aac: Vec<_> =
        (0..TURN_FRAMES).map(|_| strays.judge(&sound(AudioCodec::Aac, PAIR))).collect();
    assert_eq!(aac[..7], [const { Standing::Stray }; 7]);
    assert_eq!(aac[7], begins(&asc(LC)), "what it had been configured with");
}

#[test]
fn records_of_the_same_codec_follow_the_encoder() {
    let mut strays = flowing();
    assert_eq!(strays.judge(&asc(&[0x11, 0x88])), Standing::Own, "mono");
    assert_eq!(strays.judge(&asc(XHE)), Standing::Stray);
    let packets = [(); 3].map(|()| strays.judge(&sound(AudioCodec::Aac, PAIR)));
    assert_eq!(packets, [Standing::Stray, Standing::Stray, begins(&asc(XHE))]);
    assert_eq!(strays.judge(&asc(LC)), Standing::Own, "a usual one is believed at once");
    let mut strays = Strays::default();
    for poor in [&[1][..], CUT_AVCC, AVCC] {
        assert_eq!(strays.judge(&record(VideoCodec::Avc, poor)), Standing::Own, "no worse");
    }
}

#[test]
fn a_track_begins_with_what_is_sure() {
    let mut strays = Strays::default();
    // A camera that begins in another codec, and has one packet of a third.
    for _ in 1..TURN_FRAMES {
        assert_eq!(strays.judge(&sound(PCMA, &[0xD5; 160])), Standing::Stray);
    }
    assert_eq!(strays.judge(&sound(PCMA, &[0xD5; 160])), Standing::Own);
    let lc = asc(LC);
    assert_eq!(strays.judge(&lc), Standing::Stray);
    assert_eq!(strays.judge(&sound(AudioCodec::Aac, SINGLE)), begins(&lc));
    let mut strays = Strays::default();
    assert_eq!(strays.judge(&sound(AudioCodec::Mp3, &[0xFF, 0xFB, 0x90])), Standing::Own);
    assert_eq!(strays.judge(&picture(VideoCodec::Legacy(2))), Standing::Own);
}

#[test]
fn the_last_of_several_records_before_a_packet_is_not_the_only_one() {
    let mut strays = Strays::default();
    let opus = frame(Track::Audio(0), Content::AudioConfig(AudioCodec::Opus), b"OpusHead");
    assert_eq!([strays.judge(&asc(LC)), strays.judge(&opus)], [Standing::Own, Standing::Own]);
    let aac: Vec<_> =
        (0..TURN_FRAMES).map(|_| strays.judge(&sound(AudioCodec::Aac, PAIR))).collect();
    assert_eq!(aac[7], begins(&asc(LC)));
}

#[test]
fn tracks_have_codecs_of_their_own() {
    let mut strays = Strays::default();
    let track = |id, codec| {
        frame(Track::Video(id), Content::Video { codec, key: true, composition: 0 }, b"picture")
    };
    for _ in 0..10 {
        assert_eq!(strays.judge(&track(0, VideoCodec::Avc)), Standing::Own);
        assert_eq!(strays.judge(&track(1, VideoCodec::Hevc)), Standing::Own);
    }
    assert_eq!(strays.judge(&track(1, VideoCodec::Avc)), Standing::Stray);
    for id in 0..=255 {
        strays.judge(&track(id, VideoCodec::Hevc));
    }
    assert_eq!(strays.tracks.len(), TRACKS_MAX);
    assert_eq!(strays.judge(&track(200, VideoCodec::Avc)), Standing::Own, "not followed");
}

#[test]
fn metadata_that_cannot_be_read_does_not_replace_what_can() {
    let whole = b"\x02\x00\x0aonMetaData\x08\x00\x00\x00\x00\x00\x00\x09";
    let metadata = |body| frame(Track::Data, Content::Metadata, body);
    let mut strays = Strays::default();
    let cut = metadata(&whole[..16]);
    assert_eq!(strays.judge(&cut), Standing::Own, "as well as players can");
    assert_eq!(strays.judge(&metadata(whole)), Standing::Own);
    assert_eq!(strays.judge(&cut), Standing::Stray);
    assert_eq!(strays.judge(&metadata(whole)), Standing::Own);
}

#[test]
fn real_records_are_whole() {
    const AVCC: &[u8] = &[
        0x01, 0x64, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41,
        0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20,
        0xf1, 0x42, 0x99, 0x60, 0x01, 0x00, 0x04, 0x68, 0xef, 0xbc, 0xb0, 0xfd, 0xf8, 0xf8, 0x00,
    ];
    assert_eq!(Rating::of(&record(VideoCodec::Avc, AVCC)), Rating::Whole(None));
    assert!(matches!(Rating::of(&asc(&[0x12, 0x08])), Rating::Whole(Some(_))));
    // A rate that is written out: 44,056 Hz, stereo.
    assert!(matches!(Rating::of(&asc(&[0x17, 0x80, 0x56, 0x0C, 0x10])), Rating::Whole(Some(_))));
    assert_eq!(Rating::of(&asc(&[0x17, 0x80])), Rating::Poor);
}
