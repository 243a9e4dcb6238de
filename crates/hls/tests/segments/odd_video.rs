//! What ffmpeg's encoders made, in the ways in which other encoders send it: what comes out is the same.

use std::time::Duration;

use bytes::Bytes;
use weir_media::{Content, Frame};

use crate::{
    reader::{Demuxer, length_prefixed, nal_units, read_flv},
    segmenter, segments,
};

/// The pictures of the segments, and whether each segment begins with one that can be decoded.
fn pictures(frames: &[Frame]) -> Vec<(i64, Vec<u8>)> {
    let mut segmenter = segmenter();
    let mut cuts: Vec<_> =
        frames.iter().flat_map(|frame| segments(segmenter.push(frame, Duration::ZERO))).collect();
    cuts.extend(segments(segmenter.finish()));
    assert_eq!(cuts.len(), 2);
    assert!(cuts.iter().all(|cut| !cut.discontinuity));
    let mut demuxer = Demuxer::default();
    let mut pictures = Vec::new();
    for cut in &cuts {
        let segment = demuxer.segment(&cut.data);
        assert!(segment[0].random_access);
        let of_video = segment.into_iter().filter(|pes| pes.pid == 0x100);
        pictures.extend(of_video.map(|pes| (pes.pts, pes.data)));
    }
    pictures
}

/// How an encoder frames what it sends.
#[derive(Clone, Copy, Debug)]
enum Way {
    Lengths,
    /// Start codes of four bytes, or of three.
    StartCodes,
    ShortStartCodes,
    /// All NAL units with start codes behind one length.
    Wrapped,
    /// Each NAL unit that is no part of a picture in a message of its own.
    Alone,
}

fn join(nals: &[&[u8]], way: Way) -> Bytes {
    let framed = nals.iter().flat_map(|nal| match way {
        Way::Lengths | Way::Alone => {
            [&u32::try_from(nal.len()).expect("short").to_be_bytes()[..], nal].concat()
        }
        Way::StartCodes | Way::Wrapped => [&[0, 0, 0, 1], *nal].concat(),
        Way::ShortStartCodes => [&[0, 0, 1], *nal].concat(),
    });
    let framed: Vec<u8> = framed.collect();
    match way {
        Way::Wrapped => [&u32::try_from(framed.len()).expect("short").to_be_bytes()[..], &framed]
            .concat()
            .into(),
        _ => framed.into(),
    }
}

/// The frames of an encoder that sends these records, none where there is none, has the parameter sets in its key
/// frames and frames them in its way.
fn odd(frames: &[Frame], record: Option<&[u8]>, sets: &[Vec<u8>], way: Way) -> Vec<Frame> {
    let mut odd = Vec::new();
    for frame in frames {
        let with = |payload: Bytes| Frame { body: payload.clone(), payload, ..frame.clone() };
        match frame.content {
            Content::VideoConfig(_) => {
                odd.extend(record.map(|record| with(Bytes::copy_from_slice(record))));
            }
            Content::Video { key, .. } => {
                let sets = sets.iter().filter(|_| key).map(Vec::as_slice);
                let nals: Vec<&[u8]> = sets.chain(length_prefixed(&frame.payload)).collect();
                // The last one is always of the picture.
                let (last, before) = nals.split_last().expect("a picture");
                match way {
                    Way::Alone => {
                        odd.extend(before.iter().chain([last]).map(|nal| with(join(&[nal], way))));
                    }
                    _ => odd.push(with(join(&nals, way))),
                }
            }
            _ => odd.push(frame.clone()),
        }
    }
    odd
}

fn check(file: &[u8], how_many_sets: usize) {
    let frames = read_flv(file);
    let expected = pictures(&frames);
    let first = nal_units(&expected[0].1);
    let sets: Vec<_> = first[1..=how_many_sets].iter().map(|nal| nal.to_vec()).collect();
    let config = frames.iter().find(|frame| matches!(frame.content, Content::VideoConfig(_)));
    let good = &config.expect("a record").payload;
    let mut version_0 = good.to_vec();
    version_0[0] = 0;
    let in_file_format = join(&sets.iter().map(Vec::as_slice).collect::<Vec<_>>(), Way::StartCodes);
    for way in [Way::Lengths, Way::StartCodes, Way::ShortStartCodes, Way::Wrapped, Way::Alone] {
        let half = &good[..good.len() / 2];
        for record in [None, Some(&[1][..]), Some(&[0]), Some(half), Some(&version_0), Some(good)] {
            let out = pictures(&odd(&frames, record, &sets, way));
            assert!(out == expected, "{way:?}, sets in band, record {record:?}");
        }
        for record in [good, &version_0[..], &in_file_format] {
            let out = pictures(&odd(&frames, Some(record), &[], way));
            assert!(out == expected, "{way:?}, no sets in band, record {record:?}");
        }
    }
}

#[test]
fn h264_is_the_same_however_it_is_sent() {
    check(include_bytes!("../../testdata/h264_bframes_aac.flv"), 2);
}

#[test]
fn hevc_is_the_same_however_it_is_sent() {
    check(include_bytes!("../../testdata/hevc_aac.flv"), 3);
}

/// Pictures of two slices, in one message or in two. `first`: the byte of a slice that begins with whether it is the
/// first.
fn sliced(frames: &[Frame], first: usize, alone: bool) -> Vec<Frame> {
    let mut sliced = Vec::new();
    for frame in frames {
        let with = |payload: Bytes| Frame { body: payload.clone(), payload, ..frame.clone() };
        if !frame.is_picture() {
            sliced.push(frame.clone());
            continue;
        }
        let nals = length_prefixed(&frame.payload);
        let mut rest = nals.last().expect("a picture").to_vec();
        assert_eq!(rest[first] & 0x80, 0x80, "the first slice");
        rest[first] &= 0x7F;
        if alone {
            sliced.extend([with(join(&nals, Way::Lengths)), with(join(&[&rest], Way::Lengths))]);
        } else {
            sliced.push(with(join(&[&nals[..], &[&rest]].concat(), Way::Lengths)));
        }
    }
    sliced
}

#[test]
fn slices_in_messages_of_their_own_are_one_picture() {
    for (file, first) in [
        (&include_bytes!("../../testdata/h264_bframes_aac.flv")[..], 1),
        (&include_bytes!("../../testdata/hevc_aac.flv")[..], 2),
    ] {
        let frames = read_flv(file);
        let whole = pictures(&sliced(&frames, first, false));
        let parts = pictures(&sliced(&frames, first, true));
        assert_eq!(whole.len(), parts.len());
        assert!(whole == parts);
    }
}
