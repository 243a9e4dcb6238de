use weir_flv::file::{Header, Item, Reader};

use super::*;
use crate::testing::{FORMATS, RTMP, dechunked, init, messages, name, names, picture, sound, tags};

fn packaged(format: Format, frames: &[Frame]) -> Bytes {
    let mut package = Package::new(format, 0, 0);
    frames.iter().for_each(|frame| package.push(frame));
    package.finish()
}

#[test]
fn every_format_is_read_back_as_it_was_packaged() {
    let frames = [picture(true, 40, 5000), sound(46), picture(false, 80, 0), sound(0x0123_4567)];
    for format in FORMATS {
        let tags = tags(format, &packaged(format, &frames));
        assert_eq!(tags.len(), frames.len(), "{format:?}");
        for (tag, frame) in tags.iter().zip(&frames) {
            assert_eq!(tag.kind, kind_of(frame.track), "{format:?}");
            assert_eq!(i64::from(tag.timestamp), frame.dts.as_millis(), "{format:?}");
            assert_eq!(tag.body, frame.body, "{format:?} at {}", frame.dts);
        }
    }
}

#[test]
fn rtmp_is_on_the_message_stream_that_viewers_get_and_on_a_chunk_stream_for_each_kind() {
    let messages = messages(100, &packaged(RTMP, &[picture(true, 0, 0), sound(0)]));
    let seen: Vec<_> = messages.iter().map(|m| (m.stream_id, m.csid)).collect();
    assert_eq!(seen, [(1, u32::from(chunk::CSID_VIDEO)), (1, u32::from(chunk::CSID_AUDIO))]);
}

#[test]
fn one_http_chunk_holds_all_frames_of_a_flush_and_says_how_long_it_is() {
    let bytes = packaged(Format::FLV_CHUNKED, &[sound(0), sound(23)]);
    let flv = packaged(Format::FLV, &[sound(0), sound(23)]);
    let expected = [format!("{:08x}\r\n", flv.len()).as_bytes(), &flv, b"\r\n"].concat();
    assert_eq!(bytes, expected);
    assert_eq!(dechunked(&bytes), [flv]);
}

#[test]
fn nothing_packaged_is_no_bytes_at_all() {
    for format in FORMATS {
        // A chunk of length 0 would end the HTTP body.
        assert!(packaged(format, &[]).is_empty(), "{format:?}");
        let mut package = Package::new(format, 0, 0);
        assert_eq!((package.cut(), package.is_empty()), (0, true), "{format:?}");
    }
}

#[test]
fn from_a_cut_on_and_up_to_it_the_bytes_can_be_read_alone() {
    for format in FORMATS {
        let mut package = Package::new(format, 0, 0);
        package.push(&picture(false, 0, 3000));
        let cut = package.cut();
        package.push(&picture(true, 40, 3000));
        package.push(&sound(40));
        let bytes = package.finish();
        assert_eq!(names(&tags(format, &bytes[..cut])), ["delta0;"], "{format:?}");
        assert_eq!(names(&tags(format, &bytes[cut..])), ["key40;", "sound40;"], "{format:?}");
    }
}

#[test]
fn an_opening_has_metadata_at_0_and_configurations_at_the_time_of_the_group() {
    let dts = Timestamp::from_millis(90_000);
    let tracks = Tracks { audio: true, video: true };
    for format in FORMATS {
        let bytes = Package::opening(format, &init(), dts, tracks);
        let seen: Vec<_> =
            tags(format, &bytes).iter().map(|tag| (name(tag), tag.timestamp)).collect();
        let expected = [("metadata", 0), ("avcC", 90_000), ("asc", 90_000)];
        assert_eq!(seen, expected.map(|(name, at)| (name.to_owned(), at)), "{format:?}");
    }
}

#[test]
fn the_header_of_an_opening_says_which_tracks_there_are() {
    for (audio, video) in [(true, true), (true, false), (false, true)] {
        let tracks = Tracks { audio, video };
        let flv = Package::opening(Format::FLV, &init(), Timestamp::ZERO, tracks);
        let mut reader = Reader::new();
        reader.push(&flv);
        let expected = Item::Header(Header { has_audio: audio, has_video: video });
        assert_eq!(reader.poll(), Ok(Some(expected)));
        let chunked = Package::opening(Format::FLV_CHUNKED, &init(), Timestamp::ZERO, tracks);
        assert_eq!(dechunked(&chunked), [flv]);
    }
}

#[test]
fn after_a_skip_there_is_no_second_header_and_no_second_metadata() {
    for format in FORMATS {
        let tracks = Tracks { audio: true, video: true };
        let bytes = Package::opening_again(format, &init(), Timestamp::ZERO, tracks);
        assert_eq!(names(&tags(format, &bytes)), ["avcC", "asc"], "{format:?}");
        assert!(!bytes.windows(3).any(|three| three == b"FLV"), "{format:?}");
        let nothing = Package::opening_again(format, &Init::default(), Timestamp::ZERO, tracks);
        assert!(nothing.is_empty(), "{format:?}: an empty chunk would end the HTTP body");
    }
}

#[test]
fn only_chunked_bodies_have_an_ending() {
    let endings = FORMATS.map(|format| format.framing().ending(false));
    assert_eq!(endings, [&b""[..], b"", b"0\r\n\r\n"]);
}

#[test]
fn times_wrap_as_the_wire_does() {
    let at = i64::from(u32::MAX) + 41;
    for format in FORMATS {
        let tags = tags(format, &packaged(format, &[sound(at - 41), sound(at)]));
        let times: Vec<_> = tags.iter().map(|tag| tag.timestamp).collect();
        assert_eq!(times, [u32::MAX, 40], "{format:?}");
    }
}

#[test]
fn room_is_made_once() {
    let frames = [picture(true, 0, 70_000), sound(0), sound(23)];
    for format in [Format::Rtmp { chunk_size: 60_000 }, Format::FLV, Format::FLV_CHUNKED] {
        let bytes = frames.iter().map(|frame| frame.body.len()).sum();
        let mut package = Package::new(format, bytes, frames.len());
        let room = package.held();
        frames.iter().for_each(|frame| package.push(frame));
        package.cut();
        assert_eq!(package.held(), room, "{format:?} had to grow");
    }
}
