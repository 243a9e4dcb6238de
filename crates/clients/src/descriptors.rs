//! Descriptors: how many the system allows, and who may take how many of them.
//!
//! Whatever clients of the media ports do, there must be descriptors left for the API, for the configuration, and for
//! what this process does by itself. So each kind has a share, and none can take another's. What nothing is said of
//! here (listeners, pollers, name servers, files of the configuration, the cluster's nodes) has [`Shares::own`].

use std::sync::LazyLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::permits::Permits;

/// Connections to the API, on permits of their own: whoever looks after a full server must be able to reach it.
const API_MAX: usize = 256;

/// Of a small limit the API has this part, and a few connections at least.
const API_PART: usize = 8;
const API_MIN: usize = 16;

/// What this process opens by itself: some dozen listeners and pollers, and at most 16 files of HLS that are written,
/// 4 of the configuration, 64 connections to nodes of the cluster, some to name servers, a new process's listeners.
const OWN_MAX: usize = 512;

/// Of a small limit, this part.
const OWN_PART: usize = 4;

/// Of what is left, the part that is not for connections of clients: segments that are sent, connections to origins.
const OPENED_PART: usize = 4;

/// What the system allows when it does not say.
const UNKNOWN: usize = 1024;

/// How the descriptors are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// All of them.
    pub limit: usize,
    /// For connections to the API.
    pub api: usize,
    /// For what nobody is counted for.
    pub own: usize,
    /// For connections of clients on the media ports.
    pub clients: usize,
    /// For what clients make us open: segments, and connections to origins.
    pub opened: usize,
}

static SHARES: LazyLock<Shares> = LazyLock::new(|| Shares::of(raised()));

/// Places for what clients make us open.
static OPENED: LazyLock<Permits> = LazyLock::new(|| Permits::new(Shares::of_process().opened));

/// Places for what clients make us open: each segment that is being sent and each connection to an origin holds one.
pub fn opened() -> &'static Permits {
    &OPENED
}

impl Shares {
    /// Those of this process. At the first call the soft limit becomes what the hard one allows.
    pub fn of_process() -> Self {
        *SHARES
    }

    fn of(limit: usize) -> Self {
        let api = (limit / API_PART).clamp(API_MIN, API_MAX);
        let own = (limit / OWN_PART).min(OWN_MAX);
        let rest = limit.saturating_sub(api + own);
        let opened = rest / OPENED_PART;
        // Without any place at all there would be no limit.
        Self { limit, api, own, clients: (rest - opened).max(1), opened: opened.max(1) }
    }

    /// What the configuration promises, so many connections, and the system does not allow, in a sentence for the
    /// operator.
    pub fn shortage(&self, promised: usize) -> Option<String> {
        let Self { limit, clients, .. } = *self;
        if promised == 0 || promised <= clients {
            return None;
        }
        let needed = (clients..).step_by(1024).find(|limit| Self::of(*limit).clients >= promised);
        let needed = needed.unwrap_or(promised);
        Some(format!(
            "limits.connections is {promised}, but {limit} file descriptors leave only {clients} for connections; \
             raise the limit (LimitNOFILE, ulimit -n) to {needed}, or lower limits.connections"
        ))
    }
}

/// The limit of this process, as high as it may be without rights.
fn raised() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    // Some systems say that there is no limit and accept none: then the soft one is what there is.
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current };
    current.map_or(UNKNOWN, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_share_however_few_there_are() {
        for limit in [64, 256, 1024, 4096, 20_000, 131_072, usize::MAX] {
            let shares = Shares::of(limit);
            let Shares { api, own, clients, opened, .. } = shares;
            assert!(api >= API_MIN && own >= 16 && clients > 0 && opened > 0, "{shares:?}");
            assert!(api + own + clients + opened <= limit, "{shares:?}");
        }
        assert_eq!(Shares::of(131_072).api, 256);
    }

    #[test]
    fn an_operator_is_told_what_is_promised_and_not_there() {
        assert_eq!(Shares::of(131_072).shortage(20_000), None);
        assert_eq!(Shares::of(1024).shortage(0), None, "nothing is promised");
        let said = Shares::of(1024).shortage(20_000).expect("a shortage");
        assert!(said.contains("limits.connections is 20000"), "{said}");
        let needed = said.split("to ").nth(1).and_then(|rest| rest.split(',').next());
        let needed = needed.and_then(|word| word.parse().ok()).expect("a number");
        assert_eq!(Shares::of(needed).shortage(20_000), None, "{said}");
    }
}
