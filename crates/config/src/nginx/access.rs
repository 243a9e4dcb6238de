//! `allow` and `deny`.

use super::{
    super::{
        document::{Builder, Refused, list, one},
        srs::{EVERYBODY, Reading, network, wrong},
        tree::{Node, Place},
    },
    app::{App, Said, at},
};

/// One rule, with the networks that it means.
struct Rule {
    allows: bool,
    place: Place,
    networks: Vec<String>,
    is_all: bool,
}

/// The checks of an application. In nginx the first rule that means the client decides, and who is in none may.
pub(super) fn read(
    reading: &mut Reading,
    said: &mut Option<String>,
    app: &App<'_>,
) -> Result<(), Refused> {
    let all: Vec<_> = app.levels[0]
        .inner()
        .iter()
        .filter(|it| matches!(&*it.name.text, "allow" | "deny"))
        .collect();
    let Some(first) = all.first() else { return Ok(()) };
    let words: Vec<_> = all
        .iter()
        .map(|it| {
            let args: Vec<_> = it.args.iter().map(|word| &*word.text).collect();
            format!("{} {}", it.name.text, args.join(" "))
        })
        .collect();
    let (is_first, is_same) = Said::is_first(said, words.join(";"));
    if !is_first {
        if !is_same {
            let what = "who may is decided for all apps, by the rules of the first application that has any";
            reading.note(first.name.at, "allow", what);
        }
        return Ok(());
    }
    for action in ["publish", "play"] {
        let mut rules = Vec::new();
        for directive in &all {
            let args: Vec<_> = directive.args.iter().map(|word| &*word.text).collect();
            let (of, whom) = match args[..] {
                [of @ ("publish" | "play"), whom] => (Some(of), whom),
                [whom] => (None, whom),
                _ => {
                    let fix =
                        "write allow or deny, publish or play, and all, an address or a network";
                    return Err(wrong(directive, "allow", "the rule is not complete", fix));
                }
            };
            if of.is_some_and(|of| of != action) {
                continue;
            }
            let networks = match whom {
                "all" => EVERYBODY.map(str::to_owned).to_vec(),
                whom => vec![network(whom).ok_or_else(|| {
                    let what = format!("`{whom}` is not an address or a network");
                    wrong(directive, "allow", what, "write all, an address or a network")
                })?],
            };
            let allows = directive.name.text == "allow";
            rules.push(Rule { allows, place: at(directive), networks, is_all: whom == "all" });
        }
        if let Some(check) = check(&rules) {
            reading.root.push(&["auth", action], check);
        }
    }
    Ok(())
}

fn check(rules: &[Rule]) -> Option<Node> {
    let place = rules.first()?.place;
    let end = rules.iter().position(|rule| rule.is_all).unwrap_or(rules.len());
    let denies_rest = rules.get(end).is_some_and(|rule| !rule.allows);
    let of = |allows: bool| {
        let own = rules[..end].iter().filter(|rule| rule.allows == allows);
        own.flat_map(|rule| rule.networks.iter().map(|network| one(rule.place, network.as_str())))
            .collect::<Vec<_>>()
    };
    let (allow, mut deny) = (of(true), of(false));
    if denies_rest && allow.is_empty() {
        deny = EVERYBODY.map(|network| one(place, network)).to_vec();
    }
    let allow = if denies_rest { allow } else { Vec::new() };
    if allow.is_empty() && deny.is_empty() {
        return None;
    }
    let mut check = Builder::default();
    for (key, networks) in [("allow", allow), ("deny", deny)] {
        if !networks.is_empty() {
            check.set(&["cidr", key], list(place, networks));
        }
    }
    Some(check.node(place))
}
