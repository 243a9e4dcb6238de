//! Answers of the API for people: plain tables, in columns.

use std::time::Duration;

use serde_json::Value;
use weir_config::{Human, Size};

use super::call::Node;

/// How a node does.
pub fn status(
    node: &Node,
    answer: &Value,
    (is_ready, why): (bool, String),
    reload: &Value,
) -> String {
    let data = &answer["data"];
    let ready = if is_ready { "yes".to_owned() } else { format!("no: {}", one_line(&why)) };
    let reload = match (reload["reload"]["success"].as_bool(), &reload["reload"]["error"]) {
        (Some(true), _) => "in force".to_owned(),
        (_, Value::String(error)) => format!("the last reload failed: {}", one_line(error)),
        _ => "-".to_owned(),
    };
    let uptime = data["self"]["srs_uptime"].as_u64().unwrap_or_default();
    let memory = data["self"]["mem_kbyte"].as_u64().unwrap_or_default();
    let rows = [
        ("node", format!("{} at {}", cell(&answer["server"]), node.address)),
        ("version", cell(&data["self"]["version"])),
        ("role", cell(&data["role"])),
        ("phase", cell(&data["phase"])),
        ("ready", ready),
        ("up", Human(Duration::from_secs(uptime)).to_string()),
        ("config", reload),
        ("streams", cell(&data["streams"])),
        ("viewers", cell(&data["viewers"])),
        ("clients", cell(&data["clients"])),
        ("in", format!("{} kbit/s", cell(&data["kbps"]["recv_30s"]))),
        ("out", format!("{} kbit/s", cell(&data["kbps"]["send_30s"]))),
        ("memory", format!("{} MiB", memory / 1024)),
    ];
    rows.iter().fold(String::new(), |all, (name, value)| format!("{all}  {name:<8} {value}\n"))
}

/// Streams.
pub fn streams(answer: &Value) -> String {
    let head = [
        "STREAM",
        "STATUS",
        "FOR",
        "VIEWERS",
        "IN kbit/s",
        "OUT kbit/s",
        "PUBLISHER",
        "VIDEO",
        "AUDIO",
    ];
    list(answer, "streams", &head, |stream| {
        let live = stream["live_ms"].as_u64().unwrap_or_default() / 1000;
        let [video, audio] = [&stream["video"], &stream["audio"]];
        let size = match (&video["width"], &video["height"]) {
            (Value::Number(width), Value::Number(height)) if width.as_u64() != Some(0) => {
                format!(" {width}x{height}")
            }
            _ => String::new(),
        };
        vec![
            full_name(stream),
            cell(&stream["status"]),
            Human(Duration::from_secs(live)).to_string(),
            cell(&stream["viewers"]),
            cell(&stream["kbps"]["recv_30s"]),
            cell(&stream["kbps"]["send_30s"]),
            cell(&stream["publish"]["cid"]),
            cell(&video["codec"]) + &size,
            cell(&audio["codec"]),
        ]
    })
}

/// Clients.
pub fn clients(answer: &Value) -> String {
    let head = ["ID", "TYPE", "ADDRESS", "FOR", "SENT", "RECEIVED", "SKIPS", "STREAM"];
    list(answer, "clients", &head, |client| {
        let alive =
            Duration::try_from_secs_f64(client["alive"].as_f64().unwrap_or_default().floor());
        let bytes = |key: &str| human_bytes(client[key].as_u64().unwrap_or_default());
        vec![
            cell(&client["id"]),
            cell(&client["type"]),
            cell(&client["ip"]),
            Human(alive.unwrap_or_default()).to_string(),
            bytes("send_bytes"),
            bytes("recv_bytes"),
            cell(&client["skips"]),
            cell(&client["url"]),
        ]
    })
}

/// Who was ended.
pub fn kicked(whom: &str, answer: &Value) -> String {
    match answer["cid"].as_str() {
        Some(cid) => {
            format!("ended the publisher of {}, client {}\n", one_line(whom), one_line(cid))
        }
        None => format!("ended client {}\n", one_line(whom)),
    }
}

/// What a reload has changed.
pub fn reloaded(answer: &Value) -> String {
    let changes = answer["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if changes.is_empty() {
        return "reloaded: nothing changed\n".to_owned();
    }
    changes.iter().fold("reloaded\n".to_owned(), |all, change| {
        let [key, from, to] = ["key", "from", "to"].map(|name| cell(&change[name]));
        format!("{all}  {key}: {from} -> {to}\n")
    })
}

/// That a drain begins.
pub fn draining(answer: &Value) -> String {
    let time = |key: &str| Human(Duration::from_millis(answer[key].as_u64().unwrap_or_default()));
    let (notice, timeout) = (time("notice_ms"), time("timeout_ms"));
    format!(
        "draining: clients are served for another {notice}, and the process ends within {timeout}\n"
    )
}

/// A list of the answer as a table, and how much of it is missing.
fn list(answer: &Value, name: &str, head: &[&str], row: impl Fn(&Value) -> Vec<String>) -> String {
    let items = answer[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let total = answer["total"].as_u64().unwrap_or_default();
    let rows: Vec<_> = items.iter().map(row).collect();
    let mut text = table(head, &rows);
    if total > rows.len() as u64 {
        text += &format!("and {} more\n", total - rows.len() as u64);
    }
    text
}

/// Columns as wide as what is in them.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<_> = head.iter().map(|&name| name.to_owned()).collect();
    let mut widths = vec![0; head.len()];
    for row in std::iter::once(&head).chain(rows) {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(text, &width)| format!("{text:<width$}"));
        let cells: Vec<_> = cells.collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    std::iter::once(&head).chain(rows).map(line).collect()
}

/// The name of a stream as the log has it.
fn full_name(stream: &Value) -> String {
    cell(&stream["url"])
}

/// A value in a cell; `-` for none.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => one_line(text),
        Value::Number(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        _ => "-".to_owned(),
    }
}

/// Bytes with at most three digits before the unit.
fn human_bytes(bytes: u64) -> String {
    let unit = [40, 30, 20, 10].into_iter().map(|bits| 1_u64 << bits).find(|unit| bytes >= *unit);
    unit.map_or(Size(bytes).to_string(), |unit| Size(bytes / unit * unit).to_string())
}

/// What others have written, in one line: it must not move the cursor of a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The same in lines.
pub fn lines(text: &str) -> String {
    text.lines().map(one_line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_have_columns_and_say_what_is_missing() {
        let client = |id: &str, url: &str| {
            json!({ "id": id, "type": "rtmp-play", "ip": "::1", "alive": 61.9, "send_bytes": 5 << 20, "recv_bytes": 9,
                    "skips": 0, "url": url })
        };
        let answer =
            json!({ "total": 3, "clients": [client("1", "/live/a\u{1b}[2J"), client("200", "")] });
        let expected = "\
ID   TYPE       ADDRESS  FOR   SENT  RECEIVED  SKIPS  STREAM
1    rtmp-play  ::1      1m1s  5MiB  9B        0      /live/a [2J
200  rtmp-play  ::1      1m1s  5MiB  9B        0      -
and 1 more
";
        assert_eq!(clients(&answer), expected);
        assert_eq!(streams(&json!({})).lines().count(), 1);
    }

    #[test]
    fn what_was_done_is_said() {
        let change = json!({ "changes": [{ "key": "play.wait", "from": "10s", "to": "5s" }] });
        assert_eq!(reloaded(&change), "reloaded\n  play.wait: 10s -> 5s\n");
        assert_eq!(reloaded(&json!({ "changes": [] })), "reloaded: nothing changed\n");
        assert_eq!(kicked("7", &json!({})), "ended client 7\n");
        assert_eq!(
            kicked("live/a", &json!({ "cid": "7" })),
            "ended the publisher of live/a, client 7\n"
        );
        let drain = draining(&json!({ "notice_ms": 5000, "timeout_ms": 60000 }));
        assert_eq!(
            drain,
            "draining: clients are served for another 5s, and the process ends within 1m\n"
        );
    }
}
