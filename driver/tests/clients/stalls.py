"""What other clients notice of costly commands: latencies of SET and GET, one at a time, on a cluster of three nodes with 1,000,000 keys of 16 bytes with values of
100, while another client runs each of them again and again. stalls.py [KEYS [SECONDS]]

Ends with an error if a command is answered otherwise than expected, or if an election was held: leaders keep up their heartbeats all the while."""
import multiprocessing, socket, sys, time
from cluster import Cluster, command, info
from memory import key, write

LONG = 8 << 20


def packed(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def read_reply(replies):
    """The next reply: its first line, without what follows of it."""
    line = replies.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"$" and int(rest) >= 0:
        left = int(rest) + 2
        while left:
            left -= len(replies.read(min(left, 1 << 20)))
    elif kind in b"*%":
        for _ in range(int(rest) * (2 if kind == b"%" else 1)):
            read_reply(replies)
    elif not line:
        raise SystemExit("the connection was closed")
    return line


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.socket.makefile("rb", 1 << 20)

    def ask(self, *commands):
        """All commands at once; the first lines of their replies."""
        self.socket.sendall(b"".join(commands))
        return [read_reply(self.replies) for _ in commands]


def probe(port, name, until, out):
    client, times = Client(port), []
    n = 0
    while (start := time.monotonic()) < until.value:
        n = (n * 48271 + 1) % 30011
        asked = packed("SET", key(n), b"v" * 100) if name == "SET" else packed("GET", key(n))
        line, = client.ask(asked)
        if line[:1] == b"-":
            raise SystemExit(f"{name}: {line}")
        times.append(time.monotonic() - start)
    out.put((name, times))


def said(times):
    times = sorted(times)
    at = lambda share: 1000 * times[min(len(times) - 1, int(share * len(times)))]
    return f"p50 {at(0.5):6.2f}  p99 {at(0.99):6.2f}  p99.9 {at(0.999):6.2f}  most {at(1):7.2f} ms"


def beside(port, name, seconds, work):
    """Runs `work` again and again while a client sets and another gets."""
    until = multiprocessing.Value("d", time.monotonic() + seconds)
    out = multiprocessing.Queue()
    probes = [multiprocessing.Process(target=probe, args=(port, kind, until, out)) for kind in ("SET", "GET")]
    [p.start() for p in probes]
    own, answers, client = [], set(), Client(port)
    while (start := time.monotonic()) < until.value:
        if not work:
            time.sleep(0.05)
            continue
        if lines := work(client):
            answers.update(line[:60] for line in lines)
            own.append(time.monotonic() - start)
    found = dict(out.get() for _ in probes)
    [p.join() for p in probes]
    print(f"{name}" + (f": {len(own)} times, {1000 * sum(own) / len(own):.1f} ms each" if own else ""))
    for kind in ("SET", "GET"):
        print(f"    {kind} {said(found[kind])}", flush=True)
    return answers


def expect(answers, *beginnings):
    strange = [line for line in answers if not line.startswith(beginnings)]
    if strange:
        raise SystemExit(f"answered {strange}")


def main():
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5
    with Cluster() as cluster:
        port = cluster.client[cluster.leader()]
        term = lambda: info(port)["term"]
        write(port, range(keys))
        setup = Client(port)
        # As long as LCS takes: a table of 2^21 cells.
        setup.ask(packed("SET", "a", b"abcdefgh" * 180), packed("SET", "b", b"hgfedcab" * 180), packed("SETRANGE", "long", LONG - 1, "x"))
        for at in range(0, 1000, 50):
            setup.ask(*(packed("SET", f"large:{n}", b"v" * 10_000) for n in range(at, at + 50)))
            setup.ask(*(packed("SET", f"huge:{n}", b"v" * 100_000) for n in range(at, at + 50)))
        time.sleep(2)
        before = term()
        once = lambda *commands: lambda client: client.ask(*commands)
        beside(port, "nothing", seconds, None)
        expect(beside(port, "LCS of 1,440 bytes", seconds, once(packed("LCS", "a", "b"))), b"$")
        expect(beside(port, "LCS, 1,000 in flight", seconds, once(*[packed("LCS", "a", "b", "LEN")] * 1000)), b":")
        expect(beside(port, "LCS of 8 MiB", seconds, once(packed("LCS", "long", "long"))), b"-ERR Insufficient memory")
        exec_of = lambda command, times: [packed("MULTI"), *[command] * times, packed("EXEC")]
        expect(beside(port, "EXEC of 10 LCS", seconds, once(*exec_of(packed("LCS", "a", "b", "LEN"), 10))), b"+", b"*10")
        expect(beside(port, "EXEC of 1,000 LCS", seconds, once(*exec_of(packed("LCS", "a", "b", "LEN"), 1000))), b"+", b"-ERR the transaction is too much work")
        expect(beside(port, f"KEYS of {keys:,}", seconds, once(packed("KEYS", "*"))), b"-ERR KEYS looks at no more" if keys > 30_000 else b"*")
        expect(beside(port, "SCAN COUNT 10000, 100 in flight", seconds, once(*[packed("SCAN", 0, "COUNT", 10_000)] * 100)), b"*2")
        expect(beside(port, "MGET of 1,000 values of 10 kB", seconds, once(packed("MGET", *(f"large:{n}" for n in range(1000))))), b"*1000")
        expect(beside(port, "MGET of 1,000 values of 100 kB", seconds, once(packed("MGET", *(f"huge:{n}" for n in range(1000))))), b"-ERR reply exceeds")
        expect(beside(port, "COPY of 8 MiB, 50 in flight", seconds, once(*[packed("COPY", "long", "long2", "REPLACE")] * 50)), b":1")
        expect(beside(port, "BITCOUNT of 8 MiB, 1,000 in flight", seconds, once(*[packed("BITCOUNT", "long")] * 1000)), b":4")
        many = packed("MSET", *(word for n in range(16_384) for word in (key(n * 61 % keys), b"v" * 100)))
        expect(beside(port, "MSET of 16,384 keys", seconds, once(many)), b"+OK")
        setup.ask(packed("DEL", "long", "long2"))

        at = int(time.time()) + 2 + keys // 60_000
        for first in range(0, keys, 1000):
            setup.ask(*(packed("EXPIREAT", key(n), at) for n in range(first, min(keys, first + 1000))))
        left = at - time.time()
        beside(port, f"{keys:,} keys are to die together", max(1, left), None)
        beside(port, "they die", seconds, None)
        print(f"    {int(command(port, 'DBSIZE')):,} keys are left")
        write(port, range(keys))
        expect(beside(port, f"FLUSHALL of {keys:,}", seconds, flush_once()), b"+OK")
        if term() != before:
            raise SystemExit(f"an election was held: {before}, now {term()}")
        print("no election was held")


def flush_once():
    """FLUSHALL, and then nothing."""
    done = []
    def work(client):
        if done:
            time.sleep(0.05)
            return []
        done.append(True)
        return client.ask(packed("FLUSHALL"))
    return work


if __name__ == "__main__":
    main()
