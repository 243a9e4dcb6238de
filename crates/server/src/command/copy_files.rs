//! `/bin/sh` of the image. It is no shell: it knows the one script that the manifests of SRS's documentation run beside
//! the server, recognises it word by word, and does what it says; all else is refused
//! (`docs/adr/0062-paths-of-srs.md`).
//!
//! ```text
//! if [[ ! -f DIR/index.html ]]; then
//!   cp -R ./objs/nginx/html/* DIR
//! fi &&
//! sleep infinity
//! ```

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use tokio::signal::unix::{SignalKind, signal};

/// What the script has: where the files are to go. They come from `./objs/nginx/html`.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    to: PathBuf,
}

/// Where the files come from.
const FROM: &str = "objs/nginx/html";

/// Longer scripts are none of those that are known.
const SCRIPT_BYTES_MAX: usize = 1024;

/// Folders within folders, and files in all: the image has none, and whoever mounts some there has a page or two.
const DEPTH_MAX: usize = 8;
const FILES_MAX: usize = 1000;

const NO_SHELL: &str = "\
error: this image has no shell; this program only knows the `srs-cp-files` script of SRS's documentation
help: `kubectl debug --image=busybox` looks into a running container; `weir help` says what there is here";

/// What the words behind the path of the shell say.
///
/// # Errors
/// Says that there is no shell.
pub fn read(words: &[OsString]) -> Result<Script, String> {
    let script = match words {
        [option, script] if option == "-c" => script.to_str().and_then(script_of),
        _ => None,
    };
    script.ok_or_else(|| NO_SHELL.to_owned())
}

/// The script, if it is the one that is known: all its words are, but for the folder. Between `then`, the copy, `fi`
/// and `sleep` may stand what a shell takes for the end of a command there.
fn script_of(text: &str) -> Option<Script> {
    if text.len() > SCRIPT_BYTES_MAX {
        return None;
    }
    // Signs that end commands are words of their own.
    let text = text.replace("&&", " && ").replace(';', " ; ").replace('\n', " \n ");
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty()).peekable();
    let mut next = || {
        // An end of a line is an end of a command only where one can end.
        words.find(|word| *word != "\n")
    };
    for word in ["if", "[[", "!", "-f"] {
        (next()? == word).then_some(())?;
    }
    let file = next()?;
    let to = file.strip_suffix("/index.html").filter(|to| is_folder(to))?;
    (next()? == "]]").then_some(())?;
    let mut word = next()?;
    if word == ";" {
        word = next()?;
    }
    (word == "then").then_some(())?;
    for word in ["cp", "-R"] {
        (next()? == word).then_some(())?;
    }
    let from = next()?;
    (from.strip_prefix("./").unwrap_or(from) == "objs/nginx/html/*").then_some(())?;
    (next()?.trim_end_matches('/') == to).then_some(())?;
    let mut word = next()?;
    if word == ";" {
        word = next()?;
    }
    (word == "fi").then_some(())?;
    let mut word = next()?;
    if word == "&&" || word == ";" {
        word = next()?;
    }
    (word == "sleep" && next()? == "infinity" && next().is_none()).then_some(())?;
    Some(Script { to: to.into() })
}

/// A plain path from the root: nothing that means more to a shell.
fn is_folder(path: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ['/', '-', '_', '.'].contains(&c);
    path.len() > 1 && path.starts_with('/') && path.chars().all(is_plain) && !path.contains("..")
}

/// Does what `script` says: copies, and sleeps until the container ends.
pub fn run(script: &Script) -> ExitCode {
    if !script.to.join("index.html").is_file() {
        let mut files = FILES_MAX;
        // Where there is nothing to be copied, the volume stays as it is: what the server writes there is what is
        // served.
        match copy(Path::new(FROM), &script.to, DEPTH_MAX, &mut files) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                eprintln!("error: cannot copy {FROM} to {}: {error}", script.to.display());
                return ExitCode::FAILURE;
            }
            _ => {}
        }
    }
    match sleep() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Copies what is below `from`: files and folders, and nothing else that there may be.
fn copy(from: &Path, to: &Path, depth: usize, files: &mut usize) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() && depth > 0 {
            match fs::create_dir(&to) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => copy(&entry.path(), &to, depth - 1, files)?,
            }
        } else if kind.is_file() {
            *files = files.checked_sub(1).ok_or_else(|| io::Error::other("too many files"))?;
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

/// Waits until somebody ends the process. As process 1 it hears only what it asks for.
fn sleep() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTED: &str = "if [[ ! -f /tmp/html/index.html ]]; then\n  cp -R ./objs/nginx/html/* /tmp/html\nfi &&\n\
                              sleep infinity\n";

    #[test]
    fn the_script_is_recognised_however_it_is_folded() {
        let known = Some(Script { to: "/tmp/html".into() });
        for text in [
            DOCUMENTED,
            // As YAML folds it: with and without deeper lines.
            "if [[ ! -f /tmp/html/index.html ]]; then cp -R ./objs/nginx/html/* /tmp/html fi && sleep infinity",
            "if [[ ! -f /tmp/html/index.html ]]; then cp -R ./objs/nginx/html/* /tmp/html; fi; sleep infinity",
            "if [[ ! -f /tmp/html/index.html ]]\nthen cp -R objs/nginx/html/* /tmp/html/\nfi\nsleep infinity",
        ] {
            assert_eq!(script_of(text), known, "{text}");
        }
        let other = DOCUMENTED.replace("/tmp/html", "/data");
        assert_eq!(script_of(&other), Some(Script { to: "/data".into() }));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "sleep infinity",
            "id",
            &DOCUMENTED.replace("sleep infinity", "sleep infinity; id"),
            &DOCUMENTED.replace("sleep infinity", "sleep 5"),
            &DOCUMENTED.replace("cp -R", "cp -R -f"),
            &DOCUMENTED.replace("./objs/nginx/html/*", "/etc/*"),
            &DOCUMENTED.replace("/tmp/html/index", "/etc/index"),
            &DOCUMENTED.replace("/tmp/html", "/tmp/../etc"),
            &DOCUMENTED.replace("/tmp/html", "$(id)"),
            &DOCUMENTED.replace("/tmp/html", "tmp/html"),
            &DOCUMENTED.replace("/tmp/html", "/"),
            &DOCUMENTED.replace("/tmp/html", "/tmp/`id`"),
            &DOCUMENTED.replace("!", ""),
            &format!("{DOCUMENTED}{}", " ".repeat(SCRIPT_BYTES_MAX)),
        ] {
            assert_eq!(script_of(text), None, "{text}");
        }
        let words = |words: &[&str]| read(&words.iter().map(OsString::from).collect::<Vec<_>>());
        for refused in
            [&[][..], &["-c"], &["-i"], &["-c", "id"], &["x.sh"], &["-c", DOCUMENTED, "x"]]
        {
            assert!(words(refused).is_err(), "{refused:?}");
        }
        assert!(words(&["-c", DOCUMENTED]).is_ok());
    }

    #[test]
    fn files_and_folders_are_copied_and_links_are_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("players")).expect("created");
        fs::create_dir(&to).expect("created");
        fs::write(from.join("index.html"), "page").expect("written");
        fs::write(from.join("players/a.js"), "script").expect("written");
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).expect("linked");
        copy(&from, &to, DEPTH_MAX, &mut FILES_MAX.clone()).expect("copied");
        assert_eq!(fs::read_to_string(to.join("index.html")).expect("a file"), "page");
        assert_eq!(fs::read_to_string(to.join("players/a.js")).expect("a file"), "script");
        assert!(!to.join("link").exists());
        assert!(copy(&from, &to, DEPTH_MAX, &mut 1).is_err(), "there is a bound");
    }
}
