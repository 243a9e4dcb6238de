//! Putting the process together: what is started in which order, and how it ends.

use std::{
    io::{self, Write},
    path::PathBuf,
    pin::pin,
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    signal::unix::{self, SignalKind},
    sync::mpsc,
};
use tracing::{info, warn};
use weir_clients::{
    descriptors::Shares,
    listen::{self, ListenError},
};
use weir_config::{Config, ConfigError, Settings};
use weir_delivery::Returned;
use weir_outputs::hls::HlsOutput;

use crate::{
    api, auth,
    command::{
        self, Cli, Command, demo, publish,
        remote::{self, Request},
    },
    http, log,
    node::Node,
    operate::{
        control::{Control, Why},
        drain,
        handover::{
            self, HandoverLink, HandoverSocket, Inherited, OfferedListener, Trial, reachable,
        },
        preflight::{self, BadFolder},
        reload::{self, Acceptors, Reloader},
    },
    phase::Phase,
    rtmp,
};

/// Why the process could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port cannot be had.
    #[error("error: {0}")]
    Listen(#[from] ListenError),
    /// The process before does not give way.
    #[error("error: {0}")]
    Handover(#[from] handover::Error),
    /// Publishing failed.
    #[error("error: {0}")]
    Publish(#[from] publish::Error),
    /// A running node does not do what it is asked.
    #[error(transparent)]
    Remote(#[from] remote::Error),
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
        Command::Check { config, text_only } => {
            return command::check(config.as_deref(), text_only);
        }
        Command::Schema => return command::schema(),
        Command::Completions { shell } => return command::completions(shell),
        Command::Man { command } => return command::man(command.as_deref()),
        Command::Version => return command::version(),
        Command::Token(words) => return auth::cli::run(&words),
        Command::Serve { config, replace } => in_runtime(serve(config, replace, false)),
        Command::Demo { config } => in_runtime(serve(config, false, true)),
        Command::Publish { file, url, repeat } => in_runtime(async move {
            Ok(publish::run(&publish::Source::File(file), &url, repeat).await?)
        }),
        Command::Status(target) => ask(&Request::Status, &target),
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

/// How long work on files that is under way may take once the process ends.
const LAST_WORK: Duration = Duration::from_secs(1);

fn in_runtime(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    // A thread that hangs at a file must not keep the process from ending.
    runtime.shutdown_timeout(LAST_WORK);
    done
}

/// The ports, bound but not served yet.
struct Ports {
    rtmp: Vec<Arc<TcpListener>>,
    http: Vec<Arc<TcpListener>>,
    api: Vec<Arc<TcpListener>>,
}

async fn serve(path: Option<PathBuf>, replace: bool, is_demo: bool) -> Result<(), Error> {
    let (config, sources) = Config::load_from_process(path.as_deref())?;
    let files = preflight::Files::read(&config).map_err(|fault| sources.locate(fault))?;
    preflight::socket(&config).map_err(|fault| sources.locate(fault))?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let signals = Signals::listen()?;
    // The ports come first: a process that cannot have them must not touch anything.
    let socket = config.handover.socket.clone();
    let mut inherited = match replace {
        true => Inherited::from_process_at(socket.as_deref()).await?,
        false => Inherited::default(),
    };
    let ports = Ports::bind(&config, &mut inherited)?;
    let offered = if socket.is_some() { ports.offered()? } else { Vec::new() };
    let trials = ports.trials(&config)?;
    if let Some(shortage) = Shares::of_process().shortage(config.limits.connections) {
        warn!("{shortage}");
    }
    for BadFolder { fault, is_lasting } in preflight::folders(&config, None, true) {
        if is_lasting {
            return Err(sources.locate(fault).into());
        }
        warn!("{fault}");
    }
    let settings = Settings::new(config);
    let (node, returned) = Node::start(&settings, files.keys)?;
    if node.edge.is_none() {
        begin_hls(&node.hls, replace);
    }
    let summary = ports.summary(is_demo)?;
    let rtmp_address = ports.rtmp.first().map(|it| it.local_addr()).transpose()?;
    let doors = Acceptors::new(&node, files.tls);
    let reloader = Reloader::new(path, &node, doors.clone());
    let control = Arc::new(Control::new(&node, &reloader));
    let estate = socket.map(|path| HandoverSocket::prepare(path, offered)).transpose()?;
    // Whatever can fail has not failed.
    inherited.begin().await?;
    ports.serve(&control, &doors, returned, is_demo.then_some(demo::STREAM));
    // The process before goes with this.
    let tie = inherited.end(&trials).await?;
    tokio::spawn(reload::watch(Arc::clone(&reloader)));
    tokio::spawn(Arc::clone(&doors.tls).renew(settings.clone()));
    node.phase.send_replace(Phase::Serving);
    let told = Arc::clone(&control);
    let keeper = estate.map(|estate| estate.keep(move |what| told.hear(what), doors.all()));
    print(summary)?;
    if let (true, Some(address)) = (is_demo, rtmp_address) {
        tokio::spawn(demo::publish(reachable(address), control.node.phase.subscribe()));
    }
    until_stopped(&control, &doors, signals, tie).await;
    drop(keeper);
    Ok(())
}

fn begin_hls(hls: &Arc<HlsOutput>, replaces: bool) {
    // The process that is replaced goes on with its streams to their end.
    for dir in hls.claim_folders().iter().filter(|_| !replaces) {
        warn!("{}", preflight::shared_folder(dir));
    }
    hls.sweep_later();
    tokio::spawn(Arc::clone(hls).look_after());
}

/// Serves until the process is asked to stop, then lets everybody go. A second signal ends it at once. Goes on serving
/// when the process that has replaced this one dies before the end.
async fn until_stopped(
    control: &Control,
    doors: &Acceptors,
    mut signals: Signals,
    mut tie: HandoverLink,
) {
    loop {
        let cause = until_asked(control, &mut signals).await;
        info!(cause = cause.name(), "stopping");
        tie.release().await;
        if has_drained(control, doors, &mut signals, cause).await {
            return;
        }
        control.node.outputs.go_on();
        control.node.phase.send_replace(Phase::Serving);
        info!("serving again");
    }
}

/// Waits until the process is asked to stop.
async fn until_asked(control: &Control, signals: &mut Signals) -> Cause {
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Hangup => {
                    let reloader = Arc::clone(&control.reloader);
                    // The reason is in the log. Whatever it waits for, other signals are heard meanwhile.
                    tokio::spawn(async move { reloader.reload("SIGHUP").await });
                }
                signal => return Cause::Signal(signal),
            },
            why = control.asked_to_drain() => return Cause::Control(why),
        }
    }
}

/// Lets everybody go. False if the process has to serve again instead.
async fn has_drained(
    control: &Control,
    doors: &Acceptors,
    signals: &mut Signals,
    cause: Cause,
) -> bool {
    let mut settings = control.node.config().drain.clone();
    if matches!(cause, Cause::Signal(Signal::Interrupt) | Cause::Control(Why::Replaced)) {
        // Somebody sits before it, or the next process is there already: no balancer has to hear of it.
        settings.notice = Duration::ZERO;
    }
    let mut closing = vec![Arc::clone(&doors.rtmp), Arc::clone(&doors.http)];
    if cause == Cause::Control(Why::Replaced) {
        // The doors are held for the other process, and must be there if it dies. Else whoever looks after this
        // process must be able to reach it to the end.
        closing.clear();
    }
    let mut is_signalled = matches!(cause, Cause::Signal(_));
    let mut draining = pin!(drain::drain(&control.node, &closing, &settings));
    loop {
        tokio::select! {
            () = &mut draining => return true,
            () = control.until_taken_back(), if cause == Cause::Control(Why::Replaced) => return false,
            signal = signals.next() => match signal {
                Signal::Hangup => {}
                // A supervisor that stops what was told to drain already wants it to drain, whatever comes.
                _ if !std::mem::replace(&mut is_signalled, true) => control.drain(),
                signal => {
                    info!(signal = signal.name(), "second signal: stopping immediately");
                    return true;
                }
            },
        }
    }
}

/// Why the process stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Signal(Signal),
    Control(Why),
}

impl Cause {
    const fn name(self) -> &'static str {
        match self {
            Self::Signal(signal) => signal.name(),
            Self::Control(Why::Asked) => "an operator",
            Self::Control(Why::Replaced) => "another process",
        }
    }
}

/// What a process can be told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Terminate,
    Interrupt,
    Hangup,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Hangup => "SIGHUP",
        }
    }
}

struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }
}

impl Ports {
    fn bind(config: &Config, inherited: &mut Inherited) -> Result<Self, ListenError> {
        let mut inherited = |service, address| inherited.take(service, address);
        Ok(Self {
            rtmp: listen::bind("rtmp", &config.rtmp.listen, &mut inherited)?,
            http: listen::bind("http", &config.http.listen, &mut inherited)?,
            api: listen::bind("api", &config.api.listen, &mut inherited)?,
        })
    }

    /// All of them, for the process that will replace this one.
    fn offered(&self) -> io::Result<Vec<OfferedListener>> {
        let of = |service, listeners: &[Arc<TcpListener>]| {
            listeners
                .iter()
                .map(|it| OfferedListener::of(service, it))
                .collect::<io::Result<Vec<_>>>()
        };
        let all = [of("rtmp", &self.rtmp)?, of("http", &self.http)?, of("api", &self.api)?];
        Ok(all.into_iter().flatten().collect())
    }

    /// All of them, to be tried out before another process is replaced.
    fn trials(&self, config: &Config) -> io::Result<Vec<Trial>> {
        let services = [
            ("rtmp", &self.rtmp, config.rtmp.proxy_protocol),
            ("http", &self.http, config.http.proxy_protocol),
            ("api", &self.api, false),
        ];
        let of = |(service, listeners, has_header): (_, &Vec<Arc<TcpListener>>, _)| {
            let of =
                move |it: &Arc<TcpListener>| Ok(Trial::new(service, it.local_addr()?, has_header));
            listeners.iter().map(of).collect::<Vec<io::Result<Trial>>>()
        };
        services.into_iter().flat_map(of).collect()
    }

    /// Serves; `shown` is the stream that the first page of the HTTP ports leads to.
    fn serve(
        self,
        control: &Arc<Control>,
        doors: &Acceptors,
        returned: mpsc::Receiver<Returned>,
        shown: Option<&'static str>,
    ) {
        let node = &control.node;
        let service = Arc::new(rtmp::Service(Arc::clone(node)));
        for listener in self.rtmp {
            tokio::spawn(listen::accept(listener, Arc::clone(&doors.rtmp), Arc::clone(&service)));
        }
        let service = Arc::new(http::Media::new(node, shown));
        for listener in self.http {
            tokio::spawn(listen::accept(listener, Arc::clone(&doors.http), Arc::clone(&service)));
        }
        let door = &doors.api;
        let gate = Arc::new(api::Gate::new(node.registry.budget()));
        let router = api::router(control, &doors.tls, &gate);
        let connections = Shares::of_process().api;
        let service = Arc::new(api::Service::new(router, &doors.tls, &gate, connections));
        for listener in self.api {
            tokio::spawn(listen::accept(listener, Arc::clone(door), Arc::clone(&service)));
        }
        tokio::spawn(take_back(Arc::clone(node), returned));
    }

    /// What is printed at the start: where to publish and play, and the addresses that are listened on, a line each.
    fn summary(&self, is_demo: bool) -> io::Result<String> {
        let stream = if is_demo { demo::STREAM } else { "live/livestream" };
        let mut text = format!("Weir {}\n\n", env!("CARGO_PKG_VERSION"));
        if let Some(address) = self.rtmp.first() {
            let rtmp = reachable(address.local_addr()?);
            if !is_demo {
                text += &format!("  publish   rtmp://{rtmp}/{stream}\n");
            }
            text += &format!("  play      rtmp://{rtmp}/{stream}\n");
        }
        if let Some(address) = self.http.first() {
            let http = reachable(address.local_addr()?);
            text += &format!("            http://{http}/{stream}.flv\n");
            text += &format!("            http://{http}/{stream}.m3u8\n");
            text += &format!("  watch     http://{http}/player?stream={stream}\n");
        }
        text.push('\n');
        for (service, listeners) in [("rtmp", &self.rtmp), ("http", &self.http), ("api", &self.api)]
        {
            for listener in listeners {
                text += &format!("listening {service} {}\n", listener.local_addr()?);
            }
        }
        Ok(text)
    }
}

/// Writes the summary, from a thread of its own: nobody may read our output.
fn print(summary: String) -> io::Result<()> {
    let write = move || {
        // Who has closed our output does not want to know.
        let _ = io::stdout().write_all(summary.as_bytes()).and_then(|()| io::stdout().flush());
    };
    thread::Builder::new().name("weir-summary".to_owned()).spawn(write).map(drop)
}

/// Goes on with RTMP viewers that leave their shard.
async fn take_back(node: Arc<Node>, mut returned: mpsc::Receiver<Returned>) {
    while let Some(returned) = returned.recv().await {
        tokio::spawn(rtmp::resume(Arc::clone(&node), returned));
    }
}
