//! Whom to trust among targets that have TLS.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use weir_blocking::Pool;
use weir_config::{Config, Fault};
use weir_tls::client::Named;
use weir_upstream::{PeerTls, Peers, Trusted};

/// Targets, as servers that are connected to. A handshake that fails is an attempt that does, and counted as one.
static TARGETS: Peers = Peers {
    named: Named { ca: "forward.ca", pin: "forward.ca" },
    called: "targets of forward",
    failed: |_| {},
};

/// Reads the authorities that the system knows, for a target that no configuration has named.
static SYSTEM: LazyLock<Pool> = LazyLock::new(|| Pool::new("reading CA certificates", 1));

/// By the file with the authorities; none is for those of the system.
type ByFile<T> = BTreeMap<Option<PathBuf>, T>;

/// Whom to trust.
#[derive(Debug, Default)]
pub struct Trusts(Mutex<ByFile<Arc<PeerTls>>>);

/// The same of settings that may come in force.
#[derive(Debug)]
pub struct NextTrusts(ByFile<Trusted>);

impl NextTrusts {
    /// Reads the files that `config` names for targets with TLS.
    ///
    /// # Errors
    /// When one cannot be read, or is not what it should be, or the system trusts nobody.
    pub fn read(config: &Config) -> Result<Self, Fault> {
        let mut all = BTreeMap::new();
        for (path, forward) in config.forwards() {
            if all.contains_key(&forward.ca) || !forward.to.iter().any(|target| target.is_tls()) {
                continue;
            }
            let trusted = Trusted::read(forward.ca.as_deref(), Vec::new(), &TARGETS);
            let trusted = trusted.map_err(|fault| Fault { path: format!("{path}.ca"), ..fault })?;
            all.insert(forward.ca.clone(), trusted);
        }
        Ok(Self(all))
    }
}

impl Trusts {
    /// From now on `next` is in force, for new connections.
    pub fn follow(&self, NextTrusts(next): NextTrusts) {
        let mut all = self.lock();
        for (file, trusted) in next {
            let tls = all.entry(file).or_insert_with(|| Arc::new(PeerTls::new(&TARGETS)));
            tls.put(Some(trusted));
        }
    }

    /// Takes in other files. It blocks.
    pub fn look(&self) {
        let all = self.lock().clone();
        for (file, tls) in all {
            tls.look(file.as_deref(), Vec::new());
        }
    }

    /// Whom to trust by `file`.
    ///
    /// # Errors
    /// When that is not known, and the system trusts nobody.
    pub async fn of(&self, file: &Option<PathBuf>) -> io::Result<Arc<PeerTls>> {
        if let Some(tls) = self.lock().get(file) {
            return Ok(Arc::clone(tls));
        }
        let ca = file.clone();
        let read =
            move || Trusted::read(ca.as_deref(), Vec::new(), &TARGETS).map_err(io::Error::other);
        let trusted = SYSTEM.run(read).await.flatten()?;
        self.follow(NextTrusts(BTreeMap::from([(file.clone(), trusted)])));
        let none = || io::Error::other("no TLS");
        self.lock().get(file).map(Arc::clone).ok_or_else(none)
    }

    fn lock(&self) -> MutexGuard<'_, ByFile<Arc<PeerTls>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries the files that `config` names for targets with TLS.
///
/// # Errors
/// When one cannot be read, or is not what it should be, or the system trusts nobody.
pub fn check_files(config: &Config) -> Result<(), Fault> {
    NextTrusts::read(config).map(drop)
}
