//! Asking several origins for one thing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Failure, Origin};

/// How long an origin may take to accept a TCP connection before the next one is asked as well. A dead machine must not
/// cost a viewer more than a blink; across a continent a connection takes 100 ms.
const CONNECT_HEAD_START: Duration = Duration::from_millis(150);

/// How long a connected origin may take to send the stream before the next one is asked as well.
const ANSWER_HEAD_START: Duration = Duration::from_secs(1);

/// How long an origin that is published to may take to connect and to answer the handshake while there are others. The
/// system connects for a process that is frozen.
const GREETING_MAX: Duration = Duration::from_secs(1);

/// Origins asked at the same time.
pub const AT_ONCE_MAX: usize = 8;

/// What an attempt at one origin is given, to be set at the first sign of life: a TCP connection where several are
/// asked side by side, the handshake's answer where the next one is asked only if this one is dead.
pub type Connected = Arc<AtomicBool>;

/// Asks `origins` for a stream, each as soon as the one before has failed or is late, and takes the first that has it.
///
/// # Errors
/// The most telling failure, when none has it.
pub async fn race<T, F>(
    origins: Vec<Arc<Origin>>,
    open: impl Fn(Arc<Origin>, Connected) -> F,
) -> Result<(Arc<Origin>, T), Failure>
where
    T: Send,
    F: Future<Output = Result<T, Failure>> + Send,
{
    let mut waiting = origins.into_iter();
    let mut running: FuturesUnordered<BoxFuture<'_, _>> = FuturesUnordered::new();
    let mut worst = None;
    let mut latest = None;
    loop {
        // Here at first, and again whenever one has failed or is late.
        if running.len() < AT_ONCE_MAX
            && let Some(origin) = waiting.next()
        {
            let connected = Connected::default();
            latest = Some((Arc::clone(&connected), Instant::now()));
            let opened = open(Arc::clone(&origin), connected);
            running.push(async move { (origin, opened.await) }.boxed());
        }
        let more = waiting.len() > 0 && running.len() < AT_ONCE_MAX;
        tokio::select! {
            Some((origin, opened)) = running.next() => {
                match opened {
                    Ok(opened) => {
                        origin.succeeded();
                        return Ok((origin, opened));
                    }
                    Err(failure) => note(&origin, failure, &mut worst),
                }
            }
            () = head_start(latest.as_ref()), if more => {}
            else => return Err(worst.unwrap_or_else(no_origin)),
        }
    }
}

/// Asks `origins` one after the other, and takes the first that accepts. An origin that refuses has decided.
///
/// # Errors
/// The refusal, or the most telling failure when none can be reached.
pub async fn in_turn<T, F>(
    origins: Vec<Arc<Origin>>,
    open: impl Fn(Arc<Origin>, Connected) -> F,
) -> Result<(Arc<Origin>, T), Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut worst = None;
    let mut origins = origins.into_iter().peekable();
    while let Some(origin) = origins.next() {
        let connected = Connected::default();
        let mut opened = std::pin::pin!(open(Arc::clone(&origin), Arc::clone(&connected)));
        let early = if origins.peek().is_some() {
            timeout(GREETING_MAX, &mut opened).await.ok()
        } else {
            None
        };
        let opened = match early {
            Some(opened) => opened,
            None if origins.peek().is_some() && !connected.load(Ordering::Relaxed) => {
                Err(Failure::Unreachable(format!("no handshake within {GREETING_MAX:?}")))
            }
            None => opened.await,
        };
        match opened {
            Ok(opened) => {
                origin.succeeded();
                return Ok((origin, opened));
            }
            Err(refusal @ Failure::Refused { .. }) => {
                origin.succeeded();
                return Err(refusal);
            }
            Err(failure) => note(&origin, failure, &mut worst),
        }
    }
    Err(worst.unwrap_or_else(no_origin))
}

/// Ends when the latest attempt has had its head start.
async fn head_start(latest: Option<&(Connected, Instant)>) {
    let Some((connected, since)) = latest else { return };
    sleep_until(*since + CONNECT_HEAD_START).await;
    if connected.load(Ordering::Relaxed) {
        sleep_until(*since + ANSWER_HEAD_START).await;
    }
}

/// Takes note of what an origin has said, for its health and for the one answer that counts.
pub fn note(origin: &Origin, failure: Failure, worst: &mut Option<Failure>) {
    match &failure {
        Failure::Unreachable(why) => origin.failed(why),
        Failure::Missing(_) | Failure::Busy(_) | Failure::Refused { .. } => origin.succeeded(),
    }
    let weight = |failure: &Failure| match failure {
        Failure::Unreachable(_) => 0,
        Failure::Missing(_) => 1,
        Failure::Busy(_) => 2,
        Failure::Refused { .. } => 3,
    };
    if worst.as_ref().is_none_or(|worst| weight(worst) <= weight(&failure)) {
        *worst = Some(failure);
    }
}

/// There is nobody to ask.
pub fn no_origin() -> Failure {
    Failure::Unreachable("edge.origins has no addresses at the moment".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(number: u8) -> Arc<Origin> {
        let ports = [1935, 8080].map(|port| ([127, 0, 0, number], port).into());
        Arc::new(Origin::plain((ports[0], ports[1]), "origin"))
    }

    fn missing() -> Failure {
        Failure::Missing("no such stream".to_owned())
    }

    /// What each origin does, by the last number of its address.
    async fn act(origin: Arc<Origin>, connected: Connected) -> Result<u8, Failure> {
        let number = match origin.address.ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(_) => unreachable!("tests use IPv4"),
        };
        match number {
            1 => std::future::pending().await,
            2 => {
                connected.store(true, Ordering::Relaxed);
                std::future::pending().await
            }
            3 => Err(missing()),
            4 => Err(Failure::Unreachable("reset".to_owned())),
            5 => Err(Failure::Refused { code: "x".to_owned(), description: "no".to_owned() }),
            _ => Ok(number),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_origin_costs_its_head_start_and_a_slow_one_a_second() {
        for (first, head_start) in [(1, CONNECT_HEAD_START), (2, ANSWER_HEAD_START)] {
            let start = Instant::now();
            let (found, number) = race(vec![origin(first), origin(9)], act).await.expect("found");
            assert_eq!((found.address.ip(), number), (origin(9).address.ip(), 9));
            assert!(
                (head_start..head_start + Duration::from_millis(10)).contains(&start.elapsed())
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_costs_nothing() {
        let start = Instant::now();
        let found = race(vec![origin(3), origin(4), origin(5), origin(9)], act).await;
        assert_eq!(found.map(|found| found.1).ok(), Some(9));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn the_most_telling_failure_is_reported() {
        let failure = race(vec![origin(4), origin(3)], act).await.map(|found| found.1);
        assert!(matches!(failure, Err(Failure::Missing(_))), "{failure:?}");
        let failure = race(vec![origin(5), origin(3)], act).await.map(|found| found.1);
        assert!(matches!(failure, Err(Failure::Refused { .. })), "{failure:?}");
        let failure = race(Vec::new(), act).await.map(|found| found.1);
        assert!(matches!(failure, Err(Failure::Unreachable(_))), "{failure:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_publish_is_not_tried_elsewhere() {
        let refused =
            in_turn(vec![origin(4), origin(5), origin(9)], act).await.map(|found| found.1);
        assert!(matches!(refused, Err(Failure::Refused { .. })), "{refused:?}");
        let start = Instant::now();
        let taken = in_turn(vec![origin(1), origin(9)], act).await.map(|found| found.1);
        assert_eq!(taken.ok(), Some(9));
        assert_eq!(start.elapsed(), GREETING_MAX);
    }
}
