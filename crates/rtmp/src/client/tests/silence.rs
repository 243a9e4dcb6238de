//! Pings, and what follows when none is answered, on a clock that the test moves.

use super::*;

const LIMIT: Duration = Duration::from_secs(8);
const SILENT: Result<(), Error> = Err(Error::Silence(LIMIT));

impl Harness {
    /// Accepted by a server that may be silent for [`LIMIT`].
    fn limited(purpose: Purpose) -> Self {
        let url = "rtmp://host/live/cam".parse().unwrap();
        let config = Config { silence: Some(LIMIT), ..Config::new(url) };
        Self::connecting_with(purpose, config).connect().ask().accept()
    }

    /// Lets seconds pass, as somebody does who looks whenever the session asks to.
    fn pass(&mut self, seconds: u64) -> Result<(), Error> {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            assert!(due >= self.now, "a moment in the past is asked for again and again");
            self.now = due;
            self.session.handle_timeout(due)?;
        }
        self.now = end;
        Ok(())
    }

    fn pong(&mut self) {
        let (type_id, body) = Control::User(UserControl::PingResponse(1)).encode();
        self.message(type_id, 0, &body).unwrap();
    }

    fn picture(&mut self) {
        self.message(type_id::VIDEO, 7, b"frame").unwrap();
    }

    /// How many pings were sent.
    fn pings(&mut self) -> usize {
        self.sent().iter().filter(|sent| sent.contains("PingRequest")).count()
    }
}

#[test]
fn a_silent_server_that_answers_is_alive() {
    for purpose in [Purpose::Play, Purpose::Publish] {
        let mut harness = Harness::limited(purpose);
        for _ in 0..100 {
            assert_eq!((harness.pass(3), harness.pings()), (Ok(()), 0));
            assert_eq!((harness.pass(1), harness.pings()), (Ok(()), 1));
            harness.pong();
        }
        assert!(harness.session.answers_pings());
        assert_eq!(harness.pass(7), Ok(()));
        assert_eq!(harness.pass(1), SILENT, "it answered before, and no more");
        assert_eq!(harness.session.poll_timeout(), None);
    }
}

#[test]
fn a_ping_tells_the_time() {
    let mut harness = Harness::limited(Purpose::Play);
    harness.pass(4).unwrap();
    assert_eq!(harness.sent(), ["User(PingRequest(4000))"]);
}

#[test]
fn media_is_life_and_needs_no_pings() {
    let mut harness = Harness::limited(Purpose::Play);
    for _ in 0..100 {
        harness.picture();
        harness.pass(3).unwrap();
    }
    assert_eq!(harness.pings(), 0);
}

#[test]
fn a_player_whose_server_answers_no_ping_counts_on_media() {
    let mut harness = Harness::limited(Purpose::Play);
    harness.pass(100).unwrap();
    assert!(harness.pings() > 10, "no media has come: its silence means nothing");
    harness.picture();
    harness.pass(7).unwrap();
    let (type_id, body) = Control::User(UserControl::PingRequest(3)).encode();
    harness.message(type_id, 0, &body).unwrap();
    assert_eq!(harness.pass(1), SILENT, "other messages are no media");
}

#[test]
fn a_publisher_whose_server_answers_no_ping_goes_on() {
    let mut harness = Harness::limited(Purpose::Publish);
    harness.pass(1000).unwrap();
    assert!(!harness.session.answers_pings());
    assert!((100..300).contains(&harness.pings()));
}

#[test]
fn a_ping_that_was_sent_late_may_be_answered() {
    let mut harness = Harness::limited(Purpose::Play);
    harness.picture();
    // The process stood still.
    harness.now += Duration::from_secs(1000);
    assert_eq!(harness.session.handle_timeout(harness.now), Ok(()));
    assert_eq!((harness.pings(), harness.pass(3)), (1, Ok(())));
    harness.pong();
    assert_eq!(harness.pass(7), Ok(()));
    assert_eq!(harness.pass(1), SILENT);
}

#[test]
fn a_server_that_was_asked_and_holds_the_answer_is_pinged() {
    let url = "rtmp://host/live/cam".parse().unwrap();
    let wait = Duration::from_secs(60);
    let config = Config { silence: Some(LIMIT), wait, ..Config::new(url) };
    let mut harness = Harness::connecting_with(Purpose::Play, config).connect();
    harness.pass(9).unwrap();
    assert_eq!(harness.pings(), 0, "the time to connect is limited anyway");
    harness = harness.ask();
    harness.pass(4).unwrap();
    assert_eq!(harness.pings(), 1);
    harness.pong();
    assert_eq!(harness.pass(8), SILENT);
}
