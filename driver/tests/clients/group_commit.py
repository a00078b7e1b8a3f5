"""Group commit, seen from outside: strace on all three nodes while 64 clients each wait for their replies.

Shows: writes per fdatasync on the leader and on each follower; that no reply reached a client before the syncs that cover its write had returned on two
nodes; that INFO counts the same syncs. Needs strace. group_commit.py [WRITES]"""
import os, re, socket, subprocess, sys, threading, time
from cluster import Cluster

CLIENTS = 64


def client(port, me, count, log):
    s = socket.create_connection(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for n in range(count):
        token = f"T{me:02d}x{n:05d};"
        s.sendall(f"*3\r\n$3\r\nSET\r\n$3\r\nk{me:02d}\r\n$10\r\n{token}\r\n".encode())
        got = s.recv(64)
        log.append((token, time.time(), got))
        assert got == b"+OK\r\n", got


def syncs(path):
    """From an strace log: per thread the order of writes to segments and syncs of them; yields (end of sync, tokens that it covers)."""
    pending, open_calls, out = [], {}, []
    for line in open(path, errors="replace"):
        m = re.match(r"(\d+) +(\d+\.\d+) (.*)", line)
        if not m:
            continue
        thread, at, rest = m[1], float(m[2]), m[3]
        if re.match(r"pwritev?2?(64)?\(\d+<[^>]*segment-", rest):
            tokens = re.findall(r"T\d\dx\d{5};", rest)
            if "unfinished" in rest:
                open_calls[thread] = ("write", tokens, at)
            else:
                pending += tokens
        elif re.match(r"fdatasync\(\d+<[^>]*segment-", rest):
            if "unfinished" in rest:
                open_calls[thread] = ("sync", pending, at)
            else:
                out.append((at + float(re.search(r"<([\d.]+)>$", rest)[1]), pending))
            pending = []
        elif "resumed>" in rest and thread in open_calls:
            kind, tokens, _ = open_calls.pop(thread)
            if kind == "write":
                pending += tokens
            else:
                out.append((at, tokens))
    return out


def main():
    writes = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    with Cluster() as c:
        leader = c.leader()
        before = {i: c.info(i) for i in c.ids}
        traces = {}
        for i in c.ids:
            path = os.path.join(c.dir, f"strace.{i}")
            traces[i] = (path, subprocess.Popen(["strace", "-f", "-ttt", "-T", "-y", "-s", "1000000", "-e", "trace=pwrite64,pwritev,pwritev2,fdatasync",
                                                 "-p", str(c.processes[i].pid), "-o", path], stderr=subprocess.DEVNULL))
        time.sleep(1)
        logs = [[] for _ in range(CLIENTS)]
        threads = [threading.Thread(target=client, args=(c.client[leader], n, writes // CLIENTS, logs[n])) for n in range(CLIENTS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        time.sleep(0.5)
        for _, p in traces.values():
            p.terminate()
            p.wait()
        after = {i: c.info(i) for i in c.ids}
        durable, total = {}, sum(map(len, logs))
        for i in c.ids:
            found = syncs(traces[i][0])
            for end, tokens in found:
                for t in tokens:
                    durable.setdefault(t, []).append(end)
            useful = sum(1 for _, tokens in found if tokens)
            counted = int(after[i]["log_syncs"]) - int(before[i]["log_syncs"])
            role = "leader  " if i == leader else "follower"
            print(f"{role} {i}: {total} writes, {len(found)} fdatasync by strace ({useful} with writes), {counted} by INFO, {total / max(1, len(found)):.1f} writes per fdatasync")
            assert abs(counted - len(found)) <= 2, "INFO and strace disagree"
            if i == leader or useful > 0.9 * len(found):
                assert total / max(1, len(found)) >= 8, "fewer than 8 writes per fdatasync"
        early = [(t, at) for log in logs for t, at, _ in log if sum(end <= at for end in durable.get(t, [])) < 2]
        print(f"{total} replies checked against {sum(map(len, durable.values()))} synced copies: {len(early)} came before two syncs had returned")
        assert not early, early[:5]


if __name__ == "__main__":
    main()
