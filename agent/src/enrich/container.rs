//! The container that a control group path names.

use crate::record::Container;

/// Names of a scope or directory before `-ID`, and the runtime that makes them.
const PREFIXES: [(&str, &str); 4] =
    [("docker-", "docker"), ("libpod-", "podman"), ("cri-containerd-", "containerd"), ("crio-", "cri-o")];

/// The container of a control group path; the outermost one where they are nested: what runs in a container may make
/// groups of any name below its own, never above.
pub fn container(path: &str) -> Option<Container> {
    let mut above: Vec<&str> = Vec::with_capacity(8);
    for element in path.split('/').filter(|element| !element.is_empty()) {
        if let Some((id, runtime)) = named(element, &above) {
            return Some(Container { id, runtime });
        }
        above.push(element);
    }
    None
}

fn named(element: &str, above: &[&str]) -> Option<(String, &'static str)> {
    let parent = above.last().copied().unwrap_or_default();
    let in_pod = above.iter().any(|it| it.starts_with("kubepods") || it.contains("-kubepods"));
    let bare = element.strip_suffix(".scope").unwrap_or(element);
    if is_id(bare) {
        return Some((
            bare.to_owned(),
            if parent == "docker" {
                "docker"
            } else if in_pod {
                "kubernetes"
            } else {
                ""
            },
        ));
    }
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = bare.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Some((id.to_owned(), runtime));
        }
    }
    // containerd and cri-o told to use systemd's names by a runtime that does not: `SLICE:RUNTIME:ID`
    if let Some((rest, id)) = element.rsplit_once(':')
        && is_id(id)
    {
        return Some((
            id.to_owned(),
            if rest.ends_with(":crio") {
                "cri-o"
            } else if rest.ends_with(":cri-containerd") {
                "containerd"
            } else {
                ""
            },
        ));
    }
    // nerdctl and others: `NAME-ID.scope`. The monitor of a container (`libpod-conmon-ID`) is not in it.
    if let Some((name, id)) = bare.rsplit_once('-')
        && is_id(id)
        && !name.ends_with("conmon")
    {
        return Some((id.to_owned(), ""));
    }
    if let Some(name) = element.strip_prefix("lxc.payload.") {
        return Some((name.to_owned(), "lxc"));
    }
    if parent == "lxc" || parent == "lxc.payload" {
        return Some((element.to_owned(), "lxc"));
    }
    if parent == "machine.slice" {
        let machine = element.strip_prefix("systemd-nspawn@").and_then(|it| it.strip_suffix(".service"));
        let machine = machine.or_else(|| element.strip_prefix("machine-").and_then(|it| it.strip_suffix(".scope")));
        let machine = unescape(machine?);
        // libvirt registers virtual machines there
        return (!machine.starts_with("qemu-")).then_some((machine, "nspawn"));
    }
    None
}

/// The usual runtimes name containers by 64 hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Undoes the escapes of systemd-escape(1): the name of a machine is its name, not its unit's.
fn unescape(name: &str) -> String {
    let mut parts = name.split("\\x");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii) {
            out.push(char::from(byte));
            out.push_str(&part[2..]);
        } else {
            out.push_str("\\x");
            out.push_str(part);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::unit::unit;
    use super::*;

    const A: &str = "3f1e0c5b7a9d4e2f8c6b5a4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f";
    const B: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn paths_name_containers_and_units() {
        // path (A and B stand for ids), container and runtime, unit
        type Case = (&'static str, Option<(&'static str, &'static str)>, Option<&'static str>);
        #[rustfmt::skip]
        let cases: &[Case] = &[
            ("/", None, None),
            ("", None, None),
            ("/init.scope", None, Some("init.scope")),
            ("/system.slice/sshd.service", None, Some("sshd.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", None, Some("getty@tty1.service")),
            ("/system.slice/dev-disk-by\\x2duuid-1234.swap", None, Some("dev-disk-by\\x2duuid-1234.swap")),
            ("/system.slice/_cgroup.service/sub", None, Some("cgroup.service")),
            ("/system.slice", None, None),
            ("/user.slice/user-1000.slice/session-3.scope", None, Some("session-3.scope")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/sshd.service", None, Some("user@1000.service")),
            ("/process_api/a7458ef0927e4d5bfacf6b3ad1cadad6", None, None),
            // docker: systemd driver, cgroupfs driver, systemd in the container, custom parent
            ("/system.slice/docker-A.scope", Some(("A", "docker")), Some("docker-A.scope")),
            ("/docker/A", Some(("A", "docker")), None),
            ("/docker/A/system.slice/sshd.service", Some(("A", "docker")), None),
            ("/system.slice/docker-A.scope/init.scope", Some(("A", "docker")), Some("docker-A.scope")),
            ("/actions_job/A", Some(("A", "")), None),
            ("/ecs/5f2a/A", Some(("A", "")), None),
            ("/system.slice/docker.service", None, Some("docker.service")),
            ("/docker/buildkit/k3y0fabuild", None, None),
            // an id is 64 digits, no more, no less, no capitals
            ("/docker/Aa", None, None),
            ("/system.slice/docker-abc.scope", None, Some("docker-abc.scope")),
            // podman: root, rootless, cgroupfs; its monitor is no container
            ("/machine.slice/libpod-A.scope", Some(("A", "podman")), Some("libpod-A.scope")),
            ("/machine.slice/libpod-A.scope/container", Some(("A", "podman")), Some("libpod-A.scope")),
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-A.scope", Some(("A", "podman")), Some("user@1000.service")),
            ("/libpod_parent/libpod-A", Some(("A", "podman")), None),
            ("/machine.slice/libpod-conmon-A.scope", None, Some("libpod-conmon-A.scope")),
            // kubernetes: containerd and cri-o, systemd and cgroupfs drivers, docker, kind
            ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b.slice/cri-containerd-A.scope", Some(("A", "containerd")), Some("cri-containerd-A.scope")),
            ("/kubepods.slice/kubepods-pod0a1b.slice/crio-A.scope", Some(("A", "cri-o")), Some("crio-A.scope")),
            ("/kubepods.slice/kubepods-pod0a1b.slice/crio-conmon-A.scope", None, Some("crio-conmon-A.scope")),
            ("/kubepods.slice/kubepods-pod0a1b.slice/docker-A.scope", Some(("A", "docker")), Some("docker-A.scope")),
            ("/kubepods/burstable/pod12345678-1234-1234-1234-123456789abc/A", Some(("A", "kubernetes")), None),
            ("/kubepods/besteffort/pod0a1b/crio-A", Some(("A", "cri-o")), None),
            ("/system.slice/containerd.service/kubepods-burstable-pod0a1b.slice:cri-containerd:A", Some(("A", "containerd")), Some("containerd.service")),
            ("/docker/A/kubelet.slice/kubelet-kubepods.slice/cri-containerd-B.scope", Some(("A", "docker")), None),
            ("/system.slice/nerdctl-A.scope", Some(("A", "")), Some("nerdctl-A.scope")),
            // lxc, lxd, proxmox; its monitor is no container
            ("/lxc.payload.web/system.slice/nginx.service", Some(("web", "lxc")), None),
            ("/lxc/101/ns/init.scope", Some(("101", "lxc")), None),
            ("/lxc.monitor.web", None, None),
            // nspawn and libvirt
            ("/machine.slice/systemd-nspawn@my\\x2dbox.service/payload", Some(("my-box", "nspawn")), Some("systemd-nspawn@my\\x2dbox.service")),
            ("/machine.slice/machine-deb12.scope", Some(("deb12", "nspawn")), Some("machine-deb12.scope")),
            ("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator", None, Some("machine-qemu\\x2d1\\x2dvm.scope")),
            ("/machine.slice", None, None),
        ];
        for (path, expected, service) in cases {
            let fill = |text: &str| text.split_inclusive(['/', '-', ':']).map(fill_element).collect::<String>();
            let path = fill(path);
            let found = container(&path);
            let found = found.as_ref().map(|it| (it.id.as_str(), it.runtime));
            let expected = expected.map(|(id, runtime)| (if id == "A" { A } else { id }, runtime));
            assert_eq!(found, expected, "container of {path}");
            assert_eq!(unit(&path), service.map(fill).as_deref(), "unit of {path}");
        }
    }

    /// Puts the ids in place of A and B.
    fn fill_element(element: &str) -> String {
        let at = element.find(['/', '.', '-', 'a']).unwrap_or(element.len());
        match &element[..at] {
            "A" => format!("{A}{}", &element[at..]),
            "B" => format!("{B}{}", &element[at..]),
            _ => element.to_owned(),
        }
    }

    #[test]
    fn escapes_of_systemd_are_undone() {
        for (escaped, plain) in [
            ("a\\x2db", "a-b"),
            ("a\\x2", "a\\x2"),
            ("a\\x+1", "a\\x+1"),
            ("\\xe4", "\\xe4"),
            ("\\xé", "\\xé"),
            ("a", "a"),
        ] {
            assert_eq!(unescape(escaped), plain);
        }
    }
}
