//! The terminal.

use std::{
    io::{self, BufWriter, Stdout, Write as _},
    thread,
    time::Duration,
};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    event::{self, Event},
    queue,
    style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor},
    terminal::{
        self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate,
        EnterAlternateScreen, LeaveAlternateScreen,
    },
};
use tokio::sync::mpsc;

use super::draw::{Line, Look};

/// Keys that wait for a screen that is being drawn.
const KEYS: usize = 16;

/// How often the thread that reads keys looks whether anybody still wants them.
const KEY_WAIT: Duration = Duration::from_millis(200);

/// A terminal that is drawn on. Dropping it gives back the screen that was there before.
pub struct Terminal {
    out: BufWriter<Stdout>,
}

impl Terminal {
    /// Takes the terminal of this process.
    ///
    /// # Errors
    /// When it does not do what it is asked.
    pub fn take() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let mut terminal = Self { out: BufWriter::new(io::stdout()) };
        queue!(terminal.out, EnterAlternateScreen, Hide)?;
        terminal.out.flush()?;
        Ok(terminal)
    }

    /// Columns and rows.
    ///
    /// # Errors
    /// When the terminal does not say.
    pub fn size() -> io::Result<(usize, usize)> {
        terminal::size().map(|(columns, rows)| (columns.into(), rows.into()))
    }

    /// Draws `lines`, the first at the top.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let out = &mut self.out;
        queue!(out, BeginSynchronizedUpdate)?;
        for (row, line) in (0..).zip(lines) {
            queue!(out, MoveTo(0, row))?;
            for (look, text) in line {
                match look {
                    Look::Plain => {}
                    Look::Bold => queue!(out, SetAttribute(Attribute::Bold))?,
                    Look::Chosen => queue!(out, SetAttribute(Attribute::Reverse))?,
                    Look::Title => queue!(
                        out,
                        SetForegroundColor(Color::DarkCyan),
                        SetAttribute(Attribute::Bold)
                    )?,
                    Look::Quiet => queue!(out, SetForegroundColor(Color::DarkGrey))?,
                    Look::Attention => queue!(out, SetForegroundColor(Color::DarkYellow))?,
                    Look::Wrong => queue!(out, SetForegroundColor(Color::DarkRed))?,
                    Look::Graph => queue!(out, SetForegroundColor(Color::DarkCyan))?,
                }
                queue!(out, Print(text), ResetColor, SetAttribute(Attribute::Reset))?;
            }
            queue!(out, Clear(ClearType::UntilNewLine))?;
        }
        queue!(out, EndSynchronizedUpdate)?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs none of it.
        let _ = queue!(self.out, Show, LeaveAlternateScreen);
        let _ = self.out.flush();
        let _ = terminal::disable_raw_mode();
    }
}

/// What is pressed, until the receiver is dropped. A terminal can only be read by a thread that waits for it.
///
/// # Errors
/// When there is no thread to be had.
pub fn keys() -> io::Result<mpsc::Receiver<Event>> {
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
