//! The systemd units: systemd understands them, and both say the same.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use super::files::{empty, read, write};
use crate::{
    Result,
    command::{root, which},
};

const UNITS: &str = "deploy/systemd";

/// Stands for a version: an instance of the template.
const INSTANCE: &str = "weir@0.0.0.service";

/// Where the units expect the program, up to its name.
const PLACES: [&str; 2] = ["/usr/local/bin/", "/usr/local/lib/weir/%i/"];

/// Lets systemd read the units, with `binary` as the program, in a folder below `work`. Nothing of systemd has to run.
pub fn check(binary: &Path, work: &Path) -> Result {
    let Some(systemd) = which("systemd-analyze") else {
        println!("NOT CHECKED, for want of systemd-analyze: the units in {UNITS}");
        return Ok(());
    };
    let dir = work.join("units");
    empty(&dir)?;
    let binary = std::path::absolute(binary).map_err(|error| error.to_string())?;
    for unit in ["weir.service", "weir@.service"] {
        let text = read(&root().join(UNITS).join(unit))?;
        let placed = PLACES.iter().fold(text.clone(), |text, place| {
            text.replace(&format!("{place}weir "), &format!("{} ", binary.display()))
        });
        if placed == text {
            return Err(format!("{unit} starts no program that can be replaced in\n{text}"));
        }
        write(&dir.join(unit), &placed)?;
    }
    symlink("weir@.service", dir.join(INSTANCE)).map_err(|error| format!("a link: {error}"))?;
    for unit in ["weir.service", INSTANCE] {
        let verified = Command::new(&systemd).arg("verify").arg(dir.join(unit)).output();
        let verified = verified.map_err(|error| format!("cannot run systemd-analyze: {error}"))?;
        // It says what it does not know, and ends well nevertheless.
        let said = String::from_utf8_lossy(&verified.stderr);
        let said: Vec<_> = said.lines().filter(|line| line.contains("weir")).collect();
        if !verified.status.success() || !said.is_empty() {
            return Err(format!("{unit}: {}\n{}", verified.status, said.join("\n")));
        }
    }
    fs::remove_dir_all(&dir)
        .map_err(|error| format!("cannot remove {}: {error}", dir.display()))?;
    println!("systemd understands the units in {UNITS}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(unit: &str) -> Vec<String> {
        let text = read(&root().join(UNITS).join(unit)).unwrap();
        let comment = |line: &&str| !line.starts_with('#') && !line.starts_with("Description=");
        text.lines().filter(comment).map(str::to_owned).collect()
    }

    #[test]
    fn the_units_differ_in_their_program_alone() {
        let (one, template) = (lines("weir.service"), lines("weir@.service"));
        let start = |line: &&String| !line.starts_with("ExecStart=");
        assert!(one.iter().filter(start).eq(template.iter().filter(start)));
        let starts =
            |lines: &[String]| lines.iter().find(|line| line.starts_with("ExecStart=")).cloned();
        let placed = starts(&one).map(|line| line.replace(PLACES[0], PLACES[1]) + " --replace");
        assert_eq!(placed, starts(&template));
    }

    #[test]
    fn systemd_waits_longer_than_weir_drains() {
        let seconds = |prefix: &str, lines: &[String]| -> u64 {
            let value = lines.iter().find_map(|line| line.trim().strip_prefix(prefix));
            let value = value.unwrap_or_else(|| panic!("no {prefix} in {lines:#?}"));
            value.trim().trim_end_matches('s').parse().unwrap()
        };
        let config = lines("weir.yaml");
        let drain = seconds("notice:", &config) + seconds("timeout:", &config);
        for unit in ["weir.service", "weir@.service"] {
            assert!(seconds("TimeoutStopSec=", &lines(unit)) > drain, "{unit}: {drain} s and more");
        }
    }
}
