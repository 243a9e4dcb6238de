//! What every output does, and all of them together.

use std::{future::Future, pin::Pin, sync::Arc};

use weir_config::Part;
use weir_media::StreamKey;

use crate::finished::Finished;

/// What eats a stream on an origin, beside its viewers: it follows the stream from its first publisher to its end, and
/// makes something of it. What feeds streams in tells it of each publish, and knows nothing else of it.
///
/// None of these may wait: work is a task's, or a thread's.
///
/// It follows the configuration as a [`Part`]: streams that are followed go by it, and those that are published and
/// were not to be followed may be now.
pub trait Output: Part {
    /// `key` has a publisher. Told at each publish, also of streams that are followed already.
    fn follow(self: Arc<Self>, key: &StreamKey);

    /// The process is going to stop: from now on a stream that its publisher leaves is the next process's, and what is
    /// made of it is not ended.
    fn leave_open(&self);

    /// The process goes on after [`leave_open`](Self::leave_open): every stream is its own again.
    fn go_on(&self);

    /// The process is going to stop now: what there is of each stream is written, and left open for the next process,
    /// which continues it. That begins with the call; done when it is.
    fn finish(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The outputs of a process; none at an edge. Each is told the same, in their order.
#[derive(Clone, Default)]
pub struct Outputs {
    all: Vec<Arc<dyn Output>>,
    finished: Arc<Finished>,
}

impl Outputs {
    /// None yet; those that come tell `finished` of their files.
    pub fn new(finished: &Arc<Finished>) -> Self {
        Self { all: Vec::new(), finished: Arc::clone(finished) }
    }

    /// Who is told of the files that they finish.
    pub fn finished(&self) -> &Arc<Finished> {
        &self.finished
    }

    /// One more.
    #[must_use]
    pub fn with(mut self, output: Arc<dyn Output>) -> Self {
        self.all.push(output);
        self
    }

    /// As [`Output::follow`].
    pub fn follow(&self, key: &StreamKey) {
        self.all.iter().for_each(|output| Arc::clone(output).follow(key));
    }

    /// Those that follow the configuration, which is all of them.
    pub fn parts(&self) -> Vec<Arc<dyn Part>> {
        self.all.iter().map(|output| Arc::clone(output) as Arc<dyn Part>).collect()
    }

    /// As [`Output::leave_open`].
    pub fn leave_open(&self) {
        self.all.iter().for_each(|output| output.leave_open());
    }

    /// As [`Output::go_on`].
    pub fn go_on(&self) {
        self.all.iter().for_each(|output| output.go_on());
    }

    /// As [`Output::finish`], of all of them at once.
    pub async fn finish(&self) {
        // All have begun before the first is waited for.
        let all: Vec<_> = self.all.iter().map(|output| output.finish()).collect();
        for finish in all {
            finish.await;
        }
    }
}
