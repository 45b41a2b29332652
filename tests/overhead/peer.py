"""One agent under test: started, measured by its control group, drained, stopped, and its log counted."""
import glob, json, os, re, shutil, signal, subprocess, tempfile, time
import results

HERE = results.ROOT / "tests" / "overhead"
V1 = os.path.isdir("/sys/fs/cgroup/cpuacct")
CG = "/sys/fs/cgroup/cpuacct" if V1 else "/sys/fs/cgroup"
TICK = os.sysconf("SC_CLK_TCK")
AT_REST = 3  # the level of zstd that the file sink archives with (agent/src/sink/file/archive.rs)


def sub(text, work):
    for name, value in (("work", work), ("bench", HERE), ("bin", results.BIN), ("root", results.ROOT), ("peers", results.BIN / "peers")):
        text = text.replace("{%s}" % name, str(value))
    return text


def sh(cmd, **kw):
    return subprocess.run(["bash", "-c", cmd], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)


def at_rest(path):
    """The bytes of a log file once it is archived: as it is if it is compressed, else what zstd makes of it."""
    if path.endswith((".zst", ".gz")):
        return os.path.getsize(path)
    packed = subprocess.run(["sh", "-c", 'zstd -q -%d -c "$1" | wc -c' % AT_REST, "sh", path], stdout=subprocess.PIPE, check=True)
    return int(packed.stdout)


class Peer:
    def __init__(self, name, spec):
        self.name, self.spec = name, spec
        self.cg = "%s/sigtrail-bench-%s-%d" % (CG, name, os.getpid())

    def start(self):
        self.work = tempfile.mkdtemp(prefix="bench-%s-" % self.name)
        os.chmod(self.work, 0o755)
        s = self.spec
        if s.get("setup"):
            r = sh(sub(s["setup"], self.work))
            if r.returncode:
                raise RuntimeError("setup: " + r.stdout[-500:])
        os.makedirs(self.cg, exist_ok=True)
        out, err = open(self.work + "/peer.out", "wb"), open(self.work + "/peer.err", "wb")
        self.proc = subprocess.Popen(
            ["bash", "-c", "echo $$ > %s/cgroup.procs; exec %s" % (self.cg, sub(s["start"], self.work))],
            stdout=out, stderr=err, stdin=subprocess.DEVNULL, start_new_session=True)
        t = time.time()
        while True:
            if self.proc.poll() is not None:
                raise RuntimeError("peer ended early: " + open(self.work + "/peer.err").read()[-1500:])
            if time.time() - t > s.get("ready_timeout", 120):
                self.stop()
                raise RuntimeError("peer was not ready in time")
            if sh(sub(s["ready"], self.work)).returncode == 0:
                break
            time.sleep(0.3)
        time.sleep(s.get("settle", 0.5))
        for p in self.pids():
            try:
                open("/proc/%d/clear_refs" % p, "w").write("5")  # reset the RSS high-water mark
            except OSError:
                pass
        self.cpu0, self.k0, self.log0 = self.cpu(), self.kcpu(), self.log_bytes()
        self.t0 = time.time()

    def pids(self):
        try:
            return [int(x) for x in open(self.cg + "/cgroup.procs").read().split()]
        except OSError:
            return []

    def cpu(self):
        if V1:
            return int(open(self.cg + "/cpuacct.usage").read()) / 1e9
        return int(re.search(r"usage_usec (\d+)", open(self.cg + "/cpu.stat").read()).group(1)) / 1e6

    def kcpu(self):  # kernel threads that work for the peer (kauditd)
        tot = 0
        for name in self.spec.get("kthreads", []):
            for d in glob.glob("/proc/[0-9]*/comm"):
                try:
                    if open(d).read().strip() == name:
                        f = open(os.path.dirname(d) + "/stat").read().rsplit(")", 1)[1].split()
                        tot += (int(f[11]) + int(f[12])) / TICK
                except OSError:
                    pass
        return tot

    def rss(self):
        kb = 0
        for p in self.pids():
            try:
                m = re.search(r"VmHWM:\s+(\d+)", open("/proc/%d/status" % p).read())
                kb += int(m.group(1)) if m else 0
            except OSError:
                pass
        return kb * 1024

    def log_files(self):
        return sum((glob.glob(sub(g, self.work)) for g in self.spec.get("log", [])), [])

    def log_bytes(self):
        return sum(os.path.getsize(f) for f in self.log_files() if os.path.exists(f))

    def drain(self):
        """Wait until the peer's CPU and log are quiet; returns the seconds until the last activity."""
        t = time.time()
        quiet, last, prev = 0, t, (self.cpu() + self.kcpu(), self.log_bytes())
        while quiet < 3 and time.time() - t < 12:
            time.sleep(0.25)
            cur = (self.cpu() + self.kcpu(), self.log_bytes())
            if cur[0] - prev[0] < 0.02:
                quiet += 1
            else:
                quiet, last = 0, time.time()
            prev = cur
        return last - t

    def finish(self):
        r = {"drain_s": round(self.drain(), 2), "cpu_s": self.cpu() - self.cpu0, "kthread_cpu_s": self.kcpu() - self.k0,
             "rss": self.rss(), "up_s": round(time.time() - self.t0, 2)}
        if self.spec.get("lost"):
            r["lost_raw"] = sh(sub(self.spec["lost"], self.work)).stdout.strip()
        r["log_bytes"] = self.log_bytes() - self.log0
        self.stop()
        c = sh(sub(self.spec["count"], self.work)).stdout
        try:
            r.update(json.loads(c.strip().splitlines()[-1]))
        except (ValueError, IndexError):
            r["count_error"] = c[-500:]
        r["log_bytes"] = max(self.log_bytes() - self.log0, r["log_bytes"])
        r["rest_bytes"] = sum(at_rest(f) for f in self.log_files() if os.path.exists(f))
        return r

    def stop(self):
        sig = getattr(signal, self.spec.get("stop", "SIGTERM"))
        for p in [self.proc.pid]:
            try:
                os.kill(p, sig)
            except ProcessLookupError:
                pass
        try:
            self.proc.wait(timeout=self.spec.get("stop_timeout", 60))
        except subprocess.TimeoutExpired:
            for p in self.pids():
                os.kill(p, signal.SIGKILL)
            self.proc.wait()
        time.sleep(0.3)
        for p in self.pids():
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def cleanup(self, keep=False):
        if getattr(self, "proc", None) and (self.proc.poll() is None or self.pids()):
            self.stop()  # an interrupted run must leave nothing attached
        if self.spec.get("teardown"):
            sh(sub(self.spec["teardown"], self.work))
        time.sleep(0.2)
        try:
            os.rmdir(self.cg)
        except OSError:
            pass
        if not keep:
            shutil.rmtree(self.work, ignore_errors=True)


def foreign_bpf():
    """BPF programs of others on hooks every system call or process passes: they tax A and B alike."""
    r = subprocess.run(["bpftool", "prog", "list"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return len(re.findall(r"^\d+: (?:raw_tracepoint|tracepoint|tracing|kprobe|lsm|perf_event)", r, re.M))


def alone(limit=60):
    """Waits until no BPF tracing program of others is attached; an error when that does not happen."""
    late = time.monotonic() + limit
    while foreign_bpf():
        if time.monotonic() > late:
            raise RuntimeError("BPF tracing programs of others are attached: a baseline with them would be false")
        time.sleep(0.5)
