//! Cuts an FLV file into an HLS stream: `cargo run -p weir-hls --example segment -- in.flv out-dir`.

use std::{error::Error, fs, path::Path, time::UNIX_EPOCH};

use weir_flv::file::{Item, Reader};
use weir_hls::{Config, Cut, Nonce, Playlist, Segmenter};
use weir_media::Timestamp;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(input), Some(dir)) = (args.next(), args.next()) else {
        return Err("usage: segment IN.flv OUT-DIR".into());
    };
    let config = Config { window: usize::MAX, ..Config::new("stream") };
    let (mut segmenter, mut playlist) = (Segmenter::new(&config), Playlist::new(&config));
    let mut reader = Reader::default();
    reader.push(&fs::read(input)?);
    while let Some(item) = reader.poll()? {
        let Item::Tag(tag) = item else { continue };
        let dts = Timestamp::from_millis(i64::from(tag.timestamp));
        let wall = UNIX_EPOCH.elapsed()?;
        if let Some(cut) = segmenter.push(&weir_flv::to_frame(&tag, dts, 0)?, wall) {
            write(Path::new(&dir), &mut playlist, &cut)?;
        }
    }
    if let Some(cut) = segmenter.finish() {
        write(Path::new(&dir), &mut playlist, &cut)?;
    }
    playlist.end();
    fs::write(Path::new(&dir).join("stream.m3u8"), playlist.render())?;
    Ok(())
}

fn write(dir: &Path, playlist: &mut Playlist, cut: &Cut) -> std::io::Result<()> {
    // Who serves these files to strangers takes chance from the system here.
    let nonce = Nonce::new(0);
    fs::write(dir.join(playlist.next_file(nonce)), &cut.data)?;
    playlist.push(cut, nonce);
    Ok(())
}
