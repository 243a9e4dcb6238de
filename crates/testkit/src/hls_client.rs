//! A client of low-latency HLS (RFC 8216bis) that takes everything: it asks for each version of the playlist before it
//! is there, and holds it against the rules.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
};

use bytes::{Bytes, BytesMut};
use quick_m3u8::{HlsLine, Reader, config::ParsingOptionsBuilder};

use crate::{
    hls::{Playlist, Segment},
    hls_rules::HlsRules,
    http,
};

/// What a client has got.
#[derive(Debug, Default)]
pub struct Client {
    path: String,
    rules: HlsRules,
    /// Versions of the playlist.
    pub versions: usize,
    /// The newest one.
    pub playlist: Playlist,
    /// What it has got of each init segment, in their order.
    pub runs: Vec<Run>,
    /// Segments that are the parts that were listed of them, joined.
    pub whole: usize,
    seen: HashSet<String>,
    /// The parts of the segments that are not complete, or not long ago.
    parts: BTreeMap<String, Bytes>,
}

/// Segments that belong together.
#[derive(Debug, Default)]
pub struct Run {
    /// The name of the init segment; empty in MPEG-TS.
    pub map: String,
    /// The init segment, and the segments.
    pub data: BytesMut,
    /// So many of them.
    pub segments: usize,
}

impl Client {
    /// A client of the playlist `path`, which has asked for nothing yet.
    pub fn new(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    /// Follows the stream until `is_enough`, or to its end.
    ///
    /// # Panics
    /// If a rule is broken, an object is not there that is listed, or a segment is not what its parts are.
    pub async fn follow(&mut self, address: SocketAddr, is_enough: impl Fn(&Self) -> bool) {
        while !self.playlist.ended && !is_enough(self) {
            self.next(address).await;
        }
    }

    /// Forgets what the playlist was like: the next one may be of another process.
    pub fn forget(&mut self) {
        self.rules = HlsRules::default();
        self.playlist = Playlist::default();
        self.parts.clear();
    }

    async fn next(&mut self, address: SocketAddr) {
        let text = self.ask(address).await;
        if let Err(broken) = self.rules.check(&text) {
            panic!("{}: {broken}\n{text}", self.path);
        }
        well_formed(&text);
        self.versions += 1;
        self.playlist = Playlist::parse(&text);
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        for segment in self.playlist.segments.clone() {
            self.take_parts(address, &folder, &segment.parts).await;
            self.take_segment(address, &folder, &segment).await;
        }
        self.take_parts(address, &folder, &self.playlist.parts.clone()).await;
    }

    /// The next version of the playlist.
    async fn ask(&self, address: SocketAddr) -> String {
        let (known, mut query) = (&self.playlist, String::new());
        if known.can_wait {
            query = format!("?_HLS_msn={}", known.next_sequence());
            if known.part_target.is_some() {
                query += &format!("&_HLS_part={}", known.parts.len());
            }
        }
        let mut response = http::get(address, &format!("{}{query}", self.path)).await;
        let text = response.text().await;
        assert_eq!(response.status, 200, "{}{query}: {text}", self.path);
        text
    }

    async fn take_parts(&mut self, address: SocketAddr, folder: &str, parts: &[String]) {
        for uri in parts {
            if !self.parts.contains_key(uri) && self.seen.insert(uri.clone()) {
                self.parts.insert(uri.clone(), fetch(address, folder, uri).await);
            }
        }
    }

    async fn take_segment(&mut self, address: SocketAddr, folder: &str, segment: &Segment) {
        if !self.seen.insert(segment.uri.clone()) {
            return;
        }
        let map = segment.map.clone().unwrap_or_default();
        if self.runs.last().is_none_or(|run| run.map != map) {
            let mut data = BytesMut::new();
            if !map.is_empty() {
                data.extend_from_slice(&fetch(address, folder, &map).await);
            }
            self.runs.push(Run { map, data, segments: 0 });
        }
        let data = fetch(address, folder, &segment.uri).await;
        let parts: Vec<_> = segment.parts.iter().map(|uri| self.parts.remove(uri)).collect();
        if let Some(parts) =
            parts.into_iter().collect::<Option<Vec<_>>>().filter(|it| !it.is_empty())
        {
            assert!(parts.concat() == data, "{} is not its parts, joined", segment.uri);
            self.whole += 1;
        }
        if let Some(run) = self.runs.last_mut() {
            run.data.extend_from_slice(&data);
            run.segments += 1;
        }
    }
}

/// Requires that somebody else's parser knows every tag.
#[track_caller]
fn well_formed(text: &str) {
    let options = ParsingOptionsBuilder::new().with_parsing_for_all_tags().build();
    let mut reader = Reader::from_str(text, options);
    loop {
        match reader.read_line() {
            Ok(Some(HlsLine::UnknownTag(tag))) => panic!("{tag:?} in\n{text}"),
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => panic!("{error:?} in\n{text}"),
        }
    }
}

async fn fetch(address: SocketAddr, folder: &str, uri: &str) -> Bytes {
    let path = format!("{folder}/{uri}");
    let mut response = http::get(address, &path).await;
    let bytes = response.bytes().await;
    let shown = || String::from_utf8_lossy(&bytes).into_owned();
    assert_eq!(response.status, 200, "{path} is listed: {}", shown());
    bytes
}
