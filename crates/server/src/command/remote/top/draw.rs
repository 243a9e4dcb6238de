//! The screen, as lines.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{
    data::Tab,
    rows::{Mark, rate, time},
    state::{State, Table},
};

/// Columns of the bit rates of the last minutes.
const HISTORY_WIDTH: usize = 40;

/// Rows above and below the list: two of the head, the tabs and the keys.
const FRAME_ROWS: usize = 4;

/// What bit rates are drawn with, the lowest first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Plain,
    Bold,
    Title,
    Chosen,
    Quiet,
    Attention,
    Wrong,
    Graph,
}

/// A line of the screen.
pub type Line = Vec<(Look, String)>;

/// All of it, in lines that are no wider and no more than the terminal has room for.
pub fn screen(state: &mut State, width: usize, height: usize) -> Vec<Line> {
    let [own, totals] = summary(state);
    let mut lines = vec![with_history(own, state, width), totals, tabs(state)];
    state.room = height.saturating_sub(FRAME_ROWS);
    let list: Vec<_> = state.tables().iter().flat_map(list).collect();
    state.above = state.above.min(list.len().saturating_sub(state.room));
    lines.extend(list.into_iter().skip(state.above).take(state.room));
    lines.resize(height.saturating_sub(1).max(3), Line::new());
    lines.push(foot(state));
    lines.truncate(height);
    lines.into_iter().map(|line| fit(line, width)).collect()
}

fn summary(state: &State) -> [Line; 2] {
    let look = &state.look;
    let own = look.nodes.first();
    let about = own.map_or_else(String::new, |node| {
        format!("  {} {}  {}  up {}", node.role, node.version, node.phase, time(node.uptime))
    });
    let name = own.map(|node| node.name.clone()).unwrap_or_default();
    let [received, sent] =
        [look.total(|node| node.recv_kbps), look.total(|node| node.send_kbps)].map(rate);
    let totals = format!(
        "{} nodes  {} streams  {} viewers  in {received}  out {sent}",
        look.nodes.len(),
        look.stream_count(),
        look.total(|node| node.viewers),
    );
    [vec![(Look::Bold, name), (Look::Plain, about)], vec![(Look::Plain, totals)]]
}

/// The line with what was sent lately at its right end, if there is room for both.
fn with_history(mut line: Line, state: &State, width: usize) -> Line {
    let used: usize = line.iter().map(|(_, text)| text.width()).sum();
    let newest = state.sent.len().saturating_sub(HISTORY_WIDTH);
    let sent: Vec<_> = state.sent.iter().skip(newest).copied().collect();
    let Some(gap) = width.checked_sub(used + sent.len()) else { return line };
    let most = sent.iter().copied().max().unwrap_or_default().max(1);
    let bar = |sent: &u64| {
        let at = (u128::from(*sent) * (BARS.len() as u128 - 1)).div_ceil(u128::from(most));
        BARS.get(at as usize).copied().unwrap_or('█')
    };
    line.push((Look::Plain, " ".repeat(gap)));
    line.push((Look::Graph, sent.iter().map(bar).collect()));
    line
}

fn tabs(state: &State) -> Line {
    let mut line = Line::new();
    for tab in Tab::ALL {
        let look = if tab == state.tab() { Look::Chosen } else { Look::Plain };
        line.push((look, format!(" {} ", tab.name())));
        line.push((Look::Plain, " ".to_owned()));
    }
    line.push((Look::Quiet, format!(" by {}", state.order.name())));
    if state.is_writing || !state.filter.is_empty() {
        let end = if state.is_writing { "_" } else { "" };
        line.push((Look::Attention, format!("  /{}{end}", state.filter)));
    }
    line
}

fn foot(state: &State) -> Line {
    match &state.failed {
        Some(why) => vec![(Look::Wrong, format!("not up to date: {why}"))],
        None => {
            let keys = "q end  Tab list  s order  / filter  ↑↓ scroll";
            vec![(Look::Quiet, format!("{}   {keys}", state.address))]
        }
    }
}

/// A list in columns as wide as what is in them. Figures stand at the right of theirs.
fn list(table: &Table) -> Vec<Line> {
    let Table { head, rows } = table;
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|(_, cells)| cells.get(at)).map(|cell| cell.width());
        cells.chain(head.get(at).map(|name| name.len())).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let line = |look: Look, cells: &[String]| {
        let cells = cells.iter().zip(&widths).zip(*head).map(|((cell, width), name)| {
            let gap = " ".repeat(width.saturating_sub(cell.width()));
            if is_figure(name) { format!("{gap}{cell}") } else { format!("{cell}{gap}") }
        });
        vec![(look, cells.collect::<Vec<_>>().join("  "))]
    };
    let names: Vec<_> = head.iter().map(|&name| name.to_owned()).collect();
    let look = |mark: Mark| match mark {
        Mark::Ordinary => Look::Plain,
        Mark::Changing => Look::Attention,
        Mark::Wrong => Look::Wrong,
    };
    let mut lines = vec![line(Look::Title, &names)];
    lines.extend(rows.iter().map(|(mark, cells)| line(look(*mark), cells)));
    lines.push(Line::new());
    lines
}

fn is_figure(name: &str) -> bool {
    ["IN", "OUT", "VIEWERS", "STREAMS", "MEMORY", "SKIPS", "FOR", "UP"].contains(&name)
}

/// As much of the line as there are columns for.
fn fit(line: Line, width: usize) -> Line {
    let mut left = width;
    let cut = |(look, text): (Look, String)| {
        let fits = |c: &char| {
            let width = c.width().unwrap_or_default();
            let fits = width <= left;
            left = if fits { left - width } else { 0 };
            fits
        };
        (look, text.chars().take_while(fits).collect())
    };
    line.into_iter().map(cut).collect()
}

#[cfg(test)]
mod tests {
    use crossterm::event::{Event, KeyCode};

    use super::*;
    use crate::command::remote::top::{
        data,
        rows::{NodeRow, StreamRow},
    };

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
        let look = data::Look { nodes: vec![node, silent], streams, ..data::Look::default() };
        State::new("http://edge-1:1985".to_owned(), look)
    }

    fn shown(state: &mut State, width: usize, height: usize) -> Vec<String> {
        let text = |line: Line| line.into_iter().map(|(_, text)| text).collect::<String>();
        screen(state, width, height).into_iter().map(text).collect()
    }

    #[test]
    fn the_screen_has_the_sums_and_the_busiest_streams() {
        let rows = shown(&mut state(3), 120, 12);
        assert!(rows[0].starts_with("edge-1/ab  edge 1.2.3  serving"), "{rows:#?}");
        assert!(rows[0].ends_with('█') && rows[0].width() == 120, "{rows:#?}");
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
        let is_told =
            |row: &String| row.starts_with("edge-2:1985") && row.contains("no answer within 2s");
        assert!(rows.iter().any(is_told), "{rows:#?}");
    }

    #[test]
    fn a_terminal_of_any_size_is_good_enough() {
        let mut state = state(50);
        state.look.streams[0].name = "/直播/流流流流流流".repeat(9);
        for (width, height) in [(0, 0), (1, 1), (3, 2), (20, 5), (41, 4), (500, 3)] {
            let rows = shown(&mut state, width, height);
            assert_eq!(rows.len(), height);
            assert!(rows.iter().all(|row| row.width() <= width), "{rows:#?}");
        }
    }
}
