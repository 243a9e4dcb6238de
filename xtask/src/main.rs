//! Weir's own tasks: everything that a developer or CI runs besides cargo itself.
//!
//! `cargo xtask test` is the whole check, in the steps of [`steps::STEPS`]; each of them can be run alone.

mod bench;
mod command;
mod console;
mod deny;
mod deploy;
mod fuzz;
mod image;
mod lane;
mod monitoring;
mod openapi;
mod release;
mod result;
mod steps;
mod tools;

use std::{env, process::ExitCode, time::Duration};

use result::Result;

const USAGE: &str = "\
Usage: cargo xtask <TASK>

  test [STEP...]               every step, or only the named ones
  fuzz [TARGET] [--seconds N]  one fuzz target, or all of them, for N seconds each
  bench [SUITE...] [--runs N] [--seconds N] [--beside WEIR]
                               Weir beside the bare loop and nginx-rtmp, and another build of it; results go to bench/
  image                        a static binary and an OCI image around it: target/image/weir.tar
  console                      packs the pages of crates/console/web, as they are in the program
  screenshots                  the pictures of the README: docs/images/*.png
  arrows                       the rules between crates and the tidiness of the sources";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["test", names @ ..] => steps::test(names),
        ["step", name] => steps::step(name),
        ["fuzz", rest @ ..] => {
            fuzz_arguments(rest).and_then(|(targets, time)| fuzz::run(&targets, time))
        }
        ["bench", rest @ ..] => {
            bench::Options::parse(rest).and_then(|options| bench::run(&options))
        }
        ["console"] => console::pack(),
        ["screenshots"] => console::screenshots(),
        ["image"] => image::task(),
        ["arrows"] => steps::arrows(),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}\n\nSteps of `test`:\n{}", steps::describe());
            Ok(())
        }
        _ => Err(format!("no such task\n{USAGE}\n\nSteps of `test`:\n{}", steps::describe())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The targets to fuzz and for how long each.
fn fuzz_arguments(args: &[&str]) -> Result<(Vec<&'static fuzz::Target>, Duration)> {
    let (mut targets, mut time) = (Vec::new(), fuzz::TIME);
    let mut args = args.iter();
    while let Some(&arg) = args.next() {
        if arg == "--seconds" {
            let value = args.next().ok_or("--seconds needs a number")?;
            let seconds = value.parse().map_err(|_| format!("--seconds {value}: not a number"))?;
            time = Duration::from_secs(seconds);
        } else {
            targets.push(fuzz::find(arg)?);
        }
    }
    if targets.is_empty() {
        targets.extend(fuzz::TARGETS);
    }
    Ok((targets, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &[&str]) -> Result<(Vec<&'static str>, u64)> {
        let (targets, time) = fuzz_arguments(args)?;
        Ok((targets.iter().map(|target| target.name).collect(), time.as_secs()))
    }

    #[test]
    fn fuzz_takes_a_target_and_a_time_in_any_order() {
        let expected = Ok((vec!["amf0"], 5));
        assert_eq!(names(&["amf0", "--seconds", "5"]), expected);
        assert_eq!(names(&["--seconds", "5", "amf0"]), expected);
    }

    #[test]
    fn fuzz_alone_is_every_target_for_the_usual_time() {
        let (targets, seconds) = names(&[]).unwrap();
        assert_eq!((targets.len(), seconds), (fuzz::TARGETS.len(), fuzz::TIME.as_secs()));
    }

    #[test]
    fn wrong_fuzz_arguments_are_named() {
        for (args, part) in
            [(["amf9"].as_slice(), "amf9"), (&["--seconds"], "needs"), (&["--seconds", "x"], "x")]
        {
            let error = names(args).unwrap_err();
            assert!(error.contains(part), "{args:?} gives {error:?}, which does not say {part:?}");
        }
    }
}
