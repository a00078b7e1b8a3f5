"""redis-cli as a person uses it, on a terminal: help, completion by Tab, redirects, and the modes that look at a server. redis_cli.py"""
import fcntl, os, pty, re, select, struct, subprocess, sys, termios, time
from cluster import Cluster, command

# What a terminal does with these is not looked at.
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# How long anything may take, in seconds: reached only when the test fails.
PATIENCE = 20


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *arguments):
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
            os.execvp("redis-cli", ["redis-cli", *map(str, arguments)])
        self.seen = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        os.close(self.end)

    def type(self, text):
        """Types, and forgets what was shown before."""
        self.seen = ""
        os.write(self.end, text.encode())

    def shows(self, *texts, last=""):
        """Waits until all of it has been shown, and `last` at the end."""
        until = time.time() + PATIENCE
        while not (all(text in self.seen for text in texts) and self.seen.endswith(last)):
            if not select.select([self.end], [], [], max(0, until - time.time()))[0]:
                raise SystemExit(f"{(*texts, last)!r} is not shown after {PATIENCE} s, but: {self.seen!r}")
            self.seen += ESCAPES.sub("", os.read(self.end, 65536).decode(errors="replace"))


def interactive(port):
    with Terminal("-p", port) as t:
        prompt = f"127.0.0.1:{port}> "

        def answers(line, *texts):
            """Each text, and then the next line can be typed: a Tab that comes before is a Tab."""
            t.type(line + "\r")
            t.shows(*texts, last=prompt)

        t.shows(last=prompt)
        answers("help get", "GET", "summary: Get the value of a key", "since: 1.0.0")
        answers("help @string", "APPEND", "INCRBY", "STRLEN")
        for typed, completed in [("getr", "GETRANGE"), ("slowl", "SLOWLOG"), ("config ge", "CONFIG GET"), ("member pro", "MEMBER PROMOTE")]:
            t.type(typed + "\t")
            t.shows(completed)
            t.type("\x15")
        answers("set greeting hello", "OK")
        answers("get greeting", '"hello"')
        answers("incr greeting", "(error) ERR value is not an integer or out of range")
        answers("nonsense", "(error) ERR unknown command 'nonsense', with args beginning with: ")
        answers("hello 3", '"proto" => (integer) 3')
        answers("slowlog get", "(empty array)")


def redirects(follower, leader):
    with Terminal("-c", "-p", follower) as t:
        t.shows(f"127.0.0.1:{follower}> ")
        t.type("set x 1\r")
        t.shows(f"-> Redirected to slot [16287] located at 127.0.0.1:{leader}", "OK", f"127.0.0.1:{leader}> ")
        t.type("incr x\r")
        t.shows("(integer) 2")
    with Terminal("-p", follower) as t:
        t.shows(f"127.0.0.1:{follower}> ")
        t.type("get x\r")
        t.shows(f"(error) MOVED 16287 127.0.0.1:{leader}")


def run(*arguments):
    done = subprocess.run(["redis-cli", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "rror" not in done.stdout + done.stderr, (arguments, done)
    return done.stdout


def modes(port):
    for n in range(1000):
        command(port, "SET", f"scanned:{n}", "x")
    keys = int(command(port, "DBSIZE"))
    assert sorted(run("-p", port, "--scan", "--pattern", "scanned:*").split()) == sorted(f"scanned:{n}" for n in range(1000))
    assert f"{keys} strings with" in run("-p", port, "--bigkeys")
    with Terminal("-p", port, "--stat", "-i", "0.05") as t:
        # Keys, and requests that grow by the INFO of each line.
        t.shows("keys       mem      clients blocked requests            connections", f"\r\n{keys} ", "(+1)")
    with Terminal("-p", port, "--latency") as t:
        t.shows("min: ", "max: ", "avg: ", "samples")
    with Terminal("-p", port, "--latency-history", "-i", "0.1") as t:
        t.shows("seconds range\r\n")
    assert f"{keys} keys in 1 masters" in run("--cluster", "info", f"127.0.0.1:{port}")
    assert "[OK] All 16384 slots covered." in run("--cluster", "check", f"127.0.0.1:{port}")


def main():
    with Cluster() as c:
        leader = c.leader()
        interactive(c.client[leader])
        interactive(c.client[next(i for i in c.ids if i != leader)])
        modes(c.client[leader])
    with Cluster(3, "--redirect", "moved") as c:
        leader = c.leader()
        redirects(c.client[next(i for i in c.ids if i != leader)], c.client[leader])
    print("redis-cli on a terminal: help, completion, -c, --scan, --stat, --latency, --latency-history, --cluster info and check")


if __name__ == "__main__":
    sys.exit(main())
