//! Where a setting stands, of which it turns out later that something is wrong with it.

use std::fmt;

use crate::{
    document::{Document, Note},
    env::Variable,
    error::ConfigError,
    fault::Fault,
    report::{self, Source},
    value::Problem,
};

/// The texts that a configuration was read from, to say where a [`Fault`] is.
pub struct Sources {
    file: String,
    text: String,
    variables: Vec<Variable>,
    /// The texts of a configuration in the format of another server, in place of the one above.
    document: Option<Document>,
    /// Whether there are any: a program may make a configuration of its own.
    is_text: bool,
}

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// Nobody has set it.
    Default,
    /// A file; its name and line.
    File(String),
    /// A variable of the environment; its name.
    Variable(String),
    /// The program that has started the server.
    Program,
}

impl fmt::Debug for Sources {
    /// Without the texts, which have secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Sources {
    pub(super) fn new(file: &str, text: &str, variables: Vec<Variable>) -> Self {
        let (file, text) = (file.to_owned(), text.to_owned());
        Self { file, text, variables, document: None, is_text: true }
    }

    pub(super) fn of_document(document: Document, variables: Vec<Variable>) -> Self {
        Self { document: Some(document), ..Self::new("", "", variables) }
    }

    /// What directives of another server's configuration mean here, where that is something else.
    pub fn notes(&self) -> &[Note] {
        self.document.as_ref().map_or(&[], |document| &document.notes)
    }

    /// For a configuration that no text has, but the program that made it.
    pub fn of_program() -> Self {
        Self { is_text: false, ..Self::new("", "", Vec::new()) }
    }

    /// Where the values of these keys are from, in their order.
    pub fn sources_of<'p>(&self, paths: impl IntoIterator<Item = &'p str>) -> Vec<SettingSource> {
        let variables: Vec<_> =
            self.variables.iter().rev().map(|it| (it.name(), it.source())).collect();
        let file = Source::file(&self.file, &self.text);
        let of = |path: &str| {
            if !self.is_text {
                return SettingSource::Program;
            }
            let set = |(_, source): &&(&str, Source<'_>)| source.line_of(path).is_some();
            if let Some((name, _)) = variables.iter().find(set) {
                return SettingSource::Variable((*name).to_owned());
            }
            match file.line_of(path) {
                Some(line) => SettingSource::File(format!("{}:{line}", self.file)),
                None => SettingSource::Default,
            }
        };
        paths.into_iter().map(of).collect()
    }

    /// `fault` with its file, line and column, or the variable; without where its setting stands nowhere, since it is a
    /// default.
    pub fn locate(&self, fault: Fault) -> ConfigError {
        if !self.is_text {
            return ConfigError::Program(fault);
        }
        let mut sources: Vec<_> = self.variables.iter().rev().map(Variable::source).collect();
        sources.push(match &self.document {
            Some(document) => document.source(),
            None => Source::file(&self.file, &self.text),
        });
        let problem = Problem::new(fault.what.clone(), fault.fix.clone());
        report::located(&sources, &fault.path, problem).unwrap_or(ConfigError::Default(fault))
    }
}
