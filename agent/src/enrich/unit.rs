//! The systemd unit that a control group path names.

/// Types of unit that hold processes or stand for them (systemd.unit(5)); slices only group others.
const TYPES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// The system unit of a control group path, by the rules of sd_pid_get_unit(3): the first element below the slices.
///
/// - It is the unit that PID 1 knows. A process of a user's own unit has the unit `user@UID.service`: users name
///   their units as they like, so that `sshd.service` below it would be a lie about the host. The path tells the rest.
/// - The name is kept as systemctl(1) takes it, `\x2d` included: unescaped, two units could have one name.
pub fn unit(path: &str) -> Option<&str> {
    let element = path.split('/').filter(|element| !element.is_empty()).find(|element| !is_slice(element))?;
    // systemd puts `_` before names that a control file of the kernel could have, see systemd's cg_escape
    let name = element.strip_prefix('_').unwrap_or(element);
    is_unit(name).then_some(name)
}

fn is_slice(element: &str) -> bool {
    element.strip_suffix(".slice").is_some_and(is_name)
}

fn is_unit(name: &str) -> bool {
    TYPES.iter().any(|ty| name.strip_suffix(ty).is_some_and(is_name))
}

/// The letters of unit names, see systemd.unit(5).
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte))
}
