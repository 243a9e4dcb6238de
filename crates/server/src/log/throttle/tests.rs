use std::sync::Arc;

use tracing::subscriber;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// What a process logs that has this throttle.
struct Rig {
    throttle: Arc<Throttle>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    fn new(burst: u32) -> Self {
        let burst = NonZeroU32::new(burst).expect("a burst");
        Self { throttle: Arc::new(Throttle::new(burst)), lines: Arc::default() }
    }

    /// The lines that are written of those that `say` logs.
    fn written(&self, say: impl FnOnce()) -> Vec<String> {
        let out = Out(Arc::clone(&self.lines));
        let lines = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || out.clone())
            .finish()
            .with(Throttled(Arc::clone(&self.throttle)));
        subscriber::with_default(lines, say);
        std::mem::take(&mut *self.lines.lock().expect("no test panics here"))
    }

    /// What is said of lines that were left out, so many seconds from now.
    fn report(&self, is_ending: bool, after: u64) -> Vec<String> {
        let now = Instant::now() + Duration::from_secs(after);
        self.written(|| drop(writer::logged(|| self.throttle.report(is_ending, now))))
    }
}

#[derive(Clone)]
struct Out(Arc<Mutex<Vec<String>>>);

impl std::io::Write for Out {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line).trim().to_owned();
        self.0.lock().expect("no test panics here").push(text);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn ended(peer: &str, kind: &str) {
    tracing::info!(peer = %peer, kind, reason = "whatever the peer has written", "session ended");
}

#[test]
fn one_address_has_a_burst_of_each_kind_and_what_is_left_out_is_counted() {
    let rig = Rig::new(100);
    let lines = rig.written(|| {
        for port in 0..1000 {
            ended(&format!("192.0.2.1:{port}"), "protocol");
        }
        ended("192.0.2.2:1", "protocol");
        ended("192.0.2.1:1", "closed");
    });
    assert!((102..=104).contains(&lines.len()), "{}", lines.len());
    let left_out = 1002 - lines.len();
    let report = rig.report(false, 1);
    let expected = format!(
        "INFO similar lines suppressed of=\"session ended\" kind=\"protocol\" \
         latest=\"192.0.2.1:999\" count={left_out}"
    );
    assert_eq!(report, [expected]);
    assert_eq!(rig.report(false, 30), [""; 0], "said once");
}

#[test]
fn it_is_said_again_now_and_then_while_it_goes_on_and_at_the_end() {
    let rig = Rig::new(1);
    let flood = || (0..10).for_each(|_| ended("192.0.2.1:1", "protocol"));
    rig.written(flood);
    assert_eq!(rig.report(false, 1).len(), 1);
    rig.written(flood);
    assert_eq!(rig.report(false, 2).len(), 0, "not each second");
    assert_eq!(rig.report(false, 11).len(), 1);
    rig.written(flood);
    assert_eq!(rig.report(true, 12).len(), 1, "the last ones are not lost");
}

#[test]
fn addresses_of_ipv6_count_by_their_network_and_mapped_ones_as_what_they_are() {
    let rig = Rig::new(10);
    let each = |peers: &dyn Fn(u32) -> String| {
        rig.written(|| (0..1000).for_each(|number| ended(&peers(number), "protocol"))).len()
    };
    assert!(each(&|number| format!("[2001:db8:0:1::{number:x}]:{number}")) <= 12);
    assert!(each(&|number| format!("192.0.2.1:{number}")) <= 12);
    assert!(each(&|_| "[::ffff:192.0.2.1]:1".to_owned()) <= 2);
    // Requests name addresses without a port.
    assert!(each(&|_| "192.0.2.1".to_owned()) <= 2);
}

#[test]
fn however_many_addresses_there_are_there_is_a_bound_and_what_is_new_is_seen() {
    let rig = Rig::new(10);
    let began = Instant::now();
    let peer = |number: u32| format!("[2001:db8:{:x}:{:x}::1]:1", number >> 16, number & 0xffff);
    let count = |say: &dyn Fn()| rig.written(say).len() as u64;
    let written = count(&|| (0..20_000).for_each(|number| ended(&peer(number), "protocol")));
    let meanwhile = began.elapsed().as_millis() as u64 / 10 + began.elapsed().as_secs() + 1;
    let bound = ALL_BURSTS * 10 + KIND_BURST;
    assert!((bound..=bound + meanwhile).contains(&written), "{written}");
    let lines = rig.written(|| {
        ended("198.51.100.1:1", "refused");
        tracing::warn!("something is wrong with us");
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn lines_without_an_address_are_bounded_too_and_details_are_not() {
    let rig = Rig::new(100);
    let asked = || (0..1000).for_each(|number| tracing::info!(number, "asked the origins"));
    assert!((100..=150).contains(&rig.written(asked).len()));
    let details = || (0..1000).for_each(|number| tracing::debug!(number, "a detail"));
    assert_eq!(rig.written(details).len(), 1000);
}

#[test]
fn a_budget_comes_back_with_time() {
    let budget = Budget::default();
    let second = Duration::from_secs(1);
    let taken = |at: u32| (0..100).filter(|_| budget.take(second * at, second, 10)).count();
    assert_eq!((taken(0), taken(1), taken(4), taken(100)), (10, 1, 3, 10));
}

#[test]
fn a_text_is_cut_where_a_character_begins() {
    let text = Text::of(format_args!("{}\u{e4}", "x".repeat(TEXT_BYTES - 1)));
    assert_eq!(text.as_str(), "x".repeat(TEXT_BYTES - 1));
}
