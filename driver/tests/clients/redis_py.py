"""redis-py against a cluster: `Redis` connected to a survivor and `RedisCluster` connected to all set and get through any node, and
go on after the leader is killed with SIGKILL; every acknowledged write is there at the end."""
import sys, time
import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from cluster import Cluster


def until(seconds, what, attempt):
    """Repeats `attempt` until it raises nothing; a refused or undetermined write of a fixed value may be repeated."""
    end = time.time() + seconds
    while True:
        try:
            return attempt()
        except (redis.exceptions.RedisError, OSError) as e:
            if time.time() > end:
                raise SystemExit(f"{what}: still failing after {seconds} s: {e!r}")
            time.sleep(0.05)


def main():
    with Cluster() as c:
        leader = c.leader()
        survivor = next(i for i in c.ids if i != leader)
        acknowledged = {}
        plain = {i: redis.Redis(port=c.client[i], protocol=3) for i in c.ids}
        for i, r in plain.items():
            for n in range(100):
                assert r.set(f"plain:{i}:{n}", n)
                acknowledged[f"plain:{i}:{n}"] = str(n)
        for i, r in plain.items():
            assert r.get("plain:1:7") == b"7" and r.dbsize() == 300, i
        pipe = plain[survivor].pipeline(transaction=False)
        for n in range(100):
            pipe.incr("counter")
        assert pipe.execute() == list(range(1, 101))
        nodes = [ClusterNode("127.0.0.1", c.client[i]) for i in c.ids]
        cluster = RedisCluster(startup_nodes=nodes, retry=Retry(ConstantBackoff(0.05), 100))
        for n in range(100):
            assert cluster.set(f"cluster:{n}", n)
            acknowledged[f"cluster:{n}"] = str(n)
        assert cluster.get("cluster:42") == b"42"

        c.kill(leader)
        started = time.time()
        until(10, "Redis on a survivor after the kill", lambda: plain[survivor].set("after:plain", "yes"))
        plain_pause = time.time() - started
        until(10, "RedisCluster after the kill", lambda: cluster.set("after:cluster", "yes"))
        cluster_pause = time.time() - started
        acknowledged |= {"after:plain": "yes", "after:cluster": "yes"}
        for n in range(100):
            until(10, "set through the survivor", lambda: plain[survivor].set(f"late:{n}", n))
            acknowledged[f"late:{n}"] = str(n)
        for reader in (plain[survivor], cluster):
            missing = [k for k, v in acknowledged.items() if (until(10, "get", lambda: reader.get(k)) or b"").decode() != v]
            assert not missing, f"lost: {missing[:5]} of {len(missing)}"
        assert plain[survivor].get("counter") == b"100"
        c.start(leader)
        until(10, "the killed node serves again", lambda: plain[leader].get("after:plain"))
        print(f"redis-py {redis.__version__}: {len(acknowledged)} acknowledged writes, none lost; first write after kill -9 of the leader: "
              f"Redis on a survivor {plain_pause:.2f} s, RedisCluster {cluster_pause:.2f} s")


if __name__ == "__main__":
    sys.exit(main())
