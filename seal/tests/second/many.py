"""What tools/verify.py says of many logs, in one process: cases come on standard input, a JSON line and then the bytes.
What was found once of the same line or signature is not found out again: all but a few lines of the cases are the same.
"""
import functools, io, json, pathlib, sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "tools"))
sys.dont_write_bytecode = True
import verify

for name in ["ed25519", "parse_seal", "vkey", "check_event"]:
    setattr(verify, name, functools.cache(getattr(verify, name)))
head = verify.fields(verify.key_name, verify.number, verify.hash32)
while line := sys.stdin.buffer.readline():
    case = json.loads(line)
    keys, heads = map(verify.vkey, case["keys"]), map(head, case["heads"])
    log = verify.Log(list(keys), heads, begin=case["from"])
    log.read("log", io.BytesIO(sys.stdin.buffer.read(case["length"])))
    verdict = log.verdict()
    first = next((it for it in log.findings if it["severity"] == verdict), {"batch": None, "what": ""})
    print(json.dumps([verdict, first["batch"], first["what"]]), flush=True)
