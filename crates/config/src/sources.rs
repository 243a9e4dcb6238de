//! Where a setting stands, of which it turns out later that something is wrong with it.

use std::fmt;

use crate::{
    document::{Document, Note},
    env::Variable,
    error::{ConfigError, Origin},
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
        let file = self.text();
        let of = |path: &str| {
            if !self.is_text {
                return SettingSource::Program;
            }
            let set = |(_, source): &&(&str, Source<'_>)| source.set_at(path).is_some();
            if let Some((name, _)) = variables.iter().find(set) {
                return SettingSource::Variable((*name).to_owned());
            }
            match file.set_at(path) {
                Some((Origin::File(name), line)) => SettingSource::File(format!("{name}:{line}")),
                Some((Origin::Variable(name) | Origin::Name(name), _)) => {
                    SettingSource::Variable(name.clone())
                }
                None => SettingSource::Default,
            }
        };
        paths.into_iter().map(of).collect()
    }

    /// The text, beside the variables.
    fn text(&self) -> Source<'_> {
        match &self.document {
            Some(document) => document.source(),
            None => Source::file(&self.file, &self.text),
        }
    }

    /// `fault` with its file, line and column, or the variable; without where its setting stands nowhere, since it is a
    /// default.
    pub fn locate(&self, fault: Fault) -> ConfigError {
        if !self.is_text {
            return ConfigError::Program(fault);
        }
        let mut sources: Vec<_> = self.variables.iter().rev().map(Variable::source).collect();
        sources.push(self.text());
        let problem = Problem::new(fault.what.clone(), fault.fix.clone());
        report::located(&sources, &fault.path, problem).unwrap_or(ConfigError::Default(fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn it_is_known_where_a_value_is_from() {
        let text = "play:\n  wait: 5s\napi: { admin_tokens: [a, b] }\n";
        let variables = [("WEIR_PLAY__GOP", "false"), ("WEIR_RTMP__CHUNK_SIZE", "4096")];
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("weir.yaml");
        std::fs::write(&path, text).expect("written");
        let (_, sources) = Config::load(Some(&path), variables).expect("good");
        let paths = ["play.wait", "play.gop", "rtmp.chunk_size", "rtmp.listen", "api.admin_tokens"];
        let variable = |name: &str| SettingSource::Variable(name.to_owned());
        let file = |line: usize| SettingSource::File(format!("{}:{line}", path.display()));
        let expected = [
            file(2),
            variable("WEIR_PLAY__GOP"),
            variable("WEIR_RTMP__CHUNK_SIZE"),
            SettingSource::Default,
            file(3),
        ];
        assert_eq!(sources.sources_of(paths), expected);
        let program = vec![SettingSource::Program; 5];
        assert_eq!(Sources::of_program().sources_of(paths), program);
    }
}
