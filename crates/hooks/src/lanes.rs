//! One queue per client, so that a back end hears of each client in order, whatever it takes for another.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What waits for each client. A client is here as long as somebody works on what it waits for.
#[derive(Debug)]
pub struct Lanes<J>(Mutex<HashMap<u64, VecDeque<J>>>);

impl<J> Default for Lanes<J> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<J> Lanes<J> {
    /// Adds what waits for a client. Returns it if nobody works for this client: whoever called this has to do it, and
    /// then what is [`next`](Self::next), to the end.
    #[must_use]
    pub fn push(&self, client: u64, job: J) -> Option<J> {
        match self.lock().entry(client) {
            Entry::Occupied(mut lane) => {
                lane.get_mut().push_back(job);
                None
            }
            Entry::Vacant(lane) => {
                lane.insert(VecDeque::new());
                Some(job)
            }
        }
    }

    /// What is next for a client; none at the end, and nobody works for it then.
    pub fn next(&self, client: u64) -> Option<J> {
        let mut lanes = self.lock();
        let next = lanes.get_mut(&client)?.pop_front();
        if next.is_none() {
            lanes.remove(&client);
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, VecDeque<J>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_order_and_one_worker() {
        let lanes = Lanes::default();
        assert_eq!(lanes.push(1, "a"), Some("a"));
        assert_eq!(
            (lanes.push(1, "b"), lanes.push(2, "c"), lanes.push(1, "d")),
            (None, Some("c"), None)
        );
        assert_eq!((lanes.next(1), lanes.next(1), lanes.next(1)), (Some("b"), Some("d"), None));
        assert_eq!(lanes.next(2), None);
        assert!(lanes.lock().is_empty(), "nothing is kept of those who wait for nothing");
        assert_eq!(lanes.push(1, "e"), Some("e"));
    }
}
