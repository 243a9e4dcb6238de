//! What a program says, line by line, and no more of it than a log should have.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::Instant,
};

/// Bytes of a line that are kept.
const LINE_MAX: usize = 500;

/// Lines that are kept of what is said within [`WINDOW`]: a program that fails says why in a few.
const LINES_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// What a program says on one of its outputs.
pub struct Lines<R> {
    /// None once it has been closed.
    from: Option<R>,
    read: Box<[u8; 4096]>,
    line: Vec<u8>,
}

/// How much of it is still kept.
pub struct Budget {
    since: Instant,
    kept: u32,
    left_out: u64,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// What comes from `from`.
    pub fn new(from: Option<R>) -> Self {
        Self { from, read: Box::new([0; 4096]), line: Vec::new() }
    }

    /// Whether it says nothing any more.
    pub fn is_over(&self) -> bool {
        self.from.is_none()
    }

    /// Reads once, and returns the lines that are whole then. Never done once it is over. Nothing is lost when it is
    /// cancelled.
    pub async fn read(&mut self) -> Vec<String> {
        let Some(from) = &mut self.from else { return std::future::pending().await };
        let count = from.read(&mut self.read[..]).await.unwrap_or(0);
        let mut whole = Vec::new();
        if count == 0 {
            self.from = None;
            ended(&mut self.line, &mut whole);
        }
        for byte in &self.read[..count] {
            match byte {
                // What shows progress goes back to the beginning of its line.
                b'\n' | b'\r' => ended(&mut self.line, &mut whole),
                _ if self.line.len() < LINE_MAX => self.line.push(*byte),
                _ => {}
            }
        }
        whole
    }
}

fn ended(line: &mut Vec<u8>, whole: &mut Vec<String>) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    if !text.is_empty() {
        whole.push(text.to_owned());
    }
    line.clear();
}

impl Budget {
    /// A full one.
    pub fn new() -> Self {
        Self { since: Instant::now(), kept: 0, left_out: 0 }
    }

    /// Whether one more line is kept, and how many were left out before it.
    pub fn take(&mut self) -> Option<u64> {
        if self.since.elapsed() >= WINDOW {
            (self.since, self.kept) = (Instant::now(), 0);
        }
        if self.kept == LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.kept += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        let mut lines = Lines::new(Some(text));
        while !lines.is_over() {
            all.extend(lines.read().await);
        }
        all
    }

    #[tokio::test]
    async fn lines_are_cut_and_empty_ones_left_out() {
        assert_eq!(
            lines(b"a\n\r\n frame=1\rframe=2\rlast").await,
            ["a", "frame=1", "frame=2", "last"]
        );
        assert_eq!(lines(b"\xff\xfe\n").await, ["\u{fffd}\u{fffd}"]);
        let long = vec![b'x'; 100_000];
        let all = lines(&long).await;
        assert_eq!((all.len(), all[0].len()), (1, LINE_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted() {
        let mut budget = Budget::new();
        let kept = (0..1000).filter(|_| budget.take().is_some()).count();
        assert_eq!(kept, LINES_MAX as usize);
        tokio::time::sleep(WINDOW).await;
        assert_eq!(budget.take(), Some(1000 - u64::from(LINES_MAX)));
        assert_eq!(budget.take(), Some(0));
    }
}
