"""How soon nodes come back with many keys of 16 bytes with values of 100, in a cluster of three: one that is restarted, all of them, and an empty one that takes the
place of a wiped one, at rest and beside 64 connections that write as fast as they can. Needs Linux and a release build.

usage: recovery.py [--quorate BINARY] [--keys 1000000] [--rounds 5] [--json FILE] [FLAG of `quorate serve`]...

Every end is a kill -9. Times count from the start of the process: until it prints that it accepts connections, until it answers a GET of a key that was written, and
until it has applied what the leader had committed a moment before; CPU is the node's until then, of all its threads. Cold means that the page cache was told to forget the node's files, and all else if the script may.
Writes are counted by the leader's commit index, from the start of the empty node until it has caught up, and in three seconds before its predecessor was killed."""
import argparse, json, os, shutil, socket, statistics, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "driver", "tests", "clients"))
from cluster import BINARY, Cluster, command, wait

CONNECTIONS = 64
GIVE_UP = 60


def soon(what, condition, every=0.002):
    """Waits for `condition` as `wait` does, but looks more often; what breaks on the way is not there yet."""
    until = time.monotonic() + GIVE_UP
    while time.monotonic() < until:
        try:
            if found := condition():
                return found
        except (OSError, RuntimeError, KeyError):
            pass
        time.sleep(every)
    raise SystemExit(f"{what}: not within {GIVE_UP} s")


def load(cluster, port, keys):
    subprocess.run([cluster.binary, "bench", "--address", f"127.0.0.1:{port}", "--reads", "0", "--distribution", "sequential", "--warm-up", "0", "--keys", str(keys),
                    "--requests", str(keys), "--connections", "16", "--pipeline", "64", "--json"], check=True, stdout=subprocess.DEVNULL)


def forget(directory):
    """Takes what is known of a node's files out of the page cache."""
    os.sync()
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), "rb") as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("3")
    except OSError:
        pass


class Ready:
    """The lines of `ready` that a node has printed, of all its lives."""

    def __init__(self, cluster, i):
        self.file = os.path.join(cluster.dir, f"n{i}.log")
        self.before = self.count()

    def count(self):
        try:
            with open(self.file, "rb") as f:
                return sum(line.startswith(b"ready ") for line in f)
        except FileNotFoundError:
            return 0

    def __call__(self):
        return self.count() > self.before


def answers(cluster, i, keys):
    value = command(cluster.client[i], "GET", f"key:{keys // 2:012d}", timeout=5)
    return value is not None and len(value) == 100


def commit(cluster, i):
    return int(cluster.info(i)["commit_index"])


def has_caught_up(cluster, i, leader):
    committed = commit(cluster, leader)
    return int(cluster.info(i)["applied_index"]) >= committed > 0


def cpu_seconds(pid):
    """What a process has used of the CPUs: says more than a clock does where others use them, too."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def restart(cluster, keys, cold):
    """One follower."""
    leader = cluster.leader()
    i = next(j for j in cluster.ids if j != leader)
    cluster.kill(i)
    if cold:
        forget(cluster.data_dir(i))
    ready, begun = Ready(cluster, i), time.monotonic()
    cluster.start(i, wait=False)
    times = {}
    soon(f"node {i} is ready", ready)
    times["ready"] = time.monotonic() - begun
    soon(f"node {i} answers", lambda: answers(cluster, i, keys))
    times["answers"] = time.monotonic() - begun
    soon(f"node {i} has caught up", lambda: has_caught_up(cluster, i, leader))
    times["caught up"] = time.monotonic() - begun
    times["CPU"] = cpu_seconds(cluster.processes[i].pid)
    return times


def restart_all(cluster, keys, cold):
    for i in cluster.ids:
        cluster.kill(i)
    if cold:
        for i in cluster.ids:
            forget(cluster.data_dir(i))
    ready, begun = [Ready(cluster, i) for i in cluster.ids], time.monotonic()
    for i in cluster.ids:
        cluster.start(i, wait=False)
    times = {}
    soon("all nodes are ready", lambda: all(r() for r in ready))
    times["ready"] = time.monotonic() - begun
    soon("all nodes answer", lambda: all(answers(cluster, i, keys) for i in cluster.ids))
    times["answers"] = time.monotonic() - begun
    leader = cluster.leader()
    soon("all nodes have caught up", lambda: all(has_caught_up(cluster, i, leader) for i in cluster.ids))
    times["caught up"] = time.monotonic() - begun
    return times


def member(cluster, leader, *words):
    subprocess.run([cluster.binary, "member", *words, "--connect", f"127.0.0.1:{cluster.client[leader]}"], check=True, stdout=subprocess.DEVNULL)


def replace(cluster, keys, busy):
    """A follower is killed and wiped, removed, started empty, added and promoted: what its refusal to start tells a person to do."""
    leader = cluster.leader()
    i = next(j for j in cluster.ids if j != leader)
    others = [j for j in cluster.ids if j != i]
    bench = subprocess.Popen([cluster.binary, "bench", "--address", f"127.0.0.1:{cluster.client[leader]}", "--reads", "0", "--keys", str(keys), "--connections", str(CONNECTIONS),
                              "--seconds", "600", "--json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) if busy else None
    figures = {}
    try:
        if busy:
            time.sleep(2)
            at, committed = time.monotonic(), commit(cluster, leader)
            time.sleep(3)
            figures["writes before"] = (commit(cluster, leader) - committed) / (time.monotonic() - at)
        cluster.kill(i)
        shutil.rmtree(cluster.data_dir(i))
        member(cluster, leader, "remove", str(i))
        ready, begun, committed = Ready(cluster, i), time.monotonic(), commit(cluster, leader)
        cluster.start(i, wait=False, among=["--join", ",".join(f"{j}={cluster.address(j)}" for j in others)])
        soon(f"node {i} is ready", ready)
        figures["ready"] = time.monotonic() - begun
        member(cluster, leader, "add", f"{i}={cluster.address(i)}")
        figures["added"] = time.monotonic() - begun
        # Each look is two connections and two reports, whose processor time is taken from what is measured.
        soon(f"node {i} has caught up", lambda: has_caught_up(cluster, i, leader), every=0.02)
        figures["caught up"] = time.monotonic() - begun
        figures["CPU"] = cpu_seconds(cluster.processes[i].pid)
        if busy:
            figures["writes meanwhile"] = (commit(cluster, leader) - committed) / figures["caught up"]
        member(cluster, leader, "promote", str(i))
        figures["promoted"] = time.monotonic() - begun
    finally:
        if bench:
            bench.terminate()
            bench.wait()
    if cluster.leader() != leader:
        raise SystemExit("another node leads now: an election was held meanwhile")
    soon("all digests are equal", lambda: len({(s["applied_index"], s["digest"]) for s in map(cluster.info, cluster.ids)}) == 1)
    return figures


CASES = {
    "restart of one, warm": lambda c, keys: restart(c, keys, False),
    "restart of one, cold": lambda c, keys: restart(c, keys, True),
    "restart of all, warm": lambda c, keys: restart_all(c, keys, False),
    "restart of all, cold": lambda c, keys: restart_all(c, keys, True),
    "an empty node, at rest": lambda c, keys: replace(c, keys, False),
    "an empty node, beside writes": lambda c, keys: replace(c, keys, True),
}


def said(values, digits=2):
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quorate", default=BINARY, metavar="BINARY")
    arguments.add_argument("--keys", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--json", metavar="FILE")
    given, flags = arguments.parse_known_args()
    found = {name: [] for name in CASES}
    with Cluster(3, *flags, binary=given.quorate) as cluster:
        begun = time.monotonic()
        load(cluster, cluster.client[cluster.leader()], given.keys)
        print(f"{given.keys:,} keys written in {time.monotonic() - begun:.1f} s", file=sys.stderr)
        for n in range(given.rounds):
            for name, case in CASES.items():
                found[name].append(figures := case(cluster, given.keys))
                print(f"round {n + 1}: {name}: " + ", ".join(f"{k} {v:,.2f}" for k, v in figures.items()), file=sys.stderr, flush=True)
    print("| seconds from the start | ready | answers a GET | caught up | CPU of the node | promoted | writes/s before | meanwhile | share |")
    print("| --- " * 9 + "|")
    for name, rounds in found.items():
        columns = [said([r[c] for r in rounds], d) if c in rounds[0] else "" for c, d in
                   [("ready", 2), ("answers", 2), ("caught up", 2), ("CPU", 2), ("promoted", 2), ("writes before", 0), ("writes meanwhile", 0)]]
        share = said([100 * r["writes meanwhile"] / r["writes before"] for r in rounds], 0) + " %" if "writes before" in rounds[0] else ""
        print(f"| {name} | " + " | ".join([*columns, share]) + " |")
    if given.json:
        with open(given.json, "w") as out:
            json.dump(found, out, indent=1)


if __name__ == "__main__":
    main()
