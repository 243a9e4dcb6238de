//! The two FFmpegs that Weir has to get on with: the system's, and FFmpeg 9 with its Enhanced RTMP.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{kept, process::Process};

/// One of the FFmpegs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ffmpeg {
    /// The one on the `PATH`: Debian's 5.1 or later. Knows H.264, AAC and MP3 in FLV.
    System,
    /// FFmpeg 9: HEVC, AV1, VP9 and Opus in FLV as well. `WEIR_FFMPEG9` may say where it is.
    Nine,
}

impl Ffmpeg {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::System, Self::Nine];

    /// The program.
    ///
    /// # Panics
    /// If FFmpeg 9 is not installed.
    #[track_caller]
    pub fn program(self) -> PathBuf {
        match self {
            Self::System => "ffmpeg".into(),
            Self::Nine => env::var_os("WEIR_FFMPEG9").map(PathBuf::from).or_else(installed_nine).expect(
                "no FFmpeg 9: install it with `cargo xtask test tools`, or name it in WEIR_FFMPEG9",
            ),
        }
    }

    /// The program, told to print nothing but errors and to ask nothing.
    #[track_caller]
    pub fn command(self) -> Command {
        let mut command = Command::new(self.program());
        command.args(["-hide_banner", "-nostdin", "-loglevel", "error"]);
        command
    }

    /// The same, trusting the authority in the PEM file `ca`, for each server of HLS too.
    #[track_caller]
    pub fn trusting(self, ca: &Path) -> Command {
        let mut command = self.command();
        command.env("SSL_CERT_FILE", ca);
        command
    }

    /// Publishes `file` to `url` as it is, in real time, until its end.
    #[track_caller]
    pub fn publish(self, file: &Path, url: &str) -> Process {
        self.publish_with(&[], file, url)
    }

    /// As [`publish`](Self::publish), with options before the input, such as `-stream_loop -1`.
    #[track_caller]
    pub fn publish_with(self, options: &[&str], file: &Path, url: &str) -> Process {
        self.publish_by(self.command(), options, file, url)
    }

    /// As [`publish`](Self::publish), to a server that has a certificate of the authority in the PEM file `ca`.
    #[track_caller]
    pub fn publish_trusting(self, file: &Path, url: &str, ca: &Path) -> Process {
        self.publish_by(self.trusting(ca), &[], file, url)
    }

    #[track_caller]
    fn publish_by(self, mut command: Command, options: &[&str], file: &Path, url: &str) -> Process {
        command.arg("-re").args(options).arg("-i").arg(file);
        command.args(["-map", "0", "-c", "copy", "-f", "flv", url]);
        Process::start(&format!("{self:?} publisher"), &mut command)
    }
}

/// Where `cargo xtask test tools` puts it.
fn installed_nine() -> Option<PathBuf> {
    let dir = kept().join("tools/ffmpeg9/imageio_ffmpeg/binaries").read_dir().ok()?;
    let mut files = dir.filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|file| {
        file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ffmpeg-"))
    })
}
