#!/bin/bash
# The break-in of tests/review/web-1.lines, played to an agent in name spaces of its own:
#   SIGTRAIL=…/sigtrail unshare -m -u bash scene.sh DIR
# The lines of DIR/audit.ndjson without seals and enrolment are the records; cgroups, ancestors and the day were renamed.
set -e
hostname web-1
D=/srv
mount -t tmpfs -o mode=755 tmpfs $D
mkdir -p $D/shop/upload $D/audit
printf 'root:x:0:0::/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\nbob:x:1001:1001::/home/bob:/bin/bash\n' > $D/passwd
mount --bind $D/passwd /etc/passwd
echo 'DB_PASSWORD=x' > $D/shop/secret.env; chmod 600 $D/shop/secret.env
cp /bin/dash $D/shop/rootsh; chmod 4755 $D/shop/rootsh
chown 1000 $D/shop/upload
echo '<h1>shop</h1>' > $D/shop/index.html
cat > $D/audit/policy.yaml <<P
version: 1
rules:
  - id: secrets
    title: Somebody without the right to it wants the password of the shop
    kinds: [open]
    selection: { path: /srv/shop/secret.env }
    condition: selection
    verdict: alert
  - id: root-by-setuid
    title: A login of a person runs as root
    kinds: [exec]
    selection: { auid: [1000, 1001], euid: 0 }
    condition: selection
    verdict: alert
  - id: noise
    kinds: [open]
    title: What is only read
    selection: { access: read, success: true }
    condition: selection
    verdict: drop
  - id: not-found
    kinds: [open]
    title: What is not there
    selection: { errno: ENOENT }
    condition: selection
    verdict: drop
  - id: people
    title: All that people do
    kinds: [exec, fork, exit, open, connect, unlink, rename, chmod, chown, modify, kill, setid, memfd_create]
    selection: { auid: [1000, 1001] }
    condition: selection
    verdict: keep
default: drop
P
cat > $D/audit/sigtrail.yaml <<P
state_dir: /srv/audit/state
runtime_dir: /srv/audit/run
origin: web-1.example.org/sigtrail
policy: [/srv/audit/policy.yaml]
kernel: { pin: no }
seal: { max_age: 2s }
sinks: [{ type: file, name: file, dir: /srv/audit/log, compress: false }]
P
$SIGTRAIL run --config $D/audit/sigtrail.yaml > $D/audit/said 2>&1 &
agent=$!
for i in $(seq 100); do $SIGTRAIL status --config $D/audit/sigtrail.yaml >/dev/null 2>&1 && break; sleep 0.5; done
cd $D/shop
env -i PATH=/usr/bin:/bin /usr/bin/python3 -m http.server -d $D/shop -b 127.0.0.1 8731 > /dev/null 2>&1 & web=$!
sleep 3
cat > $D/alice.sh <<'S'
id > /dev/null
cd /srv/shop
cat secret.env
curl -s -o upload/page.html http://127.0.0.1:8731/index.html
mv upload/page.html 'upload/a page.html'
chmod 600 'upload/a page.html'
curl -s --max-time 2 http://192.0.2.7:443/ 
./rootsh -p -c 'id; cat secret.env > upload/stolen; chown 1000 upload/stolen; rm index.html'
rm upload/stolen
S
cat > $D/bob.sh <<'S'
cd /srv/shop/upload
touch bob.txt
(sleep 30 & kill $!)
cat /srv/shop/secret.env
S
ip link set lo up 2>/dev/null || true
session() { ( echo $1 > /proc/self/loginuid; exec env -i PATH=/usr/bin:/bin HOME=/ setpriv --reuid $1 --regid $1 --clear-groups bash $2 ) > /dev/null 2>&1 || true; }
session 1000 $D/alice.sh
sleep 2
session 1001 $D/bob.sh
sleep 4
kill $web || true; kill -TERM $agent || true; wait $agent || true
cp $D/audit/log/* "$1"
