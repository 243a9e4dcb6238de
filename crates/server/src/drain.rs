//! Stopping without cutting anybody off.
//!
//! ```text
//! notice: not ready any more, everybody is served   (balancers take us off their lists)
//! draining: the doors close; viewers, then publishers, then all others are asked to leave, paced
//!           └─► each goes at the end of a group, or by itself where it follows reconnect requests
//! the end: nobody is left, or drain.timeout has passed
//! ```

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{info, warn};

use crate::{
    config,
    listen::Door,
    node::Node,
    phase::Phase,
    roster::{Activity, Farewell, Presence},
};

/// Between two looks at who is asked next.
const TICK: Duration = Duration::from_millis(50);

/// Clients that are asked to leave in a second, at least: with fewer of them the pace protects nobody.
const CLIENTS_A_SECOND_MIN: f64 = 50.0;

/// The part of the time there is in which everybody is asked: the rest is for those who are slow to go.
const ASKING: f64 = 0.5;

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
    let time = deadline.saturating_duration_since(start).as_secs_f64() * ASKING;
    let pace = (node.roster.len() as f64 / time.max(TICK.as_secs_f64())).max(CLIENTS_A_SECOND_MIN);
    let mut asked = 0;
    loop {
        let due = (start.elapsed().as_secs_f64() * pace) as usize + 1;
        let everybody = node.roster.list();
        if everybody.is_empty() {
            return;
        }
        let next = next_to_leave(&everybody, due.saturating_sub(asked));
        asked += next.len();
        next.iter().for_each(|presence| presence.ask_to_leave(Farewell::Draining));
        if !next.is_empty() {
            node.shards.look();
        }
        tokio::select! {
            () = sleep(TICK) => {}
            // The last one has perhaps gone.
            () = node.roster.left(), if next.is_empty() => {}
        }
    }
}

/// Those of `everybody` who are asked next, `count` at most: viewers first, so that they are elsewhere when the
/// publishers move; then publishers, and at last those who do neither.
fn next_to_leave(everybody: &[Arc<Presence>], count: usize) -> Vec<&Arc<Presence>> {
    let here = |activity| {
        let stays = move |presence: &&Arc<Presence>| {
            presence.does(activity) && presence.farewell().is_none()
        };
        everybody.iter().filter(stays)
    };
    for activity in [Activity::Play, Activity::Publish] {
        let next: Vec<_> = here(activity).take(count).collect();
        if here(activity).next().is_some() {
            return next;
        }
    }
    here(Activity::Control)
        .filter(|presence| presence.since.elapsed() >= NEWCOMER)
        .take(count)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Roster;

    #[test]
    fn viewers_leave_before_publishers() {
        let roster = Arc::<Roster>::default();
        let enlist = |id, activity| {
            let enlisted = roster.enlist(id, "rtmp", ([127, 0, 0, 1], 1).into());
            enlisted.note(|doing| doing.activity = activity);
            enlisted
        };
        let all: Vec<_> = [
            (1, Activity::Publish),
            (2, Activity::Play),
            (3, Activity::Play),
            (4, Activity::Control),
        ]
        .map(|(id, activity)| enlist(id, activity))
        .into();
        let next = |count| {
            let everybody = roster.list();
            let next = next_to_leave(&everybody, count);
            next.iter().for_each(|presence| presence.ask_to_leave(Farewell::Draining));
            next.iter().map(|presence| presence.id).collect::<Vec<_>>()
        };
        assert_eq!(next(0), [] as [u64; 0]);
        assert_eq!(next(1), [2]);
        assert_eq!(next(5), [3]);
        assert_eq!(next(5), [1]);
        assert_eq!(next(5), [] as [u64; 0], "who has just come is left alone");
        drop(all);
    }
}
