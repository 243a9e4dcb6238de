//! What goes with a session, whoever it belongs to.

use std::any::Any;

/// Something that is kept for as long as a session lasts, and dropped at its end, whatever thread that is on: its drop
/// must not wait.
pub type Held = Box<dyn Any + Send + Sync>;
