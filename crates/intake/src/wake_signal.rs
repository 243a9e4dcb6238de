//! From the hub's wakes to tokio's.

use tokio::sync::Notify;
use weir_hub::Wake;

/// A [`Wake`] that a task can wait for. A wake before the wait is not lost; several are one.
#[derive(Debug, Default)]
pub struct WakeSignal(Notify);

impl WakeSignal {
    /// Waits for the next wake, or for one since the last wait.
    pub async fn rang(&self) {
        self.0.notified().await;
    }
}

impl Wake for WakeSignal {
    fn wake(&self) {
        self.0.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wakes_before_the_wait_are_one_and_not_lost() {
        let signal = WakeSignal::default();
        signal.wake();
        signal.wake();
        signal.rang().await;
        let mut second = std::pin::pin!(signal.rang());
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        assert!(second.as_mut().poll(&mut context).is_pending(), "several wakes are one");
        signal.wake();
        second.await;
    }
}
