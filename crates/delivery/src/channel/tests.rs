use futures_util::FutureExt as _;
use weir_hub::{Flush, Publisher};

use super::*;
use crate::testing::{
    Deaf, LIMITS, RTMP, SOON, begin, key, names, picture, publish, registry, sound, tags,
};

/// A stream with one group in it, and the channels of its process.
struct Rig {
    registry: Registry,
    channels: Arc<Channels>,
    publisher: Publisher,
    now: Instant,
}

impl Rig {
    fn new(flush: Flush) -> Self {
        let (registry, now) = (registry(), Instant::now());
        let channels = Channels::new(registry.clone());
        let publisher = publish(&registry, flush, now);
        let mut rig = Self { registry, channels, publisher, now };
        begin(&mut rig.publisher, now);
        rig.push([picture(true, 0, 0), sound(0)]);
        rig
    }

    fn push(&mut self, frames: impl IntoIterator<Item = weir_media::Frame>) {
        for frame in frames {
            self.publisher.push(frame, self.now).expect("the only publisher");
        }
    }

    async fn open(&self) -> Arc<Channel> {
        let channel = self.channels.open(&key(), RTMP, LIMITS).now_or_never();
        channel.expect("a stream that can be played")
    }

    fn refresh(&self, channel: &Channel, view: &mut View) {
        channel.refresh(view, self.now);
    }

    /// The publisher has gone, and so is its linger.
    fn end(self) -> (Registry, Arc<Channels>) {
        self.publisher.leave(self.now);
        self.registry.expire(self.now);
        (self.registry, self.channels)
    }
}

fn entry(view: &View, seq: u64) -> Vec<String> {
    names(&tags(RTMP, view.get(seq).expect("an entry that is in the window")))
}

#[tokio::test]
async fn two_shards_share_one_encoding() {
    let mut rig = Rig::new(Flush::Each);
    let channel = rig.open().await;
    let (mut first, mut second) = (View::default(), View::default());
    rig.refresh(&channel, &mut first);
    rig.push([picture(false, 40, 0)]);
    rig.refresh(&channel, &mut second);
    rig.refresh(&channel, &mut first);
    assert_eq!((first.first, first.end()), (second.first, second.end()));
    assert_eq!(first.end(), 2, "one entry for each refresh that found something");
    for (one, other) in first.entries.iter().zip(&second.entries) {
        assert_eq!(one.as_ptr(), other.as_ptr(), "the second view has the bytes of the first");
    }
}

#[tokio::test]
async fn what_gathered_between_two_looks_is_one_entry() {
    let mut rig = Rig::new(Flush::Each);
    let channel = rig.open().await;
    let mut view = View::default();
    rig.refresh(&channel, &mut view);
    rig.push([picture(false, 40, 0), sound(40), picture(false, 80, 0)]);
    rig.refresh(&channel, &mut view);
    assert_eq!(view.end(), 2);
    assert_eq!(entry(&view, 1), ["delta40;", "sound40;", "delta80;"]);
    rig.refresh(&channel, &mut view);
    assert_eq!(view.end(), 2, "nothing new is no entry");
}

#[tokio::test]
async fn a_channel_begins_with_the_newest_group() {
    let mut rig = Rig::new(Flush::Each);
    rig.push([picture(false, 40, 0), picture(true, 80, 0), sound(80)]);
    let channel = rig.open().await;
    let mut view = View::default();
    rig.refresh(&channel, &mut view);
    assert_eq!(entry(&view, 0), ["key80;", "sound80;"]);
    assert_eq!(view.status, Some(Status::Live));
}

#[tokio::test]
async fn a_group_inside_an_entry_can_be_started_at() {
    let mut rig = Rig::new(Flush::Each);
    let channel = rig.open().await;
    let mut view = View::default();
    rig.refresh(&channel, &mut view);
    rig.push([picture(false, 40, 500), picture(true, 80, 500), sound(80)]);
    rig.refresh(&channel, &mut view);
    let Group { seq, start } = view.newest.clone().expect("a group");
    assert_eq!((seq, start.dts), (1, Timestamp::from_millis(80)));
    let from_group = &view.get(seq).expect("its entry")[start.offset..];
    assert_eq!(names(&tags(RTMP, from_group)), ["key80;", "sound80;"]);
    assert_eq!(start.init.frames().count(), 3, "metadata and two configurations");
}

#[tokio::test]
async fn an_entry_has_one_start_at_most() {
    let mut rig = Rig::new(Flush::Each);
    let channel = rig.open().await;
    let mut view = View::default();
    rig.refresh(&channel, &mut view);
    rig.push([picture(false, 40, 0), picture(true, 80, 0), picture(true, 120, 0), sound(120)]);
    rig.refresh(&channel, &mut view);
    assert_eq!(entry(&view, 1), ["delta40;", "key80;"]);
    assert_eq!(entry(&view, 2), ["key120;", "sound120;"]);
    let newest = view.newest.expect("a group");
    assert_eq!((newest.seq, newest.start.offset), (2, 0));
}

#[tokio::test]
async fn a_view_loses_what_the_log_lost_and_nothing_else() {
    let mut rig = Rig::new(Flush::Each);
    let channel = rig.open().await;
    let (mut current, mut late) = (View::default(), View::default());
    rig.refresh(&channel, &mut late);
    for at in 1..=200 {
        rig.now += Duration::from_millis(40);
        rig.push([picture(at % 25 == 0, at * 40, 0)]);
        rig.refresh(&channel, &mut current);
        let kept = current.end() - current.first;
        assert_eq!(current.entries.len() as u64, kept);
        assert!(kept <= 51 + 25, "{kept} entries at picture {at}: the window is 50 and a group");
    }
    assert_eq!(late.end(), 1);
    rig.refresh(&channel, &mut late);
    assert_eq!((late.first, late.end()), (current.first, current.end()));
    assert!(late.get(0).is_none() && late.get(late.end()).is_none());
    assert_eq!(entry(&late, late.end() - 1), ["key8000;"]);
}

#[tokio::test]
async fn a_channel_that_is_filled_too_late_repeats_the_configuration() {
    let mut rig = Rig::new(Flush::Each);
    let channel = rig.open().await;
    let mut view = View::default();
    rig.refresh(&channel, &mut view);
    for at in 1..=100 {
        rig.now += Duration::from_millis(40);
        rig.push([picture(at % 25 == 0, at * 40, 0)]);
    }
    rig.push([picture(false, 4040, 0)]);
    rig.refresh(&channel, &mut view);
    assert_eq!(entry(&view, 1), ["avcC", "asc", "key4000;", "delta4040;"]);
    let start = view.newest.clone().expect("a group").start;
    let from_group = &view.get(1).expect("its entry")[start.offset..];
    assert_eq!(
        names(&tags(RTMP, from_group)),
        ["key4000;", "delta4040;"],
        "who starts has its own"
    );
}

#[tokio::test]
async fn a_viewer_may_come_before_the_publisher() {
    let (registry, now) = (registry(), Instant::now());
    let channels = Channels::new(registry.clone());
    assert!(
        channels.open(&key(), RTMP, LIMITS).now_or_never().is_none(),
        "nobody publishes, and nobody waits"
    );
    let early = {
        let channels = Arc::clone(&channels);
        tokio::spawn(async move { channels.open(&key(), RTMP, LIMITS).await })
    };
    tokio::task::yield_now().await;
    let mut publisher = publish(&registry, Flush::Video, now);
    begin(&mut publisher, now);
    publisher.push(sound(0), now).expect("the only publisher");
    publisher.push(picture(true, 0, 0), now).expect("the only publisher");
    let channel = early.await.expect("no panic");
    assert_eq!(channel.tracks(), Tracks { audio: true, video: true });
}

#[tokio::test]
async fn viewers_of_one_format_share_a_channel_which_goes_with_the_last_of_them() {
    let rig = Rig::new(Flush::Each);
    let (one, other) = (rig.open().await, rig.open().await);
    assert!(Arc::ptr_eq(&one, &other));
    let flv = rig.channels.open(&key(), Format::FLV, LIMITS).await;
    assert_eq!((rig.channels.lock().len(), rig.registry.demand(&key())), (2, 2));
    drop((one, flv));
    assert_eq!((rig.channels.lock().len(), rig.registry.demand(&key())), (1, 1));
    drop(other);
    assert_eq!((rig.channels.lock().len(), rig.registry.demand(&key())), (0, 0));
}

#[tokio::test]
async fn an_ended_stream_is_replaced_by_the_next_one_of_its_name() {
    let rig = Rig::new(Flush::Each);
    let (old, now) = (rig.open().await, rig.now);
    let (registry, channels) = rig.end();
    let mut view = View::default();
    old.refresh(&mut view, now);
    assert_eq!(view.status, Some(Status::Ended));
    assert_eq!(entry(&view, 0), ["key0;", "sound0;"], "what was published before is still played");

    let mut publisher = publish(&registry, Flush::Each, now);
    begin(&mut publisher, now);
    publisher.push(picture(true, 0, 0), now).expect("the only publisher");
    publisher.push(sound(0), now).expect("the only publisher");
    let new = channels.open(&key(), RTMP, LIMITS).await;
    assert!(!Arc::ptr_eq(&old, &new));
    drop(old);
    assert_eq!(channels.lock().len(), 1, "the old channel does not take the new one with it");
    let again = channels.open(&key(), RTMP, LIMITS).await;
    assert!(Arc::ptr_eq(&new, &again));
}

#[tokio::test]
async fn attached_shards_hear_of_every_flush_until_they_detach() {
    let mut rig = Rig::new(Flush::Video);
    let channel = rig.open().await;
    let shard: Arc<dyn Wake> = Arc::new(Deaf);
    let heard = Arc::strong_count(&shard);
    channel.attach(Arc::clone(&shard));
    let next = channel.next();
    rig.push([sound(23)]);
    assert!(channel.pending_since().is_some(), "sound waits for the next picture");
    rig.push([picture(false, 40, 0)]);
    tokio::time::timeout(SOON, next).await.expect("a task that waits is told, too");
    assert_eq!(channel.pending_since(), None);
    channel.detach(&shard);
    assert_eq!(Arc::strong_count(&shard), heard, "the channel has forgotten it");
}

#[tokio::test]
async fn the_bit_rate_is_that_of_the_last_seconds() {
    let mut rig = Rig::new(Flush::Each);
    let channel = rig.open().await;
    let mut view = View::default();
    rig.refresh(&channel, &mut view);
    assert_eq!(channel.bit_rate(), 0, "nothing is known yet");
    for at in 1..=100 {
        rig.now += Duration::from_millis(40);
        rig.push([picture(at % 25 == 0, at * 40, 5000)]);
        rig.refresh(&channel, &mut view);
    }
    // 5,000 bytes 25 times a second.
    let rate = channel.bit_rate();
    assert!((980_000..=1_020_000).contains(&rate), "{rate} bits a second");
}

#[tokio::test]
async fn the_bit_rate_of_a_channel_that_is_new_is_that_of_its_group() {
    let mut rig = Rig::new(Flush::Each);
    // All in one instant, as a group comes from another server.
    rig.push((1..=100).map(|at| picture(false, at * 40, 5000)));
    let channel = rig.open().await;
    assert_eq!(channel.bit_rate(), 0, "nobody has read it");
    let rate = channel.bit_rate_now(rig.now);
    assert!((980_000..=1_020_000).contains(&rate), "{rate} bits a second");
    // What came at once is no part of the first seconds.
    let mut view = View::default();
    rig.refresh(&channel, &mut view);
    for at in 101..=160 {
        rig.now += Duration::from_millis(40);
        rig.push([picture(false, at * 40, 2500)]);
        rig.refresh(&channel, &mut view);
    }
    let rate = channel.bit_rate();
    assert!((490_000..=510_000).contains(&rate), "{rate} bits a second");
}

#[tokio::test]
async fn a_key_frame_alone_says_nothing_of_the_bit_rate() {
    let mut rig = Rig::new(Flush::Each);
    rig.push([picture(false, 400, 5000)]);
    let channel = rig.open().await;
    assert_eq!(channel.bit_rate_now(rig.now), 0);
    rig.push([picture(false, 500, 5000)]);
    rig.refresh(&channel, &mut View::default());
    assert!(channel.bit_rate() > 100_000);
}
