//! What the tasks of all streams and targets share.

use tokio::sync::watch;
use weir_config::Settings;
use weir_hub::Registry;
use weir_upstream::NodeId;

use super::tls::Trusts;

/// What all tasks need.
pub struct Ground {
    /// This server, in what streams have come through.
    pub id: NodeId,
    /// Has the streams.
    pub registry: Registry,
    /// What is in force.
    pub settings: Settings,
    /// Whom to trust.
    pub trusts: Trusts,
    /// Whether the process is going to stop.
    pub stopping: watch::Sender<Stopping>,
}

/// Whether the process is going to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopping {
    /// It is not.
    No,
    /// A stream that its publisher leaves is the next process's.
    WithPublishers,
    /// Every stream is.
    Now,
}
