//! HLS in fragmented MP4, with parts: the packets that were published come out of segments and of parts, the playlists
//! keep the rules, and nothing of it is damaged.

mod encrypted;
mod packets;
mod unbroken;

use std::{fs, path::Path, time::Duration};

use tempfile::TempDir;
use weir_testkit::{Weir, ffmpeg::Ffmpeg, hls_client::Run, process::Process};

/// For the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(60);

fn start(config: &str) -> Weir {
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(config).start()
}

/// A file with the init segment and the segments of a run.
fn file_of(run: &Run, folder: &TempDir, name: &str) -> std::path::PathBuf {
    let file = folder.path().join(name);
    fs::write(&file, &run.data).expect("a temporary folder can be written to");
    file
}

/// Whether FFmpeg decodes a file without a complaint.
fn decode(file: &Path) -> Result<(), String> {
    let mut command = Ffmpeg::Nine.command();
    command.args(["-xerror", "-i"]).arg(file).args(["-f", "null", "-"]);
    let mut ffmpeg = Process::start("a decoder", &mut command);
    let status = ffmpeg.wait(TIMEOUT);
    let said = ffmpeg.stderr().to_string();
    let is_good = status.success() && said.trim().is_empty();
    if is_good { Ok(()) } else { Err(format!("the decoder ended with {status}: {said}")) }
}
