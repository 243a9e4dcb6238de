//! Questions of edges: what would a `play` be told? They are answered as one would be, without playing.

use std::{net::IpAddr, sync::Arc};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until, timeout};
use weir_clients::client;
use weir_config::{AuthBy, Check, Secret};
use weir_edge::{Ask, Hops, Protocol, Verdict};
use weir_hub::Status;
use weir_rtmp::{
    message::MayPlay,
    server::{Event, PlayRefusal, PublishRefusal},
    url::StreamUrl,
};

use super::connection::{Connection, Turn};
use crate::{
    auth::Shown,
    memory,
    node::{Node, subject},
    play,
};

/// What is asked.
pub struct Asked {
    /// The number of the question.
    pub id: f64,
    /// What the viewer wants to play.
    pub url: StreamUrl,
    /// The edges that the question has come through.
    pub hops: String,
    /// The page that the viewer is on; empty if it does not say.
    pub page_url: String,
}

/// What became of a question: the answer, or why there is none.
type Answer = Result<MayPlay, String>;

/// What a question takes beside its text until it is answered: what waits for the answer, by estimate.
const QUESTION_BYTES: usize = 3 * 1024;

/// Why a connection that asks is told nothing else.
const ASKS_ONLY: &str = "this connection asks questions";

/// Answers the questions of a connection until it ends, in any order. How many may wait for their answers at a time
/// is the session's to say.
pub async fn answer_all(mut connection: Box<Connection>, first: Asked) -> Turn {
    let node = Arc::clone(&connection.node);
    let peer = connection.client.peer.ip();
    // An edge says once who it is.
    let token = connection.came.token.clone();
    let mut answers = FuturesUnordered::new();
    answers.push(answer(&node, (peer, token.as_ref()), first));
    loop {
        tokio::select! {
            Some((asked, answered)) = answers.next() => {
                note(&mut connection, &asked, &answered);
                match answered {
                    Ok(answer) => connection.session.answer_question(asked.id, &answer),
                    Err(why) => connection.session.fail_question(asked.id, &why),
                }
            }
            event = connection.event() => match event {
                Ok(Event::Question { id, url, hops, page_url }) => {
                    let asked = Asked { id, url, hops, page_url };
                    answers.push(answer(&node, (peer, token.as_ref()), asked));
                }
                Ok(Event::Play { stream_id, .. }) => {
                    connection.refuse_play(stream_id, PlayRefusal::Failed, ASKS_ONLY);
                }
                Ok(Event::Publish { stream_id, .. }) => {
                    connection.refuse_publish(stream_id, PublishRefusal::Failed, ASKS_ONLY);
                }
                Ok(_) => {}
                Err(end) => {
                    drop(answers);
                    return Turn::Over(connection, end);
                }
            },
        }
    }
}

/// Says in the log, once for each connection, that somebody behind it may not play.
fn note(connection: &mut Connection, asked: &Asked, answered: &Answer) {
    if let Ok(MayPlay { refusal: Some((_, why)), .. }) = answered
        && let Ok((key, _)) = connection.node.resolve(&asked.url)
    {
        connection.client.refused(&key, why.as_str());
    }
}

async fn answer(
    node: &Arc<Node>,
    shown: (IpAddr, Option<&Secret>),
    asked: Asked,
) -> (Asked, Answer) {
    let peer = shown.0;
    let began = Instant::now();
    let text = memory::url_bytes(&asked.url) + asked.hops.len() + asked.page_url.len();
    let _room = match memory::request(node.streams.registry.budget(), text, QUESTION_BYTES) {
        Ok(room) => room,
        Err(spent) => return (asked, Err(spent.to_string())),
    };
    let (answer, is_guess) = judge(node, shown, &asked).await;
    // An edge asks for many viewers, but anybody may ask. Who is right is told so at once; the others are still waited
    // for when those behind them are answered, as long as there are not too many of them.
    if is_guess {
        sleep_until(began + node.clients.wrong_secrets.wait_of_node(peer, began.into_std())).await;
    }
    (asked, answer)
}

/// What a `play` would be told from who has the address and the token of an edge that are `shown`, and whether it shows
/// a guess at something secret.
async fn judge(
    node: &Arc<Node>,
    shown: (IpAddr, Option<&Secret>),
    asked: &Asked,
) -> (Answer, bool) {
    let (peer, edge_token) = shown;
    let (url, hops, page_url) = (&asked.url, &asked.hops, &*asked.page_url);
    let shown = Shown { peer, edge_token, page_url };
    let refused = |code: PlayRefusal, why: String| MayPlay {
        refusal: Some((code.code().to_owned(), why)),
        ..MayPlay::default()
    };
    let ask = Ask {
        params: url.params.clone(),
        hops: Hops::parse(hops),
        peer: Some(peer),
        page_url: page_url.into(),
        ..Ask::default()
    };
    let (key, vhost) = match play::resolve(node, url, shown) {
        Ok(resolved) => resolved,
        Err(refusal) => {
            let is_guess = refusal.may_be_guess(&ask);
            return (Ok(refused(PlayRefusal::Failed, refusal.to_string())), is_guess);
        }
    };
    // A question is no session: the back end hears of its end at once.
    let asked_back_end = node.hooks.play(&vhost, || subject(client::next_id(), peer, &key, &ask));
    if let Err(why) = asked_back_end.await {
        let is_guess = matches!(why, weir_hooks::Refused::No(_)) && !url.params.is_empty();
        // Who is asked again in a moment may know by then.
        let answer = match why.is_passing() {
            true => Err(why.to_string()),
            false => Ok(refused(PlayRefusal::Failed, why.to_string())),
        };
        return (answer, is_guess);
    }
    // All that is looked at of an address or an edge, whoever comes through that edge has in common.
    let any = vhost.hooks.on_play.is_empty() && vhost.auth.play.iter().all(Check::is_of_address);
    let is_local = node.config().edge.auth == AuthBy::Local;
    let Some(edge) = node.edge.as_ref().filter(|_| !is_local) else {
        // What is not here, an edge looks for when it is asked to play it.
        let is_edge = node.edge.is_some();
        let status = node.streams.registry.status(&key);
        // And what would be pulled for a viewer.
        let is_pulled = node.pulls.as_ref().is_some_and(|pulls| pulls.would_pull(&key));
        let here = is_edge || is_pulled || matches!(status, Some(Status::Live | Status::Lingering));
        return (Ok(MayPlay { refusal: None, any, here }), false);
    };
    let asked = edge.may_play(&key, &ask, Protocol::Live);
    let silent = |_| Verdict::Away("the origins have not answered yet".into());
    let limit = node.config().edge.dead_after / 2;
    let verdict = timeout(limit, asked).await.unwrap_or_else(silent);
    let is_guess = matches!(verdict, Verdict::No(_)) && !url.params.is_empty();
    let answer = match verdict {
        // What is not here may be found by whoever asks for it.
        Verdict::Yes { any: of_origin } => {
            Ok(MayPlay { refusal: None, any: any && of_origin, here: true })
        }
        Verdict::No(reason) => Ok(refused(PlayRefusal::Failed, reason.to_string())),
        Verdict::Absent(reason) => Ok(refused(PlayRefusal::StreamNotFound, reason.to_string())),
        Verdict::Away(reason) => Err(reason.to_string()),
    };
    (answer, is_guess)
}
