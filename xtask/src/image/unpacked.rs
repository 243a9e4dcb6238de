//! The files of an image, as a container runtime lays them out.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::files::{empty, read};
use crate::{Result, command::run};

/// The links in it, and where they lead to: SRS's paths.
const LINKS: [(&str, &str); 4] = [
    ("/usr/local/srs/objs/srs", "/weir"),
    ("/usr/local/srs/etc/init.d/srs", "/weir"),
    ("/usr/local/srs/data", "/data"),
    ("/bin/sh", "/weir"),
];

/// An image that was unpacked.
pub struct Unpacked {
    /// Its files.
    pub root: PathBuf,
    /// Its configuration.
    pub config: Value,
    /// What the archive says is in it.
    pub index: Value,
}

impl Unpacked {
    /// Unpacks the layers of `archive` into folders below `work`.
    pub fn new(archive: &Path, work: &Path) -> Result<Self> {
        let (layout, root) = (work.join("layout"), work.join("root"));
        empty(&layout)?;
        empty(&root)?;
        run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&layout))?;
        let blob = |descriptor: &Value| -> Result<PathBuf> {
            let digest = descriptor["digest"].as_str().ok_or("a descriptor without a digest")?;
            Ok(layout.join("blobs").join(digest.replace(':', "/")))
        };
        let json = |file: &Path| -> Result<Value> {
            let text = read(file)?;
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
        };
        let index = json(&layout.join("index.json"))?;
        let manifest = json(&blob(&index["manifests"][0])?)?;
        for layer in manifest["layers"].as_array().ok_or("the image has no layers")? {
            // Owners are kept if we may; `--numeric-owner` because they are those of the image, not of this machine.
            run(Command::new("tar")
                .args(["--numeric-owner", "--same-permissions", "-xf"])
                .arg(blob(layer)?)
                .arg("-C")
                .arg(&root))?;
        }
        Ok(Self { config: json(&blob(&manifest["config"])?)?, root, index })
    }

    /// Requires that the links are there that lead from SRS's paths to ours, that `/weir` is the only program in it,
    /// that nobody gets rights by starting it, and that only `/data` is writable for others than root.
    pub fn check_files(&self, user: u32, owners_are_kept: bool) -> Result {
        let mut files = Vec::new();
        list(&self.root, &mut files)?;
        files.sort();
        let mut wrong = Vec::new();
        for (link, target) in LINKS {
            let to = fs::read_link(self.root.join(link.trim_start_matches('/')));
            if to.as_ref().is_ok_and(|to| to == Path::new(target)) {
                continue;
            }
            wrong.push(format!("{link} should lead to {target}: {to:?}"));
        }
        for file in &files {
            let name = Path::new("/").join(file.strip_prefix(&self.root).unwrap_or(file));
            let metadata = fs::symlink_metadata(file).map_err(|error| error.to_string())?;
            let (mode, is_file) = (metadata.permissions().mode(), metadata.is_file());
            println!("  {:o} {:>9} {}", mode & 0o7777, metadata.len(), name.display());
            let can_run = is_file && (mode & 0o111 != 0 || is_program(file)?);
            if can_run != (name == Path::new("/weir")) {
                wrong.push(format!("{} can be run", name.display()));
            }
            let is_link = LINKS.iter().any(|(link, _)| name == Path::new(link));
            if mode & 0o7000 != 0 || !(is_file || metadata.is_dir() || is_link) {
                wrong.push(format!("{} has mode {mode:o}", name.display()));
            }
            let owner = if name == Path::new("/data") { user } else { 0 };
            if owners_are_kept && (metadata.uid(), metadata.gid()) != (owner, owner) {
                wrong.push(format!("{} belongs to {}", name.display(), metadata.uid()));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }
}

/// Everything below `dir`.
fn list(dir: &Path, files: &mut Vec<PathBuf>) -> Result {
    let failed = |error: std::io::Error| format!("cannot list {}: {error}", dir.display());
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        files.push(entry.path());
        if entry.file_type().map_err(failed)?.is_dir() {
            list(&entry.path(), files)?;
        }
    }
    Ok(())
}

/// Whether the kernel could start it, whatever its mode says.
fn is_program(file: &Path) -> Result<bool> {
    let mut magic = Vec::new();
    let read = fs::File::open(file).and_then(|file| file.take(4).read_to_end(&mut magic));
    read.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(magic == b"\x7fELF" || magic.starts_with(b"#!"))
}
