//! From the moment that somebody asks the server to stop until it has.

use std::{pin::pin, time::Duration};

use tracing::info;

use super::{
    acceptors::Acceptors,
    control::{Control, Why},
    drain,
    handover::HandoverLink,
};
use crate::phase::Phase;

/// Serves until somebody asks for the end, then lets everybody go; returns once that is done. Goes on serving when the
/// process that has replaced this one dies before the end.
pub async fn until_stopped(control: &Control, acceptors: &Acceptors, mut before: HandoverLink) {
    loop {
        let why = control.asked_to_drain().await;
        info!(cause = why.name(), "stopping");
        before.release().await;
        if has_drained(control, acceptors, why).await {
            return;
        }
        control.node.outputs.go_on();
        control.node.fallback.set_over(false);
        control.node.pulls.iter().for_each(|pulls| pulls.begin());
        control.node.children.begin();
        control.node.phase.send_replace(Phase::Serving);
        info!("serving again");
    }
}

/// Lets everybody go. False if the process has to serve again instead.
async fn has_drained(control: &Control, acceptors: &Acceptors, why: Why) -> bool {
    let mut settings = control.node.config().drain.clone();
    if matches!(why, Why::Interrupted | Why::Replaced) {
        // Somebody sits before it, or the next process is there already: no balancer has to hear of it.
        settings.notice = Duration::ZERO;
    }
    // Acceptors that are held for another process must be there if it dies.
    let closing = match why {
        Why::Replaced => Vec::new(),
        _ => acceptors.closing(),
    };
    tokio::select! {
        () = pin!(drain::drain(&control.node, &closing, &settings)) => true,
        () = control.until_taken_back(), if why == Why::Replaced => false,
    }
}
