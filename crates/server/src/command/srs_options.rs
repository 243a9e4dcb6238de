//! The command line of SRS, in the words of ours.

use std::ffi::OsString;

use super::init::{self, Action};

const USAGE: &str = "\
usage: srs -c FILE | -e | -t -c FILE | -v | -h

  -c FILE   run the server with this configuration
  -e        run it with what environment variables say, and without a file
  -t        check the configuration, and do not run
  -v        print the version
  -h        print this

This is Weir, called by the name of SRS. All commands of `weir` are understood as well: srs help.";

/// What they say.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// What these words of Weir's command line say.
    Weir(Vec<OsString>),
    /// One of the commands of SRS's init script.
    Init(Action),
    /// To say this on stdout, and end.
    Say(String),
    /// To say this on stderr, and fail.
    Refuse(String),
}

/// What `args` say; the first is the path of the program.
pub fn read(mut args: Vec<OsString>) -> Asked {
    let words: Vec<_> =
        args.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(word) = words.first() {
        // The folder of the script is not always in the path that it was called by.
        if Action::of(word).is_some_and(|action| !action.is_of_weir()) {
            return init::read(&args[1..]).map_or_else(Asked::Refuse, Asked::Init);
        }
        if !word.starts_with('-') || word.starts_with("--") {
            return Asked::Weir(args);
        }
    }
    let (mut file, mut is_check, mut is_env) = (None, false, false);
    let mut rest = words.iter().enumerate();
    while let Some((_, word)) = rest.next() {
        match &**word {
            "-c" | "-C" => match rest.next() {
                // Behind the path of the program.
                Some((at, _)) => file = args.get(at + 1).cloned(),
                None => return refuse("-c needs the path of a file"),
            },
            "-e" | "-E" => is_env = true,
            "-t" | "-T" => is_check = true,
            "-v" | "-V" => return Asked::Say(env!("CARGO_PKG_VERSION").to_owned()),
            "-g" | "-G" => return Asked::Say("Weir".to_owned()),
            "-h" | "-?" => return Asked::Say(USAGE.to_owned()),
            word => return refuse(&format!("unknown option `{word}`")),
        }
    }
    let program = if args.is_empty() { OsString::from("srs") } else { args.swap_remove(0) };
    let mut words = vec![program, if is_check { "check" } else { "serve" }.into()];
    if let Some(file) = file {
        words.extend(["--config".into(), file]);
    } else if is_env {
        words.push("--srs-env".into());
    }
    Asked::Weir(words)
}

fn refuse(what: &str) -> Asked {
    Asked::Refuse(format!("error: {what}\n\n{USAGE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str) -> Asked {
        read(words.split(' ').map(OsString::from).collect())
    }

    #[test]
    fn options_of_srs_are_commands_of_weir() {
        let words = |words: &str| Asked::Weir(words.split(' ').map(OsString::from).collect());
        assert_eq!(of("srs"), words("srs serve"));
        assert_eq!(of("srs -c conf/srs.conf"), words("srs serve --config conf/srs.conf"));
        assert_eq!(of("srs -e"), words("srs serve --srs-env"));
        assert_eq!(of("srs -e -t"), words("srs check --srs-env"));
        assert_eq!(of("srs -e -c a.conf"), words("srs serve --config a.conf"));
        assert_eq!(of("srs -t -c a.conf"), words("srs check --config a.conf"));
        assert_eq!(of("srs -c a.conf -t"), words("srs check --config a.conf"));
        assert_eq!(of("srs serve --replace"), words("srs serve --replace"));
        assert_eq!(of("srs --help"), words("srs --help"));
        assert_eq!(of("srs status"), words("srs status"), "of Weir, which says more");
        assert_eq!(of("srs -v"), Asked::Say(env!("CARGO_PKG_VERSION").to_owned()));
        assert!(matches!(of("srs -h"), Asked::Say(_)));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for words in ["srs -c", "srs -x", "srs -e -c"] {
            assert!(matches!(of(words), Asked::Refuse(_)), "{words}");
        }
    }
}
