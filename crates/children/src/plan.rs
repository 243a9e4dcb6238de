//! What is run for a stream: from a line of the configuration to a program with its arguments.
//!
//! What operators write is trusted, and what streams are called is not. A name is put into an argument, and an argument
//! stays one: no shell takes it apart. Where an argument is a URL, the name is percent-encoded; where it begins with a
//! name, that has to begin with a letter, a digit or `_` and has no colon, or nothing is run: `-y` would be an option,
//! and `pipe:1` no file for FFmpeg. What FFmpeg is given for `transcode` and `ingest` has no names in it but those in
//! its two URLs.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use weir_config::{Exec, Ingest, Restart, Transcode, filled};
use weir_media::StreamKey;

use crate::passes::{PARAM, Pass, Passes, Use};

/// Characters that stand for themselves in a URL (RFC 3986, "unreserved"), and slashes, which apps have.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What FFmpeg is told before anything else: to ask nothing, and to say what is wrong and no more.
const QUIETLY: [&str; 4] = ["-nostdin", "-hide_banner", "-loglevel", "warning"];

/// A line of the configuration that runs a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// `exec`
    Exec(Exec),
    /// `transcode`
    Transcode(Transcode),
    /// `ingest`
    Ingest(Ingest),
}

/// A program with its arguments.
#[derive(Debug)]
pub struct Plan {
    /// The program.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What it shows here. Whoever runs it holds them meanwhile.
    pub passes: Vec<Pass>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum NoPlan {
    /// There never will be one for this stream.
    #[error("{0}")]
    Name(String),
    /// The system has no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] io::Error),
}

impl Job {
    /// The key of the configuration that it is a line of.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Transcode(_) => "transcode",
            Self::Ingest(_) => "ingest",
        }
    }

    /// What tells it apart from others of its kind, for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Exec(Exec { run, .. }) => run.first().map(String::as_str).unwrap_or_default(),
            Self::Transcode(Transcode { name, .. }) => name,
            Self::Ingest(Ingest { program, .. }) => program,
        }
    }

    /// Whether the program is started again when it has ended by itself.
    pub const fn restart(&self) -> Restart {
        match self {
            Self::Exec(Exec { restart, .. }) => *restart,
            Self::Transcode(_) | Self::Ingest(_) => Restart::Always,
        }
    }

    /// The stream that it makes here of `key`, if it does.
    pub fn makes(&self, key: &StreamKey) -> Option<StreamKey> {
        let Self::Transcode(Transcode { to, name, .. }) = self else { return None };
        if to.contains("://") {
            return None;
        }
        let path = filled(to, |word| value_of(word, key, name));
        let (app, stream) = path.rsplit_once('/')?;
        StreamKey::new(key.vhost(), app, stream).ok()
    }

    /// What is run for `key`, where this server listens at `here`.
    ///
    /// # Errors
    /// When there is nothing that can be run.
    pub fn plan(
        &self,
        key: &StreamKey,
        here: SocketAddr,
        passes: &Arc<Passes>,
    ) -> Result<Plan, NoPlan> {
        let mut used = Vec::new();
        let mut url = |what: Use, key: &StreamKey| -> Result<String, NoPlan> {
            let pass = passes.issue(what, key)?;
            let url = own_url(key, here, &pass);
            used.push(pass);
            Ok(url)
        };
        let (program, arguments) = match self {
            Self::Exec(Exec { run, .. }) => {
                let url = url(Use::Play, key)?;
                let (program, arguments) = run.split_first().ok_or_else(nothing)?;
                let fill = |argument: &String| fill(argument, key, here, &url);
                (program.clone(), arguments.iter().map(fill).collect::<Result<Vec<_>, _>>()?)
            }
            Self::Transcode(Transcode { to, name, program, input, args, .. }) => {
                let from = url(Use::Play, key)?;
                let to = match self.makes(key) {
                    Some(made) if made == *key => {
                        return Err(NoPlan::Name(format!("{made} would be made of itself")));
                    }
                    Some(made) => url(Use::Publish, &made)?,
                    None if to.contains("://") => {
                        filled(to, |word| Some(encoded(&value_of(word, key, name)?)))
                    }
                    None => return Err(NoPlan::Name(format!("{to} names no stream for it"))),
                };
                let flv = ["-f".to_owned(), "flv".to_owned()];
                (program.clone(), ffmpeg(input, &flv, from, args, to))
            }
            Self::Ingest(ingest) => {
                let to = url(Use::Publish, key)?;
                let again = ["-re", "-stream_loop", "-1"].map(str::to_owned);
                let again = if ingest.is_file() { &again[..] } else { &[] };
                let from = ingest.from.clone();
                (ingest.program.clone(), ffmpeg(again, &ingest.input, from, &ingest.args, to))
            }
        };
        Ok(Plan { program, arguments, passes: used })
    }
}

fn nothing() -> NoPlan {
    NoPlan::Name("there is nothing to run".to_owned())
}

/// The arguments of FFmpeg.
fn ffmpeg(
    first: &[String],
    then: &[String],
    from: String,
    args: &[String],
    to: String,
) -> Vec<String> {
    let before = QUIETLY.into_iter().map(str::to_owned).chain(first.to_vec()).chain(then.to_vec());
    let input = ["-i".to_owned(), from];
    let output = ["-f", "flv", "-y"].map(str::to_owned);
    before.chain(input).chain(args.to_vec()).chain(output).chain([to]).collect()
}

/// Where a program plays or publishes `key` here.
fn own_url(key: &StreamKey, here: SocketAddr, pass: &Pass) -> String {
    let [vhost, app, stream] = [key.vhost(), key.app(), key.stream()].map(encoded);
    format!("rtmp://{here}/{app}/{stream}?vhost={vhost}&{PARAM}={}", pass.word())
}

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, PLAIN).to_string()
}

fn value_of(word: &str, key: &StreamKey, name: &str) -> Option<String> {
    Some(match word {
        "vhost" => key.vhost().to_owned(),
        "app" => key.app().to_owned(),
        "stream" => key.stream().to_owned(),
        "name" => name.to_owned(),
        _ => return None,
    })
}

/// An argument of a program with the names of `key` in it.
fn fill(argument: &str, key: &StreamKey, here: SocketAddr, url: &str) -> Result<String, NoPlan> {
    for (word, name) in [("{app}", key.app()), ("{stream}", key.stream())] {
        if argument.starts_with(word) && !may_begin(name) {
            let what = format!("no argument may begin with the name {name:?} (write ./{word})");
            return Err(NoPlan::Name(what));
        }
    }
    let is_url = argument.contains("://");
    Ok(filled(argument, |word| match word {
        "url" => Some(url.to_owned()),
        "port" => Some(here.port().to_string()),
        "timestamp" => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Some(since.as_millis().to_string())
        }
        word => {
            let value = value_of(word, key, "")?;
            Some(if is_url { encoded(&value) } else { value })
        }
    }))
}

/// Whether an argument may begin with this name.
fn may_begin(name: &str) -> bool {
    let first = name.chars().next();
    first.is_some_and(|c| c.is_alphanumeric() || c == '_') && !name.contains(':')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_config::Config;
    use weir_media::DEFAULT_VHOST;

    use super::*;

    const HERE: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1935);

    fn key(app: &str, stream: &str) -> StreamKey {
        StreamKey::new(DEFAULT_VHOST, app, stream).expect("a name")
    }

    fn config(text: &str) -> Config {
        Config::parse(text, "a.yaml").unwrap_or_else(|error| panic!("{error}"))
    }

    fn planned(job: &Job, key: &StreamKey) -> Result<Vec<String>, NoPlan> {
        let passes = Arc::<Passes>::default();
        let plan = job.plan(key, HERE, &passes)?;
        let hide = |argument: String| {
            plan.passes.iter().fold(argument, |text, pass| text.replace(pass.word(), "PASS"))
        };
        let words = [plan.program.clone()].into_iter().chain(plan.arguments.clone());
        Ok(words.map(hide).collect())
    }

    fn exec(run: &str) -> Job {
        Job::Exec(config(&format!("exec: [{{ run: {run} }}]")).exec.remove(0))
    }

    #[test]
    fn what_is_run() {
        let ffmpeg = exec("[ffmpeg, -i, '{url}', -c, copy, './{app}/{stream}.flv']");
        assert_eq!(
            planned(&ffmpeg, &key("live/eu", "cam 1")).expect("a plan"),
            [
                "ffmpeg",
                "-i",
                "rtmp://127.0.0.1:1935/live/eu/cam%201?vhost=__defaultVhost__&weir_pass=PASS",
                "-c",
                "copy",
                "./live/eu/cam 1.flv",
            ]
        );
        let text = "transcode: [{ name: hd, input: [-re], args: [-s, 1280x720] }]\n\
                    ingest: [{ stream: live/a, from: a.mp4 }, { stream: live/b, from: 'rtsp://c/d' }]";
        let config = config(text);
        let job = Job::Transcode(config.transcode[0].clone());
        assert_eq!(job.makes(&key("live", "a")), Some(key("live", "a_hd")));
        let url = |name: &str| {
            format!("rtmp://127.0.0.1:1935/{name}?vhost=__defaultVhost__&weir_pass=PASS")
        };
        let line = |first: &str, input: &str, args: &str, to: &str| {
            let text = format!(
                "ffmpeg -nostdin -hide_banner -loglevel warning {first}-i {input} {args} -f flv -y {}",
                url(to)
            );
            text.split(' ').map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            planned(&job, &key("live", "a")).expect("a plan"),
            line("-re -f flv ", &url("live/a"), "-s 1280x720", "live/a_hd")
        );
        for (number, first, from, to) in
            [(0, "-re -stream_loop -1 ", "a.mp4", "live/a"), (1, "", "rtsp://c/d", "live/b")]
        {
            let job = Job::Ingest(config.ingest[number].clone());
            let key = config.ingested(&config.ingest[number]).expect("a stream");
            assert_eq!(planned(&job, &key).expect("a plan"), line(first, from, "-c copy", to));
        }
    }

    #[test]
    fn a_name_becomes_no_option_and_no_other_argument() {
        let job = exec(
            "[script, '{stream}', 'x {app} y', '--name={stream}', 'http://a/{stream}?b={app}']",
        );
        let fine = planned(&job, &key("a b/$(c)", "d;e 'f\" g&h")).expect("a plan");
        assert_eq!(
            fine,
            [
                "script",
                "d;e 'f\" g&h",
                "x a b/$(c) y",
                "--name=d;e 'f\" g&h",
                "http://a/d%3Be%20%27f%22%20g%26h?b=a%20b/%24%28c%29",
            ]
        );
        for hostile in ["-y", "--help", "+x", "|x", " -y", "pipe:1", "http:", "~"] {
            let why = planned(&job, &key("live", hostile)).expect_err(hostile).to_string();
            assert!(why.contains("no argument may begin with"), "{why}");
        }
        let within = exec("[script, './{stream}', '{app}']");
        assert_eq!(
            planned(&within, &key("live", "-y")).expect("a plan"),
            ["script", "./-y", "live"]
        );
        assert!(planned(&within, &key("-y", "cam")).is_err());
    }

    #[test]
    fn a_stream_is_not_made_of_itself() {
        let made = |to: &str, key: &StreamKey| {
            let text = format!("transcode: [{{ name: x, to: '{to}' }}]");
            planned(&Job::Transcode(config(&text).transcode.remove(0)), key)
        };
        let why = made("live/{stream}", &key("live", "a")).expect_err("a loop").to_string();
        assert!(why.contains("made of itself"), "{why}");
        assert!(made("live/{stream}", &key("other", "a")).is_ok());
        assert!(made("{app}/{stream}_x", &key("live", &"a".repeat(254))).is_err(), "too long");
        let elsewhere = made("rtmp://h/{app}/{stream}?k=1", &key("live", "a b")).expect("a plan");
        assert_eq!(elsewhere.last().map(String::as_str), Some("rtmp://h/live/a%20b?k=1"));
    }

    proptest! {
        #[test]
        fn any_name_stays_in_its_argument(app in "\\PC{1,12}", stream in "\\PC{1,12}") {
            let Ok(key) = StreamKey::new(DEFAULT_VHOST, &app, &stream) else { return Ok(()) };
            let job = exec("[p, '{stream}', 'a{stream}', '-b', '{url}', '{app}/{stream}']");
            if let Ok(words) = planned(&job, &key) {
                prop_assert_eq!(words.len(), 6);
                prop_assert_eq!(&words[1], &stream);
                prop_assert!(!words[1].starts_with('-') && !words[5].starts_with('-'));
                let host = "rtmp://127.0.0.1:1935/";
                prop_assert!(words[4].starts_with(host) && words[4].matches('?').count() == 1);
                prop_assert!(words[4].bytes().all(|byte| byte.is_ascii_graphic()));
            }
            let text = "transcode: [{ name: hd }]";
            let job = Job::Transcode(config(text).transcode.remove(0));
            if let Ok(words) = planned(&job, &key) {
                prop_assert_eq!(words.len(), 13);
            }
        }
    }
}
