//! RTMP to an origin.

use std::{
    io::ErrorKind,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::Instant;
use weir_flv::{Tag, amf0};
use weir_intake::count_left_out;
use weir_rtmp::{
    Error,
    client::{Config, Event, Session},
    handshake,
    url::RtmpUrl,
};

use super::{
    failure::{self, Failure, Over, is_end, words},
    request::{self, Request},
};
use crate::{
    Ask, Hops, Origin,
    client::{Lost, RtmpClient},
    origins::Port,
};

/// Which session to begin: [`Session::new_publish`], [`Session::new_play`] or [`Session::new_questions`].
type Begin = fn(Config, handshake::Random, std::time::Instant) -> Session;

/// Asks for a stream until it is accepted. Also returns when the first tag must have come.
pub async fn play(
    origin: &Origin,
    request: &Request,
    dead_after: Duration,
    connected: &AtomicBool,
) -> Result<(RtmpClient, Instant), Failure> {
    let start = Instant::now();
    // nginx-rtmp says no to a player by closing, and so do others.
    let closed = || Failure::Missing("closed the connection instead of playing".to_owned());
    let signs = Signs { connected, greeted: &AtomicBool::new(false) };
    let client = ask(origin, request, dead_after, signs, Session::new_play, closed).await?;
    // An origin that held the question has waited already.
    let wait = request.wait + dead_after;
    Ok((client, (Instant::now() + wait).min(start + dead_after + wait)))
}

/// Asks to take a stream until it is accepted; `greeted` is set once the origin has shown that it speaks RTMP.
pub async fn publish(
    origin: &Origin,
    request: &Request,
    dead_after: Duration,
    greeted: &AtomicBool,
) -> Result<RtmpClient, Failure> {
    let closed = || Failure::Refused {
        code: "NetConnection.Connect.Closed".to_owned(),
        description: "the origin closed the connection instead of accepting".to_owned(),
    };
    let signs = Signs { connected: &AtomicBool::new(false), greeted };
    ask(origin, request, dead_after, signs, Session::new_publish, closed).await
}

/// Signs of life of an origin that is being asked.
struct Signs<'a> {
    /// Its system has accepted the connection.
    connected: &'a AtomicBool,
    /// It has answered the handshake itself.
    greeted: &'a AtomicBool,
}

/// A connection for questions, and how many of them may wait for their answers.
pub async fn questions(
    origin: &Origin,
    request: &Request,
    dead_after: Duration,
    connected: &AtomicBool,
) -> Result<(RtmpClient, usize), Failure> {
    let closed = || Failure::Missing("closed the connection instead of answering".to_owned());
    let begin = Session::new_questions;
    let signs = Signs { connected, greeted: &AtomicBool::new(false) };
    let (client, event) = begun(origin, request, dead_after, signs, begin, closed).await?;
    let questions = if let Event::Connected { questions } = event { questions } else { 0 };
    Ok((client, questions))
}

async fn ask(
    origin: &Origin,
    request: &Request,
    dead_after: Duration,
    signs: Signs<'_>,
    begin: Begin,
    closed: impl FnOnce() -> Failure,
) -> Result<RtmpClient, Failure> {
    let begun = begun(origin, request, dead_after, signs, begin, closed).await?;
    Ok(begun.0)
}

/// A session that has begun, and the first that the origin says.
async fn begun(
    origin: &Origin,
    request: &Request,
    dead_after: Duration,
    signs: Signs<'_>,
    begin: Begin,
    closed: impl FnOnce() -> Failure,
) -> Result<(RtmpClient, Event), Failure> {
    let start = Instant::now();
    let url = url(origin, request)?;
    let mut random = [0; 1536];
    getrandom::fill(&mut random).map_err(|error| {
        Failure::Unreachable(format!("no random bytes for the handshake: {error}"))
    })?;
    let connecting = origin.connect(Port::Rtmp, signs.connected);
    let stream = request::connected(connecting, start + dead_after).await?;
    let config = Config {
        connect_extra: extra(request),
        timeout: dead_after,
        wait: request.wait,
        silence: Some(dead_after),
        reconnects: true,
        ..Config::new(url)
    };
    let mut session = begin(config, random, start.into_std());
    session.limit_to(&request.memory.budget, request.memory.message_bytes);
    let mut client = RtmpClient::new(session, stream, dead_after);
    let answered = async {
        client.greeted().await?;
        signs.greeted.store(true, Ordering::Relaxed);
        client.event().await
    };
    match answered.await {
        Ok(Event::Refused { code, description } | Event::Ended { code, description }) => {
            Err(Failure::said(&code, &description))
        }
        Ok(event) => Ok((client, event)),
        Err(lost) if has_closed(&lost) && client.session().greeted() => Err(closed()),
        // It is there and does not know what to say: there are servers that answer only once the stream is there.
        Err(Lost::Late(Error::AnswerTimeout { waiting_for: "play", .. }))
            if client.session().answers_pings() =>
        {
            Err(Failure::Missing("no answer to play".to_owned()))
        }
        Err(lost) => Err(Failure::Unreachable(lost.to_string())),
    }
}

/// The next tag of a stream that was accepted. Nothing is lost when it is cancelled.
pub async fn tag(client: &mut RtmpClient) -> Result<Tag, Over> {
    loop {
        match client.event().await {
            Ok(Event::Media(tag)) => return Ok(tag),
            Ok(Event::LeftOut { count, why }) => count_left_out(count, &why),
            // It is going to stop: another origin, or the next process of this one, has the stream soon.
            Ok(Event::ReconnectRequested { .. }) => return Err(Over::Closed),
            Ok(Event::Ended { code, .. }) if is_end(&code) => return Err(Over::Ended),
            Ok(Event::Ended { code, description } | Event::Refused { code, description }) => {
                let (code, description) = (words(&code), words(&description));
                return Err(Over::Refused { code, description });
            }
            Ok(_) => {}
            Err(lost) if has_closed(&lost) => return Err(Over::Closed),
            Err(lost) => return Err(Over::Broke(lost.to_string())),
        }
    }
}

/// What an RTMP connection was lost by.
pub fn lost(lost: &Lost) -> failure::Lost {
    if has_closed(lost) {
        return failure::Lost::closed();
    }
    failure::Lost { why: lost.to_string(), is_failure: true }
}

/// Whether the origin closed the connection. It is a reset if it had not read all that was sent to it.
fn has_closed(lost: &Lost) -> bool {
    const KINDS: [ErrorKind; 3] =
        [ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted, ErrorKind::BrokenPipe];
    match lost {
        Lost::Closed => true,
        Lost::Network(error) => KINDS.contains(&error.kind()),
        _ => false,
    }
}

fn extra(request: &Request) -> amf0::Object {
    let wait = u32::try_from(request.wait.as_millis()).unwrap_or(u32::MAX);
    let mut extra = amf0::Object::new();
    extra.push(Hops::FIELD, request.hops.to_string());
    extra.push(Ask::WAIT_FIELD, wait);
    if request.next {
        extra.push(Ask::NEXT_FIELD, true);
    }
    extra
}

/// Where the stream is at the origin.
///
/// # Errors
/// When a server would read another name out of it. A stream with such a name (white space is one reason) cannot have
/// been published over RTMP, so nobody has it.
pub fn url(origin: &Origin, request: &Request) -> Result<RtmpUrl, Failure> {
    request.question(&origin.host, origin.address, |question| question.rtmp(origin.scheme.is_tls()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;
    use weir_config::{ForwardQuery, Settings};
    use weir_media::{DEFAULT_VHOST, StreamKey};
    use weir_rtmp::url::discover;

    use super::*;
    use crate::query::forwarded;

    fn origin(host: &str) -> Origin {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        super::super::tests::origin(at(1936), at(8080), host)
    }

    fn request(vhost: &str, app: &str, stream: &str, params: &str) -> Request {
        let key = StreamKey::new(vhost, app, stream).expect("a name that a stream can have");
        Request {
            key,
            params: forwarded(params, &ForwardQuery::All),
            settings: Settings::default(),
            hops: Hops::default(),
            wait: Duration::ZERO,
            next: false,
            memory: super::super::tests::allowance(),
        }
    }

    #[test]
    fn the_url_names_the_origin_and_the_stream() {
        let plain = url(&origin("origin"), &request(DEFAULT_VHOST, "live/eu", "cam", "?a=b"));
        assert_eq!(plain.expect("a URL").to_string(), "rtmp://origin:1936/live/eu/cam?a=b");
        let vhost = url(&origin("::1"), &request("v.org", "live", "cam", "?a=b"));
        assert_eq!(vhost.expect("a URL").to_string(), "rtmp://[::1]:1936/live/cam?vhost=v.org&a=b");
        let bare = url(&origin("o"), &request("v.org", "live", "cam", ""));
        assert_eq!(bare.expect("a URL").stream_with_query, "cam?vhost=v.org");
    }

    #[test]
    fn names_are_written_so_that_the_origin_reads_the_same() {
        for (app, stream, written) in [
            ("live", "my cam", "live/my cam"),
            ("my app", " cam", "my app/%20cam"),
            ("live", "100%", "live/100%"),
            ("50%20", "x%20y", "50%2520/x%2520y"),
        ] {
            let url = url(&origin("o"), &request(DEFAULT_VHOST, app, stream, "")).expect("a URL");
            assert_eq!(url.to_string(), format!("rtmp://o:1936/{written}"));
        }
    }

    #[test]
    fn a_name_that_rtmp_does_not_carry_is_not_asked_for() {
        let names =
            [(DEFAULT_VHOST, "live/_definst_", "cam"), (DEFAULT_VHOST, "live", "a...vhost...b")];
        for (vhost, app, stream) in names {
            let url = url(&origin("o"), &request(vhost, app, stream, ""));
            assert!(matches!(url, Err(Failure::Missing(_))), "{vhost} {app} {stream}: {url:?}");
        }
        let long = format!("?token={}", "x".repeat(10_000));
        let url = url(&origin("o"), &request(DEFAULT_VHOST, "live", "cam", &long));
        assert!(matches!(url, Err(Failure::Missing(_))), "{url:?}");
    }

    proptest! {
        #[test]
        fn what_arrives_is_what_was_asked_for(app in ".{1,20}", stream in ".{1,20}", vhost in "[a-z._]{1,9}") {
            let Ok(key) = StreamKey::new(&vhost, &app, &stream) else { return Ok(()) };
            let request = Request { key, ..request(DEFAULT_VHOST, "x", "x", "?token=1") };
            let Ok(url) = url(&origin("o"), &request) else { return Ok(()) };
            let read = discover(&url.tc_url, &url.stream_with_query).expect("a stream");
            prop_assert_eq!(StreamKey::new(&read.vhost, &read.app, &read.stream), Ok(request.key));
        }
    }
}
