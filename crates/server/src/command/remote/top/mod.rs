//! `weir top`: what a node, or the whole cluster, is doing now, in a terminal.
//!
//! ```text
//! the API ─► data: a look ─► state: what is shown of it ─► draw: the screen
//!                                  ▲ keys
//! ```

mod data;
mod draw;
mod state;

use std::{
    io::{self, IsTerminal as _, Write as _},
    thread,
    time::Duration,
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

use self::{
    data::Look,
    state::{Next, State, Tab},
};
use super::{Error, Target};

/// Keys that wait for a screen that is being drawn.
const KEYS: usize = 16;

/// How often the thread that reads keys looks whether anybody still wants them.
const KEY_WAIT: Duration = Duration::from_millis(200);

/// The shortest time between two looks: each costs every node of a cluster three answers.
const EVERY_MIN: Duration = Duration::from_millis(250);

/// How `weir top` looks.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// How often to look, at least 250ms.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = every)]
    every: Duration,
    /// Print once, as text, and end. This is what happens as well where stdout is no terminal.
    #[arg(long)]
    once: bool,
}

fn every(text: &str) -> Result<Duration, String> {
    let time = weir_config::parse_duration(text)?;
    if time < EVERY_MIN { Err("must be at least 250ms".to_owned()) } else { Ok(time) }
}

/// Shows it until somebody ends it.
///
/// # Errors
/// When the node does not answer the first time, or the terminal does not do what it is asked.
pub async fn run(options: &Options, target: &Target) -> Result<(), Error> {
    let node = target.node(|name| std::env::var_os(name))?;
    let first = Look::take(&node, Tab::Streams).await?;
    if options.once || !io::stdout().is_terminal() {
        // A reader that has gone away has seen enough.
        let _ = io::stdout().write_all(first.text().as_bytes());
        return Ok(());
    }
    let mut state = State::new(node.address.to_string(), first);
    // It also puts the terminal back should this program fail.
    let mut terminal = ratatui::try_init().map_err(Error::new)?;
    let done = show(&mut terminal, &mut state, options, &node).await;
    ratatui::restore();
    done.map_err(Error::new)
}

async fn show(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    options: &Options,
    node: &super::Node,
) -> io::Result<()> {
    let mut keys = keys()?;
    let mut looks = interval(options.every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        terminal.draw(|frame| draw::screen(frame, state))?;
        let next = tokio::select! {
            event = keys.recv() => match event {
                Some(event) => state.take(&event),
                None => return Ok(()),
            },
            _ = looks.tick() => Next::Look,
        };
        match next {
            Next::Stay => {}
            Next::End => return Ok(()),
            Next::Look => {
                // Keys that come meanwhile are answered behind it: a node that says nothing is given up soon.
                let look = timeout(LOOK_TIMEOUT, Look::take(node, state.tab())).await;
                state.saw(match look {
                    Ok(look) => look.map_err(|error| error.to_string()),
                    Err(_) => Err(format!("no answer within {} s", LOOK_TIMEOUT.as_secs())),
                });
            }
        }
    }
}

/// How long a look may take: a node asks the others of its cluster for two seconds.
const LOOK_TIMEOUT: Duration = Duration::from_secs(4);

/// What is pressed, until the receiver is dropped. A terminal can only be read by a thread that waits for it.
fn keys() -> io::Result<mpsc::Receiver<Event>> {
    let (sender, receiver) = mpsc::channel(KEYS);
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        while !sender.is_closed() {
            let event =
                event::poll(KEY_WAIT).and_then(|is_there| is_there.then(event::read).transpose());
            // An error says that the terminal is gone.
            let Ok(event) = event else { return };
            if event.is_some_and(|event| sender.blocking_send(event).is_err()) {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// What others have written, in one line.
fn cell(value: &serde_json::Value) -> String {
    super::show::cell(value)
}

/// Rows below their head, in columns.
fn text(head: &[&str], rows: &[Vec<String>]) -> String {
    super::show::table(head, rows)
}
