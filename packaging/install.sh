#!/bin/sh
# Installs sigtrail from this folder, without a package manager; a second time is an upgrade.
set -eu

usage="usage: install.sh [--root DIR] [--uninstall] [sigtrail | sigtrail-receive]

  --root DIR     below DIR and not below /; then no user is made and nothing is started
  --uninstall    stops the service and removes what was installed; keys, spool, log files and configuration stay"

root=
action=install
name=sigtrail
while [ $# -gt 0 ]; do
    case $1 in
    --root)
        root=${2:?"$usage"}
        shift
        ;;
    --uninstall) action=uninstall ;;
    sigtrail | sigtrail-receive) name=$1 ;;
    *)
        echo "$usage" >&2
        exit 3
        ;;
    esac
    shift
done
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/$name"

# a service of this host, which systemd runs
live() {
    [ -z "$root" ] && [ -d /run/systemd/system ]
}

put() {
    mode=$(stat -c %a "$1")
    case $1 in
    ./etc/*)
        if [ -e "$root/$1" ]; then
            if ! cmp -s "$1" "$root/$1"; then
                install -D -m "$mode" "$1" "$root/$1.new"
                echo "$name: ${1#.} stays as it is; the new one is ${1#.}.new"
            fi
            return
        fi
        ;;
    esac
    # a new file in place of the old one: the old may be running
    install -D -m "$mode" "$1" "$root/$1.part"
    mv -f "$root/$1.part" "$root/$1"
}

install_all() {
    before=
    [ -e "$root/usr/bin/$name" ] && before=yes
    find . -type f | sort | while read -r file; do
        put "$file"
    done
    if [ -n "$root" ]; then
        echo "$name: installed below $root"
        return
    fi
    if [ "$name" = sigtrail ]; then
        /usr/libexec/sigtrail/service prepare
        /usr/libexec/sigtrail/service enrol
    else
        if command -v systemd-sysusers >/dev/null; then
            systemd-sysusers /usr/lib/sysusers.d/sigtrail-receive.conf
        else
            getent passwd sigtrail-receive >/dev/null ||
                useradd --system --user-group --no-create-home --shell /usr/sbin/nologin sigtrail-receive
        fi
        install -d -m 0700 -o sigtrail-receive -g sigtrail-receive /var/lib/sigtrail-receive
    fi
    if ! live; then
        echo "$name: installed; systemd does not run here, so nothing was started"
        return
    fi
    systemctl daemon-reload
    if [ -z "$before" ]; then
        systemctl --quiet enable --now "$name.service"
    elif [ "$name" = sigtrail ]; then
        /usr/libexec/sigtrail/service hand-over
    else
        systemctl try-restart "$name.service"
    fi
}

uninstall_all() {
    if live; then
        systemctl --quiet disable --now "$name.service"
    fi
    if [ -z "$root" ] && [ -x /usr/libexec/sigtrail/service ] && [ "$name" = sigtrail ]; then
        /usr/libexec/sigtrail/service detach
    fi
    find . -type f ! -path './etc/*' | while read -r file; do
        rm -f "$root/$file"
    done
    # the folders that are ours alone
    find . -depth -type d -name "$name" ! -path './etc/*' | while read -r dir; do
        if [ -d "$root/$dir" ]; then
            rmdir --ignore-fail-on-non-empty "$root/$dir"
        fi
    done
    if live; then
        systemctl daemon-reload
    fi
    echo "$name: removed; /etc/$name, /var/lib/$name and /var/log/$name stay"
}

if [ "$action" = install ]; then install_all; else uninstall_all; fi
