// Does system calls as it is told, so that a test decides each number and each byte, and nobody's library between.
//
// One command a line on standard input, one answer a line on standard output:
//   NUMBER ARG…      a system call of a 64-bit program      → RESULT BEFORE AFTER
//   cNUMBER ARG…     the same by `int $0x80`, as a 32-bit program does it
//   fFLAGS CODE      clone(2) with FLAGS; the child exits with CODE at once
// BEFORE and AFTER are CLOCK_BOOTTIME in nanoseconds. Arguments:
//   123, -1          a number
//   x00ff…           the address of these bytes, a NUL behind them
//   v61,62,          the address of a list of strings (each ended by a comma), as argv has it
//   k16              the address of byte 16 of memory that commands leave alone, for what a call writes
//   m0200…           the address of a struct msghdr with this name and one byte of data
//   d0200…,61.62,63  the address of an array of struct mmsghdr with this name, each with the parts of its data
// After an exec of itself it answers `0 NOW NOW` and goes on. It needs no libc, so it opens no file of its own. Its
// memory lies below 4 GiB, where a 32-bit call finds it.

typedef unsigned long word;

static char in[4 << 20], out[256];
static word room[1 << 19]; // what the arguments point to
static word kept[512];     // what calls wrote

static long call(long nr, word a, word b, word c, word d, word e, word f)
{
    register word r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long ret;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return ret;
}

static long compat_call(long nr, word a, word b, word c, word d, word e)
{
    long ret;
    __asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "r8", "r9", "r10", "r11", "memory");
    return (int)ret;
}

// The child may share our memory: it touches none.
static long clone_and_exit(word flags, word code)
{
    register word r10 __asm__("r10") = 0, r8 __asm__("r8") = 0;
    long ret;
    __asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\tmov %%rbx, %%rdi\n\tmov $60, %%eax\n\tsyscall\n1:"
                     : "=a"(ret) : "a"(56), "D"(flags), "S"(0), "d"(0), "r"(r10), "r"(r8), "b"(code) : "rcx", "r11", "memory");
    return ret;
}

static long now(void)
{
    long time[2];
    call(228, 7, (word)time, 0, 0, 0, 0);
    return time[0] * 1000000000 + time[1];
}

static char *number(char *to, long value)
{
    char digits[24];
    int count = 0;
    word rest = value < 0 ? -(word)value : (word)value;
    if (value < 0)
        *to++ = '-';
    do
        digits[count++] = '0' + rest % 10;
    while (rest /= 10);
    while (count)
        *to++ = digits[--count];
    return to;
}

static void answer(long ret, long before, long after)
{
    char *to = number(out, ret);
    *to++ = ' ';
    to = number(to, before);
    *to++ = ' ';
    to = number(to, after);
    *to++ = '\n';
    call(1, 1, (word)out, to - out, 0, 0, 0);
}

static int nibble(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }
static int is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

static long parse(char **at)
{
    long value = 0;
    int minus = **at == '-';
    for (*at += minus; **at >= '0' && **at <= '9'; ++*at)
        value = value * 10 + **at - '0';
    return minus ? -value : value;
}

static char *bytes(char **at, char *to)
{
    for (; is_hex(**at); *at += 2)
        *to++ = nibble((*at)[0]) << 4 | nibble((*at)[1]);
    *to++ = 0;
    return to;
}

static word argument(char **at, char **free)
{
    char kind = **at;
    if (kind == 'k') {
        ++*at;
        return (word)kept + parse(at);
    }
    if (kind != 'x' && kind != 'v' && kind != 'm' && kind != 'd')
        return parse(at);
    ++*at;
    word *start = (word *)(((word)*free + 7) & ~7ul);
    if (kind == 'x') {
        *free = bytes(at, (char *)start);
    } else if (kind == 'v') {
        int count = 0;
        for (char *c = *at; *c == ',' || is_hex(*c); ++c)
            count += *c == ',';
        *free = (char *)(start + count + 1);
        for (int i = 0; i < count; ++i, ++*at) {
            start[i] = (word)*free;
            *free = bytes(at, *free);
        }
        start[count] = 0;
    } else if (kind == 'd') {
        int messages = 0, parts = 0;
        for (char *c = *at; *c == ',' || *c == '.' || is_hex(*c); ++c) {
            messages += *c == ',';
            parts += *c == ',' || *c == '.';
        }
        word *part = start + messages * 8;
        char *name = (char *)(part + parts * 2);
        *free = bytes(at, name);
        word len = *free - name - 1;
        for (int i = 0; i < messages; ++i) {
            word *first = part;
            do {
                ++*at;
                part[0] = (word)*free;
                *free = bytes(at, *free);
                part[1] = (word)*free - part[0] - 1;
                part += 2;
            } while (**at == '.');
            word header[8] = {len ? (word)name : 0, len, (word)first, (part - first) / 2, 0, 0, 0, 0};
            for (int j = 0; j < 8; ++j)
                start[i * 8 + j] = header[j];
        }
    } else {
        // struct msghdr: name, namelen, iov, iovlen, control, controllen, flags; then struct iovec; then the name
        char *name = (char *)(start + 9);
        *free = bytes(at, name);
        word len = *free - name - 1;
        word header[9] = {len ? (word)name : 0, len, (word)(start + 7), 1, 0, 0, 0, (word)"x", 1};
        for (int i = 0; i < 9; ++i)
            start[i] = header[i];
    }
    return (word)start;
}

static void obey(char *at)
{
    char way = *at;
    if (way == 'c' || way == 'f')
        ++at;
    char *free = (char *)room;
    long nr = parse(&at);
    word arg[6] = {0};
    for (int i = 0; i < 6 && *at == ' '; ++i) {
        ++at;
        arg[i] = argument(&at, &free);
    }
    long before = now(), ret;
    if (way == 'f')
        ret = clone_and_exit(nr, arg[0]);
    else if (way == 'c')
        ret = compat_call(nr, arg[0], arg[1], arg[2], arg[3], arg[4]);
    else
        ret = call(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
    answer(ret, before, now());
}

__attribute__((force_align_arg_pointer)) void _start(void)
{
    long time = now();
    answer(0, time, time);
    long used = 0;
    for (;;) {
        long got = call(0, 0, (word)in + used, sizeof in - 1 - used, 0, 0, 0);
        if (got <= 0)
            call(231, got < 0, 0, 0, 0, 0, 0);
        used += got;
        if (in[used - 1] == '\n') {
            in[used] = 0;
            obey(in);
            used = 0;
        }
    }
}
