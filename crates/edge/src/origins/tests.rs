use weir_config::Scheme;
use weir_media::DEFAULT_VHOST;
use weir_testkit::{dns::Dns, eventually};

use super::*;

/// More than any of this takes.
const SOON: Duration = Duration::from_secs(20);

/// The name of the origins in these tests.
const NAME: &str = "origins.test";

fn settings(hosts: &[&str]) -> Edge {
    let name = |host: &&str| OriginName::rtmp(*host, 1935);
    Edge { origins: hosts.iter().map(name).collect(), ..Edge::default() }
}

fn start(hosts: &[&str]) -> Arc<Origins> {
    Origins::start(&settings(hosts)).expect("addresses need no name servers")
}

/// The origins of [`NAME`], asked for at `dns`.
async fn resolved(dns: &Dns) -> Arc<Origins> {
    let settings = Edge { resolvers: vec![dns.address()], ..settings(&[NAME]) };
    let origins = Origins::start(&settings).expect("there is a name server");
    timeout(SOON, origins.ready()).await.expect("the start does not wait for ever");
    origins
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|address| address.parse().expect("an address")).collect()
}

fn key(name: &str) -> StreamKey {
    StreamKey::new(DEFAULT_VHOST, "live", name).expect("a name")
}

fn addresses(origins: &Origins) -> Vec<IpAddr> {
    origins.status().iter().map(|origin| origin.address.ip()).collect()
}

fn order(origins: &Origins, name: &str) -> Vec<SocketAddr> {
    origins.order(&key(name)).iter().map(|origin| origin.address).collect()
}

/// Waits until the addresses are these.
async fn become_these(origins: &Origins, expected: &[&str]) {
    let become_these = async {
        loop {
            let changed = origins.changed();
            if addresses(origins) == ips(expected) {
                return;
            }
            changed.await;
        }
    };
    let ok = timeout(SOON, become_these).await.is_ok();
    assert!(ok, "{:?} did not become {expected:?}", addresses(origins));
}

#[tokio::test]
async fn addresses_need_no_name_server() {
    let origins = start(&["10.0.0.2", "::1", "10.0.0.1", "10.0.0.2"]);
    origins.ready().await;
    assert_eq!(addresses(&origins), ips(&["10.0.0.2", "::1", "10.0.0.1"]), "each once");
    let origin = &origins.order(&key("a"))[0];
    assert_eq!((origin.address.port(), origin.http.port()), (1935, 8080));
    assert_eq!(origin.address.ip(), origin.http.ip());
}

#[tokio::test]
async fn what_stays_in_the_settings_keeps_what_is_known_of_it() {
    let origins = start(&["10.0.0.1", "10.0.0.2"]);
    let lost = origins.order(&key("a")).remove(0);
    lost.failed("gone");
    let gone = origins.order(&key("a")).remove(0);
    let (stays, goes) = (lost.address.ip().to_string(), gone.address.ip().to_string());
    let news = origins.changed();
    origins.follow(NextOrigins::new(&settings(&["10.0.0.3", &stays])).expect("addresses"));
    news.await;
    assert_eq!(addresses(&origins), ips(&["10.0.0.3", &stays]));
    assert!(origins.has(&lost) && !origins.has(&gone), "{goes} is not among them any more");
    let healthy: Vec<_> = origins.status().iter().map(|origin| origin.healthy).collect();
    assert_eq!(healthy, [true, false]);
    let ports = Edge { http_port: 81, ..settings(&[&stays]) };
    origins.follow(NextOrigins::new(&ports).expect("addresses"));
    assert_eq!(origins.order(&key("a"))[0].http.port(), 81);
}

#[tokio::test]
async fn a_name_that_stays_keeps_its_addresses_while_it_is_looked_up_anew() {
    let dns = Dns::start().await;
    dns.set(NAME, ips(&["10.0.0.1"]));
    let origins = resolved(&dns).await;
    let more = Edge { resolvers: vec![dns.address()], ..settings(&[NAME, "10.0.0.9"]) };
    origins.follow(NextOrigins::new(&more).expect("a name server"));
    assert_eq!(addresses(&origins), ips(&["10.0.0.1", "10.0.0.9"]));
    dns.set(NAME, ips(&["10.0.0.2"]));
    become_these(&origins, &["10.0.0.2", "10.0.0.9"]).await;
}

#[tokio::test]
async fn the_owner_is_asked_first_and_all_edges_agree() {
    let (one, other) = (start(&["10.0.0.1", "10.0.0.2"]), start(&["10.0.0.2", "10.0.0.1"]));
    let names: Vec<_> = (0..100).map(|n| format!("stream{n}")).collect();
    let first = |name: &String| order(&one, name)[0];
    assert!(names.iter().any(|name| first(name) != first(&names[0])), "both own streams");
    for name in &names {
        assert_eq!(order(&one, name), order(&other, name));
        assert_eq!(one.known().owner(&key(name)), Some(order(&one, name)[0]));
    }
}

#[tokio::test]
async fn those_that_failed_are_asked_last() {
    let origins = start(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    let healthy = origins.order(&key("a"));
    healthy[0].failed("connection refused");
    let ill = origins.order(&key("a"));
    let expected = [&healthy[1], &healthy[2], &healthy[0]];
    assert!(ill.iter().zip(expected).all(|(a, b)| Arc::ptr_eq(a, b)), "{ill:?}");
    let status = origins.status();
    let status = status.iter().find(|status| !status.healthy).expect("one is ill");
    assert_eq!(status.address, healthy[0].address);
    assert_eq!(status.last_failure.as_deref(), Some("connection refused"));
    assert_eq!(status.host, status.address.ip().to_string());

    let changed = origins.changed();
    healthy[0].succeeded();
    timeout(SOON, changed).await.expect("it is told that one is alive again");
    assert_eq!(origins.order(&key("a"))[0].address, healthy[0].address);
}

#[tokio::test]
async fn a_stream_is_looked_for_where_it_was_found() {
    let origins = start(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    let before = origins.order(&key("a"));
    let address = |n: usize| before[n].address;
    origins.found(&key("a"), &before[2]);
    assert_eq!(order(&origins, "a"), [address(2), address(0), address(1)]);
    before[2].failed("fell silent");
    assert_eq!(order(&origins, "a"), [address(0), address(1), address(2)]);
    before[2].succeeded();
    origins.found(&key("a"), &before[1]);
    origins.found(&key("a"), &before[0]);
    assert_eq!(order(&origins, "a"), [address(0), address(1), address(2)], "its owner has it");
    assert_eq!(origins.places().get(&key("a"), Instant::now()), None, "and needs no remembering");
}

#[tokio::test]
async fn addresses_come_and_go_with_the_name() {
    let dns = Dns::start().await;
    dns.set(NAME, ips(&["127.0.0.2", "127.0.0.1", "::1"]));
    let origins = resolved(&dns).await;
    assert_eq!(addresses(&origins), ips(&["127.0.0.1", "127.0.0.2", "::1"]), "after the start");
    let first = Arc::clone(&origins.order(&key("a"))[0]);
    assert_eq!(first.host, NAME);

    dns.set(NAME, ips(&["127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"]));
    become_these(&origins, &["127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"]).await;
    let kept = origins.order(&key("a"));
    assert!(kept.iter().any(|origin| Arc::ptr_eq(origin, &first)), "one that stays is the same");

    dns.set(NAME, ips(&["127.0.0.3"]));
    become_these(&origins, &["127.0.0.3"]).await;
}

#[tokio::test]
async fn the_last_addresses_stay_when_the_name_does_not_resolve() {
    let dns = Dns::start().await;
    dns.set(NAME, ips(&["127.0.0.1"]));
    let origins = resolved(&dns).await;

    dns.remove(NAME);
    // Two look-ups of two questions each, of which the first has been answered when the second begins.
    dns.asked(dns.questions() + 4).await;
    assert_eq!(addresses(&origins), ips(&["127.0.0.1"]), "there is no such name any more");

    dns.mute(true);
    // A look-up that nobody answers asks some six times, the next one comes after it.
    dns.asked(dns.questions() + 7).await;
    assert_eq!(addresses(&origins), ips(&["127.0.0.1"]), "nobody answers");

    dns.set(NAME, ips(&["127.0.0.2"]));
    dns.mute(false);
    become_these(&origins, &["127.0.0.2"]).await;
}

#[tokio::test]
async fn a_name_server_that_is_late_is_heard() {
    let dns = Dns::start().await;
    dns.mute(true);
    dns.set(NAME, ips(&["127.0.0.1"]));
    let origins = resolved(&dns).await;
    assert_eq!(order(&origins, "a"), []);
    assert_eq!(origins.known().owner(&key("a")), None);
    dns.mute(false);
    become_these(&origins, &["127.0.0.1"]).await;
}

#[tokio::test]
async fn the_hosts_file_goes_before_name_servers() {
    let dns = Dns::start().await;
    dns.set("localhost", ips(&["10.0.0.1"]));
    let settings = Edge { resolvers: vec![dns.address()], ..settings(&["localhost"]) };
    let origins = Origins::start(&settings).expect("there is a name server");
    timeout(SOON, origins.ready()).await.expect("the start does not wait for ever");
    assert!(addresses(&origins).contains(&ips(&["127.0.0.1"])[0]), "{:?}", addresses(&origins));
    assert_eq!(dns.questions(), 0);
}

#[tokio::test]
async fn everything_ends_with_the_origins() {
    let dns = Dns::start().await;
    dns.set(NAME, ips(&["127.0.0.1"]));
    let origins = resolved(&dns).await;
    let origin = Arc::downgrade(&origins.order(&key("a"))[0]);
    let known = Arc::downgrade(&origins.known());
    drop(origins);
    let over = async || (known.strong_count() + origin.strong_count() == 0).then_some(());
    eventually("the end of the tasks", SOON, over).await;
}

#[tokio::test]
async fn an_origin_that_gets_tls_is_another_one() {
    let origins = start(&["10.0.0.1"]);
    let before = origins.order(&key("a")).remove(0);
    let mut next = settings(&["10.0.0.1"]);
    next.tls.pin = vec!["00".repeat(32).parse().expect("a fingerprint")];
    for (scheme, http) in [(Scheme::Rtmps, 8080), (Scheme::Https, 1935)] {
        next.origins[0].scheme = scheme;
        origins.follow(NextOrigins::new(&next).expect("nothing is read"));
        assert!(!origins.has(&before), "its streams move");
        let after = origins.order(&key("a")).remove(0);
        assert_eq!((after.address, after.http.port()), (before.address, http));
        assert!(after.scheme == scheme && origins.tls().is_there());
        origins.follow(NextOrigins::new(&next).expect("nothing is read"));
        assert!(Arc::ptr_eq(&after, &origins.order(&key("a"))[0]), "it stays as it is");
    }
}
