//! Reading a configuration: a file in one of several formats, and over it the environment.

use std::{
    ffi::OsString,
    io, iter,
    path::{Path, PathBuf},
};

use weir_conf::{Dialect, File, Files, NoFiles};

use crate::{
    check,
    config::{Config, ConfigKeys},
    document::{self, Document},
    env::{self, Variable},
    error::{ConfigError, Origin},
    file,
    foreign::{self, Server},
    given::Given,
    include::{CONFIG_BYTES_MAX, Disk},
    kind::{Kind as _, Part},
    nginx,
    report::{self, Source},
    source::{self, Quoted},
    sources::Sources,
    srs,
    start::from_start,
    tree::{Node, Place},
    yaml,
};

/// Where SRS writes HLS without a word, from the folder that it runs in. Where there is such a folder, a volume is
/// mounted there, or SRS was here before.
const HLS_DIR_OF_SRS: &str = "./objs/nginx/html";

/// The variables that say where HLS is written.
const HLS_DIR: [&str; 2] = ["WEIR_HLS", "WEIR_HLS__DIR"];

impl Config {
    /// Reads what is `given`, and over it the environment of this process. Where nothing is given, HLS goes to
    /// `./objs/nginx/html` if there is such a folder, unless the environment says where.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_from_process(given: &Given) -> Result<(Self, Sources), ConfigError> {
        let (mut config, sources) = Self::load_given(given, std::env::vars_os())?;
        let is_set = HLS_DIR.iter().any(|name| std::env::var_os(name).is_some());
        let work_dir = config.work_dir.as_deref().unwrap_or(Path::new(""));
        let is_there = from_start(&work_dir.join(HLS_DIR_OF_SRS)).is_dir();
        if *given == Given::Nothing && !is_set && is_there {
            config.hls.dir = HLS_DIR_OF_SRS.into();
        }
        Ok((config, sources))
    }

    /// Reads the file at `path`, if one is named, and over it those variables of `environment` that begin with
    /// `WEIR_`; over a configuration of SRS, those that begin with `SRS_` before them.
    ///
    /// # Errors
    /// The file cannot be read or has no known format, a key or value is not acceptable, or a variable sets no key that
    /// there is.
    pub fn load<N, V>(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> Result<(Self, Sources), ConfigError>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        Self::load_given(&path.map(Path::to_owned).into(), environment)
    }

    /// The same of whatever is `given`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_given<N, V>(
        given: &Given,
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> Result<(Self, Sources), ConfigError>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let all = environment.into_iter().map(|(name, value)| (name.into(), value.into()));
        let environment: Vec<(OsString, OsString)> = all.collect();
        let path = match given {
            Given::File(path) => path,
            Given::Nothing => return Self::assemble("", "", environment, None),
            Given::SrsEnvironment => {
                let texts = vec![quoted("", "")];
                let document = of_srs(Vec::new(), texts, &environment)?;
                return Self::finish(document, environment);
            }
        };
        let bytes = file::read(&from_start(path), CONFIG_BYTES_MAX)
            .map_err(|why| ConfigError::Read { path: path.clone(), why })?;
        let name = path.display().to_string();
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let text = String::from_utf8_lossy(&bytes);
            Source::file(&name, &text).not_utf8(error.valid_up_to())
        })?;
        let server = foreign::server(without_mark(text));
        let mut disk = server.map(|server| Disk::new(server.dialect()));
        let files = disk.as_mut().map(|disk| disk as &mut dyn Files);
        Self::assemble(text, &name, environment, files)
    }

    /// Reads `text`, which includes nothing; `origin` is the file name that messages show.
    ///
    /// # Errors
    /// The text has no known format, or has a key or value that is not acceptable.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        Self::assemble(text, origin, Vec::new(), None).map(|(config, _)| config)
    }

    fn assemble(
        text: &str,
        file: &str,
        environment: Vec<(OsString, OsString)>,
        files: Option<&mut dyn Files>,
    ) -> Result<(Self, Sources), ConfigError> {
        let text = without_mark(text);
        if let Some(server) = foreign::server(text) {
            let document = read_document(text, file, server, files, &environment)?;
            return Self::finish(document, environment);
        }
        let keys = yaml::read(text).and_then(|node| Part::<Self>::read(&node));
        let keys = keys.map_err(|refusal| Source::file(file, text).refused(&refusal))?;
        let variables = env::variables(environment)?;
        let config = Self::with(keys, &variables, || Source::file(file, text))?;
        Ok((config, Sources::new(file, text, variables)))
    }

    /// The configuration that a document of another server is.
    fn finish(
        (node, document): (Node, Document),
        environment: Vec<(OsString, OsString)>,
    ) -> Result<(Self, Sources), ConfigError> {
        let keys = Part::<Self>::read(&node);
        let keys = keys.map_err(|refusal| document::refused(&refusal, &document.texts))?;
        let variables = env::variables(environment)?;
        let config = Self::with(keys, &variables, || document.source())?;
        Ok((config, Sources::of_document(document, variables)))
    }

    /// These keys, and over them those of `variables`.
    fn with<'t>(
        keys: ConfigKeys,
        variables: &'t [Variable],
        source: impl FnOnce() -> Source<'t>,
    ) -> Result<Self, ConfigError> {
        let mut config = keys.over(&Self::default());
        for variable in variables {
            config = variable.read()?.over(&config);
        }
        let Some(found) = check::contradiction(&config) else { return Ok(config) };
        let mut sources: Vec<_> = variables.iter().rev().map(Variable::source).collect();
        sources.push(source());
        Err(report::contradicted(&sources, found))
    }
}

/// The configuration of another server in the file at `path`, as keys, with what is different here; without what the
/// environment says. Nothing where it is in a format of ours.
pub(crate) fn foreign_file(path: &Path) -> Result<Option<(Node, Document)>, ConfigError> {
    let bytes = file::read(path, CONFIG_BYTES_MAX)
        .map_err(|why| ConfigError::Read { path: path.to_owned(), why })?;
    let (name, text) = (path.display().to_string(), String::from_utf8_lossy(&bytes));
    let Some(server) = foreign::server(without_mark(&text)) else { return Ok(None) };
    let mut disk = Disk::new(server.dialect());
    read_document(without_mark(&text), &name, server, Some(&mut disk), &[]).map(Some)
}

fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn quoted(name: &str, text: &str) -> Quoted {
    Quoted { text: text.to_owned(), origin: Origin::File(name.to_owned()) }
}

fn read_document(
    text: &str,
    name: &str,
    server: Server,
    files: Option<&mut dyn Files>,
    environment: &[(OsString, OsString)],
) -> Result<(Node, Document), ConfigError> {
    let file = File { name: name.to_owned(), text: text.to_owned() };
    let read = match files {
        Some(files) => weir_conf::parse(file, server.dialect(), files),
        None => weir_conf::parse(file, server.dialect(), &mut NoFiles),
    };
    let texts: Vec<_> = read.files.iter().map(|file| quoted(&file.name, &file.text)).collect();
    let directives =
        read.directives.map_err(|error| document::Refused::from(error).told(&texts))?;
    match server {
        Server::Srs => of_srs(directives, texts, environment),
        Server::Nginx => {
            let read = nginx::read(&directives).map_err(|refused| refused.told(&texts))?;
            Ok(documented(read, texts))
        }
    }
}

fn of_srs(
    directives: Vec<weir_conf::Directive>,
    mut texts: Vec<Quoted>,
    environment: &[(OsString, OsString)],
) -> Result<(Node, Document), ConfigError> {
    let mut variables: Vec<(String, String)> = environment
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned())))
        .filter(|(name, _)| name.starts_with(srs::PREFIX) && !env::is_service_link(name))
        .collect();
    variables.sort();
    match srs::read(directives, &mut texts, &variables) {
        Ok(reading) => Ok(documented(reading, texts)),
        Err(refused) => Err(refused.told(&texts)),
    }
}

fn documented(reading: srs::Reading, texts: Vec<Quoted>) -> (Node, Document) {
    let srs::Reading { root, notes } = reading;
    let node = root.node(Place { width: 1, ..Place::FIRST_LINE });
    let positions = source::of_node(&node);
    let notes = notes.into_iter().map(|note| note.told(&texts)).collect();
    (node, Document { texts, positions, notes })
}

/// The file of a configuration and those that it includes, with what is in them: what is looked at for changes.
///
/// # Errors
/// The file cannot be read. One that it includes is left out then.
pub fn texts(path: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let bytes = file::read(&from_start(path), CONFIG_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    let included = foreign::server(without_mark(&text)).map(|server| {
        let file = File { name: path.display().to_string(), text: without_mark(&text).to_owned() };
        weir_conf::parse(file, server.dialect(), &mut Disk::new(server.dialect())).files
    });
    let included = included.into_iter().flatten().skip(1);
    let included: Vec<_> =
        included.map(|file| (PathBuf::from(file.name), file.text.into_bytes())).collect();
    Ok(iter::once((path.to_owned(), bytes)).chain(included).collect())
}

impl Server {
    fn dialect(self) -> Dialect {
        match self {
            Self::Srs => Dialect::Srs,
            Self::Nginx => Dialect::Nginx,
        }
    }
}
