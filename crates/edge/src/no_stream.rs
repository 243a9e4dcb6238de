//! Why a viewer gets no stream.

use weir_clients::{counts::Refused, quota::Refusal};

use weir_upstream::Failure;

use crate::Ask;

/// Why a viewer gets no stream; its text is what the viewer is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoStream {
    /// Nobody publishes it.
    #[error("{0}")]
    Missing(String),
    /// It is not for this viewer.
    #[error("{0}")]
    Refused(String),
    /// Whoever has it cannot be reached, or has no room.
    #[error("{0}")]
    Unavailable(String),
    /// There is no room for another viewer here.
    #[error(transparent)]
    Full(#[from] Refusal),
}

impl NoStream {
    /// Whether the origins may have been shown a guess at something secret.
    pub fn may_be_guess(&self, ask: &Ask) -> bool {
        matches!(self, Self::Refused(_)) && !ask.params.is_empty()
    }
}

impl From<Failure> for NoStream {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Missing(reason) => Self::Missing(reason),
            Failure::Unreachable(reason) | Failure::Busy(reason) => Self::Unavailable(reason),
            Failure::Refused { code, description } => {
                Self::Refused(format!("the origin answered {code}: {description}"))
            }
        }
    }
}

impl From<&NoStream> for Refused {
    fn from(why: &NoStream) -> Self {
        match why {
            NoStream::Missing(_) => Self::NotFound,
            NoStream::Refused(_) => Self::Origin,
            NoStream::Unavailable(_) => Self::Unavailable,
            NoStream::Full(refusal) => refusal.into(),
        }
    }
}
