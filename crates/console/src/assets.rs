//! The files in the program.

use std::sync::OnceLock;

/// The tags of all files, made when the first is asked for.
static TAGS: OnceLock<Vec<String>> = OnceLock::new();

/// A file of the console or the player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    name: &'static str,
    packed: &'static [u8],
    at: usize,
}

macro_rules! assets {
    ($($name:literal)*) => {
        const ALL: &[(&str, &[u8])] = &[$(($name, include_bytes!(concat!("../packed/", $name, ".gz"))),)*];
    };
}

assets! {
    "console.html" "player.html" "style.css" "icon.svg"
    "api.js" "charts.js" "cluster.js" "config.js" "details.js" "dom.js" "events.js" "format.js" "health.js" "i18n.js"
    "links.js" "main.js" "moving.js" "page.js" "player.js" "qr.js" "signin.js" "spark.js" "stills.js" "stream.js"
    "streams.js" "strings.js" "wall.js"
    "vendor/hls.min.js" "vendor/mpegts.js" "vendor/uPlot.iife.min.js" "vendor/uPlot.min.css"
}

impl Asset {
    /// The file with this name, relative to the folder of all.
    pub fn find(name: &str) -> Option<Self> {
        let at = ALL.iter().position(|(known, _)| *known == name)?;
        ALL.get(at).map(|(name, packed)| Self { name, packed, at })
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.iter().enumerate().map(|(at, (name, packed))| Self { name, packed, at })
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its bytes, compressed with gzip.
    pub const fn packed(&self) -> &'static [u8] {
        self.packed
    }

    /// Whether it is a page, which only its own address shows.
    pub fn is_page(&self) -> bool {
        self.name.ends_with(".html")
    }

    /// Its media type.
    pub fn kind(&self) -> &'static str {
        match self.name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        }
    }

    /// Its entity tag, another one for other contents.
    pub fn tag(&self) -> &'static str {
        let tags = TAGS.get_or_init(|| {
            ALL.iter().map(|(_, packed)| format!("\"{:016x}\"", fnv(packed))).collect()
        });
        tags.get(self.at).map_or("", String::as_str)
    }
}

/// FNV-1a: nobody gains from finding two files with the same tag.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// What all files may take in the program.
    const BYTES_MAX: usize = 700_000;

    fn web() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/web"))
    }

    #[test]
    fn all_files_are_in_the_program_and_small() {
        let mut files = BTreeSet::new();
        for folder in ["", "vendor"] {
            for entry in fs::read_dir(web().join(folder)).expect("a folder").flatten() {
                let name = entry.file_name().into_string().expect("a name");
                if entry.file_type().expect("a kind").is_file()
                    && !name.ends_with("LICENSE")
                    && name != "PUBLISHED"
                {
                    files.insert(Path::new(folder).join(name).display().to_string());
                }
            }
        }
        let known: BTreeSet<_> = Asset::all().map(|asset| asset.name().to_owned()).collect();
        assert_eq!(known, files, "the list in assets.rs");
        let bytes: usize = Asset::all().map(|asset| asset.packed().len()).sum();
        assert!(bytes <= BYTES_MAX, "{bytes} bytes");
    }

    #[test]
    fn no_page_has_a_script_or_a_style_in_it_or_needs_another_host() {
        for page in ["console.html", "player.html"] {
            let text = fs::read_to_string(web().join(page)).expect("a page");
            assert!(!text.contains("style=") && !text.contains(" on"), "{page}");
            assert!(!text.contains("://"), "{page}");
            for script in text.split("<script").skip(1) {
                assert!(
                    script.contains("src=\"/") && script.contains("></script>"),
                    "{page}: {script}"
                );
            }
        }
    }

    #[test]
    fn no_script_of_ours_makes_elements_of_text() {
        for asset in Asset::all()
            .filter(|asset| asset.name().ends_with(".js") && !asset.name().contains('/'))
        {
            let text = fs::read_to_string(web().join(asset.name())).expect("a script");
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "DOMParser",
            ] {
                assert!(!text.contains(word), "{}: {word}", asset.name());
            }
        }
    }

    #[test]
    fn all_languages_have_the_same_strings() {
        let text = fs::read_to_string(web().join("strings.js")).expect("the strings");
        let (_, text) = text.split_once("export const en = {").expect("English");
        let (en, zh) = text.split_once("export const zh = {").expect("Chinese");
        let table = |text: &str| -> Vec<(String, usize)> {
            let lines =
                text.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\": \""));
            // How many values each has: a translation leaves none out.
            lines.map(|(key, text)| (key.to_owned(), text.matches('{').count())).collect()
        };
        let (en, zh) = (table(en), table(zh));
        assert!(en.len() > 200, "{}", en.len());
        assert_eq!(en, zh);
        let keys: BTreeSet<_> = en.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), en.len(), "no key is there twice");
    }

    #[test]
    fn files_have_types_and_tags() {
        let find = |name| Asset::find(name).expect("a file");
        assert_eq!(find("main.js").kind(), "text/javascript; charset=utf-8");
        assert_eq!(find("style.css").kind(), "text/css; charset=utf-8");
        assert_eq!(find("console.html").kind(), "text/html; charset=utf-8");
        assert_ne!(find("main.js").tag(), find("wall.js").tag());
        assert!(find("main.js").tag().len() == 18 && find("player.html").is_page());
        assert_eq!(Asset::find("../Cargo.toml"), None);
    }
}
