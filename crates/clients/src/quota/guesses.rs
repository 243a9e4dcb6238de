//! Who asks for segments that are not there.
//!
//! The names of segments cannot be guessed, so this is not what keeps them: it keeps those who try all the same from
//! costing more than a look, here and at the origins of an edge. Who has been given the playlist of a stream has the
//! names, and nothing to guess; a player that asks again and again for a segment that has just gone is one of those.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use weir_media::StreamKey;

use super::network::Network;

/// Segments that are not there, for which an address may ask in [`PERIOD`] without having the playlist: a hundred
/// players behind it that come back from another server, each with one old name.
const MISSES_MAX: u32 = 100;

/// The time in which they are counted.
const PERIOD: Duration = Duration::from_secs(10);

/// How long a playlist is known to have been given, at least: several target durations.
const PLAYLIST: Duration = Duration::from_secs(60);

/// Addresses that are counted each for itself in a period, some 1 MB. All others are counted together.
const ADDRESSES_MAX: usize = 16_384;

/// Players that are known to have a playlist, in each of two times of [`PLAYLIST`]: twice 1 MB. Those who come later
/// are counted like anybody.
const PLAYERS_MAX: usize = 65_536;

/// Counts who asks in vain.
#[derive(Debug, Default)]
pub struct Guesses {
    books: Mutex<Books>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Books {
    /// When the period began.
    since: Option<Instant>,
    misses: HashMap<Network, u32>,
    /// Of all addresses that there was no room for.
    others: u32,
    /// When the newer players' time began.
    players_since: Option<Instant>,
    players: HashSet<u64>,
    players_before: HashSet<u64>,
}

/// A question for a segment that counts as a miss unless it is found.
#[derive(Debug)]
#[must_use]
pub struct Guess {
    /// None for one who has the playlist.
    network: Option<Network>,
    /// The period in which it was counted.
    since: Option<Instant>,
}

impl Guesses {
    /// Lets somebody at `ip` ask for a segment of `key`; none if it has asked in vain too often.
    pub fn ask(&self, key: &StreamKey, ip: IpAddr, now: Instant) -> Option<Guess> {
        let network = Network::of(ip);
        let player = self.player(network, key);
        let mut books = self.books();
        books.turn(now);
        if books.players.contains(&player) || books.players_before.contains(&player) {
            return Some(Guess { network: None, since: None });
        }
        let misses = books.misses(network);
        if *misses >= MISSES_MAX {
            return None;
        }
        *misses += 1;
        Some(Guess { network: Some(network), since: books.since })
    }

    /// What was asked for was there, or it is not known whether it is.
    pub fn forgive(&self, Guess { network, since }: Guess) {
        let Some(network) = network else { return };
        let mut books = self.books();
        if books.since == since {
            let misses = books.misses(network);
            *misses = misses.saturating_sub(1);
        }
    }

    /// Somebody at `ip` has been given the playlist of `key`.
    pub fn gave_playlist(&self, key: &StreamKey, ip: IpAddr, now: Instant) {
        let player = self.player(Network::of(ip), key);
        let mut books = self.books();
        books.turn(now);
        if books.players.len() < PLAYERS_MAX {
            books.players.insert(player);
        }
    }

    fn player(&self, network: Network, key: &StreamKey) -> u64 {
        self.hasher.hash_one((network, key))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Begins new periods when the old ones are over. Nothing is walked through: what is forgotten is dropped whole.
    fn turn(&mut self, now: Instant) {
        let is_over = |since: Option<Instant>, period| {
            since.is_none_or(|since| now.saturating_duration_since(since) >= period)
        };
        if is_over(self.since, PERIOD) {
            self.since = Some(now);
            self.misses = HashMap::new();
            self.others = 0;
        }
        if is_over(self.players_since, PLAYLIST) {
            let is_long_ago = is_over(self.players_since, 2 * PLAYLIST);
            self.players_since = Some(now);
            let before = std::mem::take(&mut self.players);
            self.players_before = if is_long_ago { HashSet::new() } else { before };
        }
    }

    fn misses(&mut self, network: Network) -> &mut u32 {
        if self.misses.len() >= ADDRESSES_MAX && !self.misses.contains_key(&network) {
            return &mut self.others;
        }
        self.misses.entry(network).or_insert(0)
    }
}

#[cfg(test)]
mod tests {
    use weir_media::DEFAULT_VHOST;

    use super::*;

    fn key(stream: &str) -> StreamKey {
        StreamKey::new(DEFAULT_VHOST, "live", stream).expect("a good key")
    }

    fn ip(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    /// How many questions an address has in vain before it is refused.
    fn misses(guesses: &Guesses, stream: &str, address: u32, now: Instant) -> u32 {
        let asked = (0..10 * MISSES_MAX)
            .take_while(|_| guesses.ask(&key(stream), ip(address), now).is_some());
        asked.count().try_into().expect("some")
    }

    #[test]
    fn an_address_has_so_many_misses_in_a_period() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        assert_eq!(misses(&guesses, "a", 1, now), MISSES_MAX);
        assert_eq!(misses(&guesses, "b", 1, now), 0, "whatever the stream");
        assert_eq!(misses(&guesses, "a", 2, now), MISSES_MAX, "others have their own");
        assert_eq!(misses(&guesses, "a", 1, now + PERIOD), MISSES_MAX);
    }

    #[test]
    fn what_is_found_does_not_count() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for _ in 0..10 * MISSES_MAX {
            guesses.forgive(guesses.ask(&key("a"), ip(1), now).expect("it finds what it asks for"));
        }
        let late = guesses.ask(&key("a"), ip(1), now).expect("a question");
        assert_eq!(misses(&guesses, "a", 1, now + PERIOD), MISSES_MAX);
        guesses.forgive(late);
        assert_eq!(misses(&guesses, "a", 1, now + PERIOD), 0, "it was counted in another period");
    }

    #[test]
    fn who_has_the_playlist_guesses_nothing() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        assert_eq!(misses(&guesses, "a", 1, now), MISSES_MAX);
        guesses.gave_playlist(&key("a"), ip(1), now);
        assert_eq!(misses(&guesses, "a", 1, now), 10 * MISSES_MAX);
        assert_eq!(misses(&guesses, "b", 1, now), 0, "of another stream it has none");
        assert_eq!(misses(&guesses, "a", 1, now + PLAYLIST - PERIOD / 2), 10 * MISSES_MAX);
        assert_eq!(misses(&guesses, "a", 1, now + PLAYLIST), 10 * MISSES_MAX);
        assert_eq!(misses(&guesses, "a", 1, now + 3 * PLAYLIST), MISSES_MAX);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for address in 0..ADDRESSES_MAX + 200 {
            let address = address.try_into().expect("small");
            let _ = guesses.ask(&key("a"), ip(address), now);
        }
        for address in 0..PLAYERS_MAX + 200 {
            guesses.gave_playlist(&key("a"), ip(address.try_into().expect("small")), now);
        }
        let books = guesses.books();
        assert_eq!((books.misses.len(), books.others), (ADDRESSES_MAX, MISSES_MAX));
        assert_eq!(books.players.len(), PLAYERS_MAX);
    }
}
