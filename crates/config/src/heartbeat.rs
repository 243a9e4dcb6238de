//! The settings of the heartbeat: which back end hears at intervals that this server is there.

use std::time::Duration;

use super::{
    hooks::HookUrl,
    kind::{Maybe, section},
    scalar::{Switch, Time},
    web::LabelValue,
};

/// What is more often tells nothing more, and each of them may be a connection.
const INTERVAL_MIN: u64 = 1000;
/// Who hears less often than that does not learn in time that a server is gone.
const INTERVAL_MAX: u64 = 3_600_000;

section! {
    /// Which back end hears at intervals that this server is there, over HTTP as with SRS.
    Heartbeat / HeartbeatKeys {
        /// Where it is sent to; without one, there is none.
        url: Option<HookUrl> = None, Maybe<HookUrl>;
        /// How often.
        interval: Duration = Duration::from_secs(10), Time<INTERVAL_MIN, INTERVAL_MAX>;
        /// What the back end knows this server by.
        device_id: String = String::new(), LabelValue;
        /// The address that it says; without one, that by which this machine reaches the back end.
        ip: String = String::new(), LabelValue;
        /// Whether it says how the server and its system do, as `/api/v1/summaries`.
        summaries: bool = false, Switch;
        /// Whether it says where the server listens.
        ports: bool = false, Switch;
    }
}
