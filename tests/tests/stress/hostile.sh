# hostile.sh stress-ng|trinity SECONDS: run by nobody, as root of fresh namespaces (user, mount, pid, net, ipc, uts).
# What it writes goes to memory of its own, and in the end it is an ordinary user there too.
set -eu
for at in /tmp /dev/shm /var/tmp; do mount -t tmpfs -o size=256m,mode=1777 tmpfs "$at"; done
mount -t proc proc /proc
ip link set lo up
cd /tmp
case $1 in
stress-ng)
    exec unshare --user --map-user=1000 --map-group=1000 \
        stress-ng --timeout "$2" --temp-path /tmp --metrics-brief \
        --exec 1 --fork 1 --vfork 1 --clone 1 --open 1 --chmod 1 --link 1 --symlink 1 --rename 1 --dir 1 \
        --sock 1 --sockfd 1 --udp 1 --enosys 1 --sysbadaddr 1 --kill 1 --mmap 1 --mmap-bytes 64m
    ;;
trinity)
    # of sockets it makes PF_INET only: with other families trinity 2023.01 itself crashes. It ends at any time by itself.
    exec unshare --user --map-user=1000 --map-group=1000 sh -c '
        until=$(($(date +%s) + $1))
        while left=$((until - $(date +%s))); [ "$left" -gt 0 ]; do
            timeout --signal=INT --kill-after=5 "$left" trinity -q -l off -C 4 -P PF_INET 2>&1 | grep "^.main. Ran" || true
        done' trinity "$2"
    ;;
esac
