//! The ports of a server: bound before anything else, and served once nothing can fail any more.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::net::TcpListener;
use weir_clients::{
    descriptors::Shares,
    listen::{self, Acceptor, ListenError},
};
use weir_config::Config;

use crate::{
    api, http,
    node::Node,
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
    /// RTMP over TLS.
    pub rtmps: Vec<SocketAddr>,
    /// HTTP for viewers over TLS.
    pub https: Vec<SocketAddr>,
    /// The API.
    pub api: Vec<SocketAddr>,
    /// Metrics alone.
    pub metrics: Vec<SocketAddr>,
}

/// The ports, bound but not served yet.
pub struct Ports {
    rtmp: Vec<Arc<TcpListener>>,
    http: Vec<Arc<TcpListener>>,
    rtmps: Vec<Arc<TcpListener>>,
    https: Vec<Arc<TcpListener>>,
    api: Vec<Arc<TcpListener>>,
    metrics: Vec<Arc<TcpListener>>,
    /// Where the API is served by listeners for viewers: their section of the configuration, and the address.
    shared: Vec<(&'static str, SocketAddr)>,
}

impl Ports {
    /// Binds those that `config` names, unless the process before had them.
    ///
    /// # Errors
    /// For the first that cannot be had.
    pub fn bind(config: &Config, inherited: &mut Inherited) -> Result<Self, ListenError> {
        let mut bound = Self {
            rtmp: Vec::new(),
            http: Vec::new(),
            rtmps: Vec::new(),
            https: Vec::new(),
            api: Vec::new(),
            metrics: Vec::new(),
            shared: Vec::new(),
        };
        for (section, addresses) in config.listeners() {
            let mut own = addresses.to_vec();
            if section == "api" {
                let shares = |at: &SocketAddr| Some((config.shared_with(*at)?, *at));
                bound.shared = addresses.iter().filter_map(shares).collect();
                own.retain(|at| config.shared_with(*at).is_none());
            }
            let listeners =
                listen::bind(section, &own, |service, address| inherited.take(service, address))?;
            *match section {
                "rtmp" => &mut bound.rtmp,
                "http" => &mut bound.http,
                "rtmp.tls" => &mut bound.rtmps,
                "http.tls" => &mut bound.https,
                "metrics" => &mut bound.metrics,
                _ => &mut bound.api,
            } = listeners;
        }
        Ok(bound)
    }

    /// Each service by its section of the configuration, with its listeners.
    fn services(&self) -> [(&'static str, &[Arc<TcpListener>]); 6] {
        [
            ("rtmp", &self.rtmp),
            ("http", &self.http),
            ("rtmp.tls", &self.rtmps),
            ("http.tls", &self.https),
            ("api", &self.api),
            ("metrics", &self.metrics),
        ]
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
        let all = self.services().map(|(service, listeners)| of(service, listeners));
        Ok(all.into_iter().collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// All of them, to be tried out before another process is replaced.
    ///
    /// # Errors
    /// When one has no address.
    pub fn trials(&self, config: &Config) -> io::Result<Vec<Trial>> {
        let of = |(service, listeners): (&'static str, &[Arc<TcpListener>])| {
            let has_header = match service {
                "rtmp" | "rtmp.tls" => config.rtmp.proxy_protocol,
                "http" | "http.tls" => config.http.proxy_protocol,
                _ => false,
            };
            let of =
                move |it: &Arc<TcpListener>| Ok(Trial::new(service, it.local_addr()?, has_header));
            listeners.iter().map(of).collect::<Vec<io::Result<Trial>>>()
        };
        self.services().into_iter().flat_map(of).collect()
    }

    /// Where they are.
    ///
    /// # Errors
    /// When one has no address.
    pub fn addresses(&self) -> io::Result<Addresses> {
        let of = |listeners: &[Arc<TcpListener>]| {
            listeners.iter().map(|it| it.local_addr()).collect::<io::Result<Vec<SocketAddr>>>()
        };
        let shared = self.shared.iter().map(|(_, address)| *address);
        Ok(Addresses {
            rtmp: of(&self.rtmp)?,
            http: of(&self.http)?,
            rtmps: of(&self.rtmps)?,
            https: of(&self.https)?,
            api: of(&self.api)?.into_iter().chain(shared).collect(),
            metrics: of(&self.metrics)?,
        })
    }

    /// Where media are served, for those who ask at the API.
    fn media(&self) -> api::Media {
        let of = |listeners: &[Arc<TcpListener>]| {
            listeners.iter().filter_map(|it| it.local_addr().ok()).collect::<Vec<_>>()
        };
        let kinds = [&self.rtmp, &self.rtmps, &self.http, &self.https].map(|it| of(it));
        let [rtmp, rtmps, http, https] =
            kinds.each_ref().map(|it| it.first().map(SocketAddr::port));
        let all = kinds.iter().flatten().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified());
        let addresses: BTreeSet<_> = all.collect();
        let ports = api::MediaPorts { rtmp, rtmps, http, https, embeds: false };
        let [rtmp, _, http, _] = kinds;
        let shared = self.shared.iter().filter(|(section, _)| *section == "http");
        let api = of(&self.api).into_iter().chain(shared.map(|(_, address)| *address)).collect();
        let listens = api::Listens { rtmp, http, api };
        api::Media { ports, addresses: addresses.into_iter().collect(), listens }
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
        let media = self.media();
        let service = Arc::new(rtmp::Service(Arc::clone(node)));
        serve(self.rtmp, &acceptors.rtmp, &service);
        serve(self.rtmps, &acceptors.rtmps, &service);
        let gate = Arc::new(api::Gate::new(node.streams.registry.budget()));
        let (router, metrics) = api::routers(control, tls, &gate, &media);
        let connections = Shares::of_process().api;
        let service = Arc::new(api::Service::new(router, tls, &gate, connections));
        // Both share their connections, so that they take no more together than the API alone.
        let metrics = Arc::new(service.beside(metrics));
        let streams = Arc::new(http::Media::new(node, shown));
        let beside = Arc::new(api::Beside(Arc::clone(&service))) as Arc<dyn http::Beside>;
        let both = Arc::new(streams.beside(&beside));
        let shared: BTreeSet<_> = self.shared.into_iter().map(|(_, address)| address).collect();
        let is_shared =
            |it: &Arc<TcpListener>| it.local_addr().is_ok_and(|address| shared.contains(&address));
        for (listeners, acceptor) in [(self.http, &acceptors.http), (self.https, &acceptors.https)]
        {
            let (all, own): (Vec<_>, Vec<_>) = listeners.into_iter().partition(is_shared);
            serve(all, acceptor, &both);
            serve(own, acceptor, &streams);
        }
        serve(self.api, &acceptors.api, &service);
        serve(self.metrics, &acceptors.api, &metrics);
    }
}

/// Opens the port of programs that run here when the first of them needs it, and says where it is. It is another one
/// than that of encoders: no PROXY header comes before a connection there, and it is this process's also while another
/// one takes the listeners over.
pub fn for_programs(
    node: &Arc<Node>,
    acceptor: &Arc<Acceptor>,
) -> impl Fn() -> io::Result<SocketAddr> + use<> {
    // The node has the children, and they have this.
    let (node, acceptor) = (Arc::downgrade(node), Arc::clone(acceptor));
    let open = Mutex::new(None);
    move || {
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        match *open {
            Some(address) => Ok(address),
            None => Ok(*open.insert(opened(&node, &acceptor)?)),
        }
    }
}

fn opened(node: &Weak<Node>, acceptor: &Arc<Acceptor>) -> io::Result<SocketAddr> {
    let node = node.upgrade().ok_or_else(|| io::Error::other("the server has ended"))?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listeners = listen::bind("rtmp", &[any], |_, _| None).map_err(io::Error::other)?;
    let address = listeners.first().map_or(Ok(any), |listener| listener.local_addr())?;
    serve(listeners, acceptor, &Arc::new(rtmp::Service(node)));
    Ok(address)
}

/// Lets clients in from `listeners`, for `service`.
fn serve(
    listeners: Vec<Arc<TcpListener>>,
    acceptor: &Arc<Acceptor>,
    service: &Arc<impl listen::Service>,
) {
    for listener in listeners {
        tokio::spawn(listen::accept(listener, Arc::clone(acceptor), Arc::clone(service)));
    }
}
