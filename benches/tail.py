#!/usr/bin/env python3
"""The slowest writes, in an open loop on 64 connections: Quorate on three nodes, 1,000,000 keys of 16 bytes with values of 100.

  snapshots     at half of the maximum: p99.9 while all three nodes take snapshots, one after the other for the whole window, beside a window without; in pairs, the
                first of which takes turns
  steady        Quorate and the relay (see servers.py) at the same time, each a quarter of what the slower of the two takes, so that the machine has as much to do as
                with one of them at half: the maximum of each in the same minute, with whatever else disturbs the machine in it. No snapshot is taken"""
import contextlib
from measure import Bench, Cluster, Relay, Spread, arguments, bench, command, load, machine, parsed, patiently, port_of, report, say, table, wait

CONNECTIONS = 64


def maximum(port, keys):
    return bench(port, reads=0, connections=CONNECTIONS, keys=keys, seconds=4)["per_second"]


def open_loop(port, keys, rate, seconds):
    return Bench(port, reads=0, connections=CONNECTIONS, keys=keys, rate=max(1, int(rate)), seconds=seconds)


def latency(run):
    return run["writes"]["latency_us"]


def saved(cluster):
    return {i: int(cluster.info(i)["snapshots_saved"]) for i in cluster.ids}


def window(cluster, keys, rate, seconds, with_snapshots):
    """Latencies of a window, and how many snapshots were taken in it. Each node begins another as soon as all have theirs."""
    before = saved(cluster)
    with open_loop(port_of(cluster), keys, rate, seconds) as run:
        while with_snapshots and run.is_running():
            begun = saved(cluster)
            for i in cluster.ids:
                command(cluster.client[i], "BGSAVE")
            wait(60, "the snapshots", lambda: all(n > begun[i] for i, n in saved(cluster).items()))
        times = latency(run.end())
    count = sum(saved(cluster).values()) - sum(before.values())
    if (count > 0) != with_snapshots:
        raise SystemExit(f"{count} snapshots were taken")
    return times, count


def pairs(cluster, a, rate):
    found = []
    for number in range(a.rounds):
        pair = {}
        for with_snapshots in ((False, True) if number % 2 == 0 else (True, False)):
            times, count = pair[with_snapshots] = patiently(lambda: window(cluster, a.keys, rate, a.seconds, with_snapshots))
            say(f"pair {number + 1}: {count} snapshots: p50 {times['p50']:,.0f} µs, p99 {times['p99']:,.0f}, p99.9 {times['p99_9']:,.0f}, max {times['max']:,.0f}")
        found.append(pair)
    return found


def minute(cluster, relay, keys, rate):
    with open_loop(port_of(cluster), keys, rate, 60) as first, open_loop(relay, keys, rate, 60) as second:
        return latency(first.end()), latency(second.end())


def minutes(a, cluster, relay, rate):
    found = []
    for number in range(a.minutes):
        both = patiently(lambda: minute(cluster, relay, a.keys, rate))
        say(f"minute {number + 1}: Quorate: p99.9 {both[0]['p99_9']:,.0f} µs, max {both[0]['max']:,.0f}; relay: p99.9 {both[1]['p99_9']:,.0f}, max {both[1]['max']:,.0f}")
        found.append(both)
    return found


def main():
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--keys", type=int, default=1_000_000, help="(1000000)")
    parser.add_argument("--seconds", type=int, default=10, help="of each window (10)")
    parser.add_argument("--relay", metavar="COMMAND", help="starts the relay: 'COMMAND … {port} … {dir} …'; without it there is no steady minute")
    parser.add_argument("--minutes", type=int, default=3, help="steady minutes beside the relay (3)")
    a = parsed(parser)
    with contextlib.ExitStack() as stack:
        # Snapshots are taken when this asks for them, and at no other time.
        cluster = stack.enter_context(Cluster(3, "--snapshot-log-bytes", "none"))
        leader = cluster.leader()
        term = cluster.info(leader)["term"]
        patiently(lambda: load(port_of(cluster), a.keys))
        most = patiently(lambda: maximum(port_of(cluster), a.keys))
        say(f"{a.keys:,} keys; at most {most:,.0f} writes a second")
        taken = pairs(cluster, a, most / 2)
        lines = [[name, *(Spread.of([pair[kind][0][key] / 1000 for pair in taken]).text(".2f") for key in ("p50", "p99", "p99_9", "max"))]
                 for name, kind in (("no snapshot", False), ("snapshots all the while", True))]
        ratio = [Spread.of([pair[True][0][key] / pair[False][0][key] for pair in taken]).text(".2f") for key in ("p50", "p99", "p99_9", "max")]
        count = Spread.of([pair[True][1] for pair in taken])
        text = (f"{machine()}. Milliseconds, median (least–most) of {a.rounds} pairs of {a.seconds} s at {most / 2:,.0f} writes a second, half of the maximum; "
                f"{count.text('.0f')} snapshots in a window.\n\n{table(['', 'p50', 'p99', 'p99.9', 'max'], [*lines, ['with ÷ without', *ratio]])}")
        figures = {"maximum": most, "pairs": [{"without": p[False][0], "with": p[True][0], "snapshots": p[True][1]} for p in taken]}
        if a.relay and a.minutes:
            relay = stack.enter_context(Relay(a.relay)).port
            load(relay, a.keys)
            rate = min(patiently(lambda: maximum(port_of(cluster), a.keys)), maximum(relay, a.keys)) / 4
            both = minutes(a, cluster, relay, rate)
            lines = [[f"minute {n + 1}", *(f"{own[key] / 1000:.2f} ÷ {other[key] / 1000:.2f} = {own[key] / other[key]:.2f}" for key in ("p50", "p99_9", "max"))]
                     for n, (own, other) in enumerate(both)]
            ratio = Spread.of([own["max"] / other["max"] for own, other in both])
            text += (f"\n\nQuorate ÷ relay in the same minutes, milliseconds, at {rate:,.0f} writes a second each; of the maxima {ratio.text('.2f')}.\n\n"
                     f"{table(['', 'p50', 'p99.9', 'max'], lines)}")
            figures |= {"steady_rate": rate, "minutes": [{"quorate": own, "relay": other} for own, other in both]}
        if cluster.info(leader).get("role") != "master" or cluster.info(leader)["term"] != term:
            text += "\n\nAn election was held meanwhile."
        report(a, text, figures)


if __name__ == "__main__":
    main()
