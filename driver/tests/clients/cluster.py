"""A cluster of real `quorate serve` processes for the scripts beside this file. Ends only what it started."""
import contextlib, os, shutil, signal, socket, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
BINARY = os.environ.get("QUORATE", os.path.join(TARGET, "release", "quorate"))


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait(seconds, what, condition):
    """Waits until the condition gives something true, and returns that."""
    until = time.time() + seconds
    while not (found := condition()):
        if time.time() > until:
            raise SystemExit(f"{what}: not within {seconds} s")
        time.sleep(0.02)
    return found


class Cluster:
    def __init__(self, nodes=3, *flags, binary=None):
        self.binary, self.flags, self.ids = binary or BINARY, list(flags), list(range(1, nodes + 1))
        self.dir = tempfile.mkdtemp(prefix="quorate-test-")
        ports = free_ports(2 * nodes)
        self.client = dict(zip(self.ids, ports[:nodes]))
        self.peer = dict(zip(self.ids, ports[nodes:]))
        self.processes = {}

    def __enter__(self):
        # A script that is told to stop takes its nodes with it.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            for i in self.ids:
                self.start(i, wait=False)
            for i in self.ids:
                self.await_ready(i)
            self.leader()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for p in self.processes.values():
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
        for p in self.processes.values():
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def data_dir(self, i):
        return os.path.join(self.dir, f"n{i}")

    def host(self, i):
        """Where a node listens, and how it is started there: in front of its command line."""
        return "127.0.0.1", []

    def address(self, i):
        """Its peers' address and its clients', as flags say it."""
        host, _ = self.host(i)
        return f"{host}:{self.peer[i]}/{host}:{self.client[i]}"

    def start(self, i, *more, wait=True, among=None):
        """Starts a node; `among` in place of `--cluster` and all nodes."""
        host, within = self.host(i)
        among = among or ["--cluster", ",".join(f"{j}={self.address(j)}" for j in self.ids)]
        with open(os.path.join(self.dir, f"n{i}.log"), "ab") as log:
            self.processes[i] = subprocess.Popen(
                [*within, self.binary, "serve", "--id", str(i), "--data-dir", self.data_dir(i), "--listen-client", f"{host}:{self.client[i]}",
                 "--listen-peer", f"{host}:{self.peer[i]}", *among, *self.flags, *more], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if wait:
            self.await_ready(i)

    def await_ready(self, i):
        def accepts():
            if self.processes[i].poll() is not None:
                raise SystemExit(f"node {i} ended with {self.processes[i].returncode}: {self.log(i)}")
            try:
                socket.create_connection((self.host(i)[0], self.client[i]), 0.2).close()
                return True
            except OSError:
                return False
        wait(20, f"node {i} is ready", accepts)

    def log(self, i):
        return open(os.path.join(self.dir, f"n{i}.log"), errors="replace").read()[-2000:]

    def kill(self, i):
        self.processes[i].kill()
        self.processes[i].wait()

    def alive(self):
        return [i for i in self.ids if i in self.processes and self.processes[i].poll() is None]

    def info(self, i):
        return info(self.client[i], self.host(i)[0])

    def leader(self):
        """The id of a node that says it leads and that a majority follows."""
        def find():
            for i in self.alive():
                try:
                    if self.info(i).get("role") == "master":
                        return i
                except OSError:
                    pass
        return wait(20, "a leader", find)


def info(port, host="127.0.0.1"):
    reply = command(port, "INFO", host=host)
    return dict(line.split(":", 1) for line in reply.decode().split("\r\n") if ":" in line)


@contextlib.contextmanager
def redis_server(*flags):
    """A redis-server in memory alone, with more flags: its port and its process's number."""
    directory = tempfile.mkdtemp(prefix="quorate-redis-")
    [port] = free_ports(1)
    server = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", directory, *flags],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def up():
            try:
                return command(port, "PING") == b"PONG"
            except OSError:
                return False
        wait(10, "redis-server", up)
        yield port, server.pid
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(directory, ignore_errors=True)


def command(port, *args, timeout=10, host="127.0.0.1"):
    """One command over a connection of its own; returns the reply's text (bulk or simple), raises on an error reply."""
    with socket.create_connection((host, port), timeout) as s:
        s.sendall(b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in (x.encode() if isinstance(x, str) else x for x in args)))
        f = s.makefile("rb")
        line = f.readline()
        if line[:1] == b"-":
            raise RuntimeError(line.decode().strip())
        if line[:1] == b"$":
            n = int(line[1:])
            return None if n < 0 else f.read(n + 2)[:-2]
        return line[1:].strip()
