//! Segments, read back packet by packet.

mod container;
mod odd_video;
mod reader;
mod real_media;

use std::time::Duration;

use weir_hls::{Container, Event, Lengths, Segment, Segmenter};

/// A segmenter of MPEG-TS that aims at 2 s.
fn segmenter() -> Segmenter {
    Segmenter::new(Container::Ts, Lengths::new(Duration::from_secs(2)))
}

/// The segments among what came out.
fn segments(events: Vec<Event>) -> impl Iterator<Item = Segment> {
    events.into_iter().filter_map(|event| match event {
        Event::Segment(segment) => Some(segment),
        _ => None,
    })
}
