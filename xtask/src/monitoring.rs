//! The step `monitoring`: what `deploy/monitoring` says, asked of a real Prometheus that scrapes a running origin and
//! edge. A series that is renamed, and a query that is wrong, fail here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    Result,
    command::{build_weir, create_dir, output, root, run, target_dir, which},
};

/// What anything here may take on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(40);

/// Between two looks at whether something has happened.
const PAUSE: Duration = Duration::from_millis(200);

/// The horizontal autoscaler goes by these, which no dashboard needs to show.
const FOR_AUTOSCALERS: [&str; 2] = ["weir_egress_bits_per_second", "weir_egress_utilization"];

/// Names in queries that are series and not words of the language.
const PREFIXES: [&str; 3] = ["weir_", "process_", "srs_"];

/// promtool wants bytes where networks are measured in bits a second everywhere.
const LINT_ALLOWED: &str = "use base unit \"bytes\" instead of \"bits\"";

/// What the promtool of Debian cannot check, since it is built without Kubernetes, and what stands for it.
const KUBERNETES: (&str, &str) =
    ("kubernetes_sd_configs:\n      - role: pod", "static_configs: []");

/// Checks rules, configuration and dashboard.
pub fn check() -> Result {
    for program in ["prometheus", "promtool", "curl", "openssl"] {
        which(program)
            .ok_or(format!("{program} is not installed; `cargo xtask test tools` does that"))?;
    }
    let deploy = root().join("deploy/monitoring");
    let work = target_dir().join("monitoring");
    // What an earlier run has scraped must not answer for this one.
    let _ = fs::remove_dir_all(&work);
    create_dir(&work)?;
    let promtool =
        |args: &[&str], dir: &Path| run(Command::new("promtool").args(args).current_dir(dir));
    promtool(&["check", "rules", "alerts.yaml"], &deploy)?;
    promtool(&["test", "rules", "alerts.test.yaml"], &deploy)?;
    let sample = read(&deploy.join("prometheus.yaml"))?;
    if !sample.contains(KUBERNETES.0) {
        return Err("prometheus.yaml finds its pods in another way than this check knows".into());
    }
    write(&work.join("sample.yaml"), &sample.replace(KUBERNETES.0, KUBERNETES.1))?;
    fs::copy(deploy.join("alerts.yaml"), work.join("alerts.yaml"))
        .map_err(|error| format!("cannot copy alerts.yaml: {error}"))?;
    promtool(&["check", "config", "sample.yaml"], &work)?;
    build_weir()?;
    let cluster = Cluster::start(&work)?;
    for (name, api) in [("origin", &cluster.origin.api), ("edge", &cluster.edge.api)] {
        check_page(name, api)?;
    }
    let prometheus = Prometheus::start(&work, &cluster)?;
    prometheus.check(&read(&deploy.join("grafana/weir.json"))?)
}

/// A process of ours, ended when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).spawn();
        child.map(Self).map_err(|error| format!("cannot start {program}: {error}"))
    }
}

/// A server.
struct Weir {
    rtmp: String,
    http: String,
    api: String,
    _process: Running,
}

impl Weir {
    fn start(work: &Path, name: &str, command: &str, config: &str) -> Result<Self> {
        let ports = "[\"127.0.0.1:0\"]";
        let listen = format!(
            "rtmp: {{ listen: {ports} }}\nhttp: {{ listen: {ports} }}\napi: {{ listen: {ports} }}\n"
        );
        let tls =
            "{ listen: '127.0.0.1:0', certificates: [{ cert: server.pem, key: server.key }] }";
        let file = work.join(format!("{name}.yaml"));
        write(&file, &(listen + config))?;
        let log = fs::File::create(work.join(format!("{name}.log")));
        let log = log.map_err(|error| format!("cannot write the log of the {name}: {error}"))?;
        let mut process = Running::start(
            Command::new(target_dir().join("debug/weir"))
                .args([command, "--config"])
                .arg(&file)
                .env("WEIR_HTTP__TLS", tls)
                .current_dir(work)
                .stdout(Stdio::piped())
                .stderr(log),
        )?;
        let stdout = process.0.stdout.take().ok_or("the server has no standard output")?;
        let [rtmp, http, api] =
            listeners(stdout).ok_or(format!("the {name} does not listen; see its log"))?;
        Ok(Self { rtmp, http, api, _process: process })
    }
}

/// Where it takes RTMP, HTTP and the API.
fn listeners(stdout: ChildStdout) -> Option<[String; 3]> {
    let lines = BufReader::new(stdout).lines().map_while(std::io::Result::ok);
    let mut found = BTreeMap::new();
    for line in lines {
        if let Some((service, address)) =
            line.strip_prefix("listening ").and_then(|words| words.split_once(' '))
        {
            found.insert(service.to_owned(), address.to_owned());
        }
        if let [Some(rtmp), Some(http), Some(api)] =
            ["rtmp", "http", "api"].map(|service| found.get(service).cloned())
        {
            return Some([rtmp, http, api]);
        }
    }
    None
}

/// Makes a certificate and its key, `server.pem` and `server.key` in `work`.
fn certify(work: &Path) -> Result {
    let key = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key";
    let certificate = "-out server.pem -days 30 -subj /CN=localhost";
    let words = key.split(' ').chain(certificate.split(' '));
    run(Command::new("openssl").args(words).current_dir(work).stderr(Stdio::null()))
}

/// An origin with a stream, an edge in front of it, and viewers at both.
struct Cluster {
    origin: Weir,
    edge: Weir,
    _viewers: Vec<Running>,
}

impl Cluster {
    fn start(work: &Path) -> Result<Self> {
        certify(work)?;
        let origin = Weir::start(work, "origin", "demo", "limits: { egress: 1Gbps }\n")?;
        let port = origin.http.rsplit(':').next().unwrap_or_default();
        let config =
            format!("role: edge\nedge: {{ origins: [\"{}\"], http_port: {port} }}\n", origin.rtmp);
        let edge = Weir::start(work, "edge", "serve", &config)?;
        let view = |server: &Weir, path: &str| {
            let url = format!("http://{}/live/demo{path}", server.http);
            Running::start(
                Command::new("curl").args(["--silent", "--output", "/dev/null"]).arg(url),
            )
        };
        let viewers = vec![view(&origin, ".flv")?, view(&edge, ".flv")?, view(&edge, ".m3u8")?];
        for server in [&origin, &edge] {
            wait_for("a viewer", || {
                let page = get(&format!("http://{}/metrics", server.api))?;
                page.contains("weir_viewers{protocol=\"http-flv\"} 1").then_some(())
            })?;
        }
        Ok(Self { origin, edge, _viewers: viewers })
    }
}

/// What promtool thinks of the page.
fn check_page(name: &str, api: &str) -> Result {
    let page = get(&format!("http://{api}/metrics")).ok_or(format!("the {name} has no page"))?;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start promtool: {error}"))?;
    if let Some(mut stdin) = promtool.stdin.take() {
        stdin
            .write_all(page.as_bytes())
            .map_err(|error| format!("promtool does not read: {error}"))?;
    }
    let said = promtool.wait_with_output().map_err(|error| format!("promtool is gone: {error}"))?;
    let lines =
        [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let complaints: Vec<_> = lines
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| !line.ends_with(LINT_ALLOWED))
        .collect();
    println!("the page of the {name}: {} lines, complaints: {complaints:?}", page.lines().count());
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(format!("promtool on the page of the {name}: {}", complaints.join("; ")))
    }
}

struct Prometheus {
    url: String,
    _process: Running,
}

impl Prometheus {
    fn start(work: &Path, cluster: &Cluster) -> Result<Self> {
        let config = work.join("prometheus.yaml");
        write(
            &config,
            &format!(
                "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [alerts.yaml]\n\
                 scrape_configs:\n  - job_name: weir\n    static_configs:\n      - targets: [\"{}\", \"{}\"]\n",
                cluster.origin.api, cluster.edge.api
            ),
        )?;
        let address = free_address()?;
        let flag = |name: &str, value: PathBuf| format!("--{name}={}", value.display());
        let log = fs::File::create(work.join("prometheus.log"));
        let log = log.map_err(|error| format!("cannot write the log of Prometheus: {error}"))?;
        let process = Running::start(
            Command::new("prometheus")
                .arg(flag("config.file", config))
                .arg(flag("storage.tsdb.path", work.join("data")))
                .arg(format!("--web.listen-address={address}"))
                .stdout(Stdio::null())
                .stderr(log),
        )?;
        let prometheus = Self { url: format!("http://{address}"), _process: process };
        // Rates need some scrapes, and alerts an evaluation.
        wait_for("enough scrapes", || {
            let scraped = prometheus.query("min(count_over_time(weir_build_info[1m]))").ok()?;
            let count: f64 = scraped.pointer("/data/result/0/value/1")?.as_str()?.parse().ok()?;
            (count >= 4.0 && prometheus.rules().is_some()).then_some(())
        })?;
        Ok(prometheus)
    }

    fn check(&self, dashboard: &str) -> Result {
        let dashboard: Value =
            serde_json::from_str(dashboard).map_err(|error| format!("weir.json: {error}"))?;
        let shown = dashboard_queries(&dashboard)?;
        let alerts = self.rules().ok_or("Prometheus has no rules")?;
        let mut failures = Vec::new();
        for query in &shown {
            if let Err(error) = self.query(&with_values(query)) {
                failures.push(format!("{query}: {error}"));
            }
        }
        for (name, _, error) in &alerts {
            if !error.is_empty() {
                failures.push(format!("alert {name}: {error}"));
            }
        }
        let known = self.names()?;
        let queries = shown.iter().chain(alerts.iter().map(|(_, query, _)| query));
        let asked =
            queries.flat_map(|query| names_in(query)).chain(FOR_AUTOSCALERS.map(str::to_owned));
        let asked: BTreeSet<String> = asked.collect();
        failures.extend(
            asked.difference(&known).map(|name| format!("{name} is asked for, and nobody has it")),
        );
        println!(
            "{} queries of the dashboard, {} alerts, {} names in them, {} series names scraped",
            shown.len(),
            alerts.len(),
            asked.len(),
            known.len()
        );
        if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
    }

    /// Name, query and last error of each rule, once all have been evaluated.
    fn rules(&self) -> Option<Vec<(String, String, String)>> {
        let text = get(&format!("{}/api/v1/rules", self.url))?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        let groups = answer.pointer("/data/groups")?.as_array()?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        let text = |rule: &Value, name: &str| rule[name].as_str().unwrap_or_default().to_owned();
        let rules: Vec<_> = rules
            .map(|rule| {
                (
                    text(rule, "health"),
                    (text(rule, "name"), text(rule, "query"), text(rule, "lastError")),
                )
            })
            .collect();
        let are_known = !rules.is_empty() && rules.iter().all(|(health, _)| health != "unknown");
        are_known.then(|| rules.into_iter().map(|(_, rule)| rule).collect())
    }

    fn names(&self) -> Result<BTreeSet<String>> {
        let text = get(&format!("{}/api/v1/label/__name__/values", self.url)).unwrap_or_default();
        let answer: Value =
            serde_json::from_str(&text).map_err(|error| format!("no names: {error}"))?;
        let names = answer["data"].as_array().into_iter().flatten();
        Ok(names.filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    fn query(&self, query: &str) -> Result<Value> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--get", "--data-urlencode"]).arg(format!("query={query}"));
        let text = output(curl.arg(format!("{}/api/v1/query", self.url))).ok_or("no answer")?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        match answer["error"].as_str() {
            None => Ok(answer),
            Some(error) => Err(error.to_owned()),
        }
    }
}

/// Every query of a dashboard, those of its variables as selectors.
fn dashboard_queries(dashboard: &Value) -> Result<Vec<String>> {
    let panels = dashboard["panels"].as_array().ok_or("the dashboard has no panels")?;
    let inner = panels.iter().filter_map(|panel| panel["panels"].as_array()).flatten();
    let targets =
        panels.iter().chain(inner).filter_map(|panel| panel["targets"].as_array()).flatten();
    let shown = targets.filter_map(|target| target["expr"].as_str().map(str::to_owned));
    let variables = dashboard.pointer("/templating/list").and_then(Value::as_array);
    let chosen = variables.into_iter().flatten().filter_map(|variable| {
        let query = variable.pointer("/query/query")?.as_str()?;
        let inside = query.strip_prefix("label_values(")?.strip_suffix(')')?;
        Some(inside.rsplit_once(',').map_or(inside, |(selector, _)| selector).to_owned())
    });
    let queries: Vec<_> = shown.chain(chosen).collect();
    if queries.is_empty() { Err("the dashboard asks nothing".into()) } else { Ok(queries) }
}

/// As Grafana asks it, with every variable at "All".
fn with_values(query: &str) -> String {
    let mut query = query.replace("$__rate_interval", "1m");
    for variable in ["$job", "$instance", "$stream"] {
        query = query.replace(variable, ".*");
    }
    query
}

/// The series that `query` asks for.
fn names_in(query: &str) -> Vec<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words
        .filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
        .map(str::to_owned)
        .collect()
}

fn wait_for(what: &str, happened: impl Fn() -> Option<()>) -> Result {
    let start = Instant::now();
    while happened().is_none() {
        if start.elapsed() > PATIENCE {
            return Err(format!(
                "there was not {what} within {PATIENCE:?}; see the logs in target/monitoring"
            ));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn get(url: &str) -> Option<String> {
    output(Command::new("curl").args(["--silent", "--fail", "--max-time", "10"]).arg(url))
}

fn free_address() -> Result<String> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    address.map(|address| address.to_string()).map_err(|error| format!("no free port: {error}"))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_in_queries() {
        let query =
            "sum by (weird) (rate(weir_a_total{job=~\"$job\"}[$__rate_interval])) / process_b";
        assert_eq!(names_in(query), ["weir_a_total", "process_b"]);
        assert_eq!(
            with_values(query),
            "sum by (weird) (rate(weir_a_total{job=~\".*\"}[1m])) / process_b"
        );
    }

    #[test]
    fn queries_are_found_in_panels_rows_and_variables() {
        let dashboard = serde_json::json!({
            "panels": [{ "targets": [{ "expr": "a" }] }, { "panels": [{ "targets": [{ "expr": "b" }] }] }],
            "templating": { "list": [
                { "query": { "query": "label_values(c{x=\"y\", z=\"w\"}, job)" } }, { "query": "d" },
            ] },
        });
        assert_eq!(dashboard_queries(&dashboard).unwrap(), ["a", "b", "c{x=\"y\", z=\"w\"}"]);
    }
}
