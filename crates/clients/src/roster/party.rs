//! Clients by their streams.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use weir_media::StreamKey;

use super::presence::{Activity, Deed, Presence};

/// Those of each stream that has any.
#[derive(Debug, Default)]
pub(super) struct Parties(HashMap<StreamKey, Party>);

/// Those of one stream, by their numbers: in the order in which they came.
#[derive(Debug, Default)]
struct Party {
    all: BTreeMap<u64, Arc<Presence>>,
    /// The numbers of those who publish it, in no order: two, while one takes it over from another.
    publishers: Vec<u64>,
}

impl Parties {
    /// Those who publish or play `key`, or did last.
    pub fn of(&self, key: &StreamKey) -> impl Iterator<Item = &Arc<Presence>> {
        self.0.get(key).into_iter().flat_map(|party| party.all.values())
    }

    /// Who publishes `key`; of several, the one who came last.
    pub fn publisher(&self, key: &StreamKey) -> Option<&Arc<Presence>> {
        self.0.get(key)?.publisher()
    }

    /// Who publishes each stream.
    pub fn publishers(&self) -> impl Iterator<Item = (&StreamKey, &Arc<Presence>)> {
        self.0.iter().filter_map(|(key, party)| Some((key, party.publisher()?)))
    }

    /// One that did this does that from now on.
    pub fn turn(&mut self, presence: &Arc<Presence>, did: &Deed, does: &Deed) {
        if let Some(before) = did.1.as_ref().filter(|_| did.1 != does.1) {
            self.remove(presence.id, before);
        }
        let Some(key) = &does.1 else { return };
        let party = self.0.entry(key.clone()).or_default();
        party.all.insert(presence.id, Arc::clone(presence));
        party.publishers.retain(|id| *id != presence.id);
        if does.0 == Activity::Publish {
            party.publishers.push(presence.id);
        }
    }

    /// The client with this number is not of `key` any more.
    pub fn remove(&mut self, id: u64, key: &StreamKey) {
        let Some(party) = self.0.get_mut(key) else { return };
        party.all.remove(&id);
        party.publishers.retain(|publisher| *publisher != id);
        if party.all.is_empty() {
            self.0.remove(key);
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Party {
    fn publisher(&self) -> Option<&Arc<Presence>> {
        self.all.get(self.publishers.iter().max()?)
    }
}
