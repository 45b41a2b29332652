//! Install, upgrade, remove and purge, with the real tools.

use std::{fs, path::Path};

use crate::done;

/// Functions of the scripts.
const WORDS: &str = r#"
is() { if [ "$1" != "$2" ]; then echo "'$1' and not '$2'"; exit 1; fi; }
about() { stat -c '%U:%G %a' "$1"; }
gone() { for path; do if [ -e "$path" ]; then echo "$path is there"; exit 1; fi; done; }
there() { for path; do if [ ! -e "$path" ]; then echo "$path is not there"; exit 1; fi; done; }
"#;

/// What must be true of every installed agent, however it came.
const INSTALLED: &str = r#"
is "$(about /etc/sigtrail)" "root:sigtrail 750"
is "$(about /etc/sigtrail/sigtrail.yaml)" "root:sigtrail 640"
is "$(about /var/lib/sigtrail)" "sigtrail:sigtrail 700"
is "$(about /var/log/sigtrail)" "sigtrail:sigtrail 750"
is "$(about /var/lib/sigtrail/enrolment)" "sigtrail:sigtrail 644"
is "$(about /var/lib/sigtrail/chain)" "sigtrail:sigtrail 600"
setpriv --reuid=sigtrail --regid=sigtrail --init-groups sigtrail config --check /etc/sigtrail/sigtrail.yaml
sigtrail policy check /usr/share/sigtrail/policies/default.yaml
test "$(readlink -f /etc/systemd/system/sysinit.target.wants/sigtrail.service)" -ef /usr/lib/systemd/system/sigtrail.service
sigtrail-verify --version
"#;

/// Starts an agent on the real kernel with the default configuration, and kills it when its programs are pinned.
const KILLED: &str = r"
sigtrail run --config /etc/sigtrail/sigtrail.yaml 2>/tmp/agent &
agent=$!
turn=0
until [ -e /var/log/sigtrail/audit.ndjson ] || [ $turn = 300 ]; do turn=$((turn + 1)); sleep 0.2; done
kill -KILL $agent
wait $agent || true
there /var/log/sigtrail/audit.ndjson
";

#[test]
fn a_deb_comes_and_goes() {
    let out = done(&format!(
        r#"{WORDS}
dpkg -i sigtrail_*.deb
{INSTALLED}
key=$(cat /var/lib/sigtrail/host.vkey)
{KILLED}

# an upgrade to a package that brings another configuration; ours was changed
dpkg-deb -R sigtrail_*.deb new
sed -i 's/^Version: .*/Version: 0.1.0-2/' new/DEBIAN/control
echo '# theirs' >> new/etc/sigtrail/sigtrail.yaml
rm -f new/DEBIAN/md5sums
dpkg-deb -b -Znone new new.deb
echo '# ours' >> /etc/sigtrail/sigtrail.yaml
dpkg -i --force-confold new.deb
is "$(dpkg-query -W -f '${{Version}}' sigtrail)" 0.1.0-2
is "$(tail -n 1 /etc/sigtrail/sigtrail.yaml)" '# ours'
is "$(about /etc/sigtrail/sigtrail.yaml)" "root:sigtrail 640"
is "$(cat /var/lib/sigtrail/host.vkey)" "$key"

dpkg -r sigtrail
gone /usr/bin/sigtrail /usr/libexec/sigtrail
there /etc/sigtrail/sigtrail.yaml /var/log/sigtrail/audit.ndjson
dpkg -P sigtrail
gone /etc/sigtrail
is "$(cat /var/lib/sigtrail/host.vkey)" "$key"

dpkg -i new.deb
is "$(cat /var/lib/sigtrail/host.vkey)" "$key"
touch /etc/sigtrail/purge-evidence
dpkg -P sigtrail
gone /etc/sigtrail /var/lib/sigtrail /var/log/sigtrail

SIGTRAIL_NO_ENROL=1 dpkg -i new.deb
gone /var/lib/sigtrail/host.vkey
SIGTRAIL_PURGE_EVIDENCE=1 dpkg -P sigtrail
gone /etc/sigtrail /var/lib/sigtrail /var/log/sigtrail
"#
    ));
    for said in ["the enrolment note of this host is in /var/lib/sigtrail/enrolment", "detached", "it is evidence"] {
        assert!(out.contains(said), "nobody said {said:?}:\n{out}");
    }
}

#[test]
fn an_rpm_comes_and_goes() {
    done(&format!(
        r#"{WORDS}
rpm() {{ command rpm --force-debian --nodeps --nosignature "$@"; }}
rpm -i sigtrail-0*.rpm
{INSTALLED}
{KILLED}
key=$(cat /var/lib/sigtrail/host.vkey)
echo '# ours' >> /etc/sigtrail/sigtrail.yaml
rpm -U --replacepkgs sigtrail-0*.rpm
is "$(tail -n 1 /etc/sigtrail/sigtrail.yaml)" '# ours'
is "$(about /etc/sigtrail/sigtrail.yaml)" "root:sigtrail 640"
is "$(cat /var/lib/sigtrail/host.vkey)" "$key"
rpm -e sigtrail | tee said
grep -q 'it is evidence' said
grep -q detached said
gone /usr/bin/sigtrail /etc/systemd/system/sysinit.target.wants/sigtrail.service
there /etc/sigtrail/sigtrail.yaml.rpmsave
is "$(cat /var/lib/sigtrail/host.vkey)" "$key"
"#
    ));
}

#[test]
fn the_archive_comes_and_goes() {
    done(&format!(
        r#"{WORDS}
sha256sum --check --strict SHA256SUMS
tar xzf sigtrail-*.tar.gz
cd sigtrail-*-linux
./install.sh --root /elsewhere
is "$(stat -c %a /elsewhere/etc/sigtrail/sigtrail.yaml)" 640
is "$(stat -c %a /elsewhere/usr/bin/sigtrail)" 755
(cd /elsewhere; find . -type f | sort) > first
echo '# ours' >> /elsewhere/etc/sigtrail/sigtrail.yaml
./install.sh --root /elsewhere
(cd /elsewhere; find . -type f ! -name '*.new' | sort) > second
cmp first second
is "$(tail -n 1 /elsewhere/etc/sigtrail/sigtrail.yaml)" '# ours'
there /elsewhere/etc/sigtrail/sigtrail.yaml.new
./install.sh --root /elsewhere --uninstall
is "$(cd /elsewhere; find . -type f | sort | tr '\n' ' ')" './etc/sigtrail/sigtrail.yaml ./etc/sigtrail/sigtrail.yaml.new '

./install.sh
# nothing is enabled where systemd does not run
mkdir -p /etc/systemd/system/sysinit.target.wants
ln -sf /usr/lib/systemd/system/sigtrail.service /etc/systemd/system/sysinit.target.wants/sigtrail.service
{INSTALLED}
./install.sh --uninstall
gone /usr/bin/sigtrail /usr/libexec/sigtrail
there /var/lib/sigtrail/host.vkey
"#
    ));
}

#[test]
fn a_receiver_comes_and_goes() {
    done(&format!(
        r#"{WORDS}
dpkg -i sigtrail-receive_*.deb
is "$(about /var/lib/sigtrail-receive)" "sigtrail-receive:sigtrail-receive 700"
there /etc/sigtrail-receive/enrolments /etc/sigtrail-receive/trust /etc/default/sigtrail-receive
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=receiver -keyout /etc/sigtrail-receive/server.key \
    -out /etc/sigtrail-receive/server.pem 2>/dev/null
chgrp sigtrail-receive /etc/sigtrail-receive/server.key
chmod 640 /etc/sigtrail-receive/server.key
# the line of the unit, as its user; another port, for 8443 may be somebody else's
. /etc/default/sigtrail-receive
line=$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/sigtrail-receive.service | sed "s|\$OPTIONS|$OPTIONS|")
line=$(echo "$line" | sed 's|0.0.0.0:8443|127.0.0.1:0|')
setpriv --reuid=sigtrail-receive --regid=sigtrail-receive --init-groups $line >said 2>&1 &
receiver=$!
turn=0
until grep -q receiving said || [ $turn = 100 ]; do turn=$((turn + 1)); sleep 0.1; done
kill $receiver
wait $receiver
grep receiving said
dpkg -P sigtrail-receive
there /var/lib/sigtrail-receive/witness.vkey
"#
    ));
}

#[test]
fn the_readme_says_how_to_install() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("README.md")).unwrap();
    let (_, section) = page.split_once("\n## Install as a service\n").unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    // the first line makes the packages, which are there
    let (make, commands) = block.split_once('\n').unwrap();
    assert_eq!(make, "cargo xtask package && cd target/package");
    let out = done(&commands.replace("sudo ", ""));
    assert!(out.contains("sigtrail/enrol/v1"), "{out}");
}
