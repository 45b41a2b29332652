# What an operator does with a package, in a Debian with a real systemd. Run by tests/guest/image.sh's unit.
#
# Each step is a function; it fails with the first command that fails. A line for each: `vm: pass NAME SECONDS`.
# All that a step said is in NAME.log beside the packages. Below /host: first.deb, second.deb, sigtrail-receive.
set -u
log=/var/log/sigtrail
state=/var/lib/sigtrail
load=/srv/load
# Emulation is slow, and slower beside other work: how long anything may take, in seconds.
limit=400
archive=/var/lib/receive/state/hosts/*/log

now() { cut -d' ' -f1 /proc/uptime; }
# seconds of the monotonic clock between two readings
between() { awk "BEGIN { printf \"%.1f\", $2 - $1 }"; }
fail() {
    echo "$*"
    return 1
}
# waits for a command to be true; quietly, it is asked often
until_true() {
    local trace=$- end=$(($(cut -d. -f1 /proc/uptime) + limit))
    set +x
    until "$@" 2>/dev/null; do
        [ "$(cut -d. -f1 /proc/uptime)" -lt "$end" ] || fail "not within $limit s: $*" || return 1
        sleep 2
    done
    [[ $trace != *x* ]] || set -x
}
status() { sigtrail status --json --config /etc/sigtrail/sigtrail.yaml; }
answers() { status >/dev/null 2>&1; }
agent() { systemctl show --value --property MainPID sigtrail; }
runs_anew() { [ "$(agent)" != 0 ] && [ "$(agent)" != "$1" ] && answers; }
# records FILTER: the lines of the log that jq takes
records() { cat $log/*.ndjson | jq -cR "fromjson? | select($1)"; }
any() { [ -n "$(records "$1" | head -n 1)" ]; }

install() {
    # the time that the kernel takes to verify the programs is not what this is about
    mkdir -p /etc/systemd/system/sigtrail.service.d
    printf '[Service]\nTimeoutStartSec=%s\nTimeoutStopSec=%s\nWatchdogSec=%s\n' $limit $limit $limit >/etc/systemd/system/sigtrail.service.d/slow.conf
    # installed, not started: as where an operator configures first (invoke-rc.d(8))
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    dpkg -i /host/first.deb
    rm /usr/sbin/policy-rc.d
    id sigtrail
    systemctl is-enabled sigtrail
    [ -s $state/host.vkey ] || fail "not enrolled"
    [ "$(stat -c '%a %U %G' /etc/sigtrail/sigtrail.yaml)" = "640 root sigtrail" ] || fail "the configuration is open"
    [ "$(stat -c '%a %U' $state)" = "700 sigtrail" ] || fail "the state is open: $(stat -c '%a %U' $state)"
}

# A receiver that verifies and cosigns, and a web server that can be told to say no.
receivers() {
    mkdir -p /var/lib/receive /etc/sigtrail $load
    cd /var/lib/receive
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 20000 -subj /CN=ca -keyout ca.key -out /etc/sigtrail/ca.pem
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout server.key -out server.csr
    openssl x509 -req -in server.csr -CA /etc/sigtrail/ca.pem -CAkey ca.key -days 20000 -out server.pem \
        -extfile <(echo subjectAltName=DNS:localhost)
    chmod 644 /etc/sigtrail/ca.pem
    echo "host $(cat $state/host.vkey)" >trust
    cp /host/sigtrail-receive /usr/local/bin/
    systemd-run --unit=receive sigtrail-receive --state-dir /var/lib/receive/state --name receiver.example.org/guest \
        --cert /var/lib/receive/server.pem --key /var/lib/receive/server.key --trust /var/lib/receive/trust
    cat >/etc/nginx/nginx.conf <<END
events {}
http {
    access_log /run/requests;
    server {
        listen 127.0.0.1:8080;
        client_max_body_size 64m;
        add_header Retry-After 60 always;
        if (-e /run/down) { return 503; }
        return 200;
    }
}
END
    systemd-run --unit=web nginx -g 'daemon off;'
    cat >/etc/sigtrail/sigtrail.yaml <<END
sinks:
  - { name: log, type: file, dir: $log, compress: false }
  - { name: receiver, type: http, url: "https://localhost:8443/batches", ca_file: /etc/sigtrail/ca.pem }
  - { name: web, type: http, url: "http://127.0.0.1:8080/", ca_file: /etc/sigtrail/ca.pem, required: false }
END
    sigtrail config --check /etc/sigtrail/sigtrail.yaml
}

start() {
    systemctl start sigtrail
    systemctl is-active sigtrail
    until_true answers
    status
    systemd-analyze security --no-pager sigtrail.service | tail -n 1
    [ "$(ps -o user= -p "$(agent)")" = sigtrail ] || fail "the agent is $(ps -o user= -p "$(agent)")"
    until_true any '.kind == "agent.start"'
    records '.kind == "agent.start"'
    any '.kind == "agent.start" and .pinned == true' || fail "not pinned: the next run will miss something"
}

# What was done is in the log, and the log is at the receiver.
activity() {
    cp /bin/true /usr/local/bin/scripted
    scripted one two
    echo text >$load/made
    chmod 600 $load/made
    mv $load/made $load/moved
    rm $load/moved
    curl --silent --max-time 2 http://127.0.0.1:9/ || true
    until_true any '.kind == "connect" and .peer.port == 9'
    any '.kind == "exec" and .path == "/usr/local/bin/scripted" and .argv[2] == "two"' || fail "no exec"
    any ".kind == \"open\" and .path == \"$load/made\" and .created" || fail "no open"
    any ".kind == \"chmod\" and .path == \"$load/made\"" || fail "no chmod"
    any ".kind == \"rename\" and .target == \"$load/moved\"" || fail "no rename"
    any ".kind == \"unlink\" and .path == \"$load/moved\"" || fail "no unlink"
    proved
}

# The log verifies, and what the receiver has continues to the very head that it has now.
proved() {
    sigtrail-verify --key $state/host.vkey $log
    sigtrail-verify --json --key $state/host.vkey $log | jq -er .last.line >/run/head
    until_true received
    sigtrail-verify --key $state/host.vkey --known-head /run/head $archive | tail -n 2
}
received() { sigtrail-verify --key $state/host.vkey --known-head /run/head $archive >/dev/null; }

# numbered NAME COMMAND…: numbered programs and files while the command runs
numbered() {
    local lost count files summed
    lost=$(lost)
    mkdir -p "$load/$1"
    cp /bin/true "/usr/local/bin/$1"
    rm -f /run/enough
    systemd-run --quiet --unit="load-$1" bash -c "n=0
        while [ ! -e /run/enough ]; do
            /usr/local/bin/$1 \$n
            : >$load/$1/\$n
            n=\$((n + 1))
        done
        echo \$n >/run/$1.count"
    sleep 3
    "${@:2}"
    sleep 5
    touch /run/enough
    until_true test -s "/run/$1.count"
    count=$(cat "/run/$1.count")
    until_true any ".kind == \"open\" and .path == \"$load/$1/$((count - 1))\""
    seq 0 $((count - 1)) >/run/expected
    records ".kind == \"exec\" and .path == \"/usr/local/bin/$1\"" | jq -r '.argv[1]' | sort -n >/run/programs
    records ".kind == \"open\" and .created and (.path | strings | startswith(\"$load/$1/\"))" | jq -r '.path' | sed 's,.*/,,' | sort -n >/run/files
    lost=$(($(lost) - lost))
    files=$(wc -l </run/files)
    # what waited in the ring comes at once, and a flood of files is told by its number
    summed=$(records ".kind == \"summary\" and .of == \"open\" and (.sample.path | strings | startswith(\"$load/$1/\"))" | sum)
    echo "$count numbers: in the log $(wc -l </run/programs) programs, $files files and $summed in summaries; $lost told as lost"
    records '.kind == "agent.lost" or .kind == "agent.handover" or .kind == "agent.recovered" or .kind == "agent.stop"' | tail -n 6
    diff /run/expected /run/programs
    [ -z "$(uniq -d /run/files)" ] || fail "twice: $(uniq -d /run/files)"
    # what a killed agent had taken out of the ring of files and not yet written down is lost, and told
    [ $((files + summed)) -le "$count" ] || fail "files are told twice"
    [ $((files + summed + lost)) -ge "$count" ] || fail "files are missing: $(diff /run/expected /run/files)"
    proved
}
lost() { records '.kind == "agent.lost"' | sum; }
sum() { jq -s 'map(.count | tonumber) | add // 0'; }

upgrade() {
    numbered upgrading upgraded
    [ "$(stat -c %s /etc/sigtrail/sigtrail.yaml)" -lt 600 ] || fail "the configuration was replaced"
}
upgraded() {
    local before
    before=$(agent)
    dpkg -i /host/second.deb
    until_true runs_anew "$before"
}

killed() { numbered killing kill_it; }
kill_it() {
    local before
    before=$(agent)
    systemctl kill -s KILL sigtrail
    until_true runs_anew "$before"
}

# Somebody takes the way from the system call to our program away: mended, and told.
blinded() {
    local programs
    programs=$(find /sys/fs/bpf/sigtrail -name map_PROGRAMS | head -n 1)
    # kind 4 is open
    bpftool map delete pinned "$programs" key 4 0 0 0
    : >$load/blind
    until_true any '.kind == "agent.hook" and .hook == "open" and .state == "restored"'
    : >$load/seeing
    until_true any ".kind == \"open\" and .path == \"$load/seeing\""
    any ".kind == \"open\" and .path == \"$load/blind\"" && fail "nothing was taken away"
    records '.kind == "agent.hook"'
    proved
}

# An agent that does nothing is no agent.
watchdog() {
    local before
    # ample for an agent that is well
    with_watchdog 60
    before=$(agent)
    sleep 70
    [ "$(agent)" = "$before" ] || fail "a healthy agent was restarted"
    kill -STOP "$before"
    until_true runs_anew "$before"
    journalctl --quiet --unit sigtrail --grep 'Watchdog timeout'
    with_watchdog $limit
    any '.kind == "agent.recovered"'
    proved
}
# the agent hands over to itself with another time of the watchdog
with_watchdog() {
    local before
    before=$(agent)
    sed -i "s/^WatchdogSec=.*/WatchdogSec=$1/" /etc/systemd/system/sigtrail.service.d/slow.conf
    systemctl daemon-reload
    systemctl kill --kill-who=main --signal=USR2 sigtrail
    until_true runs_anew "$before"
}

# The wall clock steps while a receiver that said "not before 60 s" is down. Only a suspend cannot be had here.
clock() {
    local pid asked began cpu back
    pid=$(agent)
    touch /run/down
    : >$load/clock
    until_true refused 1
    asked=$(grep -c ' 503 ' /run/requests)
    began=$(now)
    cpu=$(cpu_of "$pid")
    # an hour and ten years, there and back
    for seconds in 3600 -3600 315360000 -315360000; do
        date --set "@$(($(date +%s) + seconds))"
        : >"$load/clock$seconds"
        sleep 6
    done
    [ "$(grep -c ' 503 ' /run/requests)" = "$asked" ] || fail "asked before its time: $(between "$began" "$(now)") s"
    until_true refused $((asked + 1))
    back=$(between "$began" "$(now)")
    cpu=$(($(cpu_of "$pid") - cpu))
    echo "asked again after $back s; $cpu hundredths of a second of CPU"
    awk "BEGIN { exit !($back > 55 && $back < 100) }" || fail "Retry-After was 60 s"
    awk "BEGIN { exit !($cpu < $back * 50) }" || fail "it is busy"
    rm /run/down
    [ "$(agent)" = "$pid" ] || fail "the agent was restarted"
    until_true any '.kind == "agent.clock_step" and (.nanoseconds | tonumber) < -300000000000000000'
    records '.kind == "agent.clock_step"' | jq -r '"step of \(.nanoseconds) ns"'
    [ "$(records '.kind == "agent.clock_step"' | wc -l)" = 4 ] || fail "not four steps"
    proved
}
refused() { [ "$(grep -c ' 503 ' /run/requests)" -ge "$1" ]; }
# user and system time of a process, in hundredths of a second
cpu_of() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

purge() {
    cp $state/host.vkey /run/host.vkey
    dpkg --purge sigtrail
    sleep 1
    [ -z "$(find /sys/fs/bpf/sigtrail -type f 2>/dev/null)" ] || fail "names are left: $(find /sys/fs/bpf/sigtrail)"
    [ -z "$(bpftool --json prog show | jq -r '.[] | select(.uid != 0 or .name == "sys_exit") | .name')" ] || fail "programs are left: $(bpftool prog show)"
    [ ! -e /usr/bin/sigtrail ] || fail "the program is left"
    [ ! -e /etc/sigtrail/sigtrail.yaml ] || fail "the configuration is left"
    cp /host/sigtrail-verify /run/
    /run/sigtrail-verify --key /run/host.vkey $log
    # what all sinks have is gone from the spool: incomplete (2), which is not tampered with (1)
    /run/sigtrail-verify --key /run/host.vkey $state/spool || [ $? = 2 ]
}

steps="install receivers start activity upgrade killed blinded watchdog clock purge"

say() { echo "vm: $*"; }
say boot "$(uname -r), systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'), up $(now) s"
for step in $steps; do
    began=$(now)
    # not as the condition of an if: there -e has no effect
    (set -euxo pipefail; "$step") >"/host/$step.log" 2>&1
    code=$?
    if [ $code = 0 ]; then
        say pass "$step" "$(between "$began" "$(now)")"
    else
        say fail "$step" "$(between "$began" "$(now)")"
        tail -n 15 "/host/$step.log"
        journalctl --boot --no-pager >"/host/journal.log"
        [ "$step" != install ] || break
    fi
done
journalctl --boot --no-pager >/host/journal.log
cp $log/*.ndjson /host/
say end
