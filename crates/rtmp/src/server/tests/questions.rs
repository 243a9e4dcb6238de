//! Questions of edges, from one session to the other.

use crate::{
    client,
    message::{MAY_PLAY, MayPlay, QUESTION_BYTES_MAX, QUESTIONS_MAX, Question},
};

use super::*;

fn question(name: &str) -> Question {
    let tc_url = "rtmp://host/live?x=1".to_owned();
    Question {
        tc_url,
        name: name.to_owned(),
        hops: "a,b".to_owned(),
        page_url: "http://a.org/".to_owned(),
    }
}

/// Both ends, connected.
fn both() -> (client::Session, Session) {
    let now = Instant::now();
    let config = client::Config::new("rtmp://host/live/cam".parse().unwrap());
    let mut asking = client::Session::new_questions(config, [7; 1536], now);
    let mut answering = Session::new(Config::default(), [5; 1536], now);
    exchange(&mut asking, &mut answering);
    let connected = asking.poll_event();
    assert_eq!(connected, Some(client::Event::Connected { questions: QUESTIONS_MAX }));
    assert!(matches!(answering.poll_event(), Some(Event::Connected(_))));
    (asking, answering)
}

/// Until neither has anything more to say.
fn exchange(asking: &mut client::Session, answering: &mut Session) {
    let now = Instant::now();
    loop {
        let (there, back) = (asking.poll_output(), answering.poll_output());
        if there.is_none() && back.is_none() {
            return;
        }
        answering.handle_input(&there.unwrap_or_default(), now).unwrap();
        asking.handle_input(&back.unwrap_or_default(), now).unwrap();
    }
}

fn ids(answering: &mut Session) -> Vec<f64> {
    let events = std::iter::from_fn(|| answering.poll_event());
    events
        .filter_map(|event| if let Event::Question { id, .. } = event { Some(id) } else { None })
        .collect()
}

#[test]
fn questions_are_answered_in_any_order() {
    let (mut asking, mut answering) = both();
    for (id, name) in [(1, "a?vhost=v.org&token=1"), (2, "b"), (3, "c")] {
        asking.ask_question(id, question(name));
    }
    exchange(&mut asking, &mut answering);
    let event = answering.poll_event();
    let Some(Event::Question { id: first, url, hops, page_url }) = event else { panic!() };
    assert_eq!((url.vhost.as_str(), url.app.as_str(), url.stream.as_str()), ("v.org", "live", "a"));
    assert!(url.params.contains("token=1"), "{url:?}");
    assert_eq!((&*hops, &*page_url), ("a,b", "http://a.org/"));
    let others = ids(&mut answering);
    let no = Some(("NetStream.Play.Failed".to_owned(), "denied".to_owned()));
    let yes = MayPlay { refusal: None, any: true, here: true };
    let no = MayPlay { refusal: no, any: false, here: false };
    answering.fail_question(others[1], "busy");
    answering.answer_question(others[0], &no);
    answering.answer_question(first, &yes);
    // One answer a question.
    answering.answer_question(first, &no);
    answering.answer_question(99.0, &no);
    exchange(&mut asking, &mut answering);
    let answers: Vec<_> = std::iter::from_fn(|| asking.poll_event()).collect();
    let answer = |id, answer| client::Event::Answer { id, answer };
    let all = [answer(3, Err("busy".to_owned())), answer(2, Ok(no)), answer(1, Ok(yes))];
    assert_eq!(answers, all);
}

#[test]
fn no_more_of_them_wait_than_are_let() {
    let (mut asking, mut answering) = both();
    for id in 0..QUESTIONS_MAX as u32 + 5 {
        asking.ask_question(id, question("a"));
    }
    exchange(&mut asking, &mut answering);
    let waiting = ids(&mut answering);
    assert_eq!(waiting.len(), QUESTIONS_MAX);
    let refused = std::iter::from_fn(|| asking.poll_event()).count();
    assert_eq!(refused, 5, "the others are told at once");
    for id in waiting {
        answering.answer_question(id, &MayPlay::default());
    }
    // Long ones are bounded by their bytes.
    let long = format!("a?{}", "x".repeat(8000));
    for id in 0..20 {
        asking.ask_question(id, question(&long));
    }
    exchange(&mut asking, &mut answering);
    assert_eq!(ids(&mut answering).len(), QUESTION_BYTES_MAX / question(&long).bytes());
}

#[test]
fn a_connection_that_asks_is_not_idle_while_it_waits() {
    let (mut asking, mut answering) = both();
    asking.ask_question(1, question("a"));
    exchange(&mut asking, &mut answering);
    assert_eq!(answering.poll_timeout(), None);
    let id = ids(&mut answering)[0];
    answering.answer_question(id, &MayPlay::default());
    assert!(answering.poll_timeout().is_some());
}

#[test]
fn what_is_no_question_is_refused() {
    for arguments in [
        vec![],
        vec!["rtmp://h/a".into(), 1.0.into(), "".into()],
        vec!["rtmp://h/a".into(), "b".into(), "x".repeat(1025).into()],
    ] {
        let mut harness = Harness::connected();
        let call = Command::new(MAY_PLAY, 5.0, arguments);
        assert!(harness.command(0, &call).is_err(), "{call:?}");
    }
    // A name that no stream can have is answered.
    let mut harness = Harness::connected();
    let call = Command::new(MAY_PLAY, 5.0, vec!["rtmp://h".into(), "".into(), "".into()]);
    harness.command(0, &call).unwrap();
    assert!(harness.session.poll_event().is_none());
    // And before `connect` there are none.
    let mut harness = Harness::greeted();
    let call = Command::new(MAY_PLAY, 5.0, vec!["rtmp://h/a".into(), "b".into(), "".into()]);
    assert!(harness.command(0, &call).is_err());
}

#[test]
fn a_server_that_knows_no_questions_says_so_by_saying_nothing() {
    let now = Instant::now();
    let config = client::Config::new("rtmp://host/live/cam".parse().unwrap());
    let mut asking = client::Session::new_questions(config, [7; 1536], now);
    let mut harness = Harness::new();
    let hello = asking.poll_output().unwrap();
    harness.input(&hello).unwrap();
    let greeting = harness.session.poll_output().unwrap();
    asking.handle_input(&greeting, now).unwrap();
    // A result as of a server that has never heard of it.
    let mut result = BytesMut::new();
    let command = Command::new("_result", 1.0, vec![Object::new().into()]);
    chunk::encode_message(&mut result, 3, 0, type_id::COMMAND, 0, &command.encode(), 128);
    asking.handle_input(&result, now).unwrap();
    assert_eq!(asking.poll_event(), Some(client::Event::Connected { questions: 0 }));
}
