//! The command line.

use std::{
    ffi::OsString,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, error::ErrorKind};
use clap_complete::Shell;
use weir_clients::descriptors::Shares;
use weir_config::{
    Check, Config, ConfigError, Exec, Forward, Given, HttpTls, Human, Limits, PortTls, Rate, Role,
    RtmpTls, Secret, Size, Sources, StreamPattern, Tls, TlsVersion, When, masked_argument,
};

use weir_media::DEFAULT_VHOST;
use weir_outputs::record;

use super::{called, publish, remote};
use crate::{auth, log, operate::preflight};

/// What the process was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Cli {
    /// What to do.
    pub command: Command,
    /// How to log meanwhile.
    pub log: log::Options,
}

/// What to do. `weir` alone is `weir serve`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Command {
    /// Run the server (what `weir` does without a command).
    Serve {
        /// The configuration file (or set WEIR_CONFIG); without one, an origin on ports 1935 (RTMP), 8080 (HTTP)
        /// and 1985 (API).
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// No file: a configuration of SRS in variables that begin with SRS_, as with `srs -e`.
        #[arg(short = 'e', long)]
        srs_env: bool,
        /// Take over the listeners of the process at `handover.socket`, which then drains and exits.
        #[arg(long)]
        replace: bool,
    },
    /// Run the server with a looping test stream, and print where to watch it.
    Demo {
        /// The configuration file (or set WEIR_CONFIG); without one, an origin on ports 1935 (RTMP), 8080 (HTTP)
        /// and 1985 (API).
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Publish a file in real time.
    Publish {
        /// The FLV file.
        #[arg(value_name = "FILE.flv")]
        file: PathBuf,
        /// Where to publish it: rtmp://HOST/APP/STREAM, or rtmps://HOST/APP/STREAM for TLS.
        url: String,
        /// Start again at the end of the file.
        #[arg(long = "loop")]
        repeat: bool,
        /// Whom to trust, with TLS.
        #[command(flatten)]
        tls: publish::Tls,
    },
    /// Sign a token to publish or play a stream for some time, for a `token` check.
    Token(auth::cli::Token),
    /// Check the configuration, in a file and in WEIR_* variables; exits with 1 if it has errors.
    Check {
        /// The configuration file (or set WEIR_CONFIG); without one, only the environment is checked.
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// No file: a configuration of SRS in variables that begin with SRS_, as with `srs -e`.
        #[arg(short = 'e', long)]
        srs_env: bool,
        /// Only check the text, not the files, folders and ports on this machine.
        #[arg(long)]
        text_only: bool,
    },
    /// Print a configuration of SRS or of nginx with its RTMP module as YAML, with comments where they differ.
    Convert {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where the YAML is written to; without it, to stdout.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration file, for editors.
    Schema,
    /// Print shell completions for `weir`.
    Completions {
        /// The shell.
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the man page of `weir`, or of one of its commands, for `man -l`.
    Man {
        /// The command.
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
    /// Show the status of a running node.
    #[command(after_help = OF_A_NODE)]
    Status(remote::Target),
    /// Show streams, clients and nodes of a running cluster, and keep the view up to date.
    #[command(after_help = OF_TOP)]
    Top {
        /// How to look.
        #[command(flatten)]
        options: remote::top::Options,
        /// The node.
        #[command(flatten)]
        target: remote::Target,
    },
    /// List the streams of a running node.
    #[command(after_help = OF_A_NODE)]
    Streams(remote::Target),
    /// List the clients of a running node.
    #[command(after_help = OF_A_NODE)]
    Clients(remote::Target),
    /// Disconnect a client of a running node, or a stream's publisher. It may reconnect.
    #[command(after_help = OF_A_NODE)]
    Kick {
        /// The number of the client (`weir clients`, `conn` in the log), or the name of the stream: APP/STREAM.
        #[arg(value_name = "CLIENT|STREAM")]
        whom: String,
        /// The node.
        #[command(flatten)]
        target: remote::Target,
    },
    /// Make a running node reload its configuration.
    #[command(after_help = OF_A_NODE)]
    Reload(remote::Target),
    /// Make a running node drain and exit, as SIGTERM does.
    #[command(after_help = OF_A_NODE)]
    Drain(remote::Target),
    /// Print the version.
    Version,
}

const EXAMPLES: &str = "\
Examples:
  weir                                     an origin on the standard ports
  weir -c weir.yaml                        with a configuration file
  weir check -c weir.yaml                  check the file and show a summary
  weir demo                                a server with a test stream
  weir publish clip.flv rtmp://HOST/live/a --loop
  weir status                              the status of the node on this machine
  weir top                                 the cluster, live in the terminal
  weir streams --api edge-1:1985 --json    the streams of another node as JSON
  weir kick 17 -c weir.yaml                disconnect a client, with the token of the configuration";

const OF_A_NODE: &str = "\
Examples:
  weir status                                   the node on this machine, on the standard port
  weir clients -c /etc/weir/weir.yaml           address and token from the configuration
  WEIR_TOKEN_FILE=token weir kick live/a --api 10.0.0.7:1985
  weir reload --api https://edge-1 --ca ca.pem --token-file token";

const OF_TOP: &str = "\
Keys:
  1 2 3, Tab   streams, clients, nodes
  s            order by viewers, out, in, name
  /            show only names that contain a text; Esc shows all again
  arrows, PageUp, PageDown, Home, End
  q            end
Examples:
  weir top                                      the node on this machine, and the nodes in its `api.peers`
  weir top --api edge-1:1985 --every 5s
  weir top --once                               one look, as text";

/// The variable that names the configuration file.
const CONFIG: &str = "WEIR_CONFIG";

/// The words as clap sees them.
#[derive(Parser)]
#[command(
    name = "weir", version, about = "A live-streaming server", long_about = None, after_help = EXAMPLES
)]
struct Words {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration file of `weir serve` (or set WEIR_CONFIG).
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// No file: a configuration of SRS in variables that begin with SRS_, as with `srs -e`.
    #[arg(short = 'e', long)]
    srs_env: bool,
    /// Take over the listeners of the running process: `weir serve --replace`.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    log: log::Options,
}

impl Cli {
    /// What `words` ask for, the arguments of the process or what they stand for. Ends the process after `--help`,
    /// `--version` and wrong arguments.
    pub fn parse(words: Vec<OsString>) -> Self {
        let is_srs = called::is_srs(&words);
        let cli = Self::try_parse_from(words).unwrap_or_else(|error| error.exit());
        let named = std::env::var_os(CONFIG).filter(|named| !named.is_empty());
        cli.with_config(named.or_else(|| called::config_of_srs(is_srs).map(Into::into)))
    }

    /// The same with the configuration file `named`, where the arguments name none and need one.
    fn with_config(mut self, named: Option<OsString>) -> Self {
        let config = match &mut self.command {
            Command::Serve { config, .. }
            | Command::Demo { config }
            | Command::Check { config, .. } => config,
            Command::Status(target)
            | Command::Streams(target)
            | Command::Clients(target)
            | Command::Kick { target, .. }
            | Command::Top { target, .. }
            | Command::Reload(target)
            | Command::Drain(target) => &mut target.config,
            Command::Publish { .. }
            | Command::Token(_)
            | Command::Convert { .. }
            | Command::Schema
            | Command::Completions { .. }
            | Command::Man { .. }
            | Command::Version => return self,
        };
        if let (None, Some(named)) = (&config, named.filter(|named| !named.is_empty())) {
            *config = Some(named.into());
        }
        self
    }

    /// What `args` ask for; the first is the name of the program.
    ///
    /// # Errors
    /// The arguments are wrong, or ask for help or the version; [`clap::Error`] knows what to print.
    pub fn try_parse_from<I, T>(args: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let Words { command, config, srs_env, replace, log } = Words::try_parse_from(args)?;
        let misplaced = match (&command, &config, replace) {
            (Some(_), Some(_), _) => Some("--config"),
            (Some(_), None, true) => Some("--replace"),
            (Some(_), None, false) if srs_env => Some("--srs-env"),
            _ => None,
        };
        if let Some(option) = misplaced {
            let message = format!("put {option} after the command");
            return Err(Words::command().error(ErrorKind::ArgumentConflict, message));
        }
        let command = command.unwrap_or(Command::Serve { config, srs_env, replace });
        Ok(Self { command, log })
    }
}

/// `weir check`: says on stdout that the file at `path`, if one is named, and the environment are a configuration and
/// what it means, or on stderr what is wrong. What it needs of this machine is tried, unless it is `text_only`.
pub fn check(given: &Given, text_only: bool) -> ExitCode {
    checked(given.file(), Config::load_from_process(given), text_only)
}

/// What a process is given with these words.
pub fn given(config: Option<PathBuf>, srs_env: bool) -> Given {
    if srs_env { Given::SrsEnvironment } else { config.into() }
}

/// `weir convert`: the configuration of another server in `file` as YAML, on stdout or in the file `output`.
pub fn convert(file: &Path, output: Option<&Path>) -> ExitCode {
    let failed = |what: &str| {
        let _ = writeln!(io::stderr(), "{what}");
        ExitCode::FAILURE
    };
    let (text, notes) = match weir_config::convert(file) {
        Ok(Some(converted)) => converted,
        Ok(None) => {
            let name = file.display();
            return failed(&format!("error: {name}: this is no configuration of SRS or nginx"));
        }
        Err(error) => return failed(&error.to_string()),
    };
    match output {
        Some(path) => {
            if let Err(error) = std::fs::write(path, &text) {
                return failed(&format!("error: {}: cannot be written: {error}", path.display()));
            }
        }
        None => drop(io::stdout().write_all(text.as_bytes())),
    }
    if !notes.is_empty() {
        let _ = writeln!(io::stderr(), "{} differences: see the comments", notes.len());
    }
    ExitCode::SUCCESS
}

fn checked(
    path: Option<&Path>,
    read: Result<(Config, Sources), ConfigError>,
    text_only: bool,
) -> ExitCode {
    match read {
        Ok((config, sources)) => {
            let (faults, warnings) = if text_only {
                Default::default()
            } else {
                match preflight::enter_work_dir(&config) {
                    Ok(()) => preflight::all(&config),
                    Err(fault) => (vec![fault], Vec::new()),
                }
            };
            for warning in warnings {
                let _ = writeln!(io::stderr(), "warning: on this machine, {warning}");
            }
            if !faults.is_empty() {
                for fault in faults {
                    let _ = writeln!(io::stderr(), "{}", sources.locate(fault));
                }
                return ExitCode::FAILURE;
            }
            let shortage = Shares::of_process().shortage(config.limits.connections);
            if let Some(shortage) = shortage.filter(|_| !text_only) {
                let _ = writeln!(io::stderr(), "warning: on this machine, {shortage}");
            }
            let what = path.map_or("environment".to_owned(), |path| path.display().to_string());
            // A reader that has gone away has seen enough.
            let _ = write!(io::stdout(), "{what}: ok\n{}", summary(&config));
            for recorded in record::plan_of(&config) {
                let _ = writeln!(io::stdout(), "  record   {recorded}");
            }
            for note in sources.notes() {
                let _ = writeln!(io::stderr(), "warning: {note}");
            }
            for warning in config.warnings() {
                let _ = writeln!(io::stderr(), "warning: {warning}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// `weir version`.
pub fn version() -> ExitCode {
    let _ = writeln!(io::stdout(), "weir {}", env!("CARGO_PKG_VERSION"));
    ExitCode::SUCCESS
}

/// `weir schema`.
pub fn schema() -> ExitCode {
    let _ = writeln!(io::stdout(), "{:#}", weir_config::schema());
    ExitCode::SUCCESS
}

/// `weir completions`.
pub fn completions(shell: Shell) -> ExitCode {
    let _ = io::stdout().write_all(&completing(shell));
    ExitCode::SUCCESS
}

fn completing(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Words::command(), "weir", &mut script);
    script
}

/// `weir man`: the page of `command`, or of `weir` itself.
pub fn man(command: Option<&str>) -> ExitCode {
    match page(command) {
        Some(page) => {
            let _ = io::stdout().write_all(&page);
            ExitCode::SUCCESS
        }
        None => {
            let _ = writeln!(io::stderr(), "error: no such command; see `weir help`");
            ExitCode::FAILURE
        }
    }
}

fn page(command: Option<&str>) -> Option<Vec<u8>> {
    let mut words = Words::command();
    // Global options are put into each command.
    words.build();
    let of = match command {
        Some(name) => words.find_subcommand(name)?.clone(),
        None => words,
    };
    let source = concat!("weir ", env!("CARGO_PKG_VERSION"));
    let mut page = Vec::new();
    clap_mangen::Man::new(of).source(source).render(&mut page).ok()?;
    Some(page)
}

/// What a server with this configuration would do, in a few lines.
fn summary(config: &Config) -> String {
    let Config { api, hls, auth, metrics, drain, handover, .. } = config;
    let Limits { egress, memory, stream_memory, .. } = config.limits;
    let (role, hls) = match config.role {
        Role::Origin if hls.enabled && hls.dir.as_os_str().is_empty() => {
            ("origin".to_owned(), "in memory only".to_owned())
        }
        Role::Origin if hls.enabled => ("origin".to_owned(), hls.dir.display().to_string()),
        Role::Origin => ("origin".to_owned(), "off".to_owned()),
        Role::Edge => {
            (format!("edge of {}", list(&config.edge.origins)), "from the origins".to_owned())
        }
    };
    let vhosts: Vec<_> = config.vhosts.keys().map(String::as_str).collect();
    let tls = if api.tls.is_some() { " with TLS" } else { "" };
    let ca = |of: fn(&Tls) -> bool| api.tls.as_ref().is_some_and(of);
    let admins = rights(&api.admin_tokens, ca(|tls| tls.admin_ca.is_some()));
    let readers = rights(&api.read_tokens, ca(|tls| tls.read_ca.is_some()));
    let socket = handover.socket.as_ref().map(|socket| socket.display().to_string());
    let lines = [
        ("role", role),
        ("rtmp", listeners(&config.rtmp.listen)),
        ("http", listeners(&config.http.listen)),
        ("rtmps", port_tls(config.rtmp.tls.as_ref().map(RtmpTls::port))),
        ("https", port_tls(config.http.tls.as_ref().map(HttpTls::port))),
        ("api", listeners(&api.listen) + tls),
        ("admins", admins.unwrap_or("nobody".to_owned())),
        ("readers", readers.unwrap_or("everybody".to_owned())),
        ("peers", if api.peers.is_empty() { "none".to_owned() } else { list(&api.peers) }),
        ("hls", hls),
        ("upload", uploads(config)),
        ("publish", checks(&auth.publish)),
        ("play", players(config)),
        ("workers", config.workers.count().to_string()),
        ("memory", format!("{}, {} per stream", Size(memory), Size(stream_memory))),
        ("egress", if egress == 0 { "no limit".to_owned() } else { Rate(egress).to_string() }),
        ("metrics", format!("separate series for {} streams", metrics.streams)),
        (
            "drain",
            format!("within {}, including {} of notice", Human(drain.timeout), Human(drain.notice)),
        ),
        ("handover", socket.unwrap_or("off".to_owned())),
        ("vhosts", if vhosts.is_empty() { "none".to_owned() } else { vhosts.join(", ") }),
    ];
    let forwards = config.forwards().map(|(path, forward)| ("forward", forwarded(&path, forward)));
    let lines = lines.into_iter().chain(forwards).chain(elsewhere(config)).chain(programs(config));
    lines.fold(String::new(), |all, (name, value)| format!("{all}  {name:<8} {value}\n"))
}

/// Which streams go on to other servers, and where to.
fn forwarded(path: &str, forward: &Forward) -> String {
    let streams = match forward.streams.iter().any(StreamPattern::is_all) {
        true => "every stream".to_owned(),
        false => format!("streams {}", list(&forward.streams)),
    };
    let vhost = path.strip_prefix("vhosts.").and_then(|rest| rest.rsplit_once(".forward"));
    let vhost = vhost.map(|(vhost, _)| format!(" of {vhost}")).unwrap_or_default();
    format!("{streams}{vhost} to {} ({path})", list(&forward.to))
}

/// Which programs run for which streams.
fn programs(config: &Config) -> Vec<(&'static str, String)> {
    if config.role == Role::Edge {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for (path, exec, transcode) in config.programs() {
        let vhost = path.strip_prefix("vhosts.").and_then(|rest| rest.strip_suffix('.'));
        let of = vhost.map(|vhost| format!(" of {vhost}")).unwrap_or_default();
        for Exec { streams, run, .. } in exec {
            let run: Vec<_> = run.iter().map(|argument| masked_argument(argument)).collect();
            lines.push(("exec", format!("{} for each of {}{of}", run.join(" "), list(streams))));
        }
        for it in transcode {
            let (streams, to) = (list(&it.streams), masked_argument(&it.to));
            let to = to.replace("{name}", &it.name);
            lines.push(("transcode", format!("{streams}{of} to {to} by {}", it.program)));
        }
    }
    lines.extend(config.ingest.iter().map(|it| {
        let again = if it.is_file() { ", again and again" } else { "" };
        let from = masked_argument(&it.from);
        ("ingest", format!("{} from {from}{again} by {}", it.stream, it.program))
    }));
    lines
}

/// What an origin gets from elsewhere, a line each, and what it shows while publishers are away.
fn elsewhere(config: &Config) -> Vec<(&'static str, String)> {
    if config.role == Role::Edge {
        return Vec::new();
    }
    let pulls = config.pull.iter().filter_map(|pull| {
        let (vhost, streams) = config.pulled(pull)?;
        let of = if vhost == DEFAULT_VHOST { String::new() } else { format!(" of {vhost}") };
        let when = match pull.when {
            When::Always => "always".to_owned(),
            When::Demand => {
                format!("while somebody watches, and {} longer", Human(pull.linger))
            }
        };
        Some(("pull", format!("{streams}{of} from {}, {when}", pull.from)))
    });
    let fallbacks = weir_pull::check_files(config).into_iter().filter_map(|(key, file, kinds)| {
        let linger =
            match key.strip_prefix("vhosts.").and_then(|of| of.strip_suffix(".publish.fallback")) {
                Some(vhost) => config.vhost(vhost).publish.linger,
                None => config.publish.linger,
            };
        let (file, linger, kinds) = (file.display(), Human(linger), kinds.ok()?);
        Some((
            "fallback",
            format!("{file} ({kinds}) for {linger} after a publisher of such a stream ({key})"),
        ))
    });
    pulls.chain(fallbacks).collect()
}

/// What is uploaded, and where to.
fn uploads(config: &Config) -> String {
    let upload = &config.upload;
    let Some(bucket) = upload.url.as_ref().filter(|_| config.role == Role::Origin) else {
        return "off".to_owned();
    };
    let kinds = [(upload.recordings, "recordings"), (upload.hls, "HLS")];
    let kinds: Vec<_> = kinds.iter().filter(|(is_on, _)| *is_on).map(|(_, name)| *name).collect();
    let what = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(" and ") };
    let removed = match upload.recordings && !upload.keep_local {
        true => "; recordings are removed here afterwards",
        false => "",
    };
    let example = bucket.key("{path below its folder}");
    format!("{what} to {bucket} at {} as {example}{removed}", upload.server())
}

/// Who is let in; `None` where nothing says so.
fn rights(tokens: &[Secret], certificates: bool) -> Option<String> {
    let tokens = match tokens.len() {
        0 => None,
        1 => Some("1 token".to_owned()),
        many => Some(format!("{many} tokens")),
    };
    let certificates = certificates.then(|| "certificates".to_owned());
    let all: Vec<_> = [tokens, certificates].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Who may play. At an edge the origins have a say in it, for what they see.
fn players(config: &Config) -> String {
    match (config.role, &*config.auth.play) {
        (Role::Origin, own) => checks(own),
        (Role::Edge, []) => "as the origins decide (their cidr checks see this edge)".to_owned(),
        (Role::Edge, own) => format!("{}, if the origins allow it", checks(own)),
    }
}

fn checks(checks: &[Check]) -> String {
    if checks.is_empty() {
        return "everybody".to_owned();
    }
    let names: Vec<_> = checks.iter().map(Check::name).collect();
    format!("clients that pass {}", names.join(", "))
}

fn list(items: &[impl ToString]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

fn port_tls(port: Option<PortTls<'_>>) -> String {
    let Some(port) = port else { return "off".to_owned() };
    let mut text = listeners(port.listen);
    let certificates = port.certificates.len();
    text += &format!(", {certificates} certificate{}", if certificates == 1 { "" } else { "s" });
    if port.min_version == TlsVersion::Tls13 {
        text += ", TLS 1.3 only";
    }
    if port.client_ca.is_some() {
        text += ", for clients with a certificate";
    }
    text
}

fn listeners(addresses: &[SocketAddr]) -> String {
    if addresses.is_empty() {
        return "off".to_owned();
    }
    list(addresses)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::ValueEnum as _;

    use super::*;

    fn parse(words: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(words.split(' '))
    }

    fn command(words: &str) -> Command {
        parse(words).unwrap_or_else(|error| panic!("{words}: {error}")).command
    }

    #[test]
    fn the_definition_is_sound() {
        Words::command().debug_assert();
    }

    #[test]
    fn serves_unless_told_otherwise() {
        let file = || Some(PathBuf::from("a.yaml"));
        let serve = |config, replace| Command::Serve { config, srs_env: false, replace };
        assert_eq!(command("weir"), serve(None, false));
        assert_eq!(command("weir --config a.yaml"), serve(file(), false));
        assert_eq!(command("weir serve"), serve(None, false));
        assert_eq!(command("weir serve --config a.yaml"), serve(file(), false));
        assert_eq!(command("weir --replace"), serve(None, true));
        assert_eq!(command("weir serve --config a.yaml --replace"), serve(file(), true));
        assert_eq!(command("weir demo --config a.yaml"), Command::Demo { config: file() });
    }

    #[test]
    fn reads_each_command() {
        let url = "rtmp://127.0.0.1/live/a".to_owned();
        let publish = |repeat| {
            let (file, url, tls) = ("a.flv".into(), url.clone(), publish::Tls::default());
            Command::Publish { file, url, repeat, tls }
        };
        assert_eq!(command(&format!("weir publish a.flv {url}")), publish(false));
        assert_eq!(command(&format!("weir publish --loop a.flv {url}")), publish(true));
        assert_eq!(
            command("weir check --config x"),
            Command::Check { config: Some("x".into()), srs_env: false, text_only: false }
        );
        let text_only =
            Command::Check { config: Some("x".into()), srs_env: false, text_only: true };
        assert_eq!(command("weir check --text-only -c x"), text_only);
        assert_eq!(
            command("weir check"),
            Command::Check { config: None, srs_env: false, text_only: false }
        );
        assert_eq!(command("weir schema"), Command::Schema);
    }

    #[test]
    fn the_configuration_has_a_short_option_and_a_variable() {
        let file = || Some(PathBuf::from("a.yaml"));
        assert_eq!(
            command("weir -c a.yaml"),
            Command::Serve { config: file(), srs_env: false, replace: false }
        );
        assert_eq!(command("weir serve -c a.yaml"), command("weir -c a.yaml"));
        assert_eq!(
            command("weir check -c a.yaml"),
            Command::Check { config: file(), srs_env: false, text_only: false }
        );
        let named = |words| parse(words).unwrap().with_config(Some("a.yaml".into())).command;
        assert_eq!(named("weir"), command("weir -c a.yaml"));
        assert_eq!(named("weir -c b.yaml"), command("weir -c b.yaml"), "the argument wins");
        for (alone, with) in [
            ("weir demo", "weir demo -c a.yaml"),
            ("weir check", "weir check -c a.yaml"),
            ("weir status", "weir status -c a.yaml"),
            ("weir kick 1", "weir kick 1 -c a.yaml"),
            ("weir drain", "weir drain -c a.yaml"),
            ("weir schema", "weir schema"),
        ] {
            assert_eq!(named(alone), command(with));
        }
        let unnamed = parse("weir").unwrap().with_config(Some(OsString::new()));
        assert_eq!(unnamed.command, command("weir"));
        assert_eq!(command("weir version"), Command::Version);
    }

    #[test]
    fn help_shows_how_it_is_used() {
        for words in ["weir --help", "weir status --help", "weir kick --help"] {
            let help = parse(words).unwrap_err().to_string();
            assert!(help.contains("Examples:\n  weir "), "{help}");
        }
    }

    #[test]
    fn each_command_has_a_manual_page_and_is_completed() {
        let words = Words::command();
        let text = |page: Option<Vec<u8>>| String::from_utf8(page.unwrap()).unwrap();
        let whole = text(page(None));
        assert!(whole.starts_with(".ie"), "{whole}");
        for command in words.get_subcommands().map(clap::Command::get_name) {
            assert!(whole.contains(&format!("weir\\-{command}(1)")), "{command}: {whole}");
            let own = text(page(Some(command)));
            assert!(own.contains(&format!("weir\\-{command}")), "{own}");
            assert!(own.contains("WEIR_LOG"), "{command} has the options of the log: {own}");
            for shell in Shell::value_variants() {
                let script = text(Some(completing(*shell)));
                assert!(script.contains(command), "{shell}: {command}");
            }
        }
        assert!(text(page(Some("serve"))).contains("replace"));
        assert_eq!(page(Some("serv")), None);
        assert_eq!(command("weir completions bash"), Command::Completions { shell: Shell::Bash });
    }

    #[test]
    fn log_options_stand_anywhere() {
        for words in
            ["weir --log debug --log-format json demo", "weir demo --log debug --log-format json"]
        {
            let log = parse(words).unwrap().log;
            assert_eq!((log.filter.to_string().as_str(), log.format), ("debug", log::Format::Json));
        }
        assert_eq!(parse("weir").unwrap().log.format, log::Format::Auto);
    }

    #[test]
    fn refuses_what_would_be_ignored() {
        let kind = |words| parse(words).unwrap_err().kind();
        assert_eq!(kind("weir --config a.yaml demo"), ErrorKind::ArgumentConflict);
        assert_eq!(kind("weir --replace demo"), ErrorKind::ArgumentConflict);
        assert_eq!(kind("weir demo --replace"), ErrorKind::UnknownArgument);
        assert_eq!(kind("weir publish a.flv"), ErrorKind::MissingRequiredArgument);
        assert_eq!(kind("weir publish --config x a.flv rtmp://h/a/b"), ErrorKind::UnknownArgument);
        assert_eq!(kind("weir --log verbose"), ErrorKind::ValueValidation);
        assert_eq!(kind("weir --help"), ErrorKind::DisplayHelp);
        assert_eq!(kind("weir --version"), ErrorKind::DisplayVersion);
    }

    #[test]
    fn the_summary_says_what_would_listen() {
        let text = "workers: 3\napi: { listen: [] }\nhttp: { listen: [127.0.0.1:80, \"[::1]:80\"] }\n\
                    vhosts: { a.org: , b.org: }\n";
        let expected = "  role     origin\n  rtmp     0.0.0.0:1935\n  \
                        http     127.0.0.1:80, [::1]:80\n  rtmps    off\n  https    off\n  api      off\n  \
                        admins   nobody\n  readers  everybody\n  peers    none\n  \
                        hls      ./data/hls\n  upload   off\n  publish  everybody\n  play     everybody\n  \
                        workers  3\n  memory   2GiB, 64MiB per stream\n  \
                        egress   no limit\n  metrics  separate series for 20 streams\n  \
                        drain    within 1m, including 5s of notice\n  handover off\n  vhosts   a.org, b.org\n";
        assert_eq!(summary(&Config::parse(text, "a.yaml").unwrap()), expected);
        let text = "role: edge\nedge: { origins: [origin, '[fd00::1]:1936'] }\nlimits: { egress: 1.5Gbps }\n";
        let shown = summary(&Config::parse(text, "a.yaml").unwrap());
        for line in [
            "  role     edge of origin:1935, [fd00::1]:1936\n",
            "  hls      from the origins\n",
            "  egress   1.5Gbps\n",
            "  play     as the origins decide (their cidr checks see this edge)\n",
        ] {
            assert!(shown.contains(line), "{shown}");
        }
    }

    #[test]
    fn the_summary_says_who_may_and_no_secret() {
        let text = "api: { admin_tokens: [hunter2, hunter3], tls: { cert: a, key: b, read_ca: c }, peers: [a, b] }\n\
                    auth: { publish: [secret: { values: hunter4 }], \
                    play: [cidr: { allow: '::1' }, jwt: { secret: hunter5 }] }\n\
                    handover: { socket: /run/weir.sock }\n";
        let shown = summary(&Config::parse(text, "a.yaml").unwrap());
        for line in [
            "  api      0.0.0.0:1985 with TLS\n",
            "  admins   2 tokens\n",
            "  readers  certificates\n",
            "  peers    a:1985, b:1985\n",
            "  publish  clients that pass secret\n",
            "  play     clients that pass cidr, jwt\n",
            "  handover /run/weir.sock\n",
        ] {
            assert!(shown.contains(line), "{shown}");
        }
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn checks_files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("weir.yaml");
        // ExitCode cannot be compared, only shown.
        let check = |environment: &[(&str, &str)]| {
            let read = Config::load(Some(&file), environment.iter().copied());
            format!("{:?}", checked(Some(&file), read, false))
        };
        let code = || check(&[]);
        assert_eq!(code(), format!("{:?}", ExitCode::FAILURE), "no file");
        fs::write(&file, "role: origin\n").unwrap();
        assert_eq!(code(), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(check(&[("WEIR_ROLE", "edeg")]), format!("{:?}", ExitCode::FAILURE));
        fs::write(&file, "rol: origin\n").unwrap();
        assert_eq!(code(), format!("{:?}", ExitCode::FAILURE));
    }
}
