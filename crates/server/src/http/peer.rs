//! Who is at the other end of the connection of a request.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
};

use weir_clients::{
    client::{Admission, Client},
    roster::Presence,
    wrong_secrets::WrongSecrets,
};

use super::io::SocketProgress;

/// Who is at the other end of a request's connection: the client, or a proxy.
#[derive(Clone)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// What others know of the client.
    pub presence: Arc<Presence>,
    /// What its connection takes of what there is a limit of.
    pub standing: Arc<Admission>,
    /// Whether it takes what it is sent.
    pub progress: Arc<SocketProgress>,
    /// Whether the log has said that it may not have what it asks for.
    pub was_denied: Arc<AtomicBool>,
}

impl Peer {
    /// At the other end of the connection of `client`, which has this address.
    pub fn of(client: &Client, ip: IpAddr) -> Self {
        Self {
            ip,
            presence: Arc::clone(&client.presence),
            standing: Arc::clone(&client.standing),
            progress: Arc::default(),
            was_denied: Arc::default(),
        }
    }

    /// Holds the answer to something wrong that the client at `ip` has shown back, as long as it is to be. The
    /// connection is of no further use then.
    pub async fn hold_back(&self, wrong: &WrongSecrets, ip: IpAddr, is_node: bool) {
        wrong.hold_back(&self.standing, ip, is_node).await;
    }
}
