//! Who is connected, and what they may take.

use std::sync::Arc;

use weir_clients::{
    descriptors::Shares, permits::Permits, quota::Quotas, roster::Roster,
    wrong_secrets::WrongSecrets,
};
use weir_config::{Limits, Next, Part, Ready, Unready};
use weir_media::Budget;

use crate::terms;

/// Everybody who is connected, and the limits on them: the part that follows `limits.connections`, `limits.egress` and
/// those on viewers and addresses.
pub struct Clients {
    /// Everybody who is connected, but for those at the API.
    pub roster: Arc<Roster>,
    /// The permits that they take.
    pub permits: Permits,
    /// The descriptors that their connections take.
    pub sockets: Permits,
    /// What viewers and addresses may take.
    pub quotas: Arc<Quotas>,
    /// Who has shown wrong secrets and tokens, here and at the API.
    pub wrong_secrets: WrongSecrets,
}

impl Clients {
    /// Nobody yet; what they take counts in `budget`.
    pub fn new(limits: &Limits, budget: &Budget) -> Arc<Self> {
        Arc::new(Self {
            roster: Arc::default(),
            permits: Permits::new(limits.connections).charging(budget),
            sockets: Permits::new(Shares::of_process().clients),
            quotas: Arc::new(Quotas::new(terms::quotas(limits))),
            wrong_secrets: WrongSecrets::default(),
        })
    }
}

/// New limits apply to new clients only.
impl Part for Clients {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let config = Arc::clone(&next.config);
        Ok(Ready::after(move || {
            self.permits.limit_to(config.limits.connections);
            self.quotas.limit_to(terms::quotas(&config.limits));
        }))
    }
}
