//! Cuts an FLV file into an HLS stream: `cargo run -p weir-hls --example segment -- in.flv out-dir`.

use std::{error::Error, fs, path::Path, time::UNIX_EPOCH};

use weir_flv::file::{Item, Reader};
use weir_hls::{Begin, Config, Container, Event, Form, Lengths, Nonce, Playlist, Segmenter};
use weir_media::Timestamp;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(input), Some(dir)) = (args.next(), args.next()) else {
        return Err("usage: segment IN.flv OUT-DIR".into());
    };
    let config = Config { window: usize::MAX, ..Config::new("stream") };
    let mut segmenter = Segmenter::new(Container::Ts, Lengths::new(config.target));
    let mut playlist = Playlist::new(&config);
    let mut reader = Reader::default();
    reader.push(&fs::read(input)?);
    while let Some(item) = reader.poll()? {
        let Item::Tag(tag) = item else { continue };
        let dts = Timestamp::from_millis(i64::from(tag.timestamp));
        let wall = UNIX_EPOCH.elapsed()?;
        let events = segmenter.push(&weir_flv::to_frame(&tag, dts, 0)?, wall);
        write(Path::new(&dir), &mut playlist, events)?;
    }
    write(Path::new(&dir), &mut playlist, segmenter.finish())?;
    playlist.end();
    fs::write(Path::new(&dir).join("stream.m3u8"), playlist.render_plain())?;
    Ok(())
}

fn write(dir: &Path, playlist: &mut Playlist, events: Vec<Event>) -> std::io::Result<()> {
    for event in events {
        match event {
            Event::Begin { discontinuity, program_date_time } => {
                playlist.begin(Begin { discontinuity, ..Begin::at(program_date_time) });
            }
            Event::Segment(segment) => {
                // Who serves these files to strangers takes chance from the system here.
                let file = playlist.file(Nonce::new(0), Form::Ts);
                fs::write(dir.join(&file), &segment.data)?;
                playlist.push(&file, segment.duration);
            }
            // Segments of MPEG-TS need no others, and have no parts.
            Event::Init(_) | Event::Part { .. } => {}
        }
    }
    Ok(())
}
