//! Who looks for a stream hears where others have found it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use weir_media::StreamKey;

/// The streams that are being looked for: as many as there are pulls that have no origin.
#[derive(Debug, Default)]
pub struct Wanted(Mutex<HashMap<StreamKey, Arc<Notify>>>);

/// One stream that is being looked for, until this is dropped.
#[derive(Debug)]
pub struct SearchGuard<'a> {
    wanted: &'a Wanted,
    key: StreamKey,
    found: Arc<Notify>,
}

impl Wanted {
    pub(super) fn seek(&self, key: &StreamKey) -> SearchGuard<'_> {
        let found = Arc::<Notify>::default();
        self.lock().insert(key.clone(), Arc::clone(&found));
        SearchGuard { wanted: self, key: key.clone(), found }
    }

    /// `key` was found somewhere.
    pub(super) fn found(&self, key: &StreamKey) {
        let found = self.lock().get(key).cloned();
        if let Some(found) = found {
            found.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamKey, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SearchGuard<'_> {
    /// Resolves when somebody else has found the stream since this was resolved last.
    pub async fn found(&self) {
        self.found.notified().await;
    }
}

impl Drop for SearchGuard<'_> {
    fn drop(&mut self) {
        let mut wanted = self.wanted.lock();
        if wanted.get(&self.key).is_some_and(|found| Arc::ptr_eq(found, &self.found)) {
            wanted.remove(&self.key);
        }
    }
}
