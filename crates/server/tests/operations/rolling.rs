//! Edges that are restarted one after the other behind a load balancer, while hundreds watch.

use std::time::{Duration, Instant};

use weir_testkit::{
    Weir,
    cluster::{Cluster, Ports},
    haproxy::Haproxy,
    roaming::{Roaming, RoamingEncoder},
};

use crate::{
    BINARY, DRAIN, Drained, NO_HLS, assert_no_gap, assert_smooth, assert_taken, come, drain, edge,
    encoders, go_on, is_let_go, report,
};

const EDGES: usize = 3;
const VIEWERS: usize = 300;

/// Those who are let go do not go all at once: over this time at least,
const SPREAD_MIN: Duration = Duration::from_secs(1);

/// and not more than this part of them within a tenth of a second. They leave at the ends of groups, which the viewers
/// of one stream have in common.
const AT_ONCE: Duration = Duration::from_millis(100);
const AT_ONCE_MAX: f64 = 0.5;

/// Until a client has heard that its server has closed the connection.
const HEARD: Duration = Duration::from_secs(1);

/// Until the balancer has noticed that a server is there again.
const NOTICE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn edges_are_restarted_and_nobody_notices() {
    let cluster = Cluster::new(BINARY);
    let origin = cluster.origin(1, NO_HLS);
    let address = [origin.rtmp().to_string()];
    let ports = [(); EDGES].map(|()| Ports::free());
    let mut edges =
        ports.each_ref().map(|ports| edge(&cluster, &address, "", DRAIN, ports).start());
    let haproxy = Haproxy::start(&edges.each_ref()).await;
    for number in 0..EDGES {
        haproxy.until(number, true, NOTICE).await;
    }
    // One of the encoders follows reconnect requests.
    let encoders = encoders(|_| haproxy.rtmp(), true).await;
    let mut roaming = Roaming::new();
    let balancer = [haproxy.rtmp(), haproxy.http()];
    come(&mut roaming, VIEWERS, balancer, Duration::from_secs(4));
    go_on(&roaming, &encoders, 30).await;
    assert_smooth(&roaming);

    let mut drains = Vec::new();
    for (number, edge) in edges.iter_mut().enumerate() {
        drains.push(restart(edge, number, &haproxy).await);
        go_on(&roaming, &encoders, 20).await;
    }
    report("three edges restarted behind haproxy", &roaming, &encoders);
    for (number, drained) in drains.iter().enumerate() {
        let leaves = leaves(&roaming, drained);
        let (count, spread) = (leaves.len(), spread(&leaves));
        let most = most_at_once(&leaves);
        eprintln!(
            "edge {number}: drained in {:.1} s, {count} viewers let go over {:.1} s, {most} within 100 ms",
            drained.time().as_secs_f64(),
            spread.as_secs_f64()
        );
    }
    assert_smooth(&roaming);
    assert_no_gap(&roaming);
    assert_taken(&encoders);
    assert_moves(&roaming, &encoders, &drains);
    for drained in &drains {
        assert_paced(&leaves(&roaming, drained));
    }
}

/// Stops an edge, and starts it again at the same place.
async fn restart(edge: &mut Weir, number: usize, haproxy: &Haproxy) -> Drained {
    let drained = drain(edge);
    tokio::task::block_in_place(|| edge.restart());
    haproxy.until(number, true, NOTICE).await;
    drained
}

/// When viewers left, in order.
fn leaves(roaming: &Roaming, drained: &Drained) -> Vec<Instant> {
    let mut leaves: Vec<_> =
        roaming.journeys().iter().flat_map(|journey| journey.departures.clone()).collect();
    leaves.retain(|(at, _)| (drained.from..=drained.to + HEARD).contains(at));
    leaves.sort_unstable_by_key(|(at, _)| *at);
    leaves.into_iter().map(|(at, _)| at).collect()
}

fn spread(leaves: &[Instant]) -> Duration {
    match leaves {
        [first, .., last] => *last - *first,
        _ => Duration::ZERO,
    }
}

fn most_at_once(leaves: &[Instant]) -> usize {
    let within = |start: &Instant| {
        leaves.iter().filter(|at| (*start..*start + AT_ONCE).contains(*at)).count()
    };
    leaves.iter().map(within).max().unwrap_or_default()
}

#[track_caller]
fn assert_paced(leaves: &[Instant]) {
    let (count, spread, most) = (leaves.len(), spread(leaves), most_at_once(leaves));
    assert!(count >= VIEWERS / EDGES / 2, "only {count} viewers were at the edge that stopped");
    assert!(spread >= SPREAD_MIN, "all {count} viewers were let go within {spread:?}");
    let max = (count as f64 * AT_ONCE_MAX) as usize;
    assert!(most <= max, "{most} of {count} viewers were let go within {AT_ONCE:?}");
}

/// Requires that everybody moved once at most for each edge, and never without one.
#[track_caller]
fn assert_moves(roaming: &Roaming, encoders: &[RoamingEncoder], drains: &[Drained]) {
    roaming.assert_all("everybody is let go by us", |it| it.departures.iter().all(is_let_go));
    for drained in drains {
        roaming.assert_all("one move for an edge", |journey| {
            journey.moves_within(drained.from, drained.to + HEARD) <= 1
        });
    }
    roaming.assert_all("no move without a restart", |journey| {
        let moves = drains.iter().map(|it| journey.moves_within(it.from, it.to + HEARD));
        moves.sum::<usize>() == journey.moves()
    });
    for encoder in encoders {
        let moves = encoder.voyage().departures;
        let of = |drained: &Drained| {
            moves.iter().filter(|(at, _)| (drained.from..=drained.to + HEARD).contains(at)).count()
        };
        assert!(drains.iter().all(|drained| of(drained) <= 1), "an encoder moved twice: {moves:?}");
    }
}
