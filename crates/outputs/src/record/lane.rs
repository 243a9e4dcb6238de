//! What waits for the disk of a recording, in order, and is written a piece at a time.

use std::{future::Future, io, mem, pin::Pin, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{cutter::Op, sink::Sink};

/// How long a write may take before the disk counts as one that hangs.
const HANGS: Duration = Duration::from_secs(10);

/// What waits costs beside its bytes.
const OP_COST: usize = 64;

/// What waits, and what is being written.
pub struct Lane {
    /// None while it is being used on a thread.
    sink: Option<Box<Sink>>,
    waiting: Vec<Op>,
    waiting_bytes: usize,
    flying: Option<Flight>,
}

/// The sink, back from its thread, and what came of the write.
type Done = (Box<Sink>, io::Result<()>);

/// A piece that is being written.
struct Flight {
    done: Pin<Box<dyn Future<Output = io::Result<Done>> + Send>>,
    bytes: usize,
    since: Instant,
    is_late: bool,
}

/// What came of a write.
pub enum Written {
    /// All of it is written.
    Done,
    /// The rest of what waited then is lost, and so is the file.
    Failed(io::Error),
    /// It takes long; it goes on.
    Hangs(io::Error),
}

impl Lane {
    /// Nothing waits.
    pub fn new(sink: Sink) -> Self {
        Self { sink: Some(Box::new(sink)), waiting: Vec::new(), waiting_bytes: 0, flying: None }
    }

    /// Bytes that wait or are being written.
    pub fn held(&self) -> usize {
        self.waiting_bytes + self.flying.as_ref().map_or(0, |flight| flight.bytes)
    }

    /// Takes what is to be done.
    pub fn push(&mut self, ops: &mut Vec<Op>) {
        self.waiting_bytes += ops.iter().map(cost).sum::<usize>();
        self.waiting.append(ops);
    }

    /// Forgets what waits, and says whether that was something.
    pub fn clear(&mut self) -> bool {
        self.waiting_bytes = 0;
        !mem::take(&mut self.waiting).is_empty()
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.flying.is_none() && self.waiting.is_empty()
    }

    /// Whether a write takes long.
    pub fn hangs(&self) -> bool {
        self.flying.as_ref().is_some_and(|flight| flight.is_late)
    }

    /// The writer of the files, while it is not being used.
    pub fn sink(&self) -> Option<&Sink> {
        self.sink.as_deref()
    }

    /// Writes to other files from now on: nothing may wait.
    pub fn replace(&mut self, sink: Sink) {
        self.sink = Some(Box::new(sink));
    }

    /// Writes what waits, if nothing is being written.
    pub fn start(&mut self) {
        if self.flying.is_some() || self.waiting.is_empty() {
            return;
        }
        let Some(mut sink) = self.sink.take() else { return };
        let (ops, bytes) = (mem::take(&mut self.waiting), mem::take(&mut self.waiting_bytes));
        let place = std::sync::Arc::clone(&sink.place);
        let done = async move {
            let run = move || {
                let written = sink.run(ops);
                (sink, written)
            };
            place.writes.run(run).await
        };
        let since = Instant::now();
        self.flying = Some(Flight { done: Box::pin(done), bytes, since, is_late: false });
    }

    /// Resolves when something has come of what is being written; never while nothing is.
    pub async fn written(&mut self) -> Written {
        let Some(flight) = &mut self.flying else { return std::future::pending().await };
        let done = if flight.is_late {
            flight.done.as_mut().await
        } else {
            match timeout_at(flight.since + HANGS, flight.done.as_mut()).await {
                Ok(done) => done,
                Err(_) => {
                    flight.is_late = true;
                    let why =
                        format!("a write takes longer than {HANGS:?}: is a file system hanging?");
                    return Written::Hangs(io::Error::new(io::ErrorKind::TimedOut, why));
                }
            }
        };
        self.flying = None;
        match done {
            Ok((sink, written)) => {
                self.sink = Some(sink);
                written.map_or_else(Written::Failed, |()| Written::Done)
            }
            Err(error) => Written::Failed(error),
        }
    }
}

fn cost(op: &Op) -> usize {
    match op {
        Op::Data(data) => data.len() + OP_COST,
        Op::Begin(_) | Op::End(_) => OP_COST,
    }
}
