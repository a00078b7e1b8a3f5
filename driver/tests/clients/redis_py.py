"""redis-py, as survive.py wants it."""
import sys, threading, time
import redis
from redis.cluster import RedisCluster

WORKERS = 16


def strings(c):
    assert c.set("s", "value") is True and c.get("s") == b"value"
    assert c.get("s:missing") is None and c.set("s", "other", nx=True) is None
    assert c.exists("s") == 1 and c.delete("s") == 1 and c.get("s") is None


def counters(c):
    c.delete("n")
    assert [c.incr("n"), c.incr("n"), c.incrby("n", 40), c.decr("n")] == [1, 2, 42, 41]
    c.set("n", "text")
    try:
        c.incr("n")
        raise SystemExit("INCR of a text succeeded")
    except redis.ResponseError as e:
        assert str(e) == "value is not an integer or out of range", e


def expiry(c):
    assert c.set("e", "value", ex=100) is True and 0 < c.ttl("e") <= 100
    assert c.persist("e") and c.ttl("e") == -1 and c.expire("e", 50) and 0 < c.ttl("e") <= 50
    assert c.set("e", "value", px=1) is True
    until = time.time() + 10
    while c.get("e") is not None:
        assert time.time() < until, "a key of a millisecond is there after ten seconds"
    assert c.ttl("e") == -2


def transactions(c):
    with c.pipeline(transaction=True) as p:
        # RedisCluster gives the status as it is.
        assert p.set("{t}a", 1).incr("{t}a").get("{t}a").execute() in ([True, 2, b"2"], [b"OK", 2, b"2"])
    with c.pipeline(transaction=True) as p:
        p.watch("{t}a")
        before = int(p.get("{t}a"))
        p.multi()
        assert p.set("{t}b", before + 1).execute() in ([True], [b"OK"])
    with c.pipeline(transaction=True) as p:
        p.watch("{t}a")
        c.set("{t}a", "changed")
        p.multi()
        p.set("{t}b", "lost")
        try:
            p.execute()
            raise SystemExit("EXEC succeeded though a watched key had changed")
        except redis.WatchError:
            pass
    assert c.get("{t}b") == b"3"


def pipelines(c):
    c.delete("{p}n")
    p = c.pipeline(transaction=False)
    for _ in range(100):
        p.incr("{p}n").get("{p}n")
    assert p.execute() == [reply for n in range(1, 101) for reply in (n, b"%d" % n)]


def worker(c, key, stop, counts):
    while not stop.is_set():
        try:
            c.incr(key)
            counts[0] += 1
        except redis.RedisError as e:
            if str(e).startswith("UNDETERMINED"):
                counts[1] += 1
            else:
                print("error", repr(e), flush=True)
                time.sleep(0.01)


def main():
    mode, port, steps = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    c = redis.Redis(port=port) if mode == "plain" else RedisCluster(host="127.0.0.1", port=port)
    for step in steps:
        globals()[step](c)
    stop, counts = threading.Event(), [[0, 0] for _ in range(WORKERS)]
    threads = [threading.Thread(target=worker, args=(c, f"counter:{mode}:{n}", stop, counts[n])) for n in range(WORKERS)]
    for t in threads:
        t.start()
    print("ready", flush=True)
    sys.stdin.read()
    stop.set()
    for t in threads:
        t.join()
    for acknowledged, undetermined in counts:
        print("worker", acknowledged, undetermined)


if __name__ == "__main__":
    main()
