//! How whoever follows the configuration hears of another one: first each of them whether it can, then all of them that
//! it is so.
//!
//! ```text
//! Settings::prepare(config, parts) ─► does it need a restart? ─► Part::prepare, one after the other ─► Prepared
//!                                       │ yes: Unready            │ one cannot: Unready                │
//!                                       ▼ (nothing was changed)   ▼ (nothing was changed)              ▼ apply
//!                                                                 Ready::and_before ─► in force ─► Ready::after
//! ```
//!
//! There is no other way to put a configuration in force, so that one which cannot be followed by all is followed by
//! none.

use std::{io, sync::Arc};

use crate::{Change, Config, Diff, Fault, Settings, diff};

/// What follows the configuration.
pub trait Part: Send + Sync {
    /// Makes ready what `next` needs here, and changes nothing that is in force. It may read files, and take its time.
    ///
    /// # Errors
    /// When something that it needs is not to be had.
    fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready>;
}

/// A configuration that may come in force.
#[derive(Clone, Debug)]
pub struct Next {
    /// The one that is in force until then.
    pub before: Arc<Config>,
    /// That itself.
    pub config: Arc<Config>,
}

/// What a part does when the configuration that it is ready for comes in force. Nothing can fail any more then; if it
/// is dropped instead, everything is as it was.
#[must_use]
#[derive(Default)]
pub struct Ready {
    before: Option<Step>,
    after: Option<Step>,
}

type Step = Box<dyn FnOnce() + Send>;

impl Ready {
    /// Does this right after the configuration has come in force.
    pub fn after(step: impl FnOnce() + Send + 'static) -> Self {
        Self { before: None, after: Some(Box::new(step)) }
    }

    /// The same, and `step` right before: for what must be there when somebody goes by the configuration.
    pub fn and_before(self, step: impl FnOnce() + Send + 'static) -> Self {
        Self { before: Some(Box::new(step)), ..self }
    }
}

/// Why a configuration cannot come in force. Nothing was changed.
#[derive(Debug)]
pub enum Unready {
    /// It changes what a running server cannot change.
    NeedsRestart(Vec<Change>),
    /// What a setting names cannot be had, or is not what it should be.
    Setting(Fault),
    /// The system refuses something that it needs.
    System(io::Error),
}

impl From<Fault> for Unready {
    fn from(fault: Fault) -> Self {
        Self::Setting(fault)
    }
}

impl From<io::Error> for Unready {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// A configuration that every part is ready for. Dropping it changes nothing.
#[must_use]
pub struct Prepared {
    settings: Settings,
    config: Arc<Config>,
    diff: Diff,
    parts: Vec<Ready>,
}

impl Settings {
    /// Makes all `parts` ready for `config`. One configuration at a time.
    ///
    /// # Errors
    /// When it needs a restart, or the first part that cannot follow it.
    pub fn prepare(&self, config: Config, parts: &[Arc<dyn Part>]) -> Result<Prepared, Unready> {
        let next = Next { before: self.now(), config: Arc::new(config) };
        let diff = diff(&next.before, &next.config);
        let fixed: Vec<_> = diff.needing_restart().cloned().collect();
        if !fixed.is_empty() {
            return Err(Unready::NeedsRestart(fixed));
        }
        let ready = parts.iter().map(|part| Arc::clone(part).prepare(&next));
        let parts = ready.collect::<Result<_, _>>()?;
        Ok(Prepared { settings: self.clone(), config: next.config, diff, parts })
    }
}

impl Prepared {
    /// Puts it in force, in all parts; what is different.
    pub fn apply(self) -> Diff {
        let Self { settings, config, diff, parts } = self;
        let (before, after): (Vec<_>, Vec<_>) =
            parts.into_iter().map(|Ready { before, after }| (before, after)).unzip();
        before.into_iter().flatten().for_each(|step| step());
        settings.replace(config);
        after.into_iter().flatten().for_each(|step| step());
        diff
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Writes down what it does, and what was in force then; cannot follow an egress of 13.
    struct Clerk {
        name: &'static str,
        settings: Settings,
        book: Arc<Mutex<Vec<String>>>,
    }

    impl Clerk {
        fn note(&self, what: &str) {
            let egress = self.settings.now().limits.egress;
            self.book.lock().unwrap().push(format!("{} {what} {egress}", self.name));
        }
    }

    impl Part for Clerk {
        fn prepare(self: Arc<Self>, next: &Next) -> Result<Ready, Unready> {
            self.note("prepares");
            if next.config.limits.egress == 13 && self.name == "b" {
                return Err(Fault::new("limits.egress", "is 13", "use another").into());
            }
            let first = Arc::clone(&self);
            Ok(Ready::after(move || self.note("after")).and_before(move || first.note("before")))
        }
    }

    fn limited(egress: u64) -> Config {
        let mut config = Config::default();
        config.limits.egress = egress;
        config
    }

    #[test]
    fn a_configuration_that_one_part_cannot_follow_is_followed_by_none() {
        let (settings, book) = (Settings::default(), Arc::<Mutex<Vec<String>>>::default());
        let part = |name| {
            let (settings, book) = (settings.clone(), Arc::clone(&book));
            Arc::new(Clerk { name, settings, book }) as Arc<dyn Part>
        };
        let parts = [part("a"), part("b")];
        let refused = settings.prepare(limited(13), &parts);
        assert!(matches!(refused, Err(Unready::Setting(fault)) if fault.path == "limits.egress"));
        let noted = || std::mem::take(&mut *book.lock().unwrap());
        assert_eq!(noted(), ["a prepares 0", "b prepares 0"]);
        drop(settings.prepare(limited(7), &parts).map_err(drop));
        assert_eq!(
            (noted().len(), settings.generation()),
            (2, 0),
            "what is dropped is not in force"
        );

        let diff = settings.prepare(limited(7), &parts).expect("it can be followed").apply();
        assert_eq!(diff.changes[0].path, "limits.egress");
        let all =
            ["a prepares 0", "b prepares 0", "a before 0", "b before 0", "a after 7", "b after 7"];
        assert_eq!(noted(), all);
        assert_eq!(settings.generation(), 1);
    }

    #[test]
    fn no_part_is_asked_about_what_needs_a_restart() {
        struct Never;
        impl Part for Never {
            fn prepare(self: Arc<Self>, _: &Next) -> Result<Ready, Unready> {
                panic!("nobody asks it");
            }
        }
        let mut other = Config::default();
        other.rtmp.listen.clear();
        let refused = Settings::default().prepare(other, &[Arc::new(Never)]);
        assert!(
            matches!(refused, Err(Unready::NeedsRestart(changes)) if changes[0].path == "rtmp.listen")
        );
    }
}
