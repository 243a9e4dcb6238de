//! Stopping without cutting anybody off.
//!
//! ```text
//! notice: not ready any more, everybody is served   (balancers take us off their lists)
//! draining: the doors close; viewers, then publishers, then all others are asked to leave, paced
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

/// The part of the time there is until publishers are asked whose viewers are still here: whatever those wait for, the
/// publishers must get away in time.
const PUBLISHERS: f64 = 0.75;

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
    if timeout_at(deadline, let_go(node, deadline)).await.is_err() {
        let left = node.roster.len();
        warn!(left, "drain.timeout has passed: those who are left are cut off");
    }
    let finish = async {
        if let Some(edge) = &node.edge {
            edge.until_pushed().await;
        }
        node.hls.finish().await;
    };
    if timeout_at(deadline.max(Instant::now()).min(Instant::now() + LAST_WORDS), finish)
        .await
        .is_err()
    {
        warn!("the last of what was passed on or written is lost");
    }
    info!(seconds = start.elapsed().as_secs_f32(), clients, "drain ended");
}

/// Asks everybody to leave, and waits until they have.
async fn let_go(node: &Node, deadline: Instant) {
    let start = Instant::now();
    let time = deadline.saturating_duration_since(start);
    let late = start + time.mul_f64(PUBLISHERS);
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
        let next = next_to_leave(&everybody, due.saturating_sub(asked), is_late);
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

/// Those of `everybody` who are asked next, `count` at most: viewers first, so that they are elsewhere when the
/// publishers move; then publishers, and at last those who do neither.
///
/// A publisher takes with it the group at whose beginning its viewers leave. So it is asked once nobody plays its
/// stream here any more, or when it `is_late`.
fn next_to_leave(everybody: &[Arc<Presence>], count: usize, is_late: bool) -> Vec<&Arc<Presence>> {
    let here = |activity| {
        let stays = move |presence: &&Arc<Presence>| {
            presence.does(activity) && presence.farewell().is_none()
        };
        everybody.iter().filter(stays)
    };
    let viewers: Vec<_> = here(Activity::Play).take(count).collect();
    if here(Activity::Play).next().is_some() {
        return viewers;
    }
    if here(Activity::Publish).next().is_some() {
        let played = everybody.iter().filter(|it| !is_late && it.does(Activity::Play));
        let played: HashSet<_> = played.filter_map(|viewer| viewer.doing().stream).collect();
        let is_free = |presence: &&Arc<Presence>| {
            presence.doing().stream.is_none_or(|stream| !played.contains(&stream))
        };
        return here(Activity::Publish).filter(is_free).take(count).collect();
    }
    here(Activity::Control)
        .filter(|presence| presence.since.elapsed() >= NEWCOMER)
        .take(count)
        .collect()
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

    /// The numbers of those who are asked next.
    fn next(roster: &Roster, count: usize, is_late: bool) -> Vec<u64> {
        let everybody = roster.list();
        let next = next_to_leave(&everybody, count, is_late);
        next.iter().for_each(|presence| presence.ask_to_leave(Farewell::Draining));
        next.iter().map(|presence| presence.id).collect()
    }

    const NOBODY: [u64; 0] = [];

    #[test]
    fn viewers_leave_before_publishers() {
        let (roster, all) = roster([
            (1, Activity::Publish, "a"),
            (2, Activity::Play, "a"),
            (3, Activity::Play, "a"),
            (4, Activity::Control, ""),
        ]);
        assert_eq!(next(&roster, 0, false), NOBODY);
        assert_eq!(next(&roster, 1, false), [2]);
        assert_eq!(next(&roster, 5, false), [3]);
        assert_eq!(next(&roster, 5, false), NOBODY, "they are still here");
        drop(all);
    }

    #[test]
    fn a_publisher_stays_until_its_viewers_have_gone_but_not_for_ever() {
        let (roster, [_a, viewer, _b, late, _c]) = roster([
            (1, Activity::Publish, "a"),
            (2, Activity::Play, "a"),
            (3, Activity::Publish, "b"),
            (4, Activity::Play, "c"),
            (5, Activity::Publish, "c"),
        ]);
        assert_eq!(next(&roster, 5, false), [2, 4]);
        assert_eq!(next(&roster, 5, false), [3], "nobody plays what it publishes");
        assert_eq!(next(&roster, 5, false), NOBODY);
        drop(viewer);
        assert_eq!(next(&roster, 5, false), [1]);
        assert_eq!(next(&roster, 5, true), [5]);
        drop(late);
    }

    #[test]
    fn who_has_just_come_is_left_alone() {
        let (roster, _all) = roster([(1, Activity::Publish, "a"), (2, Activity::Control, "")]);
        assert_eq!(next(&roster, 5, false), [1]);
        assert_eq!(next(&roster, 5, false), NOBODY);
    }
}
