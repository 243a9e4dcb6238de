//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Load for live-streaming servers.
#[derive(Parser)]
#[command(name = "weir-load", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Publish synthetic streams over RTMP.
    Publish(Publish),
    /// Play streams and measure.
    Play(Play),
    /// Ask for a playlist or a segment again and again over HTTP, and measure.
    Request(Request),
    /// Be the bare loop: accept HTTP-FLV viewers and do nothing but `send` to each of them.
    Floor(Floor),
    /// Be consoles that are open: ask the API what their pages ask, and measure what that costs.
    Console(Console),
}

/// Publishers.
#[derive(Args, Clone)]
pub struct Publish {
    /// `rtmp://HOST[:PORT]/APP/STREAM`; with several publishers, `{}` stands for their number.
    pub url: String,
    /// How many publishers.
    #[arg(long, default_value_t = 1)]
    pub count: usize,
    /// Bits a second of each.
    #[arg(long, default_value_t = 1_000_000)]
    pub bit_rate: u64,
    /// For how many seconds; until killed, if not given.
    #[arg(long, value_parser = seconds)]
    pub seconds: Option<Duration>,
    /// Print `publishing` when all have been accepted.
    #[arg(long)]
    pub announce: bool,
    /// Seconds between the last one's acceptance and the measurement.
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub settle: Duration,
    /// Measure the CPU time and memory of this process (may be given more than once): from --settle after all have
    /// been accepted to the end.
    #[arg(long = "watch", requires = "seconds")]
    pub watch: Vec<u32>,
}

/// Viewers.
#[derive(Args, Clone)]
pub struct Play {
    /// `rtmp://HOST[:PORT]/APP/STREAM` or `http://HOST:PORT/APP/STREAM.flv`, with TLS `rtmps` or `https`; `{}` stands
    /// for the number of the stream.
    pub url: String,
    /// The PEM file with the certificates that are trusted, with TLS. The one cipher is TLS_AES_128_GCM_SHA256.
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// How many viewers.
    #[arg(long, default_value_t = 100)]
    pub count: usize,
    /// Over how many streams they spread, viewer by viewer.
    #[arg(long, default_value_t = 1)]
    pub streams: usize,
    /// Within how many seconds they come.
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub ramp: Duration,
    /// Seconds between the last one's coming and the measurement.
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub warmup: Duration,
    /// Seconds of measurement.
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub seconds: Duration,
    /// How many of them, evenly spread, read and time every picture; the others' bytes are thrown away in the kernel.
    #[arg(long, default_value_t = 20)]
    pub sample: usize,
    /// How many more viewers stop reading once they play. They come within another --ramp, after the others.
    #[arg(long, default_value_t = 0)]
    pub stalled: usize,
    /// How many more viewers read at --slow-rate only. They come with the stalled ones.
    #[arg(long, default_value_t = 0)]
    pub slow: usize,
    /// Bytes a second that a slow viewer reads.
    #[arg(long, default_value_t = 20_000)]
    pub slow_rate: u64,
    /// How many more viewers come, all at once, within --storm-ramp seconds from the beginning of the measurement.
    #[arg(long, default_value_t = 0)]
    pub storm: usize,
    /// See --storm.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub storm_ramp: Duration,
    /// A viewer that gets nothing for this many milliseconds has stalled.
    #[arg(long, default_value_t = 500)]
    pub stall_ms: u64,
    /// Measure the CPU time and memory of this process (may be given more than once).
    #[arg(long = "watch")]
    pub watch: Vec<u32>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// HTTP clients on kept-alive connections.
#[derive(Args, Clone)]
pub struct Request {
    /// `http://HOST:PORT/PATH` or `https://HOST:PORT/PATH`.
    pub url: String,
    /// The PEM file with the certificates that are trusted, with TLS. The one cipher is TLS_AES_128_GCM_SHA256.
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// The URL is that of a playlist; the last segment that it lists is asked for.
    #[arg(long)]
    pub newest: bool,
    /// How many connections.
    #[arg(long, default_value_t = 100)]
    pub count: usize,
    /// Within how many seconds they come.
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub ramp: Duration,
    /// Seconds between the last one's coming and the measurement.
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub warmup: Duration,
    /// Seconds of measurement.
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub seconds: Duration,
    /// Seconds from one request of a connection to its next; if not given, the next follows the answer.
    #[arg(long, value_parser = seconds)]
    pub every: Option<Duration>,
    /// Measure the CPU time and memory of this process (may be given more than once).
    #[arg(long = "watch")]
    pub watch: Vec<u32>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// The bare loop.
#[derive(Args, Clone)]
pub struct Floor {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Bits a second.
    #[arg(long, default_value_t = 1_000_000)]
    pub bit_rate: u64,
    /// Milliseconds that frames are gathered for; 0 sends each.
    #[arg(long, default_value_t = 0)]
    pub flush_ms: u64,
}

/// Consoles that are open.
#[derive(Args, Clone)]
pub struct Console {
    /// `http://HOST:PORT/` of the API.
    pub url: String,
    /// How many are open.
    #[arg(long, default_value_t = 5)]
    pub count: usize,
    /// What they show.
    #[arg(long, value_enum, default_value_t = ConsolePage::Wall)]
    pub page: ConsolePage,
    /// Tiles of the wall that are seen.
    #[arg(long, default_value_t = 20)]
    pub tiles: usize,
    /// Seconds from their opening to the measurement: the first answers are long.
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub warmup: Duration,
    /// Seconds that they stay open then, in each round.
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub seconds: Duration,
    /// How often they are opened, and with --watch before each time as long none is.
    #[arg(long, default_value_t = 1)]
    pub rounds: usize,
    /// Measure the CPU time of this process (may be given more than once).
    #[arg(long = "watch")]
    pub watch: Vec<u32>,
}

/// A page of the console.
#[derive(Clone, Copy, ValueEnum)]
pub enum ConsolePage {
    /// All streams.
    Wall,
    /// The first of them.
    Stream,
    /// All nodes.
    Cluster,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
