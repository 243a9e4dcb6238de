//! How often pages are written, and for whom.
//!
//! A page may take long to write and be large, and anybody who may have it may ask as often as he likes. One is written
//! at a time; who asks meanwhile waits for the next, and all of them get the same. Nobody is refused, and what anybody
//! gets was written after he asked, unless pages are not read.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use weir_media::{Budget, Charge, Use};

use super::page::Shape;

/// After a page it is rested for so many times as long as that took: however often pages are asked for, a quarter of
/// one core is spent on them. For a scrape each few seconds the rest is over.
const REST: u32 = 3;

/// Pages that may wait to be read by their last reader. When there are so many, everybody gets the newest of them:
/// those who do not read are cut off soon.
const UNREAD_MAX: usize = 8;

/// Writes pages.
pub struct PageRenderer {
    turn: Semaphore,
    pages: Mutex<Pages>,
    budget: Budget,
}

#[derive(Default)]
struct Pages {
    /// Those that somebody reads, the newest last.
    unread: VecDeque<Weak<Page>>,
    /// When the next one may be written.
    due: Option<Instant>,
}

/// A page, for all who asked before it was begun.
struct Page {
    shape: Shape,
    begun: Instant,
    text: String,
    _charge: Charge,
}

/// One reader's share of a page.
struct Share(Arc<Page>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        self.0.text.as_bytes()
    }
}

impl PageRenderer {
    /// What is written counts against `budget`.
    pub fn new(budget: &Budget) -> Self {
        Self { turn: Semaphore::new(1), pages: Mutex::default(), budget: budget.clone() }
    }

    /// A page that is written from now on, by `write` unless another one does; none if that fails.
    pub async fn page<F>(&self, shape: Shape, write: impl FnOnce() -> F) -> Option<Bytes>
    where
        F: Future<Output = Option<String>>,
    {
        let asked = Instant::now();
        let _turn = self.turn.acquire().await.ok()?;
        let due = {
            let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(page) = pages.fit(shape, asked) {
                return Some(Bytes::from_owner(Share(page)));
            }
            pages.due
        };
        if let Some(due) = due {
            sleep_until(due).await;
        }
        let begun = Instant::now();
        let text = write().await?;
        // It is there already, and there are few.
        let mut charge = Charge::new(&self.budget, Use::Api);
        charge.add(text.len());
        let page = Arc::new(Page { shape, begun, text, _charge: charge });
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.unread.push_back(Arc::downgrade(&page));
        let now = Instant::now();
        pages.due = Some(now + now.duration_since(begun).min(REST_OF_MAX) * REST);
        drop(pages);
        Some(Bytes::from_owner(Share(page)))
    }
}

/// A page that takes longer than this to write has waited for something else.
const REST_OF_MAX: Duration = Duration::from_millis(500);

impl Pages {
    /// A page that somebody may have who asked then.
    fn fit(&mut self, shape: Shape, asked: Instant) -> Option<Arc<Page>> {
        self.unread.retain(|page| page.strong_count() > 0);
        let is_full = self.unread.len() >= UNREAD_MAX;
        let mut newest = self.unread.iter().rev().filter_map(Weak::upgrade);
        newest.find(|page| page.shape == shape && (is_full || page.begun >= asked))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::time::{advance, sleep};

    use super::*;

    const WORK: Duration = Duration::from_millis(100);

    /// A desk whose pages are numbered and take [`WORK`].
    #[derive(Clone)]
    struct Numbered(Arc<PageRenderer>, Arc<AtomicUsize>);

    impl Numbered {
        fn new() -> Self {
            Self(Arc::new(PageRenderer::new(&Budget::new(16 << 20))), Arc::default())
        }

        async fn page(&self) -> Bytes {
            let write = async || {
                let number = self.1.fetch_add(1, Ordering::Relaxed);
                sleep(WORK).await;
                Some(number.to_string())
            };
            self.0.page(Shape::Text, write).await.expect("a page")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_while_a_page_is_written_gets_the_next_with_all_others() {
        let desk = Numbered::new();
        let began = Instant::now();
        let first = {
            let desk = desk.clone();
            tokio::spawn(async move { desk.page().await })
        };
        sleep(WORK / 2).await;
        let pages = join_all((0..100).map(|_| desk.page())).await;
        assert_eq!(first.await.expect("a page"), "0");
        assert!(pages.iter().all(|page| page == "1"), "{pages:?}");
        assert_eq!(began.elapsed(), WORK * (2 + REST));
        assert_eq!(desk.0.budget.used(), 1, "once for all");
        drop(pages);
        assert_eq!(desk.0.budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_scrape_each_few_seconds_waits_for_nothing_and_gets_what_is_new() {
        let desk = Numbered::new();
        for number in 0..5 {
            let began = Instant::now();
            assert_eq!(desk.page().await, number.to_string());
            assert_eq!(began.elapsed(), WORK);
            advance(Duration::from_secs(5)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pages_that_are_not_read_are_few_and_nobody_is_refused() {
        let desk = Numbered::new();
        let mut unread = Vec::new();
        for _ in 0..50 {
            unread.push(desk.page().await);
        }
        assert_eq!(desk.1.load(Ordering::Relaxed), UNREAD_MAX);
        assert_eq!(unread[49], (UNREAD_MAX - 1).to_string());
        unread.remove(0);
        assert_eq!(desk.page().await, UNREAD_MAX.to_string(), "one has been read");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_wait_any_longer_keeps_nobody_waiting() {
        let desk = Numbered::new();
        drop(futures_util::poll!(Box::pin(desk.page())));
        assert_eq!(desk.page().await, "1");
        let failed = desk.0.page(Shape::OpenMetrics, async || None).await;
        assert!(failed.is_none());
    }
}
