//! What a back end is told: the JSON of SRS, field by field.

use std::{net::IpAddr, time::Duration};

use serde_json::{Map, Value, json};
use weir_config::{HookUrl, Vhost};
use weir_media::{StreamKey, ids};

/// Who this server is, in every event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Its name, which outlives a restart.
    pub server: String,
    /// Its name until the next start.
    pub service: String,
}

/// What a back end is told of, or asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A client has connected over RTMP.
    Connect,
    /// It has gone.
    Close,
    /// A client wants to publish.
    Publish,
    /// It has stopped.
    Unpublish,
    /// A viewer wants to play.
    Play,
    /// It has stopped.
    Stop,
    /// An HLS segment is complete.
    Hls,
    /// A recording is complete.
    Record,
    /// Where a stream is forwarded to.
    Forward,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 9] = [
        Self::Connect,
        Self::Close,
        Self::Publish,
        Self::Unpublish,
        Self::Play,
        Self::Stop,
        Self::Hls,
        Self::Record,
        Self::Forward,
    ];

    /// Its name in the configuration and in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connect => "on_connect",
            Self::Close => "on_close",
            Self::Publish => "on_publish",
            Self::Unpublish => "on_unpublish",
            Self::Play => "on_play",
            Self::Stop => "on_stop",
            Self::Hls => "on_hls",
            Self::Record => "on_record",
            Self::Forward => "on_forward",
        }
    }

    /// Its name in the field `action`.
    pub const fn wire(self) -> &'static str {
        match self {
            // What SRS calls a recording.
            Self::Record => "on_dvr",
            other => other.label(),
        }
    }

    /// Who is called, one after the other.
    pub fn urls(self, vhost: &Vhost) -> Vec<HookUrl> {
        let hooks = &vhost.hooks;
        match self {
            Self::Connect => hooks.on_connect.clone(),
            Self::Close => hooks.on_close.clone(),
            Self::Publish => hooks.on_publish.clone(),
            Self::Unpublish => hooks.on_unpublish.clone(),
            Self::Play => hooks.on_play.clone(),
            Self::Stop => hooks.on_stop.clone(),
            Self::Hls => hooks.on_hls.clone(),
            Self::Record => hooks.on_record.iter().chain(&hooks.on_dvr).cloned().collect(),
            Self::Forward => hooks.on_forward.clone(),
        }
    }

    /// Whether anybody is called, without making a list.
    pub fn is_heard(self, vhost: &Vhost) -> bool {
        let hooks = &vhost.hooks;
        match self {
            Self::Connect => !hooks.on_connect.is_empty(),
            Self::Close => !hooks.on_close.is_empty(),
            Self::Publish => !hooks.on_publish.is_empty(),
            Self::Unpublish => !hooks.on_unpublish.is_empty(),
            Self::Play => !hooks.on_play.is_empty(),
            Self::Stop => !hooks.on_stop.is_empty(),
            Self::Hls => !hooks.on_hls.is_empty(),
            Self::Record => !hooks.on_record.is_empty() || !hooks.on_dvr.is_empty(),
            Self::Forward => !hooks.on_forward.is_empty(),
        }
    }
}

/// Who does something, with which stream: as the client says itself, and as it is understood here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The client's number, unique in this process: that of the API and the log.
    pub id: u64,
    /// Its address.
    pub ip: IpAddr,
    /// The vhost by its configured name, `__defaultVhost__` for all others.
    pub vhost: String,
    /// The app.
    pub app: String,
    /// The stream; empty at `connect`.
    pub stream: String,
    /// The URL that it has connected to, without the stream.
    pub tc_url: String,
    /// The page that its player is in; empty if it does not say.
    pub page_url: String,
    /// The parameters of its URL, with the `?`; empty without any.
    pub params: String,
}

impl Subject {
    /// Nobody who is known: what is told of `key` long after its publisher has gone.
    pub fn nobody(key: &StreamKey) -> Self {
        Self {
            id: 0,
            ip: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            vhost: key.vhost().to_owned(),
            app: key.app().to_owned(),
            stream: key.stream().to_owned(),
            tc_url: String::new(),
            page_url: String::new(),
            params: String::new(),
        }
    }

    /// What it takes of the memory for events that wait.
    pub(crate) fn bytes(&self) -> usize {
        let texts =
            [&self.vhost, &self.app, &self.stream, &self.tc_url, &self.page_url, &self.params];
        size_of::<Self>() + texts.into_iter().map(String::len).sum::<usize>()
    }
}

/// A segment of HLS that is complete, as SRS tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// How long it is.
    pub duration: Duration,
    /// Its file.
    pub file: String,
    /// Its URL, relative to the root of the HTTP server.
    pub url: String,
    /// The file of its playlist.
    pub m3u8: String,
    /// The URL of that, relative to the same root.
    pub m3u8_url: String,
    /// Its number in the playlist.
    pub seq_no: u64,
}

/// What an action says beside who it was.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    /// Nothing.
    None,
    /// Bytes sent to the client and received from it.
    Bytes(u64, u64),
    /// A segment, and the folder that its path is relative to.
    Segment(Box<Segment>),
    /// The file of a recording.
    File(String),
}

/// Something that has happened, or is to happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What.
    pub action: Action,
    /// By whom.
    pub subject: std::sync::Arc<Subject>,
    /// What else there is to say.
    pub detail: Detail,
}

impl Event {
    /// What it takes of the memory for events that wait.
    pub fn bytes(&self) -> usize {
        let detail = match &self.detail {
            Detail::None | Detail::Bytes(..) => 0,
            Detail::Segment(segment) => {
                let Segment { file, url, m3u8, m3u8_url, .. } = &**segment;
                size_of::<Segment>() + file.len() + url.len() + m3u8.len() + m3u8_url.len()
            }
            Detail::File(file) => file.len(),
        };
        size_of::<Self>() + self.subject.bytes() + detail
    }

    /// The body of the call: the fields that SRS sends with this action, with their types.
    pub fn body(&self, names: &Names) -> Vec<u8> {
        let Subject { id, ip, vhost, app, stream, tc_url, page_url, params } = &*self.subject;
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        put("server_id", json!(names.server));
        put("service_id", json!(names.service));
        put("action", json!(self.action.wire()));
        put("client_id", json!(if *id == 0 { String::new() } else { id.to_string() }));
        put("ip", json!(ip.to_canonical().to_string()));
        put("vhost", json!(vhost));
        put("app", json!(app));
        if let Detail::Bytes(sent, received) = self.detail {
            put("send_bytes", json!(sent));
            put("recv_bytes", json!(received));
        } else {
            put("tcUrl", json!(tc_url));
            put("stream", json!(stream));
            put("param", json!(params));
        }
        if matches!(self.action, Action::Connect | Action::Play) {
            put("pageUrl", json!(page_url));
        }
        if let Detail::Segment(segment) = &self.detail {
            let Segment { duration, file, url, m3u8, m3u8_url, seq_no } = &**segment;
            // To the millisecond, as SRS.
            put("duration", json!(duration.as_millis() as f64 / 1000.0));
            put("cwd", json!(cwd()));
            put("file", json!(file));
            put("url", json!(url));
            put("m3u8", json!(m3u8));
            put("m3u8_url", json!(m3u8_url));
            put("seq_no", json!(seq_no));
        }
        if let Detail::File(file) = &self.detail {
            put("cwd", json!(cwd()));
            put("file", json!(file));
        }
        let has_stream = !matches!(self.action, Action::Connect | Action::Close | Action::Forward);
        if has_stream && let Ok(key) = StreamKey::new(vhost, app, stream) {
            put("stream_url", json!(key.to_string()));
            put("stream_id", json!(ids::stream(&key)));
        }
        Value::Object(fields).to_string().into_bytes()
    }
}

/// The folder that relative paths are relative to.
fn cwd() -> String {
    std::env::current_dir().map_or_else(|_| String::new(), |dir| dir.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;

    fn subject() -> Subject {
        Subject {
            id: 7,
            ip: [127, 0, 0, 1].into(),
            vhost: weir_media::DEFAULT_VHOST.to_owned(),
            app: "live".to_owned(),
            stream: "cam".to_owned(),
            tc_url: "rtmp://h/live".to_owned(),
            page_url: "http://page/".to_owned(),
            params: "?k=v".to_owned(),
        }
    }

    /// The fields of an action, with the types of their values.
    fn fields(action: Action, detail: Detail) -> BTreeMap<String, &'static str> {
        let names = Names { server: "vid-1".to_owned(), service: "abc".to_owned() };
        let event = Event { action, subject: Arc::new(subject()), detail };
        let body: Value = serde_json::from_slice(&event.body(&names)).expect("JSON");
        let type_of = |value: &Value| match value {
            Value::String(_) => "string",
            Value::Number(number) if number.is_u64() => "integer",
            Value::Number(_) => "float",
            _ => "other",
        };
        body.as_object().expect("an object").iter().map(|(k, v)| (k.clone(), type_of(v))).collect()
    }

    fn expected(extra: &[(&str, &'static str)]) -> BTreeMap<String, &'static str> {
        let common = ["server_id", "service_id", "action", "client_id", "ip", "vhost", "app"];
        let common = common.into_iter().map(|name| (name.to_owned(), "string"));
        common.chain(extra.iter().map(|(name, is)| ((*name).to_owned(), *is))).collect()
    }

    #[test]
    fn each_action_has_the_fields_of_srs_and_no_other() {
        const SAID: [(&str, &str); 3] =
            [("tcUrl", "string"), ("stream", "string"), ("param", "string")];
        const PAGE: (&str, &str) = ("pageUrl", "string");
        const NAMED: [(&str, &str); 2] = [("stream_url", "string"), ("stream_id", "string")];
        let stream = [&SAID[..], &NAMED].concat();
        assert_eq!(fields(Action::Connect, Detail::None), expected(&[&SAID[..], &[PAGE]].concat()));
        let bytes = [("send_bytes", "integer"), ("recv_bytes", "integer")];
        assert_eq!(fields(Action::Close, Detail::Bytes(1, 2)), expected(&bytes));
        for action in [Action::Publish, Action::Unpublish, Action::Stop] {
            assert_eq!(fields(action, Detail::None), expected(&stream));
        }
        assert_eq!(fields(Action::Play, Detail::None), expected(&[&stream[..], &[PAGE]].concat()));
        assert_eq!(fields(Action::Forward, Detail::None), expected(&SAID));
        let file = [("cwd", "string"), ("file", "string")];
        let recorded = fields(Action::Record, Detail::File("a.flv".to_owned()));
        assert_eq!(recorded, expected(&[&stream[..], &file].concat()));
        let segment = Segment {
            duration: Duration::from_secs(2),
            file: "a.ts".to_owned(),
            url: "live/a.ts".to_owned(),
            m3u8: "a.m3u8".to_owned(),
            m3u8_url: "live/a.m3u8".to_owned(),
            seq_no: 3,
        };
        let more = [
            ("duration", "float"),
            ("url", "string"),
            ("m3u8", "string"),
            ("m3u8_url", "string"),
            ("seq_no", "integer"),
        ];
        let told = fields(Action::Hls, Detail::Segment(Box::new(segment)));
        assert_eq!(told, expected(&[&stream[..], &file, &more].concat()));
    }

    #[test]
    fn values_are_written_as_srs_writes_them() {
        let names = Names { server: "s".to_owned(), service: "t".to_owned() };
        let event =
            Event { action: Action::Record, subject: Arc::new(subject()), detail: Detail::None };
        let body: Value = serde_json::from_slice(&event.body(&names)).expect("JSON");
        assert_eq!((&body["action"], &body["client_id"]), (&json!("on_dvr"), &json!("7")));
        assert_eq!((&body["stream_url"], &body["param"]), (&json!("/live/cam"), &json!("?k=v")));
        assert!(body["stream_id"].as_str().is_some_and(|id| id.starts_with("vid-")));
    }
}
