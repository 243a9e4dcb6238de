//! What a configuration allows that is hardly meant: no contradiction, and worth a word.

use weir_media::DEFAULT_VHOST;

use super::{AuthBy, Check, Config, ForwardQuery, Role, VhostOverride};

impl Config {
    /// A sentence for each setting that lets somebody in who may not be meant, or has no effect.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.unchecked_viewers();
        if self.role != Role::Edge {
            return warnings;
        }
        let mut forwards = self.vhosts.values().filter_map(|own| own.forward.as_ref());
        if !self.forward.is_empty() || forwards.any(|list| !list.is_empty()) {
            let what = "forward has no effect at an edge: set it at the origins, which get the streams of its encoders";
            warnings.push(what.to_owned());
        }
        if !self.pull.is_empty() {
            let what = "pull does nothing at an edge, which has its streams from its origins: configure it there";
            warnings.push(what.to_owned());
        }
        let mut own = self.vhosts.values();
        let runs = |own: &VhostOverride| {
            own.exec.as_ref().is_some_and(|list| !list.is_empty())
                || own.transcode.as_ref().is_some_and(|list| !list.is_empty())
        };
        let here = !(self.exec.is_empty() && self.transcode.is_empty() && self.ingest.is_empty());
        if here || own.any(runs) {
            let what =
                "exec, transcode and ingest do nothing at an edge: configure them at the origins";
            warnings.push(what.to_owned());
        }
        warnings
    }

    fn unchecked_viewers(&self) -> Vec<String> {
        let why = match (&self.edge.forward_query, self.edge.auth) {
            _ if self.role != Role::Edge => return Vec::new(),
            (_, AuthBy::Local) => {
                "edge.auth is local, so the origins are not asked about viewers".to_owned()
            }
            (ForwardQuery::Only(names), AuthBy::Origin) => hidden(names),
            (ForwardQuery::All, AuthBy::Origin) => return Vec::new(),
        };
        let vhosts = self.vhosts.keys().map(String::as_str).filter(|name| *name != DEFAULT_VHOST);
        let scopes = [DEFAULT_VHOST].into_iter().chain(vhosts);
        let is_open = |name: &&str| {
            let vhost = self.vhost(name);
            vhost.hooks.on_play.is_empty() && !looks_at_parameters(&vhost.auth.play)
        };
        let open = scopes.filter(is_open);
        open.map(|name| unseen(&why, name)).collect()
    }
}

fn looks_at_parameters(checks: &[Check]) -> bool {
    !checks.iter().all(Check::is_of_address)
}

fn hidden(names: &[String]) -> String {
    let (which, to_viewers) = match names {
        [] => ("none".to_owned(), "none of the viewers' parameters"),
        names => (format!("[{}]", names.join(", ")), "only those parameters of the viewers"),
    };
    format!("edge.forward_query is {which}, so the origins see {to_viewers}")
}

fn unseen(why: &str, vhost: &str) -> String {
    let own = match vhost {
        DEFAULT_VHOST => "auth.play".to_owned(),
        vhost => format!("vhosts.{vhost}.auth.play"),
    };
    format!(
        "{why}, and {own} checks no parameter: anybody who reaches this edge can play whatever the origins let this \
         edge play. Check viewers here, or forward the parameters that the origins check"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(text: &str) -> Vec<String> {
        Config::parse(text, "a.yaml").expect("a configuration").warnings()
    }

    #[test]
    fn forwarding_is_the_origins() {
        const FORWARD: &str = "forward: [{ to: other }]\n";
        assert!(warnings(FORWARD).is_empty());
        let edge = "role: edge\nedge: { origins: [o] }\n";
        for text in [FORWARD, "vhosts: { a.org: { forward: [{ to: other }] } }\n"] {
            let told = warnings(&format!("{edge}{text}"));
            assert!(told.len() == 1 && told[0].starts_with("forward has no effect"), "{told:?}");
        }
    }

    #[test]
    fn programs_are_the_origins() {
        let edge = "role: edge\nedge: { origins: [o] }\n";
        for text in [
            "exec: [{ run: [a] }]\n",
            "ingest: [{ stream: live/a, from: b }]\n",
            "vhosts: { a.org: { transcode: [{ name: hd }] } }\n",
        ] {
            assert!(warnings(text).is_empty());
            let told = warnings(&format!("{edge}{text}"));
            assert!(told.len() == 1 && told[0].starts_with("exec, transcode"), "{told:?}");
        }
    }

    #[test]
    fn an_edge_that_hides_its_viewers_and_does_not_look_at_them_is_told() {
        const HIDES: &str = "role: edge\nedge: { origins: [o], forward_query: none }\n";
        let secret = "auth: { play: [secret: { values: [a] }] }";
        let cidr = "auth: { play: [cidr: { allow: 10.0.0.0/8 }] }";
        assert!(warnings("role: edge\nedge: { origins: [o] }\n").is_empty(), "the origins see all");
        assert!(warnings("edge: { forward_query: none }\n").is_empty(), "an origin has no edge");
        let local = "role: edge\nedge: { origins: [o], auth: local }\n";
        assert!(warnings(local).len() == 1 && warnings(local)[0].contains("edge.auth is local"));
        assert!(
            warnings(&format!("{local}hooks: {{ on_play: 'http://b/' }}\n")).is_empty(),
            "a back end looks"
        );
        assert!(warnings(&format!("{HIDES}{secret}\n")).is_empty(), "it looks itself");
        for open in ["", cidr] {
            let told = warnings(&format!("{HIDES}{open}\n"));
            assert!(told.len() == 1 && told[0].contains("forward_query is none"), "{told:?}");
        }
        let text = format!(
            "role: edge\nedge: {{ origins: [o], forward_query: [token] }}\n{secret}\n\
             vhosts: {{ a.org: {{ auth: {{ play: [] }} }}, b.org: {{}} }}\n"
        );
        let told = warnings(&text);
        let is_named = told.len() == 1 && told[0].contains("vhosts.a.org.auth.play");
        assert!(is_named && told[0].contains("[token]"), "{told:?}");
    }
}
