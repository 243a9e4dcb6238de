//! The TLS of all ports: read from the files that the configuration names, and renewed when they change.

mod api;
mod certificate;
mod ports;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::time::sleep;
use tracing::{info, warn};
use weir_blocking::Pool;
use weir_clients::listen::Encryption;
use weir_config::{Config, Fault, Next, Part, Ready, Settings, Unready, file::READ_TIMEOUT};
use weir_tls::{client::Trust, handshake::Handshakes};

use self::ports::Ported;
pub use self::{
    api::{InForce, OWN, Right},
    certificate::Certificate,
};

/// How often it is looked whether the files are others: certificates are renewed days before they end.
const LOOK: Duration = Duration::from_secs(30);

/// The TLS in force, as far as there is any.
#[derive(Debug)]
pub struct Tls {
    handshakes: Arc<Handshakes>,
    api: ArcSwapOption<InForce>,
    /// That of the ports for encoders, and of those for viewers.
    rtmp: Port,
    http: Port,
    /// Whether the files of the API are what they should be, as far as is known.
    api_is_current: AtomicBool,
}

/// The TLS of the ports of one service.
#[derive(Debug)]
struct Port {
    encryption: Arc<Encryption>,
    from: Mutex<Option<Ported>>,
    is_current: AtomicBool,
}

/// What was read of all files, to be put in force together.
#[derive(Debug, Default)]
pub struct Prepared {
    api: Option<InForce>,
    rtmp: Option<Ported>,
    http: Option<Ported>,
}

impl Prepared {
    /// Reads what `config` names, to put it in force later.
    ///
    /// # Errors
    /// When a file cannot be read, or is not what it should be.
    pub fn read(config: &Config) -> Result<Self, Fault> {
        let api = config.api.tls.as_ref().map(InForce::read).transpose()?;
        let mut read = Self { api, ..Self::default() };
        for port in config.port_tls() {
            let ported = Some(Ported::read(&port)?);
            match port.section {
                "rtmp.tls" => read.rtmp = ported,
                _ => read.http = ported,
            }
        }
        Ok(read)
    }

    /// The certificates.
    pub fn certificates(&self) -> Vec<Certificate> {
        let api = self.api.iter().map(InForce::certificate);
        let ports = self.rtmp.iter().chain(&self.http).flat_map(Ported::certificates);
        api.chain(ports.cloned()).collect()
    }

    /// What is to be said of certificates that are over, not valid yet, or will soon be over, at `now`.
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        self.certificates().iter().filter_map(|it| it.warning(now)).collect()
    }
}

impl Port {
    fn new(handshakes: &Arc<Handshakes>, from: Option<Ported>) -> Self {
        let config = from.as_ref().map(Ported::config);
        let encryption = Encryption::new(handshakes, config);
        Self { encryption, from: Mutex::new(from), is_current: AtomicBool::new(true) }
    }

    fn put(&self, from: Option<Ported>) {
        let mut now = self.lock();
        // What is the same goes on: sessions that were begun with it can be taken up again.
        if *now != from {
            self.encryption.replace(from.as_ref().map(Ported::config));
            *now = from;
        }
        self.is_current.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Ported>> {
        self.from.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tls {
    /// Begins with what was read.
    pub fn new(prepared: Prepared) -> Arc<Self> {
        let handshakes = Arc::<Handshakes>::default();
        let Prepared { api, rtmp, http } = prepared;
        Arc::new(Self {
            api: ArcSwapOption::from_pointee(api),
            rtmp: Port::new(&handshakes, rtmp),
            http: Port::new(&handshakes, http),
            handshakes,
            api_is_current: AtomicBool::new(true),
        })
    }

    fn put(&self, prepared: Prepared) {
        let Prepared { api, rtmp, http } = prepared;
        self.put_api(api);
        self.rtmp.put(rtmp);
        self.http.put(http);
    }

    fn put_api(&self, prepared: Option<InForce>) {
        self.api.store(prepared.map(Arc::new));
        self.api_is_current.store(true, Ordering::Relaxed);
    }

    /// What is in force for the API now.
    pub fn now(&self) -> Option<Arc<InForce>> {
        self.api.load_full()
    }

    /// How peers are recognised; none where they speak plain HTTP.
    pub fn trust(&self) -> Option<Trust> {
        self.now().map(|tls| tls.trust.clone())
    }

    /// The TLS of ports for encoders.
    pub const fn rtmp(&self) -> &Arc<Encryption> {
        &self.rtmp.encryption
    }

    /// The TLS of ports for viewers over HTTP.
    pub const fn http(&self) -> &Arc<Encryption> {
        &self.http.encryption
    }

    /// Where handshakes are done.
    pub const fn handshakes(&self) -> &Arc<Handshakes> {
        &self.handshakes
    }

    /// The certificates in force.
    pub fn certificates(&self) -> Vec<Certificate> {
        let mut all: Vec<_> = self.now().iter().map(|api| api.certificate()).collect();
        for port in [&self.rtmp, &self.http] {
            all.extend(port.lock().iter().flat_map(Ported::certificates).cloned());
        }
        all
    }

    /// Each section that has TLS, and whether its files could be read when they were looked at last. If not, what was
    /// read before is in force.
    pub fn files(&self) -> Vec<(&'static str, bool)> {
        let api = self.now().map(|_| ("api.tls", self.api_is_current.load(Ordering::Relaxed)));
        let port = |section, port: &Port| {
            port.lock().as_ref().map(|_| (section, port.is_current.load(Ordering::Relaxed)))
        };
        [api, port("rtmp.tls", &self.rtmp), port("http.tls", &self.http)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Takes in renewed certificates without being asked, reading them in `pool`. Never ends.
    pub async fn renew(self: Arc<Self>, settings: Settings, pool: Arc<Pool>) {
        loop {
            sleep(LOOK).await;
            let (tls, config) = (Arc::clone(&self), settings.now());
            let looked = pool.run_within(READ_TIMEOUT, move || tls.look(&config)).await;
            if let Err(error) = looked {
                warn!(%error, "cannot look at the files of TLS: what was read of them stays in force");
            }
        }
    }

    /// Reads the files of `config` again, and puts in force what has changed: each section by itself.
    fn look(&self, config: &Config) {
        if let Some(keys) = &config.api.tls {
            let before = self.now();
            match InForce::read(keys) {
                Ok(new) if before.is_some_and(|before| before.is_from_same(&new)) => {
                    self.api_is_current.store(true, Ordering::Relaxed);
                }
                Ok(new) => {
                    say_changed("api.tls");
                    self.put_api(Some(new));
                }
                Err(fault) => {
                    self.api_is_current.store(false, Ordering::Relaxed);
                    say_unusable("api.tls", &fault);
                }
            }
        }
        for keys in config.port_tls() {
            let port = if keys.section == "rtmp.tls" { &self.rtmp } else { &self.http };
            match Ported::read(&keys) {
                Ok(new) => {
                    if port.lock().as_ref() != Some(&new) {
                        say_changed(keys.section);
                    }
                    port.put(Some(new));
                }
                Err(fault) => {
                    port.is_current.store(false, Ordering::Relaxed);
                    say_unusable(keys.section, &fault);
                }
            }
        }
    }
}

fn say_changed(section: &str) {
    info!("the {section} files changed: new connections use them");
}

fn say_unusable(section: &str, error: &Fault) {
    warn!(%error, "cannot load the changed {section} files: the previous ones stay in force");
}

/// Certificates are those of new connections.
impl Part for Tls {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let prepared = Prepared::read(&next.config)?;
        Ok(Ready::after(move || self.put(prepared)))
    }
}

#[cfg(test)]
mod tests;
