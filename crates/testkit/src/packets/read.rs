//! Reading packets with FFmpeg.

use std::{
    fs,
    path::Path,
    process::{Command, ExitStatus},
    time::Duration,
};

use tempfile::TempDir;

use super::{Kind, Media, Packet, Stream};
use crate::{ffmpeg::Ffmpeg, fixture::Fixture, process::Process};

/// Until FFmpeg has written its last lines after it was asked to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// In which form packets are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are carried: right between containers of one family, such as FLV and RTMP.
    Carried,
    /// What is the same of this fixture in FLV, MPEG-TS and MP4: H.264 and HEVC as a byte stream without parameter sets
    /// and access unit delimiters, AV1 without temporal delimiters, AAC without ADTS headers, and no configuration
    /// records.
    Elementary(Fixture),
}

impl Form {
    /// FFmpeg's filters that bring it about.
    fn filters(self) -> Vec<&'static str> {
        let Self::Elementary(fixture) = self else { return Vec::new() };
        let video: &[_] = match fixture {
            Fixture::HevcAac => &["-bsf:v", "hevc_mp4toannexb,filter_units=remove_types=32-35"],
            Fixture::Av1Aac | Fixture::Av1Opus => &["-bsf:v", "av1_metadata=td=remove"],
            Fixture::Vp9Opus => &[],
            _ if fixture.has_video() => {
                &["-bsf:v", "h264_mp4toannexb,filter_units=remove_types=7-9"]
            }
            _ => &[],
        };
        let audio: &[_] = match fixture {
            Fixture::AvcMp3 | Fixture::VideoOnly => &[],
            Fixture::Av1Opus | Fixture::Vp9Opus => &[],
            Fixture::AvcFlac | Fixture::AvcAc3 | Fixture::AvcEac3 => &[],
            _ => &["-bsf:a", "aac_adtstoasc"],
        };
        [video, audio].concat()
    }
}

/// Reads all of `input`, a file or a stream that ends.
///
/// # Panics
/// If FFmpeg fails, or needs longer than `timeout`.
#[track_caller]
pub fn read(ffmpeg: Ffmpeg, input: &str, form: Form, timeout: Duration) -> Media {
    Recording::start(ffmpeg, input, form).finish(timeout)
}

/// FFmpeg as a player that writes down what it gets.
///
/// It decodes nothing, drops nothing that comes before the first key frame, and keeps the timestamps as they are.
#[derive(Debug)]
pub struct Recording {
    process: Process,
    form: Form,
    dir: TempDir,
}

/// The file with the checksums that FFmpeg prints together with the packets' flags, which it leaves out next to hashes.
const FLAGS: &str = "flags";

impl Recording {
    /// Starts playing `input`.
    #[track_caller]
    pub fn start(ffmpeg: Ffmpeg, input: &str, form: Form) -> Self {
        Self::start_by(&format!("{ffmpeg:?}"), ffmpeg.command(), input, form)
    }

    /// The same with a server that has a certificate of the authority in the PEM file `ca`.
    #[track_caller]
    pub fn start_trusting(ffmpeg: Ffmpeg, input: &str, form: Form, ca: &Path) -> Self {
        Self::start_by(&format!("{ffmpeg:?}"), ffmpeg.trusting(ca), input, form)
    }

    #[track_caller]
    fn start_by(name: &str, mut command: Command, input: &str, form: Form) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        command.args(["-copyts", "-i", input]);
        outputs(&mut command, form, &["-f", "framehash", "-hash", "sha256", "pipe:1"]);
        outputs(&mut command, form, &["-f", "framecrc"]);
        command.arg(dir.path().join(FLAGS));
        Self {
            process: Process::start(&format!("{name} player of {input}"), &mut command),
            form,
            dir,
        }
    }

    /// Waits for the first `count` packets of all streams together; whether they came before `timeout`.
    pub fn wait_packets(&self, count: usize, timeout: Duration) -> bool {
        let mut left = count;
        let count_packets = |line: &str| {
            left -= usize::from(is_packet(line));
            (left == 0).then_some(())
        };
        count == 0 || self.process.stdout().find(timeout, count_packets).is_some()
    }

    /// What came until the input ended.
    ///
    /// # Panics
    /// If it does not end before `timeout`, or FFmpeg fails.
    #[track_caller]
    pub fn finish(mut self, timeout: Duration) -> Media {
        let status = self.process.wait(timeout);
        self.media(status)
    }

    /// What came until now.
    ///
    /// # Panics
    /// If FFmpeg has failed.
    #[track_caller]
    pub fn stop(mut self) -> Media {
        self.process.signal("INT");
        let status = self.process.wait(STOP_TIMEOUT);
        // FFmpeg's own exit code for having been interrupted.
        if status.code() == Some(255) { self.parse() } else { self.media(status) }
    }

    #[track_caller]
    fn media(&self, status: ExitStatus) -> Media {
        assert!(status.success(), "the player ended with {status}:\n{}", self.process.stderr());
        self.parse()
    }

    #[track_caller]
    fn parse(&self) -> Media {
        let flags = fs::read_to_string(self.dir.path().join(FLAGS)).unwrap_or_default();
        let hashes = self.process.stdout().to_string();
        let media = parse(&hashes, &flags);
        let mut media = media.unwrap_or_else(|error| panic!("{error}\n{}", self.process.stderr()));
        if self.form != Form::Carried {
            media.streams.iter_mut().for_each(|stream| stream.config = None);
        }
        media
    }
}

/// One output of the streams in `form`, to the muxer of `muxer`.
fn outputs(command: &mut Command, form: Form, muxer: &[&str]) {
    command.args([
        "-map",
        "0:v?",
        "-map",
        "0:a?",
        "-c",
        "copy",
        "-copyinkf",
        "-flush_packets",
        "1",
    ]);
    command.args(form.filters());
    command.args(muxer);
}

fn is_packet(line: &str) -> bool {
    line.starts_with(|first: char| first.is_ascii_digit())
}

/// Reads the output of FFmpeg's `framehash` muxer, and from that of `framecrc` which packets are key frames.
fn parse(hashes: &str, flags: &str) -> Result<Media, String> {
    let mut parser = Parser::default();
    for line in hashes.lines() {
        let result = match line.strip_prefix('#') {
            Some(header) => parser.header(header),
            None => parser.packet(line),
        };
        result.ok_or_else(|| format!("FFmpeg printed a line that is not understood: {line:?}"))?;
    }
    for line in flags.lines().filter(|line| is_packet(line)) {
        parser
            .flags(line)
            .ok_or_else(|| format!("FFmpeg printed flags that are not understood: {line:?}"))?;
    }
    Ok(parser.finish())
}

#[derive(Default)]
struct Parser {
    streams: Vec<Incoming>,
}

/// A stream on its way in, by its index in the output.
#[derive(Default)]
struct Incoming {
    kind: Option<Kind>,
    codec: String,
    config: Option<String>,
    /// Microseconds of one unit of the timestamps: numerator and denominator.
    unit: (i64, i64),
    packets: Vec<Packet>,
    /// Packets whose flags are known.
    flagged: usize,
}

impl Parser {
    fn stream(&mut self, index: &str) -> Option<&mut Incoming> {
        let index: usize = index.trim().parse().ok()?;
        if index >= self.streams.len() {
            self.streams.resize_with(index + 1, Incoming::default);
        }
        self.streams.get_mut(index)
    }

    /// `tb 0: 1/1000`, `codec_id 0: h264`, `extradata 0, 45, a236...`; others are passed over.
    fn header(&mut self, line: &str) -> Option<()> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        match name {
            "extradata" => {
                let mut fields = rest.split(',').map(str::trim);
                let (index, _size, hash) = (fields.next()?, fields.next()?, fields.next()?);
                self.stream(index)?.config = Some(hash.to_owned());
            }
            "tb" => {
                let (index, unit) = rest.split_once(": ")?;
                let (numerator, denominator) = unit.split_once('/')?;
                let numerator = numerator.parse::<i64>().ok()?.checked_mul(1_000_000)?;
                self.stream(index)?.unit = (numerator, denominator.parse().ok()?);
            }
            "media_type" => {
                let (index, kind) = rest.split_once(": ")?;
                self.stream(index)?.kind =
                    Some(if kind == "video" { Kind::Video } else { Kind::Audio });
            }
            "codec_id" => {
                let (index, codec) = rest.split_once(": ")?;
                self.stream(index)?.codec = codec.to_owned();
            }
            _ => {}
        }
        Some(())
    }

    /// `stream, dts, pts, duration, size, hash`, then fields of side data.
    fn packet(&mut self, line: &str) -> Option<()> {
        let mut fields = line.split(',').map(str::trim);
        let stream = self.stream(fields.next()?)?;
        let (numerator, denominator) = stream.unit;
        let mut time =
            || fields.next()?.parse::<i64>().ok()?.checked_mul(numerator)?.checked_div(denominator);
        let (dts_us, pts_us) = (time()?, time()?);
        let (_duration, size, hash) =
            (fields.next()?, fields.next()?.parse().ok()?, fields.next()?);
        stream.packets.push(Packet { dts_us, pts_us, key: false, size, hash: hash.to_owned() });
        Some(())
    }

    /// A line of `framecrc`: the flags are left out for a key frame with no other flag.
    fn flags(&mut self, line: &str) -> Option<()> {
        const KEY: u32 = 1;
        let mut fields = line.split(',').map(str::trim);
        let stream = self.stream(fields.next()?)?;
        let flags = fields.find_map(|field| field.strip_prefix("F=0x"));
        let flags = flags.map_or(Some(KEY), |flags| u32::from_str_radix(flags, 16).ok())?;
        // An interrupted FFmpeg may have written a packet to one of its outputs only.
        if let Some(packet) = stream.packets.get_mut(stream.flagged) {
            packet.key = flags & KEY != 0;
            stream.flagged += 1;
        }
        Some(())
    }

    fn finish(self) -> Media {
        let mut streams: Vec<_> = self.streams.into_iter().filter_map(Incoming::finish).collect();
        streams.sort_by_key(|stream| stream.kind == Kind::Audio);
        Media { streams }
    }
}

impl Incoming {
    fn finish(mut self) -> Option<Stream> {
        self.packets.truncate(self.flagged);
        Some(Stream {
            kind: self.kind?,
            codec: self.codec,
            config: self.config,
            packets: self.packets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASHES: &str = "\
#format: frame checksums
#version: 2
#hash: SHA256
#extradata 1,                              45, a236
#software: Lavf59.27.100
#tb 0: 1/44100
#media_type 0: audio
#codec_id 0: aac
#sample_rate 0: 44100
#tb 1: 1/1000
#media_type 1: video
#codec_id 1: h264
#stream#, dts,        pts, duration,     size, hash
1,          0,         80,       40,     3030, d0cf
0,       1024,       1024,       23,      280, 7ae8, S=1,        1, 7d8c
1,         40,        200,       40,      544, d06f
";

    const FLAGS: &str = "\
#tb 0: 1/44100
0,       1024,       1024,       23,      280, 0x588e89cb
1,          0,         80,       40,     3030, 0x7d9a9345
1,         40,        200,       40,      544, 0xb4420640, F=0x0
";

    #[test]
    fn streams_and_packets_are_read_pictures_first() {
        let media = parse(HASHES, FLAGS).unwrap();
        let [video, audio] = media.streams.as_slice() else { panic!("{media:?}") };
        assert_eq!((video.kind, video.codec.as_str()), (Kind::Video, "h264"));
        assert_eq!(video.config.as_deref(), Some("a236"));
        let packet =
            Packet { dts_us: 40_000, pts_us: 200_000, key: false, size: 544, hash: "d06f".into() };
        assert_eq!(video.packets[1], packet);
        assert!(video.packets[0].key, "no flags are the flags of a key frame");
        assert_eq!(audio.packets[0].dts_us, 23_219, "in the units of its own stream");
        assert_eq!((audio.packets[0].hash.as_str(), &audio.config), ("7ae8", &None));
    }

    #[test]
    fn a_packet_that_only_one_output_has_is_left_out() {
        let (flags, _last) = FLAGS.trim_end().rsplit_once('\n').unwrap();
        assert_eq!(parse(HASHES, flags).unwrap().packets(Kind::Video).len(), 1);
    }

    #[test]
    fn what_is_not_understood_is_shown() {
        for line in ["#tb 0: none", "0, 1, 2", "0, x, 2, 3, 4, 5"] {
            let error = parse(line, "").unwrap_err();
            assert!(error.contains(line), "{error}");
        }
        assert!(parse(HASHES, "1, 0, 0, 0, 0, 0x0, F=0xz").unwrap_err().contains("F=0xz"));
    }
}
