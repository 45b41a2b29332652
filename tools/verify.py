#!/usr/bin/env python3
"""Verifies a sealed log of sigtrail. Written from docs/sealed-log.md: a second opinion beside sigtrail-verify.

Needs Python 3.11, openssl 3, and the zstd command for zstd files. One log at a time. Segments of the spool, files of
age, proofs without their log, and compressed standard input are not read. As measured: 6 ms of CPU for a signature (two
in a batch), 0.15 ms for an event of 700 bytes. Memory: the hashes of one batch, and one for each batch of the log.
"""
import argparse, base64, contextlib, datetime, decimal, functools, gzip, hashlib, io, itertools, json, os, pathlib
import re, subprocess, sys, tempfile, zlib
VERDICTS, WRONG_CALL = ["verified", "tampered", "incomplete"], 3
MAX_LINE, MAX_TEXT, MAX_NOTE, MAX_DEPTH, MAX_SIGNATURES = 262144, 65535, 16384, 64, 16
READ = MAX_LINE + 4096  # more than the longest line
SEAL = b'{"sigtrail":"seal/'
REDACTED = re.compile(rb'\{"sigtrail":"redacted/v1","leaf":"([^"]*)"\}')
def need(condition, what):
    if not condition:
        raise ValueError(what)

# ---- Notations: each value has one spelling --------------------------------------------------------------------------
def spelled(pattern, most=2**64):
    def parse(text):
        need(re.fullmatch(pattern, text) and len(text.encode()) <= most, f"not {pattern}: {text}")
        return text
    return parse
CONTROL = r"\x00-\x1f\x7f-\x9f"
plain = spelled(rf"[^\s{CONTROL}]([^{CONTROL}]*[^\s{CONTROL}])?")
word = spelled(rf"[^\s{CONTROL}]+", 255)
key_name = spelled(rf"[^\s+{CONTROL}]+")
origin_name = spelled(rf"[^\s+{CONTROL}]+", 1024)
hex_hash = spelled("sha256:[0-9a-f]{64}")
def number(text, limit=2**64):
    need(re.fullmatch("0|[1-9][0-9]{0,19}", text) and int(text) < limit, f"not a number: {text}")
    return int(text)
def signed(text):
    need(text != "-0" and number(text.removeprefix("-")) < 2**63 + text.startswith("-"), f"not a number: {text}")
    return int(text)
def b64(text, size=None):
    raw = base64.b64decode(text.encode(), validate=True)
    need(base64.b64encode(raw).decode() == text and size in (None, len(raw)), f"not base64 of {size} bytes: {text}")
    return raw
hash32 = functools.partial(b64, size=32)
def time(text):
    need(re.fullmatch(r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}\.[0-9]{9}Z", text), f"not a time: {text}")
    since = datetime.datetime.fromisoformat(text[:19]) - datetime.datetime(1970, 1, 1)
    need(0 <= (since.days * 86400 + since.seconds) * 10**9 + int(text[20:29]) < 2**64, f"not a time: {text}")
    return text
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER_8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826
def vkey(text, name=None):
    """(name, id, key) of `name+id+key`: the key is a point of the curve, and not one of small order."""
    parts = text.split("+", 2)
    need(len(parts) == 3 and name in (None, key_name(parts[0])), f"not a vkey of {name}: {text}")
    raw = b64(parts[2], 33)
    y = int.from_bytes(raw[1:], "little") % 2**255 % P
    x_squared = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    need(raw[0] == 1 and pow(x_squared, P // 2, P) <= 1, f"not a key of Ed25519: {text}")
    need(y not in (0, 1, P - 1, ORDER_8, P - ORDER_8), f"a key of small order: {text}")
    need(parts[1] == sha256(parts[0].encode() + b"\n" + raw).hex()[:8], f"not the id of the key: {text}")
    return parts[0], bytes.fromhex(parts[1]), raw[1:]
def fields(*parsers):
    """Values with one space between them."""
    def parse(text):
        values = text.split(" ")
        need(len(values) == len(parsers), f"number of values: {text}")
        return [parser(value) for parser, value in zip(parsers, values)]
    return parse
def after(prefix, parser=str):
    def parse(text):
        need(text.startswith(prefix), f"{prefix} is missing: {text}")
        return parser(text.removeprefix(prefix))
    return parse

# ---- Canonical JSON (RFC 8785) ---------------------------------------------------------------------------------------
def ecmascript(value):
    """A number as ECMAScript writes it: the same shortest digits that Python finds, with the point elsewhere."""
    need(abs(float(value)) < float("inf"), "not a number that a double holds")
    _, digits, exponent = decimal.Decimal(repr(float(value))).normalize().as_tuple()
    digits = "".join(map(str, digits))
    point = len(digits) + exponent
    if len(digits) <= point <= 21:
        text = digits.ljust(point, "0")
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        text = digits[0] + ("." + digits[1:]) * (len(digits) > 1) + f"e{point - 1:+}"
    return "-" * (value < 0) + text
def canonical(value, depth=0):
    """The one spelling of a value."""
    need(depth <= MAX_DEPTH, "too many levels")
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(value[name], depth + 1)}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical(item, depth + 1) for item in value) + "]"
    if type(value) in (int, float):
        return ecmascript(value)
    return json.dumps(value, ensure_ascii=False)
def check_event(line):
    try:
        need(len(line) <= MAX_LINE, "too long")
        value = json.loads(line.decode())
        need(isinstance(value, dict) and "sigtrail" not in value, "not an event")
        need(canonical(value).encode() == line, "spelled otherwise")
    except (ValueError, RecursionError, OverflowError) as error:
        raise ValueError(f"an event line is not canonical JSON: {error}") from error

# ---- Trees (RFC 6962) ------------------------------------------------------------------------------------------------
def sha256(data):
    return hashlib.sha256(data).digest()
def leaf(data):
    return sha256(b"\0" + data)
def node(left, right):
    return sha256(b"\1" + left + right)
def root_of(level):
    while len(level) > 1:
        pairs = [node(left, right) for left, right in zip(level[::2], level[1::2])]
        level = pairs + level[len(pairs) * 2:]
    return level[0] if level else sha256(b"")
def fold(subtrees):
    """The root over perfect subtrees, given from right to left."""
    root = subtrees[0] if subtrees else sha256(b"")
    for left in subtrees[1:]:
        root = node(left, root)
    return root
def grown(n, path, leaf):
    """The path of the batch after: what the new leaf completes becomes one."""
    while n & 1:
        leaf, path, n = node(path[0], leaf), path[1:], n >> 1
    return [leaf] + path
def places(n, path):
    """{(first leaf, size): hash} of the perfect subtrees of a log of size n."""
    sizes = [1 << bit for bit in range(n.bit_length()) if n >> bit & 1]
    firsts = [n - end for end in itertools.accumulate(sizes)]
    return dict(zip(zip(firsts, sizes), path))

# ---- Signatures ------------------------------------------------------------------------------------------------------
WORK = tempfile.TemporaryDirectory(prefix="sigtrail-verify-")
DER = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo (RFC 8410), but for the key
def openssl(command, *more, cwd=None):
    return subprocess.run(["openssl", *command.split(), *more], cwd=cwd, capture_output=True, encoding="latin1")
def ed25519(key, message, signature):
    for name, data in {"key": DER + key, "message": message, "signature": signature}.items():
        pathlib.Path(WORK.name, name).write_bytes(data)
    command = "pkeyutl -verify -rawin -pubin -keyform DER -inkey key -in message -sigfile signature"
    return openssl(command, cwd=WORK.name).returncode == 0
def signed_by(key, signature, text):
    name, id, raw = signature
    return key[:2] == (name, id) and len(raw) == 64 and ed25519(key[2], text.encode(), raw)
def parse_note(text):
    """(signed text, [(name, id, signature)])"""
    need(not re.search(f"[{CONTROL}]", text.replace("\n", "")), "a control character")
    text, empty, rest = text.rpartition("\n\n")
    *lines, end = rest.split("\n")
    need(empty and end == "" and 0 < len(lines) <= MAX_SIGNATURES, "not a signed note")
    signatures = []
    for line in lines:
        _, name, blob = fields(spelled("\u2014"), key_name, b64)(line)
        need(len(blob) > 4, "an empty signature")
        signatures.append((name, blob[:4], blob[4:]))
    return text + "\n", signatures

# ---- Header, proof, enrolment ----------------------------------------------------------------------------------------
def acct(text):
    names = "seen kfilter lost recv ufilter emit trunc".split() + ["merge"] * (" merge=" in text)
    hook, *counts = fields(word, *(after(f"{name}=", number) for name in names))(text)
    need(len(counts) == 7 or counts[7] > 0, "merge=0 is not written")
    return {"hook": hook, "merge": 0} | dict(zip(names, counts))
def between(text):
    first, _, last = text.partition("-")
    need(number(first) <= number(last), f"not a range: {text}")
KINDS = spelled("genesis|start|events|heartbeat|stop|rotate|recovered")
CLOCK = fields(spelled("sync=[01]"), after("maxerr_us=", number), after("step_ns=", signed))
CPU = fields(lambda text: number(text, 2**32), number, number, number)
GAP = fields(word, between, spelled("evict|quarantine|lag"))
ONE, OPTION, ANY = (1, 1), (0, 1), (0, MAX_TEXT)
HEADER = [
    ("origin", ONE, origin_name), ("batch", ONE, number), ("prev", ONE, hash32), ("kind", ONE, KINDS),
    ("events", ONE, number), ("first", ONE, number), ("root", ONE, hash32), ("bytes", ONE, number),
    ("boot", ONE, word), ("host", ONE, plain), ("mono", ONE, fields(number, number)), ("wall", ONE, fields(time, time)),
    ("clock", ONE, CLOCK), ("agent", ONE, fields(word, hex_hash, spelled("bpf"), hex_hash)), ("policy", ONE, hex_hash),
    ("load", OPTION, number), ("cpu", ANY, CPU), ("acct", ANY, acct), ("lost", ONE, number), ("gap", ANY, GAP),
    ("receipt", ANY, plain), ("next", ONE, vkey), ("hostkey", OPTION, vkey),
]
def parse_header(text):
    version, *lines, end = text.split("\n")
    need(len(text.encode()) <= MAX_TEXT and version == "sigtrail/batch/v1" and end == "", "not a header")
    header = {}
    for key, (least, most), parser in HEADER:
        values = list(itertools.takewhile(lambda line: line.startswith(key + " "), lines))
        need(least <= len(values) <= most, f"header: {key}")
        lines = lines[len(values):]
        values = [parser(value[len(key) + 1:]) for value in values]
        header[key] = values if most == MAX_TEXT else values[0] if values else None
    for line in lines:
        name, _, value = line.partition(" ")
        need(name.startswith("x-") and word(name) and plain(value), f"header: {line}")
    cpus, hooks = [cpu[0] for cpu in header["cpu"]], [count["hook"] for count in header["acct"]]
    kind, hostkey = header["kind"], header["hostkey"]
    need((kind == "genesis") == (header["batch"] == 0) and (kind == "rotate") == bool(hostkey), "header: kind")
    need(cpus == sorted(set(cpus)) and all(cpu[1] <= cpu[2] for cpu in header["cpu"]), "header: cpu")
    need(len(hooks) == len(set(hooks)), "header: a hook twice")
    need(header["next"][0] == header["origin"] + "/chain", "header: the name of next")
    need(not hostkey or hostkey[0] == header["origin"], "header: the name of hostkey")
    return header
def parse_proof(text):
    """(index, path, origin, size, root, signed text, signatures)"""
    head, empty, note = text.partition("\n\n")
    version, index, *path = head.split("\n")
    need(len(text.encode()) <= MAX_TEXT and version == "c2sp.org/tlog-proof@v1" and empty, "not a proof")
    n, (note, signatures) = after("index ", number)(index), parse_note(note)
    origin, size, root, _ = note.split("\n")
    need([name for name, _, _ in signatures[:2]] == [origin, origin + "/chain"], "who signed")
    need(len(path) == n.bit_count(), "the length of the path")
    return n, [hash32(line) for line in path], origin, number(size), hash32(root), note, signatures
def parse_seal(line):
    seal = json.loads(line.decode())
    header, proof = seal["header"], seal["proof"]
    again = f'{{"sigtrail":"seal/v1","header":{canonical(header)},"proof":{canonical(proof)}}}'
    need(isinstance(header, str) and isinstance(proof, str) and again.encode() == line, "not a seal line")
    text, header, proof = header, parse_header(header), parse_proof(proof)
    n, path, origin, size, root, _, _ = proof
    need(origin == header["origin"] and n == header["batch"] == size - 1, "1: header and proof disagree")
    need(fold(path) == header["prev"], "1: the path does not lead to prev")
    need(fold([leaf(text.encode())] + path) == root, "1: path and header do not lead to the signed root")
    return text, header, proof
def parse_enrolment(line):
    """(host key, chain key 0) of the event line of batch 0."""
    note = json.loads(line.decode())["note"]
    need(isinstance(note, str) and canonical({"kind": "enrol", "note": note}).encode() == line, "not an enrolment")
    text, signatures = parse_note(note)
    version, origin, host, chain, *facts, at, _ = text.split("\n")
    need(len(note.encode()) <= MAX_NOTE and version == "sigtrail/enrol/v1", "not an enrolment note")
    origin = after("origin ", key_name)(origin)
    host, chain = vkey(after("hostkey ")(host), origin), vkey(after("chainkey ")(chain), origin + "/chain")
    for fact in facts:
        name, _, value = after("fact ")(fact).partition(" ")
        need(word(name) and plain(value), f"enrolment: {fact}")
    after("time ", time)(at)
    need(any(signed_by(host, signature, text) for signature in signatures), "the enrolment is not signed by its key")
    return host, chain
def parse_revocation(note, fleet):
    """(host key, the last batch that it signs for) of a note that one of the fleet's keys signed."""
    text, signatures = parse_note(note)
    version, host, last, at, end = text.split("\n")
    need(len(note.encode()) <= MAX_NOTE and version == "sigtrail/revoke/v1" and end == "", "not a revocation note")
    signed = after("time ", time)(at) and any(signed_by(key, one, text) for key in fleet for one in signatures)
    need(signed, "the revocation is not signed by a key of the fleet")
    return vkey(after("hostkey ")(host)), after("after ", number)(last)

# ---- The log ---------------------------------------------------------------------------------------------------------
class Lines:
    """The event lines of one batch."""
    def __init__(self):
        self.leaves, self.bytes, self.redacted = [], 0, 0
        self.first, self.wrong = None, None
    def add(self, line):
        self.first = line if self.first is None else self.first
        try:
            redacted = REDACTED.fullmatch(line)
            self.leaves.append(hash32(redacted[1].decode()) if redacted else leaf(line))
            self.redacted += bool(redacted)
            self.bytes += len(line) + 1
            if not redacted:
                check_event(line)
        except ValueError as error:
            self.wrong = self.wrong or error

class Log:
    def __init__(self, keys=(), heads=(), revoked=(), begin=0):
        self.pinned, self.heads, self.revoked, self.next = keys, list(heads), revoked, begin
        self.findings, self.seen = [], {}  # seen: by number, what makes a copy of the batch the same
        self.host, self.chain = None, None  # the host key in force, the chain key of the next batch
        self.last, self.cpus = None, {}  # the header before, if it was good; the last number of each CPU
        self.places, self.root, self.size = {}, None, 0  # the log up to the last good batch
        self.origin, self.start, self.end = None, None, None
        self.batches = self.events = self.lost = 0
    def found(self, severity, batch, name, what):
        self.findings.append({"severity": severity, "batch": batch, "input": name, "what": what})
    def read(self, name, stream):
        """Whole batches, to the end of the stream."""
        lines = Lines()
        while line := stream.readline(READ):
            while len(line) >= READ and line[-1:] != b"\n" and (more := stream.readline(READ)):
                line = line[:READ] + more[-1:]  # it is too long, whatever is in it
            if line[-1:] == b"\n" and line.startswith(SEAL):
                self.batch(name, lines, line[:-1])
                lines = Lines()
            else:
                lines.add(line.removesuffix(b"\n"))
        if lines.leaves or lines.wrong:
            what = f"10: {len(lines.leaves)} lines at the end without a seal"
            self.found("incomplete", self.next if self.origin else None, name, what)
    def batch(self, name, lines, seal):
        n = self.next
        try:
            text, header, proof = parse_seal(seal)
            n = header["batch"]
            for what in self.check(text, header, proof, lines):
                self.found("incomplete", n, name, what)
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            self.found("tampered", n, name, str(error))
            if n == self.next:
                self.next, self.last, self.chain = self.next + 1, None, None
    def check(self, text, header, proof, lines):
        """The checks of the page, by its numbers. What makes the log incomplete is returned, tampering is raised."""
        incomplete = []
        n, kind = header["batch"], header["kind"]
        _, path, origin, size, root, note, signatures = proof
        self.origin = self.origin or origin
        need(origin == self.origin, "6: the batch is of another log")
        if header["events"] and not lines.leaves:
            incomplete += [f"2: the {header['events']} event lines are gone"] * (n >= self.next)
        else:
            of = [len(lines.leaves), root_of(lines.leaves), lines.bytes]
            sealed = [header["events"], header["root"], lines.bytes if lines.redacted else header["bytes"]]
            need(of == sealed, "2: the event lines are not those that were sealed")
            need(not lines.wrong, f"3: {lines.wrong}")
        if lines.redacted:
            incomplete.append(f"2: {lines.redacted} lines are redacted")
        must = 2 + (kind == "rotate")
        need(len(signatures) >= must, "5: a signature is missing")
        same = sha256(repr((text, note, signatures[:must])).encode())
        if n < self.next:
            need(self.seen.get(n, same) == same, "7: another batch has the same number")
            return incomplete + ["7: it stands behind later ones"] * (n not in self.seen)
        hole = n > self.next
        if hole:
            incomplete.append(f"7: batches {self.next} to {n - 1} are not there")
        host, chain = self.host, None if hole else self.chain
        pinned = [key for key in self.pinned if key[:2] == signatures[0][:2]]
        if hole or (self.pinned and not host):
            host = pinned[0] if pinned else host
        if n == 0 and lines.leaves:
            enrolled, chain = parse_enrolment(lines.first)
            need(header["events"] == 1 and enrolled[0] == origin, "4: batch 0 is not the enrolment of this log")
            need(not self.pinned or host == enrolled, "4: batch 0 enrols another key")
            host = enrolled
        if host or self.pinned:
            need(host and signed_by(host, signatures[0], note), "4: not signed by the host key")
            need(all(key != host or n <= last for key, last in self.revoked), "4: the host key was revoked before")
        else:
            incomplete.append("4: no host key is known")
        need(not chain or signed_by(chain, signatures[1], note), "5: not signed by the announced chain key")
        need(kind != "rotate" or signed_by(header["hostkey"], signatures[2], note), "4: not signed by the new host key")
        tree, last = places(n, path), None if hole else self.last
        need(all(self.places.get(at, hash) == hash for at, hash in tree.items()), "7: the log forks")
        self.follows(last, header)
        incomplete += self.account(header, last)
        for head in [head for head in self.heads if head[0] == origin and head[1] in (n, size)]:
            need(head[2] == (root if head[1] == size else header["prev"]), "9: the root is not that of a known head")
            self.heads.remove(head)
        self.seen[n], self.places = same, places(size, grown(n, path, leaf(text.encode())))
        self.next, self.size, self.root, self.last, self.chain = size, size, root, header, header["next"]
        self.host = host and (header["hostkey"] or host)
        self.start, self.end = self.start or header["wall"][0], header["wall"][1]
        self.batches, self.lost = self.batches + 1, self.lost + header["lost"]
        self.events += len(lines.leaves)
        return incomplete
    def follows(self, last, header):
        need(header["mono"][0] <= header["mono"][1], "6: mono goes back")
        if not last:
            return
        started = header["kind"] in ("start", "recovered")
        need(header["prev"] == self.root, "6: the tree before is not that after the batch before")
        need(header["first"] == last["first"] + last["events"], "6: first does not continue")
        need(started or last["kind"] != "stop", "6: no start after a stop")
        need(started or header["boot"] == last["boot"], "6: another boot without a start")
        later = all(now >= was for now, was in zip(header["mono"], last["mono"]))
        need(later or header["boot"] != last["boot"], "6: mono goes back")
    def account(self, header, last):
        for it in header["acct"]:
            if it["seen"] != it["kfilter"] + it["lost"] + it["recv"] or it["trunc"] > it["emit"] \
                    or it["recv"] != it["ufilter"] + it["emit"] + it["merge"]:
                yield f"8: the account of {it['hook']} does not add up"
        if header["lost"] < max(sum(it["lost"] for it in header["acct"]), sum(cpu[3] for cpu in header["cpu"])):
            yield "8: lost is less than the sum of its parts"
        old = header["load"] is None
        same = last and header["boot"] == last["boot"] and header["load"] == last["load"]
        before = self.cpus if same and not (old and header["kind"] == "start") else {}
        for cpu, first, end, lost in header["cpu"]:
            if lost > end - first + 1:
                yield f"8: CPU {cpu} lost more than its numbers"
            anew = old and header["kind"] == "recovered" and first == 0
            if not anew and first != before.get(cpu, first - 1) + 1:
                yield f"8: the numbers of CPU {cpu} do not continue"
        self.cpus = ({} if old and header["kind"] == "recovered" else before) | {it[0]: it[2] for it in header["cpu"]}
    def verdict(self):
        if not self.batches and not self.findings:
            self.found("incomplete", None, None, "10: no sealed batch")
        for head in self.heads:
            self.found("incomplete", self.next, None, f"9: the known head of size {head[1]} is not in the log")
        # of the two, tampered is the greater by the alphabet
        return max((finding["severity"] for finding in self.findings), default="verified")

# ---- The program -----------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def unpacked(path):
    """The lines of a file, compressed or not."""
    if path == "-":
        yield sys.stdin.buffer
        return
    with open(path, "rb", buffering=0) as raw:
        magic = raw.read(4)
        raw.seek(0)
        if magic[:2] == b"\x1f\x8b":
            with gzip.open(raw) as stream:
                yield stream
        elif magic == b"\x28\xb5\x2f\xfd":
            with subprocess.Popen(["zstd", "-dcq"], stdin=raw, stdout=subprocess.PIPE) as zstd:
                yield zstd.stdout
            if zstd.returncode:
                raise OSError("zstd cannot read it")
        else:
            yield io.BufferedReader(raw)
UNREADABLE = OSError, EOFError, zlib.error
def first_batch(path):
    """The number in the first seal of a file: files are read in this order, whatever their names."""
    found = None
    with contextlib.suppress(*UNREADABLE), unpacked(path) as stream:
        while path != "-" and not found and (line := stream.readline(READ)):
            found = line.startswith(SEAL) and re.search(rb"\\nbatch (\d{1,20})\\n", line)
    return int(found[1]) if found else -1
def files(paths):
    for path in paths:
        need(path == "-" or os.path.exists(path), f"cannot read {path}")
        found = [os.path.join(at, name) for at, _, names in os.walk(path) for name in names] or [path]
        need(not os.path.isdir(found[0]), f"{path}: no files in the directory")
        yield from sorted(found)
def given(value, parse):
    """What stands on the command line, or in the file that it names, one a line."""
    try:
        return [parse(value)]
    except ValueError:
        text = pathlib.Path(value).read_text("utf-8")
    if text.startswith("sigtrail/enrol/v1\n"):
        return [parse_enrolment(canonical({"kind": "enrol", "note": text}).encode())[0]]
    values = [parse(line) for line in map(str.strip, text.split("\n")) if line and not line.startswith("#")]
    need(values, f"nothing in {value}")
    return values
def stamped(path, authority):
    """(path, head, time): the head in FILE, and when the authority stamped it by FILE.tsr (RFC 3161), if it did."""
    name = path.removesuffix(".tsr")
    origin, size, root, end = pathlib.Path(name).read_text("utf-8").split("\n")
    need(path != name and end == "" and os.path.isfile(authority), f"not a head or not a time stamp: {path}")
    valid = openssl("ts -verify", "-data", name, "-in", path, "-CAfile", authority).returncode == 0
    time = re.search("^Time stamp: (.*)$", openssl("ts -reply -text", "-in", path).stdout, re.MULTILINE)
    return path, [key_name(origin), number(size), hash32(root)], time[1] if valid else None
def main():
    parser = argparse.ArgumentParser(epilog="Exit code: 0 verified, 1 tampered, 2 incomplete, 3 wrong call or no report.")
    parser.error = lambda message: parser.exit(WRONG_CALL, f"{parser.prog}: {message}\n")
    option = parser.add_argument
    option("input", nargs="+", metavar="FILE|DIR|-", help="plain, gzip or zstd; - is standard input, plain")
    option("--key", action="append", default=[], metavar="VKEY|FILE", help="a host key, a file of them, an enrolment")
    option("--known-head", action="append", default=[], metavar="HEAD|FILE", help='"origin size root", or a file of it')
    option("--revoked", action="append", default=[], metavar="FILE", help="a note that revokes a host key")
    option("--fleet", action="append", default=[], metavar="VKEY|FILE", help="a key that may revoke")
    option("--stamp", action="append", default=[], metavar="FILE.tsr", help="a time stamp of the head in FILE")
    option("--tsa", metavar="FILE", help="certificates of the time stamp authority")
    option("--from", dest="begin", type=number, default=0, metavar="BATCH", help="the input begins with this batch")
    option("--json", action="store_true", help="print the report as JSON")
    args = parser.parse_args()
    try:
        keys = [key for value in args.key for key in given(value, vkey)]
        heads = [head for value in args.known_head for head in given(value, fields(key_name, number, hash32))]
        fleet = [key for value in args.fleet for key in given(value, vkey)]
        revoked = [parse_revocation(pathlib.Path(path).read_text("utf-8"), fleet) for path in args.revoked]
        need(args.tsa or not args.stamp, "--stamp needs --tsa")
        stamps = [stamped(path, args.tsa) for path in args.stamp]
        paths = sorted(files(args.input), key=first_batch)
        openssl("version").check_returncode()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        parser.error(error)
    log = Log(keys, heads + [head for _, head, time in stamps if time], revoked, args.begin)
    for path in paths:
        try:
            with unpacked(path) as stream:
                log.read(path, stream)
        except UNREADABLE as error:
            log.found("incomplete", None, path, f"10: cannot be read further: {error}")
    for path in (path for path, _, time in stamps if not time):
        log.found("incomplete", None, path, "12: not a time stamp of the authority over its head")
    head = f"{log.origin} {log.size} {base64.b64encode(log.root).decode()}" if log.root else None
    report = {"verdict": log.verdict(), "origin": log.origin, "from": log.start, "to": log.end, "batches": log.batches,
              "events": log.events, "lost": log.lost, "head": head, "pinned": bool(log.pinned),
              "stamped": [f"{head[1]} {time}" for _, head, time in stamps if time and head not in log.heads]}
    told = [f"{name:<10}{value}" for name, value in report.items()]
    told += ["{severity}: {input}: batch {batch}: {what}".format(**one) for one in log.findings]
    text = json.dumps(report | {"findings": log.findings}, indent=2) if args.json else "\n".join(told)
    try:
        with open(sys.stdout.fileno(), "w", encoding="utf-8", closefd=False) as out:
            print(text, file=out)
    except OSError as error:
        parser.error(f"cannot write the report: {error}")
    sys.exit(VERDICTS.index(report["verdict"]))

if __name__ == "__main__":
    main()
