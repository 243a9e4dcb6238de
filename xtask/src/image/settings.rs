//! How a container of an image is to be run: as the `Dockerfile` says it, and as the image says it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Result;

/// What a runtime reads of an image. Everything that has no order is sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    user: String,
    workdir: String,
    stop_signal: String,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    env: BTreeSet<String>,
    ports: BTreeSet<String>,
    volumes: BTreeSet<String>,
}

/// Every builder adds it; nothing in the image is looked for in it.
const PATH: &str = "PATH=";

impl Settings {
    /// Those of the last stage of a Dockerfile.
    pub fn of_dockerfile(text: &str) -> Result<Self> {
        let mut settings = Self::default();
        for line in last_stage(text)?.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let words = || rest.split_whitespace().map(str::to_owned);
            match word {
                "USER" => rest.clone_into(&mut settings.user),
                "WORKDIR" => rest.clone_into(&mut settings.workdir),
                "STOPSIGNAL" => rest.clone_into(&mut settings.stop_signal),
                "ENTRYPOINT" => settings.entrypoint = list(rest)?,
                "CMD" => settings.cmd = list(rest)?,
                "VOLUME" => settings.volumes = list(rest)?.into_iter().collect(),
                "ENV" => settings.env.extend(words()),
                "EXPOSE" => settings.ports.extend(words().map(|port| with_protocol(&port))),
                _ => {}
            }
        }
        Ok(settings)
    }

    /// Those of the configuration of an OCI image.
    pub fn of_image(config: &Value) -> Self {
        let config = &config["config"];
        let text = |name: &str| config[name].as_str().unwrap_or_default().to_owned();
        let list = |name: &str| -> Vec<String> {
            let items = config[name].as_array().into_iter().flatten();
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let keys = |name: &str| -> BTreeSet<String> {
            config[name].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
        };
        Self {
            user: text("User"),
            workdir: text("WorkingDir"),
            stop_signal: text("StopSignal"),
            entrypoint: list("Entrypoint"),
            cmd: list("Cmd"),
            env: list("Env").into_iter().filter(|item| !item.starts_with(PATH)).collect(),
            ports: keys("ExposedPorts").iter().map(|port| with_protocol(port)).collect(),
            volumes: keys("Volumes"),
        }
    }
}

/// The last stage of a Dockerfile: what ends up in the image.
pub fn last_stage(text: &str) -> Result<&str> {
    let at = text.rfind("\nFROM ").ok_or("the Dockerfile has no second stage")?;
    Ok(&text[at + 1..])
}

/// `["a", "b"]`.
fn list(text: &str) -> Result<Vec<String>> {
    serde_json::from_str(text).map_err(|error| format!("{text:?} in the Dockerfile: {error}"))
}

fn with_protocol(port: &str) -> String {
    if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::root;

    #[test]
    fn a_dockerfile_and_an_image_that_say_the_same_are_equal() {
        let text = "FROM rust AS build\nUSER 0\nENV A=b\n\nFROM scratch\nENV C=d E=f\nEXPOSE 1 2/udp\nUSER 7:7\n\
                    ENTRYPOINT [\"/weir\", \"serve\"]\nWORKDIR /\nVOLUME [\"/data\"]\nSTOPSIGNAL SIGTERM\n";
        let dockerfile = Settings::of_dockerfile(text).unwrap();
        let mut config = json!({ "config": {
            "User": "7:7", "WorkingDir": "/", "StopSignal": "SIGTERM", "Entrypoint": ["/weir", "serve"],
            "Env": ["PATH=/bin", "E=f", "C=d"], "ExposedPorts": { "2/udp": {}, "1/tcp": {} },
            "Volumes": { "/data": {} },
        }});
        assert_eq!(dockerfile, Settings::of_image(&config));
        config["config"]["User"] = "0".into();
        assert_ne!(dockerfile, Settings::of_image(&config));
    }

    /// What users were promised of the image, whichever way it is made.
    #[test]
    fn the_dockerfile_is_as_the_guide_says() {
        let text = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
        let settings = Settings::of_dockerfile(&text).unwrap();
        let expected = Settings {
            user: "65532:65532".to_owned(),
            workdir: "/usr/local/srs".to_owned(),
            stop_signal: "SIGTERM".to_owned(),
            entrypoint: vec!["/weir".to_owned()],
            ports: ["1935/tcp", "8080/tcp", "1985/tcp"].map(str::to_owned).into(),
            volumes: ["/data".to_owned()].into(),
            ..Settings::default()
        };
        assert_eq!(settings, expected);
        let version = concat!("ARG VERSION=", env!("CARGO_PKG_VERSION"));
        assert!(text.lines().any(|line| line == version), "the Dockerfile needs `{version}`");
        assert_eq!(last_stage(&text).unwrap().lines().next(), Some("FROM scratch"));
    }
}
