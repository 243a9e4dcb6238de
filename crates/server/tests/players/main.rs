//! What players in browsers show.

mod hls;
mod mpegts_js;
mod mse;

use std::time::Duration;

use weir_testkit::{eventually, players::PlayerPage};

/// For a browser to start and to play, on the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(45);

/// A blank picture has one colour, a test picture many.
const COLOURS_MIN: u64 = 20;

/// Waits until more sound has been decoded than now.
async fn hear(player: &PlayerPage) {
    let before = player.page().video().await.sound;
    eventually("sound", TIMEOUT, async || {
        (player.page().video().await.sound > before).then_some(())
    })
    .await;
}
