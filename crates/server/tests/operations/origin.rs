//! An origin that is upgraded below edges, encoders and viewers.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::interval};
use weir_testkit::{
    Weir,
    cluster::{Cluster, Ports},
    crowd::Crowd,
    dns::Dns,
    eventually,
    hls::Playlist,
    relay::Relay,
    roaming::{Roaming, RoamingEncoder},
};

use crate::{
    BINARY, DRAIN, GAP_MAX, NO_HLS, SOON, STREAMS, assert_no_gap, assert_smooth, assert_taken,
    come, drain, edge, encoders, frozen_since, go_on, report,
};

const EDGES: usize = 3;
const VIEWERS: usize = 300;

/// Between two looks at a playlist, as often as no player does.
const LOOK: Duration = Duration::from_millis(50);

/// For the next segment of two seconds to be there, and another one for the playlist to be sure.
const GROW_MAX: Duration = Duration::from_secs(6);

/// HLS with short segments.
const HLS: &str = "hls: { segment: 1s }\n";

/// Edges with an encoder each and viewers of all streams, directly and not through a balancer: nobody is to move.
struct Scene {
    edges: Vec<Weir>,
    encoders: Vec<RoamingEncoder>,
    roaming: Roaming,
    _ports: Vec<Ports>,
}

impl Scene {
    /// Edges that know the origins by these lists of addresses, in turn.
    async fn begin(cluster: &Cluster, origins: &[Vec<String>], keys: &str) -> Self {
        let ports: Vec<_> = (0..EDGES).map(|_| Ports::free()).collect();
        let edges: Vec<_> = ports
            .iter()
            .zip(origins.iter().cycle())
            .map(|(ports, origins)| edge(cluster, origins, keys, DRAIN, ports).start())
            .collect();
        let at = |number: usize| &edges[number % EDGES];
        let encoders = encoders(|number| at(number).rtmp(), false).await;
        let mut roaming = Roaming::new();
        for edge in &edges {
            let here = [edge.rtmp(), edge.http()];
            come(&mut roaming, VIEWERS / EDGES, here, Duration::from_secs(3));
        }
        let scene = Self { edges, encoders, roaming, _ports: ports };
        go_on(&scene.roaming, &scene.encoders, 30).await;
        scene.assert_undisturbed();
        scene
    }

    /// Requires that nobody was disconnected, ever.
    #[track_caller]
    fn assert_undisturbed(&self) {
        assert_smooth(&self.roaming);
        self.roaming.assert_all("no viewer is disconnected", |journey| journey.moves() == 0);
        assert_taken(&self.encoders);
        for encoder in &self.encoders {
            let voyage = encoder.voyage();
            assert!(voyage.departures.is_empty(), "no encoder is disconnected: {voyage:?}");
        }
        assert_eq!(self.edges.len(), EDGES);
    }

    /// The longest that any viewer saw nothing new after `since`.
    fn longest_freeze(&self, since: Instant) -> Duration {
        let journeys = self.roaming.journeys();
        journeys.iter().map(|journey| frozen_since(journey, since)).max().unwrap_or_default()
    }
}

/// Looks at a playlist again and again.
pub struct HlsWatch {
    seen: Arc<Mutex<HlsSeen>>,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug, Default)]
pub struct HlsSeen {
    looks: usize,
    /// The sequence number of the newest segment, and when it came.
    newest: Option<(u64, Instant)>,
    first: u64,
    longest_pause: Duration,
    fault: Option<String>,
}

impl HlsWatch {
    /// Looks at the playlist in this file, which exists.
    fn start(playlist: PathBuf) -> Self {
        let seen = Arc::new(Mutex::new(HlsSeen::default()));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut looks = interval(LOOK);
            loop {
                looks.tick().await;
                let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(fault) = seen.look(&playlist) {
                    seen.fault.get_or_insert(fault);
                }
            }
        });
        Self { seen, task }
    }

    pub fn seen(&self) -> HlsSeen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for `more` segments that are newer than those that are there now.
    pub async fn grows(&self, more: u64) {
        let before = self.newest();
        eventually("new segments", SOON, async || (self.newest() >= before + more).then_some(()))
            .await;
    }

    fn newest(&self) -> u64 {
        self.seen().newest.map(|(number, _)| number).unwrap_or_default()
    }

    /// Requires that it was there and right at each look; returns what there is to tell.
    #[track_caller]
    pub fn assert_alive(&self) -> String {
        let seen = self.seen();
        assert_eq!(seen.fault, None, "{seen:?}");
        format!(
            "HLS: {} looks at the playlist, newest segment {} to {}, longest without a new one {:.1} s",
            seen.looks,
            seen.first,
            self.newest(),
            seen.longest_pause.as_secs_f64()
        )
    }
}

impl Drop for HlsWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HlsSeen {
    fn look(&mut self, path: &PathBuf) -> Result<(), String> {
        self.looks += 1;
        let text = fs::read_to_string(path).map_err(|error| format!("the playlist: {error}"))?;
        let playlist = Playlist::parse(&text);
        if playlist.ended {
            return Err(format!("the playlist has an end:\n{text}"));
        }
        let folder = path.parent().map(PathBuf::from).unwrap_or_default();
        // The oldest one may go while we look.
        for segment in playlist.segments.iter().skip(1) {
            let file = folder.join(&segment.uri);
            if !fs::metadata(&file).is_ok_and(|data| data.len() > 0) {
                return Err(format!("{} is not there, but in\n{text}", segment.uri));
            }
        }
        let newest = playlist.media_sequence + playlist.segments.len() as u64;
        let now = Instant::now();
        match self.newest {
            Some((before, _)) if newest < before => {
                return Err(format!("after segment {before} the newest is {newest}:\n{text}"));
            }
            Some((before, _)) if newest == before => {}
            Some((_, since)) => {
                self.longest_pause = self.longest_pause.max(now - since);
                self.newest = Some((newest, now));
            }
            None => (self.first, self.newest) = (newest, Some((newest, now))),
        }
        Ok(())
    }
}

/// Waits until the origin writes HLS of the first stream, and looks at it from then on.
pub async fn watch_hls(origin: &Weir) -> HlsWatch {
    let playlist = origin.dir().join(format!("data/hls/{}.m3u8", STREAMS[0]));
    eventually("a playlist", SOON, async || playlist.exists().then_some(())).await;
    let watch = HlsWatch::start(playlist);
    eventually("a look at the playlist", SOON, async || watch.seen().newest).await;
    watch
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_is_restarted_and_nobody_is_disconnected() {
    let cluster = Cluster::new(BINARY);
    let mut origin = cluster.origin(1, &format!("{HLS}{DRAIN}"));
    let address = vec![origin.rtmp().to_string()];
    let scene = Scene::begin(&cluster, &[address], "").await;
    let hls = watch_hls(&origin).await;
    hls.grows(2).await;

    let drained = drain(&mut origin);
    tokio::task::block_in_place(|| origin.restart());
    let listens = Instant::now();
    go_on(&scene.roaming, &scene.encoders, 20).await;
    hls.grows(3).await;

    let freeze = scene.longest_freeze(listens);
    report("the only origin restarted", &scene.roaming, &scene.encoders);
    eprintln!(
        "origin: drained in {:.1} s; nothing new for {} ms at most after the new one listened",
        drained.time().as_secs_f64(),
        freeze.as_millis()
    );
    eprintln!("{}", hls.assert_alive());
    scene.assert_undisturbed();
    assert!(freeze <= GAP_MAX, "a viewer was frozen for {freeze:?} after the new origin listened");
    let pause = hls.seen().longest_pause;
    assert!(pause <= drained.time() + GROW_MAX, "no new segment for {pause:?}");
}

/// The new origin is asked for streams before their encoders have found it.
#[tokio::test(flavor = "multi_thread")]
async fn pulls_that_reach_the_new_origin_before_the_encoders_harm_nothing() {
    let cluster = Cluster::new(BINARY);
    let mut origin = cluster.origin(1, &format!("{HLS}{DRAIN}"));
    // The first edge, where the first stream is published, reaches the origin through a relay.
    let relay = Relay::start(origin.rtmp()).await;
    let direct = origin.rtmp().to_string();
    let origins = [vec![relay.address().to_string()], vec![direct.clone()], vec![direct]];
    let scene = Scene::begin(&cluster, &origins, "").await;
    let hls = watch_hls(&origin).await;
    hls.grows(2).await;

    drain(&mut origin);
    relay.hold();
    tokio::task::block_in_place(|| origin.restart());
    let mut early = Crowd::new();
    early.join(&origin, STREAMS[0], 4, Duration::ZERO);
    let key = format!("/{}", STREAMS[0]);
    // The other streams are back, so that the edges have asked for this one too.
    eventually("the other streams at the new origin", SOON, async || {
        let back = |stream: &&str| origin.sessions("publish", &format!("/{stream}")).open() == 1;
        STREAMS[1..].iter().all(back).then_some(())
    })
    .await;
    assert_eq!(origin.sessions("publish", &key).began, 0, "the first stream is held back");
    relay.release();
    let released = Instant::now();
    go_on(&scene.roaming, &scene.encoders, 20).await;
    let newest = scene.encoders[0].voyage().next;
    early.until_picture(newest, SOON).await;
    early.assert_undisturbed();
    hls.grows(3).await;

    let freeze = scene.longest_freeze(released);
    report("pulls before the encoder at a new origin", &scene.roaming, &scene.encoders);
    eprintln!("nothing new for {} ms at most after the push came through", freeze.as_millis());
    eprintln!("{}", hls.assert_alive());
    scene.assert_undisturbed();
    assert_eq!(origin.sessions("publish", &key).open(), 1);
}

/// A new origin is up beside the old one before that is asked to stop, as with `maxSurge`, or the pods of a
/// StatefulSet: nobody is without something new for more than a second at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_origin_beside_the_old_one_takes_everything_over() {
    const NAME: &str = "origins.test";
    let (cluster, dns) = (Cluster::new(BINARY), Dns::start().await);
    let config = format!("{NO_HLS}{DRAIN}");
    let mut old = cluster.origin(1, &config);
    dns.set(NAME, vec![Cluster::ip(1)]);
    let keys = format!("resolvers: [\"{}\"]", dns.address());
    let name = vec![cluster.origin_at(NAME)];
    let scene = Scene::begin(&cluster, &[name], &keys).await;

    let new = cluster.origin(2, &config);
    dns.set(NAME, vec![Cluster::ip(1), Cluster::ip(2)]);
    let questions = dns.questions();
    // Every edge has asked again.
    dns.asked(questions + 2 * EDGES).await;
    go_on(&scene.roaming, &scene.encoders, 10).await;
    let drained = drain(&mut old);
    dns.set(NAME, vec![Cluster::ip(2)]);
    go_on(&scene.roaming, &scene.encoders, 20).await;

    report("a new origin beside the old one", &scene.roaming, &scene.encoders);
    eprintln!("origin: drained in {:.1} s", drained.time().as_secs_f64());
    scene.assert_undisturbed();
    assert_no_gap(&scene.roaming);
    for stream in STREAMS {
        let publishes = new.sessions("publish", &format!("/{stream}"));
        assert_eq!(publishes.open(), 1, "{stream} is published at the new origin, once");
    }
}
