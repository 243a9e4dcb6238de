//! From the hub's wakes to tokio's.

use tokio::sync::Notify;
use weir_hub::Wake;

/// A [`Wake`] that a task can wait for. A wake before the wait is not lost; several are one.
#[derive(Debug, Default)]
pub struct Alarm(Notify);

impl Alarm {
    /// Waits for the next wake, or for one since the last wait.
    pub async fn rang(&self) {
        self.0.notified().await;
    }
}

impl Wake for Alarm {
    fn wake(&self) {
        self.0.notify_one();
    }
}
