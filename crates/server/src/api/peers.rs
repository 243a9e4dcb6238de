//! What is kept of the nodes of `api.peers` between calls for the whole cluster.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use weir_edge::Name;

/// Connections to peers, of all calls together.
const CONNECTIONS_MAX: usize = 64;

/// Names of peers that have been looked up, and connections to peers.
#[derive(Debug)]
pub struct Peers {
    names: Mutex<HashMap<String, Name>>,
    connections: Semaphore,
}

impl Default for Peers {
    fn default() -> Self {
        Self { names: Mutex::default(), connections: Semaphore::new(CONNECTIONS_MAX) }
    }
}

impl Peers {
    /// What is known of the names, which is the caller's until it puts it back.
    pub fn take(&self) -> HashMap<String, Name> {
        std::mem::take(&mut *self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this is known of the names.
    pub fn put(&self, names: HashMap<String, Name>) {
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// A connection to a peer, once there is one to spare, for as long as what this returns is held.
    ///
    /// # Errors
    /// When the process is ending.
    pub async fn connection(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.connections.acquire().await
    }
}
