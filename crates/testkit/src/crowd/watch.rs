//! What a viewer requires of a stream whose source may be interrupted.

use std::collections::VecDeque;

use weir_flv::{Tag, TagKind};

use crate::peer::Piece;

/// Follows a [`Numbered`](crate::peer::Numbered) stream through interruptions. Pictures may be missing, or come again,
/// but only from one key frame to another; time never runs backwards; each packet of sound belongs to the picture
/// before it or follows the packet before it.
///
/// Its memory does not grow with the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    picture: Option<u64>,
    sound: Option<u64>,
    newest: Option<u64>,
    timestamp: Option<u32>,
    configured: bool,
    jumps: u64,
    fault: Option<String>,
    tail: VecDeque<(TagKind, u32)>,
}

/// Tags that a fault is told with.
const TAIL: usize = 8;

impl Watch {
    /// Takes the next message; whether it is a picture. After a fault it takes nothing any more.
    pub fn take(&mut self, tag: &Tag) -> bool {
        if self.fault.is_some() {
            return false;
        }
        match self.check(tag) {
            Ok(is_picture) => is_picture,
            Err(fault) => {
                self.fault = Some(format!("{fault}; before it: {}", self.tail()));
                false
            }
        }
    }

    /// The first thing that was wrong.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// The newest picture.
    pub fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// The newest packet of sound.
    pub fn newest_sound(&self) -> Option<u64> {
        self.sound
    }

    /// How often the pictures went on with another one than the next.
    pub fn jumps(&self) -> u64 {
        self.jumps
    }

    /// The newest tags, for a person to see what went wrong.
    fn tail(&self) -> String {
        let tags = self.tail.iter().map(|(kind, at)| format!("{kind:?} {at}"));
        tags.collect::<Vec<_>>().join(", ")
    }

    fn check(&mut self, tag: &Tag) -> Result<bool, String> {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back((tag.kind, tag.timestamp));
        let piece = Piece::of(tag)?;
        // Script data has no time of its own; servers send it at 0.
        if tag.kind != TagKind::Script {
            self.check_time(tag.timestamp)?;
        }
        match piece {
            Piece::Picture { number, key } => self.check_picture(number, key).map(|()| true),
            Piece::Sound { number } => self.check_sound(number).map(|()| false),
            Piece::VideoConfig => {
                self.configured = true;
                Ok(false)
            }
            Piece::OtherInit | Piece::Other => Ok(false),
        }
    }

    fn check_picture(&mut self, number: u64, key: bool) -> Result<(), String> {
        let before = self.picture.replace(number);
        let follows = before.is_some_and(|before| number == before + 1);
        let may_start = key && self.configured;
        if !follows && !may_start {
            let configured = self.configured;
            return Err(format!(
                "after picture {before:?} comes {number}: key {key}, configured {configured}"
            ));
        }
        self.jumps += u64::from(!follows && before.is_some());
        self.newest = self.newest.max(Some(number));
        Ok(())
    }

    fn check_sound(&mut self, number: u64) -> Result<(), String> {
        let before = self.sound.replace(number);
        if self.picture == Some(number) || before.is_some_and(|before| number == before + 1) {
            return Ok(());
        }
        let picture = self.picture;
        Err(format!("after picture {picture:?} and sound {before:?} comes sound {number}"))
    }

    fn check_time(&mut self, timestamp: u32) -> Result<(), String> {
        let before = self.timestamp.replace(timestamp);
        match before {
            // As serial numbers: a difference in the upper half of the circle is a step back.
            Some(before) if timestamp.wrapping_sub(before) > u32::MAX / 2 => {
                Err(format!("time runs backwards, from {before} to {timestamp} ms"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Numbered;

    /// A group every five pictures; three messages of init, then a picture and its sound.
    fn tags() -> Vec<Tag> {
        let mut source = Numbered::new(5);
        let init = source.init();
        init.into_iter().chain((0..20).flat_map(|_| source.next_pair())).collect()
    }

    fn picture(number: usize) -> usize {
        3 + 2 * number
    }

    fn watch<'a>(tags: impl IntoIterator<Item = &'a Tag>) -> Watch {
        let mut watch = Watch::default();
        for tag in tags {
            watch.take(tag);
        }
        watch
    }

    #[test]
    fn a_whole_stream_is_right() {
        let watch = watch(&tags());
        assert_eq!((watch.newest(), watch.jumps(), watch.fault()), (Some(19), 0, None));
    }

    #[test]
    fn a_stream_goes_on_at_a_key_frame() {
        let tags = tags();
        let right = watch(tags[..picture(7)].iter().chain(&tags[picture(15)..]));
        assert_eq!((right.newest(), right.jumps(), right.fault()), (Some(19), 1, None));
        let wrong = watch(tags[..picture(7)].iter().chain(&tags[picture(16)..]));
        assert!(wrong.fault().unwrap().contains("after picture Some(6) comes 16: key false"));
        assert_eq!(wrong.newest(), Some(6), "what comes after a fault does not count");
    }

    #[test]
    fn a_group_may_come_again_at_a_later_time() {
        let mut tags = tags();
        let mut again = tags[picture(5)..].to_vec();
        again.iter_mut().for_each(|tag| tag.timestamp += 1000);
        tags.truncate(picture(8));
        let watch = watch(tags.iter().chain(&again));
        assert_eq!((watch.newest(), watch.jumps(), watch.fault()), (Some(19), 1, None));
    }

    #[test]
    fn a_group_that_comes_again_at_its_old_time_is_a_fault() {
        let tags = tags();
        let watch = watch(tags[..picture(8)].iter().chain(&tags[picture(5)..]));
        assert!(watch.fault().unwrap().contains("backwards"), "{watch:?}");
    }

    #[test]
    fn the_start_is_a_key_frame_behind_its_configuration() {
        let tags = tags();
        assert!(watch(&tags[3..]).fault().unwrap().contains("configured false"));
        let late = watch(tags[..3].iter().chain(&tags[picture(6)..]));
        assert!(late.fault().unwrap().contains("key false"));
        assert_eq!(watch(tags[..3].iter().chain(&tags[picture(5)..])).fault(), None);
    }

    #[test]
    fn sound_from_before_the_key_frame_is_a_fault() {
        let tags = tags();
        // The sound of picture 14 before picture 15.
        let watch = watch(tags[..picture(7)].iter().chain(&tags[picture(15) - 1..]));
        assert!(watch.fault().unwrap().contains("comes sound 14"), "{watch:?}");
    }
}
