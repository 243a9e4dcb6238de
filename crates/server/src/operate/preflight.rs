//! What a configuration needs of this machine, tried out by `weir check` and at the start. A reload asks its parts
//! ([`Part`](weir_config::Part)).
//!
//! A fault here is not one of the text, and may be one of this machine or this user alone. It is said like one of the
//! text, with the line that names what is not to be had.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::fs::FileTypeExt as _,
    path::Path,
    time::SystemTime,
};

use rustix::fs::{Access, access};
use weir_config::{Config, Fault, Role};
use weir_edge::Edge;
use weir_hooks::Trusts;
use weir_outputs::{
    forward,
    hls::{self, BadFolder, bad_folders},
    record::{BadPlace, bad_places},
};
use weir_upload::Uploader;

use crate::{auth::Keys, tls::Prepared};

/// The longest path of a unix socket (`sun_path` of Linux, with the byte that ends it), and what a process puts behind
/// it for a moment: a dot and its number.
const SOCKET_PATH_MAX: usize = 107 - 11;

/// Whether the socket at which listeners are handed over can be made.
///
/// # Errors
/// When it cannot.
pub fn socket(config: &Config) -> Result<(), Fault> {
    let Some(path) = &config.handover.socket else { return Ok(()) };
    let fault = |what: String, fix: &str| Err(Fault::new("handover.socket", what, fix));
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        let what = format!("a socket path has at most {SOCKET_PATH_MAX} bytes");
        return fault(what, "use a shorter one, such as /run/weir/handover.sock");
    }
    if path.metadata().is_ok_and(|about| !about.file_type().is_socket()) {
        let what = format!("{} exists and is not a socket", path.display());
        return fault(what, "use another path, or remove it");
    }
    room("handover.socket", "socket", path)
}

/// Whether there can be something new at `path`, a `thing` that `key` names.
fn room(key: &str, thing: &str, path: &Path) -> Result<(), Fault> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    let missing = match above.metadata() {
        Ok(about) if about.is_dir() => None,
        Ok(_) => Some("it is not a folder".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    let error = missing.or_else(|| Some(access(above, Access::WRITE_OK).err()?.to_string()));
    match error {
        Some(error) => Err(Fault::new(
            key,
            format!("cannot create a {thing} in {}: {error}", above.display()),
            "create the folder, or use one that this user can write to",
        )),
        None => Ok(()),
    }
}

/// Goes to `work_dir`, if there is one.
///
/// # Errors
/// When this process cannot.
pub fn enter_work_dir(config: &Config) -> Result<(), Fault> {
    let Some(dir) = &config.work_dir else { return Ok(()) };
    weir_config::enter(dir).map_err(|error| {
        let what = format!("cannot enter {}: {error}", dir.display());
        Fault::new("work_dir", what, "create the folder, or use one that this user can enter")
    })
}

/// Whether the log can be appended to, and the number of the process written down, where they are to go to files.
///
/// # Errors
/// When they cannot.
pub fn process_files(config: &Config) -> Result<(), Fault> {
    if let Some(path) = &config.log_file {
        appended("log_file", path)?;
    }
    let Some(path) = &config.pid_file else { return Ok(()) };
    if path.symlink_metadata().is_ok_and(|about| !about.is_file()) {
        let what = format!("{} exists and is not a file", path.display());
        return Err(Fault::new("pid_file", what, "use another path, or remove it"));
    }
    room("pid_file", "file", path)
}

/// Whether something can be appended to what is at `path`, which `key` names: a file, or what stands for stdout.
fn appended(key: &str, path: &Path) -> Result<(), Fault> {
    let Ok(about) = path.metadata() else { return room(key, "file", path) };
    let what = if about.is_dir() || about.file_type().is_socket() {
        format!("{} is not a file", path.display())
    } else if let Err(error) = access(path, Access::WRITE_OK) {
        format!("cannot write to {}: {error}", path.display())
    } else {
        return Ok(());
    };
    Err(Fault::new(key, what, "use another path, or let this user write there"))
}

/// Tries every listener, each for a moment: those that can never be had, and sentences on those that cannot be had now
/// or by this user. A port that the running server has is to be expected.
pub fn ports(config: &Config) -> (Vec<Fault>, Vec<String>) {
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    for (service, listen) in config.listeners() {
        for (number, address) in listen.iter().enumerate() {
            // One of two that are one is enough.
            if service == "api" && config.shared_with(*address).is_some() {
                continue;
            }
            let Err(error) = TcpListener::bind(address) else { continue };
            match said(service, *address, &error) {
                Some(warning) => warnings.push(warning),
                None => faults.push(Fault::new(
                    format!("{service}.listen[{number}]"),
                    format!("cannot listen on {address}: {error}"),
                    "use an address of this machine, or 0.0.0.0 for all of them",
                )),
            }
        }
    }
    (faults, warnings)
}

fn said(service: &str, address: SocketAddr, error: &io::Error) -> Option<String> {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "is in use: by a running Weir with this configuration, or by a server that must be stopped first"
        }
        io::ErrorKind::PermissionDenied => {
            "is not available to this user: the server needs a privilege for it"
        }
        _ => return None,
    };
    Some(format!("{service}.listen: {address} {why}"))
}

/// Whether an edge has what it needs for TLS with its origins.
///
/// # Errors
/// When a file is not to be had, or there is nobody to trust.
pub fn origin_tls(config: &Config) -> Result<(), Fault> {
    match config.role {
        Role::Origin => Ok(()),
        Role::Edge => Edge::check_files(&config.edge),
    }
}

/// Whether an origin has what it needs for what it pulls, and to stand in for publishers.
///
/// # Errors
/// When it does not.
pub fn pulled(config: &Config) -> Result<(), Fault> {
    match config.role {
        Role::Origin => weir_pull::check(config),
        Role::Edge => Ok(()),
    }
}

/// Whether what uploads need is there. No storage is asked.
///
/// # Errors
/// When a file is not to be had, or there are no keys.
pub fn uploads(config: &Config) -> Result<(), Fault> {
    match config.role {
        Role::Origin => Uploader::check(config),
        Role::Edge => Ok(()),
    }
}

/// What is wrong with the files that are played, and with those that pulls need.
pub fn pulls(config: &Config) -> Vec<Fault> {
    if config.role == Role::Edge {
        return Vec::new();
    }
    let fallbacks = weir_pull::check_files(config).into_iter();
    let fallbacks = fallbacks.filter_map(|(_, _, kinds)| kinds.err());
    weir_pull::faults(config).into_iter().chain(fallbacks).collect()
}

/// Everything that is wrong here, and everything that may be, for `weir check`.
pub fn all(config: &Config) -> (Vec<Fault>, Vec<String>) {
    let (mut faults, mut warnings) = ports(config);
    faults.extend(Keys::read(config).err());
    match Prepared::read(config) {
        Ok(tls) => warnings.extend(tls.warnings(SystemTime::now())),
        Err(fault) => faults.push(fault),
    }
    faults.extend(origin_tls(config).err());
    faults.extend(uploads(config).err());
    faults.extend(forward::check_files(config).err());
    faults.extend(pulls(config));
    faults.extend(Trusts::read(config).err());
    faults.extend(socket(config).err());
    faults.extend(process_files(config).err());
    for BadFolder { fault, is_lasting } in bad_folders(config, None, false) {
        if is_lasting { faults.push(fault) } else { warnings.push(fault.to_string()) }
    }
    for BadPlace { fault, is_lasting } in bad_places(config, None, false) {
        if is_lasting { faults.push(fault) } else { warnings.push(fault.to_string()) }
    }
    let taken = config.hls_dirs().into_keys().filter(|dir| hls::is_claimed(dir));
    warnings.extend(taken.map(|dir| shared_folder(&dir)));
    warnings.extend(weir_children::missing(config));
    (faults, warnings)
}

/// What is said of a folder that another process writes HLS to.
pub fn shared_folder(dir: &Path) -> String {
    format!(
        "another process writes HLS to {}: unless that is the one to be replaced, give each a hls.dir of its own, or \
         streams of the same name take each other's files",
        dir.display()
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, "a.yaml").expect("a configuration")
    }

    #[test]
    fn a_socket_needs_its_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("file"), "").expect("written");
        let at = |path: &str| socket(&config(&format!("handover: {{ socket: {path:?} }}")));
        let here = |name: &str| dir.path().join(name).display().to_string();
        assert_eq!(at(&here("s")), Ok(()));
        assert_eq!(at("s"), Ok(()));
        for bad in [here("none/s"), here("file"), here("file/s"), format!("/{}", "x".repeat(100))] {
            assert!(at(&bad).is_err_and(|fault| fault.path == "handover.socket"), "{bad}");
        }
    }

    #[test]
    fn a_log_and_a_pid_file_need_their_folders_and_nothing_else_in_their_places() {
        let dir = tempfile::tempdir().expect("a folder");
        let (file, folder) = (dir.path().join("file"), dir.path().join("folder"));
        fs::write(&file, "").expect("written");
        fs::create_dir(&folder).expect("created");
        let at = |key: &str, path: &Path| {
            let text = match key {
                "pid_file" => format!("pid_file: {path:?}"),
                _ => format!("log_file: {path:?}"),
            };
            process_files(&config(&text))
        };
        for key in ["pid_file", "log_file"] {
            for good in [&file, &dir.path().join("new"), Path::new("new")] {
                assert_eq!(at(key, good), Ok(()), "{key} {}", good.display());
            }
            for bad in [&folder, &dir.path().join("none/new"), &file.join("new")] {
                assert!(at(key, bad).is_err_and(|fault| fault.path == key), "{}", bad.display());
            }
        }
        assert_eq!(at("log_file", Path::new("/dev/null")), Ok(()));
        assert!(at("pid_file", Path::new("/dev/null")).is_err());
        assert_eq!(process_files(&Config::default()), Ok(()));
    }

    #[test]
    fn a_port_in_use_is_no_fault_and_an_address_of_others_is() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("bound");
        let text =
            format!("rtmp: {{ listen: [127.0.0.1:0, {address}] }}\nhttp: {{ listen: [] }}\n");
        let (faults, warnings) =
            ports(&config(&format!("{text}api: {{ listen: 192.0.2.1:80 }}\n")));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].path, "api.listen[0]");
        assert!(warnings.len() == 1 && warnings[0].contains("in use"), "{warnings:?}");
    }
}
