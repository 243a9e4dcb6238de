//! Passes: what a program shows that was started here, so that it may play or publish its own stream where others are
//! asked for more.
//!
//! A pass is a random word that is good for one use of one stream, from this machine, for as long as the program runs
//! that it was made for. Whoever can read the arguments of processes on this machine can read it.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use weir_media::StreamKey;

/// The parameter of a URL that a pass stands in.
pub const PARAM: &str = "weir_pass";

/// What a pass is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To play the stream.
    Play,
    /// To publish it.
    Publish,
}

/// All passes that are good now: two for each program at most.
#[derive(Debug, Default)]
pub struct Passes(Mutex<HashMap<String, (Use, StreamKey)>>);

/// A pass. Dropped, it is good for nothing any more.
#[derive(Debug)]
pub struct Pass {
    word: String,
    passes: Arc<Passes>,
}

impl Passes {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn issue(self: &Arc<Self>, what: Use, key: &StreamKey) -> io::Result<Pass> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let word: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        self.lock().insert(word.clone(), (what, key.clone()));
        Ok(Pass { word, passes: Arc::clone(self) })
    }

    /// Whether `word` is good for this use of the stream.
    pub fn allows(&self, word: &str, what: Use, key: &StreamKey) -> bool {
        self.lock().get(word).is_some_and(|of| *of == (what, key.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Use, StreamKey)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// What the program shows.
    pub fn word(&self) -> &str {
        &self.word
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.passes.lock().remove(&self.word);
    }
}

#[cfg(test)]
mod tests {
    use weir_media::DEFAULT_VHOST;

    use super::*;

    #[test]
    fn a_pass_is_good_for_one_use_of_one_stream_while_it_is_held() {
        let passes = Arc::<Passes>::default();
        let key = |stream| StreamKey::new(DEFAULT_VHOST, "live", stream).expect("a name");
        let pass = passes.issue(Use::Play, &key("a")).expect("random bytes");
        let word = pass.word().to_owned();
        assert_eq!(word.len(), 32);
        assert!(passes.allows(&word, Use::Play, &key("a")));
        assert!(!passes.allows(&word, Use::Publish, &key("a")));
        assert!(!passes.allows(&word, Use::Play, &key("b")));
        assert!(!passes.allows("", Use::Play, &key("a")));
        drop(pass);
        assert!(!passes.allows(&word, Use::Play, &key("a")));
    }
}
