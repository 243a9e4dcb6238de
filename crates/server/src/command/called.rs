//! What the program is called as. The image has it at the paths of SRS as well, so that manifests, hooks and scripts
//! that were written for SRS find there what they call:
//!
//! ```text
//! /usr/local/srs/objs/srs            the server, with SRS's options            srs_options.rs
//! /usr/local/srs/etc/init.d/srs      stop, reload, grace ... of what runs      init.rs
//! /bin/sh                            one script, and no shell                  copy_files.rs
//! weir run-child                     the program that it is to become          weir-children
//! ```

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{
    copy_files, init,
    srs_options::{self, Asked},
};

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Called {
    /// What these words of Weir's command line say.
    Weir(Vec<OsString>),
    /// One of the commands of SRS's init script.
    Init(init::Action),
    /// What the script copies, and then to wait.
    Copy(copy_files::Script),
    /// To become the program that a server runs for a stream.
    Child(Vec<OsString>),
    /// To say this on stdout, and end.
    Say(String),
    /// To say this on stderr, and fail.
    Refuse(String),
}

impl Called {
    /// What `args` say; the first is the path by which the program was called.
    pub fn with(args: Vec<OsString>) -> Self {
        let path = args.first().map(Path::new).unwrap_or(Path::new(""));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        match (name, folder) {
            ("sh", _) => copy_files::read(&args[1..]).map_or_else(Self::Refuse, Self::Copy),
            ("srs", Some("init.d")) => init::read(&args[1..]).map_or_else(Self::Refuse, Self::Init),
            ("srs", _) => match srs_options::read(args) {
                Asked::Weir(words) => Self::Weir(words),
                Asked::Init(action) => Self::Init(action),
                Asked::Say(text) => Self::Say(text),
                Asked::Refuse(text) => Self::Refuse(text),
            },
            _ if args.get(1).is_some_and(|word| word == weir_children::WORD) => {
                Self::Child(args[2..].to_vec())
            }
            _ => Self::Weir(args),
        }
    }

    /// Does it, but for what `weir` does with words of its own.
    ///
    /// # Errors
    /// Gives the words of Weir's command line back.
    pub fn done(self) -> Result<ExitCode, Vec<OsString>> {
        Ok(match self {
            Self::Weir(words) => return Err(words),
            Self::Init(action) => init::run(action),
            Self::Child(words) => weir_children::enter(&words),
            Self::Copy(script) => copy_files::run(&script),
            Self::Say(text) => {
                println!("{text}");
                ExitCode::SUCCESS
            }
            Self::Refuse(text) => {
                eprintln!("{text}");
                ExitCode::FAILURE
            }
        })
    }
}

/// The folder that SRS runs in, in its image and in ours.
const HOME: &str = "/usr/local/srs";

/// The configuration that SRS's image is started with, from there.
const CONFIG: &str = "conf/srs.conf";

/// Whether the program was called as SRS.
pub fn is_srs(words: &[OsString]) -> bool {
    words.first().is_some_and(|path| Path::new(path).file_name().is_some_and(|name| name == "srs"))
}

/// The configuration that is meant when none is named: a ConfigMap of SRS's documentation is mounted there.
pub fn config_of_srs(is_srs: bool) -> Option<PathBuf> {
    let is_home = is_srs || env::current_dir().is_ok_and(|folder| folder == Path::new(HOME));
    Some(PathBuf::from(CONFIG)).filter(|file| is_home && file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(words: &str) -> Called {
        Called::with(words.split(' ').map(OsString::from).collect())
    }

    #[test]
    fn the_name_and_its_folder_decide() {
        let words = |words: &str| Called::Weir(words.split(' ').map(OsString::from).collect());
        assert_eq!(called("/weir serve"), words("/weir serve"));
        assert_eq!(called("weir"), words("weir"));
        assert_eq!(called("./objs/srs -c a.conf"), words("./objs/srs serve --config a.conf"));
        let grace = Called::Init(init::Action::Grace);
        assert_eq!(called("/usr/local/srs/etc/init.d/srs grace"), grace);
        assert_eq!(called("./srs grace"), grace, "in the folder of the script");
        assert_eq!(called("weir run-child 1 a"), Called::Child(vec!["1".into(), "a".into()]));
        assert!(matches!(called("/bin/sh"), Called::Refuse(_)));
        assert_eq!(Called::with(Vec::new()), Called::Weir(Vec::new()));
    }
}
