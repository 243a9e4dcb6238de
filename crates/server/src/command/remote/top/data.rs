//! What the API says, as far as it is shown.

use http::Method;
use serde_json::Value;

use super::rows::{ClientRow, NodeRow, PullRow, Row as _, StreamRow, client, node, pull, stream};
use crate::command::remote::{COUNT, Error, Node, show};

/// One look at a cluster.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The nodes, the one that was asked first.
    pub nodes: Vec<NodeRow>,
    /// The streams of all of them.
    pub streams: Vec<StreamRow>,
    /// Who is connected, where that was asked for.
    pub clients: Vec<ClientRow>,
    /// What edges have from whom, where that was asked for.
    pub pulls: Vec<PullRow>,
}

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Streams,
    Clients,
    Nodes,
}

impl Tab {
    pub const ALL: [Self; 3] = [Self::Streams, Self::Clients, Self::Nodes];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Streams => "1 Streams",
            Self::Clients => "2 Clients",
            Self::Nodes => "3 Nodes",
        }
    }
}

impl Look {
    /// Asks `node` for what `tab` shows.
    ///
    /// # Errors
    /// When it does not answer, or says no.
    pub async fn take(node: &Node, tab: Tab) -> Result<Self, Error> {
        let ask = async |what: &str| {
            let path = format!("/api/v1/{what}scope=cluster");
            node.call(Method::GET, &path).await.map_err(Error::new)?.require(node)
        };
        let list = format!("start=0&count={COUNT}&");
        let mut look = Self::of_nodes(&ask("summaries?").await?);
        look.streams = rows(&ask(&format!("streams?{list}")).await?, "streams", stream);
        match tab {
            Tab::Streams => {}
            Tab::Clients => {
                look.clients = rows(&ask(&format!("clients?{list}")).await?, "clients", client);
            }
            Tab::Nodes => look.pulls = rows(&ask("pulls?").await?, "pulls", pull),
        }
        Ok(look)
    }

    fn of_nodes(answer: &Value) -> Self {
        let mut nodes = rows(answer, "nodes", |item| node(&item["node"], &item["data"]));
        if nodes.is_empty() {
            nodes.push(node(&answer["server"], &answer["data"]));
        }
        let silent = |peer: &Value| {
            (peer["ok"] == false).then(|| NodeRow {
                name: show::cell(&peer["node"]),
                error: Some(show::cell(&peer["error"])),
                ..NodeRow::default()
            })
        };
        nodes.extend(items(answer, "peers").iter().filter_map(silent));
        Self { nodes, ..Self::default() }
    }

    /// The sum of what the nodes say.
    pub fn total(&self, of: impl Fn(&NodeRow) -> u64) -> u64 {
        self.nodes.iter().map(of).fold(0, u64::saturating_add)
    }

    /// Names of streams, each once.
    pub fn stream_count(&self) -> usize {
        let mut names: Vec<_> = self.streams.iter().map(|stream| &stream.name).collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    }

    /// As lines of text: the nodes, then the streams.
    pub fn text(&self) -> String {
        let nodes: Vec<_> = self.nodes.iter().map(|node| node.cells()).collect();
        let streams: Vec<_> = self.streams.iter().map(|stream| stream.cells()).collect();
        show::table(&NodeRow::HEAD, &nodes) + "\n" + &show::table(&StreamRow::HEAD, &streams)
    }
}

fn items<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn rows<T>(answer: &Value, name: &str, row: impl Fn(&Value) -> T) -> Vec<T> {
    items(answer, name).iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_that_say_nothing_are_listed_with_the_reason() {
        let data = |viewers: u64| {
            json!({ "role": "edge", "phase": "serving", "streams": 1, "viewers": viewers,
                    "kbps": { "recv_30s": 10, "send_30s": 20 },
                    "self": { "version": "1", "srs_uptime": 61, "mem_kbyte": 2048 } })
        };
        let answer = json!({
            "server": "a", "data": data(2),
            "nodes": [{ "node": "a/x", "data": data(2) }, { "node": "b/y", "data": data(3) }],
            "peers": [{ "node": "a/x", "ok": true }, { "node": "c:1985", "ok": false, "error": "no\u{1b}[2J answer" }],
        });
        let look = Look::of_nodes(&answer);
        let names: Vec<_> = look.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["a/x", "b/y", "c:1985"]);
        assert_eq!(look.total(|node| node.viewers), 5);
        assert_eq!(look.nodes[2].error.as_deref(), Some("no [2J answer"));
        assert!(!look.text().contains('\u{1b}'));
    }

    #[test]
    fn an_answer_of_somebody_else_is_no_failure() {
        for answer in [
            json!(null),
            json!([1]),
            json!({ "nodes": 1, "peers": {} }),
            json!({ "nodes": [null, 1] }),
        ] {
            let look = Look::of_nodes(&answer);
            assert!(!look.nodes.is_empty());
            assert_eq!(look.stream_count(), 0);
        }
    }

    #[test]
    fn a_stream_that_two_edges_serve_is_one() {
        let of = |node: &str| stream(&json!({ "url": "/live/a", "node": node, "viewers": 1.0 }));
        let look = Look { streams: vec![of("a"), of("b")], ..Look::default() };
        assert_eq!((look.stream_count(), look.streams[0].viewers), (1, 1));
    }
}
