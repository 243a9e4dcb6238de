//! Medians, tables, and where they are kept.

use std::{
    fmt::Write as _,
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::case::{Case, Suite};
use crate::{
    Result,
    command::{create_dir, root},
};

/// The runs of one case.
pub struct Outcome {
    /// What was run.
    pub case: Case,
    /// What each run printed.
    pub runs: Vec<Value>,
}

impl Outcome {
    /// A case that has not run yet.
    pub fn new(case: Case) -> Self {
        Self { case, runs: Vec::new() }
    }

    /// The figure at `pointer` in each run, smallest first.
    fn figures(&self, pointer: &str) -> Vec<f64> {
        let mut figures: Vec<f64> =
            self.runs.iter().filter_map(|run| run.pointer(pointer)?.as_f64()).collect();
        figures.sort_by(f64::total_cmp);
        figures
    }

    fn median(&self, pointer: &str) -> Option<f64> {
        let figures = self.figures(pointer);
        figures.get(figures.len() / 2).copied()
    }

    /// CPU seconds per GB delivered, or per publisher and hour where nothing is delivered.
    fn cost(&self) -> Option<f64> {
        self.median("/cpu_per_gb").or_else(|| {
            let total = self.median("/cpu")? + self.median("/softirq")?;
            Some(total / self.median("/seconds")? * 100.0)
        })
    }
}

/// The table of a suite, in Markdown.
pub fn table(outcomes: &[Outcome]) -> String {
    if outcomes.iter().any(|outcome| outcome.median("/publishers").is_some()) {
        return ingest_table(outcomes);
    }
    if outcomes.iter().any(|outcome| outcome.median("/requests").is_some()) {
        return request_table(outcomes);
    }
    let mut text = String::from(
        "| case | CPU-s/GB (min-max) | of base | latency p50 / p99 / max, ms | playing / failed / cut \
         | least, % | gap max, ms | KiB a viewer |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for outcome in outcomes {
        let at = |pointer: &str| outcome.median(pointer).unwrap_or_default();
        let memory = (at("/rss") - at("/rss_before")) / at("/playing").max(1.0);
        let storm = match at("/storm_join/count") {
            0.0 => String::new(),
            count => format!(
                ", storm joins p50 {:.0} / p99 {:.0} / max {:.0} ms of {count}",
                at("/storm_join/p50"),
                at("/storm_join/p99"),
                at("/storm_join/max")
            ),
        };
        let polls = match at("/polls/requests") {
            0.0 => String::new(),
            count => format!(
                ", {count} playlists p50 {:.1} / p99 {:.1} / max {:.1} ms, {} failed",
                at("/polls/latency/p50"),
                at("/polls/latency/p99"),
                at("/polls/latency/max"),
                at("/polls/failed")
            ),
        };
        let _ = writeln!(
            text,
            "| {}{storm}{polls} | {} | {} | {:.1} / {:.1} / {:.1} | {} / {} / {} | {:.0} | {:.0} | {memory:.2} |",
            outcome.case.name,
            spread(outcome, "/cpu_per_gb"),
            ratio(outcome, outcomes),
            at("/latency/p50"),
            at("/latency/p99"),
            at("/latency/max"),
            at("/playing"),
            at("/failed"),
            at("/cut"),
            at("/least") * 100.0,
            at("/longest_gap"),
        );
    }
    text
}

fn request_table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| case | CPU us an answer (min-max) | CPU-s/GB | of base | answers a second | p50 / p99 / max, ms | failed |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for outcome in outcomes {
        let at = |pointer: &str| outcome.median(pointer).unwrap_or_default();
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {} | {:.0} | {:.1} / {:.1} / {:.1} | {} |",
            outcome.case.name,
            spread(outcome, "/cpu_per_request"),
            at("/cpu_per_gb"),
            ratio(outcome, outcomes),
            at("/requests") / at("/seconds").max(1e-9),
            at("/latency/p50"),
            at("/latency/p99"),
            at("/latency/max"),
            at("/failed"),
        );
    }
    text
}

fn ingest_table(outcomes: &[Outcome]) -> String {
    let mut text =
        String::from("| case | % of a core | of base | KiB a publisher |\n|---|---|---|---|\n");
    for outcome in outcomes {
        let at = |pointer: &str| outcome.median(pointer).unwrap_or_default();
        let memory = (at("/rss") - at("/rss_before")) / at("/publishers").max(1.0);
        let cost = outcome.cost().unwrap_or_default();
        let _ = writeln!(
            text,
            "| {} | {cost:.1} | {} | {memory:.0} |",
            outcome.case.name,
            ratio(outcome, outcomes)
        );
    }
    text
}

fn spread(outcome: &Outcome, pointer: &str) -> String {
    let figures = outcome.figures(pointer);
    match (figures.first(), figures.get(figures.len() / 2), figures.last()) {
        (Some(least), Some(median), Some(most)) => format!("{median:.2} ({least:.2}-{most:.2})"),
        _ => "-".to_owned(),
    }
}

/// The median of the ratios run by run: each run's base was measured in the same minute.
fn ratio(outcome: &Outcome, outcomes: &[Outcome]) -> String {
    let Some(base) = outcome
        .case
        .base
        .as_ref()
        .and_then(|name| outcomes.iter().find(|other| other.case.name == *name))
    else {
        return String::new();
    };
    let cost = |run: &Value| {
        let at = |pointer: &str| run.pointer(pointer).and_then(Value::as_f64);
        at("/cpu_per_request")
            .or_else(|| at("/cpu_per_gb"))
            .or_else(|| Some((at("/cpu")? + at("/softirq")?) / at("/seconds")?))
    };
    let pairs = outcome.runs.iter().zip(&base.runs);
    let mut ratios: Vec<f64> =
        pairs.filter_map(|(run, base)| Some(cost(run)? / cost(base)?)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios
        .get(ratios.len() / 2)
        .map_or_else(String::new, |ratio| format!("{ratio:.2} x {}", base.case.name))
}

/// Keeps the raw figures in `bench/runs` and the table in `bench/README.md`.
pub fn keep(suite: &Suite, table: &str, outcomes: &[Outcome]) -> Result {
    let bench = root().join("bench");
    create_dir(&bench.join("runs"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let cases: Vec<Value> = outcomes
        .iter()
        .map(|outcome| json!({ "case": outcome.case.name, "runs": outcome.runs }))
        .collect();
    let raw = json!({ "suite": suite.name, "unix_time": now, "cpu": cpu_model(), "cases": cases });
    let path = bench.join("runs").join(format!("{now}-{}.json", suite.name));
    let text = serde_json::to_string_pretty(&raw).map_err(|error| error.to_string())?;
    fs::write(&path, text + "\n")
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    let readme = bench.join("README.md");
    let before = fs::read_to_string(&readme).unwrap_or_default();
    let after = replace_section(&before, suite, table);
    fs::write(&readme, after).map_err(|error| format!("cannot write {}: {error}", readme.display()))
}

/// `text` with the section between the suite's marks replaced, or appended.
fn replace_section(text: &str, suite: &Suite, table: &str) -> String {
    let (begin, end) = (format!("<!-- {} -->", suite.name), format!("<!-- /{} -->", suite.name));
    let section = format!("{begin}\n## {}\n\n{}\n\n{table}{end}", suite.name, suite.what);
    match (text.find(&begin), text.find(&end)) {
        (Some(from), Some(to)) if from < to => {
            format!("{}{section}{}", &text[..from], &text[to + end.len()..])
        }
        _ => format!("{}\n\n{section}\n", text.trim_end()),
    }
}

fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    model
        .and_then(|rest| rest.split_once(':'))
        .map_or_else(String::new, |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::case::SUITES;

    #[test]
    fn a_section_is_replaced_where_it_stands() {
        let suite = &SUITES[0];
        let once = replace_section("# Benchmarks", suite, "| old |\n");
        let twice = replace_section(&(once + "\nThe end.\n"), suite, "| new |\n");
        assert!(twice.contains("| new |") && !twice.contains("| old |"), "{twice}");
        assert!(twice.starts_with("# Benchmarks") && twice.ends_with("The end.\n"), "{twice}");
    }
}
