//! What of a look is shown, and what keys do.

use std::{cmp::Reverse, collections::VecDeque};

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use weir_config::Human;

use super::data::{ClientRow, Look, NodeRow, PullRow, StreamRow};

/// Bit rates that are kept for the line of the last minutes.
const HISTORY: usize = 240;

/// Characters of a filter.
const FILTER_MAX: usize = 60;

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Streams,
    Clients,
    Nodes,
}

impl Tab {
    pub const ALL: [Self; 3] = [Self::Streams, Self::Clients, Self::Nodes];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Streams => "1 Streams",
            Self::Clients => "2 Clients",
            Self::Nodes => "3 Nodes",
        }
    }
}

/// What a list is ordered by, the largest first; names the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Viewers,
    Out,
    In,
    Name,
}

impl Order {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewers => "viewers",
            Self::Out => "out",
            Self::In => "in",
            Self::Name => "name",
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Viewers => Self::Out,
            Self::Out => Self::In,
            Self::In => Self::Name,
            Self::Name => Self::Viewers,
        }
    }
}

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

/// How much a row wants to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Ordinary,
    /// It is on its way out, or in.
    Changing,
    /// Somebody should look.
    Wrong,
}

/// A line of a list.
pub trait Row {
    /// What it is called, which filters look for.
    fn names(&self) -> Vec<&str>;

    /// What it is ordered by.
    fn rank(&self, order: Order) -> u64;

    fn mark(&self) -> Mark;

    fn cells(&self) -> Vec<String>;
}

/// Kilobits a second in the unit that suits them.
pub fn rate(kbps: u64) -> String {
    match kbps {
        0..1_000 => format!("{kbps} kb/s"),
        1_000..1_000_000 => format!("{:.1} Mb/s", kbps as f64 / 1e3),
        _ => format!("{:.2} Gb/s", kbps as f64 / 1e6),
    }
}

/// Seconds, to the two largest units.
pub fn time(seconds: u64) -> String {
    let seconds = match seconds {
        0..3600 => seconds,
        3600..86_400 => seconds / 60 * 60,
        _ => seconds / 3600 * 3600,
    };
    Human(std::time::Duration::from_secs(seconds)).to_string()
}

impl NodeRow {
    pub const HEAD: [&'static str; 10] =
        ["NODE", "ROLE", "PHASE", "VERSION", "UP", "STREAMS", "VIEWERS", "IN", "OUT", "MEMORY"];
}

impl Row for NodeRow {
    fn names(&self) -> Vec<&str> {
        vec![&self.name, &self.role]
    }

    fn rank(&self, order: Order) -> u64 {
        ranked(order, self.viewers, self.send_kbps, self.recv_kbps)
    }

    fn mark(&self) -> Mark {
        match (&self.error, self.phase.as_str()) {
            (Some(_), _) => Mark::Wrong,
            (None, "serving") => Mark::Ordinary,
            (None, _) => Mark::Changing,
        }
    }

    fn cells(&self) -> Vec<String> {
        if let Some(error) = &self.error {
            let mut cells = vec![self.name.clone(), "-".to_owned(), error.clone()];
            cells.resize(Self::HEAD.len(), String::new());
            return cells;
        }
        vec![
            self.name.clone(),
            self.role.clone(),
            self.phase.clone(),
            self.version.clone(),
            time(self.uptime),
            self.streams.to_string(),
            self.viewers.to_string(),
            rate(self.recv_kbps),
            rate(self.send_kbps),
            format!("{} MiB", self.memory_kib / 1024),
        ]
    }
}

impl StreamRow {
    pub const HEAD: [&'static str; 9] =
        ["STREAM", "NODE", "STATUS", "FOR", "VIEWERS", "IN", "OUT", "VIDEO", "AUDIO"];
}

impl Row for StreamRow {
    fn names(&self) -> Vec<&str> {
        vec![&self.name, &self.node]
    }

    fn rank(&self, order: Order) -> u64 {
        ranked(order, self.viewers, self.send_kbps, self.recv_kbps)
    }

    fn mark(&self) -> Mark {
        if self.status == "live" { Mark::Ordinary } else { Mark::Changing }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.node.clone(),
            self.status.clone(),
            time(self.live_ms / 1000),
            self.viewers.to_string(),
            rate(self.recv_kbps),
            rate(self.send_kbps),
            self.video.clone(),
            self.audio.clone(),
        ]
    }
}

impl ClientRow {
    pub const HEAD: [&'static str; 9] =
        ["ID", "NODE", "TYPE", "ADDRESS", "FOR", "IN", "OUT", "SKIPS", "STREAM"];
}

impl Row for ClientRow {
    fn names(&self) -> Vec<&str> {
        vec![&self.stream, &self.address, &self.kind, &self.node]
    }

    fn rank(&self, order: Order) -> u64 {
        ranked(order, 0, self.send_kbps, self.recv_kbps)
    }

    fn mark(&self) -> Mark {
        if self.skips > 0 { Mark::Changing } else { Mark::Ordinary }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.node.clone(),
            self.kind.clone(),
            self.address.clone(),
            time(self.alive),
            rate(self.recv_kbps),
            rate(self.send_kbps),
            self.skips.to_string(),
            self.stream.clone(),
        ]
    }
}

impl PullRow {
    pub const HEAD: [&'static str; 4] = ["PULLED BY", "STREAM", "STATE", "FROM"];
}

impl Row for PullRow {
    fn names(&self) -> Vec<&str> {
        vec![&self.node, &self.stream, &self.origin]
    }

    fn rank(&self, _: Order) -> u64 {
        0
    }

    fn mark(&self) -> Mark {
        if self.state == "flowing" { Mark::Ordinary } else { Mark::Changing }
    }

    fn cells(&self) -> Vec<String> {
        [&self.node, &self.stream, &self.state, &self.origin].map(String::clone).into()
    }
}

const fn ranked(order: Order, viewers: u64, sent: u64, received: u64) -> u64 {
    match order {
        Order::Viewers => viewers,
        Order::Out => sent,
        Order::In => received,
        Order::Name => 0,
    }
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

    #[test]
    fn figures_have_the_unit_that_suits_them() {
        assert_eq!([999, 1500, 2_345_000].map(rate), ["999 kb/s", "1.5 Mb/s", "2.35 Gb/s"]);
        assert_eq!([59, 3661, 90_061].map(time), ["59s", "1h1m", "25h"]);
    }
}
