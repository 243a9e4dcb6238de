//! Whether new clients are welcome.

use std::{borrow::Cow, path::PathBuf, sync::Arc};

use weir_hub::Status;
use weir_outputs::hls::HlsOutput;

use crate::{node::Node, phase::Phase};

/// Whether new clients are welcome at `node`.
///
/// # Errors
/// When they are not, with the reason.
pub fn of(node: &Node) -> Result<(), Cow<'static, str>> {
    let phase = node.phase();
    if phase.is_ending() {
        return Err("the server is shutting down".into());
    }
    match &node.edge {
        // An origin that restarts must not take every edge off the balancers at once: those who serve go on.
        Some(edge) if !edge.origins().any_healthy() && !serves(node) => {
            Err("no origin can be reached, and there is no stream".into())
        }
        _ if phase == Phase::Starting => Err("starting: not accepting clients yet".into()),
        _ => Ok(()),
    }
}

/// The folders that HLS files cannot be written to, each with the reason. Viewers are served all the same.
pub fn faults(hls: &HlsOutput) -> Vec<String> {
    let faults = hls.health().into_iter().filter_map(|(dir, why)| Some((dir, why?)));
    let sentence = |(dir, why): (PathBuf, Arc<str>)| {
        format!("HLS files cannot be written to {}: {why}", dir.display())
    };
    faults.map(sentence).collect()
}

fn serves(node: &Node) -> bool {
    node.clients.quotas.viewers_total() > 0
        || node.streams.registry.stats().iter().any(|stream| stream.status == Status::Live)
}
