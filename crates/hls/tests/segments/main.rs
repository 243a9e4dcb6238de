//! Segments, read back packet by packet.

mod container;
mod odd_video;
mod reader;
mod real_media;
