//! The server's end of a connection.

mod command;
mod config;
mod event;
mod held;
mod question;
mod questions;
mod rate;
mod reply;
mod stream;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use weir_flv::TagKind;
use weir_media::{Budget, Charge};

use crate::{
    Error, LeftOut,
    chunk::{MESSAGE_BYTES_MAX, Message},
    handshake,
    link::{Incoming, Link},
    media,
    message::RECONNECT_REQUEST,
};
use held::Held;
use questions::Questions;
use rate::Rates;
use stream::{Activity, Streams};

pub use crate::capabilities::Capabilities;
pub use config::Config;
pub use event::{
    ConnectInfo, Event, OTHER_BYTES_MAX, OTHER_FIELDS_MAX, PlayRefusal, PublishRefusal,
};
pub use held::{EARLY_BYTES_MAX, HELD_BYTES_MAX, HELD_ENOUGH};
pub use rate::{COMMANDS_BURST, COMMANDS_PER_SECOND, NOTICES_BURST, NOTICES_PER_SECOND};
pub use stream::MESSAGE_STREAMS_MAX;

/// Places for events that a publisher's session keeps: the media of a read, if its packets are of common size.
const EVENTS_KEPT: usize = 64;

/// What a client is told that says too much.
const CALL_FAILED: &str = "NetConnection.Call.Failed";

/// The server's end of one RTMP connection, without the socket.
///
/// # Use
/// - Call [`handle_input`](Self::handle_input) with what was read from the socket, and
///   [`handle_timeout`](Self::handle_timeout) when the moment of [`poll_timeout`](Self::poll_timeout) has come.
/// - After either of them, and after every `accept_`, `reject_`, `send_` or `end_` call, take everything from
///   [`poll_event`](Self::poll_event) and [`poll_output`](Self::poll_output); then ask `poll_timeout` again.
/// - Time never runs backwards; pass a `now` read after the bytes arrived.
/// - After an `Err` the session is dead: every further input is [`Error::Ended`]. Output that was queued before may
///   tell the client why, so write it, then close.
///
/// # Requests
/// [`Event::Publish`] and [`Event::Play`] wait for an answer, which may take as long as it needs: no timeout runs
/// meanwhile; the same holds for [`Event::Question`]. What a publisher sends meanwhile is held, and follows as events
/// when it is accepted; while the session [is full](Session::is_full) its socket is not to be read. A client that
/// gives up before the answer causes [`Event::EndPublish`] or [`Event::EndPlay`]; an answer after that is ignored.
/// After a refusal the connection stays usable (the idle timeout runs again); a server that does not want that closes
/// it.
///
/// # Memory
/// Unread events and output are bounded by the input that caused them: some 100 bytes of events for a byte of media
/// in the worst case, and one reply for a command. There is no limit across calls, so a caller that does not get its
/// output written must stop reading; else a client that only sends pings fills the caller's memory. A session that
/// plays and has nothing to send keeps less than 1 KiB on the heap.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    link: Link,
    streams: Streams,
    questions: Box<Questions>,
    events: VecDeque<Event>,
    /// When `phase` or the idle time ends.
    deadline: Option<Instant>,
    idle_timeout: Duration,
    rates: Box<Rates>,
    /// Media that came before its publish was accepted.
    held: Option<Box<Held>>,
    /// Whether the client has asked to publish before: media without a publish is what was left of that one.
    has_asked: bool,
    /// The longest message while the client publishes.
    message_bytes_max: u32,
    /// The latest time the caller named.
    now: Instant,
}

#[derive(Debug)]
enum Phase {
    Handshake(Box<(handshake::Server, Config)>),
    /// Waiting for `connect`.
    Hello(Box<Config>),
    Connected {
        tc_url: Box<str>,
        /// How much of its path is the app, if the path goes on behind that.
        app_bytes: u16,
        /// Whether the client follows reconnect requests.
        reconnects: bool,
        /// The room of the URL.
        _charge: Option<Box<Charge>>,
    },
    Ended,
}

impl Session {
    /// The session of a connection that was accepted at `now`. `random` goes into the handshake.
    pub fn new(config: Config, random: handshake::Random, now: Instant) -> Self {
        let mut link = Link::new();
        link.reader().expect_commands();
        Self {
            deadline: now.checked_add(config.handshake_timeout),
            idle_timeout: config.idle_timeout,
            phase: Phase::Handshake(Box::new((handshake::Server::new(random), config))),
            link,
            streams: Streams::default(),
            questions: Box::default(),
            events: VecDeque::new(),
            rates: Box::new(Rates::new(now)),
            held: None,
            has_asked: false,
            message_bytes_max: MESSAGE_BYTES_MAX as u32,
            now,
        }
    }

    /// What the client makes this session hold counts against `budget` too, and no message of it may be longer than
    /// `message_bytes_max` even while it publishes.
    pub fn limit_to(&mut self, budget: &Budget, message_bytes_max: usize) {
        self.message_bytes_max = message_bytes_max.min(MESSAGE_BYTES_MAX) as u32;
        self.link.reader().charge(budget);
    }

    /// Bytes of unfinished messages.
    pub fn partial_bytes(&self) -> usize {
        self.link.partial_bytes()
    }

    /// Whether the unfinished messages are more than this client's part of a budget that has hardly any room: it has to
    /// go, for others.
    pub fn is_hog(&self) -> bool {
        self.link.is_hog()
    }

    /// Takes bytes from the client, in pieces of any size.
    ///
    /// # Errors
    /// If the client broke the protocol or a limit; the session is dead then.
    pub fn handle_input(&mut self, input: &[u8], now: Instant) -> Result<(), Error> {
        self.now = self.now.max(now);
        let result = self.take_input(input);
        self.end_on_error(result)
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        // An idle viewer keeps no queue; a publisher, which fills it many times a second, does, as far as media needs
        // it.
        if event.is_none() && !self.streams.any_publishing() {
            self.events = VecDeque::new();
        } else if event.is_none() && self.events.capacity() > EVENTS_KEPT {
            self.events.shrink_to(EVENTS_KEPT);
        }
        event
    }

    /// Whether [`poll_event`](Self::poll_event) has something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Bytes to write to the client: everything there is, in one piece.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        self.link.poll_output()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Lets time pass. Calling it early is harmless.
    ///
    /// # Errors
    /// If the client took too long; the session is dead then.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.now = self.now.max(now);
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return Ok(());
        }
        let error = match &self.phase {
            Phase::Handshake(start) => Error::HandshakeTimeout(start.1.handshake_timeout),
            Phase::Hello(_) | Phase::Connected { .. } => Error::IdleTimeout(self.idle_timeout),
            Phase::Ended => Error::Ended,
        };
        self.end_on_error(Err(error))
    }

    /// Lets a client publish that asked for it, and tells it so. Does nothing if it no longer asks.
    pub fn accept_publish(&mut self, stream_id: u32) {
        if self.streams.accept(stream_id, Activity::PublishAsked) {
            self.expect();
            reply::publish_start(&mut self.link, stream_id);
            let mut events = std::mem::take(&mut self.events);
            self.take_held(stream_id, |event| events.push_back(event));
            self.events = events;
        }
    }

    /// Refuses a `publish`. Does nothing if the client no longer asks.
    pub fn reject_publish(&mut self, stream_id: u32, refusal: PublishRefusal, description: &str) {
        if self.streams.refuse(stream_id) {
            self.link.send_status(stream_id, "error", refusal.code(), description);
            self.publish_ended(stream_id);
        }
    }

    /// Whether so much is held until a publish is answered that the client is not to be read before.
    pub fn is_full(&self) -> bool {
        let partial = self.link.partial_bytes();
        match &self.held {
            Some(held) if self.streams.any_asking() => held.is_full(partial),
            None if self.streams.any_asking() => partial >= HELD_ENOUGH,
            _ => false,
        }
    }

    /// Tells a publisher that its stream is over, in the terms of a refusal. Does nothing unless it publishes.
    pub fn end_publish(&mut self, stream_id: u32, refusal: PublishRefusal, description: &str) {
        if self.streams.end_if(stream_id, Activity::Publishing) {
            self.link.send_status(stream_id, "error", refusal.code(), description);
            self.publish_ended(stream_id);
        }
    }

    /// Lets a client play that asked for it, and tells it so. Does nothing if it no longer asks.
    pub fn accept_play(&mut self, stream_id: u32) {
        if self.streams.accept(stream_id, Activity::PlayAsked) {
            reply::play_start(&mut self.link, stream_id);
        }
    }

    /// Refuses a `play`. Does nothing if the client no longer asks.
    pub fn reject_play(&mut self, stream_id: u32, refusal: PlayRefusal, description: &str) {
        if self.streams.end_if(stream_id, Activity::PlayAsked) {
            self.link.send_status(stream_id, "error", refusal.code(), description);
            self.watch_idle();
        }
    }

    /// Encodes one message for this viewer. Viewers on message stream 1 need not go through here: the bytes of
    /// [`encode_message`](crate::chunk::encode_message) with [`out_chunk_size`](Self::out_chunk_size) are the same
    /// for all of them. Does nothing unless the stream plays.
    ///
    /// # Panics
    /// If `body` is longer than [`MESSAGE_BYTES_MAX`].
    pub fn send_media(&mut self, stream_id: u32, kind: TagKind, timestamp: u32, body: &[u8]) {
        if self.streams.is(stream_id, Activity::Playing) {
            self.link.send_media(stream_id, kind, timestamp, body);
        }
    }

    /// Tells a player that the stream is over. Does nothing unless it plays.
    pub fn end_play(&mut self, stream_id: u32) {
        if self.streams.end_if(stream_id, Activity::Playing) {
            reply::play_end(&mut self.link, stream_id);
            self.watch_idle();
        }
    }

    /// Asks the client to connect anew, to the same URL, and to leave once it has; `description` says why. Returns
    /// whether it was asked: only a client that has announced it understands the request (Enhanced RTMP v2, "Reconnect
    /// Request").
    pub fn request_reconnect(&mut self, description: &str) -> bool {
        let asks = matches!(self.phase, Phase::Connected { reconnects: true, .. });
        if asks {
            self.link.send_status(0, "status", RECONNECT_REQUEST, description);
        }
        asks
    }

    /// The size of the chunks that this session sends.
    pub fn out_chunk_size(&self) -> u32 {
        self.link.out_chunk_size()
    }

    /// Heap memory in use, in bytes, without what the strings of unread events hold.
    pub fn heap_bytes(&self) -> usize {
        let phase = match &self.phase {
            Phase::Handshake(_) => {
                size_of::<(handshake::Server, Config)>() + 2 * handshake::PACKET_BYTES
            }
            Phase::Hello(_) => size_of::<Config>(),
            Phase::Connected { tc_url, .. } => tc_url.len(),
            Phase::Ended => 0,
        };
        let held = self.held.as_ref().map_or(0, |held| held.heap_bytes());
        let events = self.events.capacity() * size_of::<Event>() + held;
        let questions =
            size_of_val(&*self.questions) + size_of_val(&*self.rates) + self.questions.heap_bytes();
        phase + events + questions + self.link.heap_bytes() + self.streams.heap_bytes()
    }

    fn take_input(&mut self, mut input: &[u8]) -> Result<(), Error> {
        match &mut self.phase {
            Phase::Ended => return Err(Error::Ended),
            Phase::Handshake(start) => {
                if !start.0.read(&mut input, &mut self.link.out)? {
                    return Ok(());
                }
                let config = std::mem::take(&mut start.1);
                self.phase = Phase::Hello(Box::new(config));
                self.watch_idle();
            }
            Phase::Hello(_) | Phase::Connected { .. } => {}
        }
        while let Some(incoming) = self.link.read(&mut input)? {
            self.incoming(incoming)?;
        }
        match self.link.take_notices() {
            0 => Ok(()),
            count => self.rates.notices(count, self.now).or_else(|error| self.too_often(error)),
        }
    }

    fn incoming(&mut self, incoming: Incoming) -> Result<(), Error> {
        match incoming {
            Incoming::Command(stream_id, command) => self.command(stream_id, &command),
            Incoming::Media(message) => self.media(message),
            Incoming::BufferLength { stream_id, millis } => {
                if self.streams.contains(stream_id) {
                    self.events.push_back(Event::BufferLength { stream_id, millis });
                }
                Ok(())
            }
            Incoming::PeerBandwidth(_) | Incoming::Pong => Ok(()),
        }
    }

    /// Tells the client why its connection ends.
    fn too_often(&mut self, error: Error) -> Result<(), Error> {
        self.link.send_status(0, "error", CALL_FAILED, &error.to_string());
        Err(error)
    }

    /// Reports what a publisher sends, or holds it until it may publish: to drop its first messages, which hold the
    /// configuration of its codecs, would leave a stream that nobody can decode. What comes after the end or the
    /// refusal of a publish is dropped, and so is script data of players; audio and video of players is an error.
    fn media(&mut self, message: Message) -> Result<(), Error> {
        match self.streams.media_of(message.stream_id) {
            Some((stream_id, true)) => {
                let events = &mut self.events;
                media::tags(message, |tag| match tag {
                    Ok(tag) => events.push_back(Event::Media { stream_id, tag }),
                    Err(why) => {
                        let last = events.back_mut();
                        if !last.is_some_and(|last| count_with(last, stream_id, why)) {
                            events.push_back(Event::LeftOut { stream_id, count: 1, why });
                        }
                    }
                })
            }
            Some((stream_id, false)) => self.hold(stream_id, message, HELD_BYTES_MAX),
            None if self.streams.any_playing() => match media::is_audio_or_video(&message) {
                true => Err(Error::MediaWithoutPublish { stream_id: message.stream_id }),
                false => Ok(()),
            },
            None if self.has_asked => Ok(()),
            None => {
                let stream_id = message.stream_id;
                let is_media = media::is_audio_or_video(&message);
                let is_held = self.hold(stream_id, message, EARLY_BYTES_MAX).is_ok();
                match is_media && !is_held {
                    true => Err(Error::MediaWithoutPublish { stream_id }),
                    false => Ok(()),
                }
            }
        }
    }

    fn hold(&mut self, stream_id: u32, message: Message, most: usize) -> Result<(), Error> {
        let budget = self.link.reader().budget();
        let held = self.held.get_or_insert_with(|| Box::new(Held::new(budget)));
        let mut within = Ok(());
        media::tags(message, |tag| {
            let event = match tag {
                Ok(tag) => Event::Media { stream_id, tag },
                Err(why) => {
                    if held.last().is_some_and(|last| count_with(last, stream_id, why)) {
                        return;
                    }
                    Event::LeftOut { stream_id, count: 1, why }
                }
            };
            if within.is_ok() {
                within = held.push(event, most);
            }
        })?;
        within
    }

    /// Hands what is held for the publish on `stream_id` to `take`.
    fn take_held(&mut self, stream_id: u32, take: impl FnMut(Event)) {
        let Some(held) = &mut self.held else { return };
        let (events, has_more) = held.take(stream_id);
        events.for_each(take);
        if !has_more {
            self.held = None;
        }
    }

    /// Starts the idle time when nothing is published, played or asked for; stops it when something is. A question
    /// that waits for its answer is something, too.
    fn watch_idle(&mut self) {
        self.deadline = match self.streams.any_active() || !self.questions.is_empty() {
            true => None,
            false => self.now.checked_add(self.idle_timeout),
        };
    }

    /// Whoever ceases to publish, or may not, has no more to send than before.
    fn publish_ended(&mut self, stream_id: u32) {
        self.take_held(stream_id, drop);
        self.expect();
        self.watch_idle();
    }

    /// Tells the reader how much may come.
    fn expect(&mut self) {
        let (is_asking, most) = (self.streams.any_publishing(), self.message_bytes_max as usize);
        match self.streams.any_accepted() {
            true => self.link.reader().expect_media(most),
            false if is_asking => self.link.reader().expect_held(most),
            false => self.link.reader().expect_commands(),
        }
    }

    fn end_on_error(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if let Err(error @ (Error::Memory { .. } | Error::MessageTooLong { .. })) = &result {
            // A limit of ours is nothing that an encoder could know of.
            for stream_id in self.streams.publishing() {
                let code = PublishRefusal::Failed.code();
                self.link.send_status(stream_id, "error", code, &error.to_string());
            }
        }
        if result.is_err() {
            self.phase = Phase::Ended;
            self.streams = Streams::default();
            *self.questions = Questions::default();
            self.held = None;
            self.deadline = None;
        }
        result
    }
}

/// Counts what is left out with `last`, what came right before it, if that was the same; returns whether it was.
fn count_with(last: &mut Event, stream_id: u32, why: LeftOut) -> bool {
    match last {
        Event::LeftOut { stream_id: of, count, why: same } if (*of, *same) == (stream_id, why) => {
            *count = count.saturating_add(1);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
