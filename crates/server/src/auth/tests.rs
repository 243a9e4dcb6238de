use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use proptest::prelude::*;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use serde_json::json;
use weir_config::{Algorithm, Check, Config, Jwt, Secret, SignedToken};
use weir_media::{DEFAULT_VHOST, StreamKey};
use weir_rtmp::url::URL_BYTES_MAX;

use super::{
    bounds::{CHECKS_MAX, SECRETS_MAX},
    check::{check, check_address},
    request::Request,
    *,
};

/// A Wednesday in 2026.
const NOW: u64 = 1_790_000_000;

fn key() -> StreamKey {
    StreamKey::new(DEFAULT_VHOST, "live", "a").unwrap()
}

/// The checks of a publisher in YAML, as operators write them.
fn checks(yaml: &str) -> Vec<Check> {
    let text = format!("auth: {{ publish: [{yaml}] }}\n");
    Config::parse(&text, "test").unwrap_or_else(|error| panic!("{error}")).auth.publish
}

fn ask(checks: &[Check], params: &str, peer: &str) -> Result<(), Denied> {
    ask_with(checks, &Keys::default(), params, peer)
}

fn ask_with(checks: &[Check], keys: &Keys, params: &str, peer: &str) -> Result<(), Denied> {
    let (key, peer) = (key(), peer.parse().unwrap());
    let shown = Shown { peer, edge_token: None, page_url: "" };
    let request = Request { action: Action::Publish, key: &key, params, shown, now: NOW };
    check(checks, keys, &request)
}

#[test]
fn an_edge_is_recognised_by_its_token() {
    let (checks, key) =
        (checks("edge: { tokens: [old, new] }, {cidr: { deny: 10.0.0.0/8 }}"), key());
    let ask = |token: Option<&str>, peer: &str| {
        let token = token.map(weir_config::Secret::new);
        let (peer, edge_token) = (peer.parse().unwrap(), token.as_ref());
        let (action, params) = (Action::Publish, "");
        let shown = Shown { peer, edge_token, page_url: "" };
        let request = Request { action, key: &key, params, shown, now: NOW };
        check(&checks, &Keys::default(), &request)
    };
    assert_eq!(ask(Some("new"), "192.0.2.1"), Ok(()));
    assert_eq!(ask(Some("old"), "192.0.2.1"), Ok(()));
    assert_eq!(ask(None, "192.0.2.1"), Err(Denied::NoEdge));
    assert_eq!(
        ask(Some("new"), "10.0.0.1").unwrap_err().to_string(),
        "denied: not from this address"
    );
    for wrong in ["", "ne", "newer", "New"] {
        let denied = ask(Some(wrong), "192.0.2.1").unwrap_err();
        assert!(
            denied.may_be_guess()
                && denied.to_string() == "denied: the token of the edge is not valid"
        );
    }
}

#[track_caller]
fn assert_said(result: &Result<(), Denied>, said: &str) {
    let got = result.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
    assert_eq!(got, said, "{result:?}");
}

#[test]
fn without_checks_everybody_may() {
    assert_eq!(ask(&[], "", "10.0.0.1"), Ok(()));
}

#[test]
fn networks_decide_and_deny_wins() {
    let table = [
        ("{ allow: [10.0.0.0/8] }", "10.1.2.3", true),
        ("{ allow: [10.0.0.0/8] }", "11.1.2.3", false),
        ("{ allow: [10.0.0.0/8] }", "::ffff:10.1.2.3", true),
        ("{ allow: [10.0.0.0/8] }", "fd00::1", false),
        ("{ allow: [10.0.0.0/8], deny: [10.1.0.0/16] }", "10.1.2.3", false),
        ("{ allow: [10.0.0.0/8], deny: [10.1.0.0/16] }", "10.2.2.3", true),
        ("{ deny: [10.1.2.3] }", "10.1.2.3", false),
        ("{ deny: [10.1.2.3] }", "::ffff:10.1.2.3", false),
        ("{ deny: [10.1.2.3] }", "10.1.2.4", true),
        ("{ deny: ['::1'] }", "::1", false),
        ("{ deny: ['::/0'] }", "::1", false),
        ("{ deny: ['::/0'] }", "127.0.0.1", true),
        ("{ allow: ['fd00::/8', 127.0.0.1] }", "fd12::1", true),
        ("{ allow: ['fd00::/8', 127.0.0.1] }", "127.0.0.1", true),
        ("{ allow: ['fd00::/8', 127.0.0.1] }", "fe80::1", false),
        ("{ deny: ['::ffff:10.0.0.0/104'] }", "10.1.2.3", false),
    ];
    for (yaml, peer, may) in table {
        let result = ask(&checks(&format!("{{ cidr: {yaml} }}")), "", peer);
        assert_eq!(result.is_ok(), may, "{yaml} {peer}: {result:?}");
        if !may {
            assert_said(&result, "denied: not from this address");
        }
    }
}

/// A line of SRS's `security`: whether it allows, whether it is about publishing, and whom it means; nothing is all.
type Rule = (bool, bool, &'static str);

/// What SRS decides, written as its documentation has it.
fn of_srs(rules: &[Rule], is_publish: bool, peer: IpAddr) -> bool {
    let means = |(_, publishes, from): &&Rule| {
        let is_in = || from.parse::<ipnet::IpNet>().unwrap().contains(&peer);
        *publishes == is_publish && (from.is_empty() || is_in())
    };
    let matching = |allows: bool| rules.iter().filter(|it| it.0 == allows).any(|it| means(&it));
    let any_allows = rules.iter().any(|rule| rule.0);
    !rules.is_empty() && !matching(false) && (matching(true) || !any_allows)
}

proptest! {
    #[test]
    fn rules_of_srs_decide_as_in_srs(
        rules in proptest::collection::vec(
            (any::<bool>(), any::<bool>(), proptest::sample::select(vec![
                "", "10.0.0.0/8", "10.0.0.1/32", "fd00::/8", "0.0.0.0/0", "2001:db8::1/128",
            ])),
            0..6,
        ),
        peer in proptest::sample::select(vec!["10.1.2.3", "10.0.0.1", "192.0.2.1", "fd00::1", "2001:db8::1"]),
    ) {
        let line = |(allows, is_publish, from): &Rule| {
            let from = if from.is_empty() { "all" } else { from };
            let word = if *allows { "allow" } else { "deny" };
            let action = if *is_publish { "publish" } else { "play" };
            format!("{word} {action} {from};\n")
        };
        let lines: String = rules.iter().map(line).collect();
        let text = format!("listen 1935;\nvhost __defaultVhost__ {{\nsecurity {{\nenabled on;\n{lines}}}\n}}\n");
        let config = Config::parse(&text, "srs.conf").unwrap();
        let auth = config.vhost(DEFAULT_VHOST).auth;
        for (is_publish, checks) in [(true, &auth.publish), (false, &auth.play)] {
            let may = ask(checks, "", peer).is_ok();
            prop_assert_eq!(may, of_srs(&rules, is_publish, peer.parse().unwrap()), "{:?} {}", rules, peer);
        }
    }
}

#[test]
fn a_page_is_looked_at_once_all_else_is_right() {
    let checks = checks("referer: { hosts: [a.org] }, {secret: { values: [x] }}");
    let key = key();
    let ask = |params: &str, page_url: &str| {
        let peer = "10.0.0.1".parse().unwrap();
        let shown = Shown { peer, edge_token: None, page_url };
        let request = Request { action: Action::Publish, key: &key, params, shown, now: NOW };
        check(&checks, &Keys::default(), &request)
    };
    assert_eq!(ask("?secret=x", "http://www.a.org/b"), Ok(()));
    let denied = ask("?secret=x", "http://evila.org/").unwrap_err();
    assert!(!denied.may_be_guess() && denied.to_string() == "denied: not from this site");
    assert!(denied.reason().contains("on none of the hosts"), "{}", denied.reason());
    assert!(ask("?secret=x", "").is_err() && ask("", "http://a.org").is_err());
}

#[test]
fn one_of_the_secrets_is_enough() {
    let set = checks("{ secret: { values: [x, 'y z/'] } }");
    let missing = "denied: the parameter `secret` is missing";
    let wrong = "denied: the secret is not valid";
    let table = [
        ("?secret=x", "ok"),
        ("secret=x", "ok"),
        ("?a=b&secret=x", "ok"),
        ("?a=b?secret=x", "ok"),
        ("?vhost=v&secret=x&c", "ok"),
        ("?secret=y%20z%2F", "ok"),
        ("?secret=x&secret=no", "ok"),
        ("?secret=no&secret=x", wrong),
        ("?secret=xx", wrong),
        ("?secret=", wrong),
        ("?secret=X", wrong),
        ("?secret", missing),
        ("?secrets=x", missing),
        ("?SECRET=x", missing),
        ("", missing),
    ];
    for (params, said) in table {
        assert_said(&ask(&set, params, "10.0.0.1"), said);
    }
    let named = checks("{ secret: { param: key, values: [x] } }");
    assert_said(&ask(&named, "?key=x", "10.0.0.1"), "ok");
    assert_said(&ask(&named, "?secret=x", "10.0.0.1"), "denied: the parameter `key` is missing");
}

#[test]
fn all_checks_must_pass() {
    let both = checks("{ secret: { values: [x] } }, { cidr: { allow: [10.0.0.0/8] } }");
    assert_said(&ask(&both, "?secret=x", "10.0.0.1"), "ok");
    assert_said(&ask(&both, "?secret=y", "10.0.0.1"), "denied: the secret is not valid");
    assert_said(&ask(&both, "?secret=x", "11.0.0.1"), "denied: not from this address");
    let key = key();
    assert_eq!(check_address(&both, "10.0.0.1".parse().unwrap()), Ok(()), "a segment of {key}");
    assert!(check_address(&both, "11.0.0.1".parse().unwrap()).is_err());
}

#[test]
fn parameters_longer_than_any_url_are_not_looked_at() {
    let set = checks("{ secret: { values: [x] } }");
    let long = format!("?secret=x&a={}", "b".repeat(URL_BYTES_MAX));
    assert_eq!(ask(&set, &long, "10.0.0.1"), Err(Denied::TooLong));
}

/// A token as `weir token` and the line of openssl in the guide make it.
#[test]
fn a_token_is_an_hmac_over_three_lines() {
    let signature = token::sign(&Secret::new("s"), Action::Play, &key(), 1_790_000_000);
    // printf 'play\n/live/a\n1790000000' | openssl dgst -sha256 -hmac s
    assert_eq!(signature, "02ac96460f9c9b75512aabed198a2076d8a952b7d62fc9c1f47bb9b8b7a4057f");
}

#[test]
fn tokens_are_for_one_action_and_stream_until_a_time() {
    let set = checks("{ token: { secrets: [old, new] } }");
    let other = StreamKey::new(DEFAULT_VHOST, "live", "b").unwrap();
    let vhost = StreamKey::new("v.org", "live", "a").unwrap();
    let signed = |secret: &str, action, key: &StreamKey, until: u64| {
        format!("?expires={until}&token={}", token::sign(&Secret::new(secret), action, key, until))
    };
    let good = signed("new", Action::Publish, &key(), NOW + 1);
    let (expired, wrong) = ("denied: the token has expired", "denied: the token is not valid");
    let table = [
        (good.clone(), "ok"),
        (signed("old", Action::Publish, &key(), NOW + 1), "ok"),
        (good.to_uppercase().replace("EXPIRES", "expires").replace("TOKEN", "token"), "ok"),
        (signed("new", Action::Publish, &key(), NOW), expired),
        (signed("new", Action::Publish, &key(), 0), expired),
        (signed("older", Action::Publish, &key(), NOW + 1), wrong),
        (signed("older", Action::Publish, &key(), 0), wrong),
        (signed("new", Action::Play, &key(), NOW + 1), wrong),
        (signed("new", Action::Publish, &other, NOW + 1), wrong),
        (signed("new", Action::Publish, &vhost, NOW + 1), wrong),
        (good.replace("expires=1", "expires=2"), wrong),
        (good.replace("expires=", "expires=+"), wrong),
        (good.replace("expires=", "expires=0"), wrong),
        (good.replace("token=", "token=0"), wrong),
        (format!("?expires={}&token=", NOW + 1), wrong),
        (format!("?expires={}&token=\u{e9}", "9".repeat(30)), wrong),
        (good.replace("&token=", "&t="), "denied: the parameter `token` is missing"),
        (good.replace("?expires=", "?e="), "denied: the parameter `expires` is missing"),
    ];
    for (params, said) in table {
        let result = ask(&set, &params, "10.0.0.1");
        let got = result.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
        assert_eq!(got, said, "{params}: {result:?}");
    }
    let forged = ask(&set, &signed("older", Action::Publish, &key(), 0), "10.0.0.1").unwrap_err();
    let late = ask(&set, &signed("new", Action::Publish, &key(), NOW - 7), "10.0.0.1").unwrap_err();
    assert_ne!(forged.reason(), late.reason());
    assert!(late.reason().ends_with(", 7s ago"), "{}", late.reason());
}

fn testdata(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/jwt").join(file)
}

fn pem(file: &str) -> Vec<u8> {
    std::fs::read(testdata(file)).unwrap()
}

/// Who makes tokens.
enum Signer {
    Secret(Vec<u8>),
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// The private key in a file of PKCS#8, of the kind that `public` is of.
    fn of(public: &str) -> Self {
        let file = pem(&public.replace(".pem", ".key.pem"));
        let file = pem::parse(file).unwrap();
        let (der, random) = (file.contents(), SystemRandom::new());
        match public {
            "rs256.pem" => Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(der).unwrap())),
            "es256.pem" => {
                let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
                Self::Ec(EcdsaKeyPair::from_pkcs8(kind, der, &random).unwrap())
            }
            _ => Self::Ed(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).unwrap()),
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }
}

/// A token signed by `key` under `algorithm`, whatever that key is for.
fn jwt(algorithm: &str, key: &Signer, claims: &serde_json::Value) -> String {
    signed_jwt(&json!({ "alg": algorithm, "typ": "JWT" }), key, claims)
}

fn signed_jwt(header: &serde_json::Value, key: &Signer, claims: &serde_json::Value) -> String {
    let part = |json: &serde_json::Value| BASE64.encode(json.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    format!("?jwt={message}.{}", BASE64.encode(key.sign(message.as_bytes())))
}

fn hs256(claims: &serde_json::Value) -> String {
    jwt("HS256", &Signer::Secret(b"secret".to_vec()), claims)
}

#[test]
fn web_tokens_say_until_when_and_for_what() {
    let set = checks("{ jwt: { secret: secret } }");
    let (wrong, expired) = ("denied: the token is not valid", "denied: the token has expired");
    let table = [
        (json!({ "exp": NOW + 1 }), "ok"),
        (json!({ "exp": (NOW + 1) as f64 + 0.5, "iss": "x", "aud": ["y"], "sub": "z" }), "ok"),
        (json!({ "exp": NOW }), expired),
        (json!({ "exp": -1 }), expired),
        (json!({}), wrong),
        (json!({ "exp": "tomorrow" }), wrong),
        (json!({ "exp": null }), wrong),
        (json!([1]), wrong),
        (json!({ "exp": NOW + 1, "nbf": NOW }), "ok"),
        (json!({ "exp": NOW + 60, "nbf": NOW + 30 }), "denied: the token is not valid yet"),
        (json!({ "exp": NOW + 1, "action": "publish" }), "ok"),
        (json!({ "exp": NOW + 1, "action": ["play", "publish"] }), "ok"),
        (json!({ "exp": NOW + 1, "action": "play" }), wrong),
        (json!({ "exp": NOW + 1, "action": [] }), wrong),
        (json!({ "exp": NOW + 1, "action": 1 }), wrong),
        (json!({ "exp": NOW + 1, "stream": "/live/a" }), "ok"),
        (json!({ "exp": NOW + 1, "stream": "/live/*" }), "ok"),
        (json!({ "exp": NOW + 1, "stream": ["/live/b", "*"] }), "ok"),
        (json!({ "exp": NOW + 1, "stream": "/live/ab" }), wrong),
        (json!({ "exp": NOW + 1, "stream": "/live" }), wrong),
        (json!({ "exp": NOW + 1, "stream": "/live/b*" }), wrong),
        (json!({ "exp": NOW + 1, "stream": "*/a" }), wrong),
        (json!({ "exp": NOW + 1, "stream": "" }), wrong),
    ];
    for (claims, said) in table {
        let result = ask(&set, &hs256(&claims), "10.0.0.1");
        let got = result.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
        assert_eq!(got, said, "{claims}: {result:?}");
    }
    for none in ["?jwt=", "?jwt=a.b.c", "?jwt=....", "?jwt=e30.e30."] {
        assert_said(&ask(&set, none, "10.0.0.1"), wrong);
    }
    assert_said(&ask(&set, "", "10.0.0.1"), "denied: the parameter `jwt` is missing");
    let header = json!({ "alg": "HS256", "crit": ["exp"] });
    let token =
        signed_jwt(&header, &Signer::Secret(b"secret".to_vec()), &json!({ "exp": NOW + 1 }));
    assert_said(&ask(&set, &token, "10.0.0.1"), wrong);
}

/// The configuration with a check for the public key in `file`.
fn with_key(name: &str, file: &str) -> Config {
    let path = testdata(file);
    let text = format!(
        "auth: {{ publish: [{{ jwt: {{ algorithm: {name}, public_key: {path:?} }} }}] }}\n"
    );
    Config::parse(&text, "test").unwrap_or_else(|error| panic!("{error}"))
}

/// The configuration with a check for each public key.
fn with_keys() -> [(Config, &'static str, Signer); 3] {
    [("RS256", "rs256.pem"), ("ES256", "es256.pem"), ("EdDSA", "eddsa.pem")]
        .map(|(name, file)| (with_key(name, file), name, Signer::of(file)))
}

#[test]
fn tokens_of_another_program_are_good_and_altered_ones_are_not() {
    let secret = checks("{ jwt: { secret: secret } }");
    let with = |name, file| with_key(name, file).auth.publish;
    for (checks, token) in [
        (secret, "hs256.jwt"),
        (with("RS256", "rs256.pem"), "rs256.jwt"),
        (with("RS256", "rs256.pkcs1.pem"), "rs256.jwt"),
        (with("ES256", "es256.pem"), "es256.jwt"),
        (with("ES256", "es256.cert.pem"), "es256.jwt"),
        (with("EdDSA", "eddsa.pem"), "eddsa.jwt"),
    ] {
        let mut config = Config::default();
        config.auth.publish = checks;
        let keys = Keys::read(&config).unwrap();
        let good = String::from_utf8(pem(token)).unwrap();
        let may = |token: &str| {
            ask_with(&config.auth.publish, &keys, &format!("?jwt={token}"), "10.0.0.1").is_ok()
        };
        assert!(may(good.trim()), "{token}");
        let parts: Vec<_> =
            good.trim().split('.').map(|part| BASE64.decode(part).unwrap()).collect();
        let join = |parts: &[Vec<u8>]| {
            parts.iter().map(|part| BASE64.encode(part)).collect::<Vec<_>>().join(".")
        };
        assert!(may(&join(&parts)), "{token}");
        for part in 0..parts.len() {
            for at in 0..parts[part].len() {
                let mut altered = parts.clone();
                altered[part][at] ^= 1;
                assert!(!may(&join(&altered)), "{token}: byte {at} of part {part}");
            }
            let mut shorter = parts.clone();
            shorter[part].pop();
            assert!(!may(&join(&shorter)), "{token}: part {part} is shorter");
            let mut longer = parts.clone();
            longer[part].push(0);
            assert!(!may(&join(&longer)), "{token}: part {part} is longer");
        }
        let unsigned = [parts[0].clone(), parts[1].clone(), Vec::new()];
        assert!(!may(&join(&unsigned)), "{token}: no signature");
        let zeros = [parts[0].clone(), parts[1].clone(), vec![0; parts[2].len()]];
        assert!(!may(&join(&zeros)), "{token}: a signature of zeros");
    }
}

#[test]
fn web_tokens_are_signed_as_the_configuration_says_and_not_as_they_say() {
    let claims = json!({ "exp": NOW + 1 });
    let signed: Vec<_> = with_keys()
        .into_iter()
        .map(|(config, algorithm, key)| (config, jwt(algorithm, &key, &claims)))
        .collect();
    // What anybody can make who has the public key: a token that says HS256, with that key as the secret.
    let public = ["rs256.pem", "es256.pem", "eddsa.pem"]
        .map(|file| jwt("HS256", &Signer::Secret(pem(file)), &claims));
    let unsigned = "?jwt=eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTl9.";
    for (at, (config, _)) in signed.iter().enumerate() {
        let keys = Keys::read(config).unwrap();
        let set = &config.auth.publish;
        for (other, (_, params)) in signed.iter().enumerate() {
            let result = ask_with(set, &keys, params, "10.0.0.1");
            assert_eq!(result.is_ok(), at == other, "{at} {other}: {result:?}");
        }
        for params in public.iter().map(String::as_str).chain([unsigned, &*hs256(&claims)]) {
            assert!(ask_with(set, &keys, params, "10.0.0.1").is_err(), "{at}: {params}");
        }
        let unloaded = ask(set, &signed[at].1, "10.0.0.1");
        assert_said(&unloaded, "denied: the token is not valid");
    }
    let set = checks("{ jwt: { secret: secret } }");
    for (_, params) in &signed {
        assert!(ask(&set, params, "10.0.0.1").is_err());
    }
    assert!(ask(&set, unsigned, "10.0.0.1").is_err());
}

#[test]
fn a_file_without_the_right_key_is_found_when_the_configuration_is_read() {
    for (algorithm, file) in [
        (Algorithm::Rs256, "es256.pem"),
        (Algorithm::Es256, "rs256.pem"),
        (Algorithm::Es256, "p384.pem"),
        (Algorithm::EdDsa, "es256.pem"),
        (Algorithm::EdDsa, "rs256.pem"),
        (Algorithm::Es256, "off-curve.pem"),
        (Algorithm::Es256, "es256.key.pem"),
        (Algorithm::Rs256, "rs256.key.pem"),
        (Algorithm::Rs256, "rsa1024.pem"),
        (Algorithm::Rs256, "es256.cert.pem"),
        (Algorithm::Es256, "rs256.pkcs1.pem"),
        (Algorithm::Rs256, "README.md"),
        (Algorithm::Rs256, "none.pem"),
    ] {
        let public_key = Some(testdata(file));
        let mut config = Config::default();
        config.auth.play = vec![Check::Jwt(Jwt { algorithm, public_key, ..Jwt::default() })];
        let error = Keys::read(&config).expect_err(file).to_string();
        assert!(error.contains(file), "{error}");
    }
}

#[test]
fn keys_are_in_force_before_the_settings_that_name_them() {
    let [(rsa, algorithm, signing), (ec, ..), _] = with_keys();
    let params = jwt(algorithm, &signing, &json!({ "exp": u32::MAX }));
    let auth = Auth::new(Keys::read(&rsa).unwrap(), &std::sync::Arc::default());
    let may = || {
        let peer = "10.0.0.1".parse().unwrap();
        let shown = Shown { peer, edge_token: None, page_url: "" };
        auth.check(&rsa.auth, Action::Publish, &key(), &params, shown).is_ok()
    };
    assert!(may());
    let keys = Keys::read(&ec).unwrap();
    auth.prepare(&keys);
    assert!(may(), "the settings in force still name it");
    auth.settle(keys);
    assert!(!may());
}

#[test]
fn lists_are_bounded() {
    let mut config = Config::default();
    let token = |count| {
        let secrets = vec![Secret::new("x"); count];
        Check::Token(SignedToken { secrets, ..SignedToken::default() })
    };
    config.auth.publish = vec![token(SECRETS_MAX); CHECKS_MAX];
    assert!(Keys::read(&config).is_ok());
    config.auth.publish.push(token(1));
    assert!(Keys::read(&config).is_err());
    config.auth.publish = vec![token(SECRETS_MAX + 1)];
    assert!(Keys::read(&config).is_err());
}

#[test]
fn of_a_url_that_a_client_says_of_itself_the_beginning_is_shown() {
    assert_eq!(shown("rtmp://u:p@h/live?a=1"), "rtmp://***@h/live?a=***");
    for piece in ["?&a", "x", "?&\u{e9}=1", "\u{1f600}"] {
        let long = shown(&format!("rtmp://h/live{}", piece.repeat(60_000)));
        assert!((400..=512).contains(&long.len()), "{piece}: {}", long.len());
        assert!(long.capacity() <= 512, "{piece}: {}", long.capacity());
    }
}

#[test]
fn urls_are_shown_without_secrets() {
    let table = [
        ("rtmp://h/live", "rtmp://h/live"),
        ("", ""),
        ("rtmp://h/live?secret=x", "rtmp://h/live?secret=***"),
        ("livestream?vhost=v&token=a=b&c", "livestream?vhost=v&token=***&***"),
        ("?vhost=v;token=a,b", "?vhost=v;token=***,***"),
        ("rtmp://h/live#key=x?y=z", "rtmp://h/live#key=***?y=***"),
        ("rtmp://u:p@h:1/live?domain=d", "rtmp://***@h:1/live?domain=d"),
        ("a?&x=", "a?&x=***"),
        ("堰?é=ü&ß", "堰?é=***&***"),
    ];
    for (url, shown) in table {
        assert_eq!(without_secrets(url), shown);
    }
}

fn every_kind() -> (Config, Keys) {
    let path = testdata("es256.pem");
    let text = format!(
        "auth: {{ publish: [{{ cidr: {{ deny: [10.9.0.0/16] }} }}, {{ secret: {{ values: [x] }} }},\
         {{ token: {{ secrets: [y] }} }}, {{ jwt: {{ algorithm: ES256, public_key: {path:?} }} }},\
         {{ jwt: {{ secret: z }} }}] }}\n"
    );
    let config = Config::parse(&text, "test").unwrap_or_else(|error| panic!("{error}"));
    let keys = Keys::read(&config).unwrap();
    (config, keys)
}

proptest! {
    /// Each check alone, so that none is hidden behind one that does not pass.
    #[test]
    fn whatever_a_client_sends_is_an_answer(
        params in "\\PC{0,60}|[?&=%a-z0-9.]{0,60}",
        name in "secret|token|jwt",
        value in "\\PC{0,40}|[-_A-Za-z0-9]{0,20}(\\.[-_A-Za-z0-9]{0,20}){0,4}|[0-9a-f]{64}",
        expires in "[-+0-9]{0,22}",
    ) {
        let (config, keys) = every_kind();
        let params = format!("{params}&expires={expires}&{name}={value}");
        for check in &config.auth.publish {
            let _ = ask_with(std::slice::from_ref(check), &keys, &params, "10.0.0.1");
        }
        let shown = without_secrets(&params);
        prop_assert_eq!(without_secrets(&shown), shown);
    }

    #[test]
    fn what_is_signed_passes_and_what_differs_in_one_byte_does_not(
        secret in "\\PC{1,100}",
        app in "[a-z]{1,20}(/[a-z]{1,5})?",
        stream in "[a-zA-Z0-9_-]{1,40}",
        lasts in 1_u64..1_000_000_000,
        at in any::<prop::sample::Index>(),
        other in 1_u8..128,
    ) {
        let key = StreamKey::new(DEFAULT_VHOST, &app, &stream).unwrap();
        let until = NOW + lasts;
        let secret = Secret::new(secret);
        let signature = token::sign(&secret, Action::Play, &key, until);
        let set = [Check::Token(SignedToken { secrets: vec![secret], ..SignedToken::default() })];
        let may = |expires: &str, signature: &str| {
            let params = format!("?token={signature}&expires={expires}");
            let peer = "10.0.0.1".parse().unwrap();
            let (action, key, params) = (Action::Play, &key, &*params);
            let shown = Shown { peer, edge_token: None, page_url: "" };
            let request = Request { action, key, params, shown, now: NOW };
            check(&set, &Keys::default(), &request).is_ok()
        };
        let until = until.to_string();
        prop_assert!(may(&until, &signature));
        let both = [&*until, &*signature].concat();
        let mut bytes = both.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= other;
        let changed = String::from_utf8(bytes).unwrap();
        // The same digit, written large, is the same signature.
        prop_assume!(changed.to_lowercase() != both);
        let (expires, signature) = changed.split_at(until.len());
        prop_assert!(!may(expires, signature), "{expires} {signature}");
    }
}
