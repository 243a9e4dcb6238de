//! What is done with a server that runs: configurations are put in force, everybody is let go, the listeners are handed
//! over to the next process.

pub mod acceptors;
pub mod control;
pub mod drain;
pub mod handover;
pub mod preflight;
pub mod readiness;
pub mod reload;
pub mod renewed;
pub mod stop;
