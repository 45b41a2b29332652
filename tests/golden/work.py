# Does each kind of thing at least once, in each of its shapes: `record.rs` makes the golden streams of it.
import ctypes, fcntl, mmap, os, signal, socket, stat, struct, sys
sys.stdin.readline()
os.chdir("/tmp/sigtrail-golden")

def child(do):
    pid = os.fork()
    if pid == 0:
        do()
        os._exit(127)
    os.waitpid(pid, 0)

def attempt(do):
    try:
        return do()
    except OSError:
        return None

def program(path, *args):
    child(lambda: attempt(lambda: os.execve(path, args, {"LANG": "C", "LD_LIBRARY_PATH": "/none"})))

def memory():
    fd = os.memfd_create("ghost")
    os.write(fd, open("/bin/true", "rb").read())
    os.execve("/proc/self/fd/%d" % fd, ["ghost"], {})

open("script", "w").write("#!/bin/sh\nexit 3\n")
os.chmod("script", 0o755)
program("/bin/true", "true", "", "two words", "\u00fc", b"\xff\n")
program("/tmp/sigtrail-golden/script", "script", "--flag")
program("/tmp/sigtrail-golden/missing", "missing")
child(memory)
child(lambda: os._exit(3))
child(lambda: os.kill(os.getpid(), signal.SIGKILL))

os.close(os.open("file", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o640))
os.close(os.open(b"bytes \xff", os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600))
os.close(os.open("file", os.O_RDONLY))
attempt(lambda: os.open("missing", os.O_RDONLY))
attempt(lambda: os.open("d" * 256, os.O_WRONLY))
os.mkdir("dir")
os.close(os.open("dir", os.O_RDONLY | os.O_DIRECTORY))
os.link("file", "hard")
attempt(lambda: os.link("missing", "hard2"))
os.symlink("file", "soft")
os.symlink("../else where\n", "dir/soft")
attempt(lambda: os.symlink("file", "soft"))
os.chmod("file", 0o4711)
os.chmod(os.open("dir", os.O_RDONLY), 0o700)
attempt(lambda: os.chmod("missing", 0o777))
os.chown("file", 65534, -1)
os.lchown("soft", 1, 2)
attempt(lambda: os.chown("missing", 0, 0))
os.truncate("file", 4096)
os.truncate(os.open("file", os.O_WRONLY), 7)
attempt(lambda: os.truncate("missing", 0))
os.rename("hard", "dir/renamed")
os.rename("soft", "file")
attempt(lambda: os.rename("missing", "there"))
os.unlink("dir/renamed")
os.unlink("dir/soft")
os.unlink(b"bytes \xff")
attempt(lambda: os.unlink("missing"))
attempt(lambda: os.rmdir("missing"))
os.rmdir("dir")

open("kept", "w").close()
os.mkdir("made", 0o1750)
attempt(lambda: os.mkdir("missing/made"))
os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
os.mkfifo("pipe", 0o600)
os.setxattr("kept", "user.note", b"ab")
os.setxattr(os.open("kept", os.O_WRONLY), "user.note", b"abc", os.XATTR_REPLACE)
attempt(lambda: os.setxattr("missing", "security.capability", b"x"))
os.removexattr("kept", "user.note")
attempt(lambda: os.removexattr("kept", "user.note"))
os.utime("kept", ns=(1, 1_000_000_000_000_000_007))
os.utime(os.open("kept", os.O_WRONLY))
attempt(lambda: os.utime("missing", (0, 0)))
attempt(lambda: fcntl.ioctl(os.open("kept", os.O_RDONLY), 0x40086602, struct.pack("i", 0x80040)))

libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    return libc.syscall(ctypes.c_long(number), *[ctypes.c_long(it) if isinstance(it, int) else it for it in args])
AT = -100

# numbers of syscall_64.tbl: the file system is mounted in a namespace of the child alone
def mounts():
    os.mkdir("at")
    call(272, 0x20000)
    call(165, b"none", b"/", 0, 0x44000, 0)
    call(165, b"a name", b"at", b"tmpfs", 6, b"size=1m")
    context = call(430, b"tmpfs", 1)
    call(431, context, 1, b"source", b"other", 0)
    call(431, context, 6, 0, 0, 0)
    tree = call(432, context, 1, 2)
    call(429, tree, b"", AT, b"at", 4)
    call(165, b"none", b"missing", b"tmpfs", 0, 0)
    call(166, b"at", 2)
    call(166, b"missing", 0)
    os.mkdir("at/old")
    call(155, b"missing", b"missing")
    call(155, b"at", b"at/old")
    call(161, b"/old/tmp")
    call(161, b"missing")
    os._exit(0)
child(mounts)
call(167, b"missing", 0x8007)
call(168, b"missing")

server = socket.socket()
server.bind(("127.0.0.1", 47113))
server.listen(7)
client = socket.create_connection(("127.0.0.1", 47113))
other, _ = server.accept()
other.send(b"x")
server6 = socket.socket(socket.AF_INET6)
server6.bind(("::1", 47114))
server6.listen()
attempt(lambda: socket.create_connection(("127.0.0.1", 47115)))
attempt(lambda: server.bind(("127.0.0.1", 47116)))
unix = socket.socket(socket.AF_UNIX)
unix.bind("/tmp/sigtrail-golden/socket")
unix.listen(0)
hidden = socket.socket(socket.AF_UNIX)
hidden.bind("\0sigtrail-golden")
peer = socket.socket(socket.AF_UNIX)
peer.connect("/tmp/sigtrail-golden/socket")
unix.accept()
unix.setblocking(False)
attempt(unix.accept)
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagram.sendto(b"hello", ("127.0.0.1", 47117))
datagram6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
datagram6.sendto(b"hello", ("::1", 47118))
attempt(lambda: datagram.sendto(b"x", ("255.255.255.255", 47119)))

def question(number, kind, *labels):
    name = b"".join(bytes([len(label)]) + label for label in labels)
    return struct.pack(">6H", number, 0x100, 1, 0, 0, 0) + name + b"\0" + struct.pack(">2H", kind, 1)
datagram.sendto(question(1, 1, b"www", b"example", b"com"), ("127.0.0.1", 53))
datagram6.sendto(question(0xffff, 65280), ("::1", 53))
strange = question(2, 28, b"dot.in", b"back\\slash", b"\xff \n")
datagram.sendmsg([strange[:15], strange[15:]], [], 0, ("127.0.0.1", 53))
datagram.sendto(b"no question", ("127.0.0.1", 53))
attempt(lambda: datagram.sendto(question(3, 1, b"denied"), ("255.255.255.255", 53)))

# ---- privileges and the kernel: in children, and where a success would change the host, as nobody
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def call(number, *args):
    return libc.syscall(ctypes.c_long(number), *[ctypes.c_long(it) if isinstance(it, int) else it for it in args])

def in_child(*dos, uid=0):
    def work():
        if uid:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        for do in dos:
            do()
        os._exit(0)
    child(work)

def words(*numbers, size="Q"):
    return struct.pack("<%d%s" % (len(numbers), size), *numbers)

NOBODY = 65534
in_child(lambda: call(116, 2, words(7, 8, size="I")), lambda: call(119, 1, 2, 3), lambda: call(117, 4, 5, 6),
    lambda: call(122, 4), lambda: call(105, 6), lambda: call(113, -1, 0))
in_child(lambda: call(126, words(0x20080522, 0, size="I"), words(0x20, 0x20, 0, 0, 0, 0, size="I")),
    lambda: call(126, words(0x20080522, 0, size="I"), words(0x21, 0x21, 0, 0, 0, 0, size="I")))
def traced():
    call(101, 0, 0, 0, 0)
in_child(traced)
attempt(lambda: call(101, 16, 1 << 22, 0, 0))
victim = os.fork()
if victim == 0:
    signal.pause()
    os._exit(0)
memory_of = ctypes.create_string_buffer(b"memory")
here = words(ctypes.addressof(memory_of), 6)
call(101, 0x4206, victim, 0, 0)
call(101, 17, victim, 0, 0)
call(302, victim, 4, struct.pack("2Q", 0, 4096), 0)
call(302, victim, 4, struct.pack("2Q", 7, 2**64 - 1), 0)
call(302, 1 << 22, 99, 0x1000, 0)
call(310, victim, here, 1, here, 1, 0)
call(311, victim, here, 1, here, 1, 0)
in_child(lambda: call(310, victim, here, 1, here, 1, 0), uid=NOBODY)
taken = call(434, victim, 0)
call(438, taken, 1, 0)
call(438, taken, 999, 0)
call(440, taken, here, 1, 20, 0)
in_child(lambda: call(62, victim, 9), lambda: call(424, taken, 15, 0, 0), uid=NOBODY)
call(234, victim, victim, 10000)
call(62, victim, 18)
call(424, taken, 9, 0, 0)
os.waitpid(victim, 0)
module = os.open("work.py", os.O_RDONLY)
in_child(lambda: call(313, module, b"debug=1", 0), lambda: call(175, b"x", 1, b"key=value"),
    lambda: call(176, b"no_such_module", 0o4000), lambda: call(320, module, -1, 6, b"quiet", 4), lambda: call(246, 0, 0, 0, 1),
    lambda: call(169, 0xfee1dead, 672274793, 0x1234567, 0), lambda: call(227, 0, words(1, 2)),
    lambda: call(164, words(3, 4), 0), lambda: call(159, words(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
    lambda: call(170, b"other", 5), lambda: call(163, b"work.py"), lambda: call(179, 0x80000200, b"/dev/null", 7, 0),
    lambda: call(172, 3), lambda: call(173, 0x378, 3, 1), lambda: call(103, 5, 0, 0), lambda: call(103, 8, 0, 1),
    lambda: call(116, 0, 0), lambda: call(323, 0), lambda: call(272, 0x20000), uid=NOBODY)
call(321, 0, words(2, 4, 8, 1, 0, 0, 0, size="I") + b"golden_map\0\0\0\0\0\0", 44)
call(321, 5, words(1, 1, size="I") + words(0, 0) + b"\0" * 40, 72)
call(321, 13, words(0xfffffff, 0, 0, size="I"), 12)
call(321, 6, words(ctypes.addressof(memory_of), 0), 16)
attempt(lambda: call(298, words(1, 128, size="I") + words(9) + b"\0" * 112, 0, -1, -1, 8))
in_child(lambda: call(272, 0x4000000), lambda: call(170, b"golden", 6), lambda: call(171, b"golden.example", 14))
in_child(lambda: call(308, os.open("/proc/self/ns/uts", os.O_RDONLY), 0))
in_child(lambda: os.waitpid(call(56, 0x10000000 | 17, 0, 0, 0, 0) or os._exit(0), 0))
call(319, b"golden", 3)
in_child(lambda: call(157, 38, 1, 0, 0, 0), lambda: call(157, 4, 0, 0, 0, 0), lambda: call(157, 24, 13, 0, 0, 0),
    lambda: call(157, 47, 2, 5, 0, 0), lambda: call(157, 15, b"name", 0, 0, 0))
program_of = words(6, 0, 0, 0x7fff0000, size="I")
code = ctypes.create_string_buffer(struct.pack("<HBBI", 6, 0, 0, 0x7fff0000))
in_child(lambda: call(157, 38, 1, 0, 0, 0), lambda: call(317, 1, 2, words(1, ctypes.addressof(code))), lambda: call(317, 0, 7, 0))
in_child(lambda: call(250, 1, b"golden"), lambda: call(248, b"user", b"golden:key", b"secret", 6, -3),
    lambda: call(249, b"user", b"golden:other", 0, -3), lambda: call(250, 10, -3, b"user", b"golden:key", 0))
call(323, 0o2000001)
in_child(lambda: call(444, words(13), 8, 0), lambda: call(445, 99, 1, words(4, 0), 0), lambda: call(446, 99, 0))
in_child(lambda: call(460, 100, words(104, 0, 39, 7) + b"golden\0", 39, 0))
in_child(lambda: call(425, 4, b"\0" * 120), lambda: call(425, 0, b"\0" * 120))
in_child(lambda: call(135, 0x40000), lambda: call(135, 0xffffffff))
in_child(lambda: call(112), lambda: call(112))
in_child(lambda: call(9, 0, 4096, 7, 0x22, -1, 0), lambda: call(10, call(9, 0, 4096, 3, 0x22, -1, 0), 4096, 5))
for family, kind, number in (2, 3, 1), (17, 3, 0), (16, 3, 9), (38, 5, 0), (40, 1, 0):
    call(41, family, kind, number)

# operations of io_uring(7) that shall say nothing when they succeed
def ring():
    at = ctypes.create_string_buffer(120)
    fd = call(425, 8, at)
    number = lambda offset: struct.unpack_from("I", at, offset)[0]
    shared = mmap.mmap(fd, 4096, offset=0)
    entries = mmap.mmap(fd, 4096, offset=0x10000000)
    asked = [(18, -100, b"missing", 0, 0), (35, -100, b"file", -100, b"moved"), (16, sock.fileno(), words(0x0100007f35000002), 0, 16)]
    for place, (op, of, first, more, second) in enumerate(asked):
        address = lambda it: ctypes.addressof(it) if isinstance(it, ctypes.Array) else it
        keep = [ctypes.create_string_buffer(it) if isinstance(it, bytes) else it for it in (first, second)]
        kept.append(keep)
        struct.pack_into("<BBHiQQIIQ", entries, 64 * place, op, 64, 0, of, address(keep[1]), address(keep[0]), more & 0xffffffff, 0, place)
        struct.pack_into("<I", shared, number(64) + 4 * place, place)
    struct.pack_into("<I", shared, number(44), len(asked))
    call(426, fd, len(asked), 0, 0, 0, 0)
kept, sock = [], socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ring()
