"""One launch of one supervisor with N services, in a cgroup of its own.

The services stamp their first instruction into a shared file (tools/sleeper.c),
so that the driver's polling is not in the figures. The launch's cgroup gives
CPU time and memory of everything in it, and cgroup.kill ends exactly that."""

import mmap
import os
import shutil
import signal
import subprocess
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RECORD = 64  # bytes of a record, see tools/sleeper.c
SLOTS = 12000
SUPERVISOR = SLOTS - 1  # the slot that tools/launch.c stamps

# cgroup v2, also where it stands beside v1.
UNIFIED = "/sys/fs/cgroup/unified" if os.path.isdir("/sys/fs/cgroup/unified") else "/sys/fs/cgroup"
V1_MEMORY = "/sys/fs/cgroup/memory" if os.path.isdir("/sys/fs/cgroup/memory") else None


def read(path):
    with open(path) as f:
        return f.read()


class Stamps:
    """The shared file of records: (start, pid, generation) by service."""

    def __init__(self, path):
        with open(path, "wb") as f:
            f.truncate(SLOTS * RECORD)
        self.path = path
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), SLOTS * RECORD)
        self.u64 = memoryview(self.map).cast("Q")
        self.u32 = memoryview(self.map).cast("I")

    def clear(self):
        self.map[:] = bytes(SLOTS * RECORD)

    def start(self, i):
        return self.u64[i * 8]

    def starts(self, n):
        return self.u64[0 : n * 8 : 8].tolist()

    def pid(self, i):
        return self.u32[i * 16 + 2]

    def pids(self, n):
        return self.u32[2 : n * 16 : 16].tolist()

    def generation(self, i):
        return self.u32[i * 16 + 3]

    def generations(self, n):
        return self.u32[3 : n * 16 : 16].tolist()


class Launch:
    count = 0

    def __init__(self, peer, n, stamps, work, env, cpus=""):
        Launch.count += 1
        name = f"nines-bench.{os.getpid()}.{Launch.count}"
        self.peer, self.n, self.stamps, self.env, self.cpus = peer, n, stamps, env, cpus
        self.adapter = adapter(peer)
        self.dir = os.path.join(work, str(Launch.count))
        self.cgroup = os.path.join(UNIFIED, name)
        self.memory_v1 = os.path.join(V1_MEMORY, name) if V1_MEMORY else None
        self.process = None
        os.makedirs(self.dir)
        for c in self.cgroups():
            os.mkdir(c)
        subprocess.run([self.adapter, "prepare", self.dir, str(n)], env=env, check=True)
        stamps.clear()

    def cgroups(self):
        return [c for c in (self.cgroup, self.memory_v1) if c]

    def launch(self):
        out = os.path.join(self.dir, "out.log")
        argv = [self.env["TOOLS"] + "/launch", self.stamps.path, str(SUPERVISOR), out, os.path.join(self.dir, "argv")]
        if self.cpus:
            argv = ["taskset", "-c", self.cpus] + argv
        self.process = subprocess.Popen(argv + self.cgroups(), env=self.env, cwd=self.dir)

    def printed(self):
        """The last lines that the supervisor wrote, for an error message."""
        try:
            return "\n".join(read(os.path.join(self.dir, "out.log")).splitlines()[-10:])
        except OSError as e:
            return str(e)

    def wait_generations(self, wanted, timeout):
        """Waits until each service has started as often as wanted says."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if all(a >= b for a, b in zip(self.stamps.generations(self.n), wanted)):
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.003)
        return False

    def cpu(self):
        """Seconds of CPU that everything in the cgroup has used."""
        for line in read(self.cgroup + "/cpu.stat").splitlines():
            key, value = line.split()
            if key == "usage_usec":
                return int(value) / 1e6
        raise RuntimeError("cpu.stat has no usage_usec")

    def settle(self):
        """Waits until it uses no CPU worth speaking of."""
        before = -1.0
        for _ in range(100):
            used = self.cpu()
            if used - before < 0.0005:
                return
            before = used
            time.sleep(0.1)

    def memory(self):
        """Bytes charged to the cgroup, or None where nothing counts them."""
        for path in (self.cgroup + "/memory.current", (self.memory_v1 or "") + "/memory.usage_in_bytes"):
            if os.path.exists(path):
                return int(read(path))
        return None

    def supervisors(self):
        """The pids in the cgroup that are not services."""
        pids = []
        for folder, _, _ in os.walk(self.cgroup):
            try:
                pids += [int(p) for p in read(folder + "/cgroup.procs").split()]
            except OSError:
                continue  # removed meanwhile
        return [p for p in pids if executable(p) not in ("", self.env["SLEEPER"])]

    def populated(self):
        return "populated 1" in read(self.cgroup + "/cgroup.events")

    def verb(self, verb, *args, timeout=60):
        """Runs a verb of the adapter to its end and gives its exit status.

        Popen.wait with a timeout polls, which would round the figures up; so
        a timer kills what hangs instead."""
        p = subprocess.Popen(
            [self.adapter, verb, self.dir, *map(str, args)],
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        timer = threading.Timer(timeout, lambda: os.killpg(p.pid, signal.SIGKILL))
        timer.start()
        try:
            return p.wait()
        finally:
            timer.cancel()

    def close(self):
        """Ends and removes whatever is left of the launch."""
        try:
            with open(self.cgroup + "/cgroup.kill", "w") as f:
                f.write("1")
            end = time.monotonic() + 10
            while self.populated() and time.monotonic() < end:
                time.sleep(0.005)
        finally:
            if self.process:
                self.process.wait(10)
            for c in self.cgroups():
                for folder, _, _ in os.walk(c, topdown=False):
                    os.rmdir(folder)
            shutil.rmtree(self.dir, ignore_errors=True)


def adapter(peer):
    return os.path.join(HERE, "adapters", peer + ".sh")


def capabilities(peer, env):
    """What a peer can do, and with how many services; ([], 0) when it is not
    installed."""
    words = subprocess.run([adapter(peer), "caps"], env=env, capture_output=True, text=True, check=True).stdout.split()
    most = [int(w[5:]) for w in words if w.startswith("maxn=")]
    return words, most[0] if most else 0


def executable(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def resident(pid):
    """Resident and proportional memory of a process in bytes."""
    rss = pss = 0
    try:
        for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Rss:"):
                rss = int(line.split()[1]) * 1024
            elif line.startswith("Pss:"):
                pss = int(line.split()[1]) * 1024
    except OSError:
        pass  # it ended meanwhile
    return rss, pss


def wakeups(pids):
    """How often the threads of these processes were switched to."""
    total = 0
    for pid in pids:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                for line in read(f"/proc/{pid}/task/{thread}/status").splitlines():
                    if "ctxt_switches" in line:
                        total += int(line.split()[1])
        except OSError:
            continue  # it ended meanwhile
    return total
