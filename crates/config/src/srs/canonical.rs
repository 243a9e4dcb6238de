//! Old spellings: what SRS has moved since its first version, and what moved in SRS 7, put where it is now.

use weir_conf::{Directive, Word};

use super::{
    row::{self, Fate},
    table,
};

/// Puts all directives where they are now.
pub(super) fn canonical(all: &mut Vec<Directive>) {
    for directive in all.iter_mut().filter(|directive| directive.name.text == "vhost") {
        let Some(inner) = &mut directive.block else { continue };
        inner.iter_mut().for_each(without_block);
        moved(inner, "vhost", "vhost.");
    }
    moved(all, "", "");
}

/// `forward A B;` and `refer A B;`, which are blocks now.
fn without_block(directive: &mut Directive) {
    let inner = match &*directive.name.text {
        "forward" => "destination",
        "refer" => "all",
        _ => return,
    };
    if directive.block.is_none() && !directive.args.is_empty() {
        let name = |text: &str| Word::new(text, directive.name.at);
        let on = Directive { name: name("enabled"), args: vec![name("on")], block: None };
        let args = std::mem::take(&mut directive.args);
        let inner = Directive { name: name(inner), args, block: None };
        directive.block = Some(vec![on, inner]);
    }
}

/// Moves what is in the block at `path` to where it is now, in `all`, below which paths begin with `base`.
fn moved(all: &mut Vec<Directive>, path: &str, base: &str) {
    for (to, mut directive) in taken(all, path, base) {
        let Some(to) = to.strip_prefix(base) else { continue };
        let (blocks, name) = to.rsplit_once('.').unwrap_or(("", to));
        if name != "*" {
            directive.name.text = name.to_owned();
        }
        let inside = blocks.split('.').filter(|block| !block.is_empty());
        let block = inside.fold(&mut *all, |all, block| inner(all, block, &directive));
        // The refer of SRS 2 has no switch.
        let is_refer = blocks == "refer" && !block.iter().any(|it| it.name.text == "enabled");
        if is_refer {
            let word = |text: &str| Word::new(text, directive.name.at);
            block.push(Directive { name: word("enabled"), args: vec![word("on")], block: None });
        }
        block.push(directive);
    }
}

/// Takes those out that are somewhere else now, with where that is.
fn taken(all: &mut Vec<Directive>, path: &str, base: &str) -> Vec<(&'static str, Directive)> {
    let (mut kept, mut taken) = (Vec::new(), Vec::new());
    for mut directive in std::mem::take(all) {
        let name = &directive.name.text;
        let row = table::find(path, name).map(|(row, _)| row.fate);
        if let (Some(Fate::Moved(to)), None) = (row, &directive.block) {
            taken.push((to, directive));
            continue;
        }
        let is_other_base = base.is_empty() && name == "vhost";
        let full = row::path(path, name);
        if let Some(inner) = directive.block.as_mut().filter(|_| !is_other_base) {
            taken.extend(self::taken(inner, &full, base));
        }
        // A block that had nothing else in it was for these alone.
        let is_done = directive.block.as_ref().is_some_and(Vec::is_empty);
        if let (true, Some(Fate::Moved(to))) = (!is_done, row) {
            directive.name.text = to.rsplit('.').next().unwrap_or_default().to_owned();
        }
        if !(is_done && matches!(row, Some(Fate::Moved(_)))) {
            kept.push(directive);
        }
    }
    *all = kept;
    taken
}

/// The directives in the block `name` of `all`, which is made for `directive` where there is none.
fn inner<'a>(
    all: &'a mut Vec<Directive>,
    name: &str,
    directive: &Directive,
) -> &'a mut Vec<Directive> {
    let index = match all.iter().position(|it| it.name.text == name && it.block.is_some()) {
        Some(index) => index,
        None => {
            let name = Word::new(name, directive.name.at);
            all.push(Directive { name, args: Vec::new(), block: Some(Vec::new()) });
            all.len() - 1
        }
    };
    all[index].block.get_or_insert_with(Vec::new)
}
