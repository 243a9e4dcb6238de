//! An application of nginx with what is around it.

use weir_conf::Directive;

use super::super::{document::place, tree::Place};

/// An application with what is around it.
pub(super) struct App<'d> {
    pub(super) levels: [&'d Directive; 3],
    pub(super) name: &'d str,
}

/// What a vhost has once, and which application has said it.
#[derive(Default)]
pub(super) struct Said {
    pub(super) hls: Option<String>,
    pub(super) record: Option<String>,
    pub(super) hooks: Option<String>,
    pub(super) auth: Option<String>,
}

impl Said {
    /// Whether this is the first application to say it, with the same words.
    pub(super) fn is_first(place: &mut Option<String>, words: String) -> (bool, bool) {
        match place {
            None => {
                *place = Some(words);
                (true, true)
            }
            Some(before) => (false, *before == words),
        }
    }
}

impl<'d> App<'d> {
    /// The directive `name`, of the application or of what is around it.
    pub(super) fn get(&self, name: &str) -> Option<&'d Directive> {
        self.levels.iter().find_map(|level| level.get(name))
    }

    /// All directives with this name, of the innermost block that has one.
    pub(super) fn all(&self, name: &'d str) -> Vec<&'d Directive> {
        let all = self.levels.iter().map(|level| named(level, name).collect::<Vec<_>>());
        all.into_iter().find(|all| !all.is_empty()).unwrap_or_default()
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|directive| directive.arg() == "on")
    }
}

pub(super) fn named<'d>(
    block: &'d Directive,
    name: &'d str,
) -> impl Iterator<Item = &'d Directive> {
    block.inner().iter().filter(move |directive| directive.name.text == name)
}

pub(super) fn at(directive: &Directive) -> Place {
    place(directive.arg_at())
}
