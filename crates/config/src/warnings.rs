//! What a configuration allows that is hardly meant: no contradiction, and worth a word.

use weir_media::DEFAULT_VHOST;

use super::{Check, Config, ForwardQuery, Role};

impl Config {
    /// A sentence for each setting that lets somebody in who may not be meant.
    pub fn warnings(&self) -> Vec<String> {
        if self.role != Role::Edge {
            return Vec::new();
        }
        let mut warnings = self.hidden_viewers();
        if !self.pull.is_empty() {
            let what = "pull does nothing at an edge, which has its streams from its origins: configure it there";
            warnings.push(what.to_owned());
        }
        warnings
    }

    fn hidden_viewers(&self) -> Vec<String> {
        let ForwardQuery::Only(names) = &self.edge.forward_query else { return Vec::new() };
        let vhosts = self.vhosts.keys().map(String::as_str).filter(|name| *name != DEFAULT_VHOST);
        let scopes = [DEFAULT_VHOST].into_iter().chain(vhosts);
        let open = scopes.filter(|name| !looks_at_parameters(&self.vhost(name).auth.play));
        open.map(|name| unseen(names, name)).collect()
    }
}

fn looks_at_parameters(checks: &[Check]) -> bool {
    !checks.iter().all(|check| matches!(check, Check::Cidr(_)))
}

fn unseen(names: &[String], vhost: &str) -> String {
    let (which, to_viewers) = match names {
        [] => ("none".to_owned(), "none of the viewers' parameters"),
        names => (format!("[{}]", names.join(", ")), "only those parameters of the viewers"),
    };
    let own = match vhost {
        DEFAULT_VHOST => "auth.play".to_owned(),
        vhost => format!("vhosts.{vhost}.auth.play"),
    };
    format!(
        "edge.forward_query is {which}, so the origins see {to_viewers}, and {own} checks no parameter: anybody who \
         reaches this edge can play whatever the origins let this edge play. Check viewers here, or forward the \
         parameters that the origins check"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(text: &str) -> Vec<String> {
        Config::parse(text, "a.yaml").expect("a configuration").warnings()
    }

    #[test]
    fn an_edge_that_hides_its_viewers_and_does_not_look_at_them_is_told() {
        const HIDES: &str = "role: edge\nedge: { origins: [o], forward_query: none }\n";
        let secret = "auth: { play: [secret: { values: [a] }] }";
        let cidr = "auth: { play: [cidr: { allow: 10.0.0.0/8 }] }";
        assert!(warnings("role: edge\nedge: { origins: [o] }\n").is_empty(), "the origins see all");
        assert!(warnings("edge: { forward_query: none }\n").is_empty(), "an origin has no edge");
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
