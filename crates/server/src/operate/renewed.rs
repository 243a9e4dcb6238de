//! Files that say whom to trust among other servers, and are replaced while this one runs.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::warn;
use weir_blocking::Pool;
use weir_config::file::READ_TIMEOUT;

use crate::node::Node;

/// How often it is looked whether a file is another one: as for certificates.
const LOOK: Duration = Duration::from_secs(30);

/// Takes in other files of `hooks.ca`, `forward.ca`, `pull.ca` and `upload.ca` without being asked, reading them in
/// `pool`. That of `edge.tls.ca` is the edge's own concern. Never ends.
pub async fn look(node: Arc<Node>, pool: Arc<Pool>) {
    loop {
        sleep(LOOK).await;
        let of = Arc::clone(&node);
        let look = move || {
            of.hooks.look();
            of.forward.look();
            of.pulls.iter().for_each(|pulls| pulls.look());
            of.uploader.iter().for_each(|uploader| uploader.look());
        };
        if let Err(error) = pool.run_within(READ_TIMEOUT, look).await {
            warn!(%error, "cannot look at files with CA certificates: what was read of them stays in force");
        }
    }
}
