//! What peers may make the process hold, and giving memory back to the system.
//!
//! The allocator keeps what was needed once, such as the logs of streams that have ended. Once it is quiet after such
//! an end, it is asked for what it does not use.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior, timeout_at};
use weir_hub::Wake as _;
use weir_intake::WakeSignal;
use weir_media::{Budget, Charge, Spent, Use};
use weir_rtmp::url::StreamUrl;

/// How often the text of a request is held while it waits: as it came, in its parts, decoded, and what goes to an
/// origin; as measured with requests of 8 KB.
const TEXT_COPIES: usize = 4;

/// What a request with so many bytes of names and parameters takes, beside `other` bytes, until it has its answer.
///
/// # Errors
/// When there is no room for it. There is for all that are as short as people's are.
pub fn request(budget: &Budget, text: usize, other: usize) -> Result<Charge, Spent> {
    let mut charge = Charge::new(budget, Use::Requests);
    charge.grow(text * TEXT_COPIES + other)?;
    Ok(charge)
}

/// Bytes of names and parameters.
pub fn url_bytes(url: &StreamUrl) -> usize {
    let StreamUrl { vhost, app, stream, params } = url;
    [vhost, app, stream, params].into_iter().map(String::len).sum()
}

/// `bytes`, which count as `charge` does for as long as anybody holds them: what an HTTP connection has been given to
/// send is not ours to look at any more.
pub fn counted(bytes: Bytes, charge: Charge) -> Bytes {
    Bytes::from_owner(Counted { bytes, _charge: charge })
}

struct Counted {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// `bytes` for a client that may take its time to read them.
///
/// # Errors
/// When there is no room for them.
pub fn output(budget: &Budget, bytes: impl Into<Bytes>) -> Result<Bytes, Spent> {
    let bytes = bytes.into();
    let mut charge = Charge::new(budget, Use::Output);
    charge.grow(bytes.len())?;
    Ok(counted(bytes, charge))
}

/// How long nothing more must end: by then viewers of an ended stream have been told too, and the streams that end
/// together, as after a network failure, are dealt with at once.
const QUIET: Duration = Duration::from_secs(2);

/// Where it is never quiet, memory goes back this often.
const EVERY: Duration = Duration::from_secs(30);

/// How often the budget is looked at: what a log may not hold any longer is gone after this, whether or not anything is
/// appended to it.
const LOOK: Duration = Duration::from_millis(100);

/// A fall by less than this is not worth giving memory back.
const FALL_BYTES_MIN: usize = 4 * 1024 * 1024;

/// How long less must be held before memory is given back. A log falls to nothing whenever a group ends, and needs the
/// same pages again for the next: to give them back each time made publishers cost a sixth more. With groups of up to
/// twice this length, what is held is above the half again before it has passed.
const DROP_LASTS: Duration = Duration::from_secs(5);

/// Starts giving memory back. The alarm is to be rung when a stream has ended.
pub fn give_back_later() -> Arc<WakeSignal> {
    let freed = Arc::new(WakeSignal::default());
    tokio::spawn(give_back(Arc::clone(&freed)));
    freed
}

/// Looks after the budget: while it is spent, `shrink` is called again and again, and `freed` is rung when much less is
/// held than was, and stays so, as after a crowd has left.
pub async fn look_after(budget: Budget, freed: Arc<WakeSignal>, shrink: impl Fn()) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fall = MemoryDrop::default();
    loop {
        let now = ticks.tick().await;
        if budget.is_spent() {
            shrink();
        }
        if fall.lasts(budget.used(), now) {
            freed.wake();
        }
    }
}

/// Notices that much less is held than was.
#[derive(Default)]
struct MemoryDrop {
    /// The most that was held since memory was given back.
    most: usize,
    /// Since when it is much less.
    since: Option<Instant>,
}

impl MemoryDrop {
    /// Whether what is `used` has been much less than it was for long enough; then that begins anew.
    fn lasts(&mut self, used: usize, now: Instant) -> bool {
        self.most = self.most.max(used);
        if self.most - used < FALL_BYTES_MIN.max(self.most / 2) {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let lasts = now.duration_since(since) >= DROP_LASTS;
        if lasts {
            *self = Self { most: used, since: None };
        }
        lasts
    }
}

async fn give_back(freed: Arc<WakeSignal>) {
    loop {
        freed.rang().await;
        let latest = Instant::now() + EVERY;
        let quiet = || (Instant::now() + QUIET).min(latest);
        while Instant::now() < latest && timeout_at(quiet(), freed.rang()).await.is_ok() {}
        // It takes milliseconds and locks. A runtime that cannot run it is ending.
        let _ = tokio::task::spawn_blocking(weir_sys::release_free_memory).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// The seconds of a minute in which memory is given back, when `used` is what is held at each of its moments.
    fn given_back(used: impl Fn(f64) -> usize) -> Vec<u64> {
        let (mut fall, start) = (MemoryDrop::default(), Instant::now());
        let looks = (0..600).map(|look| LOOK * look);
        looks
            .filter(|&at| fall.lasts(used(at.as_secs_f64()), start + at))
            .map(|at| at.as_secs())
            .collect()
    }

    #[test]
    fn groups_that_end_give_nothing_back_and_a_crowd_that_leaves_does_once() {
        for group in [0.5, 2.0, 4.0, 9.9] {
            let sawtooth = |at: f64| (at % group / group * 40e6) as usize;
            assert!(given_back(sawtooth).is_empty(), "groups of {group} s");
        }
        assert_eq!(given_back(|at| if at < 10.0 { 40 * MIB } else { 10 * MIB }), [15]);
        assert!(
            given_back(|at| if at < 10.0 { 5 * MIB } else { 2 * MIB }).is_empty(),
            "too little"
        );
        let shrinking = |at: f64| (60.0 - at) as usize * MIB;
        assert_eq!(given_back(shrinking), [34, 52], "half, and half of what was left then");
    }
}
