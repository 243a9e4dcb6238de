//! Where the playlist and the segments of a stream are for others, if the configuration has templates for that
//! (`hls.playlist_path`, `hls.segment_path`, `hls.segment_url`), and their playlists as these others get them.
//!
//! Here everything goes on under the names that `names.rs` makes. What others see is made of that alone: where a
//! segment is follows from what the playlist says of it, so that nothing needs to be remembered.

use std::{
    borrow::Cow,
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use weir_config::Hls;
use weir_hls::{SegmentName, file_name, uri};
use weir_media::{DEFAULT_VHOST, StreamKey, date::parse_rfc3339};

use super::names::{Naming, PLAYLIST};
use crate::template::{PathOf, Template, Variable};

/// The tags that name files (RFC 8216bis, section 4.4).
const TAGS: [&str; 7] = [
    "#EXT-X-MEDIA:",
    "#EXT-X-I-FRAME-STREAM-INF:",
    "#EXT-X-RENDITION-REPORT:",
    "#EXT-X-MAP:",
    "#EXT-X-KEY:",
    "#EXT-X-PART:",
    "#EXT-X-PRELOAD-HINT:",
];

/// What stands before the file in such a tag.
const URI: &str = "URI=\"";

/// What a name that was cut has in it: it cannot be read back.
const CUT: &str = "~~";

/// The names that others know, from the first folder to the file.
pub type Levels = Vec<String>;

/// How others name the files of all streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    playlist: Template,
    segment: Option<Template>,
    /// What stands before the paths of segments; nothing for relative ones.
    url: String,
}

impl Names {
    /// Those that `settings` ask for; none where files are called as Weir calls them.
    pub fn of(settings: &Hls) -> Option<Self> {
        let Hls { playlist_path, segment_path, segment_url, .. } = settings;
        if playlist_path.is_empty() && segment_path.is_empty() && segment_url.is_empty() {
            return None;
        }
        // What is no template has been said before it is in force.
        Some(Self {
            playlist: playlist_template(playlist_path).ok()?,
            segment: segment_template(segment_path).ok()?,
            url: segment_url.clone(),
        })
    }

    /// The same for playlists alone: segments are called as they are here.
    #[must_use]
    pub fn of_playlists(self) -> Self {
        Self { segment: None, url: String::new(), ..self }
    }

    /// The app and the stream whose playlist players load first is under these names in URLs.
    pub fn read_playlist(&self, vhost: &str, names: &[&str]) -> Option<StreamKey> {
        let (file, folders) = names.split_last()?;
        let names = [folders, &[file.strip_suffix(PLAYLIST)?]].concat();
        let key = self.key_of(&self.playlist, vhost, &names)?.0;
        let same = Layout::in_urls(self, &key).playlist();
        same.iter().map(|name| name.strip_suffix(PLAYLIST).unwrap_or(name)).eq(names).then_some(key)
    }

    /// The stream that the segment under these names in URLs is of, and the segment's number.
    pub fn read_segment(&self, vhost: &str, names: &[&str]) -> Option<(StreamKey, u64)> {
        let (file, folders) = names.split_last()?;
        let (name, extension) = file.rsplit_once('.')?;
        if !matches!(extension, "ts" | "m4s") {
            return None;
        }
        let (key, number) =
            self.key_of(self.segment.as_ref()?, vhost, &[folders, &[name]].concat())?;
        Some((key, number?))
    }

    fn key_of(
        &self,
        template: &Template,
        vhost: &str,
        names: &[&str],
    ) -> Option<(StreamKey, Option<u64>)> {
        let said = template.read(names)?;
        let vhost = said.vhost.as_deref().unwrap_or(vhost);
        let key = StreamKey::new(vhost, &said.app?, &said.stream?).ok()?;
        Some((key, said.number))
    }
}

/// The template of `hls.playlist_path`.
///
/// # Errors
/// Says why it is none.
pub fn playlist_template(text: &str) -> Result<Template, String> {
    let text = if text.is_empty() { "{app}/{stream}" } else { text };
    let template = Template::parse(text).map_err(|error| error.to_string())?;
    let is_other = |variable: &Variable| {
        !matches!(variable, Variable::Vhost | Variable::App | Variable::Stream)
    };
    if Variable::ALL.iter().filter(|it| is_other(it)).any(|it| template.has(*it)) {
        let what = "a playlist has one path for as long as its stream lives: use {vhost}, {app} and \
                    {stream} only";
        return Err(what.into());
    }
    readable(template)
}

/// The template of `hls.segment_path`; none for the names that Weir gives.
///
/// # Errors
/// Says why it is none.
pub fn segment_template(text: &str) -> Result<Option<Template>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let template = Template::parse(text).map_err(|error| error.to_string())?;
    readable(template).map(Some)
}

/// The same template, if its paths say of which stream they are.
fn readable(template: Template) -> Result<Template, String> {
    let at = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let (number, duration) = (7, Duration::from_secs(2));
    // Names that are mixed up with others as soon as that can be.
    let is_told = [("live/eu", "a-7"), ("7-a", "7")].into_iter().all(|(app, stream)| {
        let path =
            template.expand(&PathOf { vhost: DEFAULT_VHOST, app, stream, at, number, duration });
        let names: Vec<_> = path.iter().filter_map(|name| name.to_str()).collect();
        let said = template.read(&names).unwrap_or_default();
        said.app.as_deref() == Some(app) && said.stream.as_deref() == Some(stream)
    });
    match is_told {
        true => Ok(template),
        false => Err("its paths do not tell streams apart: write {app} and {stream}, each once, with something \
                      between them and other variables"
            .into()),
    }
}

/// Where the files of one stream are for others.
pub struct Layout<'a> {
    names: &'a Names,
    key: &'a StreamKey,
    /// Where the files are that no template is for.
    folder: Levels,
    /// Before what templates say.
    prefix: Option<String>,
    folds: bool,
}

impl<'a> Layout<'a> {
    /// In the folder `hls.dir`.
    pub fn on_disk(names: &'a Names, naming: Naming, key: &'a StreamKey) -> Self {
        let folder = naming.folders(key);
        let prefix = folder.first().filter(|_| key.vhost() != DEFAULT_VHOST).cloned();
        Self { names, key, folder, prefix, folds: naming.folds }
    }

    /// In the paths of URLs, below the host of the vhost.
    pub fn in_urls(names: &'a Names, key: &'a StreamKey) -> Self {
        let folder = key.app().split('/').map(str::to_owned).collect();
        Self { names, key, folder, prefix: None, folds: false }
    }

    /// The playlist that players load first.
    pub fn playlist(&self) -> Levels {
        let of = PathOf { at: UNIX_EPOCH, number: 0, duration: Duration::ZERO, ..self.of() };
        self.expand(&self.names.playlist, &of, PLAYLIST)
    }

    /// A file that no template is for.
    pub fn other(&self, file: &str) -> Levels {
        [self.folder.as_slice(), &[file.to_owned()]].concat()
    }

    fn of(&self) -> PathOf<'_> {
        PathOf {
            vhost: self.key.vhost(),
            app: self.key.app(),
            stream: self.key.stream(),
            at: UNIX_EPOCH,
            number: 0,
            duration: Duration::ZERO,
        }
    }

    fn expand(&self, template: &Template, of: &PathOf<'_>, extension: &str) -> Levels {
        // The vhost is told by the first folder, or by the host of the URL.
        let vhost = if template.has(Variable::Vhost) { of.vhost } else { DEFAULT_VHOST };
        let path = template.clone().folding(self.folds).expand(&PathOf { vhost, ..*of });
        let names = path.iter().map(|name| name.to_string_lossy().into_owned());
        let prefix = self.prefix.iter().filter(|_| !template.has(Variable::Vhost)).cloned();
        let mut levels: Levels = prefix.chain(names).collect();
        if let Some(file) = levels.last_mut() {
            file.push_str(extension);
        }
        levels
    }

    /// The playlist `text` of this stream as it is at `at`, with `params` behind the names that can be guessed; the
    /// segments have the names of the template if it is the `main` playlist. All that it names is put into `named`, by
    /// the names that files have here.
    pub fn text(
        &self,
        text: &str,
        (at, is_main): (&Levels, bool),
        params: &str,
        named: &mut HashMap<String, Levels>,
    ) -> String {
        let mut out = String::with_capacity(text.len() + text.len() / 4);
        let (mut date, mut duration) = (UNIX_EPOCH, Duration::ZERO);
        for line in text.split_inclusive('\n') {
            let bare = line.trim_end();
            if let Some(value) = bare.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:") {
                date = parse_rfc3339(value).map_or(date, |since| UNIX_EPOCH + since);
            } else if let Some(value) = bare.strip_prefix("#EXTINF:") {
                let seconds = value.split(',').next().and_then(|it| it.parse::<f64>().ok());
                let length = seconds.and_then(|it| Duration::try_from_secs_f64(it).ok());
                duration = length.unwrap_or_default();
            }
            let span = match line.starts_with('#') {
                true => attribute(line),
                false => Some((0, bare.len())).filter(|(_, end)| *end > 0),
            };
            let Some((from, to)) = span.filter(|(from, to)| is_beside(&line[*from..*to])) else {
                out += line;
                continue;
            };
            let (file, query) = line[from..to].split_once('?').unwrap_or((&line[from..to], ""));
            let Some(file) = file_name(file) else {
                out += line;
                continue;
            };
            let is_segment = from == 0 && is_main;
            let own = is_segment.then(|| self.segment(&file, date, duration)).flatten();
            out += &line[..from];
            match &own {
                Some(levels) => {
                    out += &self.reference(at, levels);
                    out += params;
                }
                None => out += &relative(at, &self.other(&file)),
            }
            if own.is_none() && !query.is_empty() {
                out.push('?');
                out += query;
            }
            out += &line[to..];
            named.insert(file.clone().into_owned(), own.unwrap_or_else(|| self.other(&file)));
            if from == 0 {
                date = date.checked_add(duration).unwrap_or(date);
            }
        }
        out
    }

    /// Where the segment `file` is that begins at `date`, if the template is for it.
    fn segment(&self, file: &str, at: SystemTime, duration: Duration) -> Option<Levels> {
        let template = self.names.segment.as_ref()?;
        let (_, name) = SegmentName::parse(file).filter(|(_, name)| name.form.is_segment())?;
        let of = PathOf { at, number: name.sequence, duration, ..self.of() };
        let levels = self.expand(template, &of, name.form.extension());
        (!levels.iter().any(|level| level.contains(CUT))).then_some(levels)
    }

    /// How the playlist at `at` names the segment that is at `levels`.
    fn reference<'l>(&self, at: &Levels, levels: &'l Levels) -> Cow<'l, str> {
        match &*self.names.url {
            "" => relative(at, levels).into(),
            url => format!("{url}/{}", joined(levels)).into(),
        }
    }
}

/// Where in a tag the name of a file is.
fn attribute(line: &str) -> Option<(usize, usize)> {
    TAGS.iter().find(|tag| line.starts_with(**tag))?;
    let mut starts = line.match_indices(URI).map(|(at, _)| at);
    // Not where another attribute's value ends like that.
    let at = starts.find(|at| matches!(line.as_bytes()[at - 1], b':' | b','))?;
    let from = at + URI.len();
    Some((from, from + line[from..].find('"')?))
}

/// Whether a URI names a file beside the playlist.
fn is_beside(uri: &str) -> bool {
    !uri.split('?').next().unwrap_or_default().contains('/')
}

/// A relative reference from the playlist at `at` to a file.
fn relative(at: &Levels, to: &Levels) -> String {
    let folders = at.len().saturating_sub(1);
    let most = folders.min(to.len().saturating_sub(1));
    let same = (0..most).take_while(|level| at[*level] == to[*level]).count();
    "../".repeat(folders - same) + &joined(&to[same..])
}

/// Names as the path of a URL.
pub fn joined(levels: &[String]) -> String {
    levels.iter().map(|level| uri(level)).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(playlist: &str, segment: &str, url: &str) -> Names {
        let settings = Hls {
            playlist_path: playlist.to_owned(),
            segment_path: segment.to_owned(),
            segment_url: url.to_owned(),
            ..Hls::default()
        };
        Names::of(&settings).expect("templates")
    }

    fn key(vhost: &str) -> StreamKey {
        StreamKey::new(vhost, "live/eu", "cam 1").expect("a key")
    }

    const TEXT: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n\
        #EXT-X-MAP:URI=\"cam%201-7-aaaaaaaaaaaaaaaa.mp4\"\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-28T04:05:06.789Z\n#EXTINF:2.040,\ncam%201-7-aaaaaaaaaaaaaaab.m4s\n\
        #EXTINF:2.000,\ncam%201-8-aaaaaaaaaaaaaaac.m4s\n";

    fn lines(text: &str) -> Vec<&str> {
        let has_uri = |line: &&str| !line.starts_with('#') || line.contains("URI");
        text.lines().filter(has_uri).collect()
    }

    #[test]
    fn a_playlist_names_files_where_they_are_for_others() {
        let names = names("[app]/[stream]/index.m3u8", "[app]/[2006]-[01]/[stream]-[seq].ts", "");
        let key = key(DEFAULT_VHOST);
        let layout = Layout::on_disk(&names, Naming { folds: false }, &key);
        assert_eq!(layout.playlist(), ["live", "eu", "cam 1", "index.m3u8"]);
        let mut named = HashMap::new();
        let text = layout.text(TEXT, (&layout.playlist(), true), "?t=1", &mut named);
        assert_eq!(
            lines(&text),
            [
                "#EXT-X-MAP:URI=\"../cam%201-7-aaaaaaaaaaaaaaaa.mp4\"",
                "../2026-11/cam%201-7.m4s?t=1",
                "../2026-11/cam%201-8.m4s?t=1",
            ]
        );
        assert_eq!(named["cam 1-8-aaaaaaaaaaaaaaac.m4s"], ["live", "eu", "2026-11", "cam 1-8.m4s"]);
        assert_eq!(named.len(), 3);
    }

    #[test]
    fn a_url_stands_before_segments_only() {
        let names = names("", "{app}/{stream}-{timestamp}-{duration}-{number}", "http://cdn");
        let key = key("a.org");
        let layout = Layout::on_disk(&names, Naming { folds: false }, &key);
        assert_eq!(layout.playlist(), ["@a.org", "live", "eu", "cam 1.m3u8"]);
        let text = layout.text(TEXT, (&layout.playlist(), true), "", &mut HashMap::new());
        let [map, first, second] = lines(&text)[..] else { panic!("{text}") };
        assert_eq!(map, "#EXT-X-MAP:URI=\"cam%201-7-aaaaaaaaaaaaaaaa.mp4\"");
        let url = "http://cdn/%40a.org/live/eu/cam%201-1795838706789-2040-7.m4s";
        assert_eq!(first, url);
        // The second one has no date of its own.
        assert!(second.contains("-1795838708829-2000-8"), "{second}");
        let in_urls = Layout::in_urls(&names, &key);
        assert_eq!(in_urls.playlist(), ["live", "eu", "cam 1.m3u8"]);
    }

    #[test]
    fn paths_of_urls_lead_back_to_streams() {
        let names = names("tv/{app}/{stream}/index", "[app]/[stream]-[seq].ts", "");
        let own = key("a.org");
        let playlist = ["tv", "live", "eu", "cam 1", "index.m3u8"];
        assert_eq!(names.read_playlist("a.org", &playlist), Some(own.clone()));
        assert_eq!(names.read_segment("a.org", &["live", "eu", "cam 1-8.m4s"]), Some((own, 8)));
        for other in [
            &["live", "cam", "index.m3u8"][..],
            &["tv", "live", "index.m3u8"],
            &["index.m3u8"],
            &[],
        ] {
            assert_eq!(names.read_playlist("a.org", other), None, "{other:?}");
        }
        for other in
            [&["cam-8.ts"][..], &["live", "cam-8.mp4"], &["live", "cam-08.ts"], &["live", "cam.ts"]]
        {
            assert_eq!(names.read_segment("a.org", other), None, "{other:?}");
        }
    }

    #[test]
    fn templates_that_do_not_tell_streams_apart_are_refused() {
        for bad in [
            "{stream}",
            "{app}",
            "{app}-{stream}",
            "{app}/{stream}{number}",
            "{app}/x",
            "../{app}/{stream}",
        ] {
            assert!(segment_template(bad).is_err(), "{bad}");
        }
        for good in
            ["{app}/{stream}", "[app]/[stream]-[seq].ts", "x/[stream]/[2006][01][02]/[app]/[seq]"]
        {
            assert!(segment_template(good).is_ok_and(|it| it.is_some()), "{good}");
        }
        assert!(playlist_template("{app}/{stream}-{number}").is_err());
        assert!(playlist_template("[vhost]/[app]/[stream].m3u8").is_ok());
    }
}
