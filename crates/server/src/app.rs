//! The process: what the command line asks for, the log, the signals.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    signal::unix::{self, SignalKind},
    time::timeout,
};
use tracing::info;
use weir_config::{ConfigError, Given};

use crate::{
    auth,
    command::{
        self, Cli, Command, demo, publish,
        remote::{self, Request},
    },
    log,
    operate::{
        control::Why,
        handover::reachable,
        pid_file::{self, PidFile},
    },
    server::{Addresses, Running, Server, Start, StartError},
};

/// Why the process could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Publishing failed.
    #[error("error: {0}")]
    Publish(#[from] publish::Error),
    /// A running node does not do what it is asked.
    #[error(transparent)]
    Remote(#[from] remote::Error),
    /// The number of the process cannot be written down.
    #[error("error: {0}")]
    PidFile(#[from] pid_file::Error),
    /// The system refuses something basic.
    #[error("error: {0}")]
    System(#[from] io::Error),
}

/// Does what the command line asks.
pub fn run(cli: Cli) -> ExitCode {
    // Whatever becomes of this, the last lines are written.
    let _log = log::init(&cli.log).inspect_err(|error| {
        // Somebody else's subscriber is as good; nobody's log is lost.
        log::say(&format!("warning: {error}"));
    });
    let done = match cli.command {
        Command::Check { config, srs_env, text_only } => {
            return command::check(&command::given(config, srs_env), text_only);
        }
        Command::Convert { file, output } => return command::convert(&file, output.as_deref()),
        Command::Schema => return command::schema(),
        Command::Completions { shell } => return command::completions(shell),
        Command::Man { command } => return command::man(command.as_deref()),
        Command::Version => return command::version(),
        Command::Token(words) => return auth::cli::run(&words),
        Command::Serve { config, srs_env, replace } => {
            in_runtime(serve(command::given(config, srs_env), replace, false))
        }
        Command::Demo { config } => in_runtime(serve(config.into(), false, true)),
        Command::Publish { file, url, repeat, tls } => in_runtime(async move {
            Ok(publish::run(&publish::Source::File(file), &url, repeat, &tls).await?)
        }),
        Command::Status(target) => ask(&Request::Status, &target),
        Command::Top { options, target } => {
            in_runtime(async move { Ok(remote::top::run(&options, &target).await?) })
        }
        Command::Streams(target) => ask(&Request::Streams, &target),
        Command::Clients(target) => ask(&Request::Clients, &target),
        Command::Kick { whom, target } => ask(&Request::Kick(whom), &target),
        Command::Reload(target) => ask(&Request::Reload, &target),
        Command::Drain(target) => ask(&Request::Drain, &target),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn ask(request: &Request, target: &remote::Target) -> Result<(), Error> {
    in_runtime(async { Ok(remote::run(request, target).await?) })
}

/// How long a name may still be looked up, or a file read, once the process ends.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Does what one thread can do: a server has threads of its own.
fn in_runtime(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_WORK);
    done
}

async fn serve(given: Given, replace: bool, is_demo: bool) -> Result<(), Error> {
    let start = Start::of_process(&given)?.in_work_dir()?.replacing(replace);
    // By whatever name it was called, and wherever its file has gone since.
    weir_children::launch_through("/proc/self/exe");
    let mut signals = Signals::listen()?;
    let pid_file = start.config().pid_file.clone();
    let log_file = start.config().log_file.clone();
    let running = Server::start(start.showing(is_demo.then_some(demo::STREAM))).await?;
    // Ports are served now: whoever cannot have them leaves the file of who has.
    let pid_file = pid_file.map(PidFile::write).transpose()?;
    if let Some(file) = &pid_file {
        tokio::spawn(Arc::clone(file).follow(running.phases()));
    }
    // Why a server does not start is said where somebody looks who starts it.
    if let Some(file) = log_file {
        log::write_to(file);
    }
    print(summary(running.addresses(), is_demo))?;
    if let (true, Some(address)) = (is_demo, running.addresses().rtmp.first()) {
        tokio::spawn(demo::publish(reachable(*address), running.phases()));
    }
    until_ended(&running, &mut signals).await;
    running.stop().await;
    if let Some(file) = pid_file {
        let removed = tokio::task::spawn_blocking(move || file.remove());
        // Whatever hangs there, the process ends.
        let _ = timeout(LAST_WORK, removed).await;
    }
    Ok(())
}

/// Returns when the server has let everybody go, by whomever it was asked to, or at once at a second signal.
async fn until_ended(running: &Running, signals: &mut Signals) {
    let mut is_signalled = false;
    loop {
        let signal = tokio::select! {
            () = running.ended() => return,
            signal = signals.next() => signal,
        };
        match signal {
            Signal::Hangup if running.phases().borrow().is_ending() => {}
            Signal::Hangup => running.read_anew("SIGHUP"),
            Signal::Reopen => log::reopen(),
            // Kubernetes sends SIGTERM when a `preStop` hook is done that has sent this: that is no second signal.
            Signal::Asked(Why::Quit) => running.drain_for(Why::Quit),
            // A supervisor that stops what was told to drain already wants it to drain, whatever comes.
            Signal::Asked(why) if !std::mem::replace(&mut is_signalled, true) => {
                running.drain_for(why);
            }
            Signal::Asked(why) => {
                info!(signal = why.name(), "second signal: stopping immediately");
                return;
            }
        }
    }
}

/// What a process can be told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Asked(Why),
    Hangup,
    Reopen,
}

struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
    quit: unix::Signal,
    user1: unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
            quit: unix::signal(SignalKind::quit())?,
            user1: unix::signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Asked(Why::Terminated),
            _ = self.interrupt.recv() => Signal::Asked(Why::Interrupted),
            _ = self.hangup.recv() => Signal::Hangup,
            _ = self.quit.recv() => Signal::Asked(Why::Quit),
            _ = self.user1.recv() => Signal::Reopen,
        }
    }
}

/// What is printed at the start: where to publish and play, and the addresses that are listened on, a line each.
fn summary(addresses: &Addresses, is_demo: bool) -> String {
    let stream = if is_demo { demo::STREAM } else { "live/livestream" };
    let mut text = format!("Weir {}\n\n", env!("CARGO_PKG_VERSION"));
    if let Some(address) = addresses.rtmp.first() {
        let rtmp = reachable(*address);
        if !is_demo {
            text += &format!("  publish   rtmp://{rtmp}/{stream}\n");
        }
        text += &format!("  play      rtmp://{rtmp}/{stream}\n");
    }
    if let Some(address) = addresses.http.first() {
        let http = reachable(*address);
        text += &format!("            http://{http}/{stream}.flv\n");
        text += &format!("            http://{http}/{stream}.m3u8\n");
        text += &format!("  watch     http://{http}/player?stream={stream}\n");
    }
    text.push('\n');
    let Addresses { rtmp, http, rtmps, https, api, metrics } = addresses;
    let services = [
        ("rtmp", rtmp),
        ("http", http),
        ("rtmps", rtmps),
        ("https", https),
        ("api", api),
        ("metrics", metrics),
    ];
    for (service, addresses) in services {
        for address in addresses {
            text += &format!("listening {service} {address}\n");
        }
    }
    text
}

/// Writes the summary, from a thread of its own: nobody may read our output.
fn print(summary: String) -> io::Result<()> {
    let write = move || {
        // Who has closed our output does not want to know.
        let _ = io::stdout().write_all(summary.as_bytes()).and_then(|()| io::stdout().flush());
    };
    thread::Builder::new().name("weir-summary".to_owned()).spawn(write).map(drop)
}
