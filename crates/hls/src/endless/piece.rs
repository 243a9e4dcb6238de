//! What comes of an endless file.

use std::fmt;

use bytes::Bytes;

use crate::Unsupported;

/// The tracks that the stream has at the beginning, whether or not they have shown themselves by then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// There are pictures.
    pub pictures: bool,
    /// There is sound.
    pub sound: bool,
}

/// Some bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The bytes.
    pub data: Bytes,
    /// What somebody needs before them who starts with them; none if nobody can.
    pub start: Option<Start>,
}

/// What somebody needs who starts somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// If it is new.
    pub first: Bytes,
    /// If it has had an earlier part of the file, and not what came in between.
    pub again: Bytes,
}

/// Why a file has ended though the stream goes on. Who asks again may get another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The stream has something now that the file has no room for.
    Unsupported(Unsupported),
    /// The stream has other tracks than the file has.
    Changed,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(why) => why.fmt(f),
            Self::Changed => f.write_str("the stream's codecs or tracks have changed"),
        }
    }
}

/// What has been made and not been taken.
#[derive(Default)]
pub struct Out {
    pub pieces: Vec<Piece>,
    pub ended: Option<Ended>,
}

impl Out {
    pub fn push(&mut self, data: impl Into<Bytes>, start: Option<Start>) {
        let data = data.into();
        if !data.is_empty() {
            self.pieces.push(Piece { data, start });
        }
    }
}
