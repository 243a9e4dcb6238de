//! The name of a stream.

use std::{fmt, sync::Arc};

/// The vhost of every stream that names none, or one that is not configured; as in SRS.
pub const DEFAULT_VHOST: &str = "__defaultVhost__";

/// Longest accepted vhost, app or stream name. SRS users sign names with tokens of some hundred bytes in the *query*,
/// which is not part of the name; file systems end at 255 bytes for a path component.
pub const KEY_BYTES_MAX: usize = 255;

/// Names one stream: vhost, app and stream name.
///
/// Every part is safe as a relative file path and in a URL path: no empty, `.` or `..` component, no NUL or other
/// control character, no backslash. The app may have several levels (`live/europe`), the stream name only one. Cloning
/// is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(Arc<Parts>);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Parts {
    vhost: Box<str>,
    app: Box<str>,
    stream: Box<str>,
}

/// Why a name is no [`StreamKey`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// A part is empty.
    #[error("the {0} name is empty")]
    Empty(&'static str),
    /// A part is longer than [`KEY_BYTES_MAX`].
    #[error("the {0} name is longer than {KEY_BYTES_MAX} bytes")]
    TooLong(&'static str),
    /// A part has a character that no file name or URL path may have.
    #[error("the {0} name contains the forbidden character {1:?}")]
    Character(&'static str, char),
    /// A path component is empty, `.`, `..`, or begins with `@`, which marks vhost directories.
    #[error("the {0} name contains the forbidden component {1:?}")]
    Component(&'static str, Box<str>),
}

impl StreamKey {
    /// A checked name. `vhost` is a configured vhost or [`DEFAULT_VHOST`].
    ///
    /// # Errors
    /// Says which part is not acceptable and why.
    pub fn new(vhost: &str, app: &str, stream: &str) -> Result<Self, InvalidKey> {
        check("vhost", vhost)?;
        check("app", app)?;
        check("stream", stream)?;
        if vhost.contains('/') {
            return Err(InvalidKey::Character("vhost", '/'));
        }
        if stream.contains('/') {
            return Err(InvalidKey::Character("stream", '/'));
        }
        Ok(Self(Arc::new(Parts { vhost: vhost.into(), app: app.into(), stream: stream.into() })))
    }

    /// The vhost, [`DEFAULT_VHOST`] when none was asked for.
    pub fn vhost(&self) -> &str {
        &self.0.vhost
    }

    /// The app, possibly of several levels.
    pub fn app(&self) -> &str {
        &self.0.app
    }

    /// The stream name.
    pub fn stream(&self) -> &str {
        &self.0.stream
    }
}

fn check(part: &'static str, name: &str) -> Result<(), InvalidKey> {
    if name.is_empty() {
        return Err(InvalidKey::Empty(part));
    }
    if name.len() > KEY_BYTES_MAX {
        return Err(InvalidKey::TooLong(part));
    }
    if let Some(c) = name.chars().find(|c| c.is_control() || matches!(c, '\\' | '?' | '#')) {
        return Err(InvalidKey::Character(part, c));
    }
    let bad =
        |component: &&str| matches!(*component, "" | "." | "..") || component.starts_with('@');
    match name.split('/').find(bad) {
        Some(component) => Err(InvalidKey::Component(part, component.into())),
        None => Ok(()),
    }
}

/// SRS's `stream_url`: `/live/livestream`, or `vhost/live/livestream` on another vhost than the default.
impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { vhost, app, stream } = &*self.0;
        if &**vhost == DEFAULT_VHOST {
            write!(f, "/{app}/{stream}")
        } else {
            write!(f, "{vhost}/{app}/{stream}")
        }
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn displays_as_srs_does() {
        let key = StreamKey::new(DEFAULT_VHOST, "live", "livestream").unwrap();
        assert_eq!(key.to_string(), "/live/livestream");
        let key = StreamKey::new("example.com", "live/eu", "a").unwrap();
        assert_eq!(key.to_string(), "example.com/live/eu/a");
    }

    #[test]
    fn refuses_names_that_could_leave_the_directory() {
        let v = DEFAULT_VHOST;
        let stream = |name: &str| StreamKey::new(v, "live", name);
        assert_eq!(stream(""), Err(InvalidKey::Empty("stream")));
        assert_eq!(stream(".."), Err(InvalidKey::Component("stream", "..".into())));
        assert_eq!(stream("a/b"), Err(InvalidKey::Character("stream", '/')));
        assert_eq!(stream("a\0b"), Err(InvalidKey::Character("stream", '\0')));
        assert_eq!(stream("a\\b"), Err(InvalidKey::Character("stream", '\\')));
        assert_eq!(stream(&"x".repeat(10 * 1024)), Err(InvalidKey::TooLong("stream")));
        assert_eq!(
            StreamKey::new(v, "live/../etc", "a"),
            Err(InvalidKey::Component("app", "..".into()))
        );
        assert_eq!(StreamKey::new(v, "/etc", "a"), Err(InvalidKey::Component("app", "".into())));
        assert_eq!(
            StreamKey::new(v, "@example.com", "a"),
            Err(InvalidKey::Component("app", "@example.com".into()))
        );
        assert_eq!(StreamKey::new("a/b", "live", "a"), Err(InvalidKey::Character("vhost", '/')));
    }

    proptest! {
        #[test]
        fn an_accepted_key_is_a_path_below_its_root(app in ".{0,40}", stream in ".{0,40}") {
            if let Ok(key) = StreamKey::new(DEFAULT_VHOST, &app, &stream) {
                let path = std::path::Path::new(key.app()).join(key.stream());
                prop_assert!(path.components().all(|c| matches!(c, std::path::Component::Normal(_))), "{path:?}");
            }
        }
    }
}
