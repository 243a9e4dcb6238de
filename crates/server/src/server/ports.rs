//! The ports of a server: bound before anything else, and served once nothing can fail any more.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;
use weir_clients::{
    descriptors::Shares,
    listen::{self, ListenError},
};
use weir_config::Config;

use crate::{
    api, http,
    operate::{
        acceptors::Acceptors,
        control::Control,
        handover::{Inherited, OfferedListener, Trial},
    },
    rtmp,
    tls::Tls,
};

/// Where a server listens: the addresses of each service, with the ports that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// RTMP.
    pub rtmp: Vec<SocketAddr>,
    /// HTTP for viewers.
    pub http: Vec<SocketAddr>,
    /// The API.
    pub api: Vec<SocketAddr>,
}

/// The ports, bound but not served yet.
pub struct Ports {
    rtmp: Vec<Arc<TcpListener>>,
    http: Vec<Arc<TcpListener>>,
    api: Vec<Arc<TcpListener>>,
}

impl Ports {
    /// Binds those that `config` names, unless the process before had them.
    ///
    /// # Errors
    /// For the first that cannot be had.
    pub fn bind(config: &Config, inherited: &mut Inherited) -> Result<Self, ListenError> {
        let mut inherited = |service, address| inherited.take(service, address);
        Ok(Self {
            rtmp: listen::bind("rtmp", &config.rtmp.listen, &mut inherited)?,
            http: listen::bind("http", &config.http.listen, &mut inherited)?,
            api: listen::bind("api", &config.api.listen, &mut inherited)?,
        })
    }

    /// All of them, for the process that will replace this one.
    ///
    /// # Errors
    /// When one has no address.
    pub fn offered(&self) -> io::Result<Vec<OfferedListener>> {
        let of = |service, listeners: &[Arc<TcpListener>]| {
            listeners
                .iter()
                .map(|it| OfferedListener::of(service, it))
                .collect::<io::Result<Vec<_>>>()
        };
        let all = [of("rtmp", &self.rtmp)?, of("http", &self.http)?, of("api", &self.api)?];
        Ok(all.into_iter().flatten().collect())
    }

    /// All of them, to be tried out before another process is replaced.
    ///
    /// # Errors
    /// When one has no address.
    pub fn trials(&self, config: &Config) -> io::Result<Vec<Trial>> {
        let services = [
            ("rtmp", &self.rtmp, config.rtmp.proxy_protocol),
            ("http", &self.http, config.http.proxy_protocol),
            ("api", &self.api, false),
        ];
        let of = |(service, listeners, has_header): (_, &Vec<Arc<TcpListener>>, _)| {
            let of =
                move |it: &Arc<TcpListener>| Ok(Trial::new(service, it.local_addr()?, has_header));
            listeners.iter().map(of).collect::<Vec<io::Result<Trial>>>()
        };
        services.into_iter().flat_map(of).collect()
    }

    /// Where they are.
    ///
    /// # Errors
    /// When one has no address.
    pub fn addresses(&self) -> io::Result<Addresses> {
        let of = |listeners: &[Arc<TcpListener>]| {
            listeners.iter().map(|it| it.local_addr()).collect::<io::Result<Vec<SocketAddr>>>()
        };
        Ok(Addresses { rtmp: of(&self.rtmp)?, http: of(&self.http)?, api: of(&self.api)? })
    }

    /// Serves; `shown` is the stream that the first page of the HTTP ports leads to.
    pub fn serve(
        self,
        control: &Arc<Control>,
        acceptors: &Acceptors,
        tls: &Arc<Tls>,
        shown: Option<&'static str>,
    ) {
        let node = &control.node;
        let service = Arc::new(rtmp::Service(Arc::clone(node)));
        for listener in self.rtmp {
            tokio::spawn(listen::accept(
                listener,
                Arc::clone(&acceptors.rtmp),
                Arc::clone(&service),
            ));
        }
        let service = Arc::new(http::Media::new(node, shown));
        for listener in self.http {
            tokio::spawn(listen::accept(
                listener,
                Arc::clone(&acceptors.http),
                Arc::clone(&service),
            ));
        }
        let gate = Arc::new(api::Gate::new(node.streams.registry.budget()));
        let router = api::router(control, tls, &gate);
        let connections = Shares::of_process().api;
        let service = Arc::new(api::Service::new(router, tls, &gate, connections));
        for listener in self.api {
            tokio::spawn(listen::accept(
                listener,
                Arc::clone(&acceptors.api),
                Arc::clone(&service),
            ));
        }
    }
}
