//! Why a client may not do what it asks for.

use std::fmt;

use ipnet::IpNet;
use weir_clients::{detail::Detail, end::End};
use weir_media::StreamKey;

use super::request::Action;

/// Why a client may not do what it asks for. Shown, it is what the client is told: enough for somebody who has a right
/// to be here, and nothing that helps others to guess.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Its address is in this network, which may not, or in none of those that may.
    #[error("denied: not from this address")]
    Address(Option<IpNet>),
    /// Its URL does not have this parameter.
    #[error("denied: the parameter `{0}` is missing")]
    Missing(String),
    /// Its URL has more parameters than any URL.
    #[error("denied: the parameters are too long")]
    TooLong,
    /// What it shows was good, until so many seconds ago.
    #[error("denied: the token has expired")]
    Expired(u64),
    /// What it shows is going to be good.
    #[error("denied: the token is not valid yet")]
    Early,
    /// What it shows is good for nothing; why, the log says.
    #[error("denied: {0} is not valid")]
    Invalid(Credential, &'static str),
    /// It is no edge of ours, and nobody else may.
    #[error("denied: this server serves its edges only")]
    NoEdge,
    /// It names no page, or one on a site that may not.
    #[error("denied: not from this site")]
    Site(Unlisted),
    /// The back end refuses, or does not decide.
    #[error("{0}")]
    Hook(weir_hooks::Refused),
}

/// What is wrong with the page that a client names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// It names none.
    Empty,
    /// It is on no site of the list.
    Other,
}

/// What a client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A secret.
    Secret,
    /// A signature, or a JSON Web Token.
    Token,
    /// That of an edge.
    EdgeToken,
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "the secret",
            Self::Token => "the token",
            Self::EdgeToken => "the token of the edge",
        })
    }
}

impl Denied {
    /// Whether it may have been tried: who has something that was right, or nothing at all, does not guess.
    pub const fn may_be_guess(&self) -> bool {
        matches!(self, Self::Invalid(..) | Self::TooLong)
    }

    /// Whether the back end says no: who has shown it something may have guessed at it.
    pub const fn is_of_back_end(&self) -> bool {
        matches!(self, Self::Hook(weir_hooks::Refused::No(_)))
    }

    /// Whether the same may be allowed in a moment.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Hook(why) if why.is_passing())
    }

    /// The whole reason, for the log. It repeats nothing of what the client has shown.
    pub fn reason(&self) -> String {
        match self {
            Self::Address(Some(net)) => format!("{self}: it matches {net} (deny)"),
            Self::Address(None) => format!("{self}: it matches no network in allow"),
            Self::Expired(ago) => format!("{self}, {ago}s ago"),
            Self::Invalid(_, why) => format!("{self}: {why}"),
            Self::Site(Unlisted::Empty) => format!("{self}: it names no page"),
            Self::Site(Unlisted::Other) => format!("{self}: its page is on none of the hosts"),
            Self::Hook(why) => why.reason(),
            Self::Missing(_) | Self::TooLong | Self::Early | Self::NoEdge => self.to_string(),
        }
    }

    /// The end of a session that was refused.
    pub fn end(&self, action: Action, key: &StreamKey) -> End {
        let reason = format!("{} of {key} refused: {}", action.label(), self.reason());
        let (code, value) = self.parts();
        let detail = Detail::new(code, [&value], &reason);
        End::policy(reason).saying(detail)
    }

    /// Its name, and what it is about.
    fn parts(&self) -> (&'static str, String) {
        match self {
            Self::Address(Some(net)) => ("denied_network", net.to_string()),
            Self::Address(None) => ("denied_address", String::new()),
            Self::Missing(name) => ("denied_missing", name.clone()),
            Self::TooLong => ("denied_long", String::new()),
            Self::Expired(ago) => ("denied_expired", ago.to_string()),
            Self::Early => ("denied_early", String::new()),
            Self::Invalid(Credential::Secret, why) => ("denied_secret", (*why).to_owned()),
            Self::Invalid(Credential::Token, why) => ("denied_token", (*why).to_owned()),
            Self::Invalid(Credential::EdgeToken, why) => ("denied_edge", (*why).to_owned()),
            Self::NoEdge => ("denied_no_edge", String::new()),
            Self::Site(_) => ("denied_site", String::new()),
            Self::Hook(why) => ("denied_hook", why.reason()),
        }
    }
}
