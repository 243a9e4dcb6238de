//! What the caller chooses: lengths and names.

use std::time::Duration;

/// How a stream is segmented and listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Segment length aimed at: a segment ends at the first key frame that is at least this far from its start.
    pub target: Duration,
    /// Segments listed. More are listed while fewer would last less than three target durations (RFC 8216, 6.2.2).
    pub window: usize,
    /// The stream's name; segments are called `{name}-{sequence}.ts`, as SRS calls them.
    pub name: String,
}

impl Config {
    /// Segments of 2 s, six of them listed.
    pub fn new(name: impl Into<String>) -> Self {
        Self { target: Duration::from_secs(2), window: 6, name: name.into() }
    }

    /// The file name of segment `sequence`.
    pub fn segment_name(&self, sequence: u64) -> String {
        format!("{}-{sequence}.ts", self.name)
    }

    /// The sequence number in a segment's file name; nothing when the file is not a segment of this stream.
    ///
    /// With it a caller can look through a directory after a restart: for files that no playlist lists any more, and
    /// for the highest number ever used.
    pub fn sequence_of(&self, file_name: &str) -> Option<u64> {
        let digits = file_name.strip_prefix(&*self.name)?.strip_prefix('-')?.strip_suffix(".ts")?;
        let canonical = digits.bytes().all(|b| b.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        canonical.then(|| digits.parse().ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_name_gives_its_sequence_back_and_no_other_name_does() {
        let config = Config::new("live");
        assert_eq!(config.segment_name(17), "live-17.ts");
        assert_eq!(config.sequence_of("live-17.ts"), Some(17));
        assert_eq!(config.sequence_of("live-0.ts"), Some(0));
        for other in ["live-017.ts", "live-+1.ts", "live-.ts", "live-1.ts.tmp", "live-a-1.ts", "-1"]
        {
            assert_eq!(config.sequence_of(other), None, "{other}");
        }
        assert_eq!(config.sequence_of("live-99999999999999999999.ts"), None, "beyond 64 bits");
    }
}
