//! `cargo xtask image`: a static binary, and the OCI image around it, made without Docker and without the network.
//!
//! The image is what the last stage of the `Dockerfile` says: buildah runs those very lines, and this is in place of
//! the stage before it, which builds the program. So there is one description of the image and not two.

mod check;
mod files;
mod layout;
mod settings;
mod sizes;
mod units;
mod unpacked;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

pub use check::check;
use files::{copy, empty, read, remove_file, write};
use settings::last_stage;

use crate::{
    Result,
    command::{cargo, create_dir, output, root, run, target_dir},
    tools,
};

/// More than this and starting on a new node takes noticeably longer.
const BYTES_MAX: u64 = 20_000_000;

/// What the certificates of HTTPS servers are checked with; Debian's package `ca-certificates` has it.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// A program without a loader and libraries beside it. Its relocations are packed (RELR): a quarter of a megabyte less,
/// and whoever has no loader needs none that knows them.
const STATIC: &str = "-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs";

/// The image as a file.
struct Image {
    /// An `oci-archive`.
    archive: PathBuf,
    /// Its size.
    bytes: u64,
    /// The program in it, as it was built.
    program: PathBuf,
}

/// Builds the image and says where it is and how large.
pub fn task() -> Result {
    let Image { archive, bytes, .. } = build()?;
    println!("{}: {bytes} bytes, {}", archive.display(), layout::NAME);
    println!("into Docker:      docker load --input {}", archive.display());
    println!("into containerd:  ctr --namespace k8s.io images import {}", archive.display());
    println!(
        "into a registry:  skopeo copy oci-archive:{} docker://REGISTRY/weir:{}",
        archive.display(),
        layout::VERSION
    );
    Ok(())
}

fn build() -> Result<Image> {
    let program = program()?;
    tools::install_buildah()?;
    let work = work();
    let stage = work.join("stage");
    // What the first stage of the Dockerfile leaves in /image.
    empty(&stage.join("image"))?;
    create_dir(&stage.join("image/data"))?;
    copy(&program, &stage.join("image/root/weir"))?;
    copy(&Path::new("/").join(CERTIFICATES), &stage.join("image/root").join(CERTIFICATES))?;
    let dockerfile = work.join("Dockerfile");
    write(&dockerfile, last_stage(&read(&root().join("Dockerfile"))?)?)?;
    let (layout, archive) = (work.join("oci"), work.join("weir.tar"));
    // buildah adds to a layout that is there.
    empty(&layout)?;
    run(&mut buildah_build(&work, &stage, &dockerfile, &layout))?;
    layout::name(&layout)?;
    layout::pack(&layout, &archive, &timestamp())?;
    let bytes = fs::metadata(&archive).map_err(|error| format!("no image: {error}"))?.len();
    if bytes > BYTES_MAX {
        return Err(format!("the image has {bytes} bytes, over the budget of {BYTES_MAX}"));
    }
    Ok(Image { archive, bytes, program })
}

/// Builds the release binary without a dynamic loader and shared libraries, in a folder of its own, because other flags
/// rebuild every dependency; returns where it is.
pub fn program() -> Result<PathBuf> {
    let rustc = output(Command::new("rustc").arg("-vV")).ok_or("cannot run rustc")?;
    let target = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    let target = target.ok_or("rustc does not say what it builds for")?;
    let dir = target_dir().join("static");
    // With an explicit target the flags are not for procedural macros, which cannot be static.
    run(cargo("build --release --locked --package weir-server --bin weir --target")
        .arg(target)
        .env("RUSTFLAGS", STATIC)
        .env("CARGO_TARGET_DIR", &dir))?;
    Ok(dir.join(target).join("release/weir"))
}

/// buildah with all its files in `work`, so that it touches none of the user's images, and without a daemon.
fn buildah_build(work: &Path, stage: &Path, dockerfile: &Path, layout: &Path) -> Command {
    let mut command = Command::new("buildah");
    command.arg("--root").arg(work.join("storage")).arg("--runroot").arg(work.join("run"));
    command.args(["--storage-driver", "vfs", "build", "--isolation", "chroot", "--format", "oci"]);
    command.args(["--layers=false", "--timestamp", &timestamp()]);
    command.arg("--build-context").arg(prefixed("build=", stage));
    command.args(["--build-arg", concat!("VERSION=", env!("CARGO_PKG_VERSION"))]);
    command.arg("--ignorefile").arg(root().join(".dockerignore"));
    command.arg("--file").arg(dockerfile);
    command.arg("--tag").arg(prefixed("oci:", layout)).arg(root());
    command
}

fn prefixed(prefix: &str, path: &Path) -> String {
    format!("{prefix}{}", path.display())
}

/// Of every file of the image: the time of the commit, so that the same sources give the same image.
fn timestamp() -> String {
    let time = output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root()));
    time.map_or_else(|| "0".to_owned(), |time| time.trim().to_owned())
}

/// Where the image is made.
fn work() -> PathBuf {
    target_dir().join("image")
}
