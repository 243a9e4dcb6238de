//! Where the keys come from: the configuration, a file, or the variables that the AWS tools read.

use weir_config::{Fault, Secret, Upload, file};

use crate::sign::Credentials;

/// More than a file with keys has.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The section of a file that counts.
const PROFILE: &str = "default";

/// The keys that `settings` name.
///
/// # Errors
/// When there are none, or only a half.
pub fn read(settings: &Upload) -> Result<Credentials, Fault> {
    read_with(settings, |name| std::env::var(name).ok())
}

fn read_with(
    settings: &Upload,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Credentials, Fault> {
    const FIX: &str =
        "set upload.access_key and upload.secret_key, or upload.credentials to a file with both";
    match (&settings.access_key, &settings.secret_key) {
        (Some(access_key), Some(secret_key)) => {
            let (access_key, secret_key) = (access_key.clone(), secret_key.clone());
            return Ok(Credentials { access_key, secret_key, session: None });
        }
        (Some(_), None) => {
            let what = "an access key needs its secret key, but upload.secret_key is not set";
            return Err(Fault::new("upload.access_key", what, FIX));
        }
        (None, Some(_)) => {
            let what = "a secret key needs its access key, but upload.access_key is not set";
            return Err(Fault::new("upload.secret_key", what, FIX));
        }
        (None, None) => {}
    }
    if let Some(path) = &settings.credentials {
        let fault = |what: String| {
            let what = format!("{} {what}", path.display());
            let fix = "use a file with [default], aws_access_key_id = and aws_secret_access_key =";
            Fault::new("upload.credentials", what, fix)
        };
        let text = file::read(path, FILE_BYTES_MAX)
            .map_err(|error| fault(format!("cannot be read: {error}")))?;
        let text = String::from_utf8(text).map_err(|_| fault("is not text".to_owned()))?;
        return in_file(&text).ok_or_else(|| fault("has no such keys".to_owned()));
    }
    let secret = |name| variable(name).filter(|text| !text.is_empty()).map(Secret::new);
    match (secret("AWS_ACCESS_KEY_ID"), secret("AWS_SECRET_ACCESS_KEY")) {
        (Some(access_key), Some(secret_key)) => {
            Ok(Credentials { access_key, secret_key, session: secret("AWS_SESSION_TOKEN") })
        }
        _ => Err(Fault::new("upload.url", "there are no keys for the bucket", FIX)),
    }
}

fn in_file(text: &str) -> Option<Credentials> {
    let mut is_ours = false;
    let (mut access_key, mut secret_key, mut session) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            is_ours = name.strip_suffix(']').is_some_and(|name| name.trim() == PROFILE);
        }
        let Some((key, value)) = line.split_once('=').filter(|_| is_ours) else { continue };
        let value = Some(value.trim()).filter(|value| !value.is_empty()).map(Secret::new);
        match key.trim() {
            "aws_access_key_id" => access_key = value,
            "aws_secret_access_key" => secret_key = value,
            "aws_session_token" => session = value,
            _ => {}
        }
    }
    Some(Credentials { access_key: access_key?, secret_key: secret_key?, session })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_the_configuration_then_a_file_then_the_environment() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("credentials");
        let text = "[other]\naws_access_key_id = no\naws_secret_access_key=no\n# ours\n[default]\n\
                    aws_access_key_id = from-file\naws_secret_access_key=two=2\n";
        std::fs::write(&path, text).expect("written");
        let of_env = |name: &str| Some(format!("{name} of the environment"));
        let mut settings = Upload {
            access_key: Some(Secret::new("configured")),
            secret_key: Some(Secret::new("one")),
            credentials: Some(path.clone()),
            ..Upload::default()
        };
        let keys = |settings: &Upload| read_with(settings, of_env).expect("keys");
        assert_eq!(keys(&settings).access_key.expose(), "configured");
        settings.secret_key = None;
        let fault = read_with(&settings, of_env).expect_err("half of them");
        assert_eq!(fault.path, "upload.access_key");
        settings.access_key = None;
        let found = keys(&settings);
        assert_eq!((found.access_key.expose(), found.secret_key.expose()), ("from-file", "two=2"));
        settings.credentials = None;
        assert_eq!(keys(&settings).secret_key.expose(), "AWS_SECRET_ACCESS_KEY of the environment");
        assert!(read_with(&settings, |_| None).is_err());
        std::fs::write(&path, "[other]\naws_access_key_id = no\n").expect("written");
        settings.credentials = Some(path);
        assert_eq!(read_with(&settings, of_env).expect_err("not ours").path, "upload.credentials");
    }
}
