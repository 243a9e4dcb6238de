//! A viewer from stay to stay.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

use super::{
    journey::{AGAIN, HUNG, Kind, ViewerReport, lock},
    play::{Note, Outcome, Signals, stay},
};

/// Who plays what.
struct Viewer {
    kind: Kind,
    address: SocketAddr,
    stream: String,
    journey: Arc<Mutex<ViewerReport>>,
}

/// A stay that goes on.
struct Stay {
    signals: Arc<Signals>,
    /// How it ends; none if it hangs.
    outcome: Pin<Box<dyn Future<Output = Option<Outcome>> + Send>>,
}

/// Plays for ever, wherever the balancer at `address` leads.
pub(super) async fn roam(
    kind: Kind,
    address: SocketAddr,
    stream: String,
    after: Duration,
    journey: Arc<Mutex<ViewerReport>>,
) {
    sleep(after).await;
    let viewer = Viewer { kind, address, stream, journey };
    let mut current = viewer.begin();
    loop {
        let signals = Arc::clone(&current.signals);
        tokio::select! {
            outcome = &mut current.outcome => {
                viewer.note(outcome).await;
                current = viewer.begin();
            }
            () = signals.asked.notified() => current = viewer.follow(current).await,
        }
    }
}

impl Viewer {
    /// Begins to connect.
    fn begin(&self) -> Stay {
        lock(&self.journey).joins += 1;
        let signals = Arc::new(Signals::default());
        let mut note = Note::new(Arc::clone(&self.journey), Arc::clone(&signals));
        let (kind, address, stream) = (self.kind, self.address, self.stream.clone());
        let waiting = Arc::clone(&signals);
        let outcome = Box::pin(async move {
            tokio::select! {
                outcome = stay(kind, address, &stream, &mut note) => Some(outcome),
                () = hangs(&waiting) => None,
            }
        });
        Stay { signals, outcome }
    }

    /// Plays elsewhere, and then leaves `old`.
    async fn follow(&self, mut old: Stay) -> Stay {
        let mut new = self.begin();
        loop {
            let signals = Arc::clone(&new.signals);
            tokio::select! {
                outcome = &mut old.outcome => {
                    self.note(outcome).await;
                    return new;
                }
                outcome = &mut new.outcome => {
                    self.note(outcome).await;
                    new = self.begin();
                }
                () = signals.playing() => {
                    old.signals.leave.notify_one();
                    self.note(old.outcome.await).await;
                    return new;
                }
            }
        }
    }

    /// Writes down how a stay ended.
    async fn note(&self, outcome: Option<Outcome>) {
        {
            let mut journey = lock(&self.journey);
            match outcome {
                Some(Outcome::Departed(departure)) => {
                    journey.departures.push((Instant::now(), departure));
                    return;
                }
                Some(Outcome::Refused(why)) => journey.refused.push(why),
                None => journey.hung += 1,
            }
        }
        sleep(AGAIN).await;
    }
}

/// Ends when it has taken too long until the first picture.
async fn hangs(signals: &Signals) {
    if timeout(HUNG, signals.playing()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}
