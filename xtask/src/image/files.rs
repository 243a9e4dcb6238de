//! Files and folders on the way to the image.

use std::{fs, path::Path};

use crate::{Result, command::create_dir};

/// Makes an empty folder, whatever was there.
pub(super) fn empty(dir: &Path) -> Result {
    if dir.exists() {
        fs::remove_dir_all(dir)
            .map_err(|error| format!("cannot empty {}: {error}", dir.display()))?;
    }
    create_dir(dir)
}

pub(super) fn remove_file(file: &Path) -> Result {
    match fs::remove_file(file) {
        Err(error) if file.exists() => Err(format!("cannot remove {}: {error}", file.display())),
        _ => Ok(()),
    }
}

pub(super) fn copy(from: &Path, to: &Path) -> Result {
    if let Some(folder) = to.parent() {
        create_dir(folder)?;
    }
    let copied = fs::copy(from, to);
    copied
        .map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))?;
    Ok(())
}

pub(super) fn write(file: &Path, text: &str) -> Result {
    fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

pub(super) fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}
