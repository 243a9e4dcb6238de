//! Whether HLS can be written where a configuration says, tried out before it is in force.

use std::io;

use weir_config::{Config, Fault};
use weir_media::DEFAULT_VHOST;

use super::{
    disks::try_folder,
    layout::{playlist_template, segment_template},
};

/// A folder that HLS cannot be written to.
#[derive(Debug)]
pub struct BadFolder {
    /// What is the matter with it.
    pub fault: Fault,
    /// Whether it stays so until somebody mends it; a disk that is full or does not answer may not.
    pub is_lasting: bool,
}

/// The folders of HLS that are new in `config`, or all without one `before`, and cannot be written to. What is missing
/// is made if `makes`.
pub fn bad_folders(config: &Config, before: Option<&Config>, makes: bool) -> Vec<BadFolder> {
    let known = before.map(Config::hls_dirs).unwrap_or_default();
    let dirs = config.hls_dirs().into_iter().filter(|(dir, _)| !known.contains_key(dir));
    let dirs = dirs.filter_map(|(dir, path)| {
        let error = try_folder(&dir, makes).err()?;
        let what = format!("HLS cannot be written to {}: {error}", dir.display());
        let fix =
            "use a folder that this user can write to, or disable HLS (hls: { enabled: false })";
        Some(BadFolder { fault: Fault::new(path, what, fix), is_lasting: is_lasting(&error) })
    });
    bad_templates(config).into_iter().chain(dirs).collect()
}

/// The templates of paths that are none, be they used or not.
fn bad_templates(config: &Config) -> Vec<BadFolder> {
    let names = [DEFAULT_VHOST].into_iter().chain(config.vhosts.keys().map(String::as_str));
    let mut bad = Vec::new();
    for name in names {
        let hls = config.vhost(name).hls;
        let own = config.vhosts.get(name).map(|own| &own.hls);
        let mut say = |key: &str, is_own: bool, what: String, fix: &str| {
            let path =
                if is_own { format!("vhosts.{name}.hls.{key}") } else { format!("hls.{key}") };
            bad.push(BadFolder { fault: Fault::new(path, what, fix), is_lasting: true });
        };
        if let Err(what) = playlist_template(&hls.playlist_path) {
            let is_own = own.is_some_and(|own| own.playlist_path.is_some());
            say("playlist_path", is_own, what, "write a path such as {app}/{stream}/index.m3u8");
        }
        if let Err(what) = segment_template(&hls.segment_path) {
            let is_own = own.is_some_and(|own| own.segment_path.is_some());
            say("segment_path", is_own, what, "write a path such as {app}/{stream}-{number}.ts");
        }
    }
    bad
}

/// Whether an error stays until somebody mends what is wrong.
pub fn is_lasting(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, InvalidFilename, NotADirectory, NotFound, PermissionDenied,
        ReadOnlyFilesystem,
    };
    let lasting = [
        AlreadyExists,
        InvalidFilename,
        NotADirectory,
        NotFound,
        PermissionDenied,
        ReadOnlyFilesystem,
    ];
    lasting.contains(&error.kind())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, "a.yaml").expect("a configuration")
    }

    #[test]
    fn folders_that_cannot_be_are_named_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("file"), "").expect("written");
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).expect("a link");
        let at = |path: &str| {
            let config = config(&format!("hls: {{ dir: {}/{path} }}", dir.path().display()));
            bad_folders(&config, None, false)
        };
        for bad in ["file", "file/hls", "link", "link/hls"] {
            let found = at(bad);
            let is_named = found.iter().any(|it| it.fault.path == "hls.dir" && it.is_lasting);
            assert!(is_named, "{bad}: {found:?}");
        }
        for good in ["", "new", "not/there/yet"] {
            assert!(at(good).is_empty(), "{good}");
        }
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 2, "file and link");
        let file = dir.path().join("file");
        let vhost = format!("vhosts: {{ a.org: {{ hls: {{ dir: {} }} }} }}", file.display());
        let text = format!("hls: {{ dir: {} }}\n{vhost}", dir.path().display());
        let found = bad_folders(&config(&text), None, false);
        assert_eq!(found[0].fault.path, "vhosts.a.org.hls.dir");
        assert!(bad_folders(&config(&text), Some(&config(&text)), false).is_empty(), "in force");
        let template =
            |text: &str| bad_folders(&config(&format!("hls: {{ dir: '', {text} }}")), None, false);
        let bad = template("segment_path: '{stream}-{number}'");
        assert!(bad[0].fault.path == "hls.segment_path" && bad[0].is_lasting, "{bad:?}");
        assert_eq!(
            template("playlist_path: '{app}/{stream}-{date}'")[0].fault.path,
            "hls.playlist_path"
        );
        assert!(
            template(
                "segment_path: '[app]/[stream]-[seq].ts', playlist_path: '[vhost]/[app]/[stream]'"
            )
            .is_empty()
        );
        let off = format!("hls: {{ enabled: false, dir: {} }}", file.display());
        assert!(bad_folders(&config(&off), None, false).is_empty(), "nobody writes there");
    }
}
