//! What players can ask for of one stream, in memory, and how a request waits for what is not there yet.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

/// The objects of one stream by their file names, and the newest playlist, which names them.
///
/// Whoever makes them puts an object in before the playlist that names it, and takes it out when no player may ask for
/// it any more. Whoever serves them finds all of it at once: a newcomer sees what everybody sees. Handing bytes out is
/// no copy.
///
/// What is not there yet can be waited for ([`changed`](Self::changed), [`until`](Self::until)): the change itself
/// wakes who waits, on any runtime.
#[derive(Debug, Default)]
pub struct Window {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts changes.
    version: u64,
    playlist: Option<Listing>,
    objects: HashMap<Arc<str>, Object>,
    /// Their names, oldest first.
    order: VecDeque<Arc<str>>,
    /// Bytes of all objects that are in memory.
    bytes: usize,
    /// Who waits for the next change, by a number of its own.
    waiting: BTreeMap<u64, Waker>,
    next_waiter: u64,
}

#[derive(Debug)]
struct Object {
    /// None when it had to make room; then it may be in a file.
    data: Option<Bytes>,
    is_in_file: bool,
}

/// A playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The change that brought it.
    pub version: u64,
    /// As it is sent.
    pub text: Bytes,
    /// The file names that it lists, oldest first.
    pub files: Arc<[Arc<str>]>,
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
    /// The newest playlist, if there is one.
    pub fn playlist(&self) -> Option<Listing> {
        self.lock().playlist.clone()
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
        Changed { window: self, known, waiter: None }
    }

    /// What `look` finds, as soon as it finds something: it looks now, and after each change.
    pub async fn until<T>(&self, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        loop {
            // What changes while it looks is not missed.
            let known = self.version();
            if let Some(found) = look(self) {
                return found;
            }
            self.changed(known).await;
        }
    }

    /// Puts an object in. It is the newest one, and no playlist names it yet.
    pub fn put(&self, file: &str, data: Bytes) {
        self.change(|state| {
            state.bytes += data.len();
            state.insert(file, Object { data: Some(data), is_in_file: false });
        });
    }

    /// Takes note of an object that is in a file and not here.
    pub fn put_file(&self, file: &str) {
        self.change(|state| state.insert(file, Object { data: None, is_in_file: true }));
    }

    /// Has the bytes of an object that was only in its file, if it is not gone meanwhile.
    pub fn fill(&self, file: &str, data: Bytes) {
        let mut state = self.lock();
        let bytes = data.len();
        let Some(object) = state.objects.get_mut(file) else { return };
        let before = object.data.replace(data);
        state.bytes += bytes;
        state.bytes -= before.as_ref().map_or(0, Bytes::len);
        drop(state);
        drop(before);
    }

    /// Takes note that an object is in a file, too, or is not any more.
    pub fn is_in_file(&self, file: &str, is_in_file: bool) {
        if let Some(object) = self.lock().objects.get_mut(file) {
            object.is_in_file = is_in_file;
        }
    }

    /// From now on this is the playlist, which lists these files.
    pub fn list<'a>(&self, text: Bytes, files: impl IntoIterator<Item = &'a str>) {
        let files = files.into_iter().map(Arc::from).collect();
        self.change(|state| {
            state.playlist = Some(Listing { version: state.version, text, files });
        });
    }

    /// From now on there is no playlist. The objects stay.
    pub fn unlist(&self) {
        self.change(|state| state.playlist = None);
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
        let (mut objects, mut playlist) = (HashMap::new(), None);
        self.change(|state| {
            objects = mem::take(&mut state.objects);
            playlist = state.playlist.take();
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
            let is_lost = !object.is_in_file;
            state.bytes -= data.len();
            gone.push(data);
            if is_lost {
                lost.push(name);
            }
        }
        lost.iter().for_each(|name| drop(state.remove(name)));
        drop(state);
        drop(gone);
        lost
    }

    /// Lets go of the bytes of all objects that are in files.
    pub fn leave_to_files(&self) {
        let mut state = self.lock();
        let in_files = state.objects.values_mut().filter(|object| object.is_in_file);
        let gone: Vec<_> = in_files.filter_map(|object| object.data.take()).collect();
        state.bytes -= gone.iter().map(Bytes::len).sum::<usize>();
        drop(state);
        drop(gone);
    }

    /// Changes something, then wakes who waits for that, with no lock held.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        state.version += 1;
        change(&mut state);
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, file: &str, object: Object) {
        let name: Arc<str> = file.into();
        if let Some(before) = self.objects.insert(Arc::clone(&name), object) {
            self.bytes -= before.data.map_or(0, |data| data.len());
            self.order.retain(|other| *other != name);
        }
        self.order.push_back(name);
    }

    fn remove(&mut self, file: &str) -> Option<Object> {
        let object = self.objects.remove(file)?;
        self.bytes -= object.data.as_ref().map_or(0, Bytes::len);
        self.order.retain(|name| **name != *file);
        Some(object)
    }
}

/// The next change of a [`Window`]. Dropping it is leaving the queue.
#[derive(Debug)]
pub struct Changed<'a> {
    window: &'a Window,
    known: u64,
    waiter: Option<u64>,
}

impl Future for Changed<'_> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        let mut state = self.window.lock();
        if state.version != self.known {
            let version = state.version;
            drop(state);
            return Poll::Ready(version);
        }
        let waiter = self.waiter.unwrap_or(state.next_waiter);
        if self.waiter.is_none() {
            state.next_waiter += 1;
        }
        // Another waker than before is dropped without the lock: it may own anything.
        let before = state.waiting.insert(waiter, cx.waker().clone());
        drop(state);
        drop(before);
        self.waiter = Some(waiter);
        Poll::Pending
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter else { return };
        let waker = self.window.lock().waiting.remove(&waiter);
        drop(waker);
    }
}

#[cfg(test)]
mod tests;
