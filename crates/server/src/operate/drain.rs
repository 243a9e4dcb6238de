//! Stopping without cutting anybody off.
//!
//! ```text
//! notice: not ready any more, everybody is served   (balancers take us off their lists)
//! draining: the acceptors close; everybody is asked to leave, paced: at an edge viewers and then publishers, at an
//!           origin publishers and then the viewers of each, and all others at last
//!           └─► each goes at the end of a group, or by itself where it follows reconnect requests
//! the end: nobody is left, or drain.timeout has passed
//! ```

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{info, warn};
use weir_clients::{
    end::seconds,
    events::{EVENTS, EventKind},
    listen::Acceptor,
    roster::{Farewell, Presence, Queue, Roster},
};

use crate::{node::Node, phase::Phase};

/// Between two looks at who is asked next.
const TICK: Duration = Duration::from_millis(50);

/// Clients that are asked to leave in a second, at least: with fewer of them the pace protects nobody.
const CLIENTS_A_SECOND_MIN: f64 = 50.0;

/// The part of the time there is in which everybody is asked: the rest is for those who are slow to go.
const ASKING: f64 = 0.5;

/// The part of the time there is until an origin's viewers are asked whose publisher is still here: whatever that waits
/// for, they must get away in time.
const VIEWERS: f64 = 0.75;

/// The part of an origin's clients that is asked at each look, at least, once their publishers have gone: all of them
/// within half a second, for they have nothing to see here any more.
const ORPHANS: usize = 10;

/// How long who has connected and not asked for anything yet is left alone: a player that came in the last moment plays
/// first, and moves then.
const NEWCOMER: Duration = Duration::from_secs(3);

/// How long the last words of what was passed on and written may take once nobody is connected any more.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Lets everybody go. Ends when nobody is left, or when the time is over.
pub async fn drain(node: &Arc<Node>, acceptors: &[Arc<Acceptor>], settings: &weir_config::Drain) {
    let start = Instant::now();
    let deadline = start + settings.timeout;
    node.phase.send_replace(Phase::Notice);
    info!(notice = ?settings.notice, timeout = ?settings.timeout, clients = node.clients.roster.count(), "drain began");
    EVENTS.note(EventKind::DrainBegan, None, None, "");
    sleep_until((start + settings.notice).min(deadline)).await;
    node.phase.send_replace(Phase::Draining);
    acceptors.iter().for_each(|acceptor| acceptor.close());
    node.outputs.leave_open();
    node.fallback.set_over(true);
    let clients = node.clients.roster.count();
    info!(clients, "no new clients accepted; disconnecting clients");
    let enough = deadline - LAST_WORDS.min(settings.timeout / 4);
    if timeout_at(enough, let_go(node, enough)).await.is_err() {
        let left = node.clients.roster.count();
        warn!(left, "drain.timeout reached: closing the remaining connections");
    }
    // The next process pulls them itself.
    node.pulls.iter().for_each(|pulls| pulls.end());
    node.children.end();
    let pushed = async {
        if let Some(edge) = &node.edge {
            edge.until_pushed().await;
        }
    };
    node.clients.quotas.end_hls(Instant::now().into_std());
    let finish = async {
        tokio::join!(pushed, node.outputs.finish());
        // Of what was finished as well.
        node.hooks.until_told().await;
    };
    if timeout_at(deadline.min(Instant::now() + LAST_WORDS), finish).await.is_err() {
        warn!("the end of what was pushed to origins, written or told to back ends is lost");
    }
    info!(seconds = seconds(start.elapsed()), clients, "drain ended");
}

/// Asks everybody to leave, and waits until they have.
async fn let_go(node: &Node, deadline: Instant) {
    let start = Instant::now();
    let time = deadline.saturating_duration_since(start);
    let late = start + time.mul_f64(VIEWERS);
    let time = time.as_secs_f64() * ASKING;
    let pace = (node.clients.roster.count() as f64 / time.max(TICK.as_secs_f64()))
        .max(CLIENTS_A_SECOND_MIN);
    let mut asked = 0;
    node.clients.roster.begin_to_ask(node.edge.is_some());
    loop {
        let due = (start.elapsed().as_secs_f64() * pace) as usize + 1;
        let here = node.clients.roster.count();
        if here == 0 {
            return;
        }
        let is_late = Instant::now() >= late;
        let count = due.saturating_sub(asked);
        let next = node.clients.roster.next(|queue| match &node.edge {
            Some(_) => next_of_edge(queue, count),
            None => next_of_origin(queue, count, here, is_late),
        });
        asked += next.len();
        next.iter().for_each(|presence| presence.ask_to_leave(Farewell::Draining));
        if !next.is_empty() {
            node.delivery.shards.look();
        }
        tokio::select! {
            () = sleep(TICK) => {}
            () = until_empty(&node.clients.roster) => {}
        }
    }
}

async fn until_empty(roster: &Roster) {
    loop {
        let left = roster.left();
        if roster.count() == 0 {
            return;
        }
        left.await;
    }
}

/// Those who are asked next at an edge, `count` at most: viewers first, so that they are elsewhere when the publishers
/// move; then publishers, and at last those who do neither. Viewers who are still here when their publisher moves have
/// the stream from the origin then.
fn next_of_edge(queue: &mut Queue, count: usize) -> Vec<Arc<Presence>> {
    if queue.has_viewers() {
        return queue.take_viewers(count);
    }
    if queue.has_publishers() {
        return queue.take_publishers(count);
    }
    newcomers(queue, count)
}

/// Those who are asked next at an origin, of as many as are `here`: publishers first, `count` at most, since nobody
/// else has their streams until they are there; then the viewers of streams that nobody publishes here any more, or all
/// of them when it `is_late`; and at last those who do neither.
fn next_of_origin(
    queue: &mut Queue,
    count: usize,
    here: usize,
    is_late: bool,
) -> Vec<Arc<Presence>> {
    let had_publishers = queue.has_publishers();
    let mut next = queue.take_publishers(count);
    if is_late {
        queue.release_viewers();
    }
    if queue.has_viewers() {
        next.extend(queue.take_viewers(count.max(here / ORPHANS + 1)));
        return next;
    }
    if had_publishers {
        return next;
    }
    newcomers(queue, count)
}

/// Those who have not begun anything, and have had the time to.
fn newcomers(queue: &mut Queue, count: usize) -> Vec<Arc<Presence>> {
    queue.take_idle(count, |presence| presence.since.elapsed() >= NEWCOMER)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use weir_clients::roster::{Activity, RosterEntry};
    use weir_media::{DEFAULT_VHOST, StreamKey};

    use super::*;

    fn key(stream: &str) -> Option<StreamKey> {
        StreamKey::new(DEFAULT_VHOST, "live", stream).ok()
    }

    /// One who has this number and does this with this stream of `live`.
    fn enlist(roster: &Arc<Roster>, id: u64, activity: Activity, stream: &str) -> RosterEntry {
        let enlisted = roster.enlist(id, "rtmp", ([127, 0, 0, 1], 1).into());
        enlisted.turns_to(activity, key(stream).as_ref());
        enlisted
    }

    fn roster<const N: usize>(
        is_edge: bool,
        all: [(u64, Activity, &str); N],
    ) -> (Arc<Roster>, [RosterEntry; N]) {
        let roster = Arc::<Roster>::default();
        let all = all.map(|(id, activity, stream)| enlist(&roster, id, activity, stream));
        roster.begin_to_ask(is_edge);
        (roster, all)
    }

    /// Asks these; their numbers.
    fn ask(next: &[Arc<Presence>]) -> Vec<u64> {
        next.iter().for_each(|presence| presence.ask_to_leave(Farewell::Draining));
        next.iter().map(|presence| presence.id).collect()
    }

    const NOBODY: [u64; 0] = [];

    #[test]
    fn at_an_edge_viewers_leave_before_publishers() {
        let (roster, all) = roster(
            true,
            [
                (1, Activity::Publish, "a"),
                (2, Activity::Play, "a"),
                (3, Activity::Play, "a"),
                (4, Activity::Control, ""),
            ],
        );
        let next = |count| ask(&roster.next(|queue| next_of_edge(queue, count)));
        assert_eq!(next(0), NOBODY);
        assert_eq!(next(1), [2]);
        assert_eq!(next(5), [3]);
        assert_eq!(next(5), [1]);
        assert_eq!(next(5), NOBODY, "who has just come is left alone");
        drop(all);
    }

    fn next_of_origin_of(roster: &Roster, count: usize, is_late: bool) -> Vec<u64> {
        let here = roster.count();
        ask(&roster.next(|queue| next_of_origin(queue, count, here, is_late)))
    }

    #[test]
    fn at_an_origin_viewers_follow_their_publishers() {
        let (roster, [a, _viewer, _b, _late, _other, _new]) = roster(
            false,
            [
                (1, Activity::Publish, "a"),
                (2, Activity::Play, "a"),
                (3, Activity::Publish, "b"),
                (4, Activity::Play, "b"),
                (5, Activity::Play, "nobody's"),
                (6, Activity::Control, ""),
            ],
        );
        let next = |count, is_late| next_of_origin_of(&roster, count, is_late);
        assert_eq!(next(1, false), [1, 5]);
        assert_eq!(next(5, false), [3]);
        assert_eq!(next(5, false), NOBODY, "the publishers are still here");
        drop(a);
        assert_eq!(next(5, false), [2]);
        assert_eq!(next(5, true), [4], "one whose publisher does not go");
        assert_eq!(next(5, true), NOBODY, "who has just come is left alone");
    }

    #[test]
    fn those_who_change_their_minds_while_everybody_leaves_are_found() {
        let (roster, [publisher, viewer, idle, kicked]) = roster(
            false,
            [
                (1, Activity::Publish, "a"),
                (2, Activity::Play, "a"),
                (3, Activity::Control, ""),
                (4, Activity::Play, "nobody's"),
            ],
        );
        let next = |count| next_of_origin_of(&roster, count, false);
        kicked.ask_to_leave(Farewell::Kicked);
        assert_eq!(next(5), [1], "who is kicked is not asked again");
        idle.turns_to(Activity::Play, key("b").as_ref());
        let late = enlist(&roster, 5, Activity::Play, "b");
        assert_eq!(next(5), [3, 5]);
        assert_eq!(next(5), NOBODY);
        publisher.turns_to(Activity::Control, None);
        assert_eq!(next(5), [2], "its viewers need not wait any more");
        viewer.turns_to(Activity::Control, None);
        late.turns_to(Activity::Publish, key("c").as_ref());
        assert_eq!(next(5), NOBODY, "nobody is asked twice");
    }

    /// The longest wait of a drain: viewers whose publisher does not go. 1,000 looks are 50 s of it.
    #[test]
    fn a_look_costs_what_it_finds_and_not_what_is_here() {
        let roster = Arc::<Roster>::default();
        let publisher = enlist(&roster, 0, Activity::Publish, "a");
        let viewers: Vec<_> =
            (1..=10_000).map(|id| enlist(&roster, id, Activity::Play, "a")).collect();
        roster.begin_to_ask(false);
        assert_eq!(next_of_origin_of(&roster, 1, false), [0]);
        let began = Instant::now();
        for _ in 0..1000 {
            assert_eq!(next_of_origin_of(&roster, 100, false), NOBODY);
        }
        let took = began.elapsed();
        println!("1,000 looks at 10,000 clients: {took:?}");
        assert!(took < Duration::from_millis(500), "{took:?}");
        drop(publisher);
        let asked: usize = (0..9).map(|_| next_of_origin_of(&roster, 1, false).len()).sum();
        assert_eq!(asked, 9 * 1001);
        drop(viewers);
    }
}
