//! Putting the process together: what is started in which order, and how it ends.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    signal::unix::{self, SignalKind},
    sync::mpsc,
};
use tracing::info;

use crate::{
    api,
    cli::{self, Cli, Command},
    config::{Config, ConfigError},
    control::Control,
    demo, drain, http,
    listen::{self, Door, ListenError, Places},
    log,
    node::Node,
    phase::Phase,
    play::Returned,
    publish,
    reload::{self, Doors, Reloader},
    rtmp,
    settings::Settings,
};

/// Connections to the API, on places of their own: whoever looks after a full server must be able to reach it.
const API_CONNECTIONS: usize = 256;

/// Why the process could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port cannot be had.
    #[error("error: {0}")]
    Listen(#[from] ListenError),
    /// Publishing failed.
    #[error("error: {0}")]
    Publish(#[from] publish::Error),
    /// The system refuses something basic.
    #[error("error: {0}")]
    System(#[from] io::Error),
}

/// Does what the command line asks.
pub fn run(cli: Cli) -> ExitCode {
    if let Err(error) = log::init(&cli.log) {
        // Somebody else's subscriber is as good; nobody's log is lost.
        eprintln!("warning: {error}");
    }
    let done = match cli.command {
        Command::Check { config } => return cli::check(&config),
        Command::Serve { config } => in_runtime(serve(config, false)),
        Command::Demo { config } => in_runtime(serve(config, true)),
        Command::Publish { file, url, repeat } => in_runtime(async move {
            Ok(publish::run(&publish::Source::File(file), &url, repeat).await?)
        }),
    };
    log::finish();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// The ports, bound but not served yet.
struct Ports {
    rtmp: Vec<TcpListener>,
    http: Vec<TcpListener>,
    api: Vec<TcpListener>,
}

async fn serve(path: Option<PathBuf>, is_demo: bool) -> Result<(), Error> {
    let config = Config::load_from_process(path.as_deref())?;
    let signals = Signals::listen()?;
    // The ports come first: a process that cannot have them must not touch anything.
    let ports = Ports::bind(&config)?;
    let settings = Settings::new(config);
    let (node, returned) = Node::start(&settings)?;
    node.hls.sweep_later(&settings.now().hls);
    let summary = ports.summary(is_demo)?;
    let rtmp_address = ports.rtmp.first().map(TcpListener::local_addr).transpose()?;
    let doors = Doors::new(&node);
    let reloader = Reloader::new(path, &node, doors.clone());
    let control = Arc::new(Control::new(&node, &reloader));
    ports.serve(&control, &doors, returned);
    tokio::spawn(reload::watch(Arc::clone(&reloader)));
    node.phase.send_replace(Phase::Serving);
    io::stdout().write_all(summary.as_bytes())?;
    io::stdout().flush()?;
    if let (true, Some(address)) = (is_demo, rtmp_address) {
        tokio::spawn(demo::publish(reachable(address)));
    }
    until_stopped(&control, &doors, signals, is_demo).await;
    Ok(())
}

/// Serves until the process is asked to stop, then lets everybody go. A second signal, or the first one to a demo, ends
/// it at once.
async fn until_stopped(control: &Control, doors: &Doors, mut signals: Signals, is_demo: bool) {
    let reloader = Arc::clone(&control.reloader);
    let asked = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Hangup => {
                    let reloader = Arc::clone(&reloader);
                    // The reason is in the log.
                    let _ = tokio::task::spawn_blocking(move || reloader.reload("SIGHUP")).await;
                }
                signal => break signal,
            },
            () = control.asked_to_drain() => break Signal::Terminate,
        }
    };
    info!(signal = asked.name(), "stopping");
    if is_demo {
        return;
    }
    let mut settings = control.node.config().drain.clone();
    if asked == Signal::Interrupt {
        // Somebody sits before it, and no balancer has to hear of it.
        settings.notice = Duration::ZERO;
    }
    let doors = doors.all();
    let mut draining = pin!(drain::drain(&control.node, &doors, &settings));
    loop {
        tokio::select! {
            () = &mut draining => return,
            signal = signals.next() => if signal != Signal::Hangup {
                info!(signal = signal.name(), "asked again: stopping at once");
                return;
            },
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
    fn bind(config: &Config) -> Result<Self, ListenError> {
        Ok(Self {
            rtmp: listen::bind("rtmp", &config.rtmp.listen)?,
            http: listen::bind("http", &config.http.listen)?,
            api: listen::bind("api", &config.api.listen)?,
        })
    }

    fn serve(self, control: &Arc<Control>, doors: &Doors, returned: mpsc::Receiver<Returned>) {
        let node = &control.node;
        let service = Arc::new(rtmp::Service(Arc::clone(node)));
        for listener in self.rtmp {
            tokio::spawn(listen::accept(listener, Arc::clone(&doors.rtmp), Arc::clone(&service)));
        }
        let service = Arc::new(http::Media::new(node));
        for listener in self.http {
            tokio::spawn(listen::accept(listener, Arc::clone(&doors.http), Arc::clone(&service)));
        }
        let door = Arc::new(Door::new("api", Places::new(API_CONNECTIONS)));
        let service = Arc::new(http::Plain(api::router(control)));
        for listener in self.api {
            tokio::spawn(listen::accept(listener, Arc::clone(&door), Arc::clone(&service)));
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

/// An address under which this machine can reach a listener.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    address
}

/// Goes on with RTMP viewers that leave their shard.
async fn take_back(node: Arc<Node>, mut returned: mpsc::Receiver<Returned>) {
    while let Some(returned) = returned.recv().await {
        tokio::spawn(rtmp::resume(Arc::clone(&node), returned));
    }
}
