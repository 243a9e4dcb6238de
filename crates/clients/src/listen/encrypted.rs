//! Connections to ports that are for TLS: the handshake, and what becomes of those who cannot do it.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tracing::info;
use weir_tls::handshake::{Failure, Handshakes};

use super::Service;
use crate::{client::Client, counts::COUNTS, quota::Refusal};

/// How long, and for how many bytes, somebody is listened to that has been told that this is no port for plain text: a
/// socket that is closed with unread data takes the answer back.
const PARTING: Duration = Duration::from_secs(1);
const PARTING_BYTES_MAX: usize = 64 * 1024;

/// The TLS of the ports of one service.
#[derive(Debug)]
pub struct Encryption {
    handshakes: Arc<Handshakes>,
    /// What holds for those who come next; none where there is none any more.
    config: ArcSwapOption<ServerConfig>,
}

impl Encryption {
    /// TLS as `config` says, with the threads of `handshakes`.
    pub fn new(handshakes: &Arc<Handshakes>, config: Option<Arc<ServerConfig>>) -> Arc<Self> {
        Arc::new(Self { handshakes: Arc::clone(handshakes), config: ArcSwapOption::new(config) })
    }

    /// From now on this holds for those who come. Those who are here keep what they have.
    pub fn replace(&self, config: Option<Arc<ServerConfig>>) {
        self.config.store(config);
    }

    /// Does the handshake with `client`, and has `service` serve it, or tell it of its `refusal`.
    pub(super) async fn let_in(
        self: Arc<Self>,
        service: Arc<impl Service>,
        socket: TcpStream,
        client: Client,
        refusal: Option<Refusal>,
    ) {
        let Some(config) = self.config.load_full() else {
            return client.turned_away("TLS was taken out of the configuration");
        };
        match self.handshakes.accept(socket, config).await {
            Ok(stream) => {
                COUNTS.tls_handshakes.increase();
                let version = stream.session().map_or("", |session| session.version());
                client.presence.note(|doing| doing.tls = version);
                // In a task of its own: this one had room for a handshake.
                match refusal {
                    None => drop(tokio::spawn(service.serve(stream, client))),
                    Some(refusal) => drop(tokio::spawn(service.refuse(stream, client, refusal))),
                }
            }
            Err(failure) => {
                COUNTS.tls_failed(&failure);
                let reason = failure.to_string();
                // A load balancer's health check connects and goes: nobody wants to read of it.
                if !matches!(failure, Failure::Closed) {
                    let (conn, peer, protocol) = (client.id, client.peer, client.protocol);
                    let kind = Failure::LABELS[failure.label()];
                    info!(conn, %peer, protocol, kind, reason, "TLS handshake failed");
                }
                if let Failure::NotTls(socket) = failure {
                    part(socket, service.answer_to_plain_text()).await;
                }
                client.turned_away(&reason);
            }
        }
    }
}

/// Gives a client the only answer that it gets, without TLS.
async fn part(mut socket: TcpStream, answer: &'static [u8]) {
    if answer.is_empty() {
        return;
    }
    // It may be gone already; the log has the reason.
    let _ = socket.write_all(answer).await;
    let _ = socket.shutdown().await;
    let mut scratch = [0; 512];
    let mut read = 0;
    let until_closed = async {
        while read < PARTING_BYTES_MAX
            && let Ok(count @ 1..) = socket.read(&mut scratch).await
        {
            read += count;
        }
    };
    let _ = timeout(PARTING, until_closed).await;
}
