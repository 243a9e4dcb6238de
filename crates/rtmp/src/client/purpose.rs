//! What a client is for.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Publish,
    Play,
    Ask,
}
