//! The steps of `cargo xtask test`: what must hold before a change is good.

use std::{
    fmt::Write as _,
    fs,
    path::{self, Path, PathBuf},
    process::Command,
    thread,
    time::Instant,
};

use crate::{
    Result,
    command::{cargo, output, root, run, target_dir},
    deny, deploy, fuzz, image,
    lane::{Lane, Priority, Program},
    monitoring, openapi, release,
    result::Outcome,
    tools,
};

/// One named part of the whole check.
pub struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result,
}

/// Every step, in the order in which a developer wants to learn of a failure: what is quick and simple first.
pub const STEPS: &[Step] = &[
    Step { name: "tools", about: "install what the tests need", run: tools::install },
    Step { name: "fmt", about: "formatting", run: fmt },
    Step {
        name: "deny",
        about: "licences, duplicates and sources of dependencies",
        run: deny::check,
    },
    Step { name: "build", about: "the tests, and the programs that they start", run: build },
    Step { name: "clippy", about: "lints, all targets", run: clippy },
    Step { name: "doc", about: "documentation builds without a warning", run: doc },
    Step { name: "unit", about: "unit, tidiness and end-to-end tests", run: tests },
    Step { name: "programs", about: "the optimized program", run: programs },
    Step { name: "targets", about: "the fuzz targets, built", run: targets },
    Step {
        name: "api",
        about: "every answer of the API against its document",
        run: openapi::check,
    },
    Step { name: "doctest", about: "examples in the documentation", run: doctests },
    Step { name: "deploy", about: "Kubernetes manifests, Helm chart", run: deploy::check },
    Step { name: "loom", about: "the hub under every thread interleaving", run: loom },
    Step { name: "fuzz", about: "every fuzz target from its corpus", run: fuzz::all },
    Step {
        name: "monitoring",
        about: "alerts and dashboard against a real Prometheus",
        run: monitoring::check,
    },
    Step { name: "release", about: "size, start-up and memory of the binary", run: release::check },
    Step { name: "image", about: "the OCI image, run as Kubernetes runs it", run: image::check },
];

/// Steps of the whole check that run side by side.
enum Part {
    /// One after another, with nothing else on the machine.
    Alone(&'static [&'static str]),
    /// Each list is a lane: one step after another in it, beside the other lanes.
    Together(&'static [&'static [&'static str]]),
}

/// What comes before everything else. Programs are installed while others are built.
const FIRST: Part = Part::Together(&[&["tools", "fmt", "deny"], &["build"]]);

/// Whatever takes minutes of a core and measures no time: it has the CPU while the steps before [`AFTER_GAPS`] leave it
/// idle, as the end of a build does, and most end-to-end tests.
const IN_THE_GAPS: &[&str] = &["programs"];

/// As [`IN_THE_GAPS`], once the tests need cargo no more: it builds in one place for one caller at a time. The last two
/// have places of their own, and would keep the program waiting, whose last minutes are one core's.
const LINTS: &[&str] = &["clippy", "doc", "doctest", "deploy", "targets", "loom"];

/// The step that leaves gaps.
const WITH_GAPS: &str = "unit";

/// The steps that need what was built in the gaps, or would fill them.
const AFTER_GAPS: &[Part] = &[
    Part::Together(&[&["api", "monitoring"], &["fuzz"]]),
    // How soon the program starts is measured here.
    Part::Alone(&["release", "image"]),
];

/// Runs the named steps one after another, or all of them as fast as they go, and says at the end what became of each.
pub fn test(names: &[&str]) -> Result {
    let outcomes =
        if names.is_empty() { whole()? } else { select(names)?.into_iter().map(perform).collect() };
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    println!("\n{}", table(&outcomes));
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    if failed == 0 { Ok(()) } else { Err("not every step passed; see above".into()) }
}

/// One step by itself, as a lane runs it.
pub fn step(name: &str) -> Result {
    let step = *select(&[name])?.first().ok_or("no step")?;
    perform(step).result
}

/// Every step.
fn whole() -> Result<Vec<Outcome>> {
    let program = Program::keep()?;
    let mut gaps = vec![Lane::start(&program, IN_THE_GAPS, Priority::Idle)];
    let mut outcomes = FIRST.perform(&program)?;
    let unit = select(&[WITH_GAPS])?[0];
    if let Some(built) = Built::list() {
        gaps.push(Lane::start(&program, LINTS, Priority::Idle));
        outcomes.push(timed(unit, || built.run()));
    } else {
        outcomes.extend(select(LINTS)?.into_iter().map(perform));
        outcomes.push(perform(unit));
    }
    outcomes.extend(gaps.into_iter().flat_map(Lane::finish));
    for part in AFTER_GAPS {
        outcomes.extend(part.perform(&program)?);
    }
    Ok(outcomes)
}

impl Part {
    fn perform(&self, program: &Program) -> Result<Vec<Outcome>> {
        match self {
            Self::Alone(names) => Ok(select(names)?.into_iter().map(perform).collect()),
            Self::Together(lanes) => {
                let start = |names: &&'static [_]| Lane::start(program, names, Priority::Usual);
                let lanes: Vec<_> = lanes.iter().map(start).collect();
                Ok(lanes.into_iter().flat_map(Lane::finish).collect())
            }
        }
    }
}

/// The rules between crates and the tidiness of the sources.
pub fn arrows() -> Result {
    run(&mut cargo("test --quiet --package xtask --test rules"))
}

/// The list of steps, a line each.
pub fn describe() -> String {
    STEPS.iter().fold(String::new(), |mut text, step| {
        let _ = writeln!(text, "  {:<10} {}", step.name, step.about);
        text
    })
}

fn select(names: &[&str]) -> Result<Vec<&'static Step>> {
    if names.is_empty() {
        return Ok(STEPS.iter().collect());
    }
    let find = |name: &&str| {
        let step = STEPS.iter().find(|step| step.name == *name);
        step.ok_or_else(|| format!("no step {name:?}; the steps are:\n{}", describe()))
    };
    names.iter().map(find).collect()
}

fn perform(step: &'static Step) -> Outcome {
    timed(step, step.run)
}

/// Runs `step` in another way than its own.
fn timed(step: &'static Step, run: impl FnOnce() -> Result) -> Outcome {
    println!("\n=== {}: {}", step.name, step.about);
    let start = Instant::now();
    let result = run();
    let took = start.elapsed();
    match &result {
        Ok(()) => println!("=== {} passed in {:.1} s", step.name, took.as_secs_f64()),
        Err(error) => println!("=== {} FAILED: {error}", step.name),
    }
    Outcome { name: step.name, took, result }
}

fn table(outcomes: &[Outcome]) -> String {
    outcomes.iter().fold(String::from("step         seconds  result\n"), |mut text, outcome| {
        let result = match &outcome.result {
            Ok(()) => "passed",
            Err(error) => error.lines().next().unwrap_or("failed"),
        };
        let _ =
            writeln!(text, "{:<10} {:>9.1}  {result}", outcome.name, outcome.took.as_secs_f64());
        text
    })
}

fn fmt() -> Result {
    run(&mut cargo("fmt --all --check"))?;
    run(&mut cargo("fmt --manifest-path fuzz/Cargo.toml --check"))
}

fn clippy() -> Result {
    run(&mut linted("check --workspace --all-targets"))
}

/// What it needs of our crates is what clippy left: without its wrapper cargo would check them a second time.
fn doc() -> Result {
    run(linted("doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings"))
}

/// As `cargo clippy -- -D warnings` does it, but for any command of cargo.
fn linted(args: &str) -> Command {
    let beside_rustc = output(Command::new("rustc").args(["--print", "sysroot"]))
        .map(|sysroot| Path::new(sysroot.trim()).join("bin/clippy-driver"))
        .filter(|driver| driver.is_file());
    let driver = beside_rustc.unwrap_or_else(|| PathBuf::from("clippy-driver"));
    let mut command = cargo(args);
    command
        .env("RUSTC_WORKSPACE_WRAPPER", driver)
        .env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
    command
}

/// The same that nextest builds, which may be missing yet.
fn build() -> Result {
    run(&mut cargo("test --workspace --no-run"))
}

/// With nextest where it is installed: it ends tests that hang and bounds how many end-to-end tests run at once
/// (`.config/nextest.toml`).
fn tests() -> Result {
    if has_nextest() {
        run(cargo("nextest run --workspace --test-threads").arg(test_threads()))
    } else {
        run(&mut cargo("test --workspace --lib --bins --tests --no-fail-fast"))
    }
}

fn has_nextest() -> bool {
    output(&mut cargo("nextest --version")).is_some()
}

/// Most of them wait: for encoders that send in real time, for timeouts, for servers that come back. With two for each
/// core, half of the time of the cores was idle.
fn test_threads() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (3 * cores).to_string()
}

/// Tests that are built, and can run while cargo builds something else.
struct Built {
    workspace: PathBuf,
    binaries: PathBuf,
}

impl Built {
    /// Where they are, as cargo says. None without nextest, and if they cannot be built, which `unit` says too.
    fn list() -> Option<Self> {
        let folder = target_dir().join("check");
        let list = |file: &str, command: &str| {
            let (path, text) = (folder.join(file), output(&mut cargo(command))?);
            fs::write(&path, text).ok()?;
            path::absolute(path).ok()
        };
        let workspace = list("workspace.json", "metadata --format-version 1 --no-deps")?;
        let binaries = list(
            "binaries.json",
            "nextest list --workspace --list-type binaries-only --message-format json",
        )?;
        Some(Self { workspace, binaries })
    }

    fn run(&self) -> Result {
        let mut nextest = cargo("nextest run");
        nextest.arg("--cargo-metadata").arg(&self.workspace);
        nextest.arg("--binaries-metadata").arg(&self.binaries);
        run(nextest.arg("--test-threads").arg(test_threads()))
    }
}

/// What the steps `release` and `image` run.
fn programs() -> Result {
    image::program().map(drop)
}

/// What the step `fuzz` runs.
fn targets() -> Result {
    fuzz::build().map(drop)
}

fn doctests() -> Result {
    run(&mut cargo("test --workspace --doc --quiet"))
}

/// In a folder of its own, because `--cfg loom` rebuilds every dependency. Building is what takes time, so little is
/// optimized.
fn loom() -> Result {
    let test = root().join("crates/hub/tests/loom.rs");
    if !test.is_file() {
        return Err(format!("{} is missing", test.display()));
    }
    run(cargo("test --package weir-hub --profile loom --test loom")
        .env("RUSTFLAGS", "--cfg loom")
        // Every interleaving with at most this many forced switches: seconds instead of hours, and few bugs need more.
        .env("LOOM_MAX_PREEMPTIONS", "2")
        .env("CARGO_TARGET_DIR", target_dir().join("loom")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_name_means_every_step() {
        assert_eq!(select(&[]).unwrap().len(), STEPS.len());
    }

    #[test]
    fn the_whole_check_is_each_step_once() {
        let named = |part: &Part| match part {
            Part::Alone(names) => names.to_vec(),
            Part::Together(lanes) => lanes.concat(),
        };
        let mut parts = [IN_THE_GAPS, LINTS, &[WITH_GAPS]].concat();
        parts.extend(named(&FIRST));
        parts.extend(AFTER_GAPS.iter().flat_map(named));
        parts.sort_unstable();
        let mut all: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        all.sort_unstable();
        assert_eq!(parts, all);
    }

    #[test]
    fn steps_run_in_the_order_asked_for() {
        let names: Vec<_> = select(&["loom", "fmt"]).unwrap().iter().map(|s| s.name).collect();
        assert_eq!(names, ["loom", "fmt"]);
    }

    #[test]
    fn an_unknown_step_is_named_and_the_known_ones_are_listed() {
        let Err(error) = select(&["fmt", "lint"]) else { panic!("`lint` is no step") };
        assert!(error.contains("\"lint\"") && error.contains("clippy"), "{error}");
    }

    #[test]
    fn the_table_has_a_line_for_each_step_with_the_first_line_of_its_error() {
        let took = Duration::from_millis(1500);
        let text = table(&[
            Outcome { name: "fmt", took, result: Ok(()) },
            Outcome { name: "doc", took, result: Err("a\nb".into()) },
        ]);
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(lines, ["fmt              1.5  passed", "doc              1.5  a"]);
    }
}
