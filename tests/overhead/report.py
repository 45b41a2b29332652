#!/usr/bin/env python3
"""results.json -> the sections of docs/performance.md that hold numbers."""
import bars, results


def failed(row):
    return row["failed"].strip().splitlines()[-1][-120:].replace("|", "/")


def paired(every):
    yield ("| workload | agent | wall × | CPU × | agent's CPU, ms per 1,000 events | all CPU, µs per event "
           "| events/s, of those without | bytes per event, written / at rest | recorded / happened | books | lost | peak memory, MiB | rounds |")
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    for row in every.get("paired", {}).values():
        if "failed" in row:
            yield "| %s | %s | failed: %s |" % (row["workload"], row["peer"], failed(row)) + " |" * 10
            continue
        happened = "%d / %d" % (sum(row["captured"].values()), sum(row["expected"].values())) if row["expected"] else "%d / –" % row["events_total"]
        cost = row.get("peer_cpu_ms_per_1k") or "%.2f s in %.0f s" % (row["peer_cpu_s"], row["up_s"])
        rate = "%d of %d" % (row["events_per_s"], row["events_per_s_offered"]) if "events_per_s" in row else "–"
        size = "%s / %s" % (row["log_bytes_per_event"], row["rest_bytes_per_event"]) if row["expected"] and row["events_total"] else "–"
        yield "| %s | %s | %.2f [%.2f–%.2f] | %.2f [%.2f–%.2f] | %s | %s | %s | %s | %s | %s | %d | %.0f | %d × %d |" % (
            row["workload"], row["peer"], *row["wall_ratio"], *row["cpu_ratio"], cost, row.get("cpu_us_per_event", "–"), rate, size,
            happened, row["books"] or "–", row["lost"], row["rss_mib"], row["rounds"], row["inner"])


def hooks(every):
    yield "| getppid with | ns, best | ns more, best | ns more, median |"
    yield "|---|---|---|---|"
    names = {"none": "no tracer", "tp_btf": "empty `tp_btf` on sys_exit", "raw_tp": "empty `raw_tp` on sys_exit",
             "perf-own-call": "empty perf tracepoint `sys_exit_getppid`", "perf-other-call": "empty perf tracepoint of another call",
             "perf-raw-syscalls": "empty perf tracepoint `raw_syscalls:sys_exit`", "sigtrail": "sigtrail"}
    for hook, title in names.items():
        if hook in every.get("hooks", {}):
            cell = every["hooks"][hook]["getppid"]
            yield "| %s | %.0f | %+.0f | %+.0f |" % (title, cell["best"], cell["added_best"], cell["added_median"])


def calls(every):
    yield "| call | ns without, best | + empty hook, best / median | + sigtrail, best / median |"
    yield "|---|---|---|---|"
    for call, row in every.get("calls", {}).items():
        both = ["%+.0f / %+.0f" % (row[way]["added_best"], row[way]["added_median"]) for way in ("empty", "sigtrail")]
        yield "| %s | %.0f | %s | %s |" % (call, row["none"]["best"], *both)


def programs(every):
    yield "| workload | program | runs | ns each | share |"
    yield "|---|---|---|---|---|"
    for name, row in every.get("programs", {}).items():
        if row["share"] >= 0.005:
            yield "| %s | %s | %d | %.0f | %.1f %% |" % (*name.split("/"), row["runs"], row["ns_per_run"], 100 * row["share"])


def latency(every):
    yield "| agent | record | readable in | found | p50, ms | p99, ms | longest, ms |"
    yield "|---|---|---|---|---|---|---|"
    for name, row in every.get("latency", {}).items():
        yield "| %s | %s | the %s | %d of %d | %s | %s | %s |" % (
            *name.split("/"), row["found"], row["of"], row.get("p50", "–"), row.get("p99", "–"), row.get("max", "–"))


def builds(every):
    """One build and one day, or a warning."""
    rows = [row for section in every.values() for row in section.values()]
    days = sorted({row["at"][:10] for row in rows})
    found = {row["build"] for row in rows}
    text = "Measured %s, sigtrail with SHA-256 %s…" % (" to ".join([days[0], days[-1]][:len(days)]), ", ".join(sorted(found)))
    return text if len(found) == 1 else text + " **Not all rows are of one build: compare only within a build.**"


def main():
    every = results.load()
    if not every:
        raise SystemExit("there are no results: %s" % results.FILE)
    lines, answers = bars.table(every)
    print(builds(every), end="\n\n")
    print("## Bars\n\n%s.\n" % ", ".join("%d %s" % (n, answer.strip("*")) for answer, n in answers.items()))
    print("\n".join(lines))
    for title, text, rows in (
            ("Results", "", paired),
            ("From the act to the log", "The time from the return of a call that creates a file to its record being readable "
             "(`tests/overhead/latency.py`). The log gets a batch after it was sealed and synced.\n\n", latency),
            ("Hooks", "Nanoseconds of thread CPU time for one call (`tests/overhead/floor.c`): what each hook costs while it "
             "does nothing, on a call that nobody asks for.\n\n", hooks),
            ("The kernel half, call by call", "*getppid* and *write* are calls nobody asks for, *open-read* is left out by "
             "the policy, all others are sent if sigtrail has their kind. *fork* and *exec* count the child, too.\n\n", calls),
            ("Programs", "Shares by the kernel's own statistics (`kernel.bpf_stats_enabled`), which add some 40 ns to each "
             "run. What `sys_exit` jumps to counts as `sys_exit`.\n\n", programs)):
        body = list(rows(every))
        if len(body) > 2:
            print("\n## %s\n\n%s%s" % (title, text, "\n".join(body)))


if __name__ == "__main__":
    main()
