//! Files of a ConfigMap, as the kubelet mounts and changes them.
//!
//! `FILE` is a link to `..data/FILE`, and `..data` a link to a folder with the present contents. A change writes a new
//! folder and renames a new link over `..data`: the file's own name never changes.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// One file of a ConfigMap in a folder.
#[derive(Debug)]
pub struct ConfigMap {
    dir: PathBuf,
    file: String,
    version: u32,
}

/// The link that is swapped.
const DATA: &str = "..data";

impl ConfigMap {
    /// Mounts `file` with this text in `dir`.
    ///
    /// # Panics
    /// If `dir` cannot be written to.
    pub fn mount(dir: &Path, file: &str, text: &str) -> Self {
        let mut map = Self { dir: dir.to_owned(), file: file.to_owned(), version: 0 };
        map.swap(text);
        let link = symlink(Path::new(DATA).join(file), dir.join(file));
        link.expect("a folder can be written to");
        map
    }

    /// Gives the file another text.
    ///
    /// # Panics
    /// If the folder cannot be written to.
    pub fn swap(&mut self, text: &str) {
        let folder = |version| format!("..2026_01_01_00_00_00.{version:09}");
        let old = self.dir.join(folder(self.version));
        self.version += 1;
        let new = folder(self.version);
        let at = self.dir.join(&new);
        let written = fs::create_dir(&at)
            .and_then(|()| fs::write(at.join(&self.file), text))
            .and_then(|()| {
                let link = self.dir.join("..data_tmp");
                symlink(&new, &link)?;
                fs::rename(link, self.dir.join(DATA))
            });
        written.expect("a folder can be written to");
        // There is none before the first one.
        let _ = fs::remove_dir_all(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_changes_behind_the_same_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("weir.yaml");
        let mut map = ConfigMap::mount(dir.path(), "weir.yaml", "one");
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");
        let link = fs::read_link(&file).unwrap();
        map.swap("two");
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(fs::read_link(&file).unwrap(), link);
        let folders = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(folders, 3, "the file, the link, and the present folder");
    }
}
