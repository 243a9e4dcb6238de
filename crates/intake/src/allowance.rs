//! What one peer may make the process hold while a message of it is on its way.

use std::time::Duration;

use weir_config::Config;
use weir_media::{Budget, Use};

/// How often a peer with an unfinished message is looked at: one that stops in the middle of megabytes while others
/// need them is not waited for.
pub const HOG_CHECK: Duration = Duration::from_secs(1);

/// Unfinished bytes that are worth a look.
pub const HOG_BYTES_MIN: usize = 32 * 1024;

/// Why a peer goes that has more unfinished than others leave it room for.
pub const HOG: &str = "an unfinished message exceeds its share of the memory (limits.memory)";

/// What one peer may make the process hold while a message of it is on its way.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// What it counts against.
    pub budget: Budget,
    /// The longest message of media. One that is longer than its stream may hold would be no use to anybody.
    pub message_bytes: usize,
}

impl Allowance {
    /// What `config` allows.
    pub fn new(budget: &Budget, config: &Config) -> Self {
        let stream = usize::try_from(config.limits.stream_memory).unwrap_or(usize::MAX);
        let message_bytes = stream.min(budget.most_for_one(Use::Messages));
        Self { budget: budget.clone(), message_bytes }
    }
}
