//! The JSON Schema of the file.

use serde_json::json;

use super::{
    Config,
    kind::{Json, Section},
};

/// A JSON Schema (draft 2020-12) of the configuration file, for editors. It knows every key; what only the server can
/// tell, such as settings that contradict each other, it lets pass.
pub fn schema() -> Json {
    let mut schema = Config::schema(Some(&Config::default()));
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Weir");
    schema["description"] = json!("The configuration of Weir, a live-streaming server.");
    schema
}

#[cfg(test)]
mod tests {
    use jsonschema::Validator;
    use serde::Deserialize;

    use super::*;

    /// YAML as an editor's language server sees it.
    fn yaml(text: &str) -> Json {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Document(Json);

        let Document(json) = serde_saphyr::from_str(text).unwrap();
        json
    }

    fn validator() -> Validator {
        jsonschema::draft202012::new(&schema()).unwrap()
    }

    fn complaints(validator: &Validator, text: &str) -> Vec<String> {
        validator.iter_errors(&yaml(text)).map(|error| error.to_string()).collect()
    }

    #[test]
    fn is_a_schema() {
        jsonschema::draft202012::meta::validate(&schema()).unwrap();
    }

    #[test]
    fn takes_what_the_server_takes() {
        let validator = validator();
        for text in [
            include_str!("../../../weir.example.yaml"),
            "{}",
            "play:\nvhosts: { a.org: , b: { play: { wait: 1h2m3s4ms, gop: off } } }",
            "role: edge\nworkers: '3'\nedge: { origins: a, resolvers: ['[fd00::1]', 10.0.0.1:53], forward_query: [a] }",
            "limits: { egress: 1.5Gbps, memory: 1024KiB }\nrtmp: { chunk_size: '128', listen: '[::]:1' }",
            "hls: { dir: '' }\nvhosts: { a.org: { hls: { dir: b } } }",
            "play: { flush: 0ms }\nhttp: { trusted_proxies: ['fd00::/8', 10.0.0.1] }\nhandover: { socket: a }",
            "api: { tls: { cert: a, key: b, read_ca: null }, admin_tokens: ['1', a], read_tokens: a }",
            "auth: { play: [jwt: { secret: a }, token: { secrets: b }], publish: [cidr: { deny: '::1' }] }",
        ] {
            assert_eq!(complaints(&validator, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn refuses_what_the_server_refuses() {
        let validator = validator();
        for text in [
            "rol: edge",
            "role: edeg",
            "workers: 0",
            "workers: 9999",
            "workers: many",
            "play: 3",
            "play: { wiat: 1s }",
            "play: { wait: 10 }",
            "play: { wait: 1s1m }",
            "play: { wait: '' }",
            "play: { wait: [1s] }",
            "play: { gop: maybe }",
            "play: { flush: picture }",
            "rtmp: { chunk_size: 127 }",
            "rtmp: { chunk_size: 1.5 }",
            "rtmp: { listen: localhost:1935 }",
            "rtmp: { listen: { port: 1935 } }",
            "hls: { dir: [] }",
            "limits: { memory: 64MB }",
            "limits: { egress: 800 }",
            "limits: { egress: 1.5Tbps }",
            "http: { trusted_proxies: [proxy/8] }",
            "edge: { resolvers: dns }",
            "edge: { forward_query: al }",
            "edge: { forward_query: ['a=b'] }",
            "api: { admin_tokens: [''] }",
            "api: { admin_tokens: 1 }",
            "api: { tls: true }",
            "api: { tls: { certs: a } }",
            "metrics: { streams: 1001 }",
            "drain: { notice: -1s }",
            "auth: { play: { cidr: {} } }",
            "auth: { play: [cdir: {}] }",
            "auth: { play: [{ cidr: { deny: '::1' }, jwt: { secret: a } }] }",
            "auth: { play: [jwt: { algorithm: none }] }",
            "vhosts: { a/b: {} }",
            "vhosts: { a: { rtmp: {} } }",
            "vhosts: { a: { play: { wait: soon } } }",
        ] {
            assert!(Config::parse(text, "").is_err(), "the server takes {text}");
            assert!(!validator.is_valid(&yaml(text)), "the schema takes {text}");
        }
    }

    #[test]
    fn has_every_key_with_its_meaning_and_default() {
        let schema = schema();
        let at =
            |path: &str| path.split('.').fold(&schema, |section, key| &section["properties"][key]);
        let mut count = 0;
        Config::each_key("", &mut |path, _| {
            let meaning = at(&path)["description"].as_str();
            assert!(
                meaning.is_some_and(|text| text.len() > 5),
                "{path} has no meaning: {}",
                at(&path)
            );
            count += 1;
        });
        assert!(count > 60, "{count} keys");
        assert_eq!(at("play.wait")["default"], "10s");
        assert_eq!(
            at("play.wait")["description"].as_str().unwrap().matches("From 0s to 1h.").count(),
            1
        );
        assert_eq!(at("limits.egress")["default"], 0);
        assert_eq!(at("api.listen")["default"], json!(["0.0.0.0:1985"]));
        let vhost = &schema["properties"]["vhosts"]["additionalProperties"]["properties"];
        assert!(vhost["auth"]["properties"]["play"].is_object(), "{vhost}");
        assert!(vhost["play"]["properties"]["wait"]["default"].is_null(), "a vhost inherits");
    }
}
