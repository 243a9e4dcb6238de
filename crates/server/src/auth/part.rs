//! How keys follow the configuration that names them.

use std::sync::Arc;

use weir_config::{Next, Part, Ready, Unready};

use super::{Auth, Keys};

impl Part for Auth {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let keys = Keys::read(&next.config)?;
        let (auth, new) = (Arc::clone(&self), keys.clone());
        // A check takes the configuration first and its keys then: both find theirs meanwhile.
        Ok(Ready::after(move || self.settle(keys)).and_before(move || Auth::prepare(&auth, &new)))
    }
}
