//! The image as an OCI layout, and the archive of it: under which name it comes out of that again.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::files::{read, remove_file, write};
use crate::{Result, command::run};

/// The tag of the image.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The name of the image, in full: what `weir:VERSION` in a manifest of Kubernetes stands for.
pub const NAME: &str = concat!("docker.io/library/weir:", env!("CARGO_PKG_VERSION"));

/// Where containerd and Docker look for an image's name. It must be the name in full.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Where others look for it. A tag alone: what is before it is theirs to give.
const OCI_NAME: &str = "org.opencontainers.image.ref.name";

/// Names the only image of a layout.
pub fn name(layout: &Path) -> Result {
    let file = layout.join("index.json");
    let index = serde_json::from_str(&read(&file)?);
    let index = named(index.map_err(|error| format!("{}: {error}", file.display()))?)?;
    write(&file, &index.to_string())
}

/// The index of a layout, its only image named.
fn named(mut index: Value) -> Result<Value> {
    let images = index["manifests"].as_array_mut().map(Vec::as_mut_slice);
    let Some([image]) = images else {
        return Err(format!("not one image: {index}"));
    };
    image["annotations"] = serde_json::json!({ CONTAINERD_NAME: NAME, OCI_NAME: VERSION });
    Ok(index)
}

/// Requires that who reads the index of an archive finds one image with the right name, in each of the places.
pub fn check(index: &Value) -> Result {
    if named(index.clone())? == *index {
        Ok(())
    } else {
        Err(format!("the image should be {NAME} for containerd and {VERSION} for others: {index}"))
    }
}

/// Puts a layout into an archive: the same bytes for the same layout and `time`.
pub fn pack(layout: &Path, archive: &Path, time: &str) -> Result {
    remove_file(archive)?;
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--format=ustar",
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ]);
    tar.args(["--mode=u=rwX,go=rX", &format!("--mtime=@{time}"), "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(layout);
    let files = fs::read_dir(layout).map_err(|error| format!("{}: {error}", layout.display()))?;
    let names: std::io::Result<Vec<_>> = files.map(|file| Ok(file?.file_name())).collect();
    let mut names = names.map_err(|error| format!("{}: {error}", layout.display()))?;
    names.sort();
    run(tar.args(names))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_image_without_the_name_that_containerd_takes_is_refused() {
        let index = |annotations: Value| json!({ "manifests": [{ "digest": "sha256:1", "annotations": annotations }] });
        // As buildah writes them.
        for annotations in [json!(null), json!({ OCI_NAME: VERSION }), json!({ OCI_NAME: NAME })] {
            let unnamed = index(annotations);
            assert!(check(&unnamed).unwrap_err().contains(NAME));
            assert_eq!(check(&named(unnamed).unwrap()), Ok(()));
        }
        assert!(check(&index(json!({ CONTAINERD_NAME: "weir:0", OCI_NAME: VERSION }))).is_err());
    }

    #[test]
    fn an_archive_of_no_image_or_of_two_is_refused() {
        for index in [json!({}), json!({ "manifests": [] }), json!({ "manifests": [{}, {}] })] {
            assert!(named(index.clone()).is_err());
            assert!(check(&index).is_err());
        }
    }

    #[test]
    fn the_name_is_what_the_manifests_ask_for() {
        let root = crate::command::root().join("deploy/kubernetes/base/edge/deployment.yaml");
        let text = read(&root).unwrap();
        let image = text.lines().find_map(|line| line.trim().strip_prefix("image: ")).unwrap();
        // What Kubernetes makes of a name without a registry.
        assert_eq!(NAME, format!("docker.io/library/{image}"));
    }

    #[test]
    fn an_archive_has_the_layout_and_is_the_same_each_time() {
        let dir = std::env::temp_dir().join(format!("weir-layout-{}", std::process::id()));
        let (layout, one, other) = (dir.join("oci"), dir.join("1.tar"), dir.join("2.tar"));
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        write(&layout.join("index.json"), r#"{"manifests":[{"digest":"sha256:1"}]}"#).unwrap();
        write(&layout.join("blobs/sha256/1"), "{}").unwrap();
        name(&layout).unwrap();
        pack(&layout, &one, "1700000000").unwrap();
        write(&layout.join("blobs/sha256/1"), "{}").unwrap();
        pack(&layout, &other, "1700000000").unwrap();
        assert!(fs::read(&one).unwrap() == fs::read(&other).unwrap());
        let unpacked =
            Command::new("tar").args(["-xOf"]).arg(&one).arg("index.json").output().unwrap();
        check(&serde_json::from_slice(&unpacked.stdout).unwrap()).unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }
}
