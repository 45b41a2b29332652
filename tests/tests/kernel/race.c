// Calls that name a file by memory which another thread rewrites all the time. Says which file each call was about: the
// kernel's word for it, not the memory's.
//
// race ROUNDS, in an empty directory. A line for each call: KIND FILE, where FILE is aaaa or bbbb; or KIND - when it failed.
// Needs no libc.

typedef unsigned long word;

static const char A[] = "aaaa", B[] = "bbbb", C[] = "cccc";
static _Alignas(8) volatile union { unsigned word; char text[8]; } name;
static char stack[16384];

static long call(long nr, word a, word b, word c, word d)
{
    register word r10 __asm__("r10") = d;
    long ret;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return ret;
}

static __attribute__((noreturn, used)) void rewrite(void)
{
    for (;;) {
        name.word = 0x61616161;
        name.word = 0x62626262;
    }
}

// The second thread shares all, and ends with the process.
static void start_thread(void)
{
    word flags = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000;
    register word r10 __asm__("r10") = 0;
    long ret;
    __asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\tcall rewrite\n1:"
                     : "=a"(ret) : "a"(56), "D"(flags), "S"(stack + sizeof stack - 64), "d"(0), "r"(r10) : "rcx", "r11", "memory");
}

static int exists(const char *file) { return call(21, (word)file, 0, 0, 0) == 0; }

static void say(const char *kind, const char *file)
{
    char line[32], *to = line;
    while (*kind)
        *to++ = *kind++;
    *to++ = ' ';
    while (*file)
        *to++ = *file++;
    *to++ = '\n';
    call(1, 1, (word)line, to - line, 0);
}

static void make(const char *file)
{
    call(3, call(2, (word)file, 0101, 0600, 0), 0, 0, 0);
}

// The inode number of an open file: struct stat has it in its second word.
static word inode(long fd)
{
    word stat[18];
    call(5, fd, (word)stat, 0, 0);
    return stat[1];
}

// Lets the other thread run, if it has to share our processor.
static void yield(void) { call(24, 0, 0, 0, 0); }

static void round(void)
{
    make(A);
    make(B);
    long a = call(2, (word)A, 0, 0, 0);
    word of_a = inode(a);
    call(3, a, 0, 0, 0);

    yield();
    long fd = call(2, (word)name.text, 1, 0, 0);
    say("open", fd < 0 ? "-" : inode(fd) == of_a ? A : B);
    call(3, fd, 0, 0, 0);

    yield();
    long failed = call(90, (word)name.text, 0640, 0, 0);
    long other = call(2, (word)A, 0, 0, 0);
    word stat[18];
    call(5, other, (word)stat, 0, 0);
    call(3, other, 0, 0, 0);
    // st_mode is the low half of the fourth word
    say("chmod", failed ? "-" : (stat[3] & 0777) == 0640 ? A : B);

    yield();
    failed = call(82, (word)name.text, (word)C, 0, 0);
    say("rename", failed ? "-" : exists(A) ? B : A);
    const char *left = exists(A) ? A : B;

    // only one is left: a call for the other fails
    yield();
    failed = call(87, (word)name.text, 0, 0, 0);
    say("unlink", failed ? "-" : left);
    call(87, (word)A, 0, 0, 0);
    call(87, (word)B, 0, 0, 0);
    call(87, (word)C, 0, 0, 0);
}

static __attribute__((noreturn, used)) void begin(word *args)
{
    long rounds = 0;
    for (const char *digit = (const char *)args[2]; *digit; digit++)
        rounds = rounds * 10 + *digit - '0';
    name.word = 0x61616161;
    start_thread();
    while (name.word == 0x61616161)
        yield();
    while (rounds--)
        round();
    call(231, 0, 0, 0, 0);
    __builtin_unreachable();
}

__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin");
