#!/usr/bin/env python3
"""What a write costs as things grow: Quorate on three nodes, as much as it takes on 64 connections, 16-byte keys, 100-byte values, 100,000 keys; each of

  values        of 100 bytes to 1 MiB, on 16 connections: what 64 have under way of the longest is more than a leader takes at once
  nodes         1, 3, 5, 7: all on this machine, whose processors they share
  connections   1 to 10,000
  keys          1,000 to 10,000,000, all there and each overwritten alike

is changed with the others held. Measured are microseconds of time for each write (the reciprocal of the writes in a second) and microseconds of processor time of
all nodes for each write. Values and connections are measured in rounds on one cluster, nodes in rounds on new ones; keys are measured on one cluster that fills up, so
many times at each number, since loading them takes the longest. The load has one thread of its own, which costs a processor too: the processor time does not count it."""
import os, resource, shutil, tempfile, time
import plot
from measure import Bench, Cluster, Disturbed, Spread, arguments, command, cpu_seconds, load, machine, parsed, patiently, port_of, report, say, table, wait

KEYS, CONNECTIONS, VALUE = 100_000, 64, 100
VALUES = [100, 300, 1 << 10, 3 << 10, 10 << 10, 30 << 10, 100 << 10, 300 << 10, 1 << 20]
VALUES_CONNECTIONS = 16
# So many bytes of values in all, at most: the store is to stay small where values are large.
STORE = 256 << 20
NODES = [1, 3, 5, 7]
NUMBERS = [1, 4, 16, 64, 256, 1000, 4000, 10_000]
STORES = [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
# What a key takes, at the most, on each of three nodes: 250 bytes of memory with the log, and as many on the disk with the log and two snapshots.
BYTES_A_KEY = 3 * 400
# Beside the clients: listeners, links, files.
DESCRIPTORS = 600


def measure(c, seconds, connections=CONNECTIONS, keys=KEYS, value_bytes=VALUE):
    """Microseconds of time and of the nodes' processor time for a write."""
    leader = c.leader()
    pids = [p.pid for p in c.processes.values()]
    def sample():
        commands = int(c.info(leader)["total_commands_processed"])
        return time.monotonic(), cpu_seconds(pids), commands
    # A second more than is looked at: a node with thousands of connections is slow to tell how many commands it has done.
    with Bench(c.client[leader], reads=0, connections=connections, keys=keys, value_bytes=value_bytes, seconds=seconds + 1) as run:
        # The connections are made first, which takes a while if they are many, and then comes a second of warm-up.
        await_writes(c, leader, run)
        time.sleep(1.1)
        begun = sample()
        time.sleep(seconds - 0.4)
        ended = sample()
        if not run.is_running():
            run.end()
            raise Disturbed("the run was over before it was measured")
        rate = run.end()["writes"]["per_second"]
    writes = ended[2] - begun[2]
    return 1e6 / rate, 1e6 * (ended[1] - begun[1]) / writes


def await_writes(c, leader, run):
    """Until there are more commands than those that ask for their number."""
    first, asked = int(c.info(leader)["total_commands_processed"]), 0
    def begun():
        nonlocal asked
        asked += 1
        return not run.is_running() or int(c.info(leader)["total_commands_processed"]) > first + asked
    wait(60, "the first writes", begun)


def three(*flags):
    return Cluster(3, "--max-clients", "10100", *flags)


def by_values(a, found):
    with three() as c:
        for number in range(a.rounds):
            for size in VALUES:
                # What is left of others would be memory that the system has to find.
                command(port_of(c), "FLUSHALL")
                found(size, patiently(lambda: measure(c, a.seconds, connections=VALUES_CONNECTIONS, keys=max(64, min(KEYS, STORE // size)), value_bytes=size)))


def by_nodes(a, found):
    for number in range(a.rounds):
        for nodes in NODES:
            with Cluster(nodes) as c:
                patiently(lambda: load(port_of(c), KEYS))
                found(nodes, patiently(lambda: measure(c, a.seconds)))


def by_connections(a, found):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    numbers = [n for n in NUMBERS if hard == resource.RLIM_INFINITY or n + DESCRIPTORS <= hard]
    if numbers != NUMBERS:
        say(f"the limit of open files ({hard}) has no room for {NUMBERS[-1]:,} connections: ulimit -Hn")
    with three() as c:
        patiently(lambda: load(port_of(c), KEYS))
        for number in range(a.rounds):
            for connections in numbers:
                found(connections, patiently(lambda: measure(c, a.seconds, connections=connections)))


def has_room(keys):
    needed = keys * BYTES_A_KEY
    with open("/proc/meminfo") as f:
        memory = next(int(line.split()[1]) << 10 for line in f if line.startswith("MemAvailable"))
    return needed < memory and needed < shutil.disk_usage(tempfile.gettempdir()).free


def by_keys(a, found):
    # A log as long as the last snapshot would take as much again of memory and of the disk.
    with three("--snapshot-growth-percent", "25") as c:
        for keys in STORES:
            if not has_room(keys):
                say(f"no room for {keys:,} keys: three nodes take {keys * BYTES_A_KEY / 1e9:.0f} GB of memory, and of the disk")
                break
            started = time.monotonic()
            patiently(lambda: load(port_of(c), keys))
            say(f"{keys:,} keys loaded in {time.monotonic() - started:.1f} s")
            for number in range(a.rounds):
                found(keys, patiently(lambda: measure(c, a.seconds, keys=keys)))


CURVES = {
    "values": (by_values, "length of a value", plot.size, [100, 1 << 10, 10 << 10, 100 << 10, 1 << 20]),
    "nodes": (by_nodes, "nodes", plot.number, NODES),
    "connections": (by_connections, "connections", plot.number, [1, 4, 16, 64, 256, 1000, 4000, 10_000]),
    "keys": (by_keys, "keys", plot.number, STORES),
}


def picture(a, name, points):
    _, across, form, at = CURVES[name]
    series = [(what, [(x, spreads[place]) for x, spreads in points]) for place, what in enumerate(("time", "processor time of all nodes"))]
    rounds = "one round" if a.rounds == 1 else f"{a.rounds} rounds: medians, with the least and the most"
    note = f"{rounds}; {os.cpu_count()} CPUs"
    # What was left out has no label.
    at = [x for x in at if points[0][0] <= x <= points[-1][0]]
    return plot.curves(f"Cost of a write by {name}", note, across, "µs for each write", series, at, form)


def main():
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement, after one of warm-up (2)")
    parser.add_argument("--only", default=",".join(CURVES), help="some of " + ",".join(CURVES))
    parser.add_argument("--out", metavar="DIR", help="writes growth-values.svg and so on there")
    parser.add_argument("--quick", action="store_true", help="one round, and at most 1,000,000 keys")
    a = parsed(parser)
    if a.quick:
        a.rounds = 1
        STORES.remove(10_000_000)
    figures, parts = {}, []
    for name in a.only.split(","):
        runs = {}
        def found(x, costs):
            runs.setdefault(x, []).append(costs)
            say(f"{name} {x:,}: {costs[0]:,.2f} µs, {costs[1]:,.2f} µs of processors")
        try:
            CURVES[name][0](a, found)
        except Disturbed as disturbed:
            # What was measured so far is worth its table.
            say(f"{name}: left here: {disturbed}")
        if not runs:
            continue
        points = [(x, [Spread.of(kind) for kind in zip(*costs)]) for x, costs in sorted(runs.items())]
        form = CURVES[name][2]
        parts.append(table([CURVES[name][1], "µs of time", "µs of processors", "writes in a second"],
                           [[form(x), time_.text(",.2f"), cpu.text(",.2f"), f"{1e6 / time_.median:,.0f}"] for x, (time_, cpu) in points]))
        figures[name] = [{"at": x, "microseconds": [t for t, _ in costs], "cpu_microseconds": [u for _, u in costs]} for x, costs in sorted(runs.items())]
        if a.out:
            os.makedirs(a.out, exist_ok=True)
            with open(os.path.join(a.out, f"growth-{name}.svg"), "w") as f:
                f.write(picture(a, name, points))
    report(a, "\n\n".join([f"{machine()}. A write, median (least–most) of {a.rounds} rounds.", *parts]), figures)


if __name__ == "__main__":
    main()
