//! The rules of SRS's `security { }` as checks.

use ipnet::IpNet;

use crate::auth::{Check, Cidr};

/// A line of `security { }`: `allow publish 10.0.0.0/8;`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// `allow`; else `deny`.
    pub allows: bool,
    /// `publish`; else `play`.
    pub is_publish: bool,
    /// The clients that are meant; none for `all`.
    pub from: Option<IpNet>,
}

/// The checks of publishers and of viewers that decide as SRS does with these rules:
///
/// 1. Without any rule nobody may.
/// 2. Whom a `deny` of the action means may not.
/// 3. Whom an `allow` of the action means may.
/// 4. All others may not, if there is any `allow`, be it of the other action; else they may.
pub fn checks_of_rules(rules: &[AccessRule]) -> (Option<Check>, Option<Check>) {
    let any_allows = rules.iter().any(|rule| rule.allows);
    let of = |is_publish: bool| {
        let networks = |allows: bool| {
            let own = rules.iter().filter(|it| it.is_publish == is_publish && it.allows == allows);
            let networks =
                own.flat_map(|rule| rule.from.map_or_else(Cidr::everybody, |it| vec![it]));
            networks.collect::<Vec<_>>()
        };
        let (allow, deny) = (networks(true), networks(false));
        let nobody = rules.is_empty() || any_allows && allow.is_empty();
        match (nobody, allow.is_empty() && deny.is_empty()) {
            (true, _) => Some(Check::Cidr(Cidr { allow: Vec::new(), deny: Cidr::everybody() })),
            (false, true) => None,
            (false, false) => Some(Check::Cidr(Cidr { allow, deny })),
        }
    };
    (of(true), of(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<AccessRule> {
        let rule = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            let from = Some(words[2]).filter(|it| *it != "all");
            AccessRule {
                allows: words[0] == "allow",
                is_publish: words[1] == "publish",
                from: from.map(|it| it.parse().expect("a network")),
            }
        };
        text.split("; ").filter(|line| !line.is_empty()).map(rule).collect()
    }

    fn shown(check: Option<Check>) -> String {
        match check {
            None => "everybody".to_owned(),
            Some(Check::Cidr(Cidr { allow, deny })) => format!("allow {allow:?} deny {deny:?}"),
            Some(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn rules_become_checks() {
        let nobody = "allow [] deny [0.0.0.0/0, ::/0]";
        for (text, publish, play) in [
            ("", nobody, nobody),
            ("allow play all", nobody, "allow [0.0.0.0/0, ::/0] deny []"),
            ("deny publish 10.0.0.0/8", "allow [] deny [10.0.0.0/8]", "everybody"),
            (
                "deny publish 10.0.0.0/8; allow publish fd00::/8",
                "allow [fd00::/8] deny [10.0.0.0/8]",
                nobody,
            ),
            ("deny play all", "everybody", nobody),
        ] {
            let (of_publish, of_play) = checks_of_rules(&rules(text));
            assert_eq!(shown(of_publish), publish, "publish: {text}");
            assert_eq!(shown(of_play), play, "play: {text}");
        }
    }
}
