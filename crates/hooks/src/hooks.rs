//! Asking and telling.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::{sleep, timeout},
};
use tracing::{debug, warn};
use weir_config::{Fail, HookUrl, Next, Part, Ready, Settings, Unready, Vhost};
use weir_media::{Budget, Charge, DEFAULT_VHOST, StreamKey, Use};

use crate::{
    answer::{Answer, Refused, forward_urls, judge},
    backend::{Backends, Call, Security},
    event::{Action, Detail, Event, Names, Segment, Subject},
    figures::{Figures, Outcome},
    health::{Failure, Kind},
    lanes::Lanes,
    publishing::Publishing,
    sign::{EVENT_HEADER, SIGNATURE_HEADER, signature},
    ticket::{Tell, Ticket},
    trust::Trusts,
};

/// Events that wait for their turn, or for their answer: three times the viewers of a large stream that all come at
/// once.
const WAITING_MAX: usize = 16_384;

/// Those of them that nobody waits for: notices to a back end that is down hold no decision up.
const NOTICES_MAX: usize = WAITING_MAX / 4 * 3;

/// What one of them takes beside its text: a task, and what is sent.
const EVENT_BYTES: usize = 2 << 10;

/// What all of them take, whatever room `limits.memory` has: as many as there may be, if they say as much of themselves
/// as players and encoders do. A hostile client may have some 20 KiB of text.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// How long a decision waits for its turn: players and encoders give up by then.
const TURN_MAX: Duration = Duration::from_secs(30);

/// How often a notice is tried, whatever `hooks.retry` is.
const ATTEMPTS_MAX: u32 = 20;

/// Pauses between attempts: the first one, and the longest. Half of each is up to chance, so that those who have failed
/// together do not come back together.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How often the log says that events are dropped.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// All callbacks of a server.
pub struct Hooks {
    settings: Settings,
    names: Names,
    trusts: ArcSwap<Trusts>,
    backends: Backends,
    lanes: Lanes<Job>,
    publishing: Publishing,
    figures: Figures,
    /// What waits, in the memory that `limits.memory` bounds.
    held: Mutex<Charge>,
    /// Nothing waits any more.
    told: Notify,
    runtime: Handle,
    /// What the names of events begin with, and how many there were.
    series: u64,
    events: AtomicU64,
    said: Mutex<Option<Instant>>,
}

/// An event that waits.
struct Job {
    event: Event,
    since: Instant,
    bytes: usize,
    /// Who waits for the decision.
    asker: Option<oneshot::Sender<Result<Granted, Refused>>>,
}

/// What a back end has agreed to.
#[derive(Debug)]
struct Granted {
    /// Of whose end it is told.
    ticket: Option<Ticket>,
    /// What it has said beside that: where a stream is forwarded to.
    urls: Vec<String>,
}

impl Hooks {
    /// Calls the back ends that `settings` name, for the server with these `names`.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn start(
        settings: &Settings,
        names: Names,
        trusts: Trusts,
        budget: &Budget,
    ) -> std::io::Result<Arc<Self>> {
        let series = getrandom::u64().map_err(std::io::Error::other)?;
        Ok(Arc::new(Self {
            settings: settings.clone(),
            names,
            trusts: ArcSwap::from_pointee(trusts),
            backends: Backends::default(),
            lanes: Lanes::default(),
            publishing: Publishing::default(),
            figures: Figures::default(),
            held: Mutex::new(Charge::new(budget, Use::Hooks)),
            told: Notify::new(),
            runtime: Handle::current(),
            series,
            events: AtomicU64::new(0),
            said: Mutex::default(),
        }))
    }

    /// Asks whether a client may connect over RTMP. The ticket is for its connection; none if nobody is to hear of its
    /// end.
    ///
    /// # Errors
    /// When it may not.
    pub async fn connect(
        self: &Arc<Self>,
        vhost: &Vhost,
        subject: impl FnOnce() -> Subject,
    ) -> Result<Option<Ticket>, Refused> {
        self.begin((Action::Connect, Action::Close), vhost, subject).await
    }

    /// Asks whether a client may publish. The ticket is for its publish, which [begins](Ticket::begin) with it.
    ///
    /// # Errors
    /// When it may not.
    pub async fn publish(
        self: &Arc<Self>,
        vhost: &Vhost,
        subject: impl FnOnce() -> Subject,
    ) -> Result<Option<Ticket>, Refused> {
        self.begin((Action::Publish, Action::Unpublish), vhost, subject).await
    }

    /// Asks whether a viewer may play. The ticket is for its session. One that is dropped while it waits is told of as
    /// one that has gone, if the back end agrees.
    ///
    /// # Errors
    /// When it may not.
    pub async fn play(
        self: &Arc<Self>,
        vhost: &Vhost,
        subject: impl FnOnce() -> Subject,
    ) -> Result<Option<Ticket>, Refused> {
        self.begin((Action::Play, Action::Stop), vhost, subject).await
    }

    async fn begin(
        self: &Arc<Self>,
        (asked, end): (Action, Action),
        vhost: &Vhost,
        subject: impl FnOnce() -> Subject,
    ) -> Result<Option<Ticket>, Refused> {
        // What is told of a stream later says who publishes it.
        let is_noted = asked == Action::Publish && vhost.hooks.is_set();
        if asked.is_heard(vhost) {
            return self.ask(asked, Arc::new(subject()), vhost).await.map(|granted| granted.ticket);
        }
        let is_told = end.is_heard(vhost) || is_noted;
        Ok(is_told.then(|| self.ticket(end, Arc::new(subject()))))
    }

    fn ticket(self: &Arc<Self>, end: Action, subject: Arc<Subject>) -> Ticket {
        Ticket::new(Arc::clone(self) as Arc<dyn Tell>, subject, end)
    }

    /// Asks where else a stream goes: nowhere, if there is nobody to ask. `None` if who was asked did not say.
    pub async fn targets(self: &Arc<Self>, key: &StreamKey) -> Option<Vec<String>> {
        let vhost = self.settings.vhost(key.vhost());
        if !Action::Forward.is_heard(&vhost) {
            return Some(Vec::new());
        }
        let granted = self.ask(Action::Forward, self.publisher(key), &vhost).await;
        granted.map(|granted| granted.urls).ok()
    }

    /// A segment of `key` is complete. Called on any thread; it does not wait.
    pub fn segment(self: &Arc<Self>, key: &StreamKey, segment: impl FnOnce() -> Segment) {
        if Action::Hls.is_heard(&self.settings.vhost(key.vhost())) {
            let detail = Detail::Segment(Box::new(segment()));
            Arc::clone(self).tell(Event {
                action: Action::Hls,
                subject: self.publisher(key),
                detail,
            });
        }
    }

    /// A recording of `key` is complete. Called on any thread; it does not wait.
    pub fn recording(self: &Arc<Self>, key: &StreamKey, file: impl FnOnce() -> String) {
        if Action::Record.is_heard(&self.settings.vhost(key.vhost())) {
            let detail = Detail::File(file());
            Arc::clone(self).tell(Event {
                action: Action::Record,
                subject: self.publisher(key),
                detail,
            });
        }
    }

    /// Takes in other files of `hooks.ca`. It blocks.
    pub fn look(&self) {
        let before = self.trusts.load_full();
        if let Some((next, changed)) = before.look() {
            // Unless a reload has read them meanwhile.
            self.trusts.compare_and_swap(&before, Arc::new(next));
            self.backends.trust_anew(&changed);
        }
    }

    /// Who this server is, in every event.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What is counted.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// How many back ends have failed at their last call.
    pub fn failing(&self) -> usize {
        self.backends.failing()
    }

    /// Waits until the back ends have heard of everything, or will not hear of it.
    pub async fn until_told(&self) {
        loop {
            let mut told = pin!(self.told.notified());
            told.as_mut().enable();
            if self.figures.waiting() == 0 {
                return;
            }
            told.await;
        }
    }

    /// Who publishes `key`, or did last.
    fn publisher(&self, key: &StreamKey) -> Arc<Subject> {
        self.publishing.of(key).unwrap_or_else(|| Arc::new(Subject::nobody(key)))
    }

    async fn ask(
        self: &Arc<Self>,
        action: Action,
        subject: Arc<Subject>,
        vhost: &Vhost,
    ) -> Result<Granted, Refused> {
        let (answer, answered) = oneshot::channel();
        let event = Event { action, subject: Arc::clone(&subject), detail: Detail::None };
        if !self.enqueue(event, Some(answer)) {
            return match vhost.hooks.fail {
                Fail::Open => Ok(self.granted(action, &subject, Vec::new())),
                Fail::Closed => Err(Refused::Busy),
            };
        }
        let ended = |_| Err(Refused::Silent("the server is stopping".to_owned()));
        answered.await.unwrap_or_else(ended)
    }

    fn granted(
        self: &Arc<Self>,
        action: Action,
        subject: &Arc<Subject>,
        urls: Vec<String>,
    ) -> Granted {
        let end = match action {
            Action::Connect => Some(Action::Close),
            Action::Publish => Some(Action::Unpublish),
            Action::Play => Some(Action::Stop),
            _ => None,
        };
        let ticket = end.map(|end| self.ticket(end, Arc::clone(subject)));
        Granted { ticket, urls }
    }

    /// Takes an event in, if there is room. False if there is none.
    fn enqueue(
        self: &Arc<Self>,
        event: Event,
        asker: Option<oneshot::Sender<Result<Granted, Refused>>>,
    ) -> bool {
        let (bytes, action, client) = (EVENT_BYTES + event.bytes(), event.action, event.subject.id);
        let most = if asker.is_some() { WAITING_MAX } else { NOTICES_MAX };
        let here = self.figures.waiting.fetch_add(1, Relaxed);
        let has_room = here < most && self.hold(bytes);
        let bytes = if has_room { bytes } else { 0 };
        let job = Job { event, since: Instant::now(), bytes, asker };
        if !has_room {
            self.leave(&job);
            self.figures.count(action, Outcome::Dropped);
            self.say_dropped(action);
            return false;
        }
        if let Some(first) = self.lanes.push(client, job) {
            let hooks = Arc::clone(self);
            self.runtime.spawn(async move { hooks.work(client, first).await });
        }
        true
    }

    /// Whether there is room for an event of so many bytes, which takes it then.
    fn hold(&self, bytes: usize) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.bytes() + bytes <= WAITING_BYTES_MAX && held.grow(bytes).is_ok()
    }

    /// An event has been dealt with.
    fn leave(&self, job: &Job) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).shrink(job.bytes);
        if self.figures.waiting.fetch_sub(1, Relaxed) == 1 {
            self.told.notify_waiters();
        }
    }

    fn say_dropped(&self, action: Action) {
        let now = Instant::now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|said| now.duration_since(said) >= SAY_AGAIN) {
            *said = Some(now);
            drop(said);
            let action = action.label();
            warn!(
                action,
                waiting = self.figures.waiting(),
                "too many events wait for the back ends of hooks: some are dropped"
            );
        }
    }

    /// Deals with what waits for a client, one after the other.
    async fn work(self: Arc<Self>, client: u64, first: Job) {
        let mut next = Some(first);
        while let Some(mut job) = next {
            match job.asker.take() {
                Some(asker) => {
                    let decided = self.decide(&job).await;
                    let outcome = match &decided {
                        Ok(_) => Outcome::Accepted,
                        Err(Refused::No(_)) => Outcome::Refused,
                        Err(Refused::Silent(_) | Refused::Busy) => Outcome::Failed,
                    };
                    let Event { action, subject, .. } = &job.event;
                    self.figures.count(*action, outcome);
                    // Whoever has gone meanwhile has a ticket all the same, whose end is told.
                    drop(asker.send(decided.map(|urls| self.granted(*action, subject, urls))));
                }
                None => {
                    let outcome = self.notify(&job).await;
                    self.figures.count(job.event.action, outcome);
                }
            }
            self.leave(&job);
            next = self.lanes.next(client);
        }
    }

    /// Asks one back end after the other, all of which have to agree.
    async fn decide(&self, job: &Job) -> Result<Vec<String>, Refused> {
        let vhost = self.settings.vhost(&job.event.subject.vhost);
        let letter = self.letter(&job.event);
        let mut urls = Vec::new();
        for url in job.event.action.urls(&vhost) {
            let patience = TURN_MAX.saturating_sub(job.since.elapsed());
            match self.call(&url, &vhost, &letter, Some(patience)).await {
                Ok((Answer::Accepted, body)) => urls.extend(forward_urls(&body)),
                Ok((Answer::Refused(why), _)) => return Err(Refused::No(format!("{url}: {why}"))),
                Ok((Answer::Garbage(why), _)) | Err(Failure { why, .. }) => {
                    if vhost.hooks.fail == Fail::Closed {
                        return Err(Refused::Silent(format!("{url}: {why}")));
                    }
                }
            }
        }
        Ok(urls)
    }

    /// Tells all back ends, and those again that do not hear.
    async fn notify(&self, job: &Job) -> Outcome {
        let Event { action, subject, .. } = &job.event;
        let letter = self.letter(&job.event);
        let (mut left, mut is_refused) = (None::<Vec<HookUrl>>, false);
        for attempt in 1.. {
            // A reload may have named others.
            let vhost = self.settings.vhost(&subject.vhost);
            let named = action.urls(&vhost);
            let urls = left.take().unwrap_or_else(|| named.clone());
            let mut unheard = Vec::new();
            for url in urls.into_iter().filter(|url| named.contains(url)) {
                match self.call(&url, &vhost, &letter, None).await {
                    Ok((Answer::Accepted, _)) => {}
                    Ok((Answer::Refused(why), _)) => {
                        debug!(%url, action = action.label(), client = subject.id, why, "a notice is not accepted");
                        is_refused = true;
                    }
                    Ok((Answer::Garbage(_), _)) | Err(_) => unheard.push(url),
                }
            }
            if unheard.is_empty() {
                return if is_refused { Outcome::Refused } else { Outcome::Accepted };
            }
            let pause = pause(attempt);
            if attempt >= ATTEMPTS_MAX || job.since.elapsed() + pause > vhost.hooks.retry {
                break;
            }
            left = Some(unheard);
            sleep(pause).await;
        }
        Outcome::Failed
    }

    /// Makes one call, when it is its turn: within `patience`, if that is for a decision.
    async fn call(
        &self,
        url: &HookUrl,
        vhost: &Vhost,
        letter: &Letter,
        patience: Option<Duration>,
    ) -> Result<(Answer, Bytes), Failure> {
        let security = self.security(url, vhost);
        let host = self.backends.host(url, &security);
        let turn = match patience {
            Some(patience) => timeout(patience, host.turn(true)).await.map_err(|_| Failure {
                kind: Kind::Late,
                why: format!("no free connection within {TURN_MAX:?}"),
            }),
            None => Ok(host.turn(false).await),
        };
        let began = Instant::now();
        let done = match turn {
            Ok(_turn) => {
                let fields = letter.fields(vhost);
                let (body, limit) = (letter.body.clone(), vhost.hooks.timeout);
                host.call(&Call { url, body, fields, security: &security, limit }).await
            }
            Err(failure) => Err(failure),
        };
        let judged = done.map(|(status, body)| (judge(status, &body), body));
        let failure = match &judged {
            Ok((Answer::Garbage(why), _)) => {
                Some(Failure { kind: Kind::Garbage, why: why.clone() })
            }
            Ok(_) => None,
            Err(failure) => Some(failure.clone()),
        };
        self.figures.called(began.elapsed(), failure.is_some());
        host.health.note(&url.to_string(), failure.as_ref(), Instant::now());
        judged
    }

    /// Sends the heartbeat to `url`: as all calls of the hooks that no vhost has changed, once, and in no order with
    /// them. There is one at a time, so that it needs no turn among them.
    ///
    /// # Errors
    /// Says why it was not heard, without anything secret.
    pub async fn beat(&self, url: &HookUrl, body: Bytes) -> Result<(), String> {
        let vhost = self.settings.vhost(DEFAULT_VHOST);
        let security = self.security(url, &vhost);
        let letter = self.letter_with(body);
        let (fields, limit) = (letter.fields(&vhost), vhost.hooks.timeout);
        let call = Call { url, body: letter.body, fields, security: &security, limit };
        let heard = match self.backends.host(url, &security).call(&call).await {
            // SRS reads whatever is answered, and goes by none of it.
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((status, _)) => Err(format!("it answered HTTP {}", status.as_u16())),
            Err(Failure { why, .. }) => Err(why),
        };
        self.figures.beat(heard.is_err());
        heard
    }

    /// Whom to trust at `url`.
    fn security(&self, url: &HookUrl, vhost: &Vhost) -> Security {
        let ca = vhost.hooks.ca.clone();
        let trust = url.is_tls.then(|| self.trusts.load().of(ca.as_deref()).cloned()).flatten();
        Security { ca, trust }
    }

    fn letter(&self, event: &Event) -> Letter {
        self.letter_with(event.body(&self.names).into())
    }

    fn letter_with(&self, body: Bytes) -> Letter {
        let number = self.events.fetch_add(1, Relaxed) + 1;
        Letter { event: format!("{:016x}-{number}", self.series), body }
    }
}

/// What is sent of an event, however often.
struct Letter {
    event: String,
    body: Bytes,
}

impl Letter {
    /// The fields of one call, signed now.
    fn fields(&self, vhost: &Vhost) -> Vec<(&'static str, String)> {
        let mut fields = vec![(EVENT_HEADER, self.event.clone())];
        if let Some(secret) = &vhost.hooks.secret {
            let now =
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            fields
                .push((SIGNATURE_HEADER, signature(secret.expose(), now, &self.event, &self.body)));
        }
        fields
    }
}

/// The pause behind so many attempts.
fn pause(attempts: u32) -> Duration {
    let most = PAUSE_MIN.saturating_mul(1 << (attempts - 1).min(10)).min(PAUSE_MAX);
    // Without randomness all of it is waited for.
    let chance = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
    most.mul_f64(0.5 + chance / 2.0)
}

impl Tell for Hooks {
    fn tell(self: Arc<Self>, event: Event) {
        if event.action.is_heard(&self.settings.vhost(&event.subject.vhost)) {
            self.enqueue(event, None);
        }
    }

    fn publishes(&self, key: &StreamKey, subject: &Arc<Subject>, begins: bool) {
        match begins {
            true => self.publishing.begins(key, subject, Instant::now()),
            false => self.publishing.ends(key, subject, Instant::now()),
        }
    }
}

/// Files with CA certificates are read anew with every configuration.
impl Part for Hooks {
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
        let trusts = Trusts::read(&next.config)?;
        let names = next.config.vhosts.keys().map(String::as_str).chain([DEFAULT_VHOST]);
        let vhosts = names.map(|name| next.config.vhost(name).hooks);
        let urls = vhosts.flat_map(|hooks| hooks.lists().map(|(_, urls)| urls.to_vec()).concat());
        let urls: Vec<HookUrl> = urls.chain(next.config.heartbeat.url.clone()).collect();
        let hooks = Arc::clone(&self);
        let trust = move || self.trusts.store(Arc::new(trusts));
        Ok(Ready::after(move || hooks.backends.follow(&urls)).and_before(trust))
    }
}
