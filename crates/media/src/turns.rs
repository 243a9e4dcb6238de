//! Which codec a track has, when not all of its packets agree.

/// Frames of another codec than the track's, in a row, that make it the track's: a third of a second of pictures. Fewer
/// are a slip of the encoder, or of a relay that mixes two streams.
pub const TURN_FRAMES: u32 = 8;

/// Follows the codec of a track. It changes when a configuration and a frame after it say so, or [`TURN_FRAMES`] in a
/// row.
#[derive(Debug)]
pub struct Turns<C> {
    present: Option<C>,
    /// Named by a configuration, until so many frames of the present codec have come after it.
    announced: Option<(C, u32)>,
    /// The codec of the newest frames that were not of the present one, and how many.
    others: Option<(C, u32)>,
}

/// What a frame is to its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// One of its frames.
    None,
    /// The first of another codec.
    Taken,
    /// A stranger.
    Refused,
}

impl<C> Default for Turns<C> {
    fn default() -> Self {
        Self { present: None, announced: None, others: None }
    }
}

impl<C: Copy + PartialEq> Turns<C> {
    /// The track's codec; before its first frame, what a configuration says.
    pub fn codec(&self) -> Option<C> {
        self.present.or_else(|| self.announced.map(|(codec, _)| codec))
    }

    /// The track's codec, once it has had a frame.
    pub fn present(&self) -> Option<C> {
        self.present
    }

    /// Whether nothing has come of late that is not of the track's codec.
    pub fn is_settled(&self) -> bool {
        self.present.is_some() && self.announced.is_none() && self.others.is_none()
    }

    /// Takes note of a configuration.
    pub fn announce(&mut self, codec: C) {
        self.announced = Some((codec, 0)).filter(|_| self.present != Some(codec));
    }

    /// Takes note of a frame. `is_sure`: whether a track may begin with it unannounced.
    pub fn frame(&mut self, codec: C, is_sure: bool) -> Turn {
        if self.present == Some(codec) {
            self.others = None;
            self.announced = self
                .announced
                .map(|(codec, frames)| (codec, frames + 1))
                .filter(|(_, frames)| *frames < TURN_FRAMES);
            return Turn::None;
        }
        let before =
            self.others.filter(|(other, _)| *other == codec).map_or(0, |(_, frames)| frames);
        let is_announced = self.announced.is_some_and(|(announced, _)| announced == codec);
        if is_announced || before + 1 >= TURN_FRAMES || self.codec().is_none() && is_sure {
            *self = Self { present: Some(codec), announced: None, others: None };
            return Turn::Taken;
        }
        self.others = Some((codec, before + 1));
        Turn::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(frames: &str) -> (Option<char>, String) {
        let mut turns = Turns::default();
        let taken = frames.chars().filter_map(|codec| match codec {
            'A'..='Z' => {
                turns.announce(codec.to_ascii_lowercase());
                None
            }
            _ => Some((turns.frame(codec, codec == 'a'), codec)),
        });
        let taken =
            taken.map(|(turn, codec)| if turn == Turn::Refused { '.' } else { codec }).collect();
        (turns.codec(), taken)
    }

    #[test]
    fn strangers_are_refused_until_they_are_many_in_a_row() {
        assert_eq!(turns("aabaabba"), (Some('a'), "aa.aa..a".into()));
        assert_eq!(turns("aabbbbbbbbb"), (Some('b'), "aa.......bb".into()));
        assert_eq!(turns("abcbcbcbcbcbcbcbcbcbc"), (Some('a'), "a....................".into()));
    }

    #[test]
    fn an_announced_codec_is_taken_at_its_first_frame() {
        assert_eq!(
            turns("aaBaabb"),
            (Some('b'), "aaaabb".into()),
            "some frames of the old one may come"
        );
        assert_eq!(turns("aaBaaaaaaaabaa"), (Some('a'), "aaaaaaaaaa.aa".into()), "but not many");
        assert_eq!(turns("aaBAbaa"), (Some('a'), "aa.aa".into()), "it was taken back");
    }

    #[test]
    fn a_track_is_settled_while_all_is_as_it_was() {
        let mut turns = Turns::default();
        turns.announce('a');
        assert!(!turns.is_settled(), "nothing has come");
        turns.frame('a', true);
        assert_eq!((turns.is_settled(), turns.present()), (true, Some('a')));
        turns.frame('b', true);
        assert!(!turns.is_settled());
        turns.frame('a', true);
        assert!(turns.is_settled());
        turns.announce('b');
        assert!(!turns.is_settled());
    }

    #[test]
    fn a_track_begins_with_what_is_sure() {
        assert_eq!(turns("bbaa"), (Some('a'), "..aa".into()));
        assert_eq!(turns("B"), (Some('b'), String::new()));
        assert_eq!(turns("Baba"), (Some('b'), ".b.".into()));
    }
}
