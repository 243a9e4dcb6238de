//! The API on a port of viewers, where both have the same address, as SRS allows it.
//!
//! The connection is theirs, with their limits, and so is its TLS, which gives nobody rights. All that is asked of a
//! request for the API is asked here too: its router and its gate are the same.

use std::{net::IpAddr, pin::Pin, sync::Arc};

use http::Request;
use hyper::body::Incoming;
use tokio::time::Instant;
use weir_clients::end::End;

use super::{
    serve::Service,
    slots::{ConnectionSlot, ConnectionSlots},
};
use crate::http as media;

/// What all paths of the API begin with.
const FOLDERS: [&str; 2] = ["/api", "/console"];

/// Its other paths. What is below them is of a stream.
const FILES: [&str; 4] = ["/metrics", "/healthz", "/startupz", "/readyz"];

/// The API beside streams.
pub struct Beside(pub Arc<Service>);

impl media::Beside for Beside {
    fn has(&self, path: &str) -> bool {
        is_call(path)
    }

    fn calls(&self, ip: IpAddr) -> Arc<dyn media::Calls> {
        // Of its own: who has connected here is bounded as viewers are, and makes room for nobody.
        let slot = Arc::new(ConnectionSlots::new(1).take(ip, Instant::now()));
        Arc::new(Calls { service: Arc::clone(&self.0), slot })
    }
}

/// What a connection asks of the API.
struct Calls {
    service: Arc<Service>,
    slot: Arc<ConnectionSlot>,
}

impl media::Calls for Calls {
    fn answer(&self, peer: media::Peer, request: Request<Incoming>) -> media::Answering {
        let answer = self.service.call_beside(request, peer, &self.slot);
        Box::pin(async move {
            let Ok(answer) = answer.await;
            answer
        })
    }

    fn until_overdue(&self) -> Pin<Box<dyn Future<Output = End> + Send + '_>> {
        Box::pin(self.slot.until_overdue())
    }
}

/// Whether a request for `path` is for the API. SRS's scripts write a slash behind lists.
fn is_call(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    let is_in = |folder: &&str| {
        path.strip_prefix(*folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    FILES.contains(&path) || FOLDERS.iter().any(is_in)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Admin, Reads},
        *,
    };

    #[test]
    fn every_call_is_one_and_no_stream_of_another_app_is() {
        for (_, path) in Reads::CALLS.iter().chain(Admin::CALLS) {
            assert!(is_call(path), "{path}");
        }
        for path in [
            "/api/",
            "/api/v1/streams/",
            "/console",
            "/console/",
            "/console/console.js",
            "/metrics",
            "/metrics/",
            "/healthz",
            "/readyz",
            "/startupz",
        ] {
            assert!(is_call(path), "{path}");
        }
        for path in [
            "/",
            "//api/v1",
            "/apis/a.flv",
            "/live/api",
            "/live/a.m3u8",
            "/metrics/a.flv",
            "/consoles",
            "/player",
            "/player/player.js",
            "/%61pi/v1/streams",
            "/api.flv",
            "",
        ] {
            assert!(!is_call(path), "{path}");
        }
    }
}
