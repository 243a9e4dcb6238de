//! What players can ask for of one stream, in memory, and how a request waits for what is not there yet.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future::Future,
    hash::{DefaultHasher, Hasher as _},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use crate::{Progress, Rendition};

/// The objects of one stream by their file names, and the newest playlists, which name them.
///
/// Whoever makes them puts an object in before the playlist that names it, and takes it out when no player may ask for
/// it any more. Whoever serves them finds all of it at once: a newcomer sees what everybody sees. Handing bytes out is
/// no copy.
///
/// What is not there yet can be waited for ([`changed`](Self::changed), [`until_object`](Self::until_object)): the
/// change itself wakes who waits, on any runtime.
#[derive(Debug, Default)]
pub struct Window {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts changes.
    version: u64,
    /// Counts changes of playlists, and what concerns whoever waits for one.
    listings: u64,
    /// Counts how often the publisher has gone.
    breaks: u64,
    /// One for each rendition.
    playlists: BTreeMap<Rendition, Arc<Listing>>,
    multivariant: Option<Bytes>,
    objects: HashMap<Arc<str>, Object>,
    /// Their names, oldest first.
    order: VecDeque<Arc<str>>,
    /// Bytes of all objects that are in memory.
    bytes: usize,
    /// Who waits for the next change, by a number of its own.
    waiting: Waiting,
    /// Requests: who waits for what. There are many of them, and a stream has many renditions, whose parts and
    /// playlists come one after the other: only who waits for what has come is woken.
    requests: HashMap<Awaited, Waiting>,
    next_waiter: u64,
}

type Waiting = BTreeMap<u64, Waker>;

/// What a request waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Awaited {
    /// The object with this file name, or that nothing announces it any more.
    Object(Arc<str>),
    /// Another playlist of the rendition.
    Playlist(Rendition),
}

#[derive(Debug, Default)]
struct Object {
    /// None when it had to make room; then it may be in a file.
    data: Option<Bytes>,
    is_in_file: bool,
    /// Whether it is a part of a segment: it is never in a file, and nobody misses it who has the segment.
    is_part: bool,
    /// Bytes that count: none of a part once its segment is there, whose bytes it has.
    bytes: usize,
}

/// A media playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The change that brought it; the window says it.
    pub version: u64,
    /// A hash of `text`, the same in every process of this release; the window says it.
    pub digest: u64,
    /// As it is sent.
    pub text: Bytes,
    /// As it is sent to a client that has an earlier one (`_HLS_skip=YES`); none if that is all of it.
    pub update: Option<Bytes>,
    /// As it is in a file, for servers that cannot wait and have no parts; none if that is the same.
    pub plain: Option<Bytes>,
    /// The file names of the whole objects that it lists, oldest first: segments, and what they need. No parts.
    pub files: Arc<[Arc<str>]>,
    /// How far it is, if a client may wait for more (`_HLS_msn`).
    pub progress: Option<Progress>,
    /// The file name of the part that comes next, if it says so.
    pub hint: Option<Arc<str>>,
    /// Whether there will be no more.
    pub is_ended: bool,
}

impl Listing {
    /// A playlist without parts.
    pub fn new<'a>(text: Bytes, files: impl IntoIterator<Item = &'a str>) -> Self {
        let files = files.into_iter().map(Arc::from).collect();
        Self { text, files, ..Self::default() }
    }
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Here: all of it.
    Here(Bytes),
    /// In its file only: there was no room for it here.
    InFile,
}

impl Window {
    /// The newest playlist of a rendition, if there is one.
    pub fn playlist(&self, rendition: Rendition) -> Option<Arc<Listing>> {
        self.lock().playlists.get(&rendition).cloned()
    }

    /// Which renditions have a playlist.
    pub fn renditions(&self) -> Vec<Rendition> {
        self.lock().playlists.keys().copied().collect()
    }

    /// The playlist of playlists, of a stream that has more than one.
    pub fn multivariant(&self) -> Option<Bytes> {
        self.lock().multivariant.clone()
    }

    /// Whether a playlist says that the object with this name comes next.
    pub fn is_hinted(&self, file: &str) -> bool {
        self.lock().playlists.values().any(|listing| listing.hint.as_deref() == Some(file))
    }

    /// The object with this file name; none if it is not there yet, or not any more.
    pub fn get(&self, file: &str) -> Option<Held> {
        match self.lock().objects.get(file)? {
            Object { data: Some(data), .. } => Some(Held::Here(data.clone())),
            Object { is_in_file: true, .. } => Some(Held::InFile),
            Object { .. } => None,
        }
    }

    /// The names of all objects, oldest first, wherever they are.
    pub fn files(&self) -> Vec<Arc<str>> {
        self.lock().order.iter().cloned().collect()
    }

    /// Bytes of all objects that are in memory.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// How often something has changed.
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// Resolves with the version as soon as it is another one than `known`.
    pub fn changed(&self, known: u64) -> Changed<'_> {
        Changed { window: self, awaited: None, known, waiter: None }
    }

    /// How many wait for something to be there ([`until_object`](Self::until_object),
    /// [`until_listed`](Self::until_listed)).
    pub fn waiting(&self) -> usize {
        self.lock().requests.values().map(BTreeMap::len).sum()
    }

    /// What `look` finds, as soon as it finds something: it looks now, and after each change.
    pub async fn until<T>(&self, look: impl FnMut(&Self) -> Option<T>) -> T {
        self.until_change_of(None, look).await
    }

    /// The same for what only the object with this file name can bring, or that no playlist announces it any more.
    pub async fn until_object<T>(&self, file: &str, look: impl FnMut(&Self) -> Option<T>) -> T {
        self.until_change_of(Some(Awaited::Object(file.into())), look).await
    }

    /// The same for what only another playlist of the rendition, or the end of the publish, can bring.
    pub async fn until_listed<T>(
        &self,
        rendition: Rendition,
        look: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        self.until_change_of(Some(Awaited::Playlist(rendition)), look).await
    }

    async fn until_change_of<T>(
        &self,
        awaited: Option<Awaited>,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        loop {
            // What changes while it looks is not missed.
            let known = self.lock().count(awaited.as_ref());
            if let Some(found) = look(self) {
                return found;
            }
            Changed { window: self, awaited: awaited.clone(), known, waiter: None }.await;
        }
    }

    /// Puts an object in. It is the newest one, and no playlist names it yet.
    pub fn put(&self, file: &str, data: Bytes) {
        self.change(What::Object(file), |state| state.insert(file, Object::new(data)));
    }

    /// Puts a part of a segment in.
    pub fn put_part(&self, file: &str, data: Bytes) {
        self.change(What::Object(file), |state| {
            state.insert(file, Object { is_part: true, ..Object::new(data) });
        });
    }

    /// Puts a segment in, of which these were the parts, in this order: from now on they have its bytes. `data` is what
    /// they have, one after the other.
    pub fn put_whole<'a>(
        &self,
        file: &str,
        data: &Bytes,
        parts: impl IntoIterator<Item = &'a str>,
    ) {
        let mut before = Vec::new();
        self.change(What::Object(file), |state| {
            let mut from = 0;
            for part in parts {
                let Some(part) = state.objects.get_mut(part) else { continue };
                let Some(own) = &part.data else { continue };
                let end = data.len().min(from + own.len());
                before.push(part.data.replace(data.slice(from..end)));
                state.bytes -= mem::take(&mut part.bytes);
                from = end;
            }
            state.insert(file, Object::new(data.clone()));
        });
    }

    /// Takes note of an object that is in a file and not here.
    pub fn put_file(&self, file: &str) {
        self.change(What::Object(file), |state| {
            state.insert(file, Object { is_in_file: true, ..Object::default() });
        });
    }

    /// Has the bytes of an object that was only in its file, if it is not gone meanwhile.
    pub fn fill(&self, file: &str, data: Bytes) {
        let mut state = self.lock();
        let bytes = data.len();
        let Some(object) = state.objects.get_mut(file) else { return };
        let before = object.data.replace(data);
        let bytes_before = mem::replace(&mut object.bytes, bytes);
        state.bytes = state.bytes + bytes - bytes_before;
        drop(state);
        drop(before);
    }

    /// Takes note that an object is in a file, too, or is not any more.
    pub fn is_in_file(&self, file: &str, is_in_file: bool) {
        if let Some(object) = self.lock().objects.get_mut(file) {
            object.is_in_file = is_in_file;
        }
    }

    /// From now on this is the playlist of the rendition.
    pub fn list(&self, rendition: Rendition, listing: Listing) {
        let mut before = None;
        // Once for all who will ask for it.
        let digest = digest(&listing.text);
        self.change(What::Playlist(rendition), |state| {
            let listing = Listing { version: state.version, digest, ..listing };
            before = state.playlists.insert(rendition, Arc::new(listing));
        });
    }

    /// The publisher has gone, for a while or for good: who waits looks again, since nobody knows when there is more.
    pub fn interrupt(&self) {
        self.change(What::All, |state| state.breaks += 1);
    }

    /// How often the publisher has gone.
    pub fn breaks(&self) -> u64 {
        self.lock().breaks
    }

    /// From now on this is the playlist of playlists; none for a stream that has one only.
    pub fn choose(&self, multivariant: Option<Bytes>) {
        let mut before = None;
        self.change(What::All, |state| {
            before = mem::replace(&mut state.multivariant, multivariant);
        });
    }

    /// From now on there is no playlist of the rendition. The objects stay.
    pub fn unlist(&self, rendition: Rendition) {
        let mut before = None;
        self.change(What::Playlist(rendition), |state| before = state.playlists.remove(&rendition));
    }

    /// Takes objects out.
    pub fn remove<'a>(&self, files: impl IntoIterator<Item = &'a str>) {
        let mut state = self.lock();
        // Their bytes are let go of without the lock.
        let gone: Vec<_> = files.into_iter().filter_map(|file| state.remove(file)).collect();
        drop(state);
        drop(gone);
    }

    /// Takes everything out. Who waits is woken.
    pub fn clear(&self) {
        let (mut objects, mut playlists) = (HashMap::new(), BTreeMap::new());
        self.change(What::All, |state| {
            objects = mem::take(&mut state.objects);
            playlists = mem::take(&mut state.playlists);
            state.multivariant = None;
            state.order.clear();
            state.bytes = 0;
        });
    }

    /// Lets go of the oldest bytes until there are no more than `most`. The newest object stays in any case. Returns
    /// the names of those that are nowhere now, oldest first: they can be listed no longer.
    pub fn shrink(&self, most: usize) -> Vec<Arc<str>> {
        let (mut gone, mut lost) = (Vec::new(), Vec::new());
        let mut state = self.lock();
        let older = state.order.len().saturating_sub(1);
        let names: Vec<_> = state.order.iter().take(older).cloned().collect();
        for name in names {
            if state.bytes <= most {
                break;
            }
            let Some(object) = state.objects.get_mut(&name) else { continue };
            let Some(data) = object.data.take() else { continue };
            let (is_lost, is_part) = (!object.is_in_file, object.is_part);
            state.bytes -= mem::take(&mut object.bytes);
            gone.push(data);
            if is_part {
                state.remove(&name);
            } else if is_lost {
                lost.push(name);
            }
        }
        lost.iter().for_each(|name| drop(state.remove(name)));
        drop(state);
        drop(gone);
        lost
    }

    /// Lets go of all parts, and of the bytes of all objects that are in files.
    pub fn leave_to_files(&self) {
        let mut state = self.lock();
        let parts = state.objects.extract_if(|_, object| object.is_part);
        let mut gone: Vec<_> = parts.map(|(_, part)| part).collect();
        let in_files = state.objects.values_mut().filter(|object| object.is_in_file);
        gone.extend(in_files.map(|object| Object {
            data: object.data.take(),
            bytes: mem::take(&mut object.bytes),
            ..Object::default()
        }));
        state.bytes -= gone.iter().map(|object| object.bytes).sum::<usize>();
        let State { objects, order, .. } = &mut *state;
        order.retain(|name| objects.contains_key(name));
        objects.shrink_to_fit();
        order.shrink_to_fit();
        drop(state);
        drop(gone);
    }

    /// Changes something, then wakes who waits for that, with no lock held.
    fn change(&self, what: What<'_>, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        state.version += 1;
        state.listings += u64::from(!matches!(what, What::Object(_)));
        change(&mut state);
        let waiting = mem::take(&mut state.waiting);
        let requests = state.concerned(what);
        drop(state);
        let requests = requests.into_iter().flat_map(BTreeMap::into_values);
        waiting.into_values().chain(requests).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Object {
    fn new(data: Bytes) -> Self {
        Self { bytes: data.len(), data: Some(data), ..Self::default() }
    }
}

impl State {
    /// How often that has changed, or something else with it.
    fn count(&self, awaited: Option<&Awaited>) -> u64 {
        match awaited {
            None | Some(Awaited::Object(_)) => self.version,
            Some(Awaited::Playlist(_)) => self.listings,
        }
    }

    /// Takes out which requests are to look again after a change.
    fn concerned(&mut self, what: What<'_>) -> Vec<Waiting> {
        if self.requests.is_empty() {
            return Vec::new();
        }
        let Self { requests, playlists, .. } = self;
        let is_hinted =
            |file: &str| playlists.values().any(|listing| listing.hint.as_deref() == Some(file));
        let is_concerned = |awaited: &Awaited, _: &mut Waiting| match (what, awaited) {
            (What::Object(file), Awaited::Object(of)) => **of == *file,
            (What::Object(_), Awaited::Playlist(_)) => false,
            (What::Playlist(rendition), Awaited::Playlist(of)) => *of == rendition,
            (What::Playlist(_), Awaited::Object(file)) => !is_hinted(file),
            (What::All, _) => true,
        };
        let concerned = requests.extract_if(is_concerned).map(|(_, waiting)| waiting).collect();
        if requests.is_empty() {
            // An empty map keeps room for its next entries: of streams that have ended, a thousandfold for nobody.
            *requests = HashMap::new();
        }
        concerned
    }

    /// A request waits no longer.
    fn leave(&mut self, awaited: &Awaited, waiter: u64) -> Option<Waker> {
        let waiting = self.requests.get_mut(awaited)?;
        let waker = waiting.remove(&waiter);
        if waiting.is_empty() {
            self.requests.remove(awaited);
        }
        if self.requests.is_empty() {
            self.requests = HashMap::new();
        }
        waker
    }

    fn insert(&mut self, file: &str, object: Object) {
        let name: Arc<str> = file.into();
        self.bytes += object.bytes;
        if let Some(before) = self.objects.insert(Arc::clone(&name), object) {
            self.bytes -= before.bytes;
            self.order.retain(|other| *other != name);
        }
        self.order.push_back(name);
    }

    fn remove(&mut self, file: &str) -> Option<Object> {
        let object = self.objects.remove(file)?;
        self.bytes -= object.bytes;
        self.order.retain(|name| **name != *file);
        Some(object)
    }
}

/// A hash of these bytes, the same in every process of this release: what a client has is told from what is new by it.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Of what a change is.
#[derive(Clone, Copy, Debug)]
enum What<'a> {
    /// Of the object with this file name.
    Object(&'a str),
    /// Of the playlist of this rendition.
    Playlist(Rendition),
    /// Of all playlists, or of who makes them.
    All,
}

/// The next change of a [`Window`]. Dropping it is leaving the queue.
#[derive(Debug)]
pub struct Changed<'a> {
    window: &'a Window,
    /// None: whatever changes.
    awaited: Option<Awaited>,
    known: u64,
    waiter: Option<u64>,
}

impl Future for Changed<'_> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        let mut state = self.window.lock();
        let count = state.count(self.awaited.as_ref());
        if count != self.known {
            drop(state);
            return Poll::Ready(count);
        }
        let waiter = self.waiter.unwrap_or(state.next_waiter);
        if self.waiter.is_none() {
            state.next_waiter += 1;
        }
        let waiting = match &self.awaited {
            None => &mut state.waiting,
            Some(awaited) => state.requests.entry(awaited.clone()).or_default(),
        };
        // Another waker than before is dropped without the lock: it may own anything.
        let before = waiting.insert(waiter, cx.waker().clone());
        drop(state);
        drop(before);
        self.waiter = Some(waiter);
        Poll::Pending
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter else { return };
        let mut state = self.window.lock();
        let waker = match &self.awaited {
            None => state.waiting.remove(&waiter),
            Some(awaited) => state.leave(awaited, waiter),
        };
        drop(state);
        drop(waker);
    }
}

#[cfg(test)]
mod tests;
