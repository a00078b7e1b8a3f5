"""Snapshots of a large store under load: 1,000,000 keys of 100 bytes, an open-loop write load at half of the maximum, interleaved pairs of windows with
and without a snapshot on all three nodes. Then: the log directory stays bounded, a restarted node and one that was away while the log it missed was
compacted come back with an equal digest, and a node with an empty directory under a known id is refused. snapshot.py [KEYS] [PAIRS]"""
import json, os, shutil, statistics, subprocess, sys, time
from cluster import ROOT, TARGET, Cluster, command, wait

LOAD = os.path.join(TARGET, "release", "examples", "load")


def load(port, *args):
    r = subprocess.run([LOAD, "--connect", f"127.0.0.1:{port}", *map(str, args)], capture_output=True, text=True, timeout=600)
    if r.returncode:
        raise SystemExit(r.stderr)
    figures = json.loads(r.stdout)
    assert figures["errors"] == 0 and figures["lost"] == 0, figures
    return figures


def saved(c):
    return {i: int(c.info(i)["snapshots_saved"]) for i in c.ids}


def size(c, i, prefix):
    d = c.data_dir(i)
    return sum(os.stat(os.path.join(d, n)).st_size for n in os.listdir(d) if n.startswith(prefix))


def equal(c):
    infos = [c.info(i) for i in c.alive()]
    return len({(i["applied_index"], i["digest"]) for i in infos}) == 1


def pairs(keys, count):
    with Cluster(3, "--snapshot-log-bytes", "none") as c:
        port = c.client[c.leader()]
        started = time.time()
        load(port, "--count", keys, "--keys", keys, "--sequential", "--depth", 32)
        print(f"{keys:,} keys of 100 bytes written in {time.time() - started:.1f} s; DBSIZE {int(command(port, 'DBSIZE')):,}")
        maximum = load(port, "--keys", keys, "--seconds", 4)["rate"]
        rate = int(maximum / 2)
        rows = []
        for pair in range(count):
            row = {}
            for with_snapshot in ((False, True) if pair % 2 == 0 else (True, False)):
                before = saved(c)
                worker = subprocess.Popen([LOAD, "--connect", f"127.0.0.1:{port}", "--rate", str(rate), "--seconds", "8", "--keys", str(keys)],
                                          stdout=subprocess.PIPE, text=True)
                time.sleep(1)
                took = 0.0
                if with_snapshot:
                    asked = time.time()
                    for i in c.ids:
                        command(c.client[i], "BGSAVE")
                    wait(60, "snapshots", lambda: all(saved(c)[i] > before[i] for i in c.ids))
                    took = time.time() - asked
                figures = json.loads(worker.communicate()[0])
                assert figures["errors"] == 0 and figures["lost"] == 0, figures
                row[with_snapshot] = figures["max_ms"]
                print(f"  pair {pair + 1} {'with' if with_snapshot else 'without'} snapshot{f' ({took:.1f} s on all nodes)' if took else ''}: "
                      f"p50 {figures['p50_ms']:.2f} p99 {figures['p99_ms']:.2f} p99.9 {figures['p999_ms']:.2f} max {figures['max_ms']:.2f} ms")
            rows.append(row[True] - row[False])
        median = statistics.median(rows)
        print(f"maximum {maximum:,.0f}/s, load {rate:,}/s; differences of the maximum latency over {count} pairs, ms: "
              f"{', '.join(f'{r:.1f}' for r in rows)}; median {median:.1f} ms (bound 50)")
        assert median < 50


def bounds(keys):
    with Cluster(3, "--snapshot-log-bytes", str(32 << 20)) as c:
        leader = c.leader()
        away = next(i for i in c.ids if i != leader)
        port = c.client[leader]
        load(port, "--count", keys, "--keys", keys, "--sequential", "--depth", 32)
        c.kill(away)
        largest = 0
        for _ in range(24):
            load(port, "--count", keys // 3, "--keys", keys, "--depth", 32)
            largest = max(largest, size(c, leader, "segment-") + size(c, leader, "spare-"))
        written = int(c.info(leader)["log_bytes"])
        print(f"log directory: at most {largest / 2**20:.0f} MiB in segments while {written / 2**20:.0f} MiB were written")
        first = int(c.info(leader)["first_index"])
        started = time.time()
        c.start(away)
        wait(60, "the follower that was away", lambda: equal(c))
        installed = int(c.info(away)["snapshots_installed"])
        print(f"follower away while the log it missed was compacted (the leader's log begins at {first:,}): back with an equal digest in "
              f"{time.time() - started:.1f} s, snapshots installed: {installed}")
        assert installed >= 1
        started = time.time()
        c.kill(away)
        c.start(away)
        wait(60, "the restarted follower", lambda: equal(c))
        print(f"restart after kill -9: equal digest {time.time() - started:.1f} s after the start")
        c.kill(away)
        shutil.rmtree(c.data_dir(away))
        c.start(away, wait=False)
        code = c.processes[away].wait(20)
        print(f"an empty directory under a known id: exit code {code}: {c.log(away).strip().splitlines()[-1]}")
        assert code == 4


if __name__ == "__main__":
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "quorate-driver", "--example", "load"], cwd=ROOT, check=True)
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    pairs(keys, int(sys.argv[2]) if len(sys.argv) > 2 else 5)
    bounds(keys)
