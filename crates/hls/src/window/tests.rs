use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::Wake,
};

use super::*;

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn data(bytes: usize) -> Bytes {
    Bytes::from(vec![7; bytes])
}

/// A window with these objects of a thousand bytes, all listed.
fn window(files: &[&str]) -> Window {
    let window = Window::default();
    files.iter().for_each(|file| window.put(file, data(1000)));
    window.list(Rendition::MAIN, Listing::new(Bytes::from_static(b"list"), files.iter().copied()));
    window
}

#[test]
fn what_was_put_in_is_found_until_it_is_taken_out() {
    let window = window(&["a-1.ts", "a-2.ts"]);
    assert_eq!(window.get("a-1.ts"), Some(Held::Here(data(1000))));
    assert_eq!(window.get("a-3.ts"), None);
    let listing = window.playlist(Rendition::MAIN).expect("a playlist");
    assert_eq!((&*listing.text, listing.files.len()), (&b"list"[..], 2));
    window.remove(["a-1.ts", "a-9.ts"]);
    assert_eq!((window.get("a-1.ts"), window.bytes()), (None, 1000));
    window.put("a-2.ts", data(10));
    assert_eq!((window.bytes(), window.files().len()), (10, 1), "it has taken the other's place");
    window.unlist(Rendition::MAIN);
    assert_eq!(window.playlist(Rendition::MAIN), None);
    window.clear();
    assert_eq!((window.bytes(), window.files().len()), (0, 0));
}

#[test]
fn bytes_that_are_being_sent_stay_and_others_do_not() {
    let window = window(&["a-1.ts"]);
    let Some(Held::Here(sent)) = window.get("a-1.ts") else { panic!("it is here") };
    assert!(!sent.is_unique(), "no copy is made");
    window.remove(["a-1.ts"]);
    assert!(sent.is_unique(), "only who reads it has it now");
}

#[test]
fn the_oldest_make_room_and_what_is_in_no_file_is_named() {
    let window = window(&["a-1.ts", "a-2.ts", "a-3.ts", "a-4.ts"]);
    window.is_in_file("a-1.ts", true);
    assert!(window.shrink(4000).is_empty(), "there is room");
    assert!(window.shrink(3000).is_empty(), "the first is in its file");
    assert_eq!(window.get("a-1.ts"), Some(Held::InFile));
    let lost = window.shrink(1500);
    assert_eq!(lost.iter().map(|name| &**name).collect::<Vec<_>>(), ["a-2.ts", "a-3.ts"]);
    assert_eq!(window.get("a-2.ts"), None);
    assert!(window.shrink(0).is_empty());
    assert!(matches!(window.get("a-4.ts"), Some(Held::Here(_))), "the newest stays");
    assert_eq!(window.bytes(), 1000);
    window.fill("a-1.ts", data(300));
    assert_eq!(window.get("a-1.ts"), Some(Held::Here(data(300))), "read in again");
    assert_eq!((window.bytes(), window.shrink(1000).len()), (1300, 0));
    window.is_in_file("a-1.ts", false);
    assert_eq!(window.get("a-1.ts"), None, "the file has gone as well");
}

#[test]
fn who_waits_is_woken_by_the_change_and_by_nothing_else() {
    let (window, bell) = (Window::default(), Arc::<Bell>::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut cx = Context::from_waker(&waker);
    let mut segment = pin!(window.until(|window| window.get("a-1.ts")));
    assert!(segment.as_mut().poll(&mut cx).is_pending());
    assert!(segment.as_mut().poll(&mut cx).is_pending(), "it waits once, however often it looks");
    window.is_in_file("a-1.ts", true);
    assert_eq!(bell.0.load(Relaxed), 0);
    window.put("a-0.ts", data(1));
    assert_eq!(bell.0.load(Relaxed), 1);
    assert!(segment.as_mut().poll(&mut cx).is_pending(), "it was another one");
    window.put("a-1.ts", data(2));
    assert_eq!(bell.0.load(Relaxed), 2);
    assert_eq!(segment.as_mut().poll(&mut cx), Poll::Ready(Held::Here(data(2))));
}

#[test]
fn who_has_gone_is_not_woken() {
    let (window, bell) = (Window::default(), Arc::<Bell>::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut cx = Context::from_waker(&waker);
    for _ in 0..1000 {
        let mut gone = window.changed(window.version());
        assert!(Pin::new(&mut gone).poll(&mut cx).is_pending());
    }
    assert!(window.lock().waiting.is_empty(), "nothing is kept of those who have gone");
    window.put("a-1.ts", data(1));
    assert_eq!(bell.0.load(Relaxed), 0);
    let mut late = window.changed(0);
    assert_eq!(Pin::new(&mut late).poll(&mut cx), Poll::Ready(1), "it has changed already");
}

#[test]
fn what_is_in_files_can_leave_memory_and_is_still_there() {
    let window = Window::default();
    window.put("a", Bytes::from_static(b"aaa"));
    window.put("b", Bytes::from_static(b"bb"));
    window.is_in_file("a", true);
    let version = window.version();
    window.leave_to_files();
    assert_eq!((window.bytes(), window.version()), (2, version));
    assert_eq!(window.get("a"), Some(Held::InFile));
    assert_eq!(window.get("b"), Some(Held::Here(Bytes::from_static(b"bb"))));
}

#[test]
fn a_segment_has_the_bytes_of_its_parts_once() {
    let window = Window::default();
    window.put_part("a-1.0", data(600));
    window.put_part("a-1.1", data(400));
    assert_eq!(window.bytes(), 1000);
    let whole = Bytes::from((0..1000).map(|at| (at / 600) as u8).collect::<Vec<_>>());
    window.put_whole("a-1", &whole, ["a-1.0", "a-1.1"]);
    assert_eq!(window.bytes(), 1000, "the parts have the segment's bytes");
    assert_eq!(window.get("a-1.1"), Some(Held::Here(whole.slice(600..))));
    window.put("a-2", data(1000));
    assert_eq!(window.shrink(1000), [Arc::from("a-1")], "nobody misses the parts");
    assert_eq!((window.get("a-1.0"), window.bytes()), (None, 1000));
}

#[test]
fn parts_leave_memory_with_what_is_in_files() {
    let window = Window::default();
    window.put_part("a-1.0", data(600));
    window.put_whole("a-1", &data(600), ["a-1.0"]);
    window.put_part("a-2.0", data(100));
    window.is_in_file("a-1", true);
    window.leave_to_files();
    assert_eq!((window.bytes(), window.files().len()), (0, 1));
    assert_eq!(window.get("a-1"), Some(Held::InFile));
}

#[test]
fn what_comes_next_is_known_by_its_name() {
    let window = window(&["a-1"]);
    assert!(!window.is_hinted("a-2.0"));
    let hint = Some(Arc::from("a-2.0"));
    window.list(Rendition::Audio(1), Listing { hint, ..Listing::default() });
    assert!(window.is_hinted("a-2.0"));
    assert_eq!(window.renditions(), [Rendition::MAIN, Rendition::Audio(1)]);
    window.choose(Some(data(3)));
    window.clear();
    assert_eq!((window.renditions().len(), window.multivariant()), (0, None));
}

#[test]
fn who_waits_hears_that_the_publisher_has_gone() {
    let window = window(&["a-1.ts"]);
    let bell = Arc::<Bell>::default();
    let waker = Waker::from(Arc::clone(&bell));
    let mut cx = Context::from_waker(&waker);
    let known = window.breaks();
    let mut gone = pin!(window.until(|window| (window.breaks() != known).then_some("gone")));
    assert_eq!(gone.as_mut().poll(&mut cx), Poll::Pending);
    window.interrupt();
    assert_eq!((gone.as_mut().poll(&mut cx), bell.0.load(Relaxed)), (Poll::Ready("gone"), 1));
}

#[test]
fn a_playlist_has_the_hash_of_its_text_however_it_came() {
    let window = window(&["a-1.ts"]);
    let listing = window.playlist(Rendition::MAIN).expect("a playlist");
    assert_eq!(listing.digest, digest(b"list"));
    assert_ne!(listing.digest, digest(b"other"));
}

#[test]
fn who_waits_for_a_playlist_sleeps_on_while_parts_come() {
    let window = window(&["a-1.ts"]);
    let bell = Arc::<Bell>::default();
    let waker = Waker::from(Arc::clone(&bell));
    let mut cx = Context::from_waker(&waker);
    let second = |window: &Window| {
        window.playlist(Rendition::MAIN).filter(|listing| &*listing.text == b"second").map(drop)
    };
    {
        let mut listed = pin!(window.until_listed(Rendition::MAIN, second));
        assert_eq!(listed.as_mut().poll(&mut cx), Poll::Pending);
        window.put_part("a-2.0.m4s", data(10));
        window.put("a-2.ts", data(10));
        assert_eq!((bell.0.load(Relaxed), window.waiting()), (0, 1));
        window.list(Rendition::MAIN, Listing::new(Bytes::from_static(b"second"), []));
        assert_eq!((listed.as_mut().poll(&mut cx), bell.0.load(Relaxed)), (Poll::Ready(()), 1));
        let third = |_: &Window| None::<()>;
        let mut listed = pin!(window.until_listed(Rendition::MAIN, third));
        assert_eq!(listed.as_mut().poll(&mut cx), Poll::Pending);
        window.interrupt();
        assert_eq!(bell.0.load(Relaxed), 2, "there may be no other playlist for long");
        assert_eq!((listed.as_mut().poll(&mut cx), window.waiting()), (Poll::Pending, 1));
    }
    assert_eq!(window.waiting(), 0, "who has gone is forgotten");
}

#[test]
fn a_request_is_woken_by_what_it_waits_for_and_by_no_other_rendition() {
    let window = window(&["a-1"]);
    let hint = |hint: &str| Listing { hint: Some(hint.into()), ..Listing::default() };
    let (main, audio) = (Rendition::MAIN, Rendition::Audio(1));
    window.list(main, hint("a-2.0"));
    window.list(audio, hint("b-2.0"));
    let bells: [Arc<Bell>; 4] = Default::default();
    let rung = || [0, 1, 2, 3].map(|at: usize| bells[at].0.load(Relaxed));
    let wakers = [0, 1, 2, 3].map(|at: usize| Waker::from(Arc::clone(&bells[at])));
    let mut cx = wakers.each_ref().map(Context::from_waker);
    let part = |file: &'static str| {
        window.until_object(file, move |window| match window.get(file) {
            None if window.is_hinted(file) => None,
            found => Some(found),
        })
    };
    let listed = |rendition| window.until_listed(rendition, |_| None::<()>);
    let (mut video_part, mut audio_part) = (pin!(part("a-2.0")), pin!(part("b-2.0")));
    let (mut video_list, mut audio_list) = (pin!(listed(main)), pin!(listed(audio)));
    assert!(video_part.as_mut().poll(&mut cx[0]).is_pending());
    assert!(audio_part.as_mut().poll(&mut cx[1]).is_pending());
    assert!(video_list.as_mut().poll(&mut cx[2]).is_pending());
    assert!(audio_list.as_mut().poll(&mut cx[3]).is_pending());
    assert_eq!(window.waiting(), 4);
    window.put_part("a-2.0", data(10));
    assert_eq!(rung(), [1, 0, 0, 0]);
    assert_eq!(video_part.as_mut().poll(&mut cx[0]), Poll::Ready(Some(Held::Here(data(10)))));
    window.list(main, hint("a-2.1"));
    assert_eq!(rung(), [1, 0, 1, 0], "the other part is still announced");
    window.list(audio, hint("b-3.0"));
    assert_eq!(rung(), [1, 1, 1, 1], "it is not announced any more");
    assert_eq!(audio_part.as_mut().poll(&mut cx[1]), Poll::Ready(None));
    assert!(video_list.as_mut().poll(&mut cx[2]).is_pending());
    assert!(audio_list.as_mut().poll(&mut cx[3]).is_pending());
    window.interrupt();
    assert_eq!(rung(), [1, 1, 2, 2], "that concerns everybody");
    assert!(window.lock().requests.is_empty(), "nothing is kept of those who were woken");
}
