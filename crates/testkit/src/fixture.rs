//! The files that tests publish: eight seconds of moving test picture and a tone, made once with FFmpeg.
//!
//! Each picture has its number, counted from 0, in the fifth at its top: eight bars, white for one and black for zero,
//! the lowest bit first. It survives every codec and every size.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{ffmpeg::Ffmpeg, kept, process::Process};

/// Length of every fixture.
pub const DURATION: Duration = Duration::from_secs(8);

/// Distance of the key frames.
pub const KEY_INTERVAL: Duration = Duration::from_secs(1);

/// Part of the file names: change it together with [`Fixture::options`], so that no old file is taken.
const VERSION: u32 = 2;

/// Until a file is made; it takes about one second on an idle core.
const MAKE_TIMEOUT: Duration = Duration::from_secs(60);

const PICTURE: &str = "testsrc2=size=320x180:rate=25,drawbox=w=320:h=36:c=black:t=fill";

/// Bits of the number in each picture.
const NUMBER_BITS: u32 = 8;
const TONE: &[&str] = &["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"];
const AVC: &[&str] =
    &["-c:v", "libx264", "-preset", "veryfast", "-keyint_min", "25", "-sc_threshold", "0", "-bf"];
const HEVC: &[&str] = &[
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-x265-params",
    "keyint=25:min-keyint=25:scenecut=0:bframes=2:log-level=error",
];
/// Bits per second and lines of its tracks: players see them as variants.
pub const RUNGS: [(u64, u64); 3] = [(1_200_000, 360), (400_000, 180), (100_000, 90)];
const LADDER: &[&str] = &[
    "-filter_complex",
    "[0:v]split=3[a][b][c];[a]scale=640:360[a];[c]scale=160:90[c]",
    "-map",
    "[a]",
    "-map",
    "[b]",
    "-map",
    "[c]",
    "-map",
    "1:a",
    "-b:v:0",
    "1200k",
    "-b:v:1",
    "400k",
    "-b:v:2",
    "100k",
];
const AV1: &[&str] = &["-c:v", "libsvtav1", "-preset", "11"];
const VP9: &[&str] = &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"];

/// A file to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixture {
    /// H.264 without B-frames, AAC.
    AvcAac,
    /// H.264 with B-frames, AAC.
    AvcBFramesAac,
    /// AAC alone.
    AudioOnly,
    /// H.264 with B-frames, alone.
    VideoOnly,
    /// H.264, MP3.
    AvcMp3,
    /// HEVC with B-frames, AAC.
    HevcAac,
    /// AV1, AAC.
    Av1Aac,
    /// AV1, Opus.
    Av1Opus,
    /// VP9, Opus.
    Vp9Opus,
    /// H.264, FLAC.
    AvcFlac,
    /// H.264, AC-3.
    AvcAc3,
    /// H.264, E-AC-3.
    AvcEac3,
    /// H.264 in three sizes of the same pictures, as three video tracks, the largest first; AAC.
    Ladder,
}

impl Fixture {
    /// Those with sound that only Enhanced RTMP carries.
    pub const SOUNDS: [Self; 3] = [Self::AvcFlac, Self::AvcAc3, Self::AvcEac3];

    /// All others with one track of a kind.
    pub const ALL: [Self; 8] = [
        Self::AvcAac,
        Self::AvcBFramesAac,
        Self::AudioOnly,
        Self::VideoOnly,
        Self::AvcMp3,
        Self::HevcAac,
        Self::Av1Aac,
        Self::Vp9Opus,
    ];

    /// An FFmpeg that can make, publish and play it.
    pub fn ffmpeg(self) -> Ffmpeg {
        match self {
            Self::HevcAac | Self::Av1Aac | Self::Av1Opus | Self::Vp9Opus => Ffmpeg::Nine,
            Self::AvcFlac | Self::AvcAc3 | Self::AvcEac3 | Self::Ladder => Ffmpeg::Nine,
            _ => Ffmpeg::System,
        }
    }

    /// Whether it has pictures.
    pub fn has_video(self) -> bool {
        self != Self::AudioOnly
    }

    /// Whether it has sound.
    pub fn has_audio(self) -> bool {
        self != Self::VideoOnly
    }

    /// Its FLV file, made now if it was not yet. Tests that run at the same time wait for each other.
    ///
    /// # Panics
    /// If FFmpeg cannot make it.
    #[track_caller]
    pub fn file(self) -> PathBuf {
        let dir = kept().join("testmedia");
        let file = dir.join(format!("{self:?}-{VERSION}.flv").to_lowercase());
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let lock = File::create(dir.join("lock")).and_then(|lock| lock.lock().map(|()| lock));
        let _lock = lock.unwrap_or_else(|error| panic!("cannot lock {}: {error}", dir.display()));
        if !file.exists() {
            self.make(&file);
        }
        file
    }

    fn make(self, file: &Path) {
        // A test run that is cut leaves no half file under the final name.
        let unfinished = file.with_extension("part");
        let mut command = self.ffmpeg().command();
        command.arg("-y");
        self.options(&mut command);
        command.args(["-threads", "1", "-fflags", "+bitexact", "-f", "flv"]).arg(&unfinished);
        Process::start(&format!("FFmpeg for {self:?}"), &mut command).wait_success(MAKE_TIMEOUT);
        fs::rename(&unfinished, file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    fn options(self, command: &mut Command) {
        let (video, audio): (&[&[&str]], &[&str]) = match self {
            Self::AvcAac => (&[AVC, &["0"]], &["-c:a", "aac"]),
            Self::AvcBFramesAac => (&[AVC, &["2"]], &["-c:a", "aac"]),
            Self::AudioOnly => (&[], &["-c:a", "aac"]),
            Self::VideoOnly => (&[AVC, &["2"]], &[]),
            Self::AvcMp3 => (&[AVC, &["0"]], &["-c:a", "libmp3lame"]),
            Self::HevcAac => (&[HEVC], &["-c:a", "aac"]),
            Self::Av1Aac => (&[AV1], &["-c:a", "aac"]),
            Self::Av1Opus => (&[AV1], &["-c:a", "libopus", "-ar", "48000"]),
            Self::Vp9Opus => (&[VP9], &["-c:a", "libopus", "-ar", "48000"]),
            Self::AvcFlac => (&[AVC, &["2"]], &["-c:a", "flac", "-ar", "48000"]),
            Self::AvcAc3 => (&[AVC, &["0"]], &["-c:a", "ac3", "-ar", "48000"]),
            Self::AvcEac3 => (&[AVC, &["0"]], &["-c:a", "eac3", "-ar", "48000"]),
            Self::Ladder => (&[AVC, &["0"], LADDER], &["-c:a", "aac"]),
        };
        if self.has_video() {
            command.args(["-f", "lavfi", "-i", &picture()]);
        }
        if self.has_audio() {
            command.args(TONE);
        }
        command.args(["-t", &DURATION.as_secs().to_string()]);
        if self.has_video() {
            command.args(["-b:v", "200k"]).args(video.concat());
            command.args(["-g", "25", "-pix_fmt", "yuv420p"]);
        }
        if self.has_audio() {
            command.args(audio).args(["-b:a", "64k"]);
        }
    }
}

/// The test picture with its number.
fn picture() -> String {
    let bar = |bit: u32| {
        let (x, weight) = (40 * bit, 1 << bit);
        format!(",drawbox=x={x}:w=40:h=36:c=white:t=fill:enable='mod(floor(n/{weight})\\,2)'")
    };
    PICTURE.to_owned() + &(0..NUMBER_BITS).map(bar).collect::<String>()
}
