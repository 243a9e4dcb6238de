//! RTMP viewers on the control side: from `play` to the shard, and what comes back from there.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use weir_clients::{
    detail::Detail,
    end::{End, Kind},
};
use weir_delivery::{Arrival, Channel, MESSAGE_STREAM_ID, Protocol, Terms, Why};
use weir_edge::{Ask, NoStream};
use weir_hub::Start;
use weir_rtmp::{
    server::{Event, PlayRefusal},
    url::StreamUrl,
};

use super::{
    connection::{Connection, Turn},
    slow,
};
use crate::{
    auth::Action,
    play::{Playing, Refusal, Request, live::Live, request},
    terms,
};

/// Answers a `play`: waits for the stream, then hands the viewer to a shard.
pub async fn play(mut connection: Box<Connection>, stream_id: u32, url: &StreamUrl) -> Turn {
    let (node, ask) = (Arc::clone(&connection.node), connection.ask(url));
    let presence = Arc::clone(&connection.client.presence);
    let asked = Request { url, ask: &ask, ip: connection.client.peer.ip(), presence: &presence };
    let mut live = Live(node.rtmp_format());
    let playing = tokio::select! {
        // What came in the same breath is for the viewer that it may become.
        biased;
        playing = request(&node, &asked, &mut live) => playing,
        left = given_up(&mut connection, stream_id) => return connection.after(left),
    };
    let Playing { vhost, opened: channel, session, .. } = match playing {
        Ok(playing) => playing,
        Err(refusal) => return refuse(connection, stream_id, &refusal, &ask).await,
    };
    connection.client.viewing = Some(session);
    connection.session.accept_play(stream_id);
    if let Err(end) = connection.flush().await {
        return Turn::Over(connection, end);
    }
    // What the client has asked for in the same breath (receiveAudio, pause) makes it a viewer of its own kind.
    match next_command(&mut connection) {
        None if stream_id == MESSAGE_STREAM_ID => {
            hand_over(*connection, channel, terms::of(&vhost.play));
            Turn::Gone
        }
        first => {
            let start = terms::start(&vhost.play);
            slow::play(connection, stream_id, vhost, start, first).await
        }
    }
}

/// Tells the client why it may not play, and lets it ask for something else where that may help.
async fn refuse(
    mut connection: Box<Connection>,
    stream_id: u32,
    refusal: &Refusal,
    ask: &Ask,
) -> Turn {
    if refusal.may_be_guess(ask)
        && let Err(end) = connection.hold_back().await
    {
        return Turn::Over(connection, end);
    }
    let reason = refusal.to_string();
    connection.refuse_play(stream_id, code(refusal), &reason);
    match refusal {
        Refusal::BadName(_) => Turn::Over(connection, End::peer(format!("play refused: {reason}"))),
        Refusal::Denied { key, why } => Turn::Over(connection, why.end(Action::Play, key)),
        Refusal::NoStream { key, .. } | Refusal::Guesses { key } | Refusal::Unfit { key, .. } => {
            let code = match refusal {
                Refusal::NoStream { why: NoStream::Full(_), .. } => "full",
                Refusal::NoStream { why: NoStream::Refused(_), .. } => "origin_no",
                Refusal::NoStream { why: NoStream::Missing(_), .. } => "missing",
                Refusal::Unfit { .. } => "unfit",
                _ => "unavailable",
            };
            connection.client.refused(key, Detail::new(code, [&reason], &reason));
            Turn::Stay(connection)
        }
    }
}

/// The code that a viewer is told that may not play.
fn code(refusal: &Refusal) -> PlayRefusal {
    match refusal {
        Refusal::NoStream { why: NoStream::Missing(_), .. } => PlayRefusal::StreamNotFound,
        Refusal::NoStream {
            why: NoStream::Refused(_) | NoStream::Unavailable(_) | NoStream::Full(_),
            ..
        }
        | Refusal::BadName(_)
        | Refusal::Denied { .. }
        | Refusal::Guesses { .. }
        | Refusal::Unfit { .. } => PlayRefusal::Failed,
    }
}

/// Goes on with a viewer that has left its shard.
pub async fn returned(mut connection: Box<Connection>, why: Why) -> Turn {
    match (why, connection.client.presence.stream()) {
        (Why::Command(event), Some(key)) => {
            let vhost = connection.node.settings.vhost(key.vhost());
            // It has had a part of the present group: the next one is where it can go on without seeing that again.
            slow::play(connection, MESSAGE_STREAM_ID, vhost, Start::NextGroup, Some(event)).await
        }
        (Why::Leave(farewell), _) => {
            // An edge is told nothing that it would pass on to its viewers: it finds the stream elsewhere.
            if !connection.client.presence.doing().is_node {
                connection.session.end_play(MESSAGE_STREAM_ID);
            }
            Turn::Over(connection, farewell.end())
        }
        (Why::StreamEnded | Why::Command(_), _) => {
            // The idle time begins now, not when the viewer last said something.
            if let Err(error) = connection.session.handle_timeout(Instant::now()) {
                return Turn::Over(connection, End::new(Kind::Idle, error.to_string()));
            }
            connection.session.end_play(MESSAGE_STREAM_ID);
            Turn::Stay(connection)
        }
    }
}

fn hand_over(connection: Connection, channel: Arc<Channel>, terms: Terms) {
    let Connection { node, session, client, socket, .. } = connection;
    let (socket, tls) = socket.into_parts();
    match socket.into_std() {
        Ok(socket) => {
            let protocol = Protocol::Rtmp(session);
            node.delivery.shards.deliver(Arrival {
                socket,
                tls,
                channel,
                terms,
                head: Bytes::new(),
                protocol,
                client,
            });
        }
        Err(error) => client.end(&End::us(format!("cannot hand the socket over: {error}"))),
    }
}

/// What the client has asked for already and changes what it gets. Players say how much they buffer right after `play`,
/// in the same packet or not.
fn next_command(connection: &mut Connection) -> Option<Event> {
    let mut events = std::iter::from_fn(|| connection.session.poll_event());
    events.find(|event| !matches!(event, Event::BufferLength { .. }))
}

/// Ends when the client does not want the stream any more, or is gone.
async fn given_up(connection: &mut Connection, stream_id: u32) -> Result<(), End> {
    loop {
        match connection.event().await? {
            Event::EndPlay { stream_id: ended } if ended == stream_id => return Ok(()),
            event => connection.refuse_another(&event, "one stream per connection"),
        }
    }
}
