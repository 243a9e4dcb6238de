//! Whose turn comes again once the others have had theirs.

/// Viewers whose turn was over before they were done, in the order in which they go on. Each is here once: keys that
/// are here twice would be served twice, and put themselves here twice again.
#[derive(Debug, Default)]
pub struct Turns {
    waiting: Vec<Turn>,
    next: u64,
}

/// A turn to come of the viewer with this key, if it is still the same.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub key: usize,
    number: u64,
}

/// What a viewer knows of the turn that it waits for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits(Option<u64>);

impl Turns {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The viewer with `key` goes on later, if it does not wait to already.
    pub fn again(&mut self, key: usize, waits: &mut Waits) {
        if waits.0.is_none() {
            let number = self.next;
            self.next += 1;
            waits.0 = Some(number);
            self.waiting.push(Turn { key, number });
        }
    }

    /// All turns so far. Those that begin from now on are the next round's.
    pub fn round(&mut self) -> Vec<Turn> {
        std::mem::take(&mut self.waiting)
    }
}

impl Turn {
    /// Whether the viewer that has the key now waits for this turn; then it waits no longer. Another viewer may have
    /// the key of one that is gone, and a turn of its own.
    pub fn begins(self, waits: &mut Waits) -> bool {
        let is_its = waits.0 == Some(self.number);
        if is_its {
            waits.0 = None;
        }
        is_its
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_twice_goes_on_once() {
        let (mut turns, mut waits) = (Turns::default(), Waits::default());
        for _ in 0..100 {
            turns.again(7, &mut waits);
            turns.again(7, &mut waits);
            let round = turns.round();
            assert_eq!(round.len(), 1, "{round:?}");
            assert!(round[0].begins(&mut waits));
        }
        assert!(turns.is_empty());
    }

    #[test]
    fn who_has_the_key_of_one_that_is_gone_has_its_own_turn_only() {
        let mut turns = Turns::default();
        turns.again(7, &mut Waits::default());
        let mut waits = Waits::default();
        turns.again(7, &mut waits);
        for round in 0..100 {
            let mut served = 0;
            for turn in turns.round() {
                if turn.begins(&mut waits) {
                    served += 1;
                    turns.again(turn.key, &mut waits);
                }
            }
            assert_eq!(served, 1, "round {round}");
        }
    }

    #[test]
    fn who_asks_after_its_turn_waits_for_the_next_round() {
        let (mut turns, mut first, mut second) =
            (Turns::default(), Waits::default(), Waits::default());
        turns.again(1, &mut first);
        turns.again(2, &mut second);
        let round = turns.round();
        assert!(round[0].begins(&mut first));
        turns.again(1, &mut first);
        assert!(!round[0].begins(&mut first), "that turn is over");
        assert!(round[1].begins(&mut second));
        let keys: Vec<_> = turns.round().iter().map(|turn| turn.key).collect();
        assert_eq!(keys, [1]);
    }
}
