//! How a stream is cut.

use std::time::Duration;

use weir_config::Hls;
use weir_hls::Container;

/// How a stream is cut. All its playlists are cut alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What segments are written in.
    pub container: Container,
    /// Their length.
    pub target: Duration,
    /// The length of their parts, if they have some.
    pub part: Option<Duration>,
    /// After how many segments their key is another one, if they are encrypted.
    pub segments_per_key: Option<u32>,
}

impl Plan {
    /// What `settings` ask for; `needs_fmp4`: whether the stream has tracks that only fragmented MP4 carries.
    pub fn of(settings: &Hls, needs_fmp4: bool) -> Self {
        let part = settings.parts();
        let container = match settings.container {
            weir_config::Container::Ts => Container::Ts,
            weir_config::Container::Auto if part.is_none() && !needs_fmp4 => Container::Ts,
            weir_config::Container::Auto | weir_config::Container::Fmp4 => Container::Mp4,
        };
        Self {
            container,
            target: settings.segment,
            part,
            segments_per_key: settings.encrypt.then_some(settings.segments_per_key),
        }
    }
}
