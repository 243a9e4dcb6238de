//! Which streams are being passed on.

use std::collections::HashMap;

use tokio::sync::watch;
use weir_media::StreamKey;

/// The pushes that are going on, by stream: an encoder that is back at once has two for a moment.
#[derive(Clone, Debug, Default)]
pub struct Pushing(watch::Sender<HashMap<StreamKey, usize>>);

/// One push that is going on, until this is dropped.
#[derive(Debug)]
pub struct OnePush {
    pushing: Pushing,
    key: StreamKey,
}

impl Pushing {
    /// One more push of `key`.
    pub fn begin(&self, key: &StreamKey) -> OnePush {
        self.0.send_modify(|pushes| *pushes.entry(key.clone()).or_default() += 1);
        OnePush { pushing: self.clone(), key: key.clone() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.borrow().values().sum()
    }

    /// Whether there is one of `key`.
    pub fn has(&self, key: &StreamKey) -> bool {
        self.0.borrow().contains_key(key)
    }

    /// Ends when there is none.
    pub async fn ended(&self) {
        // The sender is ours, so that it cannot be gone.
        let _ = self.0.subscribe().wait_for(HashMap::is_empty).await;
    }
}

impl Drop for OnePush {
    fn drop(&mut self) {
        self.pushing.0.send_modify(|pushes| {
            let left = pushes.get_mut(&self.key).map(|count| {
                *count -= 1;
                *count
            });
            if left == Some(0) {
                pushes.remove(&self.key);
            }
        });
    }
}
