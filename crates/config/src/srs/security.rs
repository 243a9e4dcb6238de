//! Who may publish and play: by address and by the page that the player is on.

use ipnet::IpNet;
use weir_conf::Directive;

use super::{
    super::{
        auth::Check,
        document::{Builder, Refused, list, one, place},
        kind::Leaf as _,
        tree::{Node, Place},
    },
    reading::{Reading, is_on, place_of, wrong},
    row::{Fate, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row { block: "vhost", names: "security refer", fate: Fate::Block { many: false } },
    Row { block: "vhost", names: "refer_play", fate: Fate::Moved("vhost.refer.play") },
    Row { block: "vhost", names: "refer_publish", fate: Fate::Moved("vhost.refer.publish") },
    Row {
        block: "vhost.security",
        names: "enabled=off allow deny",
        fate: Fate::Key("the check cidr in auth.publish and auth.play, as SRS decides"),
    },
    Row {
        block: "vhost.refer",
        names: "enabled=off all publish play",
        fate: Fate::Key(
            "the check referer in auth.publish and auth.play; hosts match whole labels, so evilexample.com is \
                not example.com",
        ),
    },
];

const PATH: &str = "vhost.security";
/// The networks that everybody is in.
pub(in super::super) const EVERYBODY: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// One line of `security`.
struct Rule<'d> {
    directive: &'d Directive,
    allows: bool,
    is_publish: bool,
    /// The networks.
    from: Vec<String>,
}

/// `auth` of a vhost.
pub(super) fn vhost(
    reading: &mut Reading,
    out: &mut Builder,
    vhost: &Directive,
) -> Result<(), Refused> {
    if let Some(enabled) = vhost.get("enabled").filter(|enabled| enabled.arg() == "off") {
        nobody(out, place_of(enabled));
        return Ok(());
    }
    let security = vhost.get("security").filter(|block| is_on(block.get("enabled"), false));
    if let Some(security) = security {
        let rules = rules(security)?;
        let any_allows = rules.iter().any(|rule| rule.allows);
        for (key, is_publish) in [("publish", true), ("play", false)] {
            let at = place_of(security);
            if let Some(check) = check(&rules, is_publish, any_allows, at) {
                out.push(&["auth", key], check);
            }
        }
    }
    let refer = vhost.get("refer").filter(|block| is_on(block.get("enabled"), false));
    for key in ["publish", "play"] {
        let of =
            |name: &str| refer.and_then(|refer| refer.get(name)).filter(|it| !it.args.is_empty());
        for said in [of("all"), of(key)].into_iter().flatten() {
            referer(reading, out, key, said);
        }
    }
    Ok(())
}

/// Nobody may do anything.
pub(super) fn nobody(out: &mut Builder, at: Place) {
    for key in ["publish", "play"] {
        let everybody = EVERYBODY.map(|network| one(at, network)).to_vec();
        out.push(&["auth", key], cidr(at, Vec::new(), everybody));
    }
}

fn cidr(at: Place, allow: Vec<Node>, deny: Vec<Node>) -> Node {
    let mut check = Builder::default();
    for (key, networks) in [("allow", allow), ("deny", deny)] {
        if !networks.is_empty() {
            check.set(&["cidr", key], list(at, networks));
        }
    }
    check.node(at)
}

fn referer(reading: &mut Reading, out: &mut Builder, key: &str, said: &Directive) {
    let at = place_of(said);
    let hosts = said.args.iter().map(|word| one(place(word.at), word.text.as_str())).collect();
    let mut check = Builder::default();
    check.set(&["referer", "hosts"], list(at, hosts));
    let check = check.node(at);
    match Check::read(&check) {
        Ok(_) => out.push(&["auth", key], check),
        Err(_) => reading.note(
            said.arg_at(),
            "vhost.refer",
            "pages are not looked at: everybody may, whatever page the player is on",
        ),
    }
}

/// What SRS makes of its rules: without any, nobody may; whom a `deny` means may not, whom an `allow` means may; all
/// others may not where there is any `allow`, be it of the other action.
fn check(rules: &[Rule<'_>], is_publish: bool, any_allows: bool, at: Place) -> Option<Node> {
    let networks = |allows: bool| {
        let own = rules.iter().filter(|it| it.is_publish == is_publish && it.allows == allows);
        let nodes = own.flat_map(|rule| {
            rule.from.iter().map(|network| one(place_of(rule.directive), network.as_str()))
        });
        nodes.collect::<Vec<_>>()
    };
    let (allow, deny) = (networks(true), networks(false));
    let nobody = rules.is_empty() || any_allows && allow.is_empty();
    match (nobody, allow.is_empty() && deny.is_empty()) {
        (true, _) => Some(cidr(at, Vec::new(), EVERYBODY.map(|network| one(at, network)).to_vec())),
        (false, true) => None,
        (false, false) => Some(cidr(at, allow, deny)),
    }
}

fn rules(security: &Directive) -> Result<Vec<Rule<'_>>, Refused> {
    let lines = security.inner().iter().filter(|line| line.name.text != "enabled");
    lines.map(rule).collect()
}

fn rule(directive: &Directive) -> Result<Rule<'_>, Refused> {
    const FIX: &str = "write allow or deny, publish or play, and all, an address or a network";
    let is_publish = match directive.arg() {
        "publish" => true,
        "play" => false,
        other => {
            let what = format!("`{other}` is neither publish nor play");
            return Err(wrong(directive, PATH, what, FIX));
        }
    };
    let from = match directive.args.get(1).map(|word| &*word.text) {
        None | Some("all") => EVERYBODY.map(str::to_owned).to_vec(),
        Some(network) => vec![trunc(network).ok_or_else(|| {
            wrong(directive, PATH, format!("`{network}` is not an address or a network"), FIX)
        })?],
    };
    Ok(Rule { directive, allows: directive.name.text == "allow", is_publish, from })
}

/// A network without what stands behind its prefix, which SRS ignores.
pub(in super::super) fn trunc(text: &str) -> Option<String> {
    match text.parse::<std::net::IpAddr>() {
        Ok(ip) => Some(ip.to_string()),
        Err(_) => text.parse::<IpNet>().ok().map(|network| network.trunc().to_string()),
    }
}
