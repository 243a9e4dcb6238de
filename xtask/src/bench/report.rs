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
        sorted(self.runs.iter().filter_map(|run| run.pointer(pointer)?.as_f64()))
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

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}

/// The table of a suite, in Markdown.
pub fn table(outcomes: &[Outcome]) -> String {
    if outcomes.iter().any(|outcome| outcome.median("/publishers").is_some()) {
        return ingest_table(outcomes);
    }
    if outcomes.iter().any(|outcome| outcome.median("/requests").is_some()) {
        return request_table(outcomes);
    }
    if let Some(at) = outcomes.iter().position(|it| it.median("/per_console").is_some()) {
        let (viewers, consoles) = outcomes.split_at(at);
        let viewers = if viewers.is_empty() { String::new() } else { table(viewers) + "\n" };
        return viewers + &console_table(consoles);
    }
    let have = |what: &str| {
        outcomes.iter().any(|outcome| outcome.runs.iter().any(|run| run.get(what).is_some()))
    };
    if have("duty") {
        return duties_table(outcomes);
    }
    if have("rounds") {
        return watched_table(outcomes);
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

/// What is looked at beside consoles: what the threads that send take, what the process does, and how late viewers are.
const WATCHED: [fn(&Value) -> Option<f64>; 3] = [
    |it| percents(it["cpu_shards"].as_f64()?, it),
    |it| percents(it["cpu"].as_f64()? + it["softirq"].as_f64()?, it),
    |it| it["latency"]["p99"].as_f64(),
];

/// Of a core, in what `it` measured.
fn percents(seconds: f64, it: &Value) -> Option<f64> {
    Some(seconds / it["seconds"].as_f64()? * 100.0)
}

/// What viewers alone cost, and are served like, and what becomes of that beside consoles.
fn watched_table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| case | fan-out, % of a core | beside / alone (min-max) | process, % of a core | beside / alone (min-max) \
         | p99, ms | beside / alone (min-max) | calls a second | failed |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for outcome in outcomes {
        let rounds: Vec<&Value> =
            outcome.runs.iter().filter_map(|run| run["rounds"].as_array()).flatten().collect();
        let _ = write!(text, "| {} ", outcome.case.name);
        for figure in WATCHED {
            let alone = sorted(rounds.iter().filter_map(|round| figure(&round["alone"])));
            let ratio = |round: &&Value| Some(figure(&round["beside"])? / figure(&round["alone"])?);
            let ratios = sorted(rounds.iter().filter_map(ratio));
            let alone = alone.get(alone.len() / 2).copied().unwrap_or_default();
            let _ = write!(text, "| {alone:.1} | {} ", spread_of(&ratios));
        }
        let sum = |name: &str| {
            rounds.iter().filter_map(|round| round["consoles"][name].as_f64()).sum::<f64>()
        };
        let calls = sum("calls") / sum("seconds").max(1e-9);
        let _ = writeln!(text, "| {calls:.1} | {} |", sum("failed"));
    }
    text
}

fn console_table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| case | % of a core a console (min-max) | without any | calls a second | KB a second | failed |\n\
         |---|---|---|---|---|---|\n",
    );
    for outcome in outcomes {
        let at = |pointer: &str| outcome.median(pointer).unwrap_or_default();
        let seconds = at("/seconds").max(1e-9);
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {:.1} | {:.0} | {} |",
            outcome.case.name,
            spread(outcome, "/per_console"),
            at("/without/0"),
            at("/calls") / seconds / at("/consoles").max(1.0),
            at("/bytes") / seconds / at("/consoles").max(1.0) / 1000.0,
            at("/failed"),
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

/// What counts is how late viewers are, beside what they are alone.
fn duties_table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| case | p50 / p99 / max, ms | p99, ms (min-max) | p99 of base | CPU, % of a core | of base \
         | playing / failed / cut | gap max, ms | beside it |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for outcome in outcomes {
        let at = |pointer: &str| outcome.median(pointer).unwrap_or_default();
        let core = |run: &Value| {
            let at = |pointer: &str| run.pointer(pointer).and_then(Value::as_f64);
            Some((at("/cpu")? + at("/softirq")?) / at("/seconds")?)
        };
        let late = |run: &Value| run.pointer("/latency/p99")?.as_f64();
        let mut cores: Vec<f64> = outcome.runs.iter().filter_map(core).collect();
        cores.sort_by(f64::total_cmp);
        let core_used = cores.get(cores.len() / 2).copied().unwrap_or_default();
        let _ = writeln!(
            text,
            "| {} | {:.1} / {:.1} / {:.1} | {} | {} | {:.0} | {} | {} / {} / {} | {:.0} | {} |",
            outcome.case.name,
            at("/latency/p50"),
            at("/latency/p99"),
            at("/latency/max"),
            spread(outcome, "/latency/p99"),
            ratio_of(outcome, outcomes, late),
            core_used * 100.0,
            ratio_of(outcome, outcomes, core),
            at("/playing"),
            at("/failed"),
            at("/cut"),
            at("/longest_gap"),
            beside(outcome),
        );
    }
    text
}

/// What the last run had beside its viewers.
fn beside(outcome: &Outcome) -> String {
    let duty = outcome.runs.last().and_then(|run| run.get("duty")?.as_object());
    let figures = duty.into_iter().flatten().map(|(name, figure)| format!("{figure} {name}"));
    figures.collect::<Vec<_>>().join(", ")
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
    spread_of(&outcome.figures(pointer))
}

/// Of figures in their order.
fn spread_of(figures: &[f64]) -> String {
    match (figures.first(), figures.get(figures.len() / 2), figures.last()) {
        (Some(least), Some(median), Some(most)) => format!("{median:.2} ({least:.2}-{most:.2})"),
        _ => "-".to_owned(),
    }
}

fn ratio(outcome: &Outcome, outcomes: &[Outcome]) -> String {
    ratio_of(outcome, outcomes, |run| {
        let at = |pointer: &str| run.pointer(pointer).and_then(Value::as_f64);
        at("/cpu_per_request")
            .or_else(|| at("/cpu_per_gb"))
            .or_else(|| Some((at("/cpu")? + at("/softirq")?) / at("/seconds")?))
    })
}

/// The median of the ratios of `figure` run by run: each run's base was measured in the same minute.
fn ratio_of(
    outcome: &Outcome,
    outcomes: &[Outcome],
    figure: impl Fn(&Value) -> Option<f64>,
) -> String {
    let Some(base) = outcome
        .case
        .base
        .as_ref()
        .and_then(|name| outcomes.iter().find(|other| other.case.name == *name))
    else {
        return String::new();
    };
    let pairs = outcome.runs.iter().zip(&base.runs);
    let mut ratios: Vec<f64> =
        pairs.filter_map(|(run, base)| Some(figure(run)? / figure(base)?)).collect();
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
    fn viewers_beside_consoles_are_compared_round_by_round() {
        let case = (SUITES.iter().find(|suite| suite.name == "console").unwrap().cases)().remove(0);
        let viewers = |cpu: f64, shards: f64, p99: f64| {
            let late = json!({ "p99": p99 });
            json!({ "seconds": 4.0, "cpu": cpu, "cpu_shards": shards, "softirq": 0.1, "latency": late })
        };
        let round = |alone, beside| {
            let consoles = json!({ "calls": 30, "seconds": 10.0, "failed": 1 });
            json!({ "alone": alone, "beside": beside, "consoles": consoles })
        };
        let first = round(viewers(0.5, 0.4, 40.0), viewers(0.9, 0.4, 50.0));
        let second = round(viewers(0.3, 0.2, 40.0), viewers(0.3, 0.3, 40.0));
        let runs = vec![json!({ "rounds": [first, second] })];
        let table = table(&[Outcome { case, runs }]);
        let expected = "| 2,000 viewers, wall | 10.0 | 1.50 (1.00-1.50) | 15.0 | 1.67 (1.00-1.67) \
                        | 40.0 | 1.25 (1.00-1.25) | 3.0 | 2 |";
        assert!(table.lines().any(|line| line == expected), "{table}");
    }

    #[test]
    fn a_section_is_replaced_where_it_stands() {
        let suite = &SUITES[0];
        let once = replace_section("# Benchmarks", suite, "| old |\n");
        let twice = replace_section(&(once + "\nThe end.\n"), suite, "| new |\n");
        assert!(twice.contains("| new |") && !twice.contains("| old |"), "{twice}");
        assert!(twice.starts_with("# Benchmarks") && twice.ends_with("The end.\n"), "{twice}");
    }
}
