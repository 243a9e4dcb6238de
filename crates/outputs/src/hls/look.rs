//! Tries out folders that nothing is written to, so that it is known whether it could be.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::disk::Disk;

/// How often a folder is tried out that nothing has been written to meanwhile, or that could not be written to: soon
/// enough for balancers, and next to nothing for a disk.
pub const LOOK: Duration = Duration::from_secs(5);

/// How long that may take before the disk counts as one that hangs. Segments are two seconds long.
const TRY_MAX: Duration = Duration::from_secs(5);

/// One look at a disk at a time: what hangs takes one thread, and not another one with each look.
struct Trying(Arc<Disk>);

impl Drop for Trying {
    fn drop(&mut self) {
        self.0.health().is_tried.store(false, Ordering::Release);
    }
}

/// Tries out whether files can be written to `disk`, if that is not known from what was written.
pub async fn look(disk: Arc<Disk>) {
    let health = disk.health();
    let Some(bytes) = health.due() else { return };
    if health.is_tried.swap(true, Ordering::AcqRel) {
        return;
    }
    let trying = Trying(Arc::clone(&disk));
    let try_out = move || trying.0.try_out(bytes);
    let tried = disk.writes().run_within(TRY_MAX, try_out).await.flatten();
    health.tried(disk.dir(), bytes, &tried);
}
