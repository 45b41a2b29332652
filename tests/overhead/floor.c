/* floor: nanoseconds per system call, in thread CPU time, with an empty eBPF program on a hook, or with whatever is
 * attached to this kernel already.
 *
 *   floor HOOK BATCHES [CALL...]   HOOK is one of the names in `hooks`; without a CALL all of them
 *   floor list                     the names of the calls, and of the hooks
 *
 * Prints one JSON line: {"call":[ns of batch 1, ns of batch 2, ...], ...}. The program of a hook has two instructions
 * and is loaded by bpf(2) alone: no compiler, no library. Needs a mounted tracefs for the perf tracepoints.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST 4096 /* calls in a batch: fewer than fill the ring */

static void die(const char *what)
{
	perror(what);
	exit(2);
}
static void must(long result, const char *what)
{
	if (result < 0) die(what);
}

/* ---- the calls ---------------------------------------------------------------------------------------------- */

static int fds[MOST], others[MOST], listener = -1, null = -1;
static struct sockaddr_in server, discard;
static char program[4096]; /* nop, beside this one */

static char *name(char kind, int i)
{
	static char text[2][32]; /* two at a time: old and new */
	static int turn;
	turn ^= 1;
	snprintf(text[turn], sizeof text[0], "%c%d", kind, i);
	return text[turn];
}
static void make_file(int i)
{
	int fd = open(name('f', i), O_CREAT | O_WRONLY | O_TRUNC, 0600);
	must(fd, "making a file");
	close(fd);
}
static void drop_file(int i) { unlink(name('f', i)); }
static void drop_other(int i) { unlink(name('g', i)); }
static void drop_both(int i) { drop_file(i); drop_other(i); }
static void make_dir(int i) { must(mkdir(name('d', i), 0700), "mkdir"); }
static void drop_dir(int i) { rmdir(name('d', i)); }
static void close_it(int i) { close(fds[i]); }
static void udp(int i) { must(fds[i] = socket(AF_INET, SOCK_DGRAM, 0), "socket"); }
static void tcp(int i) { must(fds[i] = socket(AF_INET, SOCK_STREAM, 0), "socket"); }
static void pending(int i)
{
	struct linger reset = { 1, 0 };
	int client = socket(AF_INET, SOCK_STREAM, 0);
	must(client, "socket");
	must(connect(client, (void *)&server, sizeof server), "connect");
	must(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), "linger");
	fds[i] = client;
}
static void accepted(int i) { must(close(others[i]) | close(fds[i]), "close"); }

static long c_getppid(int i) { (void)i; return syscall(SYS_getppid); }
static long c_write(int i) { (void)i; return write(null, "x", 1); }
static long c_open_read(int i) { return fds[i] = open("/etc/hostname", O_RDONLY | O_CLOEXEC); }
static long c_open_write(int i) { return fds[i] = open(name('f', i), O_WRONLY | O_CLOEXEC); }
static long c_create(int i) { return fds[i] = open(name('f', i), O_CREAT | O_EXCL | O_WRONLY, 0600); }
static long c_unlink(int i) { return unlink(name('f', i)); }
static long c_rename(int i) { return rename(name('f', i), name('g', i)); }
static long c_link(int i) { return link(name('f', i), name('g', i)); }
static long c_symlink(int i) { return symlink("target", name('g', i)); }
static long c_mkdir(int i) { return mkdir(name('d', i), 0700); }
static long c_rmdir(int i) { return rmdir(name('d', i)); }
static long c_chmod(int i) { return chmod(name('f', i), 0640); }
static long c_chown(int i) { return chown(name('f', i), 1, 1); }
static long c_truncate(int i) { return truncate(name('f', i), 100); }
static long c_connect(int i) { return connect(fds[i], (void *)&discard, sizeof discard); }
static long c_bind(int i)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	return bind(fds[i], (void *)&any, sizeof any);
}
static long c_listen(int i) { return listen(fds[i], 1); }
static long c_accept(int i) { return others[i] = accept4(listener, NULL, NULL, 0); }
static long c_sendto(int i) { return sendto(fds[i], "x", 1, 0, (void *)&discard, sizeof discard); }
static long c_setuid(int i) { (void)i; return setuid(0); }
static long c_setgid(int i) { (void)i; return setgid(0); }
static long c_fork(int i)
{
	int status;
	pid_t child = fork();
	(void)i;
	if (!child) _exit(0);
	return child < 0 ? child : waitpid(child, &status, 0);
}
static long c_exec(int i)
{
	int status;
	pid_t child = vfork();
	(void)i;
	if (!child) {
		execl(program, "nop", NULL);
		_exit(127);
	}
	return child < 0 ? child : waitpid(child, &status, 0);
}

/* A row per call. What `before` and `after` do for each call of a batch is not measured. A call of another kind is one
 * line here, and the function that it names. */
static const struct row {
	const char *call;
	void (*before)(int);
	long (*act)(int);
	void (*after)(int);
	int batch;
} rows[] = {
	{ "getppid", NULL, c_getppid, NULL, MOST }, /* nobody asks for it */
	{ "write", NULL, c_write, NULL, MOST },
	{ "open-read", NULL, c_open_read, close_it, 500 }, /* asked for, and left out by the policy */
	{ "open-write", make_file, c_open_write, close_it, 500 },
	{ "create", drop_file, c_create, close_it, 500 },
	{ "unlink", make_file, c_unlink, NULL, 500 },
	{ "rename", make_file, c_rename, drop_other, 500 },
	{ "link", make_file, c_link, drop_both, 500 },
	{ "symlink", drop_other, c_symlink, drop_other, 500 },
	{ "mkdir", NULL, c_mkdir, drop_dir, 500 },
	{ "rmdir", make_dir, c_rmdir, NULL, 500 },
	{ "chmod", make_file, c_chmod, drop_file, 500 },
	{ "chown", make_file, c_chown, drop_file, 500 },
	{ "truncate", make_file, c_truncate, drop_file, 500 },
	{ "connect", udp, c_connect, close_it, 500 },
	{ "bind", tcp, c_bind, close_it, 200 },
	{ "listen", tcp, c_listen, close_it, 200 },
	{ "accept", pending, c_accept, accepted, 200 },
	{ "sendto", udp, c_sendto, close_it, 500 },
	{ "setuid", NULL, c_setuid, NULL, 500 },
	{ "setgid", NULL, c_setgid, NULL, 500 },
	{ "fork", NULL, c_fork, NULL, 100 }, /* with the child's exit, and the child's time */
	{ "exec", NULL, c_exec, NULL, 100 }, /* the same, with vfork */
};

static void prepare(void)
{
	char dir[] = "/dev/shm/floor-XXXXXX";
	socklen_t length = sizeof server;
	must(readlink("/proc/self/exe", program, sizeof program - 8), "/proc/self/exe");
	strcpy(strrchr(program, '/'), "/nop");
	if (!mkdtemp(dir) || chdir(dir)) die(dir);
	must(null = open("/dev/null", O_WRONLY), "/dev/null");
	server.sin_family = discard.sin_family = AF_INET;
	server.sin_addr.s_addr = discard.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	discard.sin_port = htons(9);
	must(listener = socket(AF_INET, SOCK_STREAM, 0), "socket");
	must(bind(listener, (void *)&server, sizeof server), "bind");
	must(listen(listener, MOST), "listen");
	must(getsockname(listener, (void *)&server, &length), "getsockname");
}
static void clean_up(void)
{
	char dir[64];
	if (!getcwd(dir, sizeof dir)) die("getcwd");
	for (int i = 0; i < MOST; i++) {
		unlink(name('f', i));
		unlink(name('g', i));
	}
	must(chdir("/"), "chdir");
	must(rmdir(dir), dir);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}
static double of_children(void)
{
	struct rusage used;
	getrusage(RUSAGE_CHILDREN, &used);
	return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e9 + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e3;
}
static double batch(const struct row *row)
{
	double t, children = of_children();
	if (row->before)
		for (int i = 0; i < row->batch; i++) row->before(i);
	t = now();
	for (int i = 0; i < row->batch; i++) must(row->act(i), row->call);
	t = (now() - t + of_children() - children) / row->batch;
	if (row->after)
		for (int i = 0; i < row->batch; i++) row->after(i);
	return t;
}

/* ---- the hooks ---------------------------------------------------------------------------------------------- */

static const struct hook {
	const char *name;
	enum bpf_prog_type type;
	const char *at; /* the event's folder in tracefs, or the name of the tracepoint */
} hooks[] = {
	{ "none", BPF_PROG_TYPE_UNSPEC, NULL },
	{ "tp_btf", BPF_PROG_TYPE_TRACING, "sys_exit" },
	{ "raw_tp", BPF_PROG_TYPE_RAW_TRACEPOINT, "sys_exit" },
	{ "perf-own-call", BPF_PROG_TYPE_TRACEPOINT, "syscalls/sys_exit_getppid" },
	{ "perf-other-call", BPF_PROG_TYPE_TRACEPOINT, "syscalls/sys_exit_chroot" },
	{ "perf-raw-syscalls", BPF_PROG_TYPE_TRACEPOINT, "raw_syscalls/sys_exit" },
};

static int bpf(int command, union bpf_attr *attr) { return syscall(SYS_bpf, command, attr, sizeof *attr); }

static void attach(const struct hook *hook)
{
	static struct bpf_insn empty[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K }, { .code = BPF_JMP | BPF_EXIT } };
	static char log[4096];
	union bpf_attr load = { .prog_type = hook->type, .insns = (long)empty, .insn_cnt = 2, .license = (long)"GPL" };
	int program;

	if (hook->type == BPF_PROG_TYPE_UNSPEC) return;
	if (hook->type == BPF_PROG_TYPE_TRACING) { /* the id of `typedef btf_trace_sys_exit`, from bpftool */
		const char *id = getenv("FLOOR_BTF_ID");
		load.expected_attach_type = BPF_TRACE_RAW_TP;
		load.attach_btf_id = id ? atoi(id) : 0;
	}
	load.log_buf = (long)log;
	load.log_size = sizeof log;
	load.log_level = 1;
	if ((program = bpf(BPF_PROG_LOAD, &load)) < 0) {
		fprintf(stderr, "%s", log);
		die("loading an empty program");
	}
	if (hook->type != BPF_PROG_TYPE_TRACEPOINT) {
		union bpf_attr open = { .raw_tracepoint = { .prog_fd = program } };
		if (hook->type == BPF_PROG_TYPE_RAW_TRACEPOINT) open.raw_tracepoint.name = (long)hook->at;
		must(bpf(BPF_RAW_TRACEPOINT_OPEN, &open), "attaching to a raw tracepoint");
		return;
	}
	char path[128];
	long id = 0;
	snprintf(path, sizeof path, "/sys/kernel/tracing/events/%s/id", hook->at);
	FILE *file = fopen(path, "r");
	if (!file || fscanf(file, "%ld", &id) != 1) die(path);
	fclose(file);
	struct perf_event_attr event = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof event, .config = id };
	int fd = syscall(SYS_perf_event_open, &event, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	must(fd, "perf_event_open");
	must(ioctl(fd, PERF_EVENT_IOC_SET_BPF, program), "attaching to a perf event");
	must(ioctl(fd, PERF_EVENT_IOC_ENABLE, 0), "enabling a perf event");
}

int main(int count, char **words)
{
	const size_t calls = sizeof rows / sizeof *rows, places = sizeof hooks / sizeof *hooks;
	if (count == 2 && !strcmp(words[1], "list")) {
		for (size_t i = 0; i < calls; i++) printf("call %s\n", rows[i].call);
		for (size_t i = 0; i < places; i++) printf("hook %s\n", hooks[i].name);
		return 0;
	}
	const struct hook *hook = NULL;
	for (size_t i = 0; count > 2 && i < places; i++)
		if (!strcmp(words[1], hooks[i].name)) hook = &hooks[i];
	if (!hook) {
		fprintf(stderr, "usage: floor HOOK BATCHES [CALL...] | floor list\n");
		return 2;
	}
	int batches = atoi(words[2]), first = 1;
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	must(sched_setaffinity(0, sizeof one, &one), "sched_setaffinity");
	prepare();
	attach(hook);
	for (size_t i = 0; i < calls; i++) {
		int asked = count == 3;
		for (int w = 3; w < count; w++) asked |= !strcmp(words[w], rows[i].call);
		if (!asked) continue;
		batch(&rows[i]); /* warm */
		printf("%s\"%s\":[", first ? "{" : ",", rows[i].call);
		first = 0;
		for (int b = 0; b < batches; b++) {
			struct timespec rest = { 0, 20 * 1000 * 1000 }; /* a reader of the events gets time */
			printf("%s%.1f", b ? "," : "", batch(&rows[i]));
			nanosleep(&rest, NULL);
		}
		printf("]");
	}
	printf("}\n");
	clean_up();
	return 0;
}
