//! The fuzz targets of `fuzz/`: libFuzzer on the stable toolchain.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::Duration,
};

use crate::{
    Result,
    command::{cargo, create_dir, output, root, run as run_command, target_dir},
};

/// How long `cargo xtask fuzz` runs each target when nobody says otherwise.
pub const TIME: Duration = Duration::from_secs(60);

/// How long each target runs in the check: its corpus, which takes a second at most, and some 200,000 inputs made from
/// it. What needs more luck is looked for by hand, for hours: chance must not decide over a change.
const CHECK_TIME: Duration = Duration::from_secs(8);

/// Memory that a target may use before that counts as a finding: many times what its longest input should need.
const RSS_LIMIT_MB: u32 = 512;

/// Seconds that one input may take before that counts as a finding.
const INPUT_SECONDS: u32 = 5;

/// Lines of a failing target's log that are shown: the stack and libFuzzer's verdict.
const SHOWN_LINES: usize = 60;

/// What `cargo fuzz` passes on a nightly toolchain, spelled out for stable.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// One program of `fuzz/fuzz_targets`.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// The longest input worth trying.
    max_len: u32,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "chunk_reader", max_len: 16 * 1024 },
    Target { name: "amf0", max_len: 4 * 1024 },
    Target { name: "flv_tag", max_len: 16 * 1024 },
    Target { name: "server_session", max_len: 16 * 1024 },
    Target { name: "ts_segmenter", max_len: 8 * 1024 },
    Target { name: "mp4_muxer", max_len: 8 * 1024 },
    Target { name: "hls_playlist", max_len: 8 * 1024 },
    // A little more than a viewer may say.
    Target { name: "websocket", max_len: 17 * 1024 },
    Target { name: "conf", max_len: 4 * 1024 },
];

/// The target called `name`.
pub fn find(name: &str) -> Result<&'static Target> {
    TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        format!("no fuzz target {name:?}; the targets are {}", names.join(", "))
    })
}

/// Every target, as long as a check has for it.
pub fn all() -> Result {
    run(&TARGETS.iter().collect::<Vec<_>>(), CHECK_TIME)
}

/// Builds the targets and runs those asked for, as many at once as there are cores.
pub fn run(targets: &[&Target], time: Duration) -> Result {
    let programs = build()?;
    let queue = Mutex::new(targets.iter());
    let next = || queue.lock().map_or(None, |mut queue| queue.next());
    let worker = || {
        let mut failures = Vec::new();
        while let Some(target) = next() {
            failures.extend(target.run(&programs, time).err());
        }
        failures
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().flat_map(|worker| worker.join());
        joined.flatten().collect()
    });
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Builds every target and gives the folder they are in.
///
/// The platform is named, though it is the host's, because only then does cargo keep the coverage flags away from
/// build scripts, which do not link libFuzzer.
pub fn build() -> Result<PathBuf> {
    let version = output(Command::new("rustc").arg("-vV")).ok_or("cannot run rustc")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("`rustc -vV` names no host")?;
    let dir = target_dir().join("fuzz");
    run_command(
        cargo("build --release --manifest-path fuzz/Cargo.toml --target")
            .arg(host)
            .env("RUSTFLAGS", RUSTFLAGS)
            .env("CARGO_TARGET_DIR", &dir),
    )?;
    Ok(dir.join(host).join("release"))
}

impl Target {
    /// Fuzzes for `time`. New inputs go below the target folder; the committed corpus is only read.
    fn run(&self, programs: &Path, time: Duration) -> Result {
        let work = target_dir().join("fuzz-work").join(self.name);
        let corpus = work.join("corpus");
        create_dir(&corpus)?;
        let log = work.join("log");
        let mut command = Command::new(programs.join(self.name));
        command
            .args(self.options(time))
            .arg(format!("-artifact_prefix={}/", work.display()))
            .args([&corpus, &root().join("fuzz/corpus").join(self.name)]);
        let ended_well = run_logged(&mut command, &log)?;
        let text = fs::read_to_string(&log).unwrap_or_default();
        if !ended_well {
            eprintln!("{}", last_lines(&text, SHOWN_LINES));
            return Err(format!(
                "{} found something; the input is in {}",
                self.name,
                work.display()
            ));
        }
        println!("{:<16}{}", self.name, summary(&text));
        Ok(())
    }

    fn options(&self, time: Duration) -> [String; 4] {
        // To libFuzzer, 0 is no limit.
        let seconds = time.as_secs().max(1);
        [
            format!("-max_total_time={seconds}"),
            format!("-max_len={}", self.max_len),
            format!("-rss_limit_mb={RSS_LIMIT_MB}"),
            format!("-timeout={INPUT_SECONDS}"),
        ]
    }
}

/// Runs `command` with all its output in `log`; whether it ended well.
fn run_logged(command: &mut Command, log: &Path) -> Result<bool> {
    let describe = |error| format!("cannot run {}: {error}", command.get_program().display());
    let file = File::create(log).map_err(describe)?;
    let copy = file.try_clone().map_err(describe)?;
    let status = command.stdin(Stdio::null()).stdout(file).stderr(copy).status();
    Ok(status.map_err(|error| format!("cannot run a fuzz target: {error}"))?.success())
}

/// libFuzzer's own closing line (`Done 123 runs in 61 second(s)`) with the coverage reached.
fn summary(log: &str) -> String {
    let done = log.lines().rev().find(|line| line.starts_with("Done "));
    let coverage = log.lines().rev().find_map(|line| {
        let mut words = line.split_whitespace();
        words.find(|word| *word == "cov:")?;
        words.next()
    });
    format!("{}, {} edges covered", done.unwrap_or("done"), coverage.unwrap_or("no"))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_programs_and_corpora_that_exist() {
        for target in TARGETS {
            let name = target.name;
            let program = root().join(format!("fuzz/fuzz_targets/{name}.rs"));
            assert!(program.is_file(), "{} is missing", program.display());
            let corpus = root().join(format!("fuzz/corpus/{name}"));
            let inputs = corpus.read_dir().map_or(0, Iterator::count);
            assert!(inputs > 0, "{} has no input to start from", corpus.display());
        }
        let files = root().join("fuzz/fuzz_targets").read_dir().unwrap().flatten();
        let is_program = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
        let programs = files.filter(|file| is_program(&file.path())).count();
        assert_eq!(programs, TARGETS.len(), "fuzz_targets/ has a program that is not in TARGETS");
    }

    #[test]
    fn no_time_is_not_forever() {
        let options = TARGETS[0].options(Duration::ZERO);
        assert!(options.contains(&"-max_total_time=1".to_owned()), "{options:?}");
    }

    #[test]
    fn the_summary_is_the_last_coverage_and_the_closing_line() {
        let log = "#2 INITED cov: 5 ft: 6\n#9 NEW    cov: 12 ft: 20\nDone 99 runs in 2 second(s)\n";
        assert_eq!(summary(log), "Done 99 runs in 2 second(s), 12 edges covered");
    }

    #[test]
    fn a_failure_shows_the_end_of_the_log() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
