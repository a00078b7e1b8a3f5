"""What the scripts beside this file share: servers that are started and ended, runs of `quorate bench`, and medians with what they lie between.
Ends only what it started."""
import argparse, collections, json, os, shlex, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "driver", "tests", "clients"))
import cluster
from cluster import Cluster, command, free_ports, wait


def arguments(description, rounds):
    """A parser with the flags that every script has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quorate", metavar="BINARY", default=cluster.BINARY, help="the command to measure, and to load every server with (target/release/quorate)")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"({rounds})")
    parser.add_argument("--json", metavar="FILE", help="also writes every figure there")
    return parser


def parsed(parser):
    a = parser.parse_args()
    if not os.access(a.quorate, os.X_OK):
        parser.error(f"{a.quorate} is not there: cargo build --release, or --quorate BINARY")
    cluster.BINARY = os.path.abspath(a.quorate)
    # A script that is told to stop takes its servers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return a


def order(entries, number):
    """The entries in the order of a round: over as many rounds as there are entries (of an odd number twice as many), each comes equally often in each place and
    right after each other one (a Williams square). What one leaves behind, files that are written anew or caches that are full of it, meets all the others."""
    n = len(entries)
    shift, backwards = (number, False) if n % 2 == 0 else divmod(number, 2)
    places = [((k + 1) // 2 if k % 2 else -(k // 2)) + shift for k in range(n)]
    return [entries[place % n] for place in (reversed(places) if backwards else places)]


def say(text):
    print(text, file=sys.stderr, flush=True)


class Server:
    """Another server: processes in groups of their own, and a directory that goes with them."""

    def __init__(self):
        self.dir, self.processes = tempfile.mkdtemp(prefix="quorate-bench-"), []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A process may have children of its own, and may have ended before them.
        for number, waits in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            for p in self.processes:
                try:
                    os.killpg(p.pid, number)
                except ProcessLookupError:
                    pass
            for p in self.processes:
                try:
                    p.wait(waits)
                except subprocess.TimeoutExpired:
                    pass
        shutil.rmtree(self.dir, ignore_errors=True)

    def spawn(self, *line):
        log = open(os.path.join(self.dir, "log"), "ab")
        self.processes.append(subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True))

    def await_port(self, port):
        def accepts():
            if any(p.poll() is not None for p in self.processes):
                raise SystemExit("a server has ended: " + open(os.path.join(self.dir, "log"), errors="replace").read()[-1000:])
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                return True
            except OSError:
                return False
        wait(60, f"port {port}", accepts)


class Redis(Server):
    """A master with so many replicas, each with a sync of its file before it answers or acknowledges."""

    def __init__(self, replicas=0):
        super().__init__()
        self.replicas = replicas

    def __enter__(self):
        try:
            ports = free_ports(1 + self.replicas)
            for n, port in enumerate(ports):
                os.mkdir(directory := os.path.join(self.dir, str(n)))
                self.spawn("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", "", "--appendonly", "yes",
                           "--appendfsync", "always", *(["--replicaof", f"127.0.0.1 {ports[0]}"] if n else []))
            for port in ports:
                self.await_port(port)
            self.port = ports[0]
            online = lambda: command(self.port, "INFO", "replication").count(b"state=online") == self.replicas
            # Until its file is written anew, a replica that has just been copied to syncs nothing.
            settled = lambda port: (info := command(port, "INFO", "persistence")) and b"aof_rewrite_in_progress:0" in info and b"aof_rewrite_scheduled:0" in info
            wait(60, "the replicas", lambda: online() and all(settled(port) for port in ports))
        except BaseException:
            self.__exit__()
            raise
        return self


class Relay(Server):
    """Whatever a command line starts: {port} is where it has to listen, and the next two ports are free; {dir} is a directory."""

    def __init__(self, line):
        super().__init__()
        self.line = line

    def __enter__(self):
        try:
            self.port = wait(10, "three free ports in a row", three_ports)
            self.spawn(*shlex.split(self.line.format(port=self.port, dir=self.dir)))
            self.await_port(self.port)
        except BaseException:
            self.__exit__()
            raise
        return self


def three_ports():
    [first] = free_ports(1)
    try:
        for port in (first, first + 1, first + 2):
            with socket.socket() as s:
                s.bind(("127.0.0.1", port))
    except (OSError, OverflowError):
        return None
    return first


def line_of(port, **flags):
    """The command line of a run of `quorate bench`; flags by their names, with _ for -."""
    words = [word for name, value in flags.items() if value is not None for word in (f"--{name.replace('_', '-')}", str(value))]
    return [cluster.BINARY, "bench", "--json", "--address", f"127.0.0.1:{port}", *words]


class Disturbed(SystemExit):
    """A run that tells nothing. Ends a script that does not try again."""


def judged(returncode, out, error):
    """The object that a run has printed, if every command was done."""
    if returncode:
        raise Disturbed(f"quorate bench: {error.strip()}")
    run = json.loads(out)
    if run["errors"] or run["behind"]:
        raise Disturbed(f"error replies: {run['errors']}; commands that could not be sent: {run['behind']}")
    return run


def patiently(measurement):
    """What a measurement gives, which is tried anew if it was disturbed: a machine that stands still for some hundred milliseconds loses a leader."""
    for left in (2, 1, 0):
        try:
            return measurement()
        except Disturbed as disturbed:
            if not left:
                raise
            say(f"once more: {disturbed}")
            time.sleep(2)


def port_of(server):
    """Where commands go: of a cluster to its leader."""
    return server.client[server.leader()] if isinstance(server, Cluster) else server.port


def bench(port, **flags):
    run = subprocess.run(line_of(port, **flags), capture_output=True, text=True, timeout=600)
    return judged(run.returncode, run.stdout, run.stderr)


class Bench:
    """A run beside others."""

    def __init__(self, port, **flags):
        self.process = subprocess.Popen(line_of(port, **flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def is_running(self):
        return self.process.poll() is None

    def end(self):
        out, error = self.process.communicate(timeout=600)
        return judged(self.process.returncode, out, error)


def load(port, keys, value_bytes=100):
    """Writes each key once."""
    depth = max(1, min(32, (1 << 20) // value_bytes))
    return bench(port, reads=0, distribution="sequential", keys=keys, requests=keys, connections=16, pipeline=depth, warm_up=0, value_bytes=value_bytes)


def cpu_seconds(pids):
    """Processor time of all their threads, in user mode and in the kernel."""
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            ticks += sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Spread(collections.namedtuple("Spread", "median least most")):
    """A median and what it lies between."""

    @classmethod
    def of(cls, values):
        return cls(statistics.median(values), min(values), max(values))

    def text(self, form):
        return f"{self.median:{form}} ({self.least:{form}}–{self.most:{form}})"


def table(head, rows):
    """A table in Markdown."""
    return "\n".join(["| " + " | ".join(row) + " |" for row in ([head, ["---"] * len(head)] + [list(map(str, row)) for row in rows])])


def machine():
    """What the figures were taken on, in one line."""
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "an unknown CPU")
    return f"{os.cpu_count()} CPUs ({model}), Linux {os.uname().release}; load average at the end {os.getloadavg()[0]:.1f}"


def report(a, text, figures):
    print(text, flush=True)
    if a.json:
        with open(a.json, "w") as f:
            json.dump({"machine": machine(), "rounds": a.rounds, **figures}, f, indent=1)
            f.write("\n")
