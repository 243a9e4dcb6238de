//! What only ever counts up: plain atomics, added to where things happen.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use weir_tls::{client::Reason, handshake::Failure};

use crate::{
    end::{End, Kind},
    quota::Refusal,
    roster::Activity,
};

/// The counters of this process. There is one process, and what counts is reached from everywhere in it.
pub static COUNTS: Counts = Counts::new();

/// A counter.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// One more.
    pub fn increase(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Why somebody did not get what it asked for: a closed set, for the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `limits.connections`.
    Connections,
    /// `limits.connections_per_ip`.
    ConnectionsPerIp,
    /// `limits.viewers_per_stream`.
    ViewersPerStream,
    /// `limits.egress`.
    Egress,
    /// `auth`.
    Auth,
    /// Nobody publishes the stream.
    NotFound,
    /// Whoever has the stream cannot be reached, or has no room.
    Unavailable,
    /// Another publisher has the stream.
    Conflict,
    /// The origin refused it.
    Origin,
    /// It is no name that a stream can have.
    BadName,
    /// `limits.memory`.
    Memory,
    /// An operator has ended it.
    Kicked,
    /// The format that was asked for has no room for the stream's codecs.
    Unfit,
}

impl Refused {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::Connections,
        Self::ConnectionsPerIp,
        Self::ViewersPerStream,
        Self::Egress,
        Self::Auth,
        Self::NotFound,
        Self::Unavailable,
        Self::Conflict,
        Self::Origin,
        Self::BadName,
        Self::Memory,
        Self::Kicked,
        Self::Unfit,
    ];

    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerIp => "connections_per_ip",
            Self::ViewersPerStream => "viewers_per_stream",
            Self::Egress => "egress",
            Self::Auth => "auth",
            Self::NotFound => "not_found",
            Self::Unavailable => "unavailable",
            Self::Conflict => "conflict",
            Self::Origin => "origin",
            Self::BadName => "bad_name",
            Self::Memory => "memory",
            Self::Kicked => "kicked",
            Self::Unfit => "unfit",
        }
    }

    /// Counts one that was refused for this reason.
    pub fn count(self) {
        COUNTS.refused[self as usize].increase();
    }
}

impl From<&Refusal> for Refused {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Stream { .. } => Self::ViewersPerStream,
            Refusal::Egress { .. } => Self::Egress,
            Refusal::Address { .. } => Self::ConnectionsPerIp,
            Refusal::Kicked => Self::Kicked,
        }
    }
}

/// Why a message of a publisher or an origin was not passed on, for the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// There is nothing in it.
    Empty,
    /// Its header is cut, or no header.
    Unreadable,
    /// It is in another codec than its track, or a configuration that its track's packets give the lie to. RTMP viewers
    /// get packets all the same.
    Stray,
}

impl LeftOut {
    const ALL: [Self; 3] = [Self::Empty, Self::Unreadable, Self::Stray];

    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Unreadable => "unreadable",
            Self::Stray => "stray",
        }
    }
}

const ROLES: [Activity; 3] = [Activity::Control, Activity::Publish, Activity::Play];

/// All of them.
#[derive(Debug)]
pub struct Counts {
    refused: [Count; Refused::ALL.len()],
    left_out: [Count; LeftOut::ALL.len()],
    ended: [[Count; Kind::ALL.len()]; ROLES.len()],
    origin_tls_failed: [Count; Reason::ALL.len()],
    /// Connections that came in over RTMP or HTTP.
    pub clients: Count,
    /// TLS handshakes of clients that were completed.
    pub tls_handshakes: Count,
    tls_failed: [Count; Failure::LABELS.len()],
    /// Viewers that fell behind and were moved to the newest group.
    pub skips: Count,
    /// Streams that were watched and lost their publisher or origin for good.
    pub streams_lost: Count,
    /// Pulls that were lost while somebody watched.
    pub pulls_lost: Count,
    /// Questions to origins after the first one for the same stream.
    pub pull_retries: Count,
    /// Publishes that could not be passed on any more for a while.
    pub pushes_lost: Count,
    /// Bytes of media sent to targets of `forward`.
    pub forward_bytes: Count,
    /// Frames that targets missed because they were too slow.
    pub forward_frames_skipped: Count,
    /// Connections to targets that were lost.
    pub forwards_lost: Count,
    /// Attempts to reach a target that failed, or were refused.
    pub forward_failures: Count,
    /// Programs that were started again because they had ended.
    pub child_restarts: Count,
    /// Publishers and origins whose timestamps ran slower or faster than real time.
    pub clocks_off: Count,
    /// HLS segments written.
    pub hls_segments: Count,
    /// HLS playlists written.
    pub hls_playlists: Count,
    /// Bytes of HLS segments written.
    pub hls_bytes: Count,
    /// HLS files that could not be written.
    pub hls_errors: Count,
    /// Frames that HLS left out.
    pub hls_frames_dropped: Count,
    /// Files of recordings that were finished.
    pub record_files: Count,
    /// Bytes of recordings written.
    pub record_bytes: Count,
    /// Recordings that were removed again, because they were not to be kept.
    pub record_files_removed: Count,
    /// Groups of pictures that recordings left out, because the disk was too slow or there was no memory.
    pub record_groups_dropped: Count,
    /// Times that a file of a recording could not be written.
    pub record_errors: Count,
    /// Files that were uploaded.
    pub uploads: Count,
    /// Bytes of them.
    pub upload_bytes: Count,
    /// Attempts to upload that failed.
    pub upload_failures: Count,
    /// Files that were removed before they were uploaded.
    pub uploads_gone: Count,
    /// Lines of the log that nobody took.
    pub log_lines_lost: Count,
    /// Lines of the log of which there were enough.
    pub log_lines_left_out: Count,
}

impl Counts {
    const fn new() -> Self {
        Self {
            refused: [const { Count::new() }; Refused::ALL.len()],
            left_out: [const { Count::new() }; LeftOut::ALL.len()],
            ended: [const { [const { Count::new() }; Kind::ALL.len()] }; ROLES.len()],
            origin_tls_failed: [const { Count::new() }; Reason::ALL.len()],
            clients: Count::new(),
            tls_handshakes: Count::new(),
            tls_failed: [const { Count::new() }; Failure::LABELS.len()],
            skips: Count::new(),
            streams_lost: Count::new(),
            pulls_lost: Count::new(),
            pull_retries: Count::new(),
            pushes_lost: Count::new(),
            forward_bytes: Count::new(),
            forward_frames_skipped: Count::new(),
            forwards_lost: Count::new(),
            forward_failures: Count::new(),
            child_restarts: Count::new(),
            clocks_off: Count::new(),
            hls_segments: Count::new(),
            hls_playlists: Count::new(),
            hls_bytes: Count::new(),
            hls_errors: Count::new(),
            hls_frames_dropped: Count::new(),
            record_files: Count::new(),
            record_bytes: Count::new(),
            record_files_removed: Count::new(),
            record_groups_dropped: Count::new(),
            record_errors: Count::new(),
            uploads: Count::new(),
            upload_bytes: Count::new(),
            upload_failures: Count::new(),
            uploads_gone: Count::new(),
            log_lines_lost: Count::new(),
            log_lines_left_out: Count::new(),
        }
    }

    /// Counts the end of a session.
    pub fn ended(&self, role: Activity, end: &End) {
        self.ended[role as usize][end.kind as usize].increase();
    }

    /// Counts a TLS handshake of a client that failed.
    pub fn tls_failed(&self, why: &Failure) {
        self.tls_failed[why.label()].increase();
    }

    /// All TLS handshakes that failed, by reason.
    pub fn all_tls_failed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Failure::LABELS.into_iter().zip(self.tls_failed.iter().map(Count::get))
    }

    /// Counts messages that were not passed on.
    pub fn left_out(&self, why: LeftOut, count: u64) {
        self.left_out[why as usize].add(count);
    }

    /// Counts a connection to an origin that has come to no TLS.
    pub fn origin_tls_failed(&self, why: Reason) {
        self.origin_tls_failed[why as usize].increase();
    }

    /// All connections to origins that have come to no TLS, by reason.
    pub fn all_origin_tls_failed(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().zip(self.origin_tls_failed.iter().map(Count::get))
    }

    /// All messages that were not passed on, by reason.
    pub fn all_left_out(&self) -> impl Iterator<Item = (LeftOut, u64)> {
        LeftOut::ALL.into_iter().zip(self.left_out.iter().map(Count::get))
    }

    /// Everybody who was refused, by reason.
    pub fn all_refused(&self) -> impl Iterator<Item = (Refused, u64)> {
        Refused::ALL.into_iter().zip(self.refused.iter().map(Count::get))
    }

    /// All ends, by role and kind.
    pub fn all_ended(&self) -> impl Iterator<Item = (Activity, Kind, u64)> {
        ROLES.into_iter().zip(&self.ended).flat_map(|(role, kinds)| {
            Kind::ALL.into_iter().zip(kinds).map(move |(kind, count)| (role, kind, count.get()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_is_in_its_place_and_has_a_label_of_its_own() {
        for (index, reason) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
        }
        let labels: HashSet<_> = Refused::ALL.map(Refused::label).into();
        assert_eq!(labels.len(), Refused::ALL.len());
        for (index, reason) in LeftOut::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
        }
        for (index, role) in ROLES.into_iter().enumerate() {
            assert_eq!(role as usize, index, "{role:?}");
        }
    }

    #[test]
    fn ends_are_counted_by_role_and_kind() {
        let counts = Counts::new();
        counts.ended(Activity::Play, &End::closed());
        counts.ended(Activity::Play, &End::closed());
        counts.ended(Activity::Publish, &End::us("a fault"));
        let seen: Vec<_> = counts.all_ended().filter(|(.., count)| *count > 0).collect();
        let expected = [(Activity::Publish, Kind::Fault, 1), (Activity::Play, Kind::Closed, 2)];
        assert_eq!(seen, expected);
    }
}
