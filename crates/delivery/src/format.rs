//! The byte formats that many viewers share: what is sent, and how it is framed on the wire.

use weir_hls::EndlessForm;

use crate::framing::Framing;

/// A byte format that many viewers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// RTMP chunks of this size, on message stream 1.
    Rtmp {
        /// The outgoing chunk size of every session that gets this format.
        chunk_size: u32,
    },
    /// A file without an end.
    File(Container, Framing),
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// FLV: the messages as they were published.
    Flv,
    /// What the frames are written anew for.
    Endless(EndlessForm),
}

impl Format {
    /// FLV as it is.
    pub const FLV: Self = Self::File(Container::Flv, Framing::Plain);
    /// FLV in HTTP/1.1 chunks.
    pub const FLV_CHUNKED: Self = Self::File(Container::Flv, Framing::Chunked);

    /// All that [`Format::label`] can be.
    pub const LABELS: [&'static str; 1 + 2 * Container::ALL.len()] = {
        let mut labels = ["rtmp"; 1 + 2 * Container::ALL.len()];
        let mut at = 0;
        while at < Container::ALL.len() {
            let [http, websocket] = Container::ALL[at].labels();
            (labels[1 + 2 * at], labels[2 + 2 * at]) = (http, websocket);
            at += 1;
        }
        labels
    };

    /// Its name in the log, in figures and in the API.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rtmp { .. } => "rtmp",
            Self::File(container, Framing::WebSocket) => container.labels()[1],
            Self::File(container, Framing::Plain | Framing::Chunked) => container.labels()[0],
        }
    }

    /// Whether the format has words for the tracks, which have to be true.
    pub fn tells_tracks(self) -> bool {
        matches!(self, Self::File(Container::Flv, _))
    }

    /// How it is framed.
    pub fn framing(self) -> Framing {
        match self {
            Self::Rtmp { .. } => Framing::Plain,
            Self::File(_, framing) => framing,
        }
    }
}

impl Container {
    /// All of them, those first that fewer players need.
    pub const ALL: [Self; 5] = [
        Self::Flv,
        Self::Endless(EndlessForm::Mp4),
        Self::Endless(EndlessForm::Ts),
        Self::Endless(EndlessForm::Aac),
        Self::Endless(EndlessForm::Mp3),
    ];

    /// The extension in URLs.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Flv => "flv",
            Self::Endless(EndlessForm::Ts) => "ts",
            Self::Endless(EndlessForm::Mp4) => "mp4",
            Self::Endless(EndlessForm::Mp3) => "mp3",
            Self::Endless(EndlessForm::Aac) => "aac",
        }
    }

    /// The container with this extension.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|container| container.extension() == extension)
    }

    /// The media type (RFC 6838).
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Flv => "video/x-flv",
            Self::Endless(EndlessForm::Ts) => "video/mp2t",
            Self::Endless(EndlessForm::Mp4) => "video/mp4",
            Self::Endless(EndlessForm::Mp3) => "audio/mpeg",
            Self::Endless(EndlessForm::Aac) => "audio/aac",
        }
    }

    /// Its names in the log, in figures and in the API: over HTTP, and over WebSocket.
    pub const fn labels(self) -> [&'static str; 2] {
        match self {
            Self::Flv => ["http-flv", "ws-flv"],
            Self::Endless(EndlessForm::Ts) => ["http-ts", "ws-ts"],
            Self::Endless(EndlessForm::Mp4) => ["http-mp4", "ws-mp4"],
            Self::Endless(EndlessForm::Mp3) => ["http-mp3", "ws-mp3"],
            Self::Endless(EndlessForm::Aac) => ["http-aac", "ws-aac"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_name_their_containers() {
        for container in Container::ALL {
            assert_eq!(Container::of_extension(container.extension()), Some(container));
        }
        assert_eq!(Container::of_extension("m3u8"), None);
        let ts = Container::Endless(EndlessForm::Ts);
        let labels = [Framing::Plain, Framing::Chunked, Framing::WebSocket];
        let labels = labels.map(|framing| Format::File(ts, framing).label());
        assert_eq!(labels, ["http-ts", "http-ts", "ws-ts"]);
    }
}
