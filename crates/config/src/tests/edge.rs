//! What edges need: origins, limits, proxies in front.

use super::*;

#[test]
fn forward_query_has_three_forms() {
    let query =
        |value: &str| good(&format!("edge: {{ forward_query: {value} }}")).edge.forward_query;
    assert_eq!(query("all"), ForwardQuery::All);
    assert_eq!(query("none"), ForwardQuery::Only(vec![]));
    assert_eq!(query("[]"), ForwardQuery::Only(vec![]));
    assert_eq!(query("[token, '1']"), ForwardQuery::Only(vec!["token".to_owned(), "1".to_owned()]));
}

#[test]
fn a_list_of_one_needs_no_brackets() {
    let config = good(
        "role: edge
edge: { origins: origin, resolvers: 10.96.0.10 }
http: { trusted_proxies: 10.0.0.0/8 }
",
    );
    assert_eq!(config.edge.origins, [origin("origin", 1935)]);
    assert_eq!(config.edge.resolvers, [address("10.96.0.10:53")]);
    assert_eq!(config.http.trusted_proxies, [network("10.0.0.0/8")]);
}

#[test]
fn an_origin_that_may_be_another_machine_is_no_loop() {
    for edge in [
        "{ origins: [10.0.0.7, origin, localhost.example, '127.0.0.1:1936'], http_port: 80 }",
        "{ origins: ['[::1]:1935'], http_port: 80 }",
    ] {
        good(&format!("role: edge\nedge: {edge}\n"));
    }
    good("role: edge\nedge: { origins: 127.0.0.1 }\nrtmp: { listen: [] }\nhttp: { listen: [] }\n");
}

pub const BAD: &[Bad] = &[
    (
        "role: edge\n",
        (1, 7, 4),
        "role: an edge needs at least one origin, but edge.origins is empty",
        "set edge: { origins: [\"rtmp://HOST:1935\"] }",
    ),
    (
        "edge: { origins: [] }\nrole: edge\n",
        (2, 7, 4),
        "role: an edge needs at least one origin, but edge.origins is empty",
        "set edge: { origins: [\"rtmp://HOST:1935\"] }",
    ),
    (
        "edge: { origins: [origin] }\n",
        (1, 18, 1),
        "edge.origins: is set, but role is origin, and an origin does not pull from other servers",
        "add role: edge, or remove edge.origins",
    ),
    (
        "role: origin\nedge: { origins: origin }\n",
        (2, 18, 6),
        "edge.origins: is set, but role is origin, and an origin does not pull from other servers",
        "add role: edge, or remove edge.origins",
    ),
    (
        "edge: { origns: [origin] }\n",
        (1, 9, 6),
        "edge: unknown key `origns`; did you mean `origins`?",
        "valid keys are origins, protocol, http_port, linger, dead_after, give_up, forward_query, auth, token, \
         tls, redirects, resolvers, hls_cache",
    ),
    (
        "edge: { origins: }\n",
        (1, 16, 1),
        "edge.origins: has no value",
        "write a host such as origin:1935, or remove the key",
    ),
    (
        "edge: { origins: no }\n",
        (1, 18, 2),
        "edge.origins: is not a string in YAML",
        "write it in quotes",
    ),
    (
        "edge: { origins: { host: origin } }\n",
        (1, 18, 1),
        "edge.origins: expected a host or a list of hosts",
        "",
    ),
    (
        "edge: { origins: [[fd00::1]:1935] }\n",
        (1, 19, 1),
        "edge.origins[0]: expected a single value, not a list or keys",
        "write only the value, in quotes if it begins with `[` or `{`",
    ),
    (
        "edge: { origins: [origin, 'fd00::1'] }\n",
        (1, 27, 9),
        "edge.origins[1]: `fd00::1` is an IPv6 address without brackets",
        "use \"[fd00::1]\" or \"[fd00::1]:1935\"",
    ),
    (
        "edge: { origins: [origin, user@origin] }\n",
        (1, 27, 11),
        "edge.origins[1]: `user@origin` is not a host",
        "use a host name or an IP address, with its port if that is not 1935",
    ),
    (
        "edge: { origins: 1935 }\n",
        (1, 18, 4),
        "edge.origins: `1935` is not a host",
        "use a host name or an IP address, with its port if that is not 1935",
    ),
    (
        "edge: { origins: [\"10.0.0.256:1935\"] }\n",
        (1, 19, 17),
        "edge.origins[0]: `10.0.0.256:1935` is not a host",
        "use a host name or an IP address, with its port if that is not 1935",
    ),
    (
        "edge: { origins: [0.0.0.0] }\n",
        (1, 19, 7),
        "edge.origins[0]: `0.0.0.0` stands for every address of this machine",
        "use one specific address",
    ),
    (
        "edge: { origins: [rtmp://origin:70000] }\n",
        (1, 19, 19),
        "edge.origins[0]: `origin:70000` has no valid port",
        "use a port from 1 to 65535, or none for 1935",
    ),
    (
        "edge:\n  origins:\n    - a\n    - rtmp://origin/live\n",
        (4, 7, 18),
        "edge.origins[1]: `rtmp://origin/live` has more than a host and a port",
        "use \"rtmp://origin\": the app and the stream come from viewers and encoders",
    ),
    (
        "edge: { origins: origin:1935?a=b }\n",
        (1, 18, 15),
        "edge.origins: `origin:1935?a=b` has more than a host and a port",
        "use \"origin:1935\": the app and the stream come from viewers and encoders",
    ),
    (
        "edge: { origins: [http://origin:8080/live] }\n",
        (1, 19, 23),
        "edge.origins[0]: `http://origin:8080/live` has the scheme http, but origins have rtmp, rtmps or https",
        "use \"rtmp://origin:1935\"; edge.protocol and edge.http_port are for HTTP",
    ),
    (
        "edge: { origins: [srt://] }\n",
        (1, 19, 6),
        "edge.origins[0]: `srt://` has the scheme srt, but origins have rtmp, rtmps or https",
        "use \"rtmp://HOST:1935\"",
    ),
    (
        "role: edge\nedge: { origins: [a, b, rtmp://A:1935] }\n",
        (2, 25, 13),
        "edge.origins[2]: a:1935 is listed twice (also as edge.origins[0])",
        "keep one of them",
    ),
    (
        "role: edge\nedge: { origins: [a, 127.0.0.1:1935] }\n",
        (2, 22, 14),
        "edge.origins[1]: a loop: 127.0.0.1:1935 is this edge itself (rtmp.listen: 0.0.0.0:1935)",
        "name the origin, or give the edge another port",
    ),
    (
        "role: edge\nrtmp: { listen: 10.0.0.7:1936 }\nedge: { origins: 10.0.0.7:1936 }\n",
        (3, 18, 13),
        "edge.origins: a loop: 10.0.0.7:1936 is this edge itself (rtmp.listen: 10.0.0.7:1936)",
        "name the origin, or give the edge another port",
    ),
    (
        "role: edge\nedge: { origins: localhost:1936 }\n",
        (2, 18, 14),
        "edge.origins: a loop: port 8080 of localhost is this edge itself (http.listen: 0.0.0.0:8080)",
        "set edge.http_port to the HTTP port of the origin",
    ),
    (
        "edge: { protocol: rtmps }\n",
        (1, 19, 5),
        "edge.protocol: unknown value `rtmps`; did you mean `rtmp`?",
        "use rtmp, flv",
    ),
    (
        "edge: { http_port: 0 }\n",
        (1, 20, 1),
        "edge.http_port: 0 is less than 1",
        "use a number from 1 to 65535",
    ),
    (
        "edge: { http_port: 65536 }\n",
        (1, 20, 5),
        "edge.http_port: 65536 is more than 65535",
        "use a number from 1 to 65535",
    ),
    (
        "edge: { linger: 2h }\n",
        (1, 17, 2),
        "edge.linger: 2h is longer than 1h",
        "use a duration from 0s to 1h",
    ),
    (
        "edge: { dead_after: 999ms }\n",
        (1, 21, 5),
        "edge.dead_after: 999ms is shorter than 1s",
        "use 1s or more: with less, a short network stall looks like a dead origin",
    ),
    (
        "edge: { dead_after: 61s }\n",
        (1, 21, 3),
        "edge.dead_after: 61s is longer than 1m",
        "use a duration from 1s to 1m",
    ),
    (
        "edge: { dead_after: 5 }\n",
        (1, 21, 1),
        "edge.dead_after: `5` has no unit",
        "use a duration from 1s to 1m, such as 10s or 1m30s",
    ),
    (
        "edge: { give_up: 0s }\n",
        (1, 18, 2),
        "edge.give_up: 0s is shorter than 1s",
        "use a duration from 1s to 1h",
    ),
    (
        "edge: { give_up: 3s }\n",
        (1, 18, 2),
        "edge.give_up: 3s is shorter than edge.dead_after (5s)",
        "use 5s or more, so that a dead origin is detected before the stream is given up",
    ),
    (
        "edge: { give_up: 3s, dead_after: 4s }\n",
        (1, 18, 2),
        "edge.give_up: 3s is shorter than edge.dead_after (4s)",
        "use 4s or more, so that a dead origin is detected before the stream is given up",
    ),
    (
        "edge: { forward_query: al }\n",
        (1, 24, 2),
        "edge.forward_query: unknown value `al`; did you mean `all`?",
        "use all, none, or a list of names such as [token, expires]",
    ),
    (
        "edge: { forward_query: }\n",
        (1, 22, 1),
        "edge.forward_query: has no value",
        "write all, none, or a list of names, or remove the key",
    ),
    (
        "edge: { forward_query: { token: true } }\n",
        (1, 24, 1),
        "edge.forward_query: expected all, none, or a list of names",
        "",
    ),
    (
        "edge: { forward_query: [token, 'a=b'] }\n",
        (1, 32, 5),
        "edge.forward_query[1]: `a=b` is not a parameter name",
        "write only the name, such as token",
    ),
    (
        "edge: { resolvers: [10.96.0.10, kube-dns:53] }\n",
        (1, 33, 11),
        "edge.resolvers[1]: `kube-dns:53` is a host name, but a resolver is given as an IP address",
        "use the IP address of the name server, such as 10.96.0.10",
    ),
    (
        "edge: { resolvers: 'fd00::a' }\n",
        (1, 20, 9),
        "edge.resolvers: `fd00::a` is an IPv6 address without brackets",
        "use \"[fd00::a]\" or \"[fd00::a]:53\"",
    ),
    (
        "edge: { hls_cache: 1KiB }\n",
        (1, 20, 4),
        "edge.hls_cache: 1KiB is less than 1MiB",
        "use 1MiB or more",
    ),
    (
        "limits: { egress: 800 }\n",
        (1, 19, 3),
        "limits.egress: `800` has no unit",
        "use bits per second such as 800Mbps or 1.5Gbps, or 0 for no limit",
    ),
    (
        "limits: { egress: 100MB/s }\n",
        (1, 19, 7),
        "limits.egress: `100MB/s` is not a rate",
        "use bits per second such as 800Mbps or 1.5Gbps, or 0 for no limit",
    ),
    (
        "limits: { viewers_per_stream: many }\n",
        (1, 31, 4),
        "limits.viewers_per_stream: `many` is not a whole number",
        "use a number from 0 to 10000000",
    ),
    (
        "limits: { connections_per_ip: 10000001 }\n",
        (1, 31, 8),
        "limits.connections_per_ip: 10000001 is more than 10000000",
        "use a number from 0 to 10000000",
    ),
    (
        "rtmp: { proxy_protocol: v2 }\n",
        (1, 25, 2),
        "rtmp.proxy_protocol: `v2` is neither true nor false",
        "use true or false",
    ),
    (
        "http: { proxy_protocl: true }\n",
        (1, 9, 13),
        "http: unknown key `proxy_protocl`; did you mean `proxy_protocol`?",
        "valid keys are listen, proxy_protocol, trusted_proxies, embed, tls",
    ),
    (
        "http: { trusted_proxies: [10.0.0.0/8, loadbalancer] }\n",
        (1, 39, 12),
        "http.trusted_proxies[1]: `loadbalancer` is not a network",
        "use an address with a prefix length, such as 10.0.0.0/8 or \"fd00::/8\"",
    ),
    (
        "http: { trusted_proxies: 10.0.0.0/33 }\n",
        (1, 26, 11),
        "http.trusted_proxies: `33` is not a prefix length",
        "use a number from 0 to 32",
    ),
    (
        "http: { trusted_proxies: [10.1.2.3/8] }\n",
        (1, 27, 10),
        "http.trusted_proxies[0]: 10.1.2.3/8 has bits set after its prefix",
        "use 10.0.0.0/8 for the network, or 10.1.2.3 for the address",
    ),
];
