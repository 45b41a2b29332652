//! What is there besides processes: sockets, modules, mounts, users, sessions.

use std::{collections::BTreeMap, fs, io, path::Path};

use super::{Detail, Plan, bundle::Bundle, file, process::Process};

/// Tables of sockets, and what they are reached by.
const NETWORK: &[&str] =
    &["tcp", "tcp6", "udp", "udp6", "raw", "raw6", "unix", "packet", "netlink", "route", "ipv6_route", "arp", "dev"];
/// Network namespaces that are looked at.
const NAMESPACES: usize = 256;
/// What every bundle has of the host: a path, a name.
const HOST: &[(&str, &str)] = &[
    ("/proc/modules", "host/modules"),
    ("/proc/1/mountinfo", "host/mountinfo"),
    ("/proc/1/mounts", "host/mounts"),
    ("/proc/version", "host/version"),
    ("/proc/cmdline", "host/cmdline"),
    ("/proc/uptime", "host/uptime"),
    ("/proc/loadavg", "host/loadavg"),
    ("/proc/meminfo", "host/meminfo"),
    ("/proc/sys/kernel/tainted", "host/tainted"),
    ("/proc/sys/kernel/hostname", "host/hostname"),
    ("/proc/sys/kernel/random/boot_id", "host/boot_id"),
    ("/etc/os-release", "host/os-release"),
    ("/etc/passwd", "users/passwd"),
    ("/etc/group", "users/group"),
    ("/run/utmp", "users/utmp"),
];
/// Where logind says who is logged in.
const SESSIONS: &str = "/run/systemd/sessions";
/// Sessions that are told.
const SESSIONS_MAX: usize = 1000;

/// Adds the sockets of the network namespaces that the processes are in.
pub(super) fn sockets(plan: &Plan, chosen: &[&Process], bundle: &mut Bundle) -> io::Result<()> {
    if !plan.with.contains(&Detail::Sockets) {
        return Ok(());
    }
    let mut spaces = BTreeMap::new();
    for process in chosen {
        if let Some(space) = process.network() {
            spaces.entry(space).or_insert(process.pid);
        }
    }
    if spaces.len() > NAMESPACES {
        bundle.leave_out(b"/proc", "there were more network namespaces than are looked at");
    }
    for (space, pid) in spaces.into_iter().take(NAMESPACES) {
        for table in NETWORK {
            let path = format!("/proc/{pid}/net/{table}");
            // not every kernel has every protocol
            if Path::new(&path).exists() {
                file::add(Path::new(&path), &format!("net/{space}/{table}"), bundle)?;
            }
        }
    }
    Ok(())
}

/// Adds what the host says of itself, and who is on it.
pub(super) fn host(bundle: &mut Bundle) -> io::Result<()> {
    for (path, name) in HOST.iter().filter(|(path, _)| Path::new(path).exists()) {
        file::add(Path::new(path), name, bundle)?;
    }
    let sessions = fs::read_dir(SESSIONS).into_iter().flatten().flatten();
    let names = sessions.filter_map(|it| it.file_name().into_string().ok());
    let names = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    for name in names.take(SESSIONS_MAX) {
        let to = format!("users/session-{}", name.to_ascii_lowercase());
        file::add(&Path::new(SESSIONS).join(&name), &to, bundle)?;
    }
    Ok(())
}
