//! The pictures of the README: `cargo xtask screenshots`.

use crate::{open, page::Console};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it writes files: cargo xtask screenshots"]
async fn screenshots() {
    let weir = open().demo().start();
    let page = Console::open(&weir, "console/").await;
    page.until_there(".tile canvas.shown").await;
}
