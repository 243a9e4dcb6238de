//! Encoders that send in real time, whatever the test does meanwhile.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{Numbered, Publisher, Refused};

/// Publishes a [`Numbered`] stream at the pace of a clock. Dropping it closes the connection without a word.
#[derive(Debug)]
pub struct Encoder {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// One more than the number of the newest picture.
    sent: AtomicU64,
    end: Mutex<Option<String>>,
}

impl Encoder {
    /// Publishes to `url`, a picture each `every`.
    ///
    /// # Panics
    /// If the server does not let it.
    pub async fn start(url: &str, source: Numbered, every: Duration) -> Self {
        let encoder = Self::try_start(url, source, every).await;
        encoder.unwrap_or_else(|refused| panic!("{url}: the encoder is refused: {refused:?}"))
    }

    /// As [`start`](Self::start), for encoders that may be refused.
    ///
    /// # Errors
    /// The server's no.
    pub async fn try_start(url: &str, source: Numbered, every: Duration) -> Result<Self, Refused> {
        let publisher = Publisher::try_start(url, source).await?;
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(encode(publisher, every, shared.clone()));
        Ok(Self { url: url.to_owned(), shared, task })
    }

    /// The number of the next picture.
    pub fn next_number(&self) -> u64 {
        self.shared.sent.load(Ordering::Acquire)
    }

    /// How the server ended the publish, if it has: its status code and words, or that it closed the connection.
    pub fn end(&self) -> Option<String> {
        self.shared.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// # Panics
    /// If the server has ended the publish.
    #[track_caller]
    pub fn assert_connected(&self) {
        if let Some(end) = self.end() {
            panic!("the encoder of {} was cut off: {end}", self.url);
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn encode(mut publisher: Publisher, every: Duration, shared: Arc<Shared>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = loop {
        ticks.tick().await;
        let sent = publisher.try_picture().await;
        if let Some(code) = publisher.ended() {
            break code;
        }
        match sent {
            Ok(number) => shared.sent.store(number + 1, Ordering::Release),
            Err(error) => break format!("the connection ended: {error}"),
        }
    };
    *shared.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
}
