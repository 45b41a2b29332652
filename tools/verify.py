#!/usr/bin/env python3
"""Verifies a sealed log of sigtrail. Written from docs/sealed-log.md alone, as a second opinion beside sigtrail-verify.

Needs Python 3.11 and the openssl command, version 3; the zstd command for .zst files. Spool segments are not read.
One process of openssl for each signature, two signatures for each batch: about 10 ms for a batch.
Memory: the hashes of one batch, and 64 bytes for each batch of the log.
"""
import argparse, base64, datetime, gzip, hashlib, io, itertools, json, os, re, subprocess, sys, tempfile, unicodedata

VERIFIED, TAMPERED, INCOMPLETE, WRONG_CALL = range(4)
VERDICTS = ["verified", "tampered", "incomplete"]
LINE, TEXT, DEPTH, SIGNATURES = 262144, 65535, 64, 16
SEAL, REDACTED = b'{"sigtrail":"seal/', b'{"sigtrail":"redacted/'


class Bad(ValueError):
    """What was read is not what the format allows, or not what was sealed."""


def need(condition, what):
    if not condition:
        raise Bad(what)


# --- Notations: each value has one spelling ---------------------------------------------------------------------------

def control(text):
    return any(unicodedata.category(char) == "Cc" for char in text)


def number(text, size=2**64):
    need(re.fullmatch("0|[1-9][0-9]{0,19}", text) and int(text) < size, f"not a number: {text}")
    return int(text)


def signed(text):
    need(text != "-0" and number(text.removeprefix("-")) <= 2**63 - (text[:1] != "-"), f"not a signed number: {text}")
    return int(text)


def b64(text, size):
    raw = base64.b64decode(text.encode(), validate=True)
    need(base64.b64encode(raw).decode() == text and size in (None, len(raw)), f"not base64 of {size} bytes: {text}")
    return raw


def hash256(text):
    need(re.fullmatch("sha256:[0-9a-f]{64}", text), f"not a hash: {text}")
    return text


def time(text):
    need(re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z", text), f"not a time: {text}")
    datetime.datetime.fromisoformat(text[:19])
    return text


def word(text):
    need(1 <= len(text.encode()) <= 255 and not control(text) and not any(map(str.isspace, text)), f"no word: {text}")
    return text


def plain(text):
    need(text and text == text.strip() and not control(text), f"not plain: {text}")
    return text


def key_name(text):
    need(text and not control(text) and not any(char.isspace() or char == "+" for char in text), f"no name: {text}")
    return text


P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER_8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826


def vkey(text, name=None):
    """(name, id, key): `name+id+key`, a point of the curve that is not of small order."""
    parts = text.split("+", 2)
    need(len(parts) == 3 and name in (None, parts[0]), f"not a vkey of {name}: {text}")
    raw = b64(parts[2], 33)
    y = int.from_bytes(raw[1:], "little") % 2**255 % P
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    need(raw[0] == 1 and pow(square, P // 2, P) <= 1, f"not an Ed25519 key: {text}")
    need(y not in (0, 1, P - 1, ORDER_8, P - ORDER_8), f"key of small order: {text}")
    digest = hashlib.sha256(key_name(parts[0]).encode() + b"\n" + raw).hexdigest()[:8]
    need(parts[1] == digest, f"wrong id: {text}")
    return parts[0], bytes.fromhex(digest), raw[1:]


# --- Canonical JSON (RFC 8785) ----------------------------------------------------------------------------------------

def es6(value):
    """A number as ECMAScript spells it; Python finds the same shortest digits."""
    value = float(value)
    need(abs(value) != float("inf"), "a number that no double holds")
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = (whole + ("" if fraction == "0" else fraction)).lstrip("0")
    point -= len(whole + ("" if fraction == "0" else fraction)) - len(digits)
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        text = digits + "0" * (point - len(digits))
    elif 0 < point <= 21:
        text = digits[:point] + "." + digits[point:]
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        text = digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{point - 1:+}"
    return "-" * (value < 0) + text


def jcs(value, depth=0):
    """The one spelling of a JSON value."""
    if isinstance(value, (dict, list)):
        need(depth < DEPTH, "too deep")
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{jcs(key)}:{jcs(value[key], depth + 1)}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(jcs(item, depth + 1) for item in value) + "]"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return es6(value)
    return json.dumps(value, ensure_ascii=False)


def canonical(line):
    """The object of an event line."""
    try:
        value = json.loads(line.decode())
        need(isinstance(value, dict) and "sigtrail" not in value, "not an event")
        need(jcs(value).encode() == line, "not in canonical form")
        return value
    except (ValueError, RecursionError, OverflowError) as error:
        raise Bad(f"an event line is not canonical JSON: {error}") from error


# --- Trees (RFC 6962) -------------------------------------------------------------------------------------------------

def sha256(data):
    return hashlib.sha256(data).digest()


def leaf(data):
    return sha256(b"\0" + data)


def node(left, right):
    return sha256(b"\1" + left + right)


def root_of(level):
    while len(level) > 1:
        level = [node(*pair) if len(pair) == 2 else pair[0] for pair in (level[i:i + 2] for i in range(0, len(level), 2))]
    return level[0] if level else sha256(b"")


def fold(hashes):
    """The root over subtrees, given from right to left."""
    root = hashes[0] if hashes else sha256(b"")
    for left in hashes[1:]:
        root = node(left, root)
    return root


def subtrees(n, path):
    """{(first leaf, size): hash} of the perfect subtrees of the log of size n."""
    sizes = [1 << bit for bit in range(n.bit_length()) if n >> bit & 1]
    firsts = itertools.accumulate(sizes, lambda first, size: first - size, initial=n)
    return {(first, size): hash for size, hash, first in zip(sizes, path, list(firsts)[1:])}


# --- Signatures -------------------------------------------------------------------------------------------------------

WORK = tempfile.TemporaryDirectory(prefix="sigtrail-verify-")


def ed25519(key, message, signature):
    """Asks openssl. Before the key: SubjectPublicKeyInfo of Ed25519 (RFC 8410)."""
    files = {"key": bytes.fromhex("302a300506032b6570032100") + key, "message": message, "signature": signature}
    for name, data in files.items():
        with open(os.path.join(WORK.name, name), "wb") as file:
            file.write(data)
    command = "openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey key -in message -sigfile signature"
    return subprocess.run(command.split(), cwd=WORK.name, capture_output=True).returncode == 0


def signature_lines(lines):
    """[(name, key id, signature)] of the signature lines of a note."""
    need(0 < len(lines) <= SIGNATURES, "number of signatures")
    found = []
    for line in lines:
        dash, name, blob = (line.split(" ") + ["", ""])[:3] if line.count(" ") == 2 else ("", "", "")
        need(dash == "\u2014", f"not a signature line: {line}")
        raw = b64(blob, None)
        need(len(raw) >= 5, "a signature without bytes")
        found.append((key_name(name), raw[:4], raw[4:]))
    return found


def by(key, signature, text):
    """Is this signature by this key?"""
    return key[:2] == signature[:2] and len(signature[2]) == 64 and ed25519(key[2], text.encode(), signature[2])


# --- Seal: header, proof ----------------------------------------------------------------------------------------------

def fields(*parsers):
    def parse(text):
        values = text.split(" ")
        need(len(values) == len(parsers), f"number of values: {text}")
        return [parser(value) for parser, value in zip(parsers, values)]
    return parse


def after(prefix, parser):
    def parse(text):
        need(text.startswith(prefix), f"{prefix} is missing: {text}")
        return parser(text.removeprefix(prefix))
    return parse


def literal(*texts):
    def parse(text):
        need(text in texts, f"{text} is not one of {texts}")
        return text
    return parse


COUNTS = ["seen", "kfilter", "lost", "recv", "ufilter", "emit", "trunc"]


def acct(text):
    names = COUNTS + ["merge"] * (" merge=" in text)
    values = fields(word, *(after(f"{name}=", number) for name in names))(text)
    need(len(names) == 7 or values[8], "merge=0 has no spelling")
    return {"hook": values[0], "merge": 0} | dict(zip(names, values[1:]))


def gap(text):
    sink, numbers, reason = fields(word, str, literal("evict", "quarantine", "lag"))(text)
    first, last = map(number, numbers.split("-", 1))
    need(first <= last, f"gap: {text}")
    return sink, first, last, reason


def origin_name(text):
    need(len(text.encode()) <= 1024, "a long origin")
    return key_name(text)


KINDS = literal("genesis", "start", "events", "heartbeat", "stop", "rotate", "recovered")
HASH32 = lambda text: b64(text, 32)
HEADER = [  # key, fewest, most, value
    ("origin", 1, 1, origin_name), ("batch", 1, 1, number), ("prev", 1, 1, HASH32), ("kind", 1, 1, KINDS),
    ("events", 1, 1, number), ("first", 1, 1, number), ("root", 1, 1, HASH32),
    ("payload", 1, 1, fields(hash256, number)), ("boot", 1, 1, word), ("host", 1, 1, plain),
    ("mono", 1, 1, fields(number, number)), ("wall", 1, 1, fields(time, time)),
    ("clock", 1, 1, fields(literal("sync=0", "sync=1"), after("maxerr_us=", number), after("step_ns=", signed))),
    ("agent", 1, 1, fields(word, hash256, literal("bpf"), hash256)), ("policy", 1, 1, hash256), ("load", 0, 1, word),
    ("cpu", 0, TEXT, fields(number, number, number, number)), ("acct", 0, TEXT, acct), ("lost", 1, 1, number),
    ("gap", 0, TEXT, gap), ("receipt", 0, TEXT, plain), ("next", 1, 1, vkey), ("hostkey", 0, 1, vkey),
]


def parse_header(text):
    need(len(text.encode()) <= TEXT and text.endswith("\n"), "header: length or end")
    first, *lines = text[:-1].split("\n")
    need(first == "sigtrail/batch/v1", "header: version")
    header = {}
    for key, fewest, most, value in HEADER:
        count = len(list(itertools.takewhile(lambda line: line.startswith(key + " "), lines)))
        need(fewest <= count <= most, f"header: {key}")
        values = [value(line[len(key) + 1:]) for line in lines[:count]]
        header[key] = values if most == TEXT else values[0] if values else None
        lines = lines[count:]
    for line in lines:
        name, _, value = line.partition(" ")
        need(name.startswith("x-") and word(name) and plain(value), f"header: {line}")
    n, cpus, hooks = header["batch"], header["cpu"], [count["hook"] for count in header["acct"]]
    need((header["kind"] == "genesis") == (n == 0), "header: genesis is batch 0")
    need((header["kind"] == "rotate") == (header["hostkey"] is not None), "header: hostkey comes with rotate")
    need([cpu[0] for cpu in cpus] == sorted({cpu[0] for cpu in cpus}), "header: order of cpu")
    need(all(first <= last for _, first, last, _ in cpus), "header: range of cpu")
    need(len(hooks) == len(set(hooks)), "header: a hook twice")
    need(header["next"][0] == header["origin"] + "/chain", "header: name of next")
    need(header["hostkey"] is None or header["hostkey"][0] == header["origin"], "header: name of hostkey")
    return header


def parse_proof(text):
    """(index, path, origin, size, root, signed text, signatures)"""
    need(len(text.encode()) <= TEXT and text.endswith("\n"), "proof: length or end")
    first, index, *lines = text[:-1].split("\n") + [""]
    lines.pop()
    need(first == "c2sp.org/tlog-proof@v1", "proof: version")
    n = after("index ", number)(index)
    path, lines = [HASH32(line) for line in lines[:n.bit_count()]], lines[n.bit_count():]
    need(len(path) == n.bit_count() and len(lines) > 5 and lines[0] == "" == lines[4], "proof: form")
    return n, path, lines[1], number(lines[2]), HASH32(lines[3]), "\n".join(lines[1:4]) + "\n", signature_lines(lines[5:])


def parse_seal(line):
    seal = json.loads(line.decode())
    header, proof = seal.get("header"), seal.get("proof")
    need(isinstance(header, str) and isinstance(proof, str), "seal: form")
    again = '{"sigtrail":"seal/v1","header":%s,"proof":%s}' % (jcs(header), jcs(proof))
    need(again.encode() == line, "seal: form")
    return header, parse_header(header), parse_proof(proof)


def parse_enrolment(text):
    """(host key, chain key 0) of an enrolment note that its host key signed."""
    note, empty, signatures = text.partition("\n\n")
    first, *lines = note.split("\n")
    need(first == "sigtrail/enrol/v1" and empty and len(lines) >= 4 and text.endswith("\n"), "enrolment: form")
    origin = after("origin ", origin_name)(lines[0])
    host = vkey(after("hostkey ", str)(lines[1]), origin)
    chain = vkey(after("chainkey ", str)(lines[2]), origin + "/chain")
    for fact in lines[3:-1]:
        name, _, value = after("fact ", str)(fact).partition(" ")
        need(word(name) and plain(value), f"enrolment: {fact}")
    after("time ", time)(lines[-1])
    need(by(host, signature_lines(signatures[:-1].split("\n"))[0], note + "\n"), "enrolment: signature")
    return host, chain


# --- The log ----------------------------------------------------------------------------------------------------------

class Lines:
    """The event lines of one batch, as hashes."""

    def __init__(self):
        self.leaves, self.payload, self.bytes, self.redacted, self.first, self.bad = [], hashlib.sha256(), 0, 0, None, None

    def add(self, line):
        self.payload.update(line + b"\n")
        self.bytes += len(line) + 1
        self.first = self.first or line
        try:
            if line.startswith(REDACTED):
                given = line.removeprefix(REDACTED + b'v1","leaf":"').removesuffix(b'"}')
                self.leaves.append(HASH32(given.decode()))
                need(line == REDACTED + b'v1","leaf":"' + given + b'"}', "a redacted line")
                self.redacted += 1
                return
            self.leaves.append(leaf(line))
            need(len(line) <= LINE, "an event line is too long")
            canonical(line)
        except ValueError as error:
            self.bad = self.bad or error


class Log:
    """What is known after some batches of one log."""

    def __init__(self, keys=(), heads=(), begin=0):
        self.pinned, self.heads, self.begin = keys, heads, begin
        self.findings = []  # (is it tampering, batch, file, what)
        self.roots, self.seals = {}, {}  # by size: the root; by number: hash of the seal that was accepted
        self.next, self.host, self.chain, self.last = None, None, None, None  # next number; keys; last header
        self.trees, self.cpus = {}, {}  # perfect subtrees of the log; next number of each CPU
        self.batches = self.events = self.lost = self.redacted = self.absent = self.unsealed = 0
        self.times = []

    def found(self, tampered, batch, name, what):
        self.findings.append((tampered, batch, name, str(what)))

    def read(self, name, stream):
        """Whole batches."""
        lines = Lines()
        try:
            while line := stream.readline(LINE + 4096):
                if not line.endswith(b"\n"):
                    while len(line) >= LINE and not (more := stream.readline(1 << 20)).endswith(b"\n") and more:
                        pass
                    lines.add(line)
                elif line.startswith(SEAL):
                    self.batch(name, lines, line[:-1])
                    lines = Lines()
                else:
                    lines.add(line[:-1])
        except (OSError, EOFError) as error:
            self.found(False, None, name, f"cannot be read further: {error}")
        if lines.leaves or lines.bad:
            self.unsealed += len(lines.leaves)
            self.found(False, None, name, "lines at the end without a seal")

    def batch(self, name, lines, seal):
        """Checks 1 to 8 of the page."""
        n = None
        try:
            text, header, proof = parse_seal(seal)
            n = header["batch"]
            incomplete = [(False, n, name, what) for what in self.check(text, header, proof, lines)]
        except (ValueError, RecursionError) as error:
            self.found(True, n, name, error)
            return
        self.findings += incomplete

    def check(self, text, header, proof, lines):
        incomplete = []
        index, path, origin, size, root, note, signatures = proof
        n, kind = header["batch"], header["kind"]

        # 1: header and proof agree
        need(origin == header["origin"] and index == n == size - 1, "header and proof disagree")
        need(fold(path) == header["prev"], "the path does not lead to prev")
        need(fold([leaf(text.encode())] + path) == root, "the path and the header do not lead to the signed root")
        need(self.last is None or origin == self.last["origin"], "another log")

        # 2, 3: the lines
        if header["events"] and not lines.leaves:
            incomplete.append("the payload is gone")
        else:
            need(len(lines.leaves) == header["events"] and root_of(lines.leaves) == header["root"],
                 "the event lines are not those that were sealed")
            if lines.redacted:
                incomplete.append("redacted lines")
            else:
                need([f"sha256:{lines.payload.hexdigest()}", lines.bytes] == header["payload"], "payload differs")
            if lines.bad:
                raise lines.bad

        # 4, 5: who signed
        required = 3 if kind == "rotate" else 2
        need(len(signatures) >= required, "signatures are missing")
        identity = sha256(repr((text, signatures[:required])).encode())
        if self.seals.get(n) == identity:
            return incomplete
        need(self.next is None or n >= self.next, "another batch with the same number, or out of order")
        host, chain = self.host, self.chain if n == self.next else None
        if n == 0 and lines.first and not lines.redacted:
            enrolment = canonical(lines.first)
            need(enrolment.keys() == {"kind", "note"} and enrolment["kind"] == "enrol", "batch 0 is not an enrolment")
            host, chain = parse_enrolment(enrolment["note"])
            need(host[0] == origin, "the enrolment is of another log")
            need(not self.pinned or host in self.pinned, "the host key is not one of the expected")
        candidates = [host] if host else [key for key in self.pinned if key[:2] == signatures[0][:2]]
        if candidates or self.pinned:
            need(any(by(key, signatures[0], note) for key in candidates), "not signed by the host key")
        else:
            incomplete.append("no host key is known")
        need(chain is None or by(chain, signatures[1], note), "not signed by the chain key that was announced")
        need(kind != "rotate" or by(header["hostkey"], signatures[2], note), "not signed by the new host key")

        # 6, 7: what must continue
        if n != (self.begin if self.next is None else self.next):
            incomplete.append(f"batches before {n} are missing")
        self.continues(header, subtrees(n, path), n == self.next)

        # 8: the account
        incomplete += self.account(header, n == self.next)

        self.seals[n], self.roots[n], self.roots[n + 1] = identity, header["prev"], root
        self.trees, self.next = subtrees(n, path), n + 1
        self.last, self.host, self.chain = header, header["hostkey"] or host or (candidates + [None])[0], header["next"]
        self.batches += 1
        self.events += header["events"]
        self.lost += header["lost"]
        self.redacted += lines.redacted
        self.absent += bool(header["events"] and not lines.leaves)
        self.times = (self.times or header["wall"])[:1] + header["wall"][1:]
        return incomplete

    def continues(self, header, trees, follows):
        last = self.last
        need(header["mono"][0] <= header["mono"][1], "mono goes back")
        if last is None:
            return
        shared = [trees[place] == self.trees[place] for place in trees.keys() & self.trees.keys()]
        need(all(shared), "the tree is not a continuation of the tree before")
        if follows:
            need(header["prev"] == self.roots[header["batch"]], "the tree before is not that of the batch before")
            need(header["first"] == last["first"] + last["events"], "first does not continue")
            begins = header["kind"] in ("start", "recovered")
            need(begins or header["boot"] == last["boot"], "another boot without a start")
            need(begins or last["kind"] != "stop", "no start after a stop")
        need(header["first"] >= last["first"] + last["events"], "first goes back")
        need(header["boot"] != last["boot"] or header["mono"][0] >= last["mono"][1], "mono goes back")

    def account(self, header, follows):
        wrong = []
        for it in header["acct"]:
            if it["seen"] != it["kfilter"] + it["lost"] + it["recv"] or it["trunc"] > it["emit"] \
                    or it["recv"] != it["ufilter"] + it["emit"] + it["merge"]:
                wrong.append(f"the account of {it['hook']} does not add up")
        by_hook, by_cpu = sum(it["lost"] for it in header["acct"]), sum(cpu[3] for cpu in header["cpu"])
        if header["lost"] < max(by_hook, by_cpu):
            wrong.append("lost is less than the sum of its parts")
        last = self.last or header
        anew = header["load"] != last["load"] or header["boot"] != last["boot"] \
            or (header["kind"] == "start" and header["load"] is None)
        if anew or not follows:
            self.cpus = {}
        for cpu, first, end, _ in header["cpu"]:
            again = header["kind"] == "recovered" and header["load"] is None and first == 0
            if first != self.cpus.get(cpu, first) and not again:
                wrong.append(f"the numbers of CPU {cpu} do not continue")
            self.cpus[cpu] = end + 1
        return wrong

    def end(self):
        """Check 9, and the verdict."""
        if not self.batches:
            self.found(False, None, None, "no sealed batch")
        for origin, size, root in self.heads:
            if self.last and origin != self.last["origin"]:
                self.found(True, None, None, f"the known head is of {origin}")
            elif size in self.roots:
                if self.roots[size] != root:
                    self.found(True, None, None, f"the known head of size {size} has another root")
            else:
                self.found(False, None, None, f"a known head has {size} batches; the log does not show that one")
        return TAMPERED if any(it[0] for it in self.findings) else INCOMPLETE if self.findings else VERIFIED


# --- The program ------------------------------------------------------------------------------------------------------

def unpacked(path):
    """The plain bytes of a file."""
    if path == "-":
        return io.BytesIO(sys.stdin.buffer.read())
    file = open(path, "rb")
    magic = file.peek(4)[:4]
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(file)
    if magic == b"\x28\xb5\x2f\xfd":
        return subprocess.Popen(["zstd", "-dcq", path], stdout=subprocess.PIPE).stdout
    return file


def first_batch(path):
    """The number of the first seal in a file: files are read in this order, whatever their names."""
    with unpacked(path) as stream:
        for line in iter(lambda: stream.readline(LINE + 4096), b""):
            if found := line.startswith(SEAL) and re.search(rb"\\nbatch (\d{1,20})\\n", line):
                return int(found[1])
    return -1


def texts(value, parse):
    """Values from the command line: one, or a file with one a line."""
    if not os.path.exists(value):
        return [parse(value)]
    with open(value, encoding="utf-8") as file:
        text = file.read()
    if text.startswith("sigtrail/enrol/v1\n"):
        return [parse_enrolment(text)[0]]
    return [parse(line.strip()) for line in text.split("\n") if line.strip() and not line.startswith("#")]


def main():
    parser = argparse.ArgumentParser(description="Verify a sealed log of sigtrail",
                                     epilog="Exit code: 0 verified, 1 tampered, 2 incomplete, 3 wrong call.")
    parser.error = lambda message: (print(f"{parser.prog}: {message}", file=sys.stderr), sys.exit(WRONG_CALL))
    option = parser.add_argument
    option("input", nargs="+", metavar="FILE|DIR|-", help="plain, gzip or zstd")
    option("--key", action="append", default=[], metavar="VKEY|FILE", help="host key known to be right; or a file with "
           "one a line, or with the enrolment note")
    option("--known-head", action="append", default=[], metavar="HEAD|FILE", help='"origin size root"')
    option("--from", dest="begin", type=number, default=0, metavar="BATCH", help="the input begins with this batch")
    option("--json", action="store_true", help="print the report as JSON")
    args = parser.parse_args()
    try:
        keys = [key for value in args.key for key in texts(value, vkey)]
        heads = [head for value in args.known_head for head in texts(value, fields(key_name, number, HASH32))]
        files = [os.path.join(place, name) for top in args.input if os.path.isdir(top)
                 for place, _, names in os.walk(top) for name in names]
        files += [path for path in args.input if not os.path.isdir(path)]
        need(files, "no files in the directory")
        subprocess.run(["openssl", "version"], check=True, capture_output=True)
        files = sorted(files, key=first_batch) if files != ["-"] else files
        log = Log(keys, heads, args.begin)
        for path in files:
            with unpacked(path) as stream:
                log.read(path, stream)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        parser.error(error)
    verdict = log.end()
    report(log, verdict, args.json)
    sys.exit(verdict)


def report(log, verdict, as_json):
    size = log.next or 0
    head = log.last and f"{log.last['origin']} {size} {base64.b64encode(log.roots[size]).decode()}"
    findings = [{"severity": "tampered" if tampered else "incomplete", "batch": batch, "input": name, "what": what}
                for tampered, batch, name, what in log.findings]
    start, end = log.times or (None, None)
    facts = {"origin": log.last and log.last["origin"], "from": start, "to": end, "batches": log.batches,
             "events": log.events, "lost": log.lost, "redacted": log.redacted, "absent": log.absent,
             "unsealed": log.unsealed, "head": head, "pinned": bool(log.pinned)}
    if as_json:
        print(json.dumps({"verdict": VERDICTS[verdict]} | facts | {"findings": findings}, indent=2))
        return
    for name, value in facts.items():
        print(f"{name:<10}{value}")
    for it in findings:
        print(f"{it['severity']}: {it['input']}: batch {it['batch']}: {it['what']}")
    print(VERDICTS[verdict].upper())


if __name__ == "__main__":
    main()
