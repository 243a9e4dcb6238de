//! Transaction ids of calls. Servers answer `connect` with 1 whatever it was sent with.

pub(super) const CONNECT: f64 = 1.0;
pub(super) const RELEASE_STREAM: f64 = 2.0;
pub(super) const FC_PUBLISH: f64 = 3.0;
pub(super) const CREATE_STREAM: f64 = 4.0;
pub(super) const ASK: f64 = 5.0;
pub(super) const FC_UNPUBLISH: f64 = 6.0;
