//! What operators can make the process do, whichever way they say it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    node::Node,
    reload::Reloader,
    roster::{Activity, Farewell},
};
use weir_media::StreamKey;

/// The levers of a process.
pub struct Control {
    /// All that runs.
    pub node: Arc<Node>,
    /// Puts configurations in force.
    pub reloader: Arc<Reloader>,
    drain: watch::Sender<bool>,
}

impl Control {
    /// The levers of `node`.
    pub fn new(node: &Arc<Node>, reloader: &Arc<Reloader>) -> Self {
        Self {
            node: Arc::clone(node),
            reloader: Arc::clone(reloader),
            drain: watch::Sender::new(false),
        }
    }

    /// Begins to let everybody go, and stops then.
    pub fn drain(&self) {
        self.drain.send_replace(true);
    }

    /// Resolves once [`drain`](Self::drain) was called.
    pub async fn asked_to_drain(&self) {
        // The sender is ours, so that it cannot be gone.
        let _ = self.drain.subscribe().wait_for(|asked| *asked).await;
    }

    /// Ends the connection with this number. False if there is none.
    pub fn kick(&self, id: u64) -> bool {
        let Some(presence) = self.node.roster.find(id) else { return false };
        presence.ask_to_leave(Farewell::Kicked);
        self.node.shards.look();
        true
    }

    /// Ends the connection that publishes `key`; its number. None if nobody here does.
    pub fn kick_publisher(&self, key: &StreamKey) -> Option<u64> {
        let everybody = self.node.roster.list();
        let publishes = |doing: &crate::roster::Doing| {
            doing.activity == Activity::Publish && doing.stream.as_ref() == Some(key)
        };
        let publisher = everybody.iter().rev().find(|presence| publishes(&presence.doing()))?;
        self.kick(publisher.id).then_some(publisher.id)
    }
}
