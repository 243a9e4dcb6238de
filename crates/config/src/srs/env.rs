//! Variables of the environment as SRS knows them: `SRS_VHOST_HLS_ENABLED=on`.

use weir_conf::{At, Directive, Word};
use weir_media::DEFAULT_VHOST;

use super::{
    super::{
        document::{one, place},
        error::Origin,
        source::Quoted,
        suggest,
    },
    reading::Reading,
    table,
};

/// What the names of SRS's variables begin with.
pub(in super::super) const PREFIX: &str = "SRS_";

/// Variables that say nothing about a directive: how SRS is started.
const OF_THE_START: [&str; 2] = ["SRS_ENV_ONLY", "SRS_CONFIG_FILE"];

/// The address that SRS says of itself, for which it has no directive.
const OF_THE_HEARTBEAT: &str = "SRS_DEVICE_IP";

/// Puts what variables say in place of what `all` says. The texts of those that say something are added to `texts`.
pub(super) fn overlay(
    reading: &mut Reading,
    all: &mut Vec<Directive>,
    texts: &mut Vec<Quoted>,
    variables: &[(String, String)],
) {
    let known: Vec<_> = table::rows()
        .flat_map(|row| row.names().map(move |(name, _)| (row, name)))
        .flat_map(|(row, name)| {
            table::variables(row, name).into_iter().map(move |variable| (variable, row, name))
        })
        .collect();
    for (variable, value) in variables {
        if value.is_empty() || OF_THE_START.contains(&variable.as_str()) {
            continue;
        }
        let at = At { file: texts.len(), line: 1, column: 1, width: value.chars().count() };
        let (text, origin) = (value.clone(), Origin::Variable(variable.clone()));
        texts.push(Quoted { text, origin });
        if variable == OF_THE_HEARTBEAT {
            reading.root.set(&["heartbeat", "ip"], one(place(at), value.as_str()));
            continue;
        }
        match known.iter().find(|(known, ..)| known == variable) {
            Some((_, row, name)) => {
                let (block, name) = table::place_now(row, name);
                set(all, block, name, words(value, at), at);
            }
            None => {
                let names: Vec<_> = known.iter().map(|(known, ..)| known.as_str()).collect();
                let near = suggest::did_you_mean(variable, &names);
                reading.note(at, variable, format!("sets no directive{near}"));
            }
        }
    }
}

/// The values that a variable has, with their places.
fn words(text: &str, at: At) -> Vec<Word> {
    let mut words = Vec::new();
    let mut column = 1;
    for part in text.split(' ') {
        let width = part.chars().count();
        if width > 0 {
            words.push(Word::new(part, At { column, width, ..at }));
        }
        column += width + 1;
    }
    words
}

fn set(all: &mut Vec<Directive>, block: &str, name: &str, args: Vec<Word>, at: At) {
    let directive = Directive { name: Word::new(name, at), args, block: None };
    let inside: Vec<_> = block.split('.').filter(|block| !block.is_empty()).collect();
    match inside.split_first() {
        Some((&"vhost", below)) => {
            if !all.iter().any(|it| it.name.text == "vhost") {
                let args = vec![Word::new(DEFAULT_VHOST, at)];
                let name = Word::new("vhost", at);
                all.push(Directive { name, args, block: Some(Vec::new()) });
            }
            for vhost in all.iter_mut().filter(|it| it.name.text == "vhost") {
                put(vhost.block.get_or_insert_with(Vec::new), below, directive.clone());
            }
        }
        _ => put(all, &inside, directive),
    }
}

fn put(all: &mut Vec<Directive>, below: &[&str], directive: Directive) {
    let Some((block, below)) = below.split_first() else {
        all.retain(|it| it.name.text != directive.name.text);
        all.push(directive);
        return;
    };
    let index = match all.iter().position(|it| it.name.text == **block && it.block.is_some()) {
        Some(index) => index,
        None => {
            let name = Word::new(*block, directive.name.at);
            all.push(Directive { name, args: Vec::new(), block: Some(Vec::new()) });
            all.len() - 1
        }
    };
    put(all[index].block.get_or_insert_with(Vec::new), below, directive);
}
