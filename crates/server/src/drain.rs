//! Stopping without cutting anybody off.
//!
//! ```text
//! notice: not ready any more, everybody is served   (balancers take us off their lists)
//! draining: the doors close; everybody is asked to leave, paced: at an edge viewers and then publishers, at an origin
//!           publishers and then the viewers of each, and all others at last
//!           └─► each goes at the end of a group, or by itself where it follows reconnect requests
//! the end: nobody is left, or drain.timeout has passed
//! ```

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{info, warn};

use crate::{
    config,
    listen::Door,
    node::Node,
    phase::Phase,
    roster::{Activity, Farewell, Presence, Roster},
};

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
pub async fn drain(node: &Arc<Node>, doors: &[Arc<Door>], settings: &config::Drain) {
    let start = Instant::now();
    let deadline = start + settings.timeout;
    node.phase.send_replace(Phase::Notice);
    info!(notice = ?settings.notice, timeout = ?settings.timeout, clients = node.roster.len(), "drain began");
    sleep_until((start + settings.notice).min(deadline)).await;
    node.phase.send_replace(Phase::Draining);
    doors.iter().for_each(|door| door.close());
    node.hls.leave_open();
    let clients = node.roster.len();
    info!(clients, "nobody new is let in; those who are here are let go");
    let enough = deadline - LAST_WORDS.min(settings.timeout / 4);
    if timeout_at(enough, let_go(node, enough)).await.is_err() {
        let left = node.roster.len();
        warn!(left, "drain.timeout has passed: those who are left are cut off");
    }
    let pushed = async {
        if let Some(edge) = &node.edge {
            edge.until_pushed().await;
        }
    };
    let finish = async { tokio::join!(pushed, node.hls.finish()) };
    if timeout_at(deadline.min(Instant::now() + LAST_WORDS), finish).await.is_err() {
        warn!("the last of what was passed on or written is lost");
    }
    info!(seconds = start.elapsed().as_secs_f32(), clients, "drain ended");
}

/// Asks everybody to leave, and waits until they have.
async fn let_go(node: &Node, deadline: Instant) {
    let start = Instant::now();
    let time = deadline.saturating_duration_since(start);
    let late = start + time.mul_f64(VIEWERS);
    let time = time.as_secs_f64() * ASKING;
    let pace = (node.roster.len() as f64 / time.max(TICK.as_secs_f64())).max(CLIENTS_A_SECOND_MIN);
    let mut asked = 0;
    loop {
        let due = (start.elapsed().as_secs_f64() * pace) as usize + 1;
        let everybody = node.roster.list();
        if everybody.is_empty() {
            return;
        }
        let is_late = Instant::now() >= late;
        let count = due.saturating_sub(asked);
        let next = match &node.edge {
            Some(_) => next_of_edge(&everybody, count),
            None => next_of_origin(&everybody, count, is_late),
        };
        asked += next.len();
        next.iter().for_each(|presence| presence.ask_to_leave(Farewell::Draining));
        if !next.is_empty() {
            node.shards.look();
        }
        tokio::select! {
            () = sleep(TICK) => {}
            () = until_empty(&node.roster) => {}
        }
    }
}

async fn until_empty(roster: &Roster) {
    loop {
        let left = roster.left();
        if roster.len() == 0 {
            return;
        }
        left.await;
    }
}

/// Those of `everybody` who are asked next at an edge, `count` at most: viewers first, so that they are elsewhere when
/// the publishers move; then publishers, and at last those who do neither. Viewers who are still here when their
/// publisher moves have the stream from the origin then.
fn next_of_edge(everybody: &[Arc<Presence>], count: usize) -> Vec<&Arc<Presence>> {
    for activity in [Activity::Play, Activity::Publish] {
        if unasked(everybody, activity).next().is_some() {
            return unasked(everybody, activity).take(count).collect();
        }
    }
    newcomers(everybody, count)
}

/// Those of `everybody` who are asked next at an origin: publishers first, `count` at most, since nobody else has their
/// streams until they are there; then the viewers of streams that nobody publishes here any more, or all of them when
/// it `is_late`; and at last those who do neither.
fn next_of_origin(everybody: &[Arc<Presence>], count: usize, is_late: bool) -> Vec<&Arc<Presence>> {
    let mut next: Vec<_> = unasked(everybody, Activity::Publish).take(count).collect();
    if unasked(everybody, Activity::Play).next().is_some() {
        let publishers = everybody.iter().filter(|it| !is_late && it.does(Activity::Publish));
        let published: HashSet<_> = publishers.filter_map(|it| it.doing().stream).collect();
        let is_orphan = |viewer: &&Arc<Presence>| {
            viewer.doing().stream.is_none_or(|stream| !published.contains(&stream))
        };
        let orphans = unasked(everybody, Activity::Play).filter(is_orphan);
        next.extend(orphans.take(count.max(everybody.len() / ORPHANS + 1)));
        return next;
    }
    if unasked(everybody, Activity::Publish).next().is_some() {
        return next;
    }
    newcomers(everybody, count)
}

fn unasked(
    everybody: &[Arc<Presence>],
    activity: Activity,
) -> impl Iterator<Item = &Arc<Presence>> {
    let stays = move |it: &&Arc<Presence>| it.does(activity) && it.farewell().is_none();
    everybody.iter().filter(stays)
}

/// Those who have not begun anything, and have had the time to.
fn newcomers(everybody: &[Arc<Presence>], count: usize) -> Vec<&Arc<Presence>> {
    let idle = unasked(everybody, Activity::Control);
    idle.filter(|presence| presence.since.elapsed() >= NEWCOMER).take(count).collect()
}

#[cfg(test)]
mod tests {
    use weir_media::{DEFAULT_VHOST, StreamKey};

    use super::*;

    /// Clients with these numbers, what they do, and with which stream of `live`.
    fn roster<const N: usize>(
        all: [(u64, Activity, &str); N],
    ) -> (Arc<Roster>, [crate::roster::Enlisted; N]) {
        let roster = Arc::<Roster>::default();
        let enlisted = all.map(|(id, activity, stream)| {
            let enlisted = roster.enlist(id, "rtmp", ([127, 0, 0, 1], 1).into());
            enlisted.note(|doing| {
                doing.activity = activity;
                doing.stream = StreamKey::new(DEFAULT_VHOST, "live", stream).ok();
            });
            enlisted
        });
        (roster, enlisted)
    }

    /// Asks these; their numbers.
    fn ask(next: &[&Arc<Presence>]) -> Vec<u64> {
        next.iter().for_each(|presence| presence.ask_to_leave(Farewell::Draining));
        next.iter().map(|presence| presence.id).collect()
    }

    const NOBODY: [u64; 0] = [];

    #[test]
    fn at_an_edge_viewers_leave_before_publishers() {
        let (roster, all) = roster([
            (1, Activity::Publish, "a"),
            (2, Activity::Play, "a"),
            (3, Activity::Play, "a"),
            (4, Activity::Control, ""),
        ]);
        let next = |count| ask(&next_of_edge(&roster.list(), count));
        assert_eq!(next(0), NOBODY);
        assert_eq!(next(1), [2]);
        assert_eq!(next(5), [3]);
        assert_eq!(next(5), [1]);
        assert_eq!(next(5), NOBODY, "who has just come is left alone");
        drop(all);
    }

    #[test]
    fn at_an_origin_viewers_follow_their_publishers() {
        let (roster, [a, _viewer, _b, _late, _other, _new]) = roster([
            (1, Activity::Publish, "a"),
            (2, Activity::Play, "a"),
            (3, Activity::Publish, "b"),
            (4, Activity::Play, "b"),
            (5, Activity::Play, "nobody's"),
            (6, Activity::Control, ""),
        ]);
        let next = |count, is_late| ask(&next_of_origin(&roster.list(), count, is_late));
        assert_eq!(next(1, false), [1, 5]);
        assert_eq!(next(5, false), [3]);
        assert_eq!(next(5, false), NOBODY, "the publishers are still here");
        drop(a);
        assert_eq!(next(5, false), [2]);
        assert_eq!(next(5, true), [4], "one whose publisher does not go");
        assert_eq!(next(5, true), NOBODY, "who has just come is left alone");
    }
}
