//! The log: events on stderr or in a file, as lines for people or as JSON for machines.
//!
//! ```text
//! event ─► level, filter ─► Throttle: is there enough of this kind? ─► a line ─► Writer: bounded ─► stderr, log_file
//! ```
//!
//! Nothing that logs waits for whoever reads stderr, and nobody from outside can fill the log. Still no line is logged
//! with a lock held: what is logged may one day cost more than it does.

mod file;
mod throttle;
mod writer;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env, fmt,
    io::{self, IsTerminal},
    num::NonZeroU32,
    panic::{self, PanicHookInfo},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, OnceLock},
    thread,
    time::Instant,
};

use tracing::{
    Subscriber,
    dispatcher::SetGlobalDefaultError,
    level_filters::{LevelFilter, ParseLevelFilterError},
    subscriber,
};
use tracing_subscriber::{
    Registry,
    filter::{ParseError, Targets},
    fmt::{self as lines, MakeWriter},
    layer::SubscriberExt as _,
};

use self::{
    throttle::{Throttle, Throttled},
    writer::{Remarks, Writer},
};

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct Options {
    /// What to log: error, warn, info, debug, trace, off, or a filter such as info,weir_rtmp=debug.
    #[arg(
        long = "log",
        env = "WEIR_LOG",
        value_name = "LEVEL|FILTER",
        default_value_t,
        global = true
    )]
    pub filter: Filter,

    /// The shape of a log line.
    #[arg(
        long = "log-format",
        env = "WEIR_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        global = true
    )]
    pub format: Format,

    /// Burst of log lines of one kind from one address; after it, one per second is written and the others are
    /// counted.
    #[arg(
        long = "log-burst",
        env = "WEIR_LOG_BURST",
        value_name = "LINES",
        default_value_t,
        global = true
    )]
    pub burst: Burst,
}

/// How many lines of one kind one address may cause at once. Empty text, as of a variable that is set to nothing, is
/// the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst(NonZeroU32);

impl Default for Burst {
    fn default() -> Self {
        Self(throttle::BURST)
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text is no [`Burst`].
#[derive(Debug, thiserror::Error)]
#[error("must be a number of lines from 1 to 1000000")]
pub struct InvalidBurst;

impl FromStr for Burst {
    type Err = InvalidBurst;

    fn from_str(text: &str) -> Result<Self, InvalidBurst> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let lines = text.trim().parse().ok().filter(|lines: &NonZeroU32| lines.get() <= 1_000_000);
        lines.map(Self).ok_or(InvalidBurst)
    }
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people when stderr is a terminal, JSON otherwise.
    // A variable that is set to nothing.
    #[value(alias = "")]
    #[default]
    Auto,
    /// Text for people; in colour on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

/// A level, or directives of [`Targets`]; checked. Empty text, as of a variable that is set to nothing, is the
/// default.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    text: String,
    targets: Targets,
}

impl Default for Filter {
    fn default() -> Self {
        Self { text: "info".to_owned(), targets: Targets::new().with_default(LevelFilter::INFO) }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is no [`Filter`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidFilter {
    /// A lone word is no level. [`Targets`] would take it for a module and log nothing else.
    #[error("`{0}` is not a level; use error, warn, info, debug, trace, off, or MODULE=LEVEL")]
    Level(String, #[source] ParseLevelFilterError),
    /// Only modules have levels.
    #[error("`{0}`: spans and fields have no level of their own; use MODULE=LEVEL")]
    Spans(String),
    /// Not a filter.
    #[error(transparent)]
    Syntax(#[from] ParseError),
}

impl FromStr for Filter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        let directives: Vec<_> = text.split(',').map(str::trim).filter(|d| !d.is_empty()).collect();
        if directives.is_empty() {
            return Ok(Self::default());
        }
        if let Some(spans) = directives.iter().find(|directive| directive.contains('[')) {
            return Err(InvalidFilter::Spans((*spans).to_owned()));
        }
        for directive in directives.iter().copied().filter(|d| !d.contains('=')) {
            if let Err(error) = directive.parse::<LevelFilter>() {
                return Err(InvalidFilter::Level(directive.to_owned(), error));
            }
        }
        let targets = directives.join(",").parse()?;
        Ok(Self { text: text.to_owned(), targets })
    }
}

/// Where the lines of this process go.
static WRITER: OnceLock<Writer> = OnceLock::new();

/// Writes what is still to be written when it is dropped, however the process ends.
#[must_use]
#[derive(Debug)]
pub struct Log;

impl Drop for Log {
    fn drop(&mut self) {
        finish();
    }
}

/// Sends the events of this process, and its panics, to stderr from now on.
///
/// # Errors
/// The process logs already, or the system gives no thread.
pub fn init(options: &Options) -> Result<Log, InitError> {
    let terminal = io::stderr().is_terminal();
    // https://no-color.org
    let colour = terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let look = match options.format {
        Format::Json => Look::Json,
        Format::Auto if !terminal => Look::Json,
        Format::Auto | Format::Human => Look::Human { colour },
    };
    let throttle = Arc::new(Throttle::new(options.burst.0));
    let writer = Writer::start(io::stderr(), Reporter(Arc::clone(&throttle)))?;
    let writer = WRITER.get_or_init(|| writer).clone();
    let logger = build(&options.filter, look, writer, throttle);
    subscriber::set_global_default(logger)?;
    panic::set_hook(Box::new(on_panic));
    Ok(Log)
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Somebody else's subscriber is there.
    #[error(transparent)]
    Taken(#[from] SetGlobalDefaultError),
    /// The system gives no thread.
    #[error("cannot start the thread for the log: {0}")]
    Thread(#[from] io::Error),
}

/// Writes `text`, a line or some, to stderr as it is, in its turn and whatever is logged. Waits for nobody.
pub fn say(text: &str) {
    match WRITER.get() {
        Some(writer) => writer.push(format!("{text}\n").as_bytes()),
        None => eprintln!("{text}"),
    }
}

/// Has what is logged from now on appended to the file at `path`. Where it cannot be opened, that is logged, and lines
/// go where they went. Waits for nobody.
pub fn write_to(path: PathBuf) {
    if let Some(writer) = WRITER.get() {
        writer.write_to(path);
    }
}

/// Opens the file of the log again, by its path, if there is one. Waits for nobody.
pub fn reopen() {
    if let Some(writer) = WRITER.get() {
        writer.reopen();
    }
}

/// Writes what is still to be written, before the process ends. Does not wait long for who reads it.
pub fn finish() {
    if let Some(writer) = WRITER.get() {
        writer.finish();
    }
}

/// The standard library would write to stderr itself, and wait for whoever reads it.
fn on_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let (thread, reason) = (thread.name().unwrap_or_default(), panic.payload_as_str());
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    // Only where RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => format!("\n{backtrace}"),
        _ => String::new(),
    };
    let reason = reason.unwrap_or("no reason given");
    tracing::error!(thread, at, reason, "a thread panicked{backtrace}");
}

/// What the log says of itself.
struct Reporter(Arc<Throttle>);

impl Remarks for Reporter {
    fn lost(&mut self, lines: u64) {
        tracing::warn!(
            lines,
            "log lines were lost: the reader or the disk of this log was too slow or full"
        );
    }

    fn opened(&mut self, path: &Path, opened: &io::Result<()>) {
        let path = path.display();
        match opened {
            Ok(()) => tracing::info!(%path, "log file opened"),
            Err(error) => {
                tracing::warn!(%path, %error, "cannot open the log file: lines go where they went before");
            }
        }
    }

    fn look(&mut self, is_ending: bool) {
        self.0.report(is_ending, Instant::now());
    }
}

#[derive(Clone, Copy)]
enum Look {
    Human { colour: bool },
    Json,
}

/// What takes events in.
fn build<W>(
    filter: &Filter,
    look: Look,
    writer: W,
    throttle: Arc<Throttle>,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = lines::layer().with_writer(writer);
    let (targets, throttled) = (filter.targets.clone(), Throttled(throttle));
    match look {
        Look::Human { colour } => {
            let lines = lines.with_ansi(colour).with_target(false);
            Box::new(Registry::default().with(lines).with(targets).with(throttled))
        }
        // Fields at the top level, where log stores look for them; spans once, outermost first.
        Look::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false);
            Box::new(Registry::default().with(lines).with(targets).with(throttled))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What is written for one event at info and one at debug level, both inside a span.
    fn written(filter: &str, look: Look) -> String {
        let out = Arc::new(Mutex::new(Vec::new()));
        let writer = SharedWriter(Arc::clone(&out));
        let throttle = Arc::new(Throttle::new(throttle::BURST));
        let filter = filter.parse().unwrap();
        let subscriber = build(&filter, look, move || writer.clone(), throttle);
        subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("conn", id = 7).entered();
            tracing::info!(stream = "/live/a", "published");
            tracing::debug!("a detail");
        });
        let bytes = out.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[derive(Clone)]
    struct SharedWriter(Arc<Mutex<Vec<u8>>>);

    impl io::Write for SharedWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn json_has_one_object_a_line() {
        let text = written("info", Look::Json);
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "published");
        assert_eq!(line["stream"], "/live/a");
        assert_eq!(line["target"], module_path!());
        assert_eq!(line["spans"], serde_json::json!([{ "name": "conn", "id": 7 }]));
        assert!(line["timestamp"].is_string(), "{text}");
    }

    #[test]
    fn times_are_in_utc_and_end_in_z() {
        let line: serde_json::Value = serde_json::from_str(&written("info", Look::Json)).unwrap();
        let json = line["timestamp"].as_str().unwrap().to_owned();
        let text = written("info", Look::Human { colour: false });
        let human = text.split_whitespace().next().unwrap().to_owned();
        for time in [json, human] {
            let shape: String =
                time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{time}");
        }
    }

    #[test]
    fn people_get_plain_lines_unless_they_want_colour() {
        let text = written("info", Look::Human { colour: false });
        assert!(text.ends_with(" INFO conn{id=7}: published stream=\"/live/a\"\n"), "{text}");
        assert!(!text.contains('\x1b'), "{text:?}");
        let text = written("info", Look::Human { colour: true });
        assert!(text.contains('\x1b'), "{text:?}");
    }

    #[test]
    fn the_filter_decides() {
        let lines = |filter| written(filter, Look::Json).lines().count();
        assert_eq!(lines("off"), 0);
        assert_eq!(lines("warn"), 0);
        assert_eq!(lines("debug"), 2);
        assert_eq!(lines("warn,weir_server=debug"), 2);
        assert_eq!(lines("debug,weir_server::log=info"), 1);
        assert_eq!(lines("off,weir_server=info"), 1);
        assert_eq!(lines(" warn , weir_server=debug ,"), 2);
        assert_eq!(lines("3"), 1);
        assert_eq!(lines("INFO"), 1);
        assert_eq!(lines(""), 1);
        assert_eq!(lines(","), 1);
    }

    #[test]
    fn refuses_what_would_log_nothing() {
        let why = |filter: &str| filter.parse::<Filter>().unwrap_err().to_string();
        let fix = "use error, warn, info, debug, trace, off, or MODULE=LEVEL";
        assert_eq!(why("verbose"), format!("`verbose` is not a level; {fix}"));
        assert_eq!(why("info,weir_rtmp"), format!("`weir_rtmp` is not a level; {fix}"));
        assert!(!why("weir=loud").is_empty());
        for spans in ["[conn]=debug", "info,weir_server[conn{id=7}]=debug", "[{stream}]=debug"] {
            assert!(why(spans).contains("use MODULE=LEVEL"), "{spans}");
        }
    }
}
