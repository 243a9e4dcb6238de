//! What of a look is shown, and what keys do.

use std::{cmp::Reverse, collections::VecDeque};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    data::{Look, Tab},
    rows::{ClientRow, Mark, NodeRow, Order, PullRow, Row, StreamRow},
};

/// Bit rates that are kept for the line of the last minutes.
const HISTORY: usize = 240;

/// Characters of a filter.
const FILTER_MAX: usize = 60;

/// What is to be done after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing but to draw.
    Stay,
    /// Another look: something is shown that was not asked for.
    Look,
    /// To end.
    End,
}

/// What is shown.
#[derive(Debug)]
pub struct State {
    /// The address that is asked.
    pub address: String,
    pub look: Look,
    /// Why the last look failed; what is shown is older.
    pub failed: Option<String>,
    pub order: Order,
    /// What names must contain.
    pub filter: String,
    /// Whether the filter is being written.
    pub is_writing: bool,
    /// Rows that are scrolled away.
    pub above: usize,
    /// Rows that the screen had room for when it was drawn last.
    pub room: usize,
    /// Kilobits a second that were sent, the newest last.
    pub sent: VecDeque<u64>,
    tab: Tab,
}

impl State {
    pub fn new(address: String, look: Look) -> Self {
        let mut state = Self {
            address,
            look: Look::default(),
            failed: None,
            order: Order::Viewers,
            filter: String::new(),
            is_writing: false,
            above: 0,
            room: 1,
            sent: VecDeque::with_capacity(HISTORY),
            tab: Tab::Streams,
        };
        state.saw(Ok(look));
        state
    }

    pub const fn tab(&self) -> Tab {
        self.tab
    }

    /// Takes a look, or why there is none.
    pub fn saw(&mut self, look: Result<Look, String>) {
        match look {
            Ok(look) => {
                self.failed = None;
                if self.sent.len() == HISTORY {
                    self.sent.pop_front();
                }
                self.sent.push_back(look.total(|node| node.send_kbps));
                self.look = look;
            }
            Err(why) => self.failed = Some(why.lines().next().unwrap_or_default().to_owned()),
        }
    }

    /// Does what is asked by a key.
    pub fn take(&mut self, event: &Event) -> Next {
        let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return Next::Stay };
        if *kind == KeyEventKind::Release {
            return Next::Stay;
        }
        if modifiers.contains(KeyModifiers::CONTROL) {
            return if matches!(code, KeyCode::Char('c' | 'd')) { Next::End } else { Next::Stay };
        }
        if self.is_writing {
            self.write(*code);
            return Next::Stay;
        }
        let page = self.room.max(1);
        match code {
            KeyCode::Char('q') | KeyCode::Esc if self.filter.is_empty() => return Next::End,
            KeyCode::Char('q') => return Next::End,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('1') => return self.show(Tab::Streams),
            KeyCode::Char('2') => return self.show(Tab::Clients),
            KeyCode::Char('3') => return self.show(Tab::Nodes),
            KeyCode::Tab | KeyCode::Right => return self.step(1),
            KeyCode::BackTab | KeyCode::Left => return self.step(Tab::ALL.len() - 1),
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char('/') => self.is_writing = true,
            KeyCode::Down | KeyCode::Char('j') => self.above = self.above.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.above = self.above.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.above = self.above.saturating_add(page),
            KeyCode::PageUp => self.above = self.above.saturating_sub(page),
            KeyCode::Home | KeyCode::Char('g') => self.above = 0,
            KeyCode::End | KeyCode::Char('G') => self.above = usize::MAX,
            _ => {}
        }
        Next::Stay
    }

    fn write(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.is_writing = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.is_writing = false;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) if self.filter.chars().count() < FILTER_MAX => self.filter.push(c),
            _ => {}
        }
        self.above = 0;
    }

    fn show(&mut self, tab: Tab) -> Next {
        if tab == self.tab {
            return Next::Stay;
        }
        (self.tab, self.above) = (tab, 0);
        Next::Look
    }

    fn step(&mut self, by: usize) -> Next {
        let at = Tab::ALL.iter().position(|tab| *tab == self.tab).unwrap_or_default();
        self.show(Tab::ALL.into_iter().cycle().nth(at + by).unwrap_or(Tab::Streams))
    }

    /// What is listed, in its order.
    pub fn tables(&self) -> Vec<Table> {
        let Look { nodes, streams, clients, pulls } = &self.look;
        match self.tab {
            Tab::Streams => vec![self.table(&StreamRow::HEAD, streams)],
            Tab::Clients => vec![self.table(&ClientRow::HEAD, clients)],
            Tab::Nodes => {
                vec![self.table(&NodeRow::HEAD, nodes), self.table(&PullRow::HEAD, pulls)]
            }
        }
    }

    fn table(&self, head: &'static [&'static str], rows: &[impl Row]) -> Table {
        let filter = self.filter.to_lowercase();
        let passes = |name: &str| name.to_lowercase().contains(&filter);
        let mut rows: Vec<_> =
            rows.iter().filter(|row| row.names().iter().any(|name| passes(name))).collect();
        rows.sort_by_key(|row| (Reverse(row.rank(self.order)), row.names().concat()));
        let rows = rows.into_iter().map(|row| (row.mark(), row.cells())).collect();
        Table { head, rows }
    }
}

/// A list with its columns.
pub struct Table {
    pub head: &'static [&'static str],
    pub rows: Vec<(Mark, Vec<String>)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str, viewers: u64, send_kbps: u64) -> StreamRow {
        StreamRow {
            name: name.to_owned(),
            viewers,
            send_kbps,
            status: "live".to_owned(),
            ..StreamRow::default()
        }
    }

    fn state() -> State {
        let streams =
            vec![stream("/live/a", 1, 900), stream("/live/B", 5, 10), stream("/app/c", 0, 0)];
        State::new("http://a:1985".to_owned(), Look { streams, ..Look::default() })
    }

    fn press(state: &mut State, code: KeyCode) -> Next {
        state.take(&Event::Key(code.into()))
    }

    fn names(state: &State) -> Vec<String> {
        state.tables()[0].rows.iter().map(|(_, cells)| cells[0].clone()).collect()
    }

    #[test]
    fn lists_are_ordered_by_what_is_asked_for() {
        let mut state = state();
        assert_eq!(names(&state), ["/live/B", "/live/a", "/app/c"]);
        press(&mut state, KeyCode::Char('s'));
        assert_eq!(names(&state), ["/live/a", "/live/B", "/app/c"]);
        press(&mut state, KeyCode::Char('s'));
        press(&mut state, KeyCode::Char('s'));
        assert_eq!(
            (state.order, names(&state)),
            (Order::Name, vec!["/app/c".into(), "/live/B".into(), "/live/a".into()])
        );
    }

    #[test]
    fn a_filter_is_written_and_taken_back() {
        let mut state = state();
        for c in "/LIVE/b".chars() {
            press(&mut state, KeyCode::Char(c));
        }
        // The first one begins it.
        assert_eq!((state.filter.as_str(), names(&state)), ("LIVE/b", vec!["/live/B".to_owned()]));
        assert_eq!(press(&mut state, KeyCode::Char('q')), Next::Stay, "a letter of it");
        press(&mut state, KeyCode::Enter);
        assert_eq!(press(&mut state, KeyCode::Esc), Next::Stay, "it takes the filter back first");
        assert_eq!(names(&state).len(), 3);
        assert_eq!(press(&mut state, KeyCode::Esc), Next::End);
        press(&mut state, KeyCode::Char('/'));
        for _ in 0..1000 {
            press(&mut state, KeyCode::Char('x'));
        }
        assert_eq!(state.filter.len(), FILTER_MAX);
    }

    #[test]
    fn another_list_is_asked_for_at_once() {
        let mut state = state();
        assert_eq!(press(&mut state, KeyCode::Char('1')), Next::Stay);
        assert_eq!(press(&mut state, KeyCode::Tab), Next::Look);
        assert_eq!((state.tab(), press(&mut state, KeyCode::BackTab)), (Tab::Clients, Next::Look));
        assert_eq!((press(&mut state, KeyCode::BackTab), state.tab()), (Next::Look, Tab::Nodes));
    }

    #[test]
    fn an_answer_that_does_not_come_leaves_the_last_one() {
        let mut state = state();
        state.saw(Err("no answer\nand a hint".to_owned()));
        assert_eq!((state.failed.as_deref(), names(&state).len()), (Some("no answer"), 3));
        for kbps in 0..1000 {
            let nodes = vec![NodeRow { send_kbps: kbps, ..NodeRow::default() }];
            state.saw(Ok(Look { nodes, ..Look::default() }));
        }
        assert_eq!(
            (state.failed.as_deref(), state.sent.len(), state.sent.back()),
            (None, HISTORY, Some(&999))
        );
    }
}
