//! Which streams are being pulled or asked for, and how far that is.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch, time::Instant};
use weir_hub::Wake as _;
use weir_intake::WakeSignal;
use weir_media::StreamKey;

use crate::no_stream::NoStream;

/// All pulls of an edge, by stream.
#[derive(Default)]
pub struct Pulls(Mutex<HashMap<StreamKey, Known>>);

/// What others know of a pull.
#[derive(Clone)]
pub struct Known {
    /// How far it is.
    pub answers: watch::Receiver<Answer>,
    /// Rung when somebody has come who shows other parameters than all before.
    pub others: Arc<WakeSignal>,
}

/// What is known of a stream that is being asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The origins are being asked. They may have said something already.
    Asking(Option<NoStream>),
    /// It flows.
    Flowing {
        /// From this origin.
        origin: SocketAddr,
        /// Since then.
        since: Instant,
    },
}

impl Answer {
    /// All the names that there are.
    pub const LABELS: [&'static str; 2] = ["asking", "flowing"];

    /// Its name in the API and in metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Asking(_) => Self::LABELS[0],
            Self::Flowing { .. } => Self::LABELS[1],
        }
    }

    /// Where it flows from, and since when.
    pub const fn source(&self) -> Option<(SocketAddr, Instant)> {
        match self {
            Self::Flowing { origin, since } => Some((*origin, *since)),
            Self::Asking(_) => None,
        }
    }
}

impl Pulls {
    /// All of them. Held for some operations in memory.
    pub fn lock(&self) -> MutexGuard<'_, HashMap<StreamKey, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The streams that are being pulled or asked for, and how far that is.
    pub fn list(&self) -> Vec<(StreamKey, Answer)> {
        let pulls = self.lock();
        pulls.iter().map(|(key, known)| (key.clone(), known.answers.borrow().clone())).collect()
    }

    /// Tells the pull of `key` that it can ask with other parameters.
    pub fn wake(&self, key: &StreamKey) {
        let others = self.lock().get(key).map(|known| Arc::clone(&known.others));
        if let Some(others) = others {
            others.wake();
        }
    }
}
