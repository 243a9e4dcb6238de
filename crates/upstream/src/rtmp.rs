//! RTMP to another server.

use std::{
    future::Future,
    io::{self, ErrorKind},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::Instant;
use weir_flv::{Tag, amf0};
use weir_intake::{Allowance, count_left_out};
use weir_rtmp::{
    Error,
    client::{Config, Event, Session},
    handshake,
    url::RtmpUrl,
};
use weir_tls::Stream;

use crate::{
    client::{Lost, RtmpClient},
    connect::connected,
    failure::{self, Failure, Over, is_end, words},
};

/// What is asked of a server in RTMP.
#[derive(Clone, Debug)]
pub struct Call {
    /// The stream. What of it is the server's address is not looked at.
    pub url: RtmpUrl,
    /// More fields for the command object of `connect`.
    pub extra: amf0::Object,
    /// How long the server may hold the question until the stream begins.
    pub wait: Duration,
    /// How long it may say nothing, and take no data.
    pub dead_after: Duration,
    /// What it may make us hold.
    pub memory: Allowance,
}

/// Which session to begin: [`Session::new_publish`], [`Session::new_play`] or [`Session::new_questions`].
type Begin = fn(Config, handshake::Random, std::time::Instant) -> Session;

/// Asks for a stream until it is accepted. Also returns when the first tag must have come.
///
/// # Errors
/// When it is not, with the reason.
pub async fn play(
    connecting: impl Future<Output = io::Result<Stream>>,
    call: Call,
) -> Result<(RtmpClient, Instant), Failure> {
    let (start, wait, dead_after) = (Instant::now(), call.wait, call.dead_after);
    // nginx-rtmp says no to a player by closing, and so do others.
    let closed = || Failure::Missing("closed the connection instead of playing".to_owned());
    let greeted = AtomicBool::new(false);
    let (client, _) = begun(connecting, call, &greeted, Session::new_play, closed).await?;
    // A server that held the question has waited already.
    let wait = wait + dead_after;
    Ok((client, (Instant::now() + wait).min(start + dead_after + wait)))
}

/// Asks to take a stream until it is accepted; `greeted` is set once the server has shown that it speaks RTMP.
pub async fn publish(
    connecting: impl Future<Output = io::Result<Stream>>,
    call: Call,
    greeted: &AtomicBool,
) -> Result<RtmpClient, Failure> {
    let closed = || Failure::Refused {
        code: "NetConnection.Connect.Closed".to_owned(),
        description: "the server closed the connection instead of accepting".to_owned(),
    };
    let (client, _) = begun(connecting, call, greeted, Session::new_publish, closed).await?;
    Ok(client)
}

/// A connection for questions, and how many of them may wait for their answers: none if the server knows no questions.
///
/// # Errors
/// When there is none; [`Failure::Refused`] and [`Failure::Missing`] are the doing of servers that know no questions.
pub async fn questions(
    connecting: impl Future<Output = io::Result<Stream>>,
    call: Call,
) -> Result<(RtmpClient, usize), Failure> {
    let closed = || Failure::Missing("closed the connection instead of answering".to_owned());
    let begin = Session::new_questions;
    let greeted = AtomicBool::new(false);
    let (client, event) = begun(connecting, call, &greeted, begin, closed).await?;
    let questions = if let Event::Connected { questions } = event { questions } else { 0 };
    Ok((client, questions))
}

/// A session that has begun, and the first that the server says.
async fn begun(
    connecting: impl Future<Output = io::Result<Stream>>,
    call: Call,
    greeted: &AtomicBool,
    begin: Begin,
    closed: impl FnOnce() -> Failure,
) -> Result<(RtmpClient, Event), Failure> {
    let start = Instant::now();
    let Call { url, extra, wait, dead_after, memory } = call;
    let mut random = [0; 1536];
    getrandom::fill(&mut random).map_err(|error| {
        Failure::Unreachable(format!("no random bytes for the handshake: {error}"))
    })?;
    let stream = connected(connecting, start + dead_after).await?;
    let config = Config {
        connect_extra: extra,
        timeout: dead_after,
        wait,
        silence: Some(dead_after),
        reconnects: true,
        ..Config::new(url)
    };
    let mut session = begin(config, random, start.into_std());
    session.limit_to(&memory.budget, memory.message_bytes);
    let mut client = RtmpClient::new(session, stream, dead_after);
    let answered = async {
        client.greeted().await?;
        greeted.store(true, Ordering::Relaxed);
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
            // It is going to stop: another server, or the next process of this one, has the stream soon.
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

/// Whether the server closed the connection. It is a reset if it had not read all that was sent to it.
fn has_closed(lost: &Lost) -> bool {
    const KINDS: [ErrorKind; 3] =
        [ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted, ErrorKind::BrokenPipe];
    match lost {
        Lost::Closed => true,
        Lost::Network(error) => KINDS.contains(&error.kind()),
        _ => false,
    }
}
