#!/usr/bin/env python3
"""Paired benchmark of host audit agents; `cargo xtask bench` runs it.

Each round runs the workload M times with no peer (A) and M times with the peer (B), the order flipped every
round, so that ratios hold on a noisy machine. Reported: slowdown B/A of wall and of the workload's own CPU
time, the peer's CPU per 1,000 expected events, peak memory, events captured against events known to have
happened, loss, log bytes per event, and the time the peer needed to drain.

Two traps, both checked here: once Linux audit was ever enabled, every later task pays for an audit context
unless a `-a never,task` rule is loaded; and one forgotten tracer slows every system call of the host (a
baseline with foreign programs is refused).

  bench.py --peer sigtrail,auditd --workload exec,file --out results.jsonl
  bench.py --peer mine --start './agent --config c.toml --out {work}/log.jsonl' \
      --ready 'grep -q attached {work}/peer.err' --log '{work}/log.jsonl' \
      --count 'python3 {bench}/count.py sigtrail {work}/log.jsonl' --workload file
"""
import argparse, glob, json, os, pathlib, re, resource, shutil, signal, statistics, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BIN = ROOT / "target" / "bench"  # the workloads, and the files of the peers
SCRATCH = "/dev/shm/wl"  # tmpfs: the workload measures syscalls, not the disk
V1 = os.path.isdir("/sys/fs/cgroup/cpuacct")
CG = "/sys/fs/cgroup/cpuacct" if V1 else "/sys/fs/cgroup"
TICK = os.sysconf("SC_CLK_TCK")

# name: (argv, default N)
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
    "find": ["sh", "-c", "find /usr -xdev -type f -size +1k -print > /dev/null"],
}


def prepare():
    BIN.mkdir(parents=True, exist_ok=True)
    subprocess.run(["make", "-s", "-C", str(BIN), "-f", str(HERE / "Makefile"), "SRC=%s" % HERE], check=True)
    src = pathlib.Path(SCRATCH, "src")
    src.mkdir(parents=True, exist_ok=True)
    objs = []
    for i in range(24):
        body = "".join("int f%d_%d(int x){int s=0;for(int i=0;i<x;i++)s+=i*%d;return s;}\n" % (i, k, k) for k in range(40))
        (src / ("m%d.c" % i)).write_text("#include <stdio.h>\n#include <stdlib.h>\n" + body)
        objs.append("m%d.o" % i)
    (src / "main.c").write_text("int main(void){return 0;}\n")
    (src / "Makefile").write_text("all: prog\nprog: main.o %s\n\tcc -o $@ $^\nclean:\n\trm -f *.o prog\n" % " ".join(objs))


def sub(text, work):
    for name, value in (("work", work), ("bench", HERE), ("bin", BIN), ("root", ROOT), ("peers", BIN / "peers")):
        text = text.replace("{%s}" % name, str(value))
    return text


def sh(cmd, **kw):
    return subprocess.run(["bash", "-c", cmd], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)


class Peer:
    def __init__(self, name, spec):
        self.name, self.spec = name, spec
        self.cg = "%s/sigtrail-bench-%s-%d" % (CG, name, os.getpid())

    def start(self):
        self.work = tempfile.mkdtemp(prefix="bench-%s-" % self.name)
        os.chmod(self.work, 0o755)
        s = self.spec
        if s.get("setup"):
            r = sh(sub(s["setup"], self.work))
            if r.returncode:
                raise RuntimeError("setup: " + r.stdout[-500:])
        os.makedirs(self.cg, exist_ok=True)
        out, err = open(self.work + "/peer.out", "wb"), open(self.work + "/peer.err", "wb")
        self.proc = subprocess.Popen(
            ["bash", "-c", "echo $$ > %s/cgroup.procs; exec %s" % (self.cg, sub(s["start"], self.work))],
            stdout=out, stderr=err, stdin=subprocess.DEVNULL, start_new_session=True)
        t = time.time()
        while True:
            if self.proc.poll() is not None:
                raise RuntimeError("peer ended early: " + open(self.work + "/peer.err").read()[-1500:])
            if time.time() - t > s.get("ready_timeout", 120):
                self.stop()
                raise RuntimeError("peer was not ready in time")
            if sh(sub(s["ready"], self.work)).returncode == 0:
                break
            time.sleep(0.3)
        time.sleep(s.get("settle", 0.5))
        for p in self.pids():
            try:
                open("/proc/%d/clear_refs" % p, "w").write("5")  # reset the RSS high-water mark
            except OSError:
                pass
        self.cpu0, self.k0, self.log0 = self.cpu(), self.kcpu(), self.log_bytes()
        self.t0 = time.time()

    def pids(self):
        try:
            return [int(x) for x in open(self.cg + "/cgroup.procs").read().split()]
        except OSError:
            return []

    def cpu(self):
        if V1:
            return int(open(self.cg + "/cpuacct.usage").read()) / 1e9
        return int(re.search(r"usage_usec (\d+)", open(self.cg + "/cpu.stat").read()).group(1)) / 1e6

    def kcpu(self):  # kernel threads that work for the peer (kauditd)
        tot = 0
        for name in self.spec.get("kthreads", []):
            for d in glob.glob("/proc/[0-9]*/comm"):
                try:
                    if open(d).read().strip() == name:
                        f = open(os.path.dirname(d) + "/stat").read().rsplit(")", 1)[1].split()
                        tot += (int(f[11]) + int(f[12])) / TICK
                except OSError:
                    pass
        return tot

    def rss(self):
        kb = 0
        for p in self.pids():
            try:
                m = re.search(r"VmHWM:\s+(\d+)", open("/proc/%d/status" % p).read())
                kb += int(m.group(1)) if m else 0
            except OSError:
                pass
        return kb * 1024

    def log_files(self):
        return sum((glob.glob(sub(g, self.work)) for g in self.spec.get("log", [])), [])

    def log_bytes(self):
        return sum(os.path.getsize(f) for f in self.log_files() if os.path.exists(f))

    def drain(self):
        """Wait until the peer's CPU and log are quiet; returns the seconds until the last activity."""
        t = time.time()
        quiet, last, prev = 0, t, (self.cpu() + self.kcpu(), self.log_bytes())
        while quiet < 3 and time.time() - t < 12:
            time.sleep(0.25)
            cur = (self.cpu() + self.kcpu(), self.log_bytes())
            if cur[0] - prev[0] < 0.02:
                quiet += 1
            else:
                quiet, last = 0, time.time()
            prev = cur
        return last - t

    def finish(self):
        r = {"drain_s": round(self.drain(), 2), "cpu_s": self.cpu() - self.cpu0, "kthread_cpu_s": self.kcpu() - self.k0,
             "rss": self.rss(), "up_s": round(time.time() - self.t0, 2)}
        if self.spec.get("lost"):
            r["lost_raw"] = sh(sub(self.spec["lost"], self.work)).stdout.strip()
        r["log_bytes"] = self.log_bytes() - self.log0
        self.stop()
        c = sh(sub(self.spec["count"], self.work)).stdout
        try:
            r.update(json.loads(c.strip().splitlines()[-1]))
        except (ValueError, IndexError):
            r["count_error"] = c[-500:]
        late = self.log_bytes() - self.log0
        r["log_bytes"] = max(late, r["log_bytes"], r.pop("bytes", 0))
        return r

    def stop(self):
        sig = getattr(signal, self.spec.get("stop", "SIGTERM"))
        for p in [self.proc.pid]:
            try:
                os.kill(p, sig)
            except ProcessLookupError:
                pass
        try:
            self.proc.wait(timeout=self.spec.get("stop_timeout", 60))
        except subprocess.TimeoutExpired:
            for p in self.pids():
                os.kill(p, signal.SIGKILL)
            self.proc.wait()
        time.sleep(0.3)
        for p in self.pids():
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def cleanup(self, keep=False):
        if getattr(self, "proc", None) and (self.proc.poll() is None or self.pids()):
            self.stop()  # an interrupted run must leave nothing attached
        if self.spec.get("teardown"):
            sh(sub(self.spec["teardown"], self.work))
        time.sleep(0.2)
        try:
            os.rmdir(self.cg)
        except OSError:
            pass
        if not keep:
            shutil.rmtree(self.work, ignore_errors=True)


def foreign_bpf():
    """BPF programs of others on hooks every system call or process passes: they tax A and B alike."""
    r = subprocess.run(["bpftool", "prog", "list"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return len(re.findall(r"^\d+: (?:raw_tracepoint|tracepoint|tracing|kprobe|lsm|perf_event)", r, re.M))


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


def one(name, spec, wname, args):
    argv = list(WORKLOADS[wname])
    if args.n and argv[0].endswith("/wl"):
        argv[2] = str(args.n)
    sh(spec.get("baseline", "true"))
    run_workload(argv)  # warm-up
    base, withp, rounds, loads, foreign = [], [], [], [], []
    for r in range(args.rounds):
        def a():
            for _ in range(args.inner):
                loads.append(wait_quiet(args.quiet))
                foreign.append(foreign_bpf())
                if foreign[-1] and not args.allow_foreign:
                    raise RuntimeError("%d BPF tracing programs of others are attached: the baseline would be false" % foreign[-1])
                base.append((r,) + run_workload(argv))

        def b():
            peer = Peer(name, spec)
            try:
                peer.start()
                exp = {}
                for _ in range(args.inner):
                    loads.append(wait_quiet(args.quiet))
                    w, c, e = run_workload(argv)
                    withp.append((r, w, c))
                    for k, v in (e or {}).items():
                        exp[k] = exp.get(k, 0) + v
                f = peer.finish()
                f["expected"] = exp
                rounds.append(f)
            finally:
                peer.cleanup(args.keep)
        for step in ((a, b) if r % 2 == 0 else (b, a)):
            step()
    med = statistics.median
    per = []
    for r in range(args.rounds):
        bw, bc = med(x[1] for x in base if x[0] == r), med(x[2] for x in base if x[0] == r)
        ww, wc = med(x[1] for x in withp if x[0] == r), med(x[2] for x in withp if x[0] == r)
        per.append((ww / bw, wc / bc if bc else float("nan")))
    exp = {k: sum(x["expected"].get(k, 0) for x in rounds) for k in rounds[0]["expected"]}
    cap = {}
    for x in rounds:
        for k, v in x.get("captured", {}).items():
            cap[k] = cap.get(k, 0) + v
    n_exp = sum(exp.values())
    n_cap = sum(min(cap.get(k, 0), v) for k, v in exp.items())
    tot = sum(x.get("events_total", 0) for x in rounds)
    bytes_ = sum(x["log_bytes"] for x in rounds)
    cpu = sum(x["cpu_s"] for x in rounds)
    kcpu = sum(x["kthread_cpu_s"] for x in rounds)
    res = {
        "peer": name, "workload": wname, "argv": " ".join(argv), "rounds": args.rounds, "inner": args.inner,
        "base_wall_s": round(med(x[1] for x in base), 4), "base_cpu_s": round(med(x[2] for x in base), 4),
        "base_wall_minmax": [round(min(x[1] for x in base), 4), round(max(x[1] for x in base), 4)],
        "wall_ratio": [round(f(x[0] for x in per), 3) for f in (med, min, max)],
        "cpu_ratio": [round(f(x[1] for x in per), 3) for f in (med, min, max)],
        "wall_best": round(min(x[1] for x in withp) / min(x[1] for x in base), 3),
        "cpu_best": round(min(x[2] for x in withp) / max(min(x[2] for x in base), 1e-9), 3),
        "peer_cpu_s": round(cpu, 3), "kthread_cpu_s": round(kcpu, 3),
        "peer_cpu_ms_per_1k": round((cpu + kcpu) * 1e6 / n_exp, 2) if n_exp else None,
        "rss_mib": round(max(x["rss"] for x in rounds) / 2**20, 1),
        "expected": exp, "captured": {k: cap.get(k, 0) for k in exp} if exp else cap,
        "captured_share": round(n_cap / n_exp, 5) if n_exp else None,
        "events_total": tot, "lost_own_counter": sum(x.get("lost", 0) or 0 for x in rounds),
        "lost_raw": [x.get("lost_raw") for x in rounds if x.get("lost_raw")],
        "host_wide": any(x.get("host_wide") for x in rounds),
        "log_bytes_per_event": round(bytes_ / tot, 1) if tot else None, "log_bytes": bytes_,
        "drain_s": max(x["drain_s"] for x in rounds), "up_s": sum(x["up_s"] for x in rounds),
        "other_load": [round(f(loads), 2) for f in (med, max)], "foreign_bpf": sum(1 for x in foreign if x),
        "lost_pct_bytes": [x["lost_pct_bytes"] for x in rounds if x.get("lost_pct_bytes") is not None],
        "errors": [x["count_error"] for x in rounds if "count_error" in x],
    }
    return res


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--peer", required=True, help="a name in peers.json, a comma list, 'all', or a new name with --start")
    ap.add_argument("--workload", default="exec", help="|".join(WORKLOADS) + ", a comma list, or all")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--inner", type=int, default=3)
    ap.add_argument("--n", type=int, help="override the workload's N")
    ap.add_argument("--out", help="append one JSON line per result")
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
    wls = list(WORKLOADS) if args.workload == "all" else args.workload.split(",")
    for w in wls:
        for n in names:
            try:
                res = one(n, peers[n], w, args)
            except Exception as e:  # noqa: BLE001 - one peer's failure must not end the series
                res = {"peer": n, "workload": w, "failed": str(e)[-1500:]}
            res["at"] = time.strftime("%H:%M:%S")
            res["load1"] = os.getloadavg()[0]
            line = json.dumps(res)
            if args.out:
                open(args.out, "a").write(line + "\n")
            if "failed" in res:
                print("%-14s %-8s FAILED %s" % (n, w, res["failed"][-300:]))
            else:
                print("%-14s %-8s wall x%.2f [%.2f-%.2f] best x%.2f cpu x%.2f [%.2f-%.2f] best x%.2f peer %s ms/1k rss %.0f MiB captured %s lost %s %s B/ev drain %.1fs load %.2f" % (
                    n, w, *res["wall_ratio"], res["wall_best"], *res["cpu_ratio"], res["cpu_best"], res["peer_cpu_ms_per_1k"], res["rss_mib"], res["captured_share"],
                    res["lost_own_counter"] or res["lost_raw"], res["log_bytes_per_event"], res["drain_s"], res["other_load"][0]))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
