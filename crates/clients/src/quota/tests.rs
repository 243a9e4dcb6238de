use std::net::{Ipv4Addr, Ipv6Addr};

use weir_media::DEFAULT_VHOST;

use super::{watching::WATCHING_MAX, *};

const MEGABIT: u64 = 1_000_000;

fn key(stream: &str) -> StreamKey {
    StreamKey::new(DEFAULT_VHOST, "live", stream).expect("a good key")
}

fn quotas(egress: u64, viewers_per_stream: usize, connections_per_ip: usize) -> Arc<Quotas> {
    let limits = Limits { egress, viewers_per_stream, connections_per_ip };
    Arc::new(Quotas::new(limits))
}

/// Lets viewers of `stream` in at `now` until one is refused, 1,000 at most.
fn crowd(quotas: &Arc<Quotas>, stream: &str, bit_rate: u64, now: Instant) -> Vec<ViewerPermit> {
    let come = || quotas.admit(&key(stream), false, bit_rate, now).ok();
    std::iter::from_fn(come).take(1000).collect()
}

fn learned(key: &StreamKey, bit_rate: u64) -> Learned<'_> {
    Learned { key, bit_rate, sent: 0 }
}

#[test]
fn without_limits_everybody_is_counted_and_nobody_refused() {
    let (quotas, now) = (quotas(0, 0, 0), Instant::now());
    let a = crowd(&quotas, "a", MEGABIT, now);
    let b = quotas.admit(&key("b"), false, 0, now).ok();
    assert_eq!((a.len(), b.is_some()), (1000, true));
    assert_eq!((quotas.viewers(&key("a")), quotas.viewers(&key("b"))), (1000, 1));
    assert_eq!(
        (quotas.viewers_total(), quotas.expected()),
        (1001, 1000 * MEGABIT + UNKNOWN_BIT_RATE)
    );
    drop((a, b));
    assert_eq!((quotas.viewers_total(), quotas.expected()), (0, 0));
    assert!(quotas.books().streams.is_empty(), "streams without viewers are not kept");
    let visits = [0; 3].map(|_| quotas.enter(Ipv4Addr::LOCALHOST.into()));
    assert!(visits.iter().all(Result::is_ok));
    quotas.limit_to(Limits { connections_per_ip: 3, ..Limits::default() });
    assert!(quotas.enter(Ipv4Addr::LOCALHOST.into()).is_err(), "those before the limit count");
}

#[test]
fn a_stream_has_so_many_viewers_and_no_more() {
    let (quotas, now) = (quotas(0, 2, 0), Instant::now());
    let mut a = crowd(&quotas, "a", 0, now);
    assert_eq!(a.len(), 2);
    let refusal = quotas.look(&key("a"), now).expect_err("it is full");
    assert_eq!(
        refusal.to_string(),
        "too many viewers of /live/a (limit 2, limits.viewers_per_stream)"
    );
    assert!(quotas.look(&key("b"), now).is_ok(), "others are not");
    a.pop();
    assert!(quotas.look(&key("a"), now).is_ok());
    assert_eq!(crowd(&quotas, "a", 0, now).len(), 1);
}

#[test]
fn a_crowd_that_comes_in_one_instant_is_let_in_as_far_as_its_streams_fit() {
    let (quotas, now) = (quotas(10 * MEGABIT, 0, 0), Instant::now());
    let _three = quotas.admit(&key("big"), false, 3 * MEGABIT, now).ok();
    assert_eq!(crowd(&quotas, "small", MEGABIT, now).len(), 7);
    let small: Vec<_> = crowd(&quotas, "small", MEGABIT, now);
    assert_eq!(small.len(), 7, "those before have gone");
    let refusal = quotas.admit(&key("small"), false, MEGABIT, now).err().expect("it is full");
    let reason = refusal.to_string();
    assert!(reason.contains("10 Mb/s, limits.egress"), "{reason}");
}

#[test]
fn streams_of_unknown_rate_count_for_what_is_common_until_it_is_known() {
    let (quotas, now) = (quotas(10 * MEGABIT, 0, 0), Instant::now());
    let first = crowd(&quotas, "new", 0, now);
    assert_eq!(first.len(), 5);
    quotas.learn(&[learned(&key("new"), MEGABIT / 2), learned(&key("other"), MEGABIT)], now);
    assert_eq!(quotas.expected(), 5 * MEGABIT / 2);
    let second = crowd(&quotas, "new", 0, now);
    assert_eq!(second.len(), 15);
    // The stream has become larger: who is here stays.
    quotas.learn(&[learned(&key("new"), MEGABIT)], now);
    assert_eq!((quotas.viewers_total(), quotas.expected()), (20, 20 * MEGABIT));
    drop(second);
    assert_eq!(quotas.expected(), 5 * MEGABIT);
    quotas.learn(&[learned(&key("new"), 0)], now);
    assert_eq!(quotas.expected(), 5 * MEGABIT, "what is known is not forgotten");
}

#[test]
fn nobody_comes_while_more_is_sent_than_may_be() {
    let (quotas, now) = (quotas(8 * MEGABIT, 0, 0), Instant::now());
    let here = quotas.admit(&key("a"), false, MEGABIT, now).ok();
    quotas.count_sent(1_000_000);
    assert!(quotas.look(&key("b"), now).is_err(), "a whole second's worth is sent");
    assert!(quotas.admit(&key("a"), false, MEGABIT, now).is_err());
    assert_eq!((quotas.viewers_total(), here.is_some()), (1, true), "who is here stays");
    assert!(quotas.admit(&key("a"), false, MEGABIT, now + Duration::from_millis(10)).is_ok());
}

#[test]
fn who_only_looks_takes_nothing() {
    let (quotas, now) = (quotas(2 * MEGABIT, 1, 0), Instant::now());
    for _ in 0..100 {
        assert!(quotas.look(&key("nobody-publishes-it"), now).is_ok());
    }
    assert_eq!((quotas.viewers_total(), quotas.expected()), (0, 0));
}

fn who<'a>(key: &'a StreamKey, ip: IpAddr, agent: &'a str) -> Who<'a> {
    Who { key, ip, agent, session: "", permission: "", is_node: false }
}

/// A playlist for `who` at `now`: whether it gets one.
fn ask(quotas: &Quotas, who: Who<'_>, now: Instant) -> Result<(), Refusal> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    quotas.look_for_hls(who, now)?;
    quotas.watch_hls(who, WATCHING, || NEXT.fetch_add(1, Ordering::Relaxed), None, now).map(drop)
}

#[test]
fn hls_viewers_that_watch_are_served_and_who_begins_waits() {
    let (quotas, now) = (quotas(8 * MEGABIT, 0, 0), Instant::now());
    let [old, new] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
    let (a, b) = (key("a"), key("b"));
    let ask = |key, ip, now| ask(&quotas, who(key, ip, ""), now);
    assert!(ask(&a, old, now).is_ok());
    quotas.count_sent(2_000_000);
    assert!(ask(&a, old, now).is_ok(), "it watches");
    assert!(ask(&b, old, now).is_err(), "it does not watch this one");
    assert!(ask(&a, new, now).is_err());
    let later = now + Duration::from_secs(3);
    assert!(ask(&a, new, later).is_ok(), "what was sent is paid for");
    quotas.count_sent(4_000_000);
    let gone = now + WATCHING;
    quotas.learn(&[], later);
    quotas.count_sent(60_000_000);
    assert!(ask(&a, new, gone).is_ok(), "it was here 27 s ago");
    assert!(ask(&a, old, gone).is_err(), "it was here 30 s ago");
}

#[test]
fn so_many_hls_viewers_are_remembered_and_no_more() {
    let (quotas, now) = (quotas(8 * MEGABIT, 0, 0), Instant::now());
    let key = key("a");
    let viewer = |number: usize| IpAddr::from(Ipv4Addr::from(u32::try_from(number).unwrap_or(0)));
    let ask = |number, now| ask(&quotas, who(&key, viewer(number), ""), now);
    for number in 0..=WATCHING_MAX {
        assert!(ask(number, now).is_ok());
    }
    assert_eq!((quotas.watching(), quotas.viewers(&key)), (WATCHING_MAX, WATCHING_MAX));
    quotas.count_sent(2_000_000);
    assert!(ask(WATCHING_MAX, now).is_ok(), "it may be watching");
    let later = now + WATCHING;
    assert!(ask(0, later).is_ok());
    assert_eq!(quotas.hls_viewers(later).len(), 1, "who has gone is not listed");
    for _ in 0..10 {
        quotas.forget_gone(later);
    }
    assert_eq!((quotas.watching(), quotas.viewers(&key)), (1, 1), "nor counted");
}

#[test]
fn viewers_of_all_kinds_share_the_limit_of_a_stream_and_nodes_are_none() {
    let (quotas, now) = (quotas(0, 3, 0), Instant::now());
    let (a, ip) = (key("a"), IpAddr::from([192, 0, 2, 1]));
    let _flv = quotas.admit(&a, false, 0, now).expect("the first");
    let _edge = quotas.admit(&a, true, 0, now).expect("the second");
    assert!(ask(&quotas, who(&a, ip, "one"), now).is_ok());
    assert!(ask(&quotas, who(&a, ip, "two"), now).is_err());
    assert!(ask(&quotas, who(&a, ip, "one"), now).is_ok(), "it watches");
    assert!(quotas.admit(&a, false, 0, now).is_err());
    assert!(quotas.look(&a, now).is_err());
    assert_eq!((quotas.viewers(&a), quotas.viewers_total()), (2, 2), "an edge is no viewer");
    let b = key("b");
    let edge = Who { is_node: true, ..who(&b, ip, "Weir") };
    assert!(ask(&quotas, edge, now).is_ok());
    assert_eq!((quotas.viewers(&b), quotas.hls_viewers(now).len()), (0, 2));
}

#[test]
fn an_address_has_so_many_connections_and_gets_them_back() {
    let quotas = quotas(0, 0, 2);
    let ip = IpAddr::from([192, 0, 2, 7]);
    let mut here = vec![quotas.enter(ip).ok(), quotas.enter(ip).ok()];
    let refusal = quotas.enter(ip).err().expect("one too many").to_string();
    assert_eq!(refusal, "too many connections from 192.0.2.7 (limit 2, limits.connections_per_ip)");
    assert!(quotas.enter(IpAddr::from([192, 0, 2, 8])).is_ok());
    here.pop();
    assert!(quotas.enter(ip).is_ok());
    drop(here);
    assert!(lock(&quotas.addresses).is_empty(), "who has gone is forgotten");
}

#[test]
fn a_network_of_ipv6_counts_as_one_address() {
    let quotas = quotas(0, 0, 1);
    let ip = |text: &str| IpAddr::from(text.parse::<Ipv6Addr>().expect("an address"));
    let _here = quotas.enter(ip("2001:db8::1")).ok();
    let refusal = quotas.enter(ip("2001:db8::2")).err().expect("one too many").to_string();
    assert!(refusal.starts_with("too many connections from 2001:db8::/64 (limit 1,"), "{refusal}");
    assert!(quotas.enter(ip("2001:db8:0:1::1")).is_ok());
}
