"""How long a cluster of three takes no write when its leader fails: killed, stopped, or cut off from everybody. Needs Linux, and a release build.

usage: failover.py [--quorate BINARY] [--rounds 20] [--json FILE] [--only NAME] [--saturate SECONDS] [FLAG of `quorate serve`]...

Each node has a network of its own, joined by a bridge, so that its packets can be dropped without a word; all of it is inside a namespace that ends with the
script. A client keeps one write under way at every node, each of another key, and after a reply or an error writes again within a millisecond: what counts is the longest
time between two accepted writes, wherever they were accepted. A round is given up after 10 s.

With --saturate nothing fails: for so long all CPUs are kept busy twice over beside a write load, and elections are counted. One at which a node's disk had been slow
within the two seconds before is counted apart."""
import argparse, ctypes, datetime, errno, json, os, random, re, select, signal, socket, statistics, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "driver", "tests", "clients"))
from cluster import BINARY, Cluster, wait

INSIDE = "QUORATE_FAILOVER_INSIDE"
PAUSE = 0.001
GIVE_UP = 10
SUBNET = "10.77.0"


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def die_with_parent():
    """Called in a child: it ends when this script ends, however that comes about."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def enter_namespace():
    """Starts this script anew in a network of its own; without root also as the root of a user namespace."""
    if INSIDE in os.environ:
        return
    os.environ[INSIDE] = "1"
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    try:
        os.execvp("unshare", ["unshare", *user, "--net", sys.executable, *sys.argv])
    except OSError as error:
        raise SystemExit(f"cannot make network namespaces: {error}")


class Islands(Cluster):
    """Nodes with a network each; a bridge joins them and this script."""

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        self.holders = {}

    def __enter__(self):
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "bridge", "type", "bridge")
        run("ip", "address", "add", f"{SUBNET}.254/24", "dev", "bridge")
        run("ip", "link", "set", "bridge", "up")
        for i in self.ids:
            # The network lives as long as a process is in it: nodes come and go.
            holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], preexec_fn=die_with_parent)
            self.holders[i] = holder
            own = os.readlink("/proc/self/ns/net")
            wait(5, "a namespace", lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own)
            inside = ["nsenter", "--target", str(holder.pid), "--net"]
            run("ip", "link", "add", f"n{i}", "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
            run(*inside, "ip", "link", "set", "lo", "up")
            run(*inside, "ip", "address", "add", f"{SUBNET}.{i}/24", "dev", "eth0")
            run(*inside, "ip", "link", "set", "eth0", "up")
            run("ip", "link", "set", f"n{i}", "master", "bridge", "up")
        return super().__enter__()

    def __exit__(self, *args):
        for p in self.processes.values():
            if p.poll() is None:
                p.send_signal(signal.SIGCONT)
        super().__exit__(*args)
        for holder in self.holders.values():
            holder.kill()
            holder.wait()

    def host(self, i):
        return f"{SUBNET}.{i}", ["nsenter", "--target", str(self.holders[i].pid), "--net"]

    def start(self, i, *more, **named):
        super().start(i, "--insecure", *more, **named)

    def settled(self):
        """The leader, once all follow it and have what it has committed; its term as well."""
        def find():
            try:
                seen = {i: self.info(i) for i in self.ids}
            except OSError:
                return None
            [leader, *others] = {s["leader_id"] for s in seen.values()}
            if others or leader == "0" or len({s["term"] for s in seen.values()}) > 1:
                return None
            ahead = seen[int(leader)]
            if ahead["connected_members"] != "3" or ahead["raft_role"] != "leader" or any(s["applied_index"] != ahead["commit_index"] for s in seen.values()):
                return None
            return int(leader), int(ahead["term"])
        return wait(30, "all nodes agree", find)


class Writer:
    """One write after another at one node."""

    def __init__(self, address):
        self.address, self.socket, self.due, self.got, self.connected = address, None, 0, b"", False

    def close(self, poll):
        if self.socket:
            poll.unregister(self.socket)
            self.socket.close()
        self.socket, self.got, self.connected = None, b"", False

    def connect(self, poll):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(self.address)
        poll.register(self.socket, select.EPOLLOUT)


class Client:
    """Keeps a write under way at every node, and notes when each was accepted."""

    def __init__(self, addresses):
        self.poll, self.writers, self.key = select.epoll(), [Writer(a) for a in addresses], 0
        self.accepted, self.errors = [], {}

    def close(self):
        for w in self.writers:
            w.close(self.poll)
        self.poll.close()

    def run(self, done):
        """Until `done`, which is asked about every millisecond."""
        while not done():
            now = time.monotonic()
            for w in self.writers:
                if w.due is not None and w.due <= now:
                    w.due = None
                    self.write(w) if w.connected else w.connect(self.poll)
            by_socket = {w.socket.fileno(): w for w in self.writers if w.socket}
            for number, _ in self.poll.poll(PAUSE):
                w = by_socket[number]
                try:
                    self.connect_ended(w) if not w.connected else self.read(w)
                except OSError as error:
                    self.failed(w, errno.errorcode.get(error.errno, str(error)))

    def failed(self, w, why):
        self.errors[why] = self.errors.get(why, 0) + 1
        w.close(self.poll)
        w.due = time.monotonic() + PAUSE

    def connect_ended(self, w):
        if error := w.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, "")
        w.connected = True
        self.poll.modify(w.socket, select.EPOLLIN)
        self.write(w)

    def write(self, w):
        self.key += 1
        try:
            w.socket.send(b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$100\r\n%s\r\n" % (self.key, b"v" * 100))
        except OSError as error:
            self.failed(w, errno.errorcode.get(error.errno, str(error)))

    def read(self, w):
        got = w.socket.recv(4096)
        if not got:
            return self.failed(w, "closed")
        w.got += got
        if not w.got.endswith(b"\r\n"):
            return
        now = time.monotonic()
        if w.got == b"+OK\r\n":
            self.accepted.append(now)
        else:
            why = w.got.split()[0].decode()
            self.errors[why] = self.errors.get(why, 0) + 1
        w.got, w.due = b"", now + PAUSE


def longest_gap(accepted, since):
    """Between two accepted writes, the later one after `since`."""
    pairs = [(b - a) for a, b in zip(accepted, accepted[1:]) if b > since]
    return max(pairs, default=GIVE_UP)


def one_round(cluster, fail, heal):
    leader, term = cluster.settled()
    client = Client([(cluster.host(i)[0], cluster.client[i]) for i in cluster.ids])
    # At a random place between two heartbeats.
    begin = time.monotonic() + random.uniform(0.4, 0.6)
    client.run(lambda: time.monotonic() >= begin)
    failed = time.monotonic()
    fail(cluster, leader)
    done = time.monotonic()

    def is_over():
        now = time.monotonic()
        lasts = client.accepted and client.accepted[-1] > failed + 0.1 and longest_gap(client.accepted, failed) > 0.02
        if lasts and not is_over.by:
            is_over.by = now + 0.3
        return now > failed + GIVE_UP or (is_over.by and now > is_over.by)
    is_over.by = None
    client.run(is_over)
    client.close()
    heal(cluster, leader)
    _, after = cluster.settled()
    return {"gap": longest_gap(client.accepted, failed), "terms": after - term, "took": done - failed, "errors": client.errors}


def kill(cluster, i):
    cluster.kill(i)


def restart(cluster, i):
    cluster.start(i)


def stop(cluster, i):
    cluster.processes[i].send_signal(signal.SIGSTOP)


def go_on(cluster, i):
    cluster.processes[i].send_signal(signal.SIGCONT)


def cut(cluster, i):
    # Off the bridge: its interface stays up, and what is sent goes nowhere.
    run("ip", "link", "set", f"n{i}", "nomaster")


def mend(cluster, i):
    run("ip", "link", "set", f"n{i}", "master", "bridge")


FAILURES = {"kill": ("kill -9", kill, restart), "stop": ("SIGSTOP", stop, go_on), "cut": ("packets dropped", cut, mend)}


def said(values):
    return f"{1000 * statistics.median(values):6.0f} ({1000 * min(values):.0f}–{1000 * max(values):.0f})"


def failover(cluster, names, rounds):
    found = {name: [] for name in names}
    # In turns: what disturbs the machine for a while disturbs all alike.
    for n in range(rounds):
        for name in names:
            _, fail, heal = FAILURES[name]
            found[name].append(one_round(cluster, fail, heal))
            print(f"round {n + 1}: {name}: {1000 * found[name][-1]['gap']:.0f} ms", file=sys.stderr, flush=True)
    print("| the leader's failure | longest gap between accepted writes, ms | rounds | with more than one election |")
    print("| --- | --- | --- | --- |")
    for name in names:
        again = sum(r["terms"] > 1 for r in found[name])
        print(f"| {FAILURES[name][0]} | {said([r['gap'] for r in found[name]])} | {rounds} | {again} |")
    return found


def at(line):
    """When a line of a node's log was written, in seconds."""
    try:
        return datetime.datetime.fromisoformat(line.split()[0].replace("Z", "+00:00")).timestamp()
    except (ValueError, IndexError):
        return None


def saturate(cluster, seconds):
    leader, term = cluster.settled()
    begun = time.time()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=die_with_parent) for _ in range(2 * os.cpu_count())]
    client = Client([(cluster.host(i)[0], cluster.client[i]) for i in cluster.ids for _ in range(8)])
    try:
        until = time.monotonic() + seconds
        client.run(lambda: time.monotonic() >= until)
    finally:
        client.close()
        for p in busy:
            p.kill()
            p.wait()
    _, after = cluster.settled()
    lines = [(at(line), line.strip()) for i in cluster.ids for line in open(os.path.join(cluster.dir, f"n{i}.log"), errors="replace")]
    lines = sorted((t, line) for t, line in lines if t is not None and t >= begun)
    slow = [t for t, line in lines if "the disk is slow" in line]
    won = [t for t, line in lines if re.search(r"Leader in term", line)]
    # The note of a slow sync comes when that has ended, which may be after the election.
    by_disk = [t for t in won if any(t - 2 <= s <= t + 1 for s in slow)]
    gaps = [b - a for a, b in zip(client.accepted, client.accepted[1:])]
    syncs = max(int(cluster.info(i)["log_sync_max_us"]) for i in cluster.ids) / 1000
    print(f"{seconds:.0f} s with {2 * os.cpu_count()} busy processes on {os.cpu_count()} CPUs beside {len(client.writers)} writers: {len(client.accepted) / seconds:,.0f} writes/s, "
          f"longest gap {1000 * max(gaps):.0f} ms; longest sync of a log {syncs:.0f} ms, {len(slow)} notes of a slow disk")
    print(f"terms {term} to {after}: {len(won)} elections won, {len(by_disk)} of them beside a slow disk")
    for _, line in lines:
        print("   ", line, file=sys.stderr)
    return {"seconds": seconds, "terms": after - term, "won": len(won), "by_disk": len(by_disk), "writes": len(client.accepted), "longest_gap": max(gaps), "longest_sync_ms": syncs}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quorate", default=BINARY, metavar="BINARY")
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--only", choices=list(FAILURES), action="append", help="this failure; may be given again")
    arguments.add_argument("--saturate", type=float, metavar="SECONDS")
    arguments.add_argument("--json", metavar="FILE")
    given, flags = arguments.parse_known_args()
    enter_namespace()
    with Islands(3, *flags, binary=given.quorate) as cluster:
        found = saturate(cluster, given.saturate) if given.saturate else failover(cluster, given.only or list(FAILURES), given.rounds)
    if given.json:
        with open(given.json, "w") as out:
            json.dump(found, out, indent=1)


if __name__ == "__main__":
    main()
