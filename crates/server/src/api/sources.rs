//! The configuration in force, key by key, with where each value is from.

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::Value;
use weir_config::SettingSource;

#[cfg(test)]
use super::answer::ReadFailures;
use super::{answer::Answer, state::Api};

/// A key with its value.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Setting {
    /// The key, as `play.wait`.
    key: String,
    /// Its value, as a file would have it; secrets are `***`.
    value: String,
    /// Where the value is from: `default`, `file`, `environment`, or `program` for a server in a program.
    source: &'static str,
    /// The file with its line, or the variable; null for defaults.
    #[cfg_attr(test, schema(required))]
    place: Option<String>,
}

/// All keys.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Settings {
    keys: Vec<Setting>,
}

/// The configuration in force as a list of keys, each with its value and where that is from. Secrets are not shown.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/config/sources", tag = "operation",
    responses((status = 200, body = inline(Answer<Settings>)), ReadFailures)))]
pub async fn sources(State(api): State<Api>) -> Json<Answer<Settings>> {
    let config = api.node.config().to_json();
    let mut all = Vec::new();
    each(String::new(), &config, &mut |key, value| all.push((key, value)));
    let paths = all.iter().map(|(key, _)| key.as_str());
    let sources = api.control.reloader.with_sources(|sources| sources.sources_of(paths));
    let keys = all.into_iter().zip(sources).map(|((key, value), source)| {
        let (source, place) = match source {
            SettingSource::Default => ("default", None),
            SettingSource::File(place) => ("file", Some(place)),
            SettingSource::Variable(name) => ("environment", Some(name)),
            SettingSource::Program => ("program", None),
        };
        Setting { key, value, source, place }
    });
    api.identity.answer(Settings { keys: keys.collect() })
}

/// Tells `found` of every key below `path`.
fn each(path: String, value: &Value, found: &mut impl FnMut(String, String)) {
    match value {
        Value::Object(section) if !section.is_empty() => {
            for (key, value) in section {
                let dot = if path.is_empty() { "" } else { "." };
                each(format!("{path}{dot}{key}"), value, found);
            }
        }
        Value::String(text) => found(path, text.clone()),
        Value::Null => found(path, String::new()),
        value => found(path, value.to_string()),
    }
}
