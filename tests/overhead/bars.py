"""What sigtrail has to reach, and whether it does: a row per bar, computed from the results and from nothing else.

A bar is (name, unit, must, stretch, value): `value` reads the results; None when what it needs was not measured. A limit
is (sign, number), or a function of the results that gives one.
"""
LOADS = ("exec", "file", "tcp", "multi")


def paired(every, workload, peer="sigtrail"):
    row = every.get("paired", {}).get("%s/%s" % (workload, peer), {})
    return {} if "failed" in row else row


def ratio(workload, which):
    return lambda every: (paired(every, workload).get(which + "_ratio") or [None])[0]


def worse(workload):
    """The larger of the ratios of wall and of CPU."""
    def value(every):
        both = [ratio(workload, which)(every) for which in ("wall", "cpu")]
        return None if None in both else max(both)
    return value


def of(workload, field):
    return lambda every: paired(every, workload).get(field)


def most(field, workloads=LOADS):
    def value(every):
        all_ = [paired(every, workload).get(field) for workload in workloads]
        return None if None in all_ else max(all_)
    return value


def against(workload, peer, field, pick=lambda x: x):
    def value(every):
        mine, its = (paired(every, workload, who).get(field) for who in ("sigtrail", peer))
        return None if not mine or not its else pick(mine) / pick(its)
    return value


def offered(every):
    row = paired(every, "file")
    return 100 * row["events_per_s"] / row["events_per_s_offered"] if "events_per_s" in row else None


def books(every):
    """Workloads whose account does not add up."""
    all_ = [paired(every, workload).get("books") for workload in LOADS]
    return None if None in all_ else sum(not said.startswith("exact") for said in all_)


def idle(every):
    row = paired(every, "idle")
    return 100 * row["peer_cpu_s"] / row["up_s"] if row else None


def latency(what, where, field):
    return lambda every: every.get("latency", {}).get("sigtrail/%s/%s" % (what, where), {}).get(field)


def noise_floor(every):
    """What the noise workload costs with nothing but the cheapest empty hook on each of its three calls, and 2 %."""
    hooks, row = every.get("hooks", {}), paired(every, "noise")
    added = [hooks[hook]["getppid"]["added_median"] for hook in ("tp_btf", "raw_tp", "perf-raw-syscalls") if hook in hooks]
    if not added or not row:
        return None
    loops = int(row["argv"].split()[2])
    return "≤", 1 + 3 * min(added) * 1e-9 * loops / row["base_cpu_s"] + 0.02


def least(number):
    return "≥", number


def at_most(number):
    return "≤", number


BARS = [
    ("exec, CPU", "×", at_most(1.05), at_most(1.03), ratio("exec", "cpu")),
    ("exec, wall", "×", at_most(1.07), at_most(1.03), ratio("exec", "wall")),
    ("file, CPU", "×", at_most(1.22), at_most(1.15), ratio("file", "cpu")),
    ("file, wall", "×", at_most(1.25), at_most(1.15), ratio("file", "wall")),
    ("file, CPU × as a part of auditd's", "", at_most(0.4), None, against("file", "auditd", "cpu_ratio", lambda three: three[0])),
    ("tcp, CPU", "×", at_most(1.10), at_most(1.06), ratio("tcp", "cpu")),
    ("tcp, wall", "×", at_most(1.12), at_most(1.06), ratio("tcp", "wall")),
    ("noise, the worse of wall and CPU", "×", at_most(1.25), noise_floor, worse("noise")),
    ("openro, the worse of wall and CPU", "×", at_most(1.25), at_most(1.20), worse("openro")),
    ("multi, CPU", "×", at_most(1.12), at_most(1.07), ratio("multi", "cpu")),
    ("multi, wall", "×", at_most(1.18), at_most(1.07), ratio("multi", "wall")),
    ("build, the worse of wall and CPU", "×", at_most(1.03), at_most(1.02), worse("build")),
    ("agent's CPU per 1,000 events, file", "ms", at_most(4), at_most(2.5), of("file", "peer_cpu_ms_per_1k")),
    ("agent's CPU per 1,000 events, exec", "ms", at_most(15), at_most(10), of("exec", "peer_cpu_ms_per_1k")),
    ("agent's CPU per 1,000 events, tcp", "ms", at_most(3), at_most(2), of("tcp", "peer_cpu_ms_per_1k")),
    ("all CPU per file event", "µs", at_most(6), at_most(4.6), of("file", "cpu_us_per_event")),
    ("file events per second, by those that auditd reaches", "×", least(5), None, against("file", "auditd", "events_per_s")),
    ("file events per second, by those without an agent", "%", None, least(98), offered),
    ("workloads whose books are not exact", "", at_most(0), at_most(0), books),
    ("bytes per event at rest, seals included; the most of all", "", at_most(80), at_most(40), most("rest_bytes_per_event")),
    ("peak memory; the most of all", "MiB", at_most(64), at_most(40), most("rss_mib")),
    ("events lost, all workloads", "", at_most(0), at_most(0), most("lost", (*LOADS, "noise", "openro", "build"))),
    ("alert, in the segment, p50", "ms", at_most(5), at_most(1), latency("alert", "segment", "p50")),
    ("alert, sealed, synced and in the log, p99", "ms", at_most(25), None, latency("alert", "log", "p99")),
    ("alert under a compiler's load, sealed, synced and in the log, p99", "ms", at_most(25), None,
     latency("building", "log", "p99")),
    ("alert in a flood of files, sealed, synced and in the log, p99", "ms", at_most(25), None,
     latency("flooded", "log", "p99")),
    ("other record, in the segment, p99", "ms", at_most(100), None, latency("ordinary", "segment", "p99")),
    ("other record, sealed, synced and in the log, longest", "ms", at_most(5000), None, latency("ordinary", "log", "max")),
    ("idle host, of a core", "%", at_most(0.5), at_most(0.1), idle),
]


def holds(limit, value):
    sign, number = limit
    return value <= number if sign == "≤" else value >= number


def number(value, unit):
    text = "%.2f" % value if isinstance(value, float) and value < 100 else "%.0f" % value
    return (text + " " + unit).strip()


def table(every):
    """The lines of the table, and how many bars there are of each answer."""
    lines = ["| bar | must | stretch | measured | |", "|---|---|---|---|---|"]
    answers = {}
    for name, unit, must, stretch, value in BARS:
        if callable(stretch):
            stretch = stretch(every)
        measured = value(every)
        if measured is None:
            answer = "not measured"
        elif stretch and holds(stretch, measured):
            answer = "stretch met"
        elif must and holds(must, measured):
            answer = "met"
        else:
            answer = "**missed**" if must else "not reached"
        answers[answer] = answers.get(answer, 0) + 1
        shown = [limit[0] + " " + number(limit[1], unit) if limit else "–" for limit in (must, stretch)]
        lines.append("| %s | %s | %s | %s | %s |" % (name, *shown, "–" if measured is None else number(measured, unit), answer))
    return lines, answers
