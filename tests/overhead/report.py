#!/usr/bin/env python3
"""results.jsonl -> a Markdown table; the last result of each peer and workload wins."""
import json, sys

rows = {}
for line in open(sys.argv[1]):
    row = json.loads(line)
    key = (row["workload"], row["peer"])
    if "failed" not in row:
        rows[key] = row
    else:
        rows.setdefault(key, row)

print("| workload | agent | wall × | CPU × | agent's CPU, ms per 1,000 events | bytes per event | recorded / happened | lost | peak memory, MiB |")
print("|---|---|---|---|---|---|---|---|---|")
for (workload, peer), r in rows.items():
    if "failed" in r:
        reason = r["failed"].strip().splitlines()[-1][-120:].replace("|", "/")
        print("| %s | %s | failed: %s | | | | | | |" % (workload, peer, reason))
        continue
    if r["expected"]:
        recorded = "%d / %d" % (sum(r["captured"].values()), sum(r["expected"].values()))
    else:
        recorded = "%d / –" % r["events_total"]
    cost = r["peer_cpu_ms_per_1k"]
    if cost is None:
        cost = "%.2f s in all" % (r["peer_cpu_s"] + r["kthread_cpu_s"])
    lost = r["lost_own_counter"] or ", ".join(r["lost_raw"]) or 0
    print("| %s | %s | %.2f [%.2f–%.2f] | %.2f [%.2f–%.2f] | %s | %s | %s | %s | %.0f |" % (
        workload, peer, *r["wall_ratio"], *r["cpu_ratio"], cost, r["log_bytes_per_event"] or "–", recorded, lost, r["rss_mib"]))
