//! The storage that the configuration names.

use std::sync::Arc;

use weir_config::{Fault, Upload};
use weir_tls::client::Named;
use weir_upstream::{PeerTls, Peers, Trusted};

use crate::{credentials, s3::Server};

/// Storages, as servers that are connected to.
static STORAGES: Peers = Peers {
    named: Named { ca: "upload.ca", pin: "upload.ca" },
    called: "storages",
    // An upload that fails is counted, for whatever reason.
    failed: |_| {},
};

/// Where files go, and which of them.
#[derive(Debug)]
pub struct Target {
    /// Where they go.
    pub server: Server,
    /// As it was configured.
    pub settings: Upload,
}

impl Target {
    /// What `settings` name; none if they name no bucket. Reads files, and asks nobody.
    ///
    /// # Errors
    /// When a file is not to be had, or there are no keys.
    pub fn read(settings: &Upload) -> Result<Option<Arc<Self>>, Fault> {
        let Some(bucket) = &settings.url else { return Ok(None) };
        let endpoint = settings.server();
        let tls = match endpoint.is_tls {
            true => {
                let tls = PeerTls::new(&STORAGES);
                tls.put(Some(Trusted::read(settings.ca.as_deref(), Vec::new(), &STORAGES)?));
                Some(tls)
            }
            false => None,
        };
        let by = credentials::read(settings)?;
        let server = Server::new(endpoint, tls, bucket.clone(), settings.region.clone(), by);
        Ok(Some(Arc::new(Self { server, settings: settings.clone() })))
    }
}
