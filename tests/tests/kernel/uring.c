// Does work by io_uring alone, so that no system call of its kind returns: no liburing, no libc.
//
//   uring DIR MODE [PORT]      MODE: plain, async (IOSQE_ASYNC: a worker does it), sqpoll (the kernel's thread submits),
//                              silent (IOSQE_CQE_SKIP_SUCCESS), fixed (a slot of the ring in place of a descriptor),
//                              write and wsqpoll (writes only, to files that system calls open and close)
//
// Prints a line for each operation: NAME RESULT. A kernel without an operation says -22.

typedef unsigned long word;
typedef unsigned int u32;
typedef unsigned char u8;

// include/uapi/linux/io_uring.h
struct sqe { u8 op, flags; unsigned short prio; int fd; word off, addr; u32 len, op_flags; word tag; unsigned short buf, personality; u32 slot; word addr3, pad; };
struct cqe { word tag; int res; u32 flags; };
struct params { u32 sq, cq, flags, cpu, idle, features, wq, resv[3], so[10], co[10]; };

static struct params params;
static struct sqe *sqes;
static u8 *ring;
static int fd, fd_flags;
static word tags;

static long call(long nr, word a, word b, word c, word d, word e, word f)
{
    register word r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long ret;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return ret;
}

void *memset(void *to, int byte, word len)
{
    for (u8 *at = to; len--; ++at)
        *at = byte;
    return to;
}

static void die(const char *what)
{
    word len = 0;
    while (what[len])
        ++len;
    call(1, 2, (word)what, len, 0, 0, 0);
    call(231, 1, 0, 0, 0, 0, 0);
}

static void say(const char *name, long value)
{
    char line[64], *to = line, digits[24];
    int count = 0;
    while (*name)
        *to++ = *name++;
    *to++ = ' ';
    word rest = value < 0 ? -(word)value : (word)value;
    if (value < 0)
        *to++ = '-';
    do
        digits[count++] = '0' + rest % 10;
    while (rest /= 10);
    while (count)
        *to++ = digits[--count];
    *to++ = '\n';
    call(1, 1, (word)line, to - line, 0, 0, 0);
}

#define LOAD(at) __atomic_load_n(at, __ATOMIC_ACQUIRE)
#define STORE(at, value) __atomic_store_n(at, value, __ATOMIC_RELEASE)

static void setup(u32 flags)
{
    params.flags = flags;
    params.idle = 1000;
    fd = call(425, 8, (word)&params, 0, 0, 0, 0);
    if (fd < 0)
        die("no io_uring\n");
    // both rings are in one mapping (IORING_FEAT_SINGLE_MMAP, 5.4)
    word size = params.so[6] + params.sq * 4, other = params.co[5] + params.cq * sizeof(struct cqe);
    ring = (u8 *)call(9, 0, size > other ? size : other, 3, 1 | 0x8000, fd, 0);
    sqes = (struct sqe *)call(9, 0, params.sq * sizeof(struct sqe), 3, 1 | 0x8000, fd, 0x10000000);
}

static void put(struct sqe it)
{
    u32 *tail = (u32 *)(ring + params.so[1]), mask = *(u32 *)(ring + params.so[2]), *array = (u32 *)(ring + params.so[6]);
    u32 at = *tail & mask;
    it.flags |= fd_flags;
    it.tag = ++tags;
    sqes[at] = it;
    array[at] = at;
    STORE(tail, *tail + 1);
}

static int take(void)
{
    u32 *head = (u32 *)(ring + params.co[0]), *tail = (u32 *)(ring + params.co[1]), mask = *(u32 *)(ring + params.co[2]);
    struct cqe *cqes = (struct cqe *)(ring + params.co[5]);
    while (LOAD(tail) == *head) {
        u32 flags = 1; // GETEVENTS
        if (params.flags & 2 && LOAD((u32 *)(ring + params.so[4])) & 1)
            flags |= 2; // SQ_WAKEUP
        call(426, fd, params.flags & 2 ? 0 : 8, 1, flags, 0, 0);
    }
    int res = cqes[*head & mask].res;
    STORE(head, *head + 1);
    return res;
}

// Does one operation. One that succeeds in silence is followed by a no-op, whose completion tells that it is over.
static int go(const char *name, struct sqe it)
{
    int res;
    put(it);
    if (fd_flags & 64) {
        if (!(params.flags & 2))
            call(426, fd, 1, 0, 0, 0, 0);
        int silent = fd_flags;
        fd_flags = 2; // IOSQE_IO_DRAIN
        put((struct sqe){0});
        fd_flags = silent;
        word last = tags;
        for (res = 0;;) {
            u32 *head = (u32 *)(ring + params.co[0]), mask = *(u32 *)(ring + params.co[2]);
            struct cqe *cqes = (struct cqe *)(ring + params.co[5]);
            word *tag = &cqes[*head & mask].tag;
            int got = take();
            if (*tag == last)
                break;
            res = got;
        }
    } else {
        res = take();
    }
    say(name, res);
    return res;
}

#define CWD -100
#define P(x) (word)(x)

static void files(const char *dir, int slots)
{
    if (call(80, P(dir), 0, 0, 0, 0, 0))
        die("no directory\n");
    int at = call(257, CWD, P("sub"), 0x10000, 0, 0, 0);
    say("dir", at);
    struct sqe create = {.op = 18, .fd = CWD, .addr = P("file"), .len = 0640, .op_flags = 0102};
    if (slots) {
        int free[4] = {-1, -1, -1, -1};
        if (call(427, fd, 2, P(free), 4, 0, 0))
            die("no slots\n");
        create.slot = 1;
    }
    int file = go("open", create);
    go("open.missing", (struct sqe){.op = 18, .fd = at, .addr = P("missing"), .op_flags = 0});
    word how[3] = {0x80000, 0, 0};
    go("openat2", (struct sqe){.op = 28, .fd = at, .addr = P("inner"), .len = 24, .off = P(how)});
    go("open.symlink", (struct sqe){.op = 18, .fd = CWD, .addr = P("soft"), .op_flags = 1});
    if (!slots)
        go("ftruncate", (struct sqe){.op = 55, .fd = file, .off = 77});
    go("rename", (struct sqe){.op = 35, .fd = CWD, .addr = P("file"), .len = at, .off = P("moved")});
    go("link", (struct sqe){.op = 39, .fd = at, .addr = P("moved"), .len = CWD, .off = P("hard")});
    go("symlink", (struct sqe){.op = 38, .fd = at, .addr = P("content"), .off = P("symbol")});
    static char name[300], other[300];
    memset(name, 'n', 240);
    memset(other, 'o', 240);
    go("rename.long", (struct sqe){.op = 35, .fd = CWD, .addr = P("hard"), .len = CWD, .off = P(name)});
    go("rename.longer", (struct sqe){.op = 35, .fd = CWD, .addr = P(name), .len = at, .off = P(other)});
    go("unlink", (struct sqe){.op = 36, .fd = at, .addr = P(other)});
    go("unlink.missing", (struct sqe){.op = 36, .fd = CWD, .addr = P("missing")});
    go("rmdir", (struct sqe){.op = 36, .fd = CWD, .addr = P("empty"), .op_flags = 0x200});
}

// Writes to a file with a descriptor in every way; to one in a slot of the ring; and to one whose last descriptor is
// closed by the end of the process.
static void writes(const char *dir)
{
    if (call(80, P(dir), 0, 0, 0, 0, 0))
        die("no directory\n");
    int file = call(257, CWD, P("written"), 0102, 0600, 0, 0), slot = call(257, CWD, P("slot"), 0102, 0600, 0, 0);
    int left = call(257, CWD, P("left"), 0102, 0600, 0, 0), pipes[2];
    word parts[4] = {P("two"), 3, P("three"), 5};
    if (call(22, P(pipes), 0, 0, 0, 0, 0) || call(1, pipes[1], P("splice"), 6, 0, 0, 0) != 6)
        die("no pipe\n");
    go("splice", (struct sqe){.op = 30, .fd = file, .off = 11, .addr = -1, .len = 6, .slot = pipes[0]});
    fd_flags = 16;
    go("writev", (struct sqe){.op = 2, .fd = file, .off = 3, .addr = P(parts), .len = 2});
    fd_flags = 0;
    go("fallocate", (struct sqe){.op = 17, .fd = file, .addr = 100});
    go("write.denied", (struct sqe){.op = 23, .fd = pipes[0], .addr = P("x"), .len = 1});
    go("write", (struct sqe){.op = 23, .fd = file, .addr = P("one"), .len = 3});
    call(1, left, P("call"), 4, 0, 0, 0);
    go("write.left", (struct sqe){.op = 23, .fd = left, .addr = P("ring"), .len = 4, .off = 4});
    call(3, file, 0, 0, 0, 0, 0);
    if (call(427, fd, 2, P(&slot), 1, 0, 0))
        die("no slots\n");
    call(3, slot, 0, 0, 0, 0, 0);
    fd_flags = 1; // IOSQE_FIXED_FILE
    go("write.slot", (struct sqe){.op = 23, .fd = 0, .addr = P("slot"), .len = 4});
}

struct in { unsigned short family, port; u8 ip[4]; word zero; };

static void network(unsigned short port)
{
    struct in to = {2, port >> 8 | port << 8, {127, 0, 0, 1}, 0}, any = {2, 0, {127, 0, 0, 1}, 0};
    int client = call(41, 2, 1, 0, 0, 0, 0), server = call(41, 2, 1, 0, 0, 0, 0), datagram = call(41, 2, 2, 0, 0, 0, 0);
    go("connect", (struct sqe){.op = 16, .fd = client, .addr = P(&to), .off = 16});
    go("socket", (struct sqe){.op = 45, .fd = 17, .off = 3, .len = 0});
    if (go("bind", (struct sqe){.op = 56, .fd = server, .addr = P(&any), .off = 16}) < 0)
        call(49, server, P(&any), 16, 0, 0, 0);
    if (go("listen", (struct sqe){.op = 57, .fd = server, .len = 5}) < 0)
        call(50, server, 5, 0, 0, 0, 0);
    u32 len = 16;
    call(51, server, P(&any), P(&len), 0, 0, 0);
    int peer = call(41, 2, 1, 0, 0, 0, 0);
    say("port", (any.port & 0xff) << 8 | any.port >> 8);
    call(42, peer, P(&any), 16, 0, 0, 0);
    go("accept", (struct sqe){.op = 13, .fd = server});
    word part[2] = {P("hello"), 5};
    word header[7] = {P(&to), 16, P(part), 1, 0, 0, 0};
    go("sendmsg", (struct sqe){.op = 9, .fd = datagram, .addr = P(header), .len = 1});
    call(42, datagram, P(&to), 16, 0, 0, 0);
    go("send", (struct sqe){.op = 26, .fd = datagram, .addr = P("hello"), .len = 5});
}

__attribute__((noreturn, used)) static void start(word *stack)
{
    char **args = (char **)(stack + 1);
    if (stack[0] < 3)
        die("uring DIR MODE [PORT]\n");
    char mode = args[2][0], second = args[2][1];
    setup((mode == 's' && second == 'q') || (mode == 'w' && second == 's') ? 2 : 0);
    if (mode == 'w') {
        writes(args[1]);
        call(231, 0, 0, 0, 0, 0, 0);
    }
    fd_flags = mode == 'a' ? 16 : mode == 's' && second == 'i' ? 64 : 0;
    files(args[1], mode == 'f');
    if (stack[0] > 3) {
        unsigned short port = 0;
        for (char *at = args[3]; *at; ++at)
            port = port * 10 + *at - '0';
        network(port);
    }
    call(231, 0, 0, 0, 0, 0, 0);
    __builtin_unreachable();
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start\n");
