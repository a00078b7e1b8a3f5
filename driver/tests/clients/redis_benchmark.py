"""redis-benchmark against `quorate dev`, on the leader's and on a follower's port: it must end without an error.
redis_benchmark.py [REQUESTS]"""
import re, signal, subprocess, sys
from cluster import BINARY, info, wait


def main():
    requests = sys.argv[1] if len(sys.argv) > 1 else "200000"
    dev = subprocess.Popen([BINARY, "dev"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)
    try:
        ports = []
        for line in dev.stdout:
            ports += [int(p) for p in re.findall(r"clients 127\.0\.0\.1:(\d+)", line)]
            if len(set(ports)) >= 3:
                break
        ports = sorted(set(ports))
        assert len(ports) == 3, f"dev printed {ports}"
        leader = wait(20, "a leader", lambda: next((p for p in ports if info(p)["role"] == "master"), None))
        follower = next(p for p in ports if p != leader)
        for name, port in (("leader", leader), ("follower", follower)):
            run = subprocess.run(["redis-benchmark", "-p", str(port), "-t", "set,get,incr,mset", "-n", requests, "-c", "64", "-P", "16", "--csv"],
                                 capture_output=True, text=True, timeout=300)
            text = run.stdout + run.stderr
            assert run.returncode == 0 and "error" not in text.lower(), text[-2000:]
            rates = re.findall(r'^"([A-Z]+)[^"]*","([0-9.]+)"', run.stdout, re.M)
            assert len(rates) == 4, text[-2000:]
            print(f"redis-benchmark -n {requests} -c 64 -P 16 on the {name}: no error; requests/s " + ", ".join(f"{n} {float(r):,.0f}" for n, r in rates))
    finally:
        dev.send_signal(signal.SIGTERM)
        dev.wait(20)


if __name__ == "__main__":
    main()
