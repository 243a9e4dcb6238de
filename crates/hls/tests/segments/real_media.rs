//! What ffmpeg's encoders made, through the segmenter, read back: nothing lost, nothing moved, every rule of the
//! container kept.
//!
//! The files in `testdata` are 4 to 6 s of ffmpeg's test picture and a sine: `h264_bframes_aac` (25 fps, GOP 1 s, two
//! B-frames), `h264_mp3` (GOP 2 s), `h264_5fps_only` (GOP 2 s, no audio), `hevc_aac` (enhanced FLV, GOP 1 s) and
//! `aac_only`.

use std::time::Duration;

use crate::{
    reader::{Demuxer, ORIGIN, Pes, length_prefixed, nal_units, read_flv},
    segmenter, segments,
};
use weir_hls::Segment;
use weir_media::{Content, Frame};

const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;

/// A file, cut.
struct Run {
    /// What should come out: coded frames from the first one that may begin a segment.
    source: Vec<Frame>,
    cuts: Vec<Segment>,
    /// PES packets, by segment.
    segments: Vec<Vec<Pes>>,
    demuxer: Demuxer,
}

fn run(file: &[u8]) -> Run {
    let frames = read_flv(file);
    let mut segmenter = segmenter();
    let mut cuts = Vec::new();
    for frame in &frames {
        cuts.extend(segments(segmenter.push(frame, Duration::ZERO)));
    }
    cuts.extend(segments(segmenter.finish()));
    assert_eq!(segmenter.dropped(), None);
    let mut demuxer = Demuxer::default();
    let segments = cuts.iter().map(|cut| demuxer.segment(&cut.data)).collect();
    Run { source: coded(frames), cuts, segments, demuxer }
}

fn coded(frames: Vec<Frame>) -> Vec<Frame> {
    let is_coded = |f: &Frame| f.is_picture() || matches!(f.content, Content::Audio(_));
    let has_video = frames.iter().any(Frame::is_picture);
    frames.into_iter().filter(is_coded).skip_while(|f| has_video && !f.is_key()).collect()
}

impl Run {
    fn pes(&self, pid: u16) -> Vec<&Pes> {
        self.segments.iter().flatten().filter(|pes| pes.pid == pid).collect()
    }

    fn source(&self, pictures: bool) -> Vec<&Frame> {
        self.source.iter().filter(|frame| frame.is_picture() == pictures).collect()
    }

    fn check_times(&self) {
        let ticks = |millis: i64| millis * 90 + ORIGIN;
        let times = |frame: &&Frame| (ticks(frame.pts().as_millis()), ticks(frame.dts.as_millis()));
        let source: Vec<_> = self.source(true).iter().map(times).collect();
        let out: Vec<_> = self.pes(VIDEO).iter().map(|pes| (pes.pts, pes.dts)).collect();
        assert_eq!(out, source, "PTS and DTS of pictures");
        let source: Vec<_> = self.source(false).iter().map(|frame| times(frame).0).collect();
        let out: Vec<_> = self.pes(AUDIO).iter().map(|pes| pes.pts).collect();
        assert_eq!(out.len(), source.len());
        let off = out.iter().zip(&source).map(|(out, source)| out - source);
        assert!(
            off.clone().all(|off| off.abs() <= 90),
            "a millisecond: {:?}",
            off.collect::<Vec<_>>()
        );
        let steps: Vec<_> = out.windows(2).map(|pair| pair[1] - pair[0]).collect();
        if let (Some(least), Some(most)) = (steps.iter().min(), steps.iter().max()) {
            assert!(most - least <= 1, "packets of sound follow each other: {steps:?}");
        }
    }

    /// `delimiter`, `sets`: what the conversion adds to each picture, and how many NAL units to each key frame.
    fn check_pictures(&self, delimiter: &[u8], sets: usize) {
        for (pes, frame) in self.pes(VIDEO).iter().zip(self.source(true)) {
            let units = nal_units(&pes.data);
            assert_eq!(units[0], delimiter);
            let added = 1 + if frame.is_key() { sets } else { 0 };
            assert_eq!(units[added..], length_prefixed(&frame.payload), "at {}", frame.dts);
            assert_eq!(pes.random_access, frame.is_key());
        }
    }

    fn check_sound(&self, header_bytes: usize) {
        for (pes, frame) in self.pes(AUDIO).iter().zip(self.source(false)) {
            assert_eq!(pes.data[header_bytes..], frame.payload, "at {}", frame.dts);
        }
    }

    /// Each segment begins with a key frame, and together they last as long as the stream.
    fn check_segments(&self, millis: &[u64]) {
        let durations: Vec<_> = self.cuts.iter().map(|cut| cut.duration).collect();
        let expected: Vec<_> = millis.iter().copied().map(Duration::from_millis).collect();
        assert_eq!(durations, expected);
        assert!(self.cuts.iter().all(|cut| !cut.discontinuity));
        assert!(self.segments.iter().all(|segment| segment[0].random_access));
    }

    fn check_clock(&self) {
        let gap = self.demuxer.longest_clock_gap();
        assert!(gap <= 100, "{gap} ms between two PCRs");
    }
}

#[test]
fn h264_with_b_frames_and_aac() {
    let run = run(include_bytes!("../../testdata/h264_bframes_aac.flv"));
    run.check_segments(&[2000, 2000]);
    run.check_times();
    run.check_pictures(&[9, 0xF0], 2);
    run.check_sound(7);
    run.check_clock();
    assert_eq!(run.demuxer.streams, [(0x1B, VIDEO), (0x0F, AUDIO)]);
    let reordered = run.pes(VIDEO).iter().filter(|pes| pes.pts != pes.dts).count();
    assert!(reordered > 50, "the file has B-frames: {reordered}");
}

#[test]
fn hevc_and_aac() {
    let run = run(include_bytes!("../../testdata/hevc_aac.flv"));
    run.check_segments(&[2000, 2000]);
    run.check_times();
    run.check_pictures(&[0x46, 1, 0x50], 3);
    run.check_sound(7);
    run.check_clock();
    assert_eq!(run.demuxer.streams, [(0x24, VIDEO), (0x0F, AUDIO)]);
}

#[test]
fn h264_and_mp3() {
    let run = run(include_bytes!("../../testdata/h264_mp3.flv"));
    run.check_segments(&[2000, 2000]);
    run.check_times();
    run.check_pictures(&[9, 0xF0], 2);
    run.check_sound(0);
    run.check_clock();
    assert_eq!(run.demuxer.streams, [(0x1B, VIDEO), (0x03, AUDIO)]);
}

#[test]
fn five_pictures_a_second_and_no_audio() {
    let run = run(include_bytes!("../../testdata/h264_5fps_only.flv"));
    run.check_segments(&[2000, 2000, 2000]);
    run.check_times();
    run.check_pictures(&[9, 0xF0], 2);
    run.check_clock();
    assert_eq!(run.demuxer.streams, [(0x1B, VIDEO)]);
}

#[test]
fn aac_alone() {
    let run = run(include_bytes!("../../testdata/aac_only.flv"));
    run.check_segments(&[2020, 2020]);
    run.check_times();
    run.check_sound(7);
    run.check_clock();
    assert_eq!((run.demuxer.pcr_pid, &*run.demuxer.streams), (AUDIO, &[(0x0F, AUDIO)][..]));
}

#[test]
fn a_late_reader_gets_the_old_configuration_first_and_starts_at_a_key_frame() {
    let frames = read_flv(include_bytes!("../../testdata/h264_bframes_aac.flv"));
    let (init, coded): (Vec<_>, Vec<_>) =
        frames.into_iter().partition(|frame| frame.init_slot().is_some());
    let mut segmenter = segmenter();
    let hour = Duration::from_secs(3600);
    let late = coded.into_iter().skip(30).map(|frame| Frame { dts: frame.dts + hour, ..frame });
    let mut cuts = Vec::new();
    for frame in init.into_iter().chain(late) {
        cuts.extend(segments(segmenter.push(&frame, Duration::ZERO)));
    }
    cuts.extend(segments(segmenter.finish()));
    let first = &Demuxer::default().segment(&cuts[0].data)[0];
    assert!(first.random_access && first.pid == VIDEO);
    assert!(cuts.iter().all(|cut| !cut.discontinuity));
}
