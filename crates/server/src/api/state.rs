//! What every call is given.

use std::sync::Arc;

use super::{answer::Identity, gate::Gate, peers::Peers, samples::Samples};
use crate::{node::Node, operate::control::Control, tls::Tls};

/// What calls need.
#[derive(Clone)]
pub struct Api {
    /// All that runs.
    pub node: Arc<Node>,
    /// What operators can make it do.
    pub control: Arc<Control>,
    /// Who answers.
    pub identity: Arc<Identity>,
    /// Bit rates.
    pub samples: Arc<Samples>,
    /// What is known of the other nodes.
    pub peers: Arc<Peers>,
    /// The TLS of this port, and how peers are recognised.
    pub tls: Arc<Tls>,
    /// What calls for many items go through.
    pub gate: Arc<Gate>,
}
