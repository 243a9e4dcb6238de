//! `weir top`: what a node, or the whole cluster, is doing now, in a terminal.
//!
//! ```text
//! the API ─► data: a look ─► state: what is shown of it ─► draw: lines ─► terminal
//!                                  ▲ keys
//! ```

mod data;
mod draw;
mod rows;
mod state;
mod terminal;

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval, timeout};

use self::{
    data::{Look, Tab},
    state::{Next, State},
    terminal::Terminal,
};
use super::{Error, Node, Target};

/// The shortest time between two looks: each costs every node of a cluster three answers.
const EVERY_MIN: Duration = Duration::from_millis(250);

/// How long a look may take: a node asks the others of its cluster for two seconds.
const LOOK_TIMEOUT: Duration = Duration::from_secs(4);

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
    watch(&mut state, options, &node).await.map_err(Error::new)
}

async fn watch(state: &mut State, options: &Options, node: &Node) -> io::Result<()> {
    let mut terminal = Terminal::take()?;
    let mut keys = terminal::keys()?;
    let mut looks = interval(options.every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (width, height) = Terminal::size()?;
        terminal.draw(&draw::screen(state, width, height))?;
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
