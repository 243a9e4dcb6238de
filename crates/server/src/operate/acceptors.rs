//! The acceptors of the server: who lets connections in.

use std::{collections::BTreeSet, sync::Arc};

use weir_clients::{descriptors::Shares, listen::Acceptor, permits::Permits};
use weir_config::{Config, Next, Part, Ready, Unready};

use crate::{node::Node, tls::Tls};

/// How each service lets connections in: the part that follows what its section says of proxies.
#[derive(Clone)]
pub struct Acceptors {
    /// Of RTMP.
    pub rtmp: Arc<Acceptor>,
    /// Of viewers over HTTP.
    pub http: Arc<Acceptor>,
    /// The same over TLS.
    pub rtmps: Arc<Acceptor>,
    /// The same over TLS.
    pub https: Arc<Acceptor>,
    /// Of programs that run here, at a port of their own.
    pub children: Arc<Acceptor>,
    /// Of those who look after the process.
    pub api: Arc<Acceptor>,
    /// The sections of the configuration whose listeners serve the API as well.
    shared: BTreeSet<&'static str>,
}

impl Acceptors {
    /// Open acceptors, as the configuration says, which count and list whom they let in at `node`, with what is in
    /// force of `tls`.
    pub fn new(node: &Node, tls: &Tls) -> Arc<Self> {
        let config = node.config();
        let acceptor = |section| {
            let acceptor = Acceptor::new(section, node.clients.permits.clone());
            let acceptor = acceptor.holding(&node.clients.sockets);
            acceptor.counting(&node.clients.quotas).listing(&node.clients.roster)
        };
        let connections = Shares::of_process().api;
        let api = Arc::new(Acceptor::new("api", Permits::new(connections)).making_room());
        // They are on this machine, and no proxy is before them.
        let children = Acceptor::new("rtmp", node.clients.permits.clone())
            .holding(&node.clients.sockets)
            .listing(&node.clients.roster);
        let acceptors = Self {
            children: Arc::new(children),
            rtmp: Arc::new(acceptor("rtmp")),
            http: Arc::new(acceptor("http")),
            rtmps: Arc::new(acceptor("rtmp").encrypted("rtmps", tls.rtmp())),
            https: Arc::new(acceptor("http").encrypted("https", tls.http())),
            api,
            shared: config.api.listen.iter().filter_map(|at| config.shared_with(*at)).collect(),
        };
        acceptors.follow(&config);
        Arc::new(acceptors)
    }

    /// Those of all listeners.
    pub fn all(&self) -> [Arc<Acceptor>; 5] {
        [&self.rtmp, &self.http, &self.rtmps, &self.https, &self.api].map(Arc::clone)
    }

    /// Those that close when nobody new is served any more: whoever looks after the process must reach it to its end.
    pub fn closing(&self) -> Vec<Arc<Acceptor>> {
        let all = [
            ("rtmp", &self.rtmp),
            ("rtmp.tls", &self.rtmps),
            ("http", &self.http),
            ("http.tls", &self.https),
        ];
        let all = all.into_iter().filter(|(section, _)| !self.shared.contains(section));
        all.map(|(_, acceptor)| Arc::clone(acceptor)).collect()
    }

    fn follow(&self, config: &Config) {
        for rtmp in [&self.rtmp, &self.rtmps] {
            rtmp.expect_proxy_protocol(config.rtmp.proxy_protocol);
        }
        for http in [&self.http, &self.https] {
            http.expect_proxy_protocol(config.http.proxy_protocol);
            http.trust(&config.http.trusted_proxies);
        }
    }
}

impl Part for Acceptors {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let config = Arc::clone(&next.config);
        Ok(Ready::after(move || self.follow(&config)))
    }
}
