//! What operators can make the process do, whichever way they say it.

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;
use weir_clients::roster::Farewell;
use weir_media::StreamKey;

use super::{handover::HandoverOutcome, reload::Reloader};
use crate::node::Node;

/// The levers of a process.
pub struct Control {
    /// All that runs.
    pub node: Arc<Node>,
    /// Puts configurations in force.
    pub reloader: Arc<Reloader>,
    drain: watch::Sender<Option<Why>>,
}

/// Why the server is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The program that has started it wants it.
    Program,
    /// An operator wants it.
    Asked,
    /// The process was sent SIGTERM.
    Terminated,
    /// The process was sent SIGQUIT, as `srs grace` does.
    Quit,
    /// The process was sent SIGINT: somebody sits before it.
    Interrupted,
    /// Another process serves its listeners.
    Replaced,
}

impl Why {
    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Program => "the program around it",
            Self::Asked => "an operator",
            Self::Terminated => "SIGTERM",
            Self::Quit => "SIGQUIT",
            Self::Interrupted => "SIGINT",
            Self::Replaced => "another process",
        }
    }
}

impl Control {
    /// The levers of `node`.
    pub fn new(node: &Arc<Node>, reloader: &Arc<Reloader>) -> Self {
        Self {
            node: Arc::clone(node),
            reloader: Arc::clone(reloader),
            drain: watch::Sender::new(None),
        }
    }

    /// Begins to let everybody go, and stops then. What was asked for before stands, but for
    /// [`replaced`](Self::replaced): whoever asks now wants an end in any case.
    pub fn drain(&self, why: Why) {
        self.drain.send_if_modified(|known| {
            let is_first = matches!(known, None | Some(Why::Replaced));
            if is_first {
                *known = Some(why);
            }
            is_first
        });
    }

    /// The same, because another process serves the listeners of this one.
    pub fn replaced(&self) {
        self.turn(None, Some(Why::Replaced));
    }

    /// Goes on after [`replaced`](Self::replaced), because that other process has died. What an operator has asked for
    /// stands.
    pub fn taken_back(&self) {
        self.turn(Some(Why::Replaced), None);
    }

    /// The one or the other, as it is with the listeners that were handed over.
    pub fn hear(&self, what: HandoverOutcome) {
        match what {
            HandoverOutcome::Replaced => self.replaced(),
            HandoverOutcome::TakenBack => self.taken_back(),
        }
    }

    fn turn(&self, from: Option<Why>, to: Option<Why>) {
        self.drain.send_if_modified(|why| {
            let is_other = *why == from;
            if is_other {
                *why = to;
            }
            is_other
        });
    }

    /// Resolves once [`taken_back`](Self::taken_back) was called.
    pub async fn until_taken_back(&self) {
        // The sender is ours, so that it cannot be gone without a word.
        let _ = self.drain.subscribe().wait_for(Option::is_none).await;
    }

    /// Resolves with the reason once [`drain`](Self::drain) or [`replaced`](Self::replaced) was called.
    pub async fn asked_to_drain(&self) -> Why {
        let mut asked = self.drain.subscribe();
        let why = asked.wait_for(Option::is_some).await.map_or(None, |why| *why);
        // The sender is ours, so that it cannot be gone without a word.
        why.unwrap_or(Why::Asked)
    }

    /// Ends the connection, or the HLS viewer, with this number. False if there is none.
    pub fn kick(&self, id: u64) -> bool {
        let Some(presence) = self.node.clients.roster.find(id) else {
            return self.node.clients.quotas.kick_hls(id, Instant::now());
        };
        presence.ask_to_leave(Farewell::Kicked);
        self.node.delivery.shards.look();
        true
    }

    /// Ends the connection that publishes `key`; its number. None if nobody here does.
    pub fn kick_publisher(&self, key: &StreamKey) -> Option<u64> {
        let publisher = self.node.clients.roster.publisher(key)?;
        self.kick(publisher.id).then_some(publisher.id)
    }
}
