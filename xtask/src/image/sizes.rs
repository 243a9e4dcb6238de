//! The sizes that the guide names are those of what was built.

use super::files::read;
use crate::{Result, command::root};

const GUIDE: &str = "docs/guide/install.md";

/// What stands before the size of the static program, and before that of the image, in the guide.
const PROGRAM: &str = "`target/static/*/release/weir` (";
const IMAGE: &str = "from the last stage of the `Dockerfile`: ";

/// So many bytes may be missing or too many: a figure in whole megabytes, and some weeks of work on the program.
const TOLERANCE: u64 = 1_000_000;

/// Requires that the guide says what the program and the image have, in bytes.
pub fn check(program: u64, image: u64) -> Result {
    let guide = read(&root().join(GUIDE))?;
    compare(&guide, PROGRAM, program)?;
    compare(&guide, IMAGE, image)
}

fn compare(guide: &str, before: &str, bytes: u64) -> Result {
    let said = megabytes(guide, before)?;
    if bytes.abs_diff(said * 1_000_000) <= TOLERANCE {
        return Ok(());
    }
    let is = (bytes + 500_000) / 1_000_000;
    Err(format!("{GUIDE} says {said} MB after {before:?}; it has {bytes} bytes: write {is} MB"))
}

/// The whole megabytes that stand behind the only `before`.
fn megabytes(guide: &str, before: &str) -> Result<u64> {
    let mut found = guide.split(before).skip(1);
    let (Some(after), None) = (found.next(), found.next()) else {
        return Err(format!("{GUIDE} has not one {before:?}"));
    };
    let number = after.split_once(" MB").and_then(|(number, _)| number.parse().ok());
    number.ok_or_else(|| format!("{GUIDE} has no whole megabytes after {before:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_says_both_sizes() {
        let guide = read(&root().join(GUIDE)).unwrap();
        megabytes(&guide, PROGRAM).unwrap();
        megabytes(&guide, IMAGE).unwrap();
    }

    #[test]
    fn a_size_that_is_no_longer_true_is_found() {
        let guide = format!("a program {PROGRAM}8 MB) and an image {IMAGE}14 MB.");
        assert_eq!(compare(&guide, IMAGE, 14_400_000), Ok(()));
        assert_eq!(compare(&guide, IMAGE, 13_000_000), Ok(()));
        assert!(compare(&guide, PROGRAM, 14_100_000).unwrap_err().contains("write 14 MB"));
        assert!(compare(&guide, PROGRAM, 6_900_000).is_err());
        assert!(compare("nothing", IMAGE, 1).is_err());
        assert!(compare(&format!("{IMAGE}8.7 MB"), IMAGE, 8_700_000).is_err());
    }
}
