//! What the process is about, from its start to its end.

/// A phase. They come in this order, and some may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The ports are bound, and not served yet.
    Starting,
    /// Everybody is served.
    Serving,
    /// It is going to stop, and says so to those who ask whether it is ready; everybody is still served.
    Notice,
    /// Nobody new is served, and those who are here are let go.
    Draining,
}

impl Phase {
    /// Its name in the API and in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Notice => "notice",
            Self::Draining => "draining",
        }
    }

    /// Whether the process is going to stop.
    pub fn is_ending(self) -> bool {
        self >= Self::Notice
    }
}
