//! Segments, read back packet by packet.

mod container;
mod reader;
mod real_media;
