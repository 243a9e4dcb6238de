//! What accepted connections get on the API ports.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Router};
use bytes::BytesMut;
use tokio::{net::TcpStream, time::timeout};

use super::{rights::Certified, tls::Tls};
use crate::{client::Client, end::End, http, listen, quota::Refusal};

/// How long a TLS handshake may take: as long as a request's head.
const HANDSHAKE_TIMEOUT: Duration = http::HEAD_TIMEOUT;

/// The API, over TLS where the configuration says so.
pub struct Service {
    router: Router,
    tls: Arc<Tls>,
}

impl Service {
    /// What `router` answers.
    pub fn new(router: Router, tls: &Arc<Tls>) -> Self {
        Self { router, tls: Arc::clone(tls) }
    }
}

impl listen::Service for Service {
    async fn serve(self: Arc<Self>, socket: TcpStream, client: Client) {
        let peer = client.peer.ip();
        if let Err(error) = http::bound_stalls(&socket) {
            return client.end(&error.into());
        }
        let Some(tls) = self.tls.now() else {
            let socket = http::Prefixed::new(BytesMut::new(), socket);
            return http::serve_with(self.router.clone(), socket, client, peer).await;
        };
        let accepted = match timeout(HANDSHAKE_TIMEOUT, tls.accept(socket)).await {
            Ok(accepted) => accepted,
            Err(_) => {
                let late = format!("no TLS handshake within {HANDSHAKE_TIMEOUT:?}");
                return client.end(&End::policy(late));
            }
        };
        match accepted {
            Ok((stream, right)) => {
                let router = self.router.clone().layer(Extension(Certified(right)));
                http::serve_with(router, stream, client, peer).await;
            }
            Err(error) => client.end(&End::peer(format!("no TLS: {error}"))),
        }
    }

    async fn refuse(self: Arc<Self>, socket: TcpStream, client: Client, refusal: Refusal) {
        // In plain text to whoever speaks TLS would be nonsense; nobody is refused by address here anyway.
        drop(socket);
        client.turned_away(&refusal.to_string());
    }
}
