//! Who may publish and who may play: the settings of the checks.

use std::path::PathBuf;

use ipnet::IpNet;
use serde_json::json;

use super::{
    host::{Network, Site},
    kind::{
        Element, Form, Json, Kind, Leaf, Many, Maybe, Node, Part, Refusal, Secrets, Section, Text,
        section,
    },
    scalar::{File, Parameter, Secret, Switch, Word, Words},
    value::Problem,
};

section! {
    /// Who may publish and who may play.
    Auth / AuthOverride {
        /// Checks for publishers, who have to pass all of them.
        publish: Vec<Check> = Vec::new(), Many<Check>;
        /// Checks for viewers, who have to pass all of them.
        play: Vec<Check> = Vec::new(), Many<Check>;
    }
}

/// A check that a client passes or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Its address is in the right networks.
    Cidr(Cidr),
    /// A parameter of its URL is one of some secrets.
    Secret(SharedSecret),
    /// A parameter of its URL signs the stream's name and a time.
    Token(SignedToken),
    /// A parameter of its URL is a JSON Web Token.
    Jwt(Jwt),
    /// It is an edge of ours.
    Edge(EdgeTokens),
    /// The page that its player is in is on the right site.
    Referer(Referer),
    /// The back end says so (`hooks.on_publish`, `hooks.on_play`).
    Hook,
}

section! {
    /// Networks that clients are in or not.
    Cidr / CidrKeys {
        /// The networks that may; empty: all.
        allow: Vec<IpNet> = Vec::new(), Many<Network>;
        /// The networks that may not, even if they may by `allow`.
        deny: Vec<IpNet> = Vec::new(), Many<Network>;
    }
}

section! {
    /// Secrets that clients know.
    SharedSecret / SharedSecretKeys {
        /// The parameter of the URL that has the secret.
        param: String = "secret".to_owned(), Parameter;
        /// The secrets, any of which will do.
        values: Vec<Secret> = Vec::new(), Many<Secret>;
    }
}

section! {
    /// Signatures that expire.
    SignedToken / SignedTokenKeys {
        /// The parameter of the URL that has the signature.
        param: String = "token".to_owned(), Parameter;
        /// The parameter of the URL that has the time at which the signature expires.
        expires: String = "expires".to_owned(), Parameter;
        /// The keys that signatures are made with, any of which will do.
        secrets: Vec<Secret> = Vec::new(), Many<Secret>;
    }
}

section! {
    /// JSON Web Tokens.
    Jwt / JwtKeys {
        /// The parameter of the URL that has the token.
        param: String = "jwt".to_owned(), Parameter;
        /// What tokens are signed with. A token that names another algorithm is refused.
        algorithm: Algorithm = Algorithm::Hs256, Word<Algorithm>;
        /// The key of HS256.
        secret: Option<Secret> = None, Maybe<Secret>;
        /// The PEM file with the public key of RS256, ES256 or EdDSA.
        public_key: Option<PathBuf> = None, Maybe<File>;
    }
}

section! {
    /// Edges, which show a secret of their own.
    EdgeTokens / EdgeTokensKeys {
        /// The tokens (`edge.token` at the edge), any of which will do.
        tokens: Vec<Secret> = Vec::new(), Many<Secret>;
    }
}

section! {
    /// Sites that players are on, as they say: `Referer` over HTTP, `pageUrl` over RTMP.
    Referer / RefererKeys {
        /// The hosts that pages may be on; pages on subdomains of these may as well.
        hosts: Vec<String> = Vec::new(), Many<Site>;
        /// Whether clients that name no page may.
        empty: bool = false, Switch;
    }
}

/// What a JSON Web Token is signed with (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// RSA PKCS #1 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Words for Algorithm {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("HS256", Self::Hs256),
        ("RS256", Self::Rs256),
        ("ES256", Self::Es256),
        ("EdDSA", Self::EdDsa),
    ];
}

impl Check {
    /// Whether it looks at nothing that viewers show one by one: all that come through one edge have it in common.
    pub const fn is_of_address(&self) -> bool {
        matches!(self, Self::Cidr(_) | Self::Edge(_))
    }

    /// The key that the check stands behind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cidr(_) => "cidr",
            Self::Secret(_) => "secret",
            Self::Token(_) => "token",
            Self::Jwt(_) => "jwt",
            Self::Edge(_) => "edge",
            Self::Referer(_) => "referer",
            Self::Hook => "hook",
        }
    }
}

impl Element for Check {
    const EXPECTED: &'static str = "a list of checks";
    const WRITE: &'static str = "a list of checks; [] means everybody";
    const MAY_BE_NUMBER: bool = false;
}

impl Leaf for Check {
    type Value = Self;
    const FORM: Form = Form::Map;

    fn read(from: &Node) -> Result<Self, Refusal> {
        let entries = from.entries()?;
        let Some((key, value)) = entries.first() else {
            let fix =
                "write one of cidr, secret, token, jwt, edge, referer, hook with its settings";
            return Err(from.refused(Problem::new("the check is empty", fix)));
        };
        let check = match key.read(Word::<Name>::parse)? {
            Name::Cidr => settings(value).map(Self::Cidr),
            Name::Secret => settings(value).map(Self::Secret),
            Name::Token => settings(value).map(Self::Token),
            Name::Jwt => settings(value).map(Self::Jwt),
            Name::Edge => settings(value).map(Self::Edge),
            Name::Referer => settings(value).map(Self::Referer),
            Name::Hook => no_settings(value).map(|()| Self::Hook),
        };
        let check = check.map_err(|refusal| refusal.behind(key))?;
        if let Some((another, _)) = entries.get(1) {
            return another.read(one_too_many);
        }
        Ok(check)
    }

    fn show(value: &Self, secrets: Secrets) -> Json {
        let settings = match value {
            Self::Cidr(check) => check.show(secrets),
            Self::Secret(check) => check.show(secrets),
            Self::Token(check) => check.show(secrets),
            Self::Jwt(check) => check.show(secrets),
            Self::Edge(check) => check.show(secrets),
            Self::Referer(check) => check.show(secrets),
            Self::Hook => json!({}),
        };
        json!({ value.name(): settings })
    }

    fn schema() -> Json {
        let checks = [
            ("cidr", Cidr::schema(Some(&Cidr::default()))),
            ("secret", SharedSecret::schema(Some(&SharedSecret::default()))),
            ("token", SignedToken::schema(Some(&SignedToken::default()))),
            ("jwt", Jwt::schema(Some(&Jwt::default()))),
            ("edge", EdgeTokens::schema(Some(&EdgeTokens::default()))),
            ("referer", Referer::schema(Some(&Referer::default()))),
            ("hook", json!({ "type": ["object", "null"], "additionalProperties": false })),
        ];
        let checks: serde_json::Map<_, _> =
            checks.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
        json!({
            "type": "object",
            "properties": checks,
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Cidr,
    Secret,
    Token,
    Jwt,
    Edge,
    Referer,
    Hook,
}

impl Words for Name {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("cidr", Self::Cidr),
        ("secret", Self::Secret),
        ("token", Self::Token),
        ("jwt", Self::Jwt),
        ("edge", Self::Edge),
        ("referer", Self::Referer),
        ("hook", Self::Hook),
    ];
}

fn settings<S: Section>(from: &Node) -> Result<S, Refusal> {
    Ok(<Part<S> as Kind>::over(Part::<S>::read(from)?, &S::default()))
}

/// What stands behind a check that has no settings: nothing, or `{}`.
fn no_settings(from: &Node) -> Result<(), Refusal> {
    if from.is_null() || from.entries()?.is_empty() {
        return Ok(());
    }
    Err(from.refused(Problem::new("this check has no settings", "write hook: {}")))
}

/// Refuses a second key.
fn one_too_many<T>(text: &str) -> Result<T, Problem> {
    let what = format!("`{text}` is a second key, but a check has only one");
    let fix = "start each check with `- `, and indent its settings under its name";
    Err(Problem::new(what, fix))
}
