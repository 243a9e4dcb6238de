//! Origins and edges that find each other.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

pub use crate::ports::Ports;
use crate::{Weir, server::Builder};

/// Origins on the same ports of different addresses, and edges in front of them.
#[derive(Debug)]
pub struct Cluster {
    binary: PathBuf,
    /// The ports of every origin.
    pub ports: Ports,
}

impl Cluster {
    /// A cluster of `binary`, which a test knows as `env!("CARGO_BIN_EXE_weir")`, without members yet.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), ports: Ports::free() }
    }

    /// The address of origin `number`, counted from 1.
    pub fn ip(number: u8) -> IpAddr {
        Ipv4Addr::new(127, 0, 0, number).into()
    }

    /// What edges call the origin at `host`, an address or a name.
    pub fn origin_at(&self, host: impl Display) -> String {
        format!("{host}:{}", self.ports.rtmp)
    }

    /// Starts origin `number` with this configuration beside its listeners.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn origin(&self, number: u8, config: &str) -> Weir {
        Weir::builder(&self.binary).config(config).at(Self::ip(number), &self.ports).start()
    }

    /// Starts an edge in front of `origins`, addresses or names, with more keys for its section `edge` and more
    /// configuration.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn edge(&self, origins: &[&str], keys: &str, config: &str) -> Weir {
        let origins: Vec<_> = origins.iter().map(|origin| self.origin_at(origin)).collect();
        self.edge_to(&origins, self.ports.http, keys, config).start()
    }

    /// An edge in front of `origins`, each with its RTMP port, all with the same HTTP port.
    pub fn edge_to(&self, origins: &[String], http_port: u16, keys: &str, config: &str) -> Builder {
        let comma = if keys.is_empty() { "" } else { ", " };
        let head = format!(
            "role: edge\nedge: {{ origins: {origins:?}, http_port: {http_port}{comma}{keys} }}\n"
        );
        Weir::builder(&self.binary).config(&(head + config))
    }
}
