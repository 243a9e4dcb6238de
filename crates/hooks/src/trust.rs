//! Whom to trust among back ends with `https`.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use tracing::{info, warn};
use weir_config::{Config, Fault, file};
use weir_tls::{
    client::{Named, Trust, Unusable, Whom},
    pem::{self, FILE_BYTES_MAX},
};

/// What the settings are called. There are no pins.
const NAMED: Named = Named { ca: "hooks.ca", pin: "hooks.ca" };

/// Whom to trust, by the files that the configuration names.
#[derive(Clone, Debug, Default)]
pub struct Trusts {
    of_system: Option<Trust>,
    of_files: HashMap<PathBuf, (Vec<u8>, Trust)>,
}

impl Trusts {
    /// Reads what `config` names.
    ///
    /// # Errors
    /// When a file cannot be read or is not what it should be, or there is nobody to trust.
    pub fn read(config: &Config) -> Result<Self, Fault> {
        let (files, needs_system) = config.hook_authorities();
        let of_system = match needs_system {
            true => Some(Trust::new(Whom::default(), NAMED).map_err(|why| {
                let fix = "name the file with the CA certificates that sign those of the back ends";
                Fault::new("hooks.ca", why.to_string(), fix)
            })?),
            false => None,
        };
        let read = files.into_iter().map(|(path, key)| {
            let trust = of_file(&path, &key)?;
            Ok((path, trust))
        });
        Ok(Self { of_system, of_files: read.collect::<Result<_, Fault>>()? })
    }

    /// The same with other files, if there are any, and which these are. A file that cannot be used is told of, and
    /// what was read of it before stays. It blocks.
    pub(crate) fn look(&self) -> Option<(Self, Vec<PathBuf>)> {
        let (mut next, mut changed) = (self.clone(), Vec::new());
        for (path, (before, _)) in &self.of_files {
            match of_file(path, NAMED.ca) {
                Ok((file, _)) if file == *before => {}
                Ok(read) => {
                    info!("the file of hooks.ca changed: new connections to back ends use it");
                    next.of_files.insert(path.clone(), read);
                    changed.push(path.clone());
                }
                Err(error) => {
                    warn!(%error, "cannot load the changed file of hooks.ca: the previous one stays in force");
                }
            }
        }
        (!changed.is_empty()).then_some((next, changed))
    }

    /// Whom to trust by the file `ca`, or without one.
    pub(crate) fn of(&self, ca: Option<&Path>) -> Option<&Trust> {
        match ca {
            Some(file) => self.of_files.get(file).map(|(_, trust)| trust),
            None => self.of_system.as_ref(),
        }
    }
}

/// The file, and what it says.
fn of_file(path: &Path, key: &str) -> Result<(Vec<u8>, Trust), Fault> {
    let fault = |what: &str, why: &dyn std::fmt::Display| {
        let fix = "use a PEM file with CA certificates, readable by this user";
        Fault::new(key, format!("{} {what}: {why}", path.display()), fix)
    };
    let bytes = file::read(path, FILE_BYTES_MAX).map_err(|why| fault("cannot be read", &why))?;
    let authorities = pem::certificates(&bytes).map_err(|why| fault("is invalid", &why))?;
    let whom = Whom { authorities: Some(authorities), pins: Vec::new() };
    let trust = Trust::new(whom, NAMED).map_err(|why: Unusable| fault("is invalid", &why))?;
    Ok((bytes, trust))
}
