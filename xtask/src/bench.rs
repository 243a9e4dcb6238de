//! `cargo xtask bench`: Weir beside the bare loop and nginx-rtmp, interleaved in one run.
//!
//! The server under test has CPU 0, the load has CPU 1. The figures of one case are the medians of its runs; ratios are
//! what counts, since the machine is shared. CPU time includes the kernel's softirq threads.

mod case;
mod programs;
mod report;
mod server;
mod tls;

use std::path::PathBuf;

use serde_json::Value;

use self::{
    case::{Case, SUITES, Suite},
    programs::Programs,
    report::Outcome,
};
use crate::{
    Result,
    command::{cargo, run as run_command, target_dir},
    tools,
};

/// What the command line asks for.
pub struct Options {
    suites: Vec<&'static Suite>,
    runs: usize,
    seconds: u32,
    beside: Option<PathBuf>,
}

impl Options {
    /// `[SUITE...] [--runs N] [--seconds N] [--beside PROGRAM]`.
    pub fn parse(args: &[&str]) -> Result<Self> {
        let mut options = Self { suites: Vec::new(), runs: 5, seconds: 4, beside: None };
        let mut args = args.iter();
        while let Some(&arg) = args.next() {
            if arg == "--beside" {
                let program = PathBuf::from(args.next().ok_or("--beside needs another `weir`")?);
                if !program.is_file() {
                    return Err(format!(
                        "--beside {}: there is no such program",
                        program.display()
                    ));
                }
                options.beside = Some(program);
                continue;
            }
            let mut number = || {
                let value = args.next().ok_or(format!("{arg} needs a number"))?;
                value.parse::<u32>().map_err(|_| format!("{arg} {value}: not a number"))
            };
            match arg {
                "--runs" => options.runs = number()?.max(1) as usize,
                "--seconds" => options.seconds = number()?.max(1),
                name => options.suites.push(find(name)?),
            }
        }
        if options.suites.is_empty() {
            options.suites.extend(SUITES);
        }
        Ok(options)
    }
}

fn find(name: &str) -> Result<&'static Suite> {
    SUITES.iter().find(|suite| suite.name == name).ok_or_else(|| {
        let names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        format!("no benchmark `{name}`; there are: {}", names.join(", "))
    })
}

/// Measures, prints the tables, and keeps them in `bench/`.
pub fn run(options: &Options) -> Result {
    tools::install_nginx()?;
    run_command(&mut cargo("build --release --package weir-server --package weir-load --bins"))?;
    let built = |name: &str| target_dir().join("release").join(name);
    let programs = Programs {
        weir: built("weir"),
        beside: options.beside.clone(),
        load: built("weir-load"),
        nginx: tools::nginx_rtmp(),
    };
    if programs.nginx.is_none() {
        println!("nginx with its RTMP module is not installed: its lines are left out");
    }
    for suite in &options.suites {
        println!("\n{}: {}", suite.name, suite.what);
        let outcomes = measure(suite, &programs, options)?;
        let table = report::table(&outcomes);
        println!("{table}");
        report::keep(suite, &table, &outcomes)?;
    }
    Ok(())
}

/// Every case of the suite in turn, as often as asked.
fn measure(suite: &'static Suite, programs: &Programs, options: &Options) -> Result<Vec<Outcome>> {
    let mut cases = (suite.cases)();
    if programs.beside.is_some() {
        cases = cases.into_iter().zip((suite.cases)()).flat_map(Case::with_twin).collect();
    }
    let mut outcomes: Vec<Outcome> = cases.into_iter().map(Outcome::new).collect();
    outcomes.retain(|outcome| outcome.case.can_run(programs));
    for round in 1..=options.runs {
        for outcome in &mut outcomes {
            let value = run_case(&outcome.case, programs, options.seconds)?;
            eprintln!("{} {round}/{}: {value}", outcome.case.name, options.runs);
            outcome.runs.push(value);
        }
    }
    Ok(outcomes)
}

fn run_case(case: &Case, programs: &Programs, seconds: u32) -> Result<Value> {
    let programs = if case.beside { programs.other() } else { programs.clone() };
    let server = server::Server::start(&case.server, &programs)?;
    case.load.run(&server, &programs, seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_suites_and_numbers() {
        let options = Options::parse(&["memory", "--runs", "3", "fanout"]).unwrap();
        let names: Vec<_> = options.suites.iter().map(|suite| suite.name).collect();
        assert_eq!((names, options.runs), (vec!["memory", "fanout"], 3));
        assert_eq!(Options::parse(&[]).unwrap().suites.len(), SUITES.len());
        assert!(Options::parse(&["fun"]).err().unwrap().contains("fanout"));
        assert!(Options::parse(&["--beside", "no/such/weir"]).err().unwrap().contains("no/such"));
    }

    #[test]
    fn another_build_runs_each_case_of_weir_and_no_other() {
        let cases = || SUITES.iter().flat_map(|suite| (suite.cases)());
        let weirs = cases().filter(|case| case.server.is_weir()).count();
        let all: Vec<_> = cases().zip(cases()).flat_map(Case::with_twin).collect();
        assert_eq!(all.iter().filter(|case| case.beside).count(), weirs);
        for pair in all.windows(2).filter(|pair| pair[1].beside) {
            assert_eq!(pair[1].base.as_deref(), Some(pair[0].name.as_str()));
        }
    }
}
