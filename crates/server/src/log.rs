//! The log: events on stderr, as lines for people or as JSON for machines.

use std::{
    env, fmt,
    io::{self, IsTerminal},
    str::FromStr,
};

#[cfg(feature = "otlp")]
use crate::trace::exported;
use tracing::{
    Subscriber,
    dispatcher::SetGlobalDefaultError,
    level_filters::{LevelFilter, ParseLevelFilterError},
    subscriber,
};
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt::MakeWriter};

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
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

/// A level, or directives of [`EnvFilter`]; checked. Empty text, as of a variable that is set to nothing, is the
/// default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(String);

impl Default for Filter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no [`Filter`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidFilter {
    /// A lone word is no level. [`EnvFilter`] would take it for a module and log nothing else.
    #[error("`{0}` is not a level; use error, warn, info, debug, trace, off, or MODULE=LEVEL")]
    Level(String, #[source] ParseLevelFilterError),
    /// Not a filter.
    #[error(transparent)]
    Syntax(#[from] ParseError),
}

impl FromStr for Filter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        for directive in text.split(',').map(str::trim).filter(|d| !d.contains(['=', '['])) {
            if let Err(error) = directive.parse::<LevelFilter>() {
                return Err(InvalidFilter::Level(directive.to_owned(), error));
            }
        }
        EnvFilter::try_new(text)?;
        Ok(Self(text.to_owned()))
    }
}

/// Sends the events of this process to stderr from now on.
///
/// # Errors
/// The process logs already.
pub fn init(options: &Options) -> Result<(), SetGlobalDefaultError> {
    let terminal = io::stderr().is_terminal();
    // https://no-color.org
    let colour = terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let look = match options.format {
        Format::Json => Look::Json,
        Format::Auto if !terminal => Look::Json,
        Format::Auto | Format::Human => Look::Human { colour },
    };
    #[cfg(feature = "otlp")]
    if crate::trace::is_wanted() {
        return subscriber::set_global_default(build_with(&options.filter, look, io::stderr, true));
    }
    subscriber::set_global_default(build(&options.filter, look, io::stderr))
}

/// Sends what is still to be sent, before the process ends.
pub fn finish() {
    #[cfg(feature = "otlp")]
    crate::trace::finish();
}

#[derive(Clone, Copy)]
enum Look {
    Human { colour: bool },
    Json,
}

fn build<W>(filter: &Filter, look: Look, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    build_with(filter, look, writer, false)
}

/// The same; `is_traced` says whether spans are exported too.
fn build_with<W>(
    filter: &Filter,
    look: Look,
    writer: W,
    is_traced: bool,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = match is_traced {
        // Spans are wanted however little is logged.
        #[cfg(feature = "otlp")]
        true => EnvFilter::new(format!("{},{}=info", filter.0, crate::trace::TARGET)),
        _ => EnvFilter::new(&filter.0),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match look {
        Look::Human { colour } => {
            exported(lines.with_ansi(colour).with_target(false).finish(), is_traced)
        }
        // Fields at the top level, where log stores look for them; spans once, outermost first.
        Look::Json => {
            exported(lines.json().flatten_event(true).with_current_span(false).finish(), is_traced)
        }
    }
}

#[cfg(not(feature = "otlp"))]
fn exported(
    subscriber: impl Subscriber + Send + Sync,
    _: bool,
) -> Box<dyn Subscriber + Send + Sync> {
    Box::new(subscriber)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is written for one event at info and one at debug level, both inside a span.
    fn written(filter: &str, look: Look) -> String {
        let out = Arc::new(Mutex::new(Vec::new()));
        let writer = SharedWriter(Arc::clone(&out));
        let subscriber = build(&filter.parse().unwrap(), look, move || writer.clone());
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
        assert_eq!(lines(""), 1);
    }

    #[test]
    fn refuses_what_would_log_nothing() {
        let why = |filter: &str| filter.parse::<Filter>().unwrap_err().to_string();
        let fix = "use error, warn, info, debug, trace, off, or MODULE=LEVEL";
        assert_eq!(why("verbose"), format!("`verbose` is not a level; {fix}"));
        assert_eq!(why("info,weir_rtmp"), format!("`weir_rtmp` is not a level; {fix}"));
        assert!(!why("weir=loud").is_empty());
    }
}
