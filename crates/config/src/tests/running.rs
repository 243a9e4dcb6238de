//! What running it needs: the API's rights, checks of clients, draining.

use super::*;

#[test]
fn vhosts_have_lists_of_checks_of_their_own() {
    let config = good(
        "auth: { play: [cidr: { allow: 10.0.0.0/8 }], publish: [secret: { values: [s] }] }
vhosts: { a.org: { auth: { play: [] } }, b.org: { auth: { play: [cidr: { deny: '::1' }] } } }
",
    );
    let (a, b, other) = (config.vhost("a.org"), config.vhost("b.org"), config.vhost("c.org"));
    assert_eq!(other.auth, config.auth);
    assert_eq!(a.auth, Auth { play: vec![], ..config.auth });
    let cidr = Cidr { allow: vec![], deny: vec![network("::1/128")] };
    assert_eq!(b.auth.play, [Check::Cidr(cidr)]);
}

#[test]
fn what_is_off_may_be_null() {
    for text in ["api: { tls: null }", "api: { tls: }", "handover: { socket: null }"] {
        assert_eq!(good(text), Config::default(), "{text}");
    }
}

/// Each has the text `hunter2` as a secret, or as what was meant to be one.
const SECRETS: &[&str] = &[
    "api: { admin_tokens: [hunter2, ''] }\n",
    "api: { admin_tokens: [\"hunter2\\n\"] }\n",
    "api: { admin_token: hunter2 }\n",
    "api: { admin_tokens: [hunter2, [hunter2]] }\n",
    "api: { admin_tokens: { hunter: hunter2 } }\n",
    "api: { admin_tokens: hunter2, read_tokens: [hunter2], peer_token: hunter2, tls: {} }\n",
    "api:\n  admin_tokens:\n    - \"hunter2\n",
    "api:\n  admin_tokens: [hunter2\n",
    "api: { tls: { , admin_tokens: [hunter2] }\n",
    "auth: { play: [secret: hunter2] }\n",
    "auth: { play: [secret: { values: [hunter2], valus: 3 }] }\n",
    "auth: { play: [token: { secrets: hunter2, param: '?' }] }\n",
    "auth: { play: [jwt: { secret: hunter2, algorithm: none }] }\n",
    "auth: { play: [jwt: { secret: hunter2, algorithm: RS256 }] }\n",
    "vhosts: { a: { auth: { play: [jwt: { secret: hunter2, algorithm: ES256 }] } } }\n",
    "api: { peer_token: hunter2, peer_token: hunter2 }\n",
];

#[test]
fn secrets_are_not_shown() {
    for text in SECRETS {
        let found = bad(text);
        assert!(!found.to_string().contains("hunter2"), "{found}");
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    }
    let text = "api: { admin_tokens: hunter2, read_tokens: [hunter2], peer_token: hunter2 }\n\
                auth: { play: [secret: { values: hunter2 }, token: { secrets: [hunter2] }] }\n\
                vhosts: { a: { auth: { publish: [jwt: { secret: hunter2 }] } } }\n";
    let shown = format!("{:?}", good(text));
    assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
}

#[test]
fn a_secret_keeps_its_place() {
    let shown = bad("api: { peer_token: hunter2, pers: a }\n").to_string();
    let expected = "\
error: weir.yaml:1:29: api: unknown key `pers`; did you mean `peers`?
  |
1 | api: { peer_token: *******, pers: a }
  |                             ^^^^
  = help: valid keys are listen, admin_tokens, read_tokens, read_from, tls, peers, peer_token, basic, \
     web_origins, raw_reload, srs_status";
    assert_eq!(shown, expected);
}

pub const BAD: &[Bad] = &[
    (
        "api: { basic: { username: admin } }\n",
        (1, 27, 5),
        "api.basic.username: a user name needs its password",
        "set both: basic: { username: admin, password: PASSWORD }",
    ),
    (
        "api: { basic: { password: hunter2 } }\n",
        (1, 27, 7),
        "api.basic.password: a password needs its user name",
        "set both: basic: { username: admin, password: PASSWORD }",
    ),
    (
        "api: { basic: { username: 'a:b', password: c } }\n",
        (1, 27, 5),
        "api.basic.username: `a:b` has a colon or a control character",
        "use a name without them, such as admin",
    ),
    (
        "api: { web_origins: console.example }\n",
        (1, 21, 15),
        "api.web_origins: `console.example` is not the origin of a web page",
        "write scheme and host, such as https://console.example.com, or \"*\"",
    ),
    (
        "api: { tls: { cert: a.pem } }\n",
        (1, 21, 5),
        "api.tls.cert: a certificate needs its private key, but api.tls.key is not set",
        "set both files: tls: { cert: FILE, key: FILE }",
    ),
    (
        "api: { tls: { key: a.pem, admin_ca: b.pem } }\n",
        (1, 20, 5),
        "api.tls.key: a private key needs its certificate, but api.tls.cert is not set",
        "set both files: tls: { cert: FILE, key: FILE }",
    ),
    (
        "api: { tls: { admin_ca: b.pem } }\n",
        (1, 13, 1),
        "api.tls: TLS needs a certificate and its private key",
        "set both files: tls: { cert: FILE, key: FILE }",
    ),
    (
        "http: { tls: { certificates: [] } }\n",
        (1, 30, 1),
        "http.tls.certificates: TLS needs a certificate and its private key",
        "set both files of each: certificates: [{ cert: FILE, key: FILE }]",
    ),
    (
        "rtmp: { tls: {} }\n",
        (1, 14, 1),
        "rtmp.tls: TLS needs a certificate and its private key",
        "set both files of each: certificates: [{ cert: FILE, key: FILE }]",
    ),
    (
        "rtmp: { tls: { certificates: [{ cert: a, key: b }, { cert: c }] } }\n",
        (1, 60, 1),
        "rtmp.tls.certificates[1].cert: a certificate needs its private key",
        "set both files of each: certificates: [{ cert: FILE, key: FILE }]",
    ),
    (
        "rtmp: { listen: [\"0.0.0.0:443\"], tls: { listen: 127.0.0.1:443, certificates: [{ cert: a, key: b }] } }\n",
        (1, 49, 13),
        "rtmp.tls.listen: 127.0.0.1:443 is already used by rtmp.listen (0.0.0.0:443)",
        "give each listener its own port",
    ),
    (
        "http: { tls: { min_version: 1.1 } }\n",
        (1, 29, 3),
        "http.tls.min_version: unknown version `1.1`",
        "use 1.2 or 1.3",
    ),
    (
        "api: { tls: { cert: '', key: a } }\n",
        (1, 21, 2),
        "api.tls.cert: the path is empty",
        "write the path of a file",
    ),
    (
        "api: { tls: { certs: a.pem } }\n",
        (1, 15, 5),
        "api.tls: unknown key `certs`; did you mean `cert`?",
        "valid keys are cert, key, admin_ca, read_ca",
    ),
    (
        "api: { admin_tokens: [a, ''] }\n",
        (1, 26, 2),
        "api.admin_tokens[1]: the secret is empty",
        "write the secret, or remove it: anybody could guess an empty one",
    ),
    (
        "api: { read_tokens: 12345 }\n",
        (1, 21, 5),
        "api.read_tokens: is not a string in YAML",
        "write it in quotes",
    ),
    (
        "api: { read_tokens: 1e5 }\n",
        (1, 21, 3),
        "api.read_tokens: is not a string in YAML",
        "write it in quotes",
    ),
    (
        "api: { read_tokens: }\n",
        (1, 19, 1),
        "api.read_tokens: has no value",
        "write a secret; [] means none, or remove the key",
    ),
    (
        "api: { peers: [a, 'http://a:1985/'] }\n",
        (1, 19, 16),
        "api.peers[1]: `http://a:1985/` has a scheme, but peers are given as host and port",
        "use \"a:1985\"",
    ),
    (
        "api: { peers: a b }\n",
        (1, 15, 3),
        "api.peers: `a b` is not a host",
        "use a host name or an IP address, with its port if that is not 1985",
    ),
    (
        "metrics: { streams: 1001 }\n",
        (1, 21, 4),
        "metrics.streams: 1001 is more than 1000",
        "use a number from 0 to 1000",
    ),
    (
        "drain: { timeout: 0s }\n",
        (1, 19, 2),
        "drain.timeout: 0s is shorter than 1s",
        "use a duration from 1s to 1h",
    ),
    (
        "drain: { notice: 60s }\n",
        (1, 18, 3),
        "drain.notice: 1m is not shorter than drain.timeout (1m)",
        "use less, to leave time for disconnecting clients",
    ),
    (
        "drain: { timeout: 5s }\n",
        (1, 19, 2),
        "drain.timeout: 5s is not longer than drain.notice (5s)",
        "use more than 5s, or lower drain.notice",
    ),
    (
        "handover: { socket: '' }\n",
        (1, 21, 2),
        "handover.socket: the path is empty",
        "write the path of a file",
    ),
    ("auth: { play: secret }\n", (1, 15, 6), "auth.play: expected a list of checks", ""),
    (
        "auth: { play: { cidr: { allow: [::1] } } }\n",
        (1, 15, 1),
        "auth.play: expected a list of checks",
        "",
    ),
    (
        "auth: { play: }\n",
        (1, 13, 1),
        "auth.play: has no value",
        "write a list of checks; [] means everybody, or remove the key",
    ),
    (
        "auth:\n  play:\n    - cdir: { allow: [::1] }\n",
        (3, 7, 4),
        "auth.play[0].cdir: unknown value `cdir`; did you mean `cidr`?",
        "use cidr, secret, token, jwt, edge, referer, hook",
    ),
    (
        "auth:\n  play:\n    - cidr: { allow: ['::1'] }\n      jwt: { secret: s }\n",
        (4, 7, 3),
        "auth.play[0].jwt: `jwt` is a second key, but a check has only one",
        "start each check with `- `, and indent its settings under its name",
    ),
    (
        "auth:\n  play:\n    - cidr:\n      allow: ['::1']\n",
        (4, 7, 5),
        "auth.play[0].allow: `allow` is a second key, but a check has only one",
        "start each check with `- `, and indent its settings under its name",
    ),
    (
        "auth: { play: [cidr: { alow: [10.0.0.0/8] }] }\n",
        (1, 24, 4),
        "auth.play[0].cidr: unknown key `alow`; did you mean `allow`?",
        "valid keys are allow, deny",
    ),
    (
        "auth: { play: [cidr: { allow: [10.1.0.0/8] }] }\n",
        (1, 32, 10),
        "auth.play[0].cidr.allow[0]: 10.1.0.0/8 has bits set after its prefix",
        "use 10.0.0.0/8 for the network, or 10.1.0.0 for the address",
    ),
    (
        "auth: { publish: [cidr: { deny: [] }] }\n",
        (1, 25, 1),
        "auth.publish[0].cidr: the check has no network",
        "write allow: [10.0.0.0/8] or deny: [10.0.0.0/8]",
    ),
    (
        "auth: { play: [secret: { values: [] }] }\n",
        (1, 24, 1),
        "auth.play[0].secret: the check has no secret",
        "write values: [SECRET]",
    ),
    (
        "auth: { play: [secret: { param: 'a&b' }] }\n",
        (1, 33, 5),
        "auth.play[0].secret.param: `a&b` is not a parameter name",
        "write only the name, such as token",
    ),
    (
        "vhosts: { a.b: { auth: { publish: [token: { param: t }] } } }\n",
        (1, 43, 1),
        "vhosts.a.b.auth.publish[0].token: the check has no secret",
        "write secrets: [SECRET]",
    ),
    (
        "auth: { play: [token: { secrets: [a], expires: token }] }\n",
        (1, 23, 1),
        "auth.play[0].token: the signature and its expiry use the same parameter",
        "use two names: param and expires",
    ),
    (
        "auth: { play: [jwt: { secret: a, algorithm: none }] }\n",
        (1, 45, 4),
        "auth.play[0].jwt.algorithm: unknown value `none`",
        "use HS256, RS256, ES256, EdDSA",
    ),
    (
        "auth: { play: [jwt: { }] }\n",
        (1, 21, 1),
        "auth.play[0].jwt: the check has no key",
        "write secret: SECRET, or public_key: FILE and algorithm",
    ),
    (
        "auth: { play: [jwt: { secret: a, public_key: b }] }\n",
        (1, 21, 1),
        "auth.play[0].jwt: the check has a secret and a public key",
        "keep one of them",
    ),
    (
        "auth: { play: [jwt: { public_key: b }] }\n",
        (1, 21, 1),
        "auth.play[0].jwt: HS256 does not use a public key",
        "write algorithm: RS256, ES256 or EdDSA",
    ),
    (
        "auth: { play: [jwt: { secret: b, algorithm: EdDSA }] }\n",
        (1, 21, 1),
        "auth.play[0].jwt: only HS256 uses a secret",
        "use public_key: FILE instead",
    ),
];
