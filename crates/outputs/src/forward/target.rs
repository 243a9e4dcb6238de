//! Which targets a stream has.

use std::{future::Future, path::PathBuf, pin::Pin};

use weir_config::{ForwardTarget, Vhost};
use weir_media::StreamKey;
use weir_rtmp::url::{RtmpUrl, discover, written};
use weir_upstream::WORDS_MAX;

/// Targets of one stream, at most: what a back end answers has no other bound.
const TARGETS_MAX: usize = 32;

/// Parts of a URL that are shorter than this are looked for as whole words: an `a` is in every text.
const WHOLE_BELOW: usize = 4;

/// Who knows more targets than the configuration.
pub trait Targets: Send + Sync {
    /// Which more targets `key` has. Asked at each publish; the answer holds until the next one, and until it comes
    /// those of the answer before. `None` keeps these: nobody could be asked.
    fn targets<'a>(
        &'a self,
        key: &'a StreamKey,
    ) -> Pin<Box<dyn Future<Output = Option<Vec<ForwardTarget>>> + Send + 'a>>;
}

/// A target of a stream, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where to.
    pub target: ForwardTarget,
    /// The file with the authorities that are trusted; without one, those of the system.
    pub ca: Option<PathBuf>,
    /// Whether it takes Enhanced RTMP though it does not say so.
    pub assume_enhanced: bool,
}

/// The targets of `key`: those that the settings of its vhost name, and `asked`. Each once.
pub fn wanted(vhost: &Vhost, key: &StreamKey, asked: &[ForwardTarget]) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    let matching = vhost.forward.iter().filter(|forward| {
        forward.streams.iter().any(|pattern| pattern.matches(key.app(), key.stream()))
    });
    let configured = matching.flat_map(|forward| {
        forward.to.iter().map(|target| Wanted {
            target: target.clone(),
            ca: forward.ca.clone(),
            assume_enhanced: forward.assume_enhanced,
        })
    });
    let asked = asked.iter().map(|target| Wanted {
        target: target.clone(),
        ca: None,
        assume_enhanced: false,
    });
    for wanted in configured.chain(asked) {
        if all.len() < TARGETS_MAX && !all.iter().any(|other| other.target == wanted.target) {
            all.push(wanted);
        }
    }
    all
}

/// Where one stream is published to, and what of that nobody is to see.
pub struct Place {
    /// The URL.
    pub url: RtmpUrl,
    /// Its parts that are not the stream's own names, in lower case.
    secrets: Vec<String>,
}

impl Place {
    /// Where `key` goes to at `target`; none if no URL of RTMP has such names.
    pub fn of(target: &ForwardTarget, key: &StreamKey) -> Option<Self> {
        let (app, stream) = (written(key.app()), written(key.stream()));
        let url = RtmpUrl::parse(&target.url(key.vhost(), &app, &stream)).ok()?;
        let read = discover(&url.tc_url, &url.stream_with_query).ok();
        let read = read.map(|it| format!("{}/{}{}", it.app, it.stream, it.params));
        let text = format!("{}/{}/{}", url.app, url.stream_with_query, read.unwrap_or_default());
        let own: Vec<&str> = key
            .app()
            .split('/')
            .chain([&*app, &*stream, key.stream(), key.vhost(), "vhost"])
            .collect();
        let parts =
            text.split(['/', '?', '&', '=']).filter(|it| !it.is_empty() && !own.contains(it));
        let secrets = parts.map(str::to_lowercase).collect();
        Some(Self { url, secrets })
    }

    /// `text`, which may have words of the server in it, or less if these could tell where the stream goes to. What is
    /// as long as such words may be is cut, and may end within a secret.
    pub fn hide(&self, text: String) -> String {
        let lower = text.to_lowercase();
        let is_word = |secret: &str| {
            let mut words = lower.split(|c: char| !c.is_alphanumeric());
            words.any(|word| word == secret)
        };
        let tells = self.secrets.iter().any(|secret| match secret.chars().count() < WHOLE_BELOW {
            true => is_word(secret),
            false => lower.contains(secret.as_str()),
        });
        if tells || text.chars().count() >= WORDS_MAX {
            return "the target's answer is not shown: it has parts of its URL".to_owned();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use weir_config::Config;
    use weir_media::DEFAULT_VHOST;

    use super::*;

    fn key(app: &str, stream: &str) -> StreamKey {
        StreamKey::new(DEFAULT_VHOST, app, stream).expect("a name")
    }

    #[test]
    fn each_target_that_a_pattern_leads_to_is_there_once() {
        let text = "forward: [{ streams: live/*, to: [a, rtmp://b/x/y] }, { to: [a, rtmps://c/x/y], ca: f }]";
        let vhost = Config::parse(text, "a.yaml").expect("a configuration").vhost(DEFAULT_VHOST);
        let more =
            [ForwardTarget::new("d").expect("a target"), ForwardTarget::new("a").expect("one")];
        let of = |key: &StreamKey| {
            let all = wanted(&vhost, key, &more).into_iter();
            all.map(|it| (it.target.to_string(), it.ca.is_some())).collect::<Vec<_>>()
        };
        let is = |list: &[(&str, bool)]| {
            list.iter().map(|(target, ca)| ((*target).to_owned(), *ca)).collect::<Vec<_>>()
        };
        let live = is(&[
            ("rtmp://a:1935", false),
            ("rtmp://b:1935/***", false),
            ("rtmps://c:443/***", true),
            ("rtmp://d:1935", false),
        ]);
        assert_eq!(of(&key("live", "cam")), live);
        let other =
            is(&[("rtmp://a:1935", true), ("rtmps://c:443/***", true), ("rtmp://d:1935", false)]);
        assert_eq!(of(&key("other", "cam")), other);
        let many: Vec<_> =
            (0..100).map(|n| ForwardTarget::new(&format!("h{n}")).expect("a target")).collect();
        assert_eq!(wanted(&vhost, &key("live", "cam"), &many).len(), TARGETS_MAX);
    }

    #[test]
    fn words_that_tell_the_target_are_not_repeated() {
        let target =
            ForwardTarget::new("rtmp://a/live2/SeCrEt?auth=pass%2Dword").expect("a target");
        let place = Place::of(&target, &key("live", "cam")).expect("a URL");
        for tells in ["live2/SeCrEt is taken", "no SECRET", "pass%2dword", "x".repeat(200).as_str()]
        {
            assert!(place.hide(tells.to_owned()).contains("not shown"), "{tells}");
        }
        assert_eq!(place.hide("no room".to_owned()), "no room");
        let own = Place::of(&ForwardTarget::new("a").expect("a target"), &key("live", "cam"));
        let words = "/live/cam is already being published";
        assert_eq!(own.expect("a URL").hide(words.to_owned()), words);
    }
}
