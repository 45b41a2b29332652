#!/usr/bin/env python3
"""What one system call costs more: with empty eBPF programs on each hook, and with sigtrail's kernel half.

Each round measures every call (the table in floor.c) without a tracer, with an empty tp_btf program on sys_exit, and
with the agent attached, and getppid with the other hooks; the order turns from round to round. Nanoseconds of thread
CPU time on one core; the agent runs on the others and prints its records to /dev/null. Reported: the best batch of all
rounds, and the median over the rounds of (with - without), each the best batch of its round: what disturbs a batch only
makes it longer.

  floor.py [--rounds 9] [--batches 7] [--call unlink,rename]
  floor.py --program      shares of the kernel half's programs, from the kernel's own statistics
"""
import argparse, json, os, pathlib, signal, statistics, subprocess, sys, tempfile, time
import bench, peer, results

FLOOR = results.BIN / "floor"
STATS = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")
PROGRAM_LOADS = {"file": "4000", "exec": "600", "tcp": "1500", "noise": "100000", "openro": "50000"}


class Agent:
    """sigtrail as a tracer alone: no disk, no seal; on all cores but the one that is measured."""

    def __enter__(self):
        self.said = tempfile.TemporaryFile("w+")
        cores = os.sched_getaffinity(0) - {0} or {0}
        command = [results.AGENT, "tail", "--json", "--policy", bench.HERE / "floor.yaml"]
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.said, stdin=subprocess.DEVNULL,
                                      preexec_fn=lambda: os.sched_setaffinity(0, cores))
        late = time.monotonic() + 20
        while "watching" not in self.read():
            if self.child.poll() is not None or time.monotonic() > late:
                self.__exit__()
                raise RuntimeError("the agent does not watch: " + self.read())
            time.sleep(0.05)
        return self

    def read(self):
        self.said.seek(0)
        return self.said.read()

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
            try:
                self.child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        lost = [line for line in self.read().splitlines() if "lost" in line]
        if lost:
            print("floor: events found no room, so a call may have cost less than it does: " + lost[-1], file=sys.stderr)


def names(what):
    listed = subprocess.run([FLOOR, "list"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [line.split()[1] for line in listed.splitlines() if line.startswith(what + " ")]


def measure(hook, args, calls):
    env = dict(os.environ, FLOOR_BTF_ID=args.btf_id)
    # a mount namespace of its own: tracefs is mounted for this command, and for nobody else
    script = 'mount -t tracefs nodev /sys/kernel/tracing 2>/dev/null; exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "floor", FLOOR, hook, str(args.batches), *calls]
    return json.loads(subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout)


def btf_id():
    types = subprocess.run(["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux"], stdout=subprocess.PIPE,
                           text=True, check=True).stdout
    line = next(line for line in types.splitlines() if "'btf_trace_sys_exit'" in line)
    return line.split("]")[0].lstrip("[")


def rounds(args):
    calls = args.call.split(",") if args.call else names("call")
    hooks = [hook for hook in names("hook") if hook != "none"]
    got = {way: {} for way in ["none", *hooks, "sigtrail"]}  # way -> call -> a list of batches per round
    for number in range(args.rounds):
        order = list(got)
        order = order[number % len(order):] + order[:number % len(order)]
        for way in order:
            peer.alone()
            if way == "sigtrail":
                with Agent():
                    one = measure("none", args, calls)
            else:
                one = measure(way, args, calls if way in ("none", "tp_btf") else ["getppid"])
            for call, batches in one.items():
                got[way].setdefault(call, []).append(batches)
        print("round %d of %d" % (number + 1, args.rounds), file=sys.stderr)
    return hooks, calls, got


def cell(got, way, call):
    """The best, and the differences to no tracer: of the best, and the median of the rounds' differences."""
    mine, base = got[way][call], got["none"][call]
    best, least = min(map(min, mine)), min(map(min, base))
    added = [min(a) - min(b) for a, b in zip(mine, base)]
    return {"best": round(best, 1), "added_best": round(best - least, 1), "added_median": round(statistics.median(added), 1)}


def show(title, cells):
    print("%-20s" % title + "  ".join("%s %.1f (%+.1f best, %+.1f median)" % (way, c["best"], c["added_best"], c["added_median"])
                                       for way, c in cells.items()))


def calls_and_hooks(args):
    hooks, calls, got = rounds(args)
    if "getppid" in got["none"]:
        rows = {hook: {"getppid": cell(got, hook, "getppid")} for hook in [*hooks, "sigtrail"]}
        rows["none"] = {"getppid": cell(got, "none", "getppid")}
        for hook, row in rows.items():
            show(hook, row)
        results.merge("hooks", rows)
    rows, earlier = {}, results.load().get("calls", {})
    for call in calls:
        rows[call] = {"none": cell(got, "none", call), "empty": cell(got, "tp_btf", call), "sigtrail": cell(got, "sigtrail", call)}
        show(call, rows[call])
        if call in earlier:  # a regression shows its place
            a, b = (row["sigtrail"]["added_median"] - row["empty"]["added_median"] for row in (earlier[call], rows[call]))
            print("%-20sover the empty hook %+.1f, in the earlier results (build %s) %+.1f" % ("", b, earlier[call]["build"], a))
    results.merge("calls", {call: {**row, "rounds": args.rounds} for call, row in rows.items()})


def counters(pid):
    """{program: (runs, ns)} of a process, from the fdinfo of its descriptors; names by id from bpftool."""
    listed = json.loads(subprocess.run(["bpftool", "-j", "prog", "list"], stdout=subprocess.PIPE, check=True).stdout)
    name = {program["id"]: program.get("name", str(program["id"])) for program in listed}
    total = {}
    for info in pathlib.Path("/proc/%d/fdinfo" % pid).iterdir():
        fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        if "run_cnt" in fields:  # a program; two descriptors of one are the same counters
            total[name.get(int(fields["prog_id"]), "?")] = (int(fields["run_cnt"]), int(fields["run_time_ns"]))
    return total


def programs(_args):
    before = STATS.read_text()
    rows = {}
    try:
        STATS.write_text("1")
        with Agent() as agent:
            for load, n in PROGRAM_LOADS.items():
                a = counters(agent.child.pid)
                bench.run_workload([*bench.WORKLOADS[load][:2], n, *bench.WORKLOADS[load][3:]])
                b = counters(agent.child.pid)
                ran = {program: (b[program][0] - a[program][0], b[program][1] - a[program][1]) for program in b}
                every = sum(ns for _, ns in ran.values()) or 1
                for program, (runs, ns) in sorted(ran.items(), key=lambda item: -item[1][1]):
                    if runs:
                        rows["%s/%s" % (load, program)] = {"runs": runs, "ns_per_run": round(ns / runs, 1), "share": round(ns / every, 4)}
                        print("%-8s %-22s %9d runs %8.1f ns each %6.1f %%" % (load, program, runs, ns / runs, 100 * ns / every))
    finally:
        STATS.write_text(before)
    results.merge("programs", rows)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=9)
    ap.add_argument("--batches", type=int, default=7)
    ap.add_argument("--call", help="a comma list of the names in floor.c; all without it")
    ap.add_argument("--program", action="store_true", help="the kernel's own statistics in place of the rounds")
    args = ap.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench.prepare()
    if args.program:
        programs(args)
    else:
        args.btf_id = btf_id()
        calls_and_hooks(args)


if __name__ == "__main__":
    main()
