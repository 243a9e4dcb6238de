//! Whether new clients are welcome.

use std::{borrow::Cow, path::PathBuf, sync::Arc};

use weir_hub::Status;

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

/// The folders that HLS files and recordings cannot be written to, each with the reason. Viewers are served all the
/// same.
pub fn faults(node: &Node) -> Vec<String> {
    let sentence = |what: &str, (dir, why): (PathBuf, Option<Arc<str>>)| {
        Some(format!("{what} cannot be written to {}: {}", dir.display(), why?))
    };
    let hls = node.hls.health().into_iter().filter_map(|it| sentence("HLS files", it));
    let recordings = node.record.health().into_iter().filter_map(|it| sentence("recordings", it));
    hls.chain(recordings).collect()
}

fn serves(node: &Node) -> bool {
    node.clients.quotas.viewers_total() > 0
        || node.streams.registry.stats().iter().any(|stream| stream.status == Status::Live)
}
