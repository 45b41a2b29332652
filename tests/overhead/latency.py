#!/usr/bin/env python3
"""The window in which a record can still be lost: from the return of the system call that creates a file to its record
being readable in the journal, which outlives the agent, in the spool's segment, and in the log.

A file sink is told of a batch after it was sealed and synced: the time to the log is the bound of "sealed and synced".
Ordinary files are made at random distances, so that they fall anywhere in the life of a batch; alerts likewise, once
while nothing else goes on, and under load: a compiler on all cores, and a process that does nothing but make, write,
rename and remove files. Then the sizes are asked for less often, or asking would be a load of its own.
The sizes of all files are polled; afterwards the place of each record tells when it was there. The journal is read
itself, for what is sealed leaves it.

  latency.py [--peer sigtrail,auditd] [--trials 100]
"""
import argparse, bisect, contextlib, glob, json, os, random, re, shlex, signal, subprocess, sys, time, uuid
import bench, peer, results

SETTLE = 7  # seconds after the last file: more than a batch may be old
HEAD = 20  # of a spool record: "STB1", length, batch, checksum (agent/src/spool/frame.rs)


class Sizes:
    """When each file had grown to which size."""

    def __init__(self, patterns):
        self.patterns, self.seen, self.late, self.listed = patterns, {}, 0, []

    def look(self):
        now = time.monotonic()
        if now > self.late:
            self.listed = [path for pattern in self.patterns for path in glob.glob(pattern)]
            self.late = now + 0.05
        for path in self.listed:
            try:
                stat = os.stat(path)
            except FileNotFoundError:
                continue
            grown = self.seen.setdefault(stat.st_ino, ([], []))
            if not grown[1] or stat.st_size > grown[1][-1]:
                grown[0].append(time.monotonic())
                grown[1].append(stat.st_size)

    def when(self, inode, size):
        """The first moment at which the file had this size."""
        times, sizes = self.seen.get(inode, ([], []))
        at = bisect.bisect_left(sizes, size)
        return times[at] if at < len(times) else None


def places(path, marks):
    """{mark: the size the file has when its record is whole}: a log of lines, or a segment of compressed batches."""
    data = open(path, "rb").read()
    found, at = {}, 0
    if not data.startswith(b"STB1"):
        return {mark: data.find(b"\n", i) + 1 for mark in marks if (i := data.find(mark)) >= 0}
    while data[at:at + 4] == b"STB1":
        end = at + HEAD + int.from_bytes(data[at + 4:at + 8], "little")
        text = subprocess.run(["zstd", "-dcq"], input=data[at + HEAD:end], stdout=subprocess.PIPE, check=True).stdout
        found.update({mark: end for mark in re.findall(rb"mark-[0-9a-f]{20}", text) if mark in marks and mark not in found})
        at = end
    return found


def read_all(pattern):
    """The bytes of the files that are there."""
    parts = []
    for path in glob.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            parts.append(open(path, "rb").read())
    return b"".join(parts)


def trials(prefix, count, gap, patterns, journal, pause):
    """{pattern: milliseconds of each file that was found there}. `journal`: a pattern of files to be read, or none;
    `pause`: seconds between two looks."""
    sizes, made, late = Sizes(patterns), {}, time.monotonic() + 1
    end, missing, kept = None, set(), []
    while end is None or time.monotonic() < end:
        sizes.look()
        if missing and journal:
            bytes_of = read_all(journal)
            there = {mark for mark in missing if mark in bytes_of}
            kept += [(time.monotonic() - made[mark]) * 1e3 for mark in there]
            missing -= there
        if len(made) < count and time.monotonic() >= late:
            mark = b"mark-" + uuid.uuid4().hex[:20].encode()
            path = "%s/%s%s" % (bench.SCRATCH, prefix, mark.decode())
            fd = os.open(path, os.O_CREAT | os.O_WRONLY)
            made[mark] = time.monotonic()
            os.close(fd)
            missing.add(mark)
            late = made[mark] + random.uniform(0.5, 1.5) * gap
            if len(made) == count:
                end = time.monotonic() + SETTLE
        time.sleep(pause)
    for mark in made:
        os.unlink("%s/%s%s" % (bench.SCRATCH, prefix, mark.decode()))
    found = {journal: kept} if journal else {}
    for pattern in patterns:
        took = found.setdefault(pattern, [])
        for path in glob.glob(pattern):
            inode = os.stat(path).st_ino
            for mark, size in places(path, made).items():
                when = sizes.when(inode, size)
                if when:
                    took.append((when - made[mark]) * 1e3)
    return found


def in_a_child(work):
    """Runs in a process that is younger than the peer: Linux audit only sees tasks made under its rules."""
    r, w = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.write(w, json.dumps(work()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(w)
    with os.fdopen(r) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    if not text:
        raise RuntimeError("the trials failed")
    return json.loads(text)


@contextlib.contextmanager
def load(argv):
    """Repeats a program until the end; none: nothing."""
    if not argv:
        yield
        return
    command = shlex.join(peer.sub(word, "") for word in argv)
    # the trials run at -10 (main): the load is an ordinary process
    started = subprocess.Popen(["nice", "-n", "10", "sh", "-c", "while :; do %s; done" % command], stdout=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        yield
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def spread(took, count):
    took = sorted(took)
    at = lambda share: round(took[min(int(len(took) * share), len(took) - 1)], 2)
    return {"found": len(took), "of": count, **({"p50": at(0.5), "p99": at(0.99), "max": round(took[-1], 2)} if took else {})}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--peer", default="sigtrail,auditd")
    ap.add_argument("--trials", type=int, default=100)
    ap.add_argument("--gap", type=float, default=0.2, help="mean seconds between two files")
    args = ap.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.nice(-10)
    bench.prepare()
    peers = json.load(open(bench.HERE / "peers.json"))
    # the last settings are those of the sink: under load its file must not be exchanged while it is looked at
    # and a sink that is never there keeps the segments
    peers["sigtrail"]["setup"] += " && echo '    rotate_bytes: 16GiB' >> {work}/sigtrail.yaml" \
        " && echo '  - { name: nobody, type: http, url: \"http://127.0.0.1:9/\" }' >> {work}/sigtrail.yaml" \
        " && echo 'policy: [{bench}/latency.yaml, {root}/policies/default.yaml]' >> {work}/sigtrail.yaml"
    for name in args.peer.split(","):
        it = peer.Peer(name, peers[name])
        try:
            it.start()
            patterns = {"log": peer.sub(peers[name]["log"][0], it.work)}
            if name == "sigtrail":
                patterns["segment"] = it.work + "/state/spool/*.stl"
                patterns["journal"] = "/dev/shm/run-sigtrail/journal-*"
            kinds = [
                ("ordinary", "", None, 1e-4),
                ("alert", "alert-", None, 1e-4),
                ("building", "alert-", bench.WORKLOADS["build"], 1e-3),
                ("flooded", "alert-", bench.WORKLOADS["file"], 1e-3),
            ]
            for what, prefix, busy, pause in kinds if len(patterns) > 1 else kinds[:1]:
                # reading what a flood leaves in the journal would be a load of its own
                sized = [pattern for name, pattern in patterns.items() if name != "journal"]
                journal = None if busy else patterns.get("journal")
                with load(busy):
                    found = in_a_child(lambda: trials(prefix, args.trials, args.gap, sized, journal, pause))
                for where, pattern in patterns.items():
                    if pattern not in found:
                        continue
                    row = spread(found[pattern], args.trials)
                    print("%-10s %-9s in the %-8s %s" % (name, what, where, row), flush=True)
                    results.merge("latency", {"%s/%s/%s" % (name, what, where): row})
        finally:
            it.cleanup()


if __name__ == "__main__":
    main()
