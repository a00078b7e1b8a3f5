"""Memory for many keys of 16 bytes with values of 100, Quorate (one node) beside redis-server: resident memory after the load, less what the log in memory takes,
and the most that a snapshot takes while values are overwritten: the proportional share of all processes, since Redis forks. memory.py [KEYS]"""
import socket, sys, threading, time
from cluster import Cluster, command, redis_server, wait

VALUE = b"v" * 100


def key(n):
    return b"key:%012d" % n


def write(port, numbers, depth=500):
    """SETs of these keys, pipelined."""
    with socket.create_connection(("127.0.0.1", port)) as s:
        replies = s.makefile("rb", 1 << 20)
        numbers = list(numbers)
        for at in range(0, len(numbers), depth):
            batch = numbers[at:at + depth]
            s.sendall(b"".join(b"*3\r\n$3\r\nSET\r\n$16\r\n%s\r\n$100\r\n%s\r\n" % (key(n), VALUE) for n in batch))
            for _ in batch:
                line = replies.readline()
                assert line == b"+OK\r\n", line


def kib(pid, file, field):
    with open(f"/proc/{pid}/{file}") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field))


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(child) for child in f.read().split()]
    except FileNotFoundError:
        return []


def proportional(pid):
    total = 0
    for process in [pid, *children(pid)]:
        try:
            total += kib(process, "smaps_rollup", "Pss:")
        except (OSError, StopIteration):
            pass
    return total


class Peak(threading.Thread):
    """The most that a process and its children take while this runs."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.most, self.ends = pid, 0, False
        self.start()

    def run(self):
        while not self.ends:
            self.most = max(self.most, proportional(self.pid))
            time.sleep(0.02)

    def end(self):
        self.ends = True
        self.join()
        return self.most


def during_snapshot(pid, port, keys, is_saving):
    """The peak of a snapshot under writes to a tenth of the keys."""
    # There must be something new to save.
    write(port, [0])
    peak = Peak(pid)
    command(port, "BGSAVE")
    write(port, range(0, keys, 10))
    wait(60, "the snapshot", lambda: not is_saving())
    return peak.end()


def mib(size):
    return f"{size / 1024:.0f} MiB"


def quorate(keys):
    with Cluster(1, "--snapshot-log-bytes", "none") as c:
        port, pid = c.client[1], c.processes[1].pid
        write(port, range(keys))
        log = int(c.info(1)["log_memory"]) // 1024
        resident = kib(pid, "status", "VmRSS:")
        # What is in memory of the log is let go with it, as when snapshots are taken unasked.
        before = int(c.info(1)["snapshots_saved"])
        command(port, "BGSAVE")
        wait(60, "a snapshot", lambda: int(c.info(1)["snapshots_saved"]) > before)
        saved = int(c.info(1)["snapshots_saved"])
        peak = during_snapshot(pid, port, keys, lambda: int(c.info(1)["snapshots_saved"]) == saved)
        time.sleep(1)
        return resident, log, peak, kib(pid, "status", "VmRSS:")


def redis(keys):
    with redis_server() as (port, pid):
        write(port, range(keys))
        resident = kib(pid, "status", "VmRSS:")
        peak = during_snapshot(pid, port, keys, lambda: bool(children(pid)))
        return resident, 0, peak, kib(pid, "status", "VmRSS:")


if __name__ == "__main__":
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for name, measure in [("quorate", quorate), ("redis-server", redis)]:
        resident, log, peak, after = measure(keys)
        own = resident - log
        print(f"{name}: {keys:,} keys: resident {mib(resident)}, of it log {mib(log)}, without it {mib(own)} ({own * 1024 / keys:.0f} bytes a key); "
              f"most during a snapshot {mib(peak)}, resident after it {mib(after)}")
