//! The screen.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Paragraph, Sparkline},
};

use super::state::{Mark, State, Tab, Table, rate, time};

/// Columns of the line of bit rates.
const HISTORY_WIDTH: u16 = 40;

/// Draws all of it.
pub fn screen(frame: &mut Frame<'_>, state: &mut State) {
    let [head, tabs, list, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [text, history] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(HISTORY_WIDTH)]).areas(head);
    frame.render_widget(Paragraph::new(summary(state)), text);
    let newest = state.sent.len().saturating_sub(history.width.into());
    let sent: Vec<_> = state.sent.iter().skip(newest).copied().collect();
    frame.render_widget(Sparkline::default().data(sent).style(Color::Cyan), history);
    frame.render_widget(Paragraph::new(tab_line(state)), tabs);
    rows(frame, state, list);
    frame.render_widget(Paragraph::new(foot_line(state)), foot);
}

fn summary(state: &State) -> Vec<Line<'static>> {
    let look = &state.look;
    let own = look.nodes.first();
    let of = |value: Option<&String>| value.cloned().unwrap_or_default();
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let about = own.map_or_else(String::new, |node| {
        format!("  {} {}  {}  up {}", node.role, node.version, node.phase, time(node.uptime))
    });
    let [received, sent] =
        [look.total(|node| node.recv_kbps), look.total(|node| node.send_kbps)].map(rate);
    let totals = format!(
        "{} nodes  {} streams  {} viewers  in {received}  out {sent}",
        look.nodes.len(),
        look.stream_count(),
        look.total(|node| node.viewers),
    );
    vec![
        Line::from(vec![Span::styled(of(own.map(|node| &node.name)), bold), Span::raw(about)]),
        Line::from(totals),
    ]
}

fn tab_line(state: &State) -> Line<'static> {
    let shown = Style::new().add_modifier(Modifier::REVERSED);
    let tabs = Tab::ALL.into_iter().flat_map(|tab| {
        let style = if tab == state.tab() { shown } else { Style::new() };
        [Span::styled(format!(" {} ", tab.name()), style), Span::raw(" ")]
    });
    let mut spans: Vec<_> = tabs.collect();
    spans.push(Span::styled(format!(" by {}", state.order.name()), Color::DarkGray));
    if state.is_writing || !state.filter.is_empty() {
        let end = if state.is_writing { "_" } else { "" };
        spans.push(Span::styled(format!("  /{}{end}", state.filter), Color::Yellow));
    }
    Line::from(spans)
}

fn foot_line(state: &State) -> Line<'static> {
    match &state.failed {
        Some(why) => Line::styled(format!("not up to date: {why}"), Color::Red),
        None => Line::styled(
            format!("{}   q end  Tab list  s order  / filter  ↑↓ scroll", state.address),
            Color::DarkGray,
        ),
    }
}

/// The lists, from the row on that is the first to be seen.
fn rows(frame: &mut Frame<'_>, state: &mut State, area: Rect) {
    let lines: Vec<_> = state.tables().iter().flat_map(lines).collect();
    state.room = area.height.into();
    state.above = state.above.min(lines.len().saturating_sub(state.room));
    let seen: Vec<_> = lines.into_iter().skip(state.above).take(state.room).collect();
    frame.render_widget(Paragraph::new(seen), area);
}

/// A list in columns as wide as what is in them. Figures stand at the right of theirs.
fn lines(table: &Table) -> Vec<Line<'static>> {
    let Table { head, rows } = table;
    let width = |at: usize| {
        let cells =
            rows.iter().filter_map(|(_, cells)| cells.get(at)).map(|cell| Span::raw(cell).width());
        cells.chain(head.get(at).map(|name| name.len())).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let line = |cells: &[String], style: Style| {
        let cells = cells.iter().zip(&widths).zip(*head).map(|((cell, width), name)| {
            let gap = " ".repeat(width.saturating_sub(Span::raw(cell).width()));
            if is_figure(name) { format!("{gap}{cell}") } else { format!("{cell}{gap}") }
        });
        Line::styled(cells.collect::<Vec<_>>().join("  "), style)
    };
    let names: Vec<_> = head.iter().map(|&name| name.to_owned()).collect();
    let titles = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);
    let marked = |mark: Mark| match mark {
        Mark::Ordinary => Style::new(),
        Mark::Changing => Style::new().fg(Color::Yellow),
        Mark::Wrong => Style::new().fg(Color::Red),
    };
    let mut lines = vec![line(&names, titles)];
    lines.extend(rows.iter().map(|(mark, cells)| line(cells, marked(*mark))));
    lines.push(Line::default());
    lines
}

fn is_figure(name: &str) -> bool {
    ["IN", "OUT", "VIEWERS", "STREAMS", "MEMORY", "SKIPS", "FOR", "UP"].contains(&name)
}

#[cfg(test)]
mod tests {
    use ratatui::{
        Terminal,
        backend::TestBackend,
        crossterm::event::{Event, KeyCode},
    };

    use super::*;
    use crate::command::remote::top::data::{Look, NodeRow, StreamRow};

    fn state(streams: usize) -> State {
        let stream = |number: usize| StreamRow {
            name: format!("/live/{number:04}"),
            node: "edge-1".to_owned(),
            status: "live".to_owned(),
            viewers: number as u64,
            send_kbps: 1500,
            ..StreamRow::default()
        };
        let node = NodeRow {
            name: "edge-1/ab".to_owned(),
            role: "edge".to_owned(),
            phase: "serving".to_owned(),
            version: "1.2.3".to_owned(),
            viewers: 12,
            send_kbps: 18_000,
            ..NodeRow::default()
        };
        let silent = NodeRow {
            name: "edge-2:1985".to_owned(),
            error: Some("no answer within 2s".to_owned()),
            ..NodeRow::default()
        };
        let streams = (0..streams).map(stream).collect();
        State::new(
            "http://edge-1:1985".to_owned(),
            Look { nodes: vec![node, silent], streams, ..Look::default() },
        )
    }

    fn shown(state: &mut State, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen(frame, state)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let row = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| row(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn the_screen_has_the_sums_and_the_busiest_streams() {
        let rows = shown(&mut state(3), 120, 12);
        assert!(rows[0].starts_with("edge-1/ab  edge 1.2.3  serving"), "{rows:#?}");
        assert!(
            rows[1].starts_with("2 nodes  3 streams  12 viewers  in 0 kb/s  out 18.0 Mb/s"),
            "{rows:#?}"
        );
        assert!(rows[3].starts_with("STREAM") && rows[4].starts_with("/live/0002"), "{rows:#?}");
        assert!(rows[11].contains("q end"), "{rows:#?}");
    }

    #[test]
    fn a_long_list_scrolls_to_its_end_and_no_farther() {
        let mut state = state(1000);
        shown(&mut state, 100, 24);
        state.take(&Event::Key(KeyCode::End.into()));
        let rows = shown(&mut state, 100, 24);
        assert!(rows.iter().any(|row| row.starts_with("/live/0000")), "{rows:#?}");
        state.take(&Event::Key(KeyCode::Down.into()));
        assert_eq!(shown(&mut state, 100, 24), rows);
        state.take(&Event::Key(KeyCode::Home.into()));
        assert!(shown(&mut state, 100, 24)[4].starts_with("/live/0999"));
    }

    #[test]
    fn a_node_that_says_nothing_is_seen_with_the_reason() {
        let mut state = state(1);
        state.take(&Event::Key(KeyCode::Char('3').into()));
        let rows = shown(&mut state, 120, 12);
        assert!(
            rows.iter()
                .any(|row| row.starts_with("edge-2:1985") && row.contains("no answer within 2s")),
            "{rows:#?}"
        );
    }

    #[test]
    fn a_terminal_of_any_size_is_good_enough() {
        for (width, height) in [(1, 1), (3, 2), (20, 5), (40, 4), (500, 3)] {
            assert_eq!(shown(&mut state(50), width, height).len(), usize::from(height));
        }
    }
}
