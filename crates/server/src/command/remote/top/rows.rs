//! The rows of the lists, and what each says of itself.

use serde_json::Value;
use weir_config::Human;

use crate::command::remote::show::cell;

/// A node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeRow {
    pub name: String,
    pub role: String,
    pub phase: String,
    pub version: String,
    pub uptime: u64,
    pub streams: u64,
    pub viewers: u64,
    pub recv_kbps: u64,
    pub send_kbps: u64,
    pub memory_kib: u64,
    /// Why it says nothing.
    pub error: Option<String>,
}

/// A stream at a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamRow {
    pub name: String,
    pub node: String,
    pub status: String,
    pub live_ms: u64,
    pub viewers: u64,
    pub recv_kbps: u64,
    pub send_kbps: u64,
    pub video: String,
    pub audio: String,
}

/// A client of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientRow {
    pub id: String,
    pub node: String,
    pub kind: String,
    pub address: String,
    pub alive: u64,
    pub send_kbps: u64,
    pub recv_kbps: u64,
    pub skips: u64,
    pub stream: String,
}

/// A stream that a node has from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullRow {
    pub node: String,
    pub stream: String,
    pub state: String,
    pub origin: String,
}

/// What a list is ordered by, the largest first; names the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Viewers,
    Out,
    In,
    Name,
}

impl Order {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewers => "viewers",
            Self::Out => "out",
            Self::In => "in",
            Self::Name => "name",
        }
    }

    pub const fn next(self) -> Self {
        match self {
            Self::Viewers => Self::Out,
            Self::Out => Self::In,
            Self::In => Self::Name,
            Self::Name => Self::Viewers,
        }
    }
}

/// How much a row wants to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Ordinary,
    /// It is on its way out, or in.
    Changing,
    /// Somebody should look.
    Wrong,
}

/// A line of a list.
pub trait Row {
    /// What it is called, which filters look for.
    fn names(&self) -> Vec<&str>;

    /// What it is ordered by.
    fn rank(&self, order: Order) -> u64;

    fn mark(&self) -> Mark;

    fn cells(&self) -> Vec<String>;
}

/// Kilobits a second in the unit that suits them.
pub fn rate(kbps: u64) -> String {
    match kbps {
        0..1_000 => format!("{kbps} kb/s"),
        1_000..1_000_000 => format!("{:.1} Mb/s", kbps as f64 / 1e3),
        _ => format!("{:.2} Gb/s", kbps as f64 / 1e6),
    }
}

/// Seconds, to the two largest units.
pub fn time(seconds: u64) -> String {
    let seconds = match seconds {
        0..3600 => seconds,
        3600..86_400 => seconds / 60 * 60,
        _ => seconds / 3600 * 3600,
    };
    Human(std::time::Duration::from_secs(seconds)).to_string()
}

impl NodeRow {
    pub const HEAD: [&'static str; 10] =
        ["NODE", "ROLE", "PHASE", "VERSION", "UP", "STREAMS", "VIEWERS", "IN", "OUT", "MEMORY"];
}

impl Row for NodeRow {
    fn names(&self) -> Vec<&str> {
        vec![&self.name, &self.role]
    }

    fn rank(&self, order: Order) -> u64 {
        ranked(order, self.viewers, self.send_kbps, self.recv_kbps)
    }

    fn mark(&self) -> Mark {
        match (&self.error, self.phase.as_str()) {
            (Some(_), _) => Mark::Wrong,
            (None, "serving") => Mark::Ordinary,
            (None, _) => Mark::Changing,
        }
    }

    fn cells(&self) -> Vec<String> {
        if let Some(error) = &self.error {
            let mut cells = vec![self.name.clone(), "-".to_owned(), error.clone()];
            cells.resize(Self::HEAD.len(), String::new());
            return cells;
        }
        vec![
            self.name.clone(),
            self.role.clone(),
            self.phase.clone(),
            self.version.clone(),
            time(self.uptime),
            self.streams.to_string(),
            self.viewers.to_string(),
            rate(self.recv_kbps),
            rate(self.send_kbps),
            format!("{} MiB", self.memory_kib / 1024),
        ]
    }
}

impl StreamRow {
    pub const HEAD: [&'static str; 9] =
        ["STREAM", "NODE", "STATUS", "FOR", "VIEWERS", "IN", "OUT", "VIDEO", "AUDIO"];
}

impl Row for StreamRow {
    fn names(&self) -> Vec<&str> {
        vec![&self.name, &self.node]
    }

    fn rank(&self, order: Order) -> u64 {
        ranked(order, self.viewers, self.send_kbps, self.recv_kbps)
    }

    fn mark(&self) -> Mark {
        if self.status == "live" { Mark::Ordinary } else { Mark::Changing }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.node.clone(),
            self.status.clone(),
            time(self.live_ms / 1000),
            self.viewers.to_string(),
            rate(self.recv_kbps),
            rate(self.send_kbps),
            self.video.clone(),
            self.audio.clone(),
        ]
    }
}

impl ClientRow {
    pub const HEAD: [&'static str; 9] =
        ["ID", "NODE", "TYPE", "ADDRESS", "FOR", "IN", "OUT", "SKIPS", "STREAM"];
}

impl Row for ClientRow {
    fn names(&self) -> Vec<&str> {
        vec![&self.stream, &self.address, &self.kind, &self.node]
    }

    fn rank(&self, order: Order) -> u64 {
        ranked(order, 0, self.send_kbps, self.recv_kbps)
    }

    fn mark(&self) -> Mark {
        if self.skips > 0 { Mark::Changing } else { Mark::Ordinary }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.node.clone(),
            self.kind.clone(),
            self.address.clone(),
            time(self.alive),
            rate(self.recv_kbps),
            rate(self.send_kbps),
            self.skips.to_string(),
            self.stream.clone(),
        ]
    }
}

impl PullRow {
    pub const HEAD: [&'static str; 4] = ["PULLED BY", "STREAM", "STATE", "FROM"];
}

impl Row for PullRow {
    fn names(&self) -> Vec<&str> {
        vec![&self.node, &self.stream, &self.origin]
    }

    fn rank(&self, _: Order) -> u64 {
        0
    }

    fn mark(&self) -> Mark {
        if self.state == "flowing" { Mark::Ordinary } else { Mark::Changing }
    }

    fn cells(&self) -> Vec<String> {
        [&self.node, &self.stream, &self.state, &self.origin].map(String::clone).into()
    }
}

const fn ranked(order: Order, viewers: u64, sent: u64, received: u64) -> u64 {
    match order {
        Order::Viewers => viewers,
        Order::Out => sent,
        Order::In => received,
        Order::Name => 0,
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_f64().map(|number| number as u64)).unwrap_or_default()
}

pub fn node(name: &Value, data: &Value) -> NodeRow {
    let own = &data["self"];
    NodeRow {
        name: cell(name),
        role: cell(&data["role"]),
        phase: cell(&data["phase"]),
        version: cell(&own["version"]),
        uptime: number(&own["srs_uptime"]),
        streams: number(&data["streams"]),
        viewers: number(&data["viewers"]),
        recv_kbps: number(&data["kbps"]["recv_30s"]),
        send_kbps: number(&data["kbps"]["send_30s"]),
        memory_kib: number(&own["mem_kbyte"]),
        error: None,
    }
}

pub fn stream(stream: &Value) -> StreamRow {
    let [video, audio] = [&stream["video"], &stream["audio"]];
    let size = match (&video["width"], &video["height"]) {
        (Value::Number(width), Value::Number(height)) => format!(" {width}x{height}"),
        _ => String::new(),
    };
    StreamRow {
        name: cell(&stream["url"]),
        node: cell(&stream["node"]),
        status: cell(&stream["status"]),
        live_ms: number(&stream["live_ms"]),
        viewers: number(&stream["viewers"]),
        recv_kbps: number(&stream["kbps"]["recv_30s"]),
        send_kbps: number(&stream["kbps"]["send_30s"]),
        video: cell(&video["codec"]) + &size,
        audio: cell(&audio["codec"]),
    }
}

pub fn client(client: &Value) -> ClientRow {
    ClientRow {
        id: cell(&client["id"]),
        node: cell(&client["node"]),
        kind: cell(&client["type"]),
        address: cell(&client["ip"]),
        alive: number(&client["alive"]),
        send_kbps: number(&client["kbps"]["send_30s"]),
        recv_kbps: number(&client["kbps"]["recv_30s"]),
        skips: number(&client["skips"]),
        stream: cell(&client["url"]),
    }
}

pub fn pull(pull: &Value) -> PullRow {
    PullRow {
        node: cell(&pull["node"]),
        stream: cell(&pull["url"]),
        state: cell(&pull["state"]),
        origin: cell(&pull["origin"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_unit_that_suits_them() {
        assert_eq!([999, 1500, 2_345_000].map(rate), ["999 kb/s", "1.5 Mb/s", "2.35 Gb/s"]);
        assert_eq!([59, 3661, 90_061].map(time), ["59s", "1h1m", "25h"]);
    }
}
