//! Callbacks against a scripted back end: what is decided whatever it does, the order of what it hears, and crowds.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use weir_config::{Config, Settings};
use weir_hooks::{
    Action, EVENT_HEADER, Hooks, Names, Outcome, Refused, SIGNATURE_HEADER, Segment, Subject,
    Ticket, Trusts, signature,
};
use weir_media::{Budget, DEFAULT_VHOST, StreamKey, Use};
use weir_testkit::{
    backend::{Backend, Reply},
    eventually,
};

/// For the slowest machine.
const SOON: Duration = Duration::from_secs(20);

fn config(yaml: &str) -> Config {
    Config::parse(yaml, "a test").expect("a configuration")
}

fn hooks(yaml: &str) -> (Arc<Hooks>, Settings) {
    hooks_within(yaml, &Budget::unlimited())
}

fn hooks_within(yaml: &str, budget: &Budget) -> (Arc<Hooks>, Settings) {
    let settings = Settings::new(config(yaml));
    let trusts = Trusts::read(&settings.now()).expect("files");
    let names = Names { server: "a server".to_owned(), service: "a start".to_owned() };
    (Hooks::start(&settings, names, trusts, budget).expect("random bytes"), settings)
}

fn subject(id: u64) -> Subject {
    let key = StreamKey::new(DEFAULT_VHOST, "live", "cam").expect("a name");
    Subject { id, params: format!("?client={id}"), ..Subject::nobody(&key) }
}

async fn play(hooks: &Arc<Hooks>, settings: &Settings, id: u64) -> Result<Option<Ticket>, Refused> {
    let vhost = settings.vhost("any");
    timeout(SOON, hooks.play(&vhost, || subject(id))).await.expect("a decision")
}

fn count(hooks: &Hooks, action: Action, outcome: Outcome) -> u64 {
    let mut events = hooks.figures().events();
    events.find(|(a, o, _)| (*a, *o) == (action, outcome)).expect("each is counted").2
}

/// What becomes of a viewer if the back end replies like this, with `fail: closed` and `fail: open`.
async fn decided(reply: Reply) -> [Result<(), Refused>; 2] {
    let back_end = Backend::start().await;
    back_end.replies(reply);
    let mut decided = Vec::new();
    for fail in ["closed", "open"] {
        let yaml =
            format!("hooks: {{ on_play: {:?}, timeout: 1s, fail: {fail} }}\n", back_end.url());
        let (hooks, settings) = hooks(&yaml);
        decided.push(play(&hooks, &settings, 1).await.map(drop));
    }
    decided.try_into().expect("two")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_back_end_decides_holds_and_what_is_no_answer_is_as_configured() {
    let text = |status, body: &str| Reply::Text(status, body.to_owned());
    for reply in [text(200, "0"), text(200, "{\"code\":0}"), text(201, "0")] {
        assert_eq!(decided(reply.clone()).await, [Ok(()), Ok(())], "{reply:?}");
    }
    for reply in [text(200, "{\"code\":1}"), text(200, "1"), text(403, ""), text(401, "0")] {
        let [closed, open] = decided(reply.clone()).await;
        let is_no = |it: &Result<(), Refused>| matches!(it, Err(Refused::No(_)));
        assert!(is_no(&closed) && is_no(&open), "{reply:?}: {closed:?} {open:?}");
    }
    let elsewhere = Backend::start().await;
    let late = Reply::Later(Duration::from_secs(10), Box::new(text(200, "0")));
    for reply in [
        text(500, "0"),
        text(404, "0"),
        text(200, "garbage"),
        text(200, ""),
        Reply::Redirect(elsewhere.url()),
        Reply::Huge,
        Reply::Trickle,
        Reply::Never,
        Reply::Close,
        late,
    ] {
        let [closed, open] = decided(reply.clone()).await;
        let Err(why @ Refused::Silent(_)) = closed else { panic!("{reply:?}: {closed:?}") };
        assert!(why.reason().contains("hooks.fail: closed"), "{}", why.reason());
        assert_eq!(open, Ok(()), "{reply:?}");
    }
    assert!(elsewhere.calls().is_empty(), "redirects are not followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_that_is_down_decides_nothing_and_is_counted() {
    let mut back_end = Backend::start().await;
    back_end.stop().await;
    let yaml = format!("hooks: {{ on_play: {:?}, timeout: 1s }}\n", back_end.url());
    let (hooks, settings) = hooks(&yaml);
    let decided = play(&hooks, &settings, 1).await;
    assert!(matches!(decided, Err(Refused::Silent(_))), "{decided:?}");
    assert_eq!((hooks.failing(), hooks.figures().failures()), (1, 1));
    assert_eq!(count(&hooks, Action::Play, Outcome::Failed), 1);
    back_end.go_on().await;
    play(&hooks, &settings, 1).await.expect("it is back");
    assert_eq!((hooks.failing(), count(&hooks, Action::Play, Outcome::Accepted)), (0, 1));
    assert_eq!(hooks.figures().took().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_are_asked_in_order_and_all_must_agree() {
    let [one, two] = [Backend::start().await, Backend::start().await];
    let yaml = format!("hooks: {{ on_play: [{:?}, {:?}] }}\n", one.url(), two.url());
    let (hooks, settings) = hooks(&yaml);
    play(&hooks, &settings, 1).await.expect("both agree");
    assert_eq!((one.calls().len(), two.calls().len()), (1, 1));
    let [first, second] = [&one, &two].map(|it| it.calls()[0].field(EVENT_HEADER).to_owned());
    assert!(!first.is_empty() && first == second, "{first} {second}");
    one.replies(Reply::Text(200, "1".to_owned()));
    assert!(play(&hooks, &settings, 2).await.is_err());
    assert_eq!((one.calls().len(), two.calls().len()), (2, 1), "the second is not asked");
    one.replies(Reply::Text(200, "0".to_owned()));
    two.replies(Reply::Text(200, "1".to_owned()));
    assert!(play(&hooks, &settings, 3).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_signed_as_the_guide_says() {
    let back_end = Backend::start().await;
    let yaml = format!("hooks: {{ on_play: {:?}, secret: s3cret }}\n", back_end.url());
    let (hooks, settings) = hooks(&yaml);
    play(&hooks, &settings, 1).await.expect("it agrees");
    let call = back_end.calls().remove(0);
    let (signed, event) = (call.field(SIGNATURE_HEADER), call.field(EVENT_HEADER));
    let time = signed.strip_prefix("t=").and_then(|rest| rest.split_once(',')).expect("a time").0;
    let time = time.parse().expect("seconds");
    assert_eq!(signature("s3cret", time, event, call.text.as_bytes()), signed);
    assert_eq!(call.field("content-type"), "application/json");
    assert!(!call.text.contains("s3cret") && !format!("{:?}", call.fields).contains("s3cret"));
}

/// Each viewer's end comes behind its begin, however long that takes; with the same name at every attempt.
#[tokio::test(flavor = "multi_thread")]
async fn notices_are_tried_again_and_stay_in_order() {
    let back_end = Backend::start().await;
    let url = back_end.url();
    let (hooks, settings) =
        hooks(&format!("hooks: {{ on_play: {url:?}, on_stop: {url:?}, retry: 1m }}\n"));
    let ticket = play(&hooks, &settings, 7).await.expect("it agrees");
    back_end.replies(Reply::Text(500, String::new()));
    drop(ticket);
    let failed = back_end.until("on_stop", 2).await;
    assert_eq!(failed[0].field(EVENT_HEADER), failed[1].field(EVENT_HEADER));
    // What the same client asks next waits behind that.
    let asked = {
        let (hooks, settings) = (Arc::clone(&hooks), settings.clone());
        tokio::spawn(async move { play(&hooks, &settings, 7).await })
    };
    // Another one does not.
    play(&hooks, &settings, 8).await.expect_err("it answers nothing");
    assert_eq!(back_end.of("on_play").len(), 2, "of 7 the first one, and that of 8");
    back_end.replies(Reply::Text(200, "0".to_owned()));
    asked.await.expect("no panic").expect("it agrees again");
    let of_seven = back_end.calls().into_iter().filter(|call| call.said("client_id") == "7");
    let actions: Vec<_> = of_seven.map(|call| call.said("action").to_owned()).collect();
    assert!(actions.starts_with(&["on_play".to_owned(), "on_stop".to_owned()]), "{actions:?}");
    assert_eq!(
        actions.iter().rposition(|it| it == "on_play"),
        Some(actions.len() - 1),
        "{actions:?}"
    );
    back_end.assert_contract();
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_are_given_up_in_the_end() {
    let back_end = Backend::start().await;
    back_end.replies(Reply::Text(500, String::new()));
    let (hooks, settings) =
        hooks(&format!("hooks: {{ on_stop: {:?}, retry: 0s }}\n", back_end.url()));
    drop(play(&hooks, &settings, 1).await.expect("nobody is asked"));
    timeout(SOON, hooks.until_told()).await.expect("given up");
    assert_eq!(back_end.calls().len(), 1);
    assert_eq!(count(&hooks, Action::Stop, Outcome::Failed), 1);
}

/// Who has gone before the answer is told of as gone; and of a publish that comes to nothing nothing is told.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_it_waits_is_told_of() {
    let back_end = Backend::start().await;
    let url = back_end.url();
    let keys =
        ["on_play", "on_stop", "on_publish", "on_unpublish"].map(|key| format!("{key}: {url:?}"));
    let (hooks, settings) = hooks(&format!("hooks: {{ {} }}\n", keys.join(", ")));
    let accept = Reply::Text(200, "0".to_owned());
    back_end.replies(Reply::Later(Duration::from_millis(300), Box::new(accept)));
    let vhost = settings.vhost("any");
    {
        let mut asked = std::pin::pin!(hooks.play(&vhost, || subject(1)));
        tokio::select! {
            _ = &mut asked => panic!("it takes a while"),
            _ = back_end.until("on_play", 1) => {}
        }
    }
    assert_eq!(back_end.until("on_stop", 1).await[0].said("client_id"), "1");

    let mut ticket = hooks.publish(&vhost, || subject(2)).await.expect("it may").expect("a ticket");
    drop(hooks.publish(&vhost, || subject(3)).await.expect("it may"));
    let key = StreamKey::new(DEFAULT_VHOST, "live", "cam").expect("a name");
    ticket.begin(&key);
    drop(ticket);
    let ended = back_end.until("on_unpublish", 1).await;
    timeout(SOON, hooks.until_told()).await.expect("all is told");
    assert_eq!((ended.len(), ended[0].said("client_id")), (1, "2"), "the other one has not begun");
    assert_eq!(back_end.of("on_unpublish").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_publisher_makes_is_told_with_its_name() {
    let back_end = Backend::start().await;
    let url = back_end.url();
    let yaml = format!("hooks: {{ on_hls: {url:?}, on_dvr: {url:?}, on_forward: {url:?} }}\n");
    let (hooks, settings) = hooks(&yaml);
    let key = StreamKey::new(DEFAULT_VHOST, "live", "cam").expect("a name");
    let vhost = settings.vhost("any");
    let mut ticket = hooks.publish(&vhost, || subject(5)).await.expect("it may").expect("a ticket");
    ticket.begin(&key);
    back_end.replies(Reply::Text(200, r#"{"code":0,"data":{"urls":["rtmp://a/b/c"]}}"#.to_owned()));
    assert_eq!(hooks.targets(&key).await.expect("an answer"), ["rtmp://a/b/c"]);
    back_end.replies(Reply::Text(200, r#"{"code":1}"#.to_owned()));
    assert_eq!(hooks.targets(&key).await, None, "the back end does not say");
    back_end.replies(Reply::Text(200, "0".to_owned()));
    drop(ticket);
    hooks.recording(&key, || "/data/cam.flv".to_owned());
    hooks.segment(&key, || Segment {
        duration: Duration::from_millis(2002),
        file: "/data/live/cam-1.ts".to_owned(),
        url: "live/cam-1.ts".to_owned(),
        m3u8: "/data/live/cam.m3u8".to_owned(),
        m3u8_url: "live/cam.m3u8".to_owned(),
        seq_no: 1,
    });
    let told =
        [back_end.until("on_dvr", 1).await.remove(0), back_end.until("on_hls", 1).await.remove(0)];
    assert!(told.iter().all(|call| call.said("client_id") == "5"), "{told:?}");
    assert_eq!(told[1].body["duration"], 2.002);
    back_end.assert_contract();
}

/// 5,000 viewers that come at once: a bounded number of connections, each asked once, and each told of once it goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_asked_over_a_few_connections_and_none_is_lost() {
    const CROWD: u64 = 5000;
    let back_end = Backend::start().await;
    let url = back_end.url();
    let (hooks, settings) = hooks(&format!("hooks: {{ on_play: {url:?}, on_stop: {url:?} }}\n"));
    let began = Instant::now();
    let mut crowd = JoinSet::new();
    for id in 1..=CROWD {
        let (hooks, settings) = (Arc::clone(&hooks), settings.clone());
        crowd.spawn(async move {
            let vhost = settings.vhost("any");
            // Gone again at once.
            drop(hooks.play(&vhost, || subject(id)).await.expect("let in").expect("a ticket"));
        });
    }
    while let Some(done) = crowd.join_next().await {
        done.expect("no panic");
    }
    let asked = began.elapsed();
    // As long as the machine took for the first half is a measure for it.
    timeout(SOON.max(asked * 10), hooks.until_told()).await.expect("all is told");
    eprintln!("{CROWD} asked after {asked:?}, told after {:?}", began.elapsed());
    let mut seen: HashMap<String, Vec<String>> = HashMap::new();
    let (mut names, calls) = (HashSet::new(), back_end.calls());
    for call in &calls {
        seen.entry(call.said("client_id").to_owned())
            .or_default()
            .push(call.said("action").to_owned());
        assert!(names.insert(call.field(EVENT_HEADER).to_owned()), "each event has its own name");
    }
    assert_eq!((seen.len(), calls.len()), (CROWD as usize, 2 * CROWD as usize));
    assert!(seen.values().all(|actions| actions == &["on_play", "on_stop"]), "each in its order");
    let (open, busy) = back_end.most();
    assert!(open <= 64 && busy <= 48, "{open} connections, {busy} calls at a time");
    assert_eq!(count(&hooks, Action::Stop, Outcome::Accepted), CROWD);
    assert_eq!(hooks.figures().waiting(), 0);
}

/// More than may wait are refused at once, or let in, as configured; and what waits is still told.
#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_bound_on_how_many_wait() {
    let back_end = Backend::start().await;
    back_end.replies(Reply::Never);
    let yaml = format!("hooks: {{ on_play: {:?}, timeout: 60s }}\n", back_end.url());
    let (hooks, settings) = hooks(&yaml);
    let mut waiting = JoinSet::new();
    for id in 1..=20_000 {
        let (hooks, settings) = (Arc::clone(&hooks), settings.clone());
        waiting.spawn(async move {
            let vhost = settings.vhost("any");
            hooks.play(&vhost, || subject(id)).await.map(drop)
        });
    }
    let first = timeout(SOON, waiting.join_next()).await.expect("one too many");
    assert_eq!(first.expect("one").expect("no panic"), Err(Refused::Busy));
    eventually("all others are refused", SOON, async || {
        (count(&hooks, Action::Play, Outcome::Dropped) == 20_000 - 16_384).then_some(())
    })
    .await;
    assert_eq!(hooks.figures().waiting(), 16_384);
}

/// What waits is in the memory that all share, and what there is no room for is refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_counts_as_memory() {
    const LIMIT: usize = 8 << 20;
    let back_end = Backend::start().await;
    back_end.replies(Reply::Never);
    let budget = Budget::new(LIMIT);
    let yaml = format!("hooks: {{ on_play: {:?}, timeout: 60s }}\n", back_end.url());
    let (hooks, settings) = hooks_within(&yaml, &budget);
    let mut waiting = JoinSet::new();
    for id in 1..=1000 {
        let (hooks, settings) = (Arc::clone(&hooks), settings.clone());
        waiting.spawn(async move {
            let vhost = settings.vhost("any");
            hooks.play(&vhost, || subject(id)).await.map(drop)
        });
    }
    let first = timeout(SOON, waiting.join_next()).await.expect("one too many");
    assert_eq!(first.expect("one").expect("no panic"), Err(Refused::Busy));
    eventually("all are counted", SOON, async || {
        let dropped = count(&hooks, Action::Play, Outcome::Dropped);
        (hooks.figures().waiting() as u64 + dropped == 1000).then_some(())
    })
    .await;
    let held = budget.used_for(Use::Hooks);
    assert!(held > LIMIT / 16 && held <= LIMIT / 4, "{held}");
    assert!(held > hooks.figures().waiting() * 2048, "{held}");
    back_end.answers(|_| Reply::Text(200, "0".to_owned()));
    drop((waiting, back_end));
    // Those that the back end has hung up on have no answer.
    timeout(SOON, hooks.until_told()).await.expect("all are through");
    assert_eq!(budget.used_for(Use::Hooks), 0, "nothing is left");
}
