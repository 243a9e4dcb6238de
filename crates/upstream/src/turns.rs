//! Fair turns: many who ask share a few turns, one address as much as the other.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use weir_clients::quota::Network;

/// Who waits for a turn: an address, or this process itself.
pub type Asker = Option<Network>;

/// The asker at `ip`.
pub fn asker(ip: Option<IpAddr>) -> Asker {
    ip.map(Network::of)
}

/// So many turns at a time. Addresses that wait get them one after the other, and each address its own in the order in
/// which they were asked for: one that wants a thousand delays another by one.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Mutex<Queues>>);

#[derive(Debug)]
struct Queues {
    free: usize,
    /// Of each address that waits: those who do.
    waiting: HashMap<Asker, VecDeque<oneshot::Sender<Turn>>>,
    /// The addresses that wait, the next one first.
    next: VecDeque<Asker>,
}

/// A turn, until this is dropped.
#[derive(Debug)]
pub struct Turn(Option<Turns>);

impl Turns {
    /// So many turns.
    pub fn new(turns: usize) -> Self {
        let queues = Queues { free: turns, waiting: HashMap::new(), next: VecDeque::new() };
        Self(Arc::new(Mutex::new(queues)))
    }

    /// Waits for a turn. Whoever does not wait any more is passed over.
    pub async fn turn(&self, asker: Asker) -> Turn {
        let waiting = {
            let mut queues = self.lock();
            if queues.free > 0 {
                queues.free -= 1;
                return Turn(Some(self.clone()));
            }
            let (turn, waiting) = oneshot::channel();
            queues.wait(asker, turn);
            waiting
        };
        // Every sender is kept until it has sent; a turn of nothing delays nobody.
        waiting.await.unwrap_or(Turn(None))
    }

    fn give_back(&self) {
        loop {
            let next = {
                let mut queues = self.lock();
                let next = queues.next();
                if next.is_none() {
                    queues.free += 1;
                }
                next
            };
            let Some(next) = next else { return };
            let Err(mut unwanted) = next.send(Turn(Some(self.clone()))) else { return };
            // It goes to the one after, and not through here again.
            unwanted.0 = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn wait(&mut self, asker: Asker, turn: oneshot::Sender<Turn>) {
        let queue = self.waiting.entry(asker).or_default();
        if queue.is_empty() {
            self.next.push_back(asker);
        }
        // Those who have left need no place; the first one is looked at when its turn comes.
        while queue.back().is_some_and(oneshot::Sender::is_closed) && queue.len() > 1 {
            queue.pop_back();
        }
        queue.push_back(turn);
    }

    /// Takes the next one out that still waits.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(asker) = self.next.pop_front() {
            let Some(queue) = self.waiting.get_mut(&asker) else { continue };
            let turn = loop {
                match queue.pop_front() {
                    Some(turn) if turn.is_closed() => {}
                    turn => break turn,
                }
            };
            if queue.is_empty() {
                self.waiting.remove(&asker);
            } else {
                self.next.push_back(asker);
            }
            if turn.is_some() {
                return turn;
            }
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::join_all};

    use super::*;

    fn at(number: u8) -> Asker {
        asker(Some([192, 0, 2, number].into()))
    }

    #[tokio::test]
    async fn one_address_delays_another_by_one_turn() {
        let turns = Turns::new(1);
        let first = turns.turn(at(1)).await;
        let order = Mutex::new(Vec::new());
        let wait = |address: u8, number: usize| {
            let (turns, order) = (&turns, &order);
            async move {
                let turn = turns.turn(at(address)).await;
                order.lock().expect("no panic").push((address, number));
                drop(turn);
            }
        };
        let flood: Vec<_> = (0..1000).map(|number| wait(1, number)).collect();
        let mut flood = Box::pin(join_all(flood));
        assert!((&mut flood).now_or_never().is_none(), "there is one turn");
        let mut other = Box::pin(join_all([wait(2, 0), wait(2, 1), wait(3, 0)]));
        assert!((&mut other).now_or_never().is_none());
        drop(first);
        tokio::join!(flood, other);
        let order = order.into_inner().expect("no panic");
        let place = |who| order.iter().position(|it| *it == who).expect("it had its turn");
        assert_eq!(order.len(), 1003);
        assert!(place((2, 0)) <= 2 && place((3, 0)) <= 3, "{:?}", &order[..8]);
        assert!(place((2, 1)) <= 6, "{:?}", &order[..8]);
        let own: Vec<_> = order.iter().filter(|who| who.0 == 1).map(|who| who.1).collect();
        assert!(own.is_sorted(), "each address in its order");
    }

    #[tokio::test]
    async fn who_leaves_takes_no_turn_along() {
        let turns = Turns::new(2);
        let held = [turns.turn(at(1)).await, turns.turn(at(1)).await];
        assert!(turns.turn(None).now_or_never().is_none());
        for _ in 0..100 {
            assert!(turns.turn(at(1)).now_or_never().is_none());
        }
        // Nobody grows the queues by coming and going.
        assert!(turns.lock().waiting[&at(1)].len() <= 2);
        let mut waiting = Box::pin(turns.turn(None));
        assert!((&mut waiting).now_or_never().is_none());
        drop(held);
        let turn = waiting.await;
        assert!(turns.turn(None).now_or_never().is_some(), "two turns are two turns");
        drop(turn);
        assert_eq!(turns.lock().free, 2);
        assert!(turns.lock().waiting.is_empty() && turns.lock().next.is_empty());
    }

    #[tokio::test]
    async fn a_turn_that_is_sent_to_somebody_who_has_left_goes_on() {
        let turns = Turns::new(1);
        let held = turns.turn(at(1)).await;
        let mut first = Box::pin(turns.turn(at(1)));
        assert!((&mut first).now_or_never().is_none());
        drop(held);
        // It has been given its turn, and leaves before it has looked.
        drop(first);
        assert!(turns.turn(None).now_or_never().is_some());
    }
}
