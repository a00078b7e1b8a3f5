"""One client library against a cluster of three whose leader is killed under it. survive.py NAME PROGRAM [ARGUMENT...]

Runs `PROGRAM [ARGUMENT...] MODE PORT STEP...` with MODE `plain`, which connects to the one port given, a survivor's, and again with MODE `cluster`, which
finds all nodes by the port given. Each program

- does the steps named, in order, each with keys of its own, and ends with a message and a code if the replies are not Redis's;
- prints `ready`, and has each of WORKERS workers send `INCR counter:MODE:WORKER`, one after another, until its stdin ends. A worker counts the replies and the
  errors that say UNDETERMINED, prints any other error, and goes on;
- then prints a line `worker ACKNOWLEDGED UNDETERMINED` for each worker, in order.

While they send, the leader is killed with SIGKILL. No worker may see another error than UNDETERMINED, nor that more than once: it had one command under way.
Each counter must then be what its worker was told, and at most the undetermined ones more.

In cluster mode a client is connected to the leader itself. When that connection breaks, no server can say what became of the command under way, and a client
that sends it again by itself may have it done twice. That is counted here as `resent`: at most the one that each worker had under way, and none in plain mode.
"""
import subprocess, sys, time
from cluster import Cluster, command, wait

WORKERS = 16
# Of what each program can do.
STEPS = ["strings", "counters", "pipelines", "expiry", "transactions"]


def counters(port, mode):
    return [int(command(port, "GET", f"counter:{mode}:{n}") or 0) for n in range(WORKERS)]


def all_grow(port, mode):
    """Whether each worker has been served since this was first called."""
    before = counters(port, mode)
    return lambda: all(b + 5 <= now for b, now in zip(before, counters(port, mode)))


def survive(c, name, program, mode):
    leader = c.leader()
    port = c.client[next(i for i in c.ids if i != leader)]
    client = subprocess.Popen([*program, mode, str(port), *STEPS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = client.stdout.readline().strip()
        if line != "ready":
            raise SystemExit(f"{name}, {mode}: {line or 'it ended'} {client.communicate()[0]}")
        wait(20, f"{name}, {mode}: every worker is served", all_grow(port, mode))
        c.kill(leader)
        killed = time.time()
        c.leader()
        wait(20, f"{name}, {mode}: every worker is served after the kill", all_grow(port, mode))
        pause = time.time() - killed
        output = client.communicate(timeout=30)[0].splitlines()
    finally:
        client.kill()
    workers = [tuple(map(int, line.split()[1:])) for line in output if line.startswith("worker ")]
    errors = [line for line in output if not line.startswith("worker ")]
    assert client.returncode == 0 and not errors, f"{name}, {mode}: {len(errors)} errors: {errors[:5]}"
    assert len(workers) == WORKERS, output
    resent = 0
    for (acknowledged, undetermined), value in zip(workers, counters(port, mode), strict=True):
        assert undetermined <= 1, f"{name}, {mode}: {undetermined} undetermined, one was under way"
        assert acknowledged <= value, f"{name}, {mode}: {acknowledged} acknowledged, and the counter is {value}"
        more = max(0, value - acknowledged - undetermined)
        assert more <= (mode == "cluster"), f"{name}, {mode}: {acknowledged} acknowledged, {undetermined} undetermined, and the counter is {value}"
        resent += more
    c.start(leader)
    wait(20, f"{name}, {mode}: the killed node serves again", lambda: counters(c.client[leader], mode) == counters(port, mode))
    total = sum(a for a, _ in workers)
    print(f"{name}, {mode}: {total:,} increments acknowledged and there; {sum(u for _, u in workers)} undetermined, {resent} resent by the client and done twice, "
          f"of {WORKERS} under way at the kill; all served again after {pause:.2f} s", flush=True)


if __name__ == "__main__":
    with Cluster() as cluster:
        for mode in ("plain", "cluster"):
            survive(cluster, sys.argv[1], sys.argv[2:], mode)
