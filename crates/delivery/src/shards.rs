//! All shards of the process: viewers are handed over to them here.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::mpsc;
use weir_clients::{histogram::Counted, quota::Quotas};

use super::{
    mailbox::{Arrival, BIT_RATE_MIN, Mailbox, Returned},
    shard::Shard,
    terms::TermsOf,
};

/// All shards of the process.
pub struct Shards {
    mailboxes: Vec<Arc<Mailbox>>,
}

impl Shards {
    /// Starts `count` shards. RTMP viewers that must go back to the control side are sent to `returns`; what is sent
    /// counts in `quotas`. `last` is called before a shard that is dead ends the process: to write what is to be
    /// written.
    ///
    /// # Errors
    /// When the system gives no poller or thread.
    pub fn start(
        count: usize,
        returns: &mpsc::Sender<Returned>,
        quotas: &Arc<Quotas>,
        last: fn(),
    ) -> io::Result<Self> {
        let mailboxes = (0..count)
            .map(|number| Shard::start(number, returns.clone(), Arc::clone(quotas), last))
            .collect::<io::Result<_>>()?;
        Ok(Self { mailboxes })
    }

    /// Gives a viewer to the shard with the least to send.
    pub fn deliver(&self, arrival: Arrival) {
        arrival.client.presence.leaves_its_task();
        let Some(mailbox) =
            self.mailboxes.iter().min_by_key(|mailbox| mailbox.load.load(Ordering::Relaxed))
        else {
            return;
        };
        let weight = arrival.channel.bit_rate().max(BIT_RATE_MIN);
        mailbox.load.fetch_add(weight, Ordering::Relaxed);
        mailbox.viewers.fetch_add(1, Ordering::Relaxed);
        mailbox.put(|inbox| inbox.arrivals.push((arrival, weight)));
    }

    /// Some clients have been asked to leave: those who have them look whether they are theirs.
    pub fn look(&self) {
        for mailbox in &self.mailboxes {
            mailbox.put(|inbox| inbox.look = true);
        }
    }

    /// From now on viewers are treated as `terms` says.
    pub fn reconfigure(&self, terms: &TermsOf) {
        for mailbox in &self.mailboxes {
            mailbox.put(|inbox| inbox.terms = Some(Arc::clone(terms)));
        }
    }

    /// Bits per second that the viewers of each shard are expected to take.
    pub fn loads(&self) -> Vec<u64> {
        self.mailboxes.iter().map(|mailbox| mailbox.load.load(Ordering::Relaxed)).collect()
    }

    /// Adds how long flushes took.
    pub fn add_latency(&self, counted: &mut Counted) {
        self.mailboxes.iter().for_each(|mailbox| mailbox.latency.add_to(counted));
    }

    /// Viewers on each shard.
    pub fn viewers(&self) -> Vec<usize> {
        self.mailboxes.iter().map(|mailbox| mailbox.viewers.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        for mailbox in &self.mailboxes {
            mailbox.put(|inbox| inbox.closed = true);
        }
    }
}
