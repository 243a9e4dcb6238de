//! The console and the player: their files, packed, with what browsers are told of them.
//!
//! The sources are in `web/`; what is in the program is `packed/`, which `cargo xtask console` makes of them and a test
//! compares with them. `web/vendor/` has what others have made, as it is published on npm; a test compares that too.

mod assets;
pub mod policy;

pub use assets::Asset;
