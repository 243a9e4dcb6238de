//! Consoles that are open: what their pages ask of a server, as they ask it. Each connection has a thread.

mod page;

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde::Serialize;

use self::page::{Ask, Connection};
use crate::{
    cli::{Console, ConsolePage},
    cpu::Watch,
};

/// What has been asked for so far, by all consoles.
#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
    /// Why the first one failed.
    why: Mutex<Option<String>>,
}

/// What the consoles asked for, and cost; printed as JSON.
#[derive(Debug, Serialize)]
struct Report {
    consoles: usize,
    /// Seconds for which they were open.
    seconds: f64,
    calls: u64,
    bytes: u64,
    failed: u64,
    /// Why the first of them failed.
    why: Option<String>,
    /// Percents of a core that the watched processes and the kernel's softirq threads took, in each round.
    without: Vec<f64>,
    with: Vec<f64>,
    /// The median of the rounds' differences, for each console.
    per_console: Option<f64>,
}

/// Opens consoles and measures; with rounds, in turn with none.
///
/// # Errors
/// When the server cannot be reached, or does not answer.
pub fn run(console: &Console) -> io::Result<()> {
    let watch = Watch::new(&console.watch);
    let counts = Arc::<Counts>::default();
    let (mut without, mut with, mut open_for) = (Vec::new(), Vec::new(), Duration::ZERO);
    for _ in 0..console.rounds {
        if watch.is_any() {
            without.push(measure(&watch, console.seconds));
        }
        let began = Instant::now();
        let consoles = Consoles::open(console, &counts)?;
        thread::sleep(console.warmup);
        with.push(measure(&watch, console.seconds));
        open_for += began.elapsed();
        consoles.close();
    }
    let mut differences: Vec<_> =
        with.iter().zip(&without).map(|(with, none)| with - none).collect();
    differences.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a few consoles")]
    let per_console =
        differences.get(differences.len() / 2).map(|more| more / console.count.max(1) as f64);
    let report = Report {
        consoles: console.count,
        seconds: open_for.as_secs_f64(),
        calls: counts.calls.load(Ordering::Relaxed),
        bytes: counts.bytes.load(Ordering::Relaxed),
        failed: counts.failed.load(Ordering::Relaxed),
        why: counts.why.lock().unwrap_or_else(PoisonError::into_inner).take(),
        without,
        with,
        per_console,
    };
    println!("{}", serde_json::to_string(&report).map_err(io::Error::other)?);
    Ok(())
}

/// Percents of a core in the next `seconds`.
fn measure(watch: &Watch, seconds: Duration) -> f64 {
    let (began, before) = (Instant::now(), watch.read());
    thread::sleep(seconds);
    let (elapsed, spent) = (began.elapsed(), watch.read().since(before));
    (spent.process + spent.softirq) / elapsed.as_secs_f64() * 100.0
}

/// Consoles that are open.
struct Consoles {
    ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    connections: Vec<Arc<Connection>>,
}

impl Consoles {
    fn open(console: &Console, counts: &Arc<Counts>) -> io::Result<Self> {
        let mut consoles =
            Self { ending: Arc::default(), threads: Vec::new(), connections: Vec::new() };
        for _ in 0..console.count {
            let streams = Arc::new(page::Streams::default());
            let asks: &[Ask] = match console.page {
                ConsolePage::Wall => &[Ask::Wall, Ask::Stills],
                ConsolePage::Stream => &[Ask::Stream, Ask::Events],
                ConsolePage::Cluster => &[Ask::Cluster],
            };
            for ask in asks {
                let connection = Arc::new(Connection::new(&console.url)?);
                consoles.connections.push(Arc::clone(&connection));
                let (ending, counts) = (Arc::clone(&consoles.ending), Arc::clone(counts));
                let (streams, tiles) = (Arc::clone(&streams), console.tiles);
                consoles.threads.push(thread::spawn(move || {
                    let asked = ask.go_on(&connection, &streams, tiles, &ending, |bytes| {
                        counts.calls.fetch_add(1, Ordering::Relaxed);
                        counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                    });
                    if let Err(error) = asked
                        && !ending.load(Ordering::Relaxed)
                    {
                        counts.failed.fetch_add(1, Ordering::Relaxed);
                        let mut why = counts.why.lock().unwrap_or_else(PoisonError::into_inner);
                        why.get_or_insert_with(|| format!("{ask:?}: {error}"));
                    }
                }));
            }
        }
        Ok(consoles)
    }

    fn close(self) {
        self.ending.store(true, Ordering::Relaxed);
        self.connections.iter().for_each(|connection| connection.close());
        for thread in self.threads {
            thread.thread().unpark();
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}
