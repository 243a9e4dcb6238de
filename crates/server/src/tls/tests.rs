use std::{fs, path::Path, time::UNIX_EPOCH};

use weir_config::Config;
use weir_testkit::certificates::Authority;

use super::*;

fn config(dir: &Path, certificates: &[&str]) -> Config {
    let at = |file: String| dir.join(file).display().to_string();
    let files = certificates.iter().map(|name| {
        let (cert, key) = (at(format!("{name}.pem")), at(format!("{name}.key")));
        format!("{{ cert: {cert}, key: {key} }}")
    });
    let files: Vec<_> = files.collect();
    let tls = format!("{{ tls: {{ certificates: [{}] }} }}", files.join(", "));
    Config::parse(&format!("rtmp: {tls}\nhttp: {tls}\n"), "a.yaml").expect("a configuration")
}

#[test]
fn it_is_said_in_time_that_a_certificate_ends() {
    let dir = tempfile::tempdir().expect("a folder");
    Authority::new("any").certify_until(dir.path(), "a", &["a.example"], 2030);
    let prepared = Prepared::read(&config(dir.path(), &["a"])).expect("files");
    // `date -u -d 2030-12-31 +%s`
    let end = UNIX_EPOCH + Duration::from_secs(1_924_905_600);
    let day = Duration::from_secs(24 * 3600);
    for (now, words) in [
        (end - 30 * day, ""),
        (end - 10 * day, "ends in 10 days: renew it"),
        (end - day / 2, "ends in 12 h: renew it"),
        (end + day, "has been over for 1 day: clients refuse it"),
        (UNIX_EPOCH + 18_000 * day, "is not valid yet, for another 262 days"),
    ] {
        let warnings = prepared.warnings(now);
        assert_eq!(warnings.len(), if words.is_empty() { 0 } else { 2 }, "{now:?}: {warnings:?}");
        for warning in &warnings {
            assert!(warning.ends_with(words) && warning.contains("a.pem"), "{warning}");
        }
    }
}

#[test]
fn what_has_not_changed_goes_on_and_what_is_broken_does_not_come_into_force() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("any");
    authority.certify(dir.path(), "a", &["a.example"]);
    let config = config(dir.path(), &["a"]);
    let tls = Tls::new(Prepared::read(&config).expect("files"));
    let made = |tls: &Tls| tls.http.lock().as_ref().map(Ported::config).expect("TLS");
    let names = |tls: &Tls| tls.certificates().remove(1).facts.names;
    let before = made(&tls);
    tls.look(&config);
    assert!(Arc::ptr_eq(&made(&tls), &before), "sessions can be taken up again");
    fs::write(dir.path().join("a.key"), "nonsense").expect("written");
    tls.look(&config);
    assert!(Arc::ptr_eq(&made(&tls), &before));
    assert_eq!(tls.files(), [("rtmp.tls", false), ("http.tls", false)]);
    authority.certify(dir.path(), "a", &["b.example"]);
    tls.look(&config);
    assert_eq!(
        (names(&tls), tls.files()),
        (vec!["b.example".to_owned()], vec![("rtmp.tls", true), ("http.tls", true)])
    );
}
