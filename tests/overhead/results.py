"""One file of results, merged from as many invocations as one likes: target/bench/results.json.

{"paired": {"file/sigtrail": {...}}, "floor": {"calls": {...}, "hooks": {...}}, "programs": {...}, "latency": {...}}
Every row says when it was measured, and with which build of the agent.
"""
import hashlib, json, os, pathlib, time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = ROOT / "target" / "bench"  # the workloads, and the files of the peers
AGENT = ROOT / "target" / "sigtrail"
FILE = BIN / "results.json"


def load():
    try:
        return json.loads(FILE.read_text())
    except FileNotFoundError:
        return {}


def merge(section, rows):
    """Puts rows into a section; a row of the same name is replaced, all others stay."""
    every = load()
    stamp = {"at": time.strftime("%Y-%m-%d %H:%M:%S"), "build": build()}
    every.setdefault(section, {}).update({name: {**row, **stamp} for name, row in rows.items()})
    BIN.mkdir(parents=True, exist_ok=True)
    new = FILE.with_suffix(".new")
    new.write_text(json.dumps(every, indent=1, ensure_ascii=False) + "\n")
    os.replace(new, FILE)


def build():
    """The first digits of the SHA-256 of the agent under test."""
    return hashlib.sha256(AGENT.read_bytes()).hexdigest()[:12]
