#!/usr/bin/env python3
"""Count what a peer captured of the bench workload: count.py PEER FILE... -> JSON on stdout.

Keys of "captured" are exec, open_w, rename, chmod, unlink, connect, accept, bind; "lost" is the peer's own
loss counter if it has one in its log.
"""
import collections, json, os, re, subprocess, sys
import results

OURS = ("wl", "nop")
PLACE = str(results.BIN).encode()  # others may run a program of the same name
KINDS = ("exec", "rename", "chmod", "unlink", "connect", "accept", "bind")
NR = {59: "exec", 322: "exec", 257: "open_w", 2: "open_w", 85: "open_w", 437: "open_w",
      82: "rename", 264: "rename", 316: "rename", 87: "unlink", 263: "unlink", 90: "chmod",
      91: "chmod", 268: "chmod", 42: "connect", 43: "accept", 288: "accept", 49: "bind"}
WRITES = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"}


def lines(path):
    """The lines of a log, which may be compressed after its rotation."""
    if path.endswith(".zst"):
        with subprocess.Popen(["zstd", "-dcq", path], stdout=subprocess.PIPE) as unpacked:
            yield from unpacked.stdout
        if unpacked.returncode:
            raise RuntimeError("%s: zstd says %d" % (path, unpacked.returncode))
    else:
        with open(path, "rb") as plain:
            yield from plain


def auditd(files):
    c = collections.Counter()
    total = 0
    rx = re.compile(rb'type=SYSCALL .*? syscall=(\d+) success=(\w+).* comm="?([^" ]+)')
    for f in files:
        for line in lines(f):
            if not line.startswith(b"type=SYSCALL"):
                continue
            total += 1
            m = rx.match(line)
            if m and PLACE in line and m.group(3).decode() in OURS and m.group(2) == b"yes":
                k = NR.get(int(m.group(1)))
                if k:
                    c[k] += 1
    return c, {"events_total": total}


def bpftrace(files):
    """Lines of cov.bt: `kind pid comm ... ret`; what it lost, it says without the kind."""
    c = collections.Counter()
    total = lost = 0
    for f in files:
        for line in lines(f):
            words = line.split()
            if words[:1] == [b"Lost"]:
                lost += int(words[1])
            if len(words) < 4 or words[0].decode() not in (*KINDS, "open_w"):
                continue
            total += 1
            if words[2].decode(errors="replace") in OURS and int(words[-1]) >= 0:
                c[words[0].decode()] += 1
    return c, {"events_total": total, "lost": lost}


def sigtrail(files):
    c = collections.Counter()
    total = lost = 0
    for f in files:
        for line in lines(f):
            if line.startswith(b'{"sigtrail":'):
                continue  # a seal, not a record
            record = json.loads(line)
            kind = record.get("kind")
            many = 1
            if kind == "summary":  # stands for many events of one process and kind, and has the first of them whole
                many, record = int(record["count"]), record["sample"]
                kind = record["kind"]
            total += many
            if kind == "agent.lost":
                lost += int(record.get("count", 0))
            if PLACE not in line or record.get("comm") not in OURS or record.get("ret", 0) < 0:
                continue
            if kind == "open" and WRITES & set(record.get("flags", "").split("|")):
                c["open_w"] += many
            elif kind in KINDS:
                c[kind] += many
    return c, {"events_total": total, "lost": lost}


if __name__ == "__main__":
    count = {"auditd": auditd, "bpftrace": bpftrace, "sigtrail": sigtrail}[sys.argv[1]]
    captured, extra = count([f for f in sys.argv[2:] if os.path.isfile(f)])
    print(json.dumps({"captured": dict(captured), **extra}))
