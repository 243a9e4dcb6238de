//! The files that a configuration includes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use weir_conf::{Dialect, File, Files};

use super::{file, start::from_start};

/// Longest file: what a ConfigMap may hold. A thousand vhosts have a tenth of it.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// How many files of one folder a pattern of nginx may mean.
const MATCHES_MAX: usize = 128;

/// Files on this machine. A path that is not absolute begins in the working directory, as in SRS, or in the folder of
/// the file that has it.
#[derive(Debug)]
pub(super) struct Disk {
    dialect: Dialect,
}

impl Disk {
    pub(super) const fn new(dialect: Dialect) -> Self {
        Self { dialect }
    }

    fn places(&self, named: &str, by: &str) -> Vec<PathBuf> {
        let beside = Path::new(by).parent().unwrap_or(Path::new("")).join(named);
        let here = PathBuf::from(named);
        match self.dialect {
            Dialect::Srs => vec![here, beside],
            Dialect::Nginx => vec![beside, here],
        }
    }
}

impl Files for Disk {
    fn read(&mut self, named: &str, by: &str) -> Result<Vec<File>, String> {
        let places = self.places(named, by);
        if self.dialect == Dialect::Nginx && named.contains('*') {
            let all = places.iter().find_map(|place| matches(place)).unwrap_or_default();
            return all.iter().map(|path| read(path)).collect();
        }
        let there =
            places.iter().find(|place| from_start(place).exists()).or_else(|| places.first());
        there.map(|path| read(path)).into_iter().collect()
    }
}

fn read(path: &Path) -> Result<File, String> {
    let bytes = file::read(&from_start(path), CONFIG_BYTES_MAX).map_err(|why| why.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not valid UTF-8".to_owned())?;
    Ok(File { name: path.display().to_string(), text })
}

/// The files of a folder whose names match a pattern with one `*`, in the order of their names; nothing where there is
/// no such folder.
fn matches(pattern: &Path) -> Option<Vec<PathBuf>> {
    let name = pattern.file_name()?.to_str()?;
    let (begin, end) = name.split_once('*')?;
    let folder = pattern.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_one = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_long = name.len() >= begin.len() + end.len();
        is_long && name.starts_with(begin) && name.ends_with(end) && !name.starts_with('.')
    };
    let entries =
        fs::read_dir(from_start(folder)).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let mut all: Vec<_> = entries.filter(is_one).take(MATCHES_MAX).collect();
    all.sort();
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_the_files_of_a_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["b.conf", "a.conf", ".c.conf", "d.txt"] {
            fs::write(dir.path().join(name), name).expect("written");
        }
        let main = dir.path().join("nginx.conf").display().to_string();
        let mut disk = Disk::new(Dialect::Nginx);
        let texts = |found: Result<Vec<File>, String>| {
            found.map(|all| all.into_iter().map(|file| file.text).collect::<Vec<_>>())
        };
        assert_eq!(texts(disk.read("*.conf", &main)), Ok(vec!["a.conf".into(), "b.conf".into()]));
        assert_eq!(texts(disk.read("none/*.conf", &main)), Ok(vec![]));
        assert_eq!(texts(disk.read("d.txt", &main)), Ok(vec!["d.txt".into()]));
        assert_eq!(texts(Disk::new(Dialect::Srs).read("d.txt", &main)), Ok(vec!["d.txt".into()]));
        assert!(disk.read("none", &main).is_err());
        fs::write(dir.path().join("bad"), [0xff]).expect("written");
        assert_eq!(texts(disk.read("bad", &main)), Err("it is not valid UTF-8".into()));
    }
}
