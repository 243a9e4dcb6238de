//! What one publish to another server is fed from: a stream's log.

use std::sync::Arc;

use bytes::Bytes;
use weir_flv::{kind_of, wire_time};
use weir_hub::{Batch, Item, Reader, Registry, Start, Status};
use weir_intake::WakeSignal;
use weir_media::{Frame, Init, StreamKey, Timestamp};

use crate::sink::{Broken, Sink};

/// What is encoded for a server at a time.
const BATCH_BYTES: usize = 1024 * 1024;

/// What of a stream a server is sent.
pub trait Fit: Send {
    /// The body with which it is sent `frame`; none if it is not.
    fn fit(&mut self, frame: &Frame) -> Option<Bytes>;

    /// So many frames were missed, because the server was too slow.
    fn skipped(&mut self, frames: u64);
}

/// Everything as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsItIs;

impl Fit for AsItIs {
    fn fit(&mut self, frame: &Frame) -> Option<Bytes> {
        Some(frame.body.clone())
    }

    fn skipped(&mut self, _: u64) {}
}

/// Why a feed has no more.
#[derive(Debug)]
pub enum Dry {
    /// The stream has ended, and all of it is written.
    Ended,
    /// The publish is over.
    Broken(Broken),
}

/// What one connection to a server is fed from: what the stream begins with, its newest group, and then what comes. A
/// server that falls out of the log's window goes on with the newest group.
pub struct Feed {
    signal: Arc<WakeSignal>,
    reader: Reader,
    batch: Batch,
    /// What the server knows of the stream's configuration.
    known: Arc<Init>,
    /// Whether it has missed something.
    is_behind: bool,
}

impl Feed {
    /// A feed for one connection, which begins now. It counts as a viewer: a stream that nobody here watches must not
    /// reach the server late.
    pub fn new(registry: &Registry, key: &StreamKey) -> Self {
        let signal = Arc::new(WakeSignal::default());
        let reader = registry.subscribe(key, Start::NewestGroup, Arc::clone(&signal) as _);
        Self { signal, reader, batch: Batch::default(), known: Arc::default(), is_behind: true }
    }

    /// Sends the stream until it ends, or the connection breaks. Nothing is lost when it is cancelled.
    pub async fn run(&mut self, sink: &mut Sink, fit: &mut impl Fit) -> Dry {
        loop {
            match self.send(sink, fit).await {
                Err(broken) => return Dry::Broken(broken),
                Ok(Status::Ended) => return Dry::Ended,
                Ok(_) => {}
            }
            tokio::select! {
                () = self.signal.rang() => {}
                broken = sink.watch() => return Dry::Broken(broken),
            }
        }
    }

    /// Sends what there is.
    ///
    /// # Errors
    /// When the publish is over.
    pub async fn send(&mut self, sink: &mut Sink, fit: &mut impl Fit) -> Result<Status, Broken> {
        loop {
            let status = self.reader.read_some(&mut self.batch, BATCH_BYTES);
            self.queue(sink, fit);
            // What is queued is all that a slow server makes us hold.
            sink.flush().await?;
            if !self.batch.has_more {
                return Ok(status);
            }
        }
    }

    /// Queues what has been read.
    fn queue(&mut self, sink: &mut Sink, fit: &mut impl Fit) {
        if self.batch.skipped > 0 {
            self.is_behind = true;
            fit.skipped(self.batch.skipped);
        }
        for Item { frame, group } in self.batch.items.drain(..) {
            if let Some(init) = group {
                if std::mem::take(&mut self.is_behind) {
                    // Only what is new to it: a configuration in the midst of a stream looks like a change.
                    init.frames()
                        .filter(|part| !self.known.frames().any(|known| known.body == part.body))
                        .for_each(|part| send(sink, fit, part, frame.dts));
                }
                self.known = init;
            }
            send(sink, fit, &frame, frame.dts);
        }
    }
}

fn send(sink: &mut Sink, fit: &mut impl Fit, frame: &Frame, at: Timestamp) {
    if let Some(body) = fit.fit(frame) {
        sink.send(kind_of(frame.track), wire_time(frame, at), &body);
    }
}
