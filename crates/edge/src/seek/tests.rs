use std::sync::{Mutex, PoisonError};

use tokio::time::timeout;
use weir_config::{Edge, OriginName};
use weir_media::DEFAULT_VHOST;

use super::*;
use crate::origins::NextOrigins;

/// More than any of this takes, in a time that only tests pass.
const LONG: Duration = Duration::from_secs(60);

/// For a moment in which nothing is to happen.
const MOMENT: Duration = Duration::from_millis(50);

fn key() -> StreamKey {
    StreamKey::new(DEFAULT_VHOST, "live", "cam").expect("a name")
}

fn origins(count: u8) -> Arc<Origins> {
    let name = |n| OriginName::rtmp(format!("10.0.0.{n}"), 1935);
    let settings = Edge { origins: (1..=count).map(name).collect(), ..Edge::default() };
    Origins::start(&settings).expect("addresses need no name servers")
}

/// What the origins do, and what they have been asked.
#[derive(Default)]
struct Script {
    /// Those that have the stream from this moment on.
    live: Mutex<Vec<(SocketAddr, Instant)>>,
    /// Those that do not answer at all.
    silent: Mutex<Vec<SocketAddr>>,
    asked: Mutex<Vec<(SocketAddr, Duration)>>,
}

impl Script {
    fn asked(&self, origin: &Origin) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|(address, _)| *address == origin.address).count()
    }

    fn begins(&self, origin: &Origin, after: Duration) {
        self.live.lock().expect("one test").push((origin.address, Instant::now() + after));
    }

    /// An origin that holds questions.
    async fn open(&self, origin: Arc<Origin>, wait: Duration) -> Result<SocketAddr, Failure> {
        self.asked.lock().expect("one test").push((origin.address, wait));
        if self.silent.lock().expect("one test").contains(&origin.address) {
            return std::future::pending().await;
        }
        let asked = Instant::now();
        loop {
            let live = self.live.lock().expect("one test").clone();
            let begins = live.iter().find(|(address, _)| *address == origin.address);
            match begins {
                Some((address, since)) if *since <= Instant::now() => return Ok(*address),
                _ if asked.elapsed() >= wait => {
                    return Err(Failure::Missing("no such stream".to_owned()));
                }
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }
}

async fn found(
    origins: &Origins,
    script: &Script,
    is_urgent: bool,
) -> Result<(SocketAddr, Duration), Failure> {
    let held = Semaphore::new(8);
    let key = key();
    let seek = Seek { origins, key: &key, held: &held, is_urgent };
    let start = Instant::now();
    let found = timeout(LONG, seek.run(|origin, wait| script.open(origin, wait)));
    let (_, address) = found.await.expect("an answer")?;
    Ok((address, start.elapsed()))
}

#[tokio::test(start_paused = true)]
async fn whoever_has_it_next_is_heard_at_once() {
    for has_it in 0..3 {
        let (origins, script) = (origins(3), Script::default());
        let order = origins.order(&key());
        script.begins(&order[has_it], Duration::from_millis(1234));
        let (address, after) = found(&origins, &script, true).await.expect("found");
        assert_eq!(address, order[has_it].address);
        assert!(after < Duration::from_millis(1234) + MOMENT, "after {after:?}");
        for origin in order {
            assert_eq!(script.asked(&origin), 2, "asked once, and held: {origin}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_says_nothing_holds_nobody_up() {
    let (origins, script) = (origins(3), Script::default());
    let order = origins.order(&key());
    script.silent.lock().expect("one test").push(order[0].address);
    script.begins(&order[2], Duration::from_secs(1));
    let (_, after) = found(&origins, &script, true).await.expect("found");
    assert!(after < Duration::from_secs(1) + MOMENT, "after {after:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_has_failed_is_not_waited_for_and_asked_when_it_is_back() {
    let (origins, script) = (origins(2), Script::default());
    let order = origins.order(&key());
    let story = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        order[0].failed("silent");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = script.asked(&order[0]);
        assert_eq!(before, 2, "nobody asks it while it is dead");
        script.begins(&order[0], Duration::ZERO);
        order[0].succeeded();
        std::future::pending::<()>().await;
    };
    let (address, after) = tokio::select! {
        found = found(&origins, &script, true) => found.expect("found"),
        () = story => unreachable!("it never ends"),
    };
    assert_eq!(address, order[0].address);
    assert!(after < Duration::from_secs(2) + MOMENT, "after {after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_others_have_found_is_asked_for_at_once() {
    let (origins, script) = (origins(2), Script::default());
    let order = origins.order(&key());
    let story = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        script.begins(&order[1], Duration::ZERO);
        origins.found(&key(), &order[1]);
        std::future::pending::<()>().await;
    };
    // Nobody is in a hurry: without that it would be found at the next round only.
    let (address, after) = tokio::select! {
        found = found(&origins, &script, false) => found.expect("found"),
        () = story => unreachable!("it never ends"),
    };
    assert_eq!(address, order[1].address);
    assert!(after < Duration::from_millis(300) + MOMENT, "after {after:?}");
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_is_added_is_asked_at_once() {
    let (origins, script) = (origins(1), Script::default());
    let all = self::origins(2).order(&key());
    let added = all.iter().find(|origin| !origins.has(origin)).expect("one is new");
    let story = async {
        tokio::time::sleep(Duration::from_millis(3300)).await;
        script.begins(added, Duration::ZERO);
        let name = |n| OriginName::rtmp(format!("10.0.0.{n}"), 1935);
        let settings = Edge { origins: (1..=2).map(name).collect(), ..Edge::default() };
        origins.follow(NextOrigins::new(&settings).expect("addresses"));
        std::future::pending::<()>().await;
    };
    let (address, after) = tokio::select! {
        found = found(&origins, &script, true) => found.expect("found"),
        () = story => unreachable!("it never ends"),
    };
    assert_eq!(address, added.address);
    assert!(after < Duration::from_millis(3300) + MOMENT, "after {after:?}");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_in_a_hurry_costs_few_questions() {
    let (origins, script) = (origins(3), Script::default());
    let order = origins.order(&key());
    let failure = found(&origins, &script, false).await.expect_err("nobody has it");
    assert!(matches!(failure, Failure::Missing(_)), "{failure:?}");
    assert_eq!(script.asked(&order[0]), 1, "the owner holds the question");
    assert_eq!((script.asked(&order[1]), script.asked(&order[2])), (4, 4), "every two seconds");
}

#[tokio::test(start_paused = true)]
async fn without_an_origin_there_is_nothing_to_wait_for() {
    let (origins, script) = (origins(0), Script::default());
    for is_urgent in [true, false] {
        let failure = found(&origins, &script, is_urgent).await.expect_err("nobody is there");
        assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");
    }
}
