//! Files of real encoders: read as FFmpeg reads them, and written again byte for byte.

use std::collections::BTreeMap;

use bytes::BytesMut;
use weir_flv::{
    Tag, TagKind,
    file::{self, Item, Reader},
    metadata::Metadata,
    to_frame,
};
use weir_media::{AudioCodec, Content, Frame, Timestamp, Track, VideoCodec};

/// A capture and FFmpeg's reading of it.
struct Capture {
    name: &'static str,
    flv: &'static [u8],
    framecrc: &'static str,
}

macro_rules! captures {
    ($($name:literal)*) => {
        [$(Capture {
            name: $name,
            flv: include_bytes!(concat!("../testdata/", $name, ".flv")),
            framecrc: include_str!(concat!("../testdata/", $name, ".framecrc")),
        }),*]
    };
}

const CAPTURES: [Capture; 12] = captures! {
    "ffmpeg-5.1-h264-bframes-aac"
    "ffmpeg-5.1-keyframe-index"
    "ffmpeg-5.1-mp3"
    "ffmpeg-5.1-sorenson"
    "ffmpeg-9-av1"
    "ffmpeg-9-eac3-51"
    "ffmpeg-9-flac"
    "ffmpeg-9-hevc-aac"
    "ffmpeg-9-hevc-hdr"
    "ffmpeg-9-multitrack-h264-aac"
    "ffmpeg-9-vp9-opus"
    "ffmpeg-9-vvc"
};

fn capture(name: &str) -> &'static Capture {
    CAPTURES.iter().find(|capture| capture.name == name).expect("a capture of this name")
}

/// Everything in the file, which is given to the reader `piece` bytes at a time.
fn read(flv: &[u8], piece: usize) -> (file::Header, Vec<Tag>) {
    let mut reader = Reader::new();
    let (mut header, mut tags) = (None, Vec::new());
    for bytes in flv.chunks(piece) {
        reader.push(bytes);
        while let Some(item) = reader.poll().expect("an FLV file") {
            match item {
                Item::Header(first) => assert_eq!(header.replace(first), None, "second header"),
                Item::Tag(tag) => tags.push(tag),
            }
        }
    }
    assert_eq!(reader.buffered(), 4, "the size of the last tag is left over");
    (header.expect("a header"), tags)
}

fn frames(capture: &Capture) -> Vec<Frame> {
    let (_, tags) = read(capture.flv, 4096);
    let frame = |tag: &Tag| to_frame(tag, Timestamp::from_millis(tag.timestamp.into()), 0);
    tags.iter().map(|tag| frame(tag).expect("a frame")).collect()
}

/// One packet: (DTS, PTS, size, checksum, key frame).
type Packet = (i64, i64, usize, u32, bool);

/// What FFmpeg read, by track. FFmpeg numbers its streams; the n-th of a kind has the track id n.
fn packets_of_ffmpeg(framecrc: &str) -> BTreeMap<Track, Vec<Packet>> {
    let mut tracks = Vec::new();
    let mut packets = BTreeMap::<Track, Vec<Packet>>::new();
    for line in framecrc.lines() {
        if let Some((_, kind)) = line.strip_prefix("#media_type ").and_then(|l| l.split_once(": "))
        {
            let nth = |track: fn(u8) -> Track| {
                (0..).map(track).find(|track| !tracks.contains(track)).expect("a free id")
            };
            tracks.push(if kind == "video" { nth(Track::Video) } else { nth(Track::Audio) });
        }
        if line.starts_with('#') {
            continue;
        }
        let fields: Vec<_> = line.split(',').map(str::trim).collect();
        let size = fields[4].parse().expect("a size");
        let crc = u32::from_str_radix(fields[5].trim_start_matches("0x"), 16).expect("a checksum");
        let key = !fields.contains(&"F=0x0");
        let track = tracks[fields[0].parse::<usize>().expect("a stream")];
        let time = |field: usize| fields[field].parse().expect("a time");
        // FFmpeg makes an empty packet of an empty sequence start and of configuration that changes.
        if size > 0 {
            packets.entry(track).or_default().push((time(1), time(2), size, crc, key));
        }
    }
    packets
}

fn packets_of_ours(frames: &[Frame]) -> BTreeMap<Track, Vec<Packet>> {
    let mut packets = BTreeMap::<Track, Vec<Packet>>::new();
    for frame in frames {
        let key = match frame.content {
            Content::Video { key, .. } => key,
            Content::Audio(_) => true,
            _ => continue,
        };
        let (dts, pts) = (frame.dts.as_millis(), frame.pts().as_millis());
        let packet = (dts, pts, frame.payload.len(), adler32(&frame.payload), key);
        packets.entry(frame.track).or_default().push(packet);
    }
    packets
}

/// Adler-32 started at 0, as FFmpeg's framecrc has it.
fn adler32(data: &[u8]) -> u32 {
    let (a, b) = data.iter().fold((0u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}

#[test]
fn packets_are_those_that_ffmpeg_reads() {
    for capture in &CAPTURES {
        let (ours, theirs) =
            (packets_of_ours(&frames(capture)), packets_of_ffmpeg(capture.framecrc));
        assert!(!theirs.is_empty(), "{}: the golden file has no packets", capture.name);
        assert_eq!(ours, theirs, "{}", capture.name);
    }
}

#[test]
fn configuration_records_are_those_that_ffmpeg_reads() {
    for capture in &CAPTURES {
        let records: Vec<_> =
            capture.framecrc.lines().filter(|l| l.starts_with("#extra")).collect();
        let frames = frames(capture);
        for record in &records {
            let (_, record) = record.split_once(':').expect("a size and a checksum");
            let is_it = |frame: &&Frame| {
                matches!(frame.content, Content::VideoConfig(_) | Content::AudioConfig(_))
                    && record.trim_start()
                        == format!("{:8}, 0x{:08x}", frame.payload.len(), adler32(&frame.payload))
                            .trim_start()
            };
            assert!(frames.iter().any(|f| is_it(&f)), "{}: no record {record}", capture.name);
        }
    }
}

#[test]
fn a_file_read_in_pieces_and_written_again_is_the_same_file() {
    for capture in &CAPTURES {
        for piece in [1, 13, 1000, usize::MAX] {
            let (header, tags) = read(capture.flv, piece);
            let mut out = BytesMut::from(&header.encode()[..]);
            for tag in &tags {
                file::write_tag(&mut out, tag.kind, tag.timestamp, &tag.body);
            }
            assert!(out == capture.flv, "{} in pieces of {piece}", capture.name);
        }
    }
}

#[test]
fn each_message_is_what_its_encoder_meant() {
    let kinds = |name| {
        let mut contents: Vec<_> =
            frames(capture(name)).iter().map(|f| (f.track, f.content)).collect();
        contents.dedup();
        contents.retain(|(_, c)| !matches!(c, Content::Video { .. } | Content::Audio(_)));
        contents.sort_by_key(|(track, _)| *track);
        contents
    };
    let (v0, v1, a0, a1) = (Track::Video(0), Track::Video(1), Track::Audio(0), Track::Audio(1));
    let metadata = (Track::Data, Content::Metadata);
    use {AudioCodec::*, VideoCodec::*};
    assert_eq!(
        kinds("ffmpeg-5.1-h264-bframes-aac"),
        [
            (v0, Content::VideoConfig(Avc)),
            (v0, Content::Opaque),
            (a0, Content::AudioConfig(Aac)),
            metadata
        ]
    );
    assert_eq!(
        kinds("ffmpeg-9-hevc-hdr"),
        [(v0, Content::VideoConfig(Hevc)), (v0, Content::VideoInfo(Hevc)), metadata]
    );
    assert_eq!(
        kinds("ffmpeg-9-eac3-51"),
        [(a0, Content::Opaque), (a0, Content::AudioInfo(Eac3)), metadata],
    );
    assert_eq!(
        kinds("ffmpeg-9-multitrack-h264-aac"),
        [
            (v0, Content::VideoConfig(Avc)),
            (v0, Content::Opaque),
            (v1, Content::VideoConfig(Avc)),
            (a0, Content::AudioConfig(Aac)),
            (a1, Content::AudioConfig(Aac)),
            (a1, Content::AudioInfo(Aac)),
            metadata
        ]
    );
}

#[test]
fn metadata_tells_which_kinds_of_media_there_are() {
    let said = |name| {
        let (header, tags) = read(capture(name).flv, usize::MAX);
        assert_eq!(tags[0].kind, TagKind::Script, "{name}");
        let metadata = Metadata::parse(&tags[0].body).expect("AMF0").expect("metadata");
        assert_eq!(metadata.has_audio(), Some(header.has_audio), "{name}: audio");
        assert_eq!(metadata.has_video(), Some(header.has_video), "{name}: video");
        (header.has_audio, header.has_video)
    };
    assert_eq!(said("ffmpeg-5.1-h264-bframes-aac"), (true, true));
    assert_eq!(said("ffmpeg-5.1-keyframe-index"), (false, true));
    assert_eq!(said("ffmpeg-5.1-mp3"), (true, false));
    assert_eq!(said("ffmpeg-9-av1"), (false, true));
    assert_eq!(said("ffmpeg-9-vp9-opus"), (true, true));
}
