//! RTMP viewers on the control side: from `play` to the shard, and what comes back from there.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use weir_clients::{
    counts::Refused,
    end::{End, Kind},
    roster::Activity,
};
use weir_delivery::{Arrival, Channel, MESSAGE_STREAM_ID, Protocol, Terms, Why};
use weir_hub::Start;
use weir_rtmp::{
    server::{Event, PlayRefusal},
    url::StreamUrl,
};

use super::slow;
use crate::{
    auth::Action,
    connection::{Connection, Turn},
    terms,
};

/// Answers a `play`: waits for the stream, then hands the viewer to a shard.
pub async fn play(mut connection: Box<Connection>, stream_id: u32, url: &StreamUrl) -> Turn {
    let (key, mut vhost) = match connection.node.resolve(url) {
        Ok(resolved) => resolved,
        Err(error) => {
            Refused::BadName.count();
            connection.refuse_play(stream_id, PlayRefusal::Failed, &error.to_string());
            return Turn::Over(connection, End::peer(format!("play refused: {error}")));
        }
    };
    connection.client.asks(Activity::Play, &key);
    let node = Arc::clone(&connection.node);
    let peer = connection.client.peer.ip();
    if let Err(denied) = node.auth.check(&vhost.auth, Action::Play, &key, &url.params, peer) {
        if denied.may_be_guess()
            && let Err(end) = connection.hold_back().await
        {
            return Turn::Over(connection, end);
        }
        connection.refuse_play(stream_id, PlayRefusal::Failed, &denied.to_string());
        return Turn::Over(connection, denied.end(Action::Play, &key));
    }
    let ask = connection.ask(url);
    vhost.play.gop &= !super::has_had_it(&node, &key, &ask);
    let opened = tokio::select! {
        opened = super::open(&node, &key, &vhost, node.rtmp_format(), &ask) => opened,
        left = given_up(&mut connection, stream_id) => return connection.after(left),
    };
    let is_node = !ask.hops.is_empty();
    let admitted = opened.and_then(|channel| {
        super::admit(&node, &channel, is_node).map(|viewing| (channel, viewing))
    });
    let channel = match admitted {
        Ok((channel, viewing)) => {
            connection.client.viewing = Some(viewing);
            channel
        }
        Err(why) => {
            if why.may_be_guess(&ask)
                && let Err(end) = connection.hold_back().await
            {
                return Turn::Over(connection, end);
            }
            connection.refuse_play(stream_id, why.refusal(), &why.to_string());
            connection.client.refused(&key, &why.to_string());
            return Turn::Stay(connection);
        }
    };
    connection.session.accept_play(stream_id);
    if let Err(end) = connection.flush().await {
        return Turn::Over(connection, end);
    }
    connection.client.began(Activity::Play, &key);
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

/// Goes on with a viewer that has left its shard.
pub async fn returned(mut connection: Box<Connection>, why: Why) -> Turn {
    match (why, connection.client.stream.clone()) {
        (Why::Command(event), Some(key)) => {
            let vhost = connection.node.config().vhost(key.vhost());
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
    match socket.into_std() {
        Ok(socket) => {
            let protocol = Protocol::Rtmp(session);
            node.delivery.shards.deliver(Arrival {
                socket,
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
