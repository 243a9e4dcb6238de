//! The client's end of a connection: a publisher, a player, or one that asks what it might play.

mod calls;
mod liveness;
mod purpose;
mod questions;
mod transaction;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use weir_flv::{Tag, TagKind, amf0};
use weir_media::Budget;

use crate::{
    Capabilities, Error, LeftOut,
    chunk::MESSAGE_BYTES_MAX,
    handshake,
    link::{Incoming, Link},
    media,
    message::{Command, Control, MayPlay, RECONNECT_REQUEST},
    url::RtmpUrl,
};
use liveness::Liveness;
use purpose::Purpose;

/// What a client session is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to publish to or play from.
    pub url: RtmpUrl,
    /// Name and version for the server's logs. Servers match on `FMLE/` and `LNX `, so keep the beginning.
    pub flash_ver: String,
    /// More fields for the command object of `connect`.
    pub connect_extra: amf0::Object,
    /// The size of our chunks.
    pub chunk_size: u32,
    /// Which handshake to begin with.
    pub handshake: handshake::Kind,
    /// Whether to announce Enhanced RTMP capabilities: every codec, multitrack, ModEx.
    pub enhanced: bool,
    /// From the start of the session until the server accepted or refused.
    pub timeout: Duration,
    /// How much longer than `timeout` the answer to `publish` or `play` may take: as long as the server was asked to
    /// wait for the stream.
    pub wait: Duration,
    /// How long the server may say nothing after `publish` or `play`; after half of it, it is pinged. `None` is for
    /// ever, without pings.
    ///
    /// A server that has answered a ping is dead when nothing at all comes for so long. There are servers that answer
    /// none: one that plays is dead then when the media that flowed has stopped for so long, and one that is published
    /// to cannot be judged here; its socket stops taking data.
    pub silence: Option<Duration>,
    /// Whether to announce that reconnect requests are followed: the caller then does so when
    /// [`Event::ReconnectRequested`] comes.
    pub reconnects: bool,
    /// The buffer length that a player announces. Some servers send so much at once.
    pub buffer: Duration,
}

impl Config {
    /// The usual settings for `url`.
    pub fn new(url: RtmpUrl) -> Self {
        Self {
            url,
            flash_ver: "FMLE/3.0 (compatible; Weir)".to_owned(),
            connect_extra: amf0::Object::new(),
            chunk_size: 60_000,
            handshake: handshake::Kind::Simple,
            enhanced: true,
            timeout: Duration::from_secs(10),
            wait: Duration::ZERO,
            silence: None,
            reconnects: false,
            buffer: Duration::from_secs(1),
        }
    }
}

/// What the server did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The publish or play was accepted: media may be sent, or will come.
    Accepted,
    /// The server is connected to a session that asks, and lets so many questions wait for their answers at a time;
    /// none if it does not know them.
    Connected {
        /// How many.
        questions: usize,
    },
    /// The answer to a question, or why there is none.
    Answer {
        /// The number of the question.
        id: u32,
        /// The answer.
        answer: Result<MayPlay, String>,
    },
    /// The connection, the publish or the play was refused. Nothing more will happen.
    Refused {
        /// The status code, such as `NetStream.Publish.BadName`.
        code: String,
        /// The server's words.
        description: String,
    },
    /// A message of the stream that is played, metadata included.
    Media(Tag),
    /// Messages, or parts of one, that hold nothing to play.
    LeftOut {
        /// How many, one after the other.
        count: u32,
        /// What is wrong with them.
        why: LeftOut,
    },
    /// The server wants this client to connect anew, and then to leave: it is going to stop.
    ReconnectRequested {
        /// Where to connect to; none means where this connection is to.
        tc_url: Option<String>,
        /// The server's words.
        description: String,
    },
    /// The server ended the stream after it had accepted it. Nothing more will happen.
    Ended {
        /// The status code, such as `NetStream.Play.UnpublishNotify`.
        code: String,
        /// The server's words.
        description: String,
    },
}

/// The client's end of one RTMP connection, without the socket. It handles the handshake, `connect`, `createStream` and
/// `publish` or `play` by itself; the caller moves bytes and waits for [`Event::Accepted`].
///
/// The calling rules are those of [`server::Session`](crate::server::Session).
#[derive(Debug)]
pub struct Session {
    purpose: Purpose,
    config: Config,
    phase: Phase,
    link: Link,
    events: VecDeque<Event>,
    /// The longest message while the server plays to us.
    message_bytes_max: usize,
    /// When the server must have accepted or refused.
    deadline: Option<Instant>,
    /// From `publish` or `play` on.
    liveness: Option<Liveness>,
    /// What the server has said of itself in its answer to `connect`.
    capabilities: Option<Capabilities>,
}

#[derive(Debug)]
enum Phase {
    Handshake(Box<handshake::Client>),
    /// Waiting for the result of `connect`.
    Connecting,
    /// Waiting for the result of `createStream`.
    CreatingStream,
    /// Waiting for the status of `publish` or `play`.
    Asking {
        stream_id: u32,
    },
    Active {
        stream_id: u32,
    },
    /// Connected, to ask questions.
    Questioning,
    /// Refused, ended or stopped; what still comes in is ignored.
    Over,
    Failed,
}

impl Session {
    /// A session that publishes. `random` goes into the handshake.
    pub fn new_publish(config: Config, random: handshake::Random, now: Instant) -> Self {
        Self::new(Purpose::Publish, config, random, now)
    }

    /// A session that plays. `random` goes into the handshake.
    pub fn new_play(config: Config, random: handshake::Random, now: Instant) -> Self {
        Self::new(Purpose::Play, config, random, now)
    }

    /// A session that neither publishes nor plays: it [asks](Self::ask_question). `random` goes into the handshake.
    pub fn new_questions(config: Config, random: handshake::Random, now: Instant) -> Self {
        Self::new(Purpose::Ask, config, random, now)
    }

    fn new(purpose: Purpose, config: Config, random: handshake::Random, now: Instant) -> Self {
        let mut link = Link::new();
        link.reader().expect_commands();
        let handshake = handshake::Client::new(config.handshake, random, &mut link.out);
        Self {
            purpose,
            deadline: now.checked_add(config.timeout),
            config,
            phase: Phase::Handshake(Box::new(handshake)),
            link,
            events: VecDeque::new(),
            message_bytes_max: MESSAGE_BYTES_MAX,
            liveness: None,
            capabilities: None,
        }
    }

    /// What the server makes this session hold counts against `budget` too, and no message of it may be longer than
    /// `message_bytes_max` even while it plays to us.
    pub fn limit_to(&mut self, budget: &Budget, message_bytes_max: usize) {
        self.message_bytes_max = message_bytes_max;
        self.link.reader().charge(budget);
    }

    /// Bytes of unfinished messages.
    pub fn partial_bytes(&self) -> usize {
        self.link.partial_bytes()
    }

    /// Whether the unfinished messages are more than this server's part of a budget that has hardly any room.
    pub fn is_hog(&self) -> bool {
        self.link.is_hog()
    }

    /// Takes bytes from the server, in pieces of any size.
    ///
    /// # Errors
    /// If the server broke the protocol or a limit; the session is dead then.
    pub fn handle_input(&mut self, input: &[u8], now: Instant) -> Result<(), Error> {
        if let Some(liveness) = &mut self.liveness {
            liveness.heard(now);
        }
        let result = self.take_input(input, now);
        self.fail_on_error(result)
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Bytes to write to the server: everything there is, in one piece.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        self.link.poll_output()
    }

    /// From now on the server may say nothing for `silence` ([`Config::silence`]), if there was a limit before.
    pub fn set_silence(&mut self, silence: Duration) {
        if let Some(limit) = &mut self.config.silence {
            *limit = silence;
        }
        if let Some(liveness) = &mut self.liveness {
            liveness.set_limit(silence);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let failed = matches!(self.phase, Phase::Failed);
        let silence = self.liveness.as_ref().filter(|_| !failed).and_then(Liveness::due);
        [self.deadline, silence].into_iter().flatten().min()
    }

    /// Lets time pass. Calling it early is harmless.
    ///
    /// # Errors
    /// If the server took too long, or is silent; the session is dead then.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return self.time_is_up();
        }
        let checked = match (&self.phase, &mut self.liveness) {
            (Phase::Failed, _) | (_, None) => Ok(None),
            (_, Some(liveness)) => liveness.check(now),
        };
        if let Ok(Some(ping)) = checked {
            self.link.send_control(Control::User(ping));
        }
        self.fail_on_error(checked.map(|_| ()))
    }

    fn time_is_up(&mut self) -> Result<(), Error> {
        let wait = if self.asked() { self.config.wait } else { Duration::ZERO };
        let limit = self.config.timeout.saturating_add(wait);
        let waiting_for = match (&self.phase, self.purpose) {
            (Phase::Handshake(_), _) => "the handshake",
            (Phase::Connecting, _) => "connect",
            (Phase::CreatingStream, _) => "createStream",
            (_, Purpose::Publish) => "publish",
            (_, Purpose::Play) => "play",
            (_, Purpose::Ask) => "connect",
        };
        self.fail_on_error(Err(Error::AnswerTimeout { waiting_for, limit }))
    }

    /// Whether the handshake is behind us: the server speaks RTMP.
    pub fn greeted(&self) -> bool {
        !matches!(self.phase, Phase::Handshake(_))
    }

    /// Whether `publish` or `play` was sent and has no answer yet.
    pub fn asked(&self) -> bool {
        matches!(self.phase, Phase::Asking { .. })
    }

    /// Whether the server has answered a ping: what is silent then is the stream and not the server.
    pub fn answers_pings(&self) -> bool {
        self.liveness.as_ref().is_some_and(Liveness::answers)
    }

    /// What the server can do beyond classic RTMP, as it has said in its answer to `connect`; none if it has said
    /// nothing of Enhanced RTMP.
    pub fn capabilities(&self) -> Option<&Capabilities> {
        self.capabilities.as_ref()
    }

    /// Bytes that [`poll_output`](Self::poll_output) would give.
    pub fn queued(&self) -> usize {
        self.link.out.len()
    }

    /// Sends one message of the stream. Does nothing unless this session publishes and was accepted.
    ///
    /// # Panics
    /// If `body` is longer than [`MESSAGE_BYTES_MAX`].
    pub fn send_media(&mut self, kind: TagKind, timestamp: u32, body: &[u8]) {
        if let (Phase::Active { stream_id }, Purpose::Publish) = (&self.phase, self.purpose) {
            self.link.send_media(*stream_id, kind, timestamp, body);
        }
    }

    /// Tells the server that this client is done. Write the output, then close the connection.
    pub fn stop(&mut self) {
        if let Phase::Asking { stream_id } | Phase::Active { stream_id } = self.phase {
            self.delete_stream(stream_id);
        }
        self.end();
    }

    /// The message stream that the server assigned, from [`Event::Accepted`] to the end.
    pub fn stream_id(&self) -> Option<u32> {
        match self.phase {
            Phase::Active { stream_id } => Some(stream_id),
            _ => None,
        }
    }

    /// The size of the chunks that this session sends.
    pub fn out_chunk_size(&self) -> u32 {
        self.link.out_chunk_size()
    }

    fn take_input(&mut self, mut input: &[u8], now: Instant) -> Result<(), Error> {
        match &mut self.phase {
            Phase::Failed => return Err(Error::Ended),
            Phase::Handshake(handshake) => {
                if !handshake.read(&mut input, &mut self.link.out)? {
                    return Ok(());
                }
                self.connect();
            }
            _ => {}
        }
        while let Some(incoming) = self.link.read(&mut input)? {
            match incoming {
                Incoming::Command(_, command) => self.command(&command, now)?,
                Incoming::Media(message) => self.media(message, now)?,
                Incoming::Pong => {
                    if let Some(liveness) = &mut self.liveness {
                        liveness.answered();
                    }
                }
                // Section 5.4.5 asks for this answer; FMS stops sending without it.
                Incoming::PeerBandwidth(size) => {
                    self.link.send_control(Control::WindowAckSize(size));
                }
                Incoming::BufferLength { .. } => {}
            }
        }
        Ok(())
    }

    fn media(&mut self, message: crate::chunk::Message, now: Instant) -> Result<(), Error> {
        let plays = self.purpose == Purpose::Play && matches!(self.phase, Phase::Active { .. });
        if !plays {
            return Ok(());
        }
        media::tags(message, |tag| {
            let tag = match (tag, self.events.back_mut()) {
                (Ok(tag), _) => tag,
                (Err(why), Some(Event::LeftOut { count, why: same })) if why == *same => {
                    *count = count.saturating_add(1);
                    return;
                }
                (Err(why), _) => {
                    self.events.push_back(Event::LeftOut { count: 1, why });
                    return;
                }
            };
            if !is_play_status(&tag) {
                if let Some(liveness) = &mut self.liveness {
                    liveness.media(now);
                }
                self.events.push_back(Event::Media(tag));
            }
        })
    }

    fn command(&mut self, command: &Command, now: Instant) -> Result<(), Error> {
        match command.name.as_str() {
            "_result" => self.result(command, now),
            "_error" => {
                self.error(command);
                Ok(())
            }
            "onStatus" => {
                self.status(command);
                Ok(())
            }
            "close" => {
                self.close("NetConnection.Connect.Closed", "the server closed the connection");
                Ok(())
            }
            // `onBWDone`, `onFCPublish` and the like need no answer.
            _ => Ok(()),
        }
    }

    fn result(&mut self, command: &Command, now: Instant) -> Result<(), Error> {
        match self.phase {
            Phase::Connecting
                if command.transaction == transaction::CONNECT && self.purpose == Purpose::Ask =>
            {
                self.begin_questions(command, now);
            }
            Phase::Questioning => self.answered(command),
            Phase::Connecting if command.transaction == transaction::CONNECT => {
                self.capabilities = Capabilities::answered(command);
                self.create_stream();
                self.phase = Phase::CreatingStream;
            }
            Phase::CreatingStream if command.transaction == transaction::CREATE_STREAM => {
                let id = command.number(0).filter(|id| *id >= 1.0);
                let id = id.ok_or_else(|| Error::command("createStream", "the stream id"))?;
                let stream_id = id as u32;
                self.ask(stream_id);
                self.phase = Phase::Asking { stream_id };
                self.deadline = self.deadline.and_then(|at| at.checked_add(self.config.wait));
                self.liveness =
                    self.config.silence.map(|limit| Liveness::new(self.purpose, limit, now));
            }
            _ => {}
        }
        Ok(())
    }

    /// Errors of `releaseStream` and `FCPublish` are no refusal: many servers do not know them.
    fn error(&mut self, command: &Command) {
        if matches!(self.phase, Phase::Questioning) {
            return self.unanswered(command);
        }
        let decisive = match self.phase {
            Phase::Connecting => command.transaction == transaction::CONNECT,
            Phase::CreatingStream => command.transaction == transaction::CREATE_STREAM,
            Phase::Asking { .. } => command.transaction == transaction::ASK,
            _ => false,
        };
        if decisive {
            let code = command.info("code").unwrap_or("NetConnection.Call.Failed");
            self.close(code, command.info("description").unwrap_or_default());
        }
    }

    fn status(&mut self, command: &Command) {
        let code = command.info("code").unwrap_or_default();
        let description = command.info("description").unwrap_or_default();
        let accepted = match self.purpose {
            Purpose::Publish => "NetStream.Publish.Start",
            // An asker has no stream to be accepted.
            Purpose::Play | Purpose::Ask => "NetStream.Play.Start",
        };
        match self.phase {
            Phase::Over | Phase::Failed => {}
            _ if code == RECONNECT_REQUEST => {
                let tc_url = command.info("tcUrl").map(str::to_owned);
                let description = description.to_owned();
                self.events.push_back(Event::ReconnectRequested { tc_url, description });
            }
            Phase::Asking { stream_id } if code == accepted => {
                self.phase = Phase::Active { stream_id };
                self.deadline = None;
                if self.purpose == Purpose::Play {
                    self.link.reader().expect_media(self.message_bytes_max);
                }
                self.events.push_back(Event::Accepted);
            }
            _ if command.info("level") == Some("error") || ends_stream(code) => {
                self.close(code, description);
            }
            _ => {}
        }
    }

    /// The server refuses, or ends what it had accepted.
    fn close(&mut self, code: &str, description: &str) {
        let (code, description) = (code.to_owned(), description.to_owned());
        match self.phase {
            Phase::Over | Phase::Failed => return,
            Phase::Active { .. } | Phase::Questioning => {
                self.events.push_back(Event::Ended { code, description });
            }
            _ => self.events.push_back(Event::Refused { code, description }),
        }
        self.end();
    }

    fn end(&mut self) {
        self.phase = Phase::Over;
        self.link.reader().expect_commands();
        (self.deadline, self.liveness) = (None, None);
    }

    fn fail_on_error(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if result.is_err() {
            self.phase = Phase::Failed;
            self.deadline = None;
        }
        result
    }
}

/// The status codes, not of level `error`, that end a stream.
fn ends_stream(code: &str) -> bool {
    matches!(
        code,
        "NetStream.Play.UnpublishNotify"
            | "NetStream.Play.Stop"
            | "NetStream.Play.Complete"
            | "NetStream.Unpublish.Success"
            | "NetConnection.Connect.Closed"
    )
}

/// Whether a tag is what a server says about the play (`|RtmpSampleAccess`, `onStatus`), not what the publisher sent.
fn is_play_status(tag: &Tag) -> bool {
    const NAMES: [&[u8]; 2] = [b"\x02\x00\x11|RtmpSampleAccess", b"\x02\x00\x08onStatus"];
    tag.kind == TagKind::Script && NAMES.iter().any(|name| tag.body.starts_with(name))
}

#[cfg(test)]
mod tests;
