#!/usr/bin/env python3
"""Paired benchmark of host audit agents; `cargo xtask bench` runs it.

A round runs the workload M times without a peer and M times with each peer, the order turned every round, so that
ratios hold on a noisy machine and all peers share one baseline. Reported: slowdown of wall and of the workload's own
CPU time, the peer's CPU per 1,000 expected events, both added up per event, events per second reached, peak memory,
events captured against events known to have happened, loss, log bytes per event, and the time the peer needed to drain.

Two traps, both checked here: once Linux audit was ever enabled, every later task pays for an audit context
unless a `-a never,task` rule is loaded; and one forgotten tracer slows every system call of the host (a
baseline with foreign programs is refused).

  bench.py --peer sigtrail,auditd --workload exec,file
  bench.py --peer mine --start './agent --config c.toml --out {work}/log.jsonl' \
      --ready 'grep -q attached {work}/peer.err' --log '{work}/log.jsonl' \
      --count 'python3 {bench}/count.py sigtrail {work}/log.jsonl' --workload file
"""
import argparse, glob, json, os, pathlib, resource, signal, statistics, subprocess, sys, time
import results
from peer import HERE, Peer, alone, sh, sub

SCRATCH = "/dev/shm/sigtrail-bench"  # tmpfs: the workload measures syscalls, not the disk
med = statistics.median

# what runs; a number is how many times
WORKLOADS = {
    "exec": ["{bin}/wl", "exec", "4000", "{bin}/nop"],
    "file": ["{bin}/wl", "file", "20000", SCRATCH],
    "tcp": ["{bin}/wl", "tcp", "8000"],
    "noise": ["{bin}/wl", "noise", "400000"],
    "getppid": ["{bin}/wl", "getppid", "2000000"],
    "openro": ["{bin}/wl", "openro", "200000"],
    "multi": ["{bin}/wl", "multi", "700", SCRATCH, "{bin}/nop"],
    "build": ["sh", "-c", "cd %s/src && make -s clean && make -s -j2" % SCRATCH],
    "targz": ["sh", "-c", "tar cf - /usr/include 2>/dev/null | gzip -1 > %s/t.gz; rm %s/t.gz" % (SCRATCH, SCRATCH)],
    "idle": ["sleep", "3"],
    "find": ["sh", "-c", "find /usr -xdev -type f -size +1k -print > /dev/null"],
}

TABLE = ["exec", "file", "tcp", "noise", "openro", "multi", "build", "idle"]  # what `all` is


def prepare():
    results.BIN.mkdir(parents=True, exist_ok=True)
    subprocess.run(["make", "-s", "-C", str(results.BIN), "-f", str(HERE / "Makefile"), "SRC=%s" % HERE], check=True)
    src = pathlib.Path(SCRATCH, "src")
    src.mkdir(parents=True, exist_ok=True)
    objs = []
    for i in range(24):
        body = "".join("int f%d_%d(int x){int s=0;for(int i=0;i<x;i++)s+=i*%d;return s;}\n" % (i, k, k) for k in range(40))
        (src / ("m%d.c" % i)).write_text("#include <stdio.h>\n#include <stdlib.h>\n" + body)
        objs.append("m%d.o" % i)
    (src / "main.c").write_text("int main(void){return 0;}\n")
    (src / "Makefile").write_text("all: prog\nprog: main.o %s\n\tcc -o $@ $^\nclean:\n\trm -f *.o prog\n" % " ".join(objs))


def busy(dt=0.15):
    a = steal()
    time.sleep(dt)
    b = steal()
    return 1 - (b[1] - a[1]) / max(b[0] - a[0], 1)


def wait_quiet(limit, idle_peer_ok=0.25):
    """Wait for other load on this machine to go down, at most limit seconds; returns the load left."""
    t = time.time()
    while True:
        x = busy()
        if x < idle_peer_ok or time.time() - t > limit:
            return x
        time.sleep(0.2)


def run_workload(argv):
    argv = [sub(a, "") for a in argv]
    r0 = resource.getrusage(resource.RUSAGE_CHILDREN)
    t = time.perf_counter()
    # two processes that wait for each other: on two cores they measure how long an idle core takes to wake
    one_core = (lambda: os.sched_setaffinity(0, {0})) if argv[1:2] == ["tcp"] else None
    p = subprocess.run(argv, stdout=subprocess.PIPE, text=True, preexec_fn=one_core)
    wall = time.perf_counter() - t
    r1 = resource.getrusage(resource.RUSAGE_CHILDREN)
    if p.returncode:
        raise RuntimeError("workload failed: %s" % argv)
    try:
        j = json.loads(p.stdout.strip().splitlines()[-1])
        return j["secs"], j["cpu"], j["expect"]
    except (ValueError, IndexError, KeyError):
        return wall, (r1.ru_utime + r1.ru_stime) - (r0.ru_utime + r0.ru_stime), None


def steal():
    f = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
    return sum(f[:8]), f[3] + f[4], f[7]


def measure(wname, names, peers, args):
    """All rounds of a workload: its base runs and, per peer, its runs with it and what the peer told at the end."""
    argv = list(WORKLOADS[wname])
    if args.n and argv[0].endswith("/wl"):
        argv[2] = str(args.n)
    for name in names:
        sh(peers[name].get("baseline", "true"))
    run_workload(argv)  # warm-up
    got = {name: {"runs": [], "told": []} for name in ["", *names]}
    failed, loads = {}, []

    def runs(number, into):
        expected = {}
        for _ in range(args.inner):
            loads.append(wait_quiet(args.quiet))
            if into is got[""] and not args.allow_foreign:
                alone()
            wall, cpu, expect = run_workload(argv)
            into["runs"].append((number, wall, cpu))
            for kind, count in (expect or {}).items():
                expected[kind] = expected.get(kind, 0) + count
        return expected

    for number in range(args.rounds):
        order = list(got)
        turn = number % len(order)
        for name in order[turn:] + order[:turn]:
            if name in failed:
                continue
            if not name:
                runs(number, got[name])
                continue
            peer = Peer(name, peers[name])
            try:
                peer.start()
                expected = runs(number, got[name])
                got[name]["told"].append({**peer.finish(), "expected": expected})
            except Exception as e:  # noqa: BLE001 - one peer's failure must not end the series
                failed[name] = str(e)[-1500:]
            finally:
                peer.cleanup(args.keep)
    return argv, got, failed, loads


def summary(base, runs, told, args):
    """What the rounds of one peer say."""
    of = lambda rows, number, column: [row[column] for row in rows if row[0] == number]
    events = [sum(one["expected"].values()) for one in told]
    ratios, per_event, reached = [], [], []
    for number, (one, count) in enumerate(zip(told, events)):
        wall, cpu = med(of(base, number, 1)), med(of(base, number, 2))
        ratios.append((med(of(runs, number, 1)) / wall, med(of(runs, number, 2)) / cpu if cpu else float("nan")))
        if count:
            added = sum(of(runs, number, 2)) - args.inner * cpu
            per_event.append((added + one["cpu_s"] + one["kthread_cpu_s"]) * 1e6 / count)
            captured = sum(min(one.get("captured", {}).get(kind, 0), n) for kind, n in one["expected"].items())
            reached.append((captured / sum(of(runs, number, 1)), count / args.inner / wall))
    kinds = told[0]["expected"] or {}
    expected = {kind: sum(one["expected"][kind] for one in told) for kind in kinds}
    captured = {kind: sum(one.get("captured", {}).get(kind, 0) for one in told) for kind in kinds}
    total = sum(one.get("events_total", 0) for one in told)
    cpu = sum(one["cpu_s"] + one["kthread_cpu_s"] for one in told)
    lost = sum(one.get("lost", 0) for one in told) + sum(sum(map(int, one.get("lost_raw", "").split())) for one in told)
    triple = lambda values: [round(f(values), 3) for f in (med, min, max)]
    row = {
        "rounds": args.rounds, "inner": args.inner,
        "base_wall_s": round(med(x[1] for x in base), 4), "base_cpu_s": round(med(x[2] for x in base), 4),
        "wall_ratio": triple([x[0] for x in ratios]), "cpu_ratio": triple([x[1] for x in ratios]),
        "peer_cpu_s": round(cpu, 3), "up_s": round(sum(one["up_s"] for one in told), 1), "rss_mib": round(max(one["rss"] for one in told) / 2**20, 1),
        "expected": expected, "captured": captured, "events_total": total, "lost": lost,
        "books": books(expected, captured, lost), "drain_s": max(one["drain_s"] for one in told),
        "errors": [one["count_error"] for one in told if "count_error" in one],
    }
    if sum(events):
        row.update(peer_cpu_ms_per_1k=round(cpu * 1e6 / sum(events), 2), cpu_us_per_event=round(med(per_event), 2),
                   events_per_s=round(med(x[0] for x in reached)), events_per_s_offered=round(med(x[1] for x in reached)))
    if total:
        row.update(log_bytes_per_event=round(sum(one["log_bytes"] for one in told) / total, 1),
                   rest_bytes_per_event=round(sum(one["rest_bytes"] for one in told) / total, 1))
    return row


def books(expected, captured, lost):
    """Whether what happened is what was recorded and what was counted as lost, kind by kind."""
    wrong = {kind: captured[kind] - n for kind, n in expected.items() if captured[kind] != n}
    if not wrong:
        return "exact" if expected else None
    if all(n < 0 for n in wrong.values()) and -sum(wrong.values()) == lost:
        return "exact, with %d lost" % lost
    return ", ".join("%s %+d" % item for item in sorted(wrong.items()))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--peer", required=True, help="a name in peers.json, a comma list, 'all', or a new name with --start")
    ap.add_argument("--workload", default="exec", help="|".join(WORKLOADS) + ", a comma list, or all")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--inner", type=int, default=2)
    ap.add_argument("--n", type=int, help="override the workload's N")
    ap.add_argument("--quiet", type=float, default=5, help="before each run, wait up to this long for other load to end")
    ap.add_argument("--allow-foreign", action="store_true", help="measure though other BPF tracing programs are attached")
    ap.add_argument("--keep", action="store_true", help="keep the peers' logs")
    for o in ("start", "ready", "count", "lost", "setup", "teardown", "stop"):
        ap.add_argument("--" + o)
    ap.add_argument("--log", action="append")
    ap.add_argument("--nice", type=int, default=-10, help="niceness of workload and peer (kernel helpers too): keeps other load out")
    args = ap.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if args.nice:
        os.nice(args.nice)
        for d in glob.glob("/proc/[0-9]*/comm"):
            try:
                if open(d).read().strip() == "kauditd":
                    os.setpriority(os.PRIO_PROCESS, int(d.split("/")[2]), args.nice)
            except OSError:
                pass
    peers = json.load(open(HERE / "peers.json"))
    if args.start:
        peers[args.peer] = {"start": args.start, "ready": args.ready or "sleep 2", "count": args.count or "echo '{}'",
                            "log": args.log or [], **{k: getattr(args, k) for k in ("lost", "setup", "teardown", "stop") if getattr(args, k)}}
    prepare()
    names = [p for p in peers if not peers[p].get("skip")] if args.peer == "all" else args.peer.split(",")
    undone = []
    for wname in TABLE if args.workload == "all" else args.workload.split(","):
        begun = time.monotonic()
        try:
            argv, got, failed, loads = measure(wname, names, peers, args)
        except RuntimeError as e:  # the others may still be measured
            undone.append("%s: %s" % (wname, e))
            continue
        for name in names:
            if name in failed:
                row = {"failed": failed[name]}
                print("%-10s %-8s FAILED %s" % (name, wname, failed[name][-300:]))
            else:
                row = summary(got[""]["runs"], got[name]["runs"], got[name]["told"], args)
                print("%-10s %-8s wall x%.2f [%.2f-%.2f] cpu x%.2f [%.2f-%.2f] agent %s ms/1k, all %s us/event, %s of %s events/s, %s B/event (%s at rest), %.0f MiB, lost %d, books %s" % (
                    name, wname, *row["wall_ratio"], *row["cpu_ratio"], row.get("peer_cpu_ms_per_1k"), row.get("cpu_us_per_event"),
                    row.get("events_per_s"), row.get("events_per_s_offered"), row.get("log_bytes_per_event"),
                    row.get("rest_bytes_per_event"), row["rss_mib"], row["lost"], row["books"]))
            results.merge("paired", {"%s/%s" % (wname, name): {
                **row, "peer": name, "workload": wname, "argv": " ".join(argv), "other_load": round(med(loads), 2) if loads else None}})
        print("%s: %.0f s" % (wname, time.monotonic() - begun), flush=True)
    if undone:
        sys.exit("not measured:\n" + "\n".join(undone))


if __name__ == "__main__":
    main()
