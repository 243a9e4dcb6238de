//! What real clients sent, byte for byte; `testdata/README.md` says how the captures were made.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

use std::time::Instant;

use weir_flv::{Tag, TagKind};
use weir_rtmp::server::{Config, Event, Session};

/// Plays a capture to a session that accepts everything, in pieces of `piece` bytes. They must be shorter than the
/// metadata that follows `publish`, because the client waited for the answer before it sent that.
fn replay(capture: &[u8], piece: usize) -> Vec<Event> {
    let now = Instant::now();
    let mut session = Session::new(Config::default(), [7; 1536], now);
    let mut events = Vec::new();
    for bytes in capture.chunks(piece) {
        session.handle_input(bytes, now).unwrap();
        while let Some(event) = session.poll_event() {
            match event {
                Event::Publish { stream_id, .. } => session.accept_publish(stream_id),
                Event::Play { stream_id, .. } => session.accept_play(stream_id),
                _ => {}
            }
            events.push(event);
        }
    }
    events
}

fn tags(events: &[Event]) -> Vec<&Tag> {
    events.iter().filter_map(media).collect()
}

fn media(event: &Event) -> Option<&Tag> {
    match event {
        Event::Media { tag, .. } => Some(tag),
        _ => None,
    }
}

fn count(tags: &[&Tag], kind: TagKind) -> usize {
    tags.iter().filter(|tag| tag.kind == kind).count()
}

/// What a replayed publisher must have asked for.
fn assert_published(events: &[Event]) {
    assert!(matches!(events[0], Event::Connected(_)), "{:?}", events[0]);
    let Event::Publish { stream_id: 1, url, kind } = &events[1] else { panic!("{:?}", events[1]) };
    let url = [&url.vhost, &url.app, &url.stream, &url.params].map(String::as_str);
    assert_eq!((url, kind.as_str()), (["127.0.0.1", "live", "cam", "?token=x"], "live"));
    assert_eq!(events.last(), Some(&Event::EndPublish { stream_id: 1 }));
}

#[test]
fn ffmpeg_5_1_publishes() {
    let capture = include_bytes!("../testdata/ffmpeg-5.1-publish.bin");
    let events = replay(capture, 50);
    assert_published(&events);
    let tags = tags(&events);
    // FFmpeg printed 20 pictures and 88 packets of sound, and each has a configuration record; the last script tag is
    // an end mark.
    assert_eq!(count(&tags, TagKind::Video), 20 + 2, "pictures, avcC, end of sequence");
    assert_eq!(count(&tags, TagKind::Audio), 88 + 1);
    assert_eq!(tags[0].kind, TagKind::Script);
    assert!(tags[0].body.starts_with(b"\x02\x00\x0d@setDataFrame"));
    let video = tags.iter().filter(|tag| tag.kind == TagKind::Video);
    let times: Vec<_> = video.map(|tag| tag.timestamp).collect();
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "decoding order: {times:?}");
}

#[test]
fn ffmpeg_9_publishes_enhanced_rtmp() {
    let capture = include_bytes!("../testdata/ffmpeg-9-publish-hevc-opus.bin");
    let events = replay(capture, 50);
    assert_published(&events);
    let Event::Connected(info) = &events[0] else { panic!("{:?}", events[0]) };
    assert_eq!(info.enhanced.as_ref().unwrap().four_cc_list, ["hvc1", "Opus"]);
    let tags = tags(&events);
    assert!(tags.iter().any(|tag| tag.body.get(1..5) == Some(b"hvc1")), "FourCC video");
    assert!(tags.iter().any(|tag| tag.body.get(1..5) == Some(b"Opus")), "FourCC audio");
}

#[test]
fn ffmpeg_5_1_plays() {
    let events = replay(include_bytes!("../testdata/ffmpeg-5.1-play.bin"), 500);
    let Event::Play { stream_id: 1, url, start, .. } = &events[1] else {
        panic!("{:?}", events[1])
    };
    assert_eq!((url.app.as_str(), url.stream.as_str(), *start), ("live", "cam", -2000.0));
    assert_eq!(events[2], Event::BufferLength { stream_id: 1, millis: 3000 });
}

#[test]
fn the_size_of_the_pieces_makes_no_difference() {
    let captures = [
        &include_bytes!("../testdata/ffmpeg-5.1-publish.bin")[..],
        include_bytes!("../testdata/ffmpeg-9-publish-hevc-opus.bin"),
    ];
    for capture in captures {
        let expected = replay(capture, 50);
        for piece in [1, 2, 7, 150] {
            assert!(replay(capture, piece) == expected, "pieces of {piece}");
        }
    }
}
