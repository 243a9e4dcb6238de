//! Who may publish and who may play: the checks of `auth.publish` and `auth.play`.
//!
//! A client is checked when it asks, by the settings of that moment; who is in stays in, whatever a reload changes. A
//! check reads no file and asks nobody: public keys are read together with the configuration.

mod bounds;
mod check;
pub mod cli;
mod denied;
mod jwt;
mod part;
mod referer;
mod request;
mod shown;
#[cfg(test)]
mod tests;
mod token;

pub use self::{
    check::{Auth, wants_parameters},
    denied::Denied,
    jwt::Keys,
    request::{Action, Shown},
    shown::{shown, without_secrets},
};
