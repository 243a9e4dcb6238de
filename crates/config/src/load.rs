//! Reading a configuration: a file, and over it the environment.

use std::{ffi::OsString, iter, path::Path};

use crate::{
    check,
    config::Config,
    env::{self, Variable},
    error::ConfigError,
    file,
    kind::{Kind as _, Part},
    report::{self, Source},
    sources::Sources,
    yaml,
};

/// Longest file: what a ConfigMap may hold. A thousand vhosts have a tenth of it.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Where SRS writes HLS without a word, from the folder that it runs in. Where there is such a folder, a volume is
/// mounted there, or SRS was here before.
const HLS_DIR_OF_SRS: &str = "./objs/nginx/html";

/// The variables that say where HLS is written.
const HLS_DIR: [&str; 2] = ["WEIR_HLS", "WEIR_HLS__DIR"];

impl Config {
    /// Reads the file at `path`, if one is named, and over it the environment of this process. Without a file, HLS goes
    /// to `./objs/nginx/html` if there is such a folder, unless the environment says where.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_from_process(path: Option<&Path>) -> Result<(Self, Sources), ConfigError> {
        let (mut config, sources) = Self::load(path, std::env::vars_os())?;
        let is_set = HLS_DIR.iter().any(|name| std::env::var_os(name).is_some());
        if path.is_none() && !is_set && Path::new(HLS_DIR_OF_SRS).is_dir() {
            config.hls.dir = HLS_DIR_OF_SRS.into();
        }
        Ok((config, sources))
    }

    /// Reads the file at `path`, if one is named, and over it those variables of `environment` that begin with
    /// `WEIR_`.
    ///
    /// # Errors
    /// The file cannot be read or is not YAML, a key or value is not acceptable, or a variable sets no key that there
    /// is.
    pub fn load<N, V>(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> Result<(Self, Sources), ConfigError>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let Some(path) = path else { return Self::assemble("", "", environment) };
        let bytes = file::read(path, CONFIG_BYTES_MAX)
            .map_err(|why| ConfigError::Read { path: path.to_owned(), why })?;
        let name = path.display().to_string();
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let text = String::from_utf8_lossy(&bytes);
            Source::file(&name, &text).not_utf8(error.valid_up_to())
        })?;
        Self::assemble(text, &name, environment)
    }

    /// Reads `text`; `origin` is the file name that messages show.
    ///
    /// # Errors
    /// The text is not YAML, or has a key or value that is not acceptable.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        Self::assemble(text, origin, iter::empty::<(OsString, OsString)>())
            .map(|(config, _)| config)
    }

    fn assemble<N, V>(
        text: &str,
        file: &str,
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> Result<(Self, Sources), ConfigError>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let keys = yaml::read(text).and_then(|node| Part::<Self>::read(&node));
        let keys = keys.map_err(|refusal| Source::file(file, text).refused(&refusal))?;
        let mut config = keys.over(&Self::default());
        let variables = env::variables(environment)?;
        for variable in &variables {
            config = variable.read()?.over(&config);
        }
        if let Some(found) = check::contradiction(&config) {
            let mut sources: Vec<_> = variables.iter().rev().map(Variable::source).collect();
            sources.push(Source::file(file, text));
            return Err(report::contradicted(&sources, found));
        }
        Ok((config, Sources::new(file, text, variables)))
    }
}
