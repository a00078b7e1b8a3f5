#!/usr/bin/env python3
"""Quorate on three nodes beside servers that anyone can install, all on this machine and in one run: writes (each on a majority of disks before its reply) and
reads (linearizable; and by leases, which trust clocks), 16-byte keys, 100-byte values.

  redis 1           redis-server on one node, with a sync before each reply: nothing is replicated
  redis 3 + WAIT    a master and two replicas, each with appendfsync always, and WAIT 1 behind each write: on two of three disks before it counts.
                    A replica acknowledges what it has synced, so that this is what WAITAOF 1 1 of newer versions asks for. Reads of a master are those of one node
  relay             whatever --relay and --relay-lease start: a server to measure against that somebody else supplies, such as one that does nothing but parse, send
                    and sync. It speaks RESP at {port} (the next two ports are free, too) and keeps its files in {dir}

In each round all servers are started anew, and each cell is measured on one after the other: what disturbs the machine for minutes disturbs all, and over four
rounds (or six, where three are beside each other) each follows each other one equally often. Ratios are those of the same round. What is not installed or not given
is left out."""
import contextlib, shutil
from measure import Cluster, Redis, Relay, Spread, arguments, bench, load, machine, order, parsed, patiently, port_of, report, say, table

CELLS = [(1, 1), (64, 1), (256, 1), (64, 16)]
KEYS = 100_000


def contestants(a):
    """What each kind of row is measured on: the name, what starts it, and flags of the load."""
    redis = shutil.which("redis-server")
    lease = ("--lease-ms", str(a.lease_ms))
    every = {
        "SET": [("quorate", lambda: Cluster(3), {}),
                ("relay", a.relay and (lambda: Relay(a.relay)), {}),
                ("redis 1", redis and Redis, {}),
                ("redis 3 + WAIT", redis and (lambda: Redis(2)), {"wait": 1})],
        "GET": [("quorate", lambda: Cluster(3), {}),
                ("relay", a.relay and (lambda: Relay(a.relay)), {}),
                ("redis 1", redis and Redis, {})],
        "GET by lease": [("quorate", lambda: Cluster(3, *lease), {}),
                         ("relay", a.relay_lease and (lambda: Relay(a.relay_lease)), {})],
    }
    return {row: [entry for entry in entries if entry[1]] for row, entries in every.items()}


def one_round(a, number, rows, found):
    with contextlib.ExitStack() as stack:
        running = {}
        for row, entries in rows.items():
            for name, start, _ in entries:
                # The same servers answer writes and reads.
                place = (name, row == "GET by lease")
                if place not in running:
                    server = running[place] = stack.enter_context(start())
                    patiently(lambda: load(port_of(server), KEYS))
        for row, entries in rows.items():
            for connections, pipeline in CELLS:
                for name, _, flags in order(entries, number):
                    server = running[name, row == "GET by lease"]
                    run = patiently(lambda: bench(port_of(server), reads=0 if row == "SET" else 100, connections=connections, pipeline=pipeline, keys=KEYS,
                                                  seconds=a.seconds, **flags))
                    kind = run["writes" if row == "SET" else "reads"]
                    assert kind["not_found"] == 0
                    found.setdefault((row, connections, pipeline), {}).setdefault(name, []).append((run["per_second"], kind["latency_us"]["p50"]))
                    say(f"round {number + 1}: {row} {connections} × {pipeline}: {name}: {run['per_second']:,.0f}/s, p50 {kind['latency_us']['p50']:,.0f} µs")


def main():
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--seconds", type=int, default=5, help="measured in each cell, after one of warm-up (5)")
    parser.add_argument("--relay", metavar="COMMAND", help="starts the relay: 'COMMAND … {port} … {dir} …'")
    parser.add_argument("--relay-lease", metavar="COMMAND", help="... one that answers reads without asking its followers")
    parser.add_argument("--lease-ms", type=int, default=100, help="Quorate's --lease-ms for reads by leases (100)")
    a = parsed(parser)
    rows, found = contestants(a), {}
    for number in range(a.rounds):
        one_round(a, number, rows, found)
    names = [name for name, *_ in rows["SET"]]
    others = [name for name in names if name != "quorate"]
    lines, ratios, figures = [], [], []
    for (row, connections, pipeline), by_name in found.items():
        cell = f"{row}, {connections} × {pipeline}"
        def rate(name):
            if name not in by_name:
                return ""
            rates, medians = zip(*by_name[name])
            return f"{Spread.of(rates).text(',.0f')}, {Spread.of(medians).median / 1000:.2f} ms"
        def ratio(name):
            if name not in by_name:
                return ""
            return Spread.of([own / other for (own, _), (other, _) in zip(by_name["quorate"], by_name[name])]).text(".2f")
        lines.append([cell, *map(rate, names)])
        ratios.append([cell, *map(ratio, others)])
        figures.append({"row": row, "connections": connections, "pipeline": pipeline,
                        "servers": {name: {"per_second": [r for r, _ in runs], "p50_us": [p for _, p in runs]} for name, runs in by_name.items()}})
    text = (f"{machine()}. Connections × commands in flight on each; {a.rounds} rounds of {a.seconds} s in each cell: commands in a second, median (least–most), "
            f"and the median time of one.\n\n{table(['', *names], lines)}\n\nQuorate's commands in a second, in units of the others' in the same round:\n\n"
            f"{table(['', *(f'÷ {name}' for name in others)], ratios)}")
    report(a, text, {"cells": figures})


if __name__ == "__main__":
    main()
