//! Which directives there are: what is known, what needs a word, what cannot be.

use weir_conf::Directive;

use super::{
    super::{document::Refused, value::Problem},
    reading::{Reading, is_on},
    row::{self, Fate},
    table,
};

/// Looks at all directives, and notes those that mean something else here.
pub(super) fn check(reading: &mut Reading, all: &[Directive]) -> Result<(), Refused> {
    block(reading, "", all, true)
}

/// The directives of the block at `path`; `is_on`: unless the block is off, and says nothing.
fn block(reading: &mut Reading, path: &str, all: &[Directive], is_on: bool) -> Result<(), Refused> {
    for (number, directive) in all.iter().enumerate() {
        let name = &directive.name.text;
        let full = row::path(path, name);
        let refused = |what: String, fix: String| Refused {
            at: directive.name.at,
            directive: full.clone(),
            problem: Problem::new(what, fix),
        };
        let Some((row, default)) = table::find(path, name) else {
            let what = format!("unknown directive `{name}`");
            return Err(refused(what, table::suggestion(path, name)));
        };
        let is_block = matches!(row.fate, Fate::Block { .. } | Fate::Free);
        match (is_block, &directive.block) {
            (true, None) => {
                let what = format!("`{name}` is a block");
                return Err(refused(what, format!("write {name} {{ ... }}")));
            }
            (false, Some(_)) => {
                let what = format!("`{name}` is not a block");
                return Err(refused(what, format!("write {name} VALUE;")));
            }
            _ => {}
        }
        let is_repeatable = row.fate == Fate::Block { many: true }
            || matches!(row.fate, Fate::Within | Fate::Free)
            || (path == "vhost.security" && name != "enabled")
            || (path == "vhost.exec" && name != "enabled");
        let is_second = all[..number].iter().any(|other| other.name.text == *name);
        if is_second && !is_repeatable {
            if is_on {
                let what = "is set a second time: as in SRS, the first one counts";
                reading.note(directive.name.at, &full, what);
            }
            continue;
        }
        let says: Vec<_> = directive.args.iter().map(|arg| &*arg.text).collect();
        let is_default = says.join(" ") == default;
        match row.fate {
            Fate::Block { .. } => {
                let inner = is_on && is_enabled(&full, directive);
                if inner && let Some(what) = super::unsupported::block(&full) {
                    reading.note(directive.name.at, &full, what);
                }
                block(reading, &full, directive.inner(), inner)?;
            }
            Fate::Instead(what) if is_on && !is_default => {
                reading.note(directive.name.at, &full, what);
            }
            Fate::Refused(why) if is_on && !is_default => {
                return Err(refused(why.to_owned(), format!("remove `{name}`")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a block says something: it has no switch, or is on.
fn is_enabled(path: &str, directive: &Directive) -> bool {
    match table::find(path, "enabled") {
        Some((_, default)) => is_on(directive.get("enabled"), default == "on"),
        None => true,
    }
}
