"""What many open connections cost a server, and whether it serves on beside them: the leader of a cluster of three, and redis-server if there is one. Needs Linux and a
release build; the limit of open files must allow some hundred more than the connections, in this process and in the server.

usage: connections.py [--quorate BINARY] [--connections 10000] [--rounds 3] [--json FILE] [FLAG of `quorate serve`]...

Resident memory counts after each of these: every connection has pinged, set and got a value of 100 bytes, and is idle; then every one has sent and received a message
of 16 KiB, and is idle. The kernel's part is what all slabs and socket buffers have grown by, for both ends of a connection. A reading client beside them waits for each
reply. Then connections are opened until the server refuses one, another is closed, and a new one must be served."""
import argparse, json, os, resource, shutil, socket, statistics, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "driver", "tests", "clients"))
from cluster import BINARY, Cluster, redis_server, wait
from memory import kib
from stalls import packed

SPARE = 50
LONG = 16 << 10


def receive(s, length):
    got = b""
    while len(got) < length:
        piece = s.recv(length - len(got))
        if not piece:
            raise SystemExit(f"a connection was closed after {got!r}")
        got += piece
    return got


def ask(s, request, reply):
    s.sendall(request)
    if (got := receive(s, len(reply))) != reply:
        raise SystemExit(f"answered {got[:100]!r}")


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), 20)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def small(s):
    value = b"v" * 100
    ask(s, packed("PING"), b"+PONG\r\n")
    ask(s, packed("SET", "key:000000000000", value), b"+OK\r\n")
    ask(s, packed("GET", "key:000000000000"), b"$100\r\n%s\r\n" % value)


def large(s):
    value = b"v" * LONG
    ask(s, packed("PING", value), b"$%d\r\n%s\r\n" % (LONG, value))


def kernel_kib():
    with open("/proc/meminfo") as lines:
        slab = next(int(line.split()[1]) for line in lines if line.startswith("Slab:"))
    with open("/proc/net/sockstat") as lines:
        words = next(line for line in lines if line.startswith("TCP:")).split()
    return slab + int(words[words.index("mem") + 1]) * resource.getpagesize() // 1024


def latencies(s, count=3000):
    times = []
    for _ in range(count):
        start = time.perf_counter()
        ask(s, packed("GET", "key:000000000000"), b"$100\r\n%s\r\n" % (b"v" * 100))
        times.append(time.perf_counter() - start)
    return sorted(times)


def refusal(port, opened):
    """Opens connections until one is refused, and says how many there were then, and what it was told."""
    while True:
        s = connect(port)
        try:
            s.sendall(packed("PING"))
            reply = s.recv(100)
        except ConnectionError:
            reply = b""
        if reply == b"+PONG\r\n":
            opened.append(s)
            if len(opened) > 4 * SPARE:
                return None
            continue
        s.close()
        return reply.decode(errors="replace").strip() or "closed without a word"


def measure(port, pid, count):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 6 * SPARE, hard))
    reader = connect(port)
    for _ in range(2000):
        small(reader)
    before = latencies(reader)
    time.sleep(1)
    resident, kernel = kib(pid, "status", "VmRSS:"), kernel_kib()
    connections = []
    begun = time.monotonic()
    for _ in range(count):
        connections.append(s := connect(port))
        small(s)
    opened = time.monotonic() - begun
    time.sleep(1)
    found = {"KiB": (kib(pid, "status", "VmRSS:") - resident) / count, "kernel KiB": (kernel_kib() - kernel) / count, "opened per second": count / opened}
    after = latencies(reader)
    for s in connections:
        large(s)
    time.sleep(1)
    found["KiB after 16 KiB"] = (kib(pid, "status", "VmRSS:") - resident) / count
    for share in (0.5, 0.99):
        at = int(share * len(before))
        found[f"p{100 * share:.0f} us before"], found[f"p{100 * share:.0f} us beside"] = 1e6 * before[at], 1e6 * after[at]
    more = []
    found["refusal"] = refusal(port, more)
    found["refused at"] = 1 + count + len(more)
    connections.pop().close()

    def is_served():
        with connect(port) as s:
            s.sendall(packed("PING"))
            return s.recv(100) == b"+PONG\r\n"
    wait(5, "a connection after another was closed", is_served)
    for s in [reader, *connections, *more]:
        s.close()
    return found


def quorate(given, flags):
    with Cluster(3, "--max-clients", str(given.connections + SPARE), *flags, binary=given.quorate) as cluster:
        leader = cluster.leader()
        term = cluster.info(leader)["term"]
        found = measure(cluster.client[leader], cluster.processes[leader].pid, given.connections)
        if cluster.info(leader)["term"] != term:
            raise SystemExit("an election was held meanwhile")
        return found


def redis(given, _):
    with redis_server("--maxclients", str(given.connections + SPARE)) as (port, pid):
        return measure(port, pid, given.connections)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quorate", default=BINARY, metavar="BINARY")
    arguments.add_argument("--connections", type=int, default=10_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--json", metavar="FILE")
    given, flags = arguments.parse_known_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = given.connections + 6 * SPARE
    if hard != resource.RLIM_INFINITY and hard < needed + 512:
        raise SystemExit(f"the hard limit of open files is {hard}: {needed + 512} are needed")
    servers = {"quorate": quorate}
    if shutil.which("redis-server"):
        servers["redis-server"] = redis
    found = {name: [] for name in servers}
    for _ in range(given.rounds):
        for name, server in servers.items():
            # A server raises its limit itself: it begins with what a shell gives it.
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
            found[name].append(server(given, flags))
            print(f"{name}: {found[name][-1]}", file=sys.stderr, flush=True)
    columns = ["KiB", "KiB after 16 KiB", "kernel KiB", "opened per second", "p50 us before", "p50 us beside", "p99 us before", "p99 us beside"]
    print(f"{given.connections:,} connections, each:")
    print("| server | resident, KiB | after 16 KiB each | kernel, both ends, KiB | opened/s | GET p50, µs | beside them | GET p99, µs | beside them | refused |")
    print("| --- " * (len(columns) + 2) + "|")
    for name, rounds in found.items():
        cells = [f"{statistics.median(v):,.1f} ({min(v):,.1f}–{max(v):,.1f})" for c in columns if (v := [r[c] for r in rounds])]
        print(f"| {name} | " + " | ".join(cells) + f" | number {rounds[0]['refused at']:,}: {rounds[0]['refusal']} |")
    if given.json:
        with open(given.json, "w") as out:
            json.dump(found, out, indent=1)


if __name__ == "__main__":
    main()
