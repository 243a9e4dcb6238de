//! Who is asked to leave next, when everybody has to.
//!
//! It is filled once, when a drain begins, and then told of each client that comes, goes or does something else: a look
//! costs what it finds, however many are connected.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use weir_media::StreamKey;

use super::presence::{Activity, Presence};

/// Clients by number, which is the order in which they came.
type Line = BTreeMap<u64, Arc<Presence>>;

/// Who has not been asked yet.
#[derive(Debug)]
pub struct Queue {
    /// At an edge viewers do not wait for the publishers of their streams.
    is_edge: bool,
    /// Those who neither publish nor play.
    idle: Line,
    publishers: Line,
    /// Viewers of streams that nobody publishes here any more; at an edge all viewers.
    orphans: Line,
    /// Viewers of streams that are published here.
    viewers: HashMap<StreamKey, Line>,
    /// How many those are.
    waiting: usize,
    /// The publishers of each stream, asked or not.
    published: HashMap<StreamKey, HashSet<u64>>,
}

impl Queue {
    /// Nobody has come yet.
    pub(super) fn new(is_edge: bool) -> Self {
        Self {
            is_edge,
            idle: Line::new(),
            publishers: Line::new(),
            orphans: Line::new(),
            viewers: HashMap::new(),
            waiting: 0,
            published: HashMap::new(),
        }
    }

    /// This is what a client does from now on.
    pub(super) fn add(
        &mut self,
        presence: &Arc<Presence>,
        activity: Activity,
        stream: Option<&StreamKey>,
    ) {
        if let (Activity::Publish, Some(stream)) = (activity, stream) {
            self.published.entry(stream.clone()).or_default().insert(presence.id);
        }
        if presence.farewell().is_some() {
            return;
        }
        let line = match (activity, stream) {
            (Activity::Control, _) => &mut self.idle,
            (Activity::Publish, _) => &mut self.publishers,
            (Activity::Play, Some(stream))
                if !self.is_edge && self.published.contains_key(stream) =>
            {
                self.waiting += 1;
                self.viewers.entry(stream.clone()).or_default()
            }
            (Activity::Play, _) => &mut self.orphans,
        };
        line.insert(presence.id, Arc::clone(presence));
    }

    /// This is what a client did until now.
    pub(super) fn remove(&mut self, id: u64, activity: Activity, stream: Option<&StreamKey>) {
        match (activity, stream) {
            (Activity::Control, _) => drop(self.idle.remove(&id)),
            (Activity::Publish, stream) => {
                self.publishers.remove(&id);
                if let Some(stream) = stream {
                    self.unpublish(id, stream);
                }
            }
            (Activity::Play, stream) => {
                self.orphans.remove(&id);
                if let Some(stream) = stream
                    && let Some(line) = self.viewers.get_mut(stream)
                    && line.remove(&id).is_some()
                {
                    self.waiting -= 1;
                    if line.is_empty() {
                        self.viewers.remove(stream);
                    }
                }
            }
        }
    }

    /// The viewers of a stream need not wait for its publishers any more, once the last of them has gone.
    fn unpublish(&mut self, id: u64, stream: &StreamKey) {
        let Some(publishers) = self.published.get_mut(stream) else { return };
        publishers.remove(&id);
        if publishers.is_empty() {
            self.published.remove(stream);
            let mut viewers = self.viewers.remove(stream).unwrap_or_default();
            self.waiting -= viewers.len();
            self.orphans.append(&mut viewers);
        }
    }

    /// From now on no viewer waits for a publisher.
    pub fn release_viewers(&mut self) {
        for mut viewers in std::mem::take(&mut self.viewers).into_values() {
            self.orphans.append(&mut viewers);
        }
        self.waiting = 0;
        self.is_edge = true;
    }

    /// Whether somebody publishes who has not been asked.
    pub fn has_publishers(&self) -> bool {
        !self.publishers.is_empty()
    }

    /// Whether somebody plays who has not been asked.
    pub fn has_viewers(&self) -> bool {
        self.waiting > 0 || !self.orphans.is_empty()
    }

    /// Takes out up to `count` of those who publish.
    pub fn take_publishers(&mut self, count: usize) -> Vec<Arc<Presence>> {
        take(&mut self.publishers, count, |_| true)
    }

    /// The same for those viewers who need not wait for a publisher.
    pub fn take_viewers(&mut self, count: usize) -> Vec<Arc<Presence>> {
        take(&mut self.orphans, count, |_| true)
    }

    /// The same for those who do neither; those who came last and `may` not be asked stay.
    pub fn take_idle(
        &mut self,
        count: usize,
        may: impl Fn(&Presence) -> bool,
    ) -> Vec<Arc<Presence>> {
        take(&mut self.idle, count, may)
    }
}

fn take(line: &mut Line, count: usize, may: impl Fn(&Presence) -> bool) -> Vec<Arc<Presence>> {
    let mut taken = Vec::new();
    while taken.len() < count
        && let Some(first) = line.first_entry()
        && may(first.get())
    {
        let presence = first.remove();
        // Somebody else may have asked it already.
        if presence.farewell().is_none() {
            taken.push(presence);
        }
    }
    taken
}
