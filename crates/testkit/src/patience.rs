//! Waiting for what a page has to show, in whatever browser it is.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

/// Between two looks at a page.
const POLL: Duration = Duration::from_millis(50);

/// Waits until the function body `script`, for which `eval` has the page's answer, returns something that is neither
/// null, false nor empty; at `most` so long.
pub async fn until(script: &str, most: Duration, eval: impl AsyncFn(&str) -> Value) -> Value {
    let deadline = Instant::now() + most;
    loop {
        let value = eval(script).await;
        if !matches!(&value, Value::Null | Value::Bool(false)) && value != "" && value != 0 {
            return value;
        }
        if Instant::now() >= deadline {
            let text = eval("return document.body.innerText").await;
            panic!("not within {most:?}: {script}\nthe page says: {text}");
        }
        sleep(POLL).await;
    }
}
