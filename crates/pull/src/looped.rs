//! A file that is played as a stream, again and again: in real time, each round behind the one before.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use weir_blocking::Pool;
use weir_config::file;
use weir_flv::Tag;
use weir_intake::Allowance;
use weir_media::{Content, Timestamp};

use crate::tags::{Tags, Unreadable};

/// Threads that read such files. A disk that hangs takes these, and nobody else's.
static FILES: LazyLock<Pool> = LazyLock::new(|| Pool::new("reading files that are played", 4));

/// What is read of a file at a time, in bytes of tags: half a second at 4 Mbit/s. The last tag may be as long as
/// messages may be.
const BATCH_BYTES: usize = 256 * 1024;

/// The longest step between two timestamps that is waited for, and back. What is beyond is an odd file.
const STEP_MAX: i64 = 10_000;

/// How far it may be late before it is not hurried after any more: a disk that hung is over, and viewers go on.
const LATE_MAX: Duration = Duration::from_secs(1);

/// A file that is played.
pub struct Looped {
    path: Arc<Path>,
    memory: Allowance,
    /// Taken out while it is read.
    tags: Option<Tags>,
    ready: VecDeque<Tag>,
    /// Where the next round begins, once this one has been read.
    next_round: Option<u32>,
    round: Round,
    pace: Pace,
}

/// What there was in this round.
#[derive(Default)]
struct Round {
    has_media: bool,
    has_pictures: bool,
    has_key: bool,
}

impl Looped {
    /// Opens the file at `path`, and reads its beginning.
    ///
    /// # Errors
    /// When it cannot be read, or has nothing that could be played: a sentence.
    pub async fn open(path: PathBuf, memory: Allowance) -> Result<Self, String> {
        let path = Arc::<Path>::from(path);
        let tags = opened(Arc::clone(&path), memory.clone(), 0).await?;
        let mut looped = Self {
            path,
            memory,
            tags: Some(tags),
            ready: VecDeque::new(),
            next_round: None,
            round: Round::default(),
            pace: Pace::default(),
        };
        looped.read().await?;
        if looped.next_round.is_some() {
            // It is all there, and must not be tried by whoever watches.
            let mut round = Round::default();
            for tag in &looped.ready {
                round.plays(tag);
            }
            round.check()?;
        }
        Ok(looped)
    }

    /// The next tag, when its time has come. If this is cancelled, nothing more comes.
    ///
    /// # Errors
    /// When the file cannot be read, or has nothing that could be played: a sentence.
    pub async fn next(&mut self) -> Result<Tag, String> {
        loop {
            while let Some(tag) = self.ready.pop_front() {
                if self.round.plays(&tag) {
                    self.pace.wait(tag.timestamp).await;
                    return Ok(tag);
                }
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), String> {
        if let Some(offset) = self.next_round.take() {
            std::mem::take(&mut self.round).check()?;
            let tags = opened(Arc::clone(&self.path), self.memory.clone(), offset).await?;
            self.tags = Some(tags);
        }
        let mut tags = self.tags.take().ok_or("reading it was given up")?;
        let read = move || {
            let (mut batch, mut bytes) = (VecDeque::new(), 0);
            while bytes < BATCH_BYTES {
                let Some(tag) = tags.read()? else { return Ok((batch, Err(tags.end()))) };
                bytes += tag.body.len();
                batch.push_back(tag);
            }
            Ok((batch, Ok(tags)))
        };
        let read = FILES.run(read).await.map_err(|error| error.to_string())?;
        let (batch, rest) = read.map_err(|why: Unreadable| why.to_string())?;
        self.ready = batch;
        match rest {
            Ok(tags) => self.tags = Some(tags),
            Err(end) => self.next_round = Some(end),
        }
        Ok(())
    }
}

async fn opened(path: Arc<Path>, memory: Allowance, offset: u32) -> Result<Tags, String> {
    let open = move || file::open(&path).map(|file| Tags::new(Box::new(file), offset));
    let tags = FILES.run(open).await.and_then(|opened| opened);
    Ok(tags.map_err(|error| format!("it cannot be opened: {error}"))?.limited(&memory))
}

impl Round {
    /// Whether `tag` is played: pictures before the first key frame show nothing, and would spoil those of the round
    /// before.
    fn plays(&mut self, tag: &Tag) -> bool {
        match weir_flv::to_frame(tag, Timestamp::ZERO, 0).map(|frame| frame.content) {
            Ok(Content::Video { key, .. }) => {
                self.has_media = true;
                self.has_pictures = true;
                self.has_key |= key;
                self.has_key
            }
            Ok(Content::Audio(_)) => {
                self.has_media = true;
                true
            }
            _ => true,
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self { has_media: false, .. } => Err("it has no media".to_owned()),
            Self { has_pictures: true, has_key: false, .. } => {
                Err("it has no key frame".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// When which timestamp is due.
#[derive(Default)]
struct Pace {
    /// When playing would have begun at the pace of now, and the newest timestamp.
    started: Option<(Instant, u32)>,
    /// How far it has come since, in milliseconds.
    position: i64,
}

impl Pace {
    async fn wait(&mut self, timestamp: u32) {
        let now = Instant::now();
        let Some((start, last)) = &mut self.started else {
            self.started = Some((now, timestamp));
            return;
        };
        let step = i64::from(timestamp.wrapping_sub(*last).cast_signed());
        *last = timestamp;
        // The hub takes a jump for one as well, and goes on.
        if (-STEP_MAX..=STEP_MAX).contains(&step) {
            self.position += step;
        }
        let position = Duration::from_millis(u64::try_from(self.position).unwrap_or(0));
        let due = *start + position;
        if now.saturating_duration_since(due) > LATE_MAX {
            *start = now.checked_sub(position).unwrap_or(now);
            return;
        }
        sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests;
