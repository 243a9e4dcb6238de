//! The settings in the environment: `WEIR_HTTP__LISTEN` for `http.listen`.

use std::ffi::OsString;

use super::{
    config::{Config, ConfigKeys},
    error::ConfigError,
    hints::{self, Here},
    kind::{Form, Node, Section},
    report::Source,
    suggest,
    value::Problem,
    yaml,
};

/// What the names of our variables begin with.
const PREFIX: &str = "WEIR_";
/// What stands between the keys of a path.
const BETWEEN: &str = "__";
/// The variables of the command line: of the log, the configuration's file, and the token for calls of the API.
const OPTIONS: [&str; 6] = [
    "WEIR_LOG",
    "WEIR_LOG_BURST",
    "WEIR_LOG_FORMAT",
    "WEIR_CONFIG",
    "WEIR_TOKEN",
    "WEIR_TOKEN_FILE",
];

/// A variable that sets a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variable {
    name: String,
    /// The key that it sets.
    path: String,
    form: Form,
    text: String,
}

/// Our variables among `all`. A section comes before its own keys, which are to win.
pub(super) fn variables<N, V>(
    all: impl IntoIterator<Item = (N, V)>,
) -> Result<Vec<Variable>, ConfigError>
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let ours = |(name, text): (N, V)| {
        let name = name.into().into_string().ok()?;
        name.starts_with(PREFIX).then(|| (name, text.into()))
    };
    let mut ours: Vec<_> = all.into_iter().filter_map(ours).collect();
    ours.sort();
    let known = known();
    let ours = ours.into_iter().filter(|(name, _)| !is_of_others(name));
    ours.map(|(name, text)| variable(name, text, &known)).collect()
}

/// The name of each key's variable, the key's path, and how its value is written.
fn known() -> Vec<(String, String, Form)> {
    let mut known = Vec::new();
    Config::each_key("", &mut |path, form| {
        let name = format!("{PREFIX}{}", path.replace('.', BETWEEN).to_ascii_uppercase());
        known.push((name, path, form));
    });
    known
}

fn variable(
    name: String,
    text: OsString,
    known: &[(String, String, Form)],
) -> Result<Variable, ConfigError> {
    let Some((_, path, form)) = known.iter().find(|(known, ..)| *known == name) else {
        return Err(Source::name(&name).refused_text(unknown(&name, known)));
    };
    let refused = |what: &str, fix| {
        let source = Source::variable(&name, path, "");
        Err(source.refused_text(Problem::new(what, fix)))
    };
    match text.into_string() {
        Ok(text) if text.is_empty() => {
            refused("has no value", "set a value, or unset the variable")
        }
        Ok(text) => Ok(Variable { name, path: path.clone(), form: *form, text }),
        Err(text) => {
            let valid = std::str::from_utf8(text.as_encoded_bytes())
                .map_or_else(|e| e.valid_up_to(), str::len);
            let what = format!("is not valid UTF-8 (byte {})", valid + 1);
            refused(&what, "use UTF-8")
        }
    }
}

fn unknown(name: &str, known: &[(String, String, Form)]) -> Problem {
    let vhosts = format!("{PREFIX}VHOSTS{BETWEEN}");
    if name.starts_with(&vhosts) {
        let fix = "set all vhosts in one variable: WEIR_VHOSTS='{\"a.org\": {\"play\": {\"wait\": \"0s\"}}}'";
        return Problem::new("vhosts have no variables of their own", fix);
    }
    // What all names have in common makes none of them likely.
    let own = |name: &str| name.get(PREFIX.len()..).unwrap_or_default().to_ascii_uppercase();
    let names: Vec<_> = known.iter().map(|(name, ..)| own(name)).chain(OPTIONS.map(own)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let near = suggest::nearest(&own(name), &names);
    let last = name.rsplit(BETWEEN).next().unwrap_or_default().trim_start_matches(PREFIX);
    match hints::of_others(last).filter(|_| near.is_none()) {
        Some(Here::Key(path, _)) => {
            let what = format!("does not match a key; in Weir it is `{path}`");
            let ours = known.iter().find(|(_, known, _)| known == path);
            let ours = ours.map_or(path, |(name, ..)| name.as_str());
            return Problem::new(what, format!("set {ours}, or unset the variable"));
        }
        Some(Here::Else(advice)) => return Problem::new("does not match any key", advice),
        None => {}
    }
    let near = near.map_or(String::new(), |near| format!("; did you mean `{PREFIX}{near}`?"));
    let fix = format!("use {PREFIX}SECTION{BETWEEN}KEY, in capitals, or unset the variable");
    Problem::new(format!("does not match any key{near}"), fix)
}

/// Whether the variable has nothing to say about the configuration: it is the command line's, or Kubernetes has set it
/// for a Service whose name begins with `weir`.
fn is_of_others(name: &str) -> bool {
    OPTIONS.contains(&name) || (!name.contains(BETWEEN) && is_service_link(name))
}

/// Whether it is the name of a variable that Kubernetes sets for a Service (as Docker did for links): `X_SERVICE_HOST`,
/// `X_SERVICE_PORT`, `X_SERVICE_PORT_NAME`, `X_PORT`, `X_PORT_80_TCP`, `X_PORT_80_TCP_ADDR`.
pub(super) fn is_service_link(name: &str) -> bool {
    let words: Vec<_> = name.split('_').collect();
    let is_port = |words: &[&str]| {
        let [number, protocol, ..] = words else { return words.is_empty() };
        let part = words.get(2).is_none_or(|part| ["PROTO", "PORT", "ADDR"].contains(part));
        number.parse::<u16>().is_ok()
            && ["TCP", "UDP", "SCTP"].contains(protocol)
            && part
            && words.len() <= 3
    };
    (1..words.len()).any(|at| match &words[at..] {
        ["SERVICE", "HOST"] | ["SERVICE", "PORT", ..] => true,
        ["PORT", rest @ ..] => is_port(rest),
        _ => false,
    })
}

impl Variable {
    /// The keys that it sets.
    pub(super) fn read(&self) -> Result<ConfigKeys, ConfigError> {
        let path: Vec<_> = self.path.split('.').collect();
        let (key, below) = path.split_first().unwrap_or((&"", &[]));
        let node = match self.is_yaml() {
            true => yaml::read(&self.text),
            false => Ok(Node::alone(&self.text)),
        };
        node.and_then(|node| Config::read_key(key, below, &node))
            .map_err(|refusal| self.source().refused(&refusal))
    }

    /// The variable as a source of settings.
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn source(&self) -> Source<'_> {
        if self.is_yaml() {
            Source::yaml_variable(&self.name, &self.path, &self.text)
        } else {
            Source::variable(&self.name, &self.path, &self.text)
        }
    }

    /// Whether the value has a structure. Of what has none, no character means anything to YAML: a secret may begin
    /// with `*`, an address with a bracket.
    fn is_yaml(&self) -> bool {
        let text = self.text.trim();
        match self.form {
            Form::Scalar => false,
            Form::List => text.starts_with('[') && text.ends_with(']'),
            Form::Map => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_variable() {
        let known = known();
        let name = |path: &str| {
            known.iter().find(|(_, known, _)| known == path).map(|(name, ..)| name.as_str())
        };
        assert_eq!(name("role"), Some("WEIR_ROLE"));
        assert_eq!(name("play"), Some("WEIR_PLAY"));
        assert_eq!(name("play.stall_timeout"), Some("WEIR_PLAY__STALL_TIMEOUT"));
        assert_eq!(name("api.tls.admin_ca"), Some("WEIR_API__TLS__ADMIN_CA"));
        assert_eq!(name("vhosts"), Some("WEIR_VHOSTS"));
        assert!(known.iter().all(|(name, ..)| !is_of_others(name)), "{known:?}");
    }

    #[test]
    fn knows_what_kubernetes_sets() {
        for name in [
            "WEIR_SERVICE_HOST",
            "WEIR_SERVICE_PORT",
            "WEIR_SERVICE_PORT_HTTP_FLV",
            "WEIR_PORT",
            "WEIR_PORT_1935_TCP",
            "WEIR_PORT_1935_TCP_ADDR",
            "WEIR_EDGE_SERVICE_HOST",
            "WEIR_EDGE_PORT_8080_UDP_PROTO",
            "WEIR_HTTP_PORT_80_SCTP_PORT",
            "WEIR_EDGE_PORT",
        ] {
            assert!(is_of_others(name), "{name}");
        }
        for name in [
            "WEIR_ROLE",
            "WEIR_SERVICE",
            "WEIR_PORTS",
            "WEIR_PORT_80",
            "WEIR_PORT_80_ICMP",
            "WEIR_PORT_80_TCP_NAME",
            "WEIR_HOST",
            "WEIR_EDGE__HTTP_PORT",
            "WEIR_EDGE__SERVICE_HOST",
            "WEIR_LOGS",
        ] {
            assert!(!is_of_others(name), "{name}");
        }
    }
}
