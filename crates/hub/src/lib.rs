//! Registry, streams, logs, groups and cursors: every publisher writes one log, every reader is a cursor.
//!
//! ```text
//! Publisher ──push──► Stream { Log<Frame> } ◄──read── Reader (a cursor)
//!     │                    │                            │
//!  drop: linger,        wakes readers                drop: demand
//!  then the end         at each flush                1 -> 0
//! ```
//!
//! - Appending never waits for a reader. A reader that falls out of the log's window continues at the newest group and
//!   is told how much it skipped.
//! - Handles are the life cycle: dropping the [`Publisher`] starts the linger, dropping a [`Reader`] ends its demand.
//! - There is no runtime in here. A reader is told that there is something to read through [`Wake`]; time comes in as
//!   an argument; [`Registry::expire`] does what is due.

mod cursor;
mod flush;
mod log;
mod publisher;
mod reader;
mod registry;
mod session;
mod settings;
mod stream;
mod stream_table;
mod sync;
#[cfg(test)]
mod testing;
mod timeline;
mod totals;
mod wake;

pub use cursor::{Batch, Item, Start};
pub use flush::{FLUSH_HOLD_MAX, Flush};
pub use log::{Group, Limits, Log, Lost};
pub use publisher::Publisher;
pub use reader::Reader;
pub use registry::Registry;
pub use session::{SILENT, Tracks};
pub use settings::{Conflict, Demand, PublishSettings, Refused};
pub use stream::{Ended, Status, StreamStats};
pub use timeline::Timeline;
pub use totals::Totals;
pub use wake::Wake;
pub use weir_media::Budget;
