#!/usr/bin/env bash
# The scripts of this directory that CI runs, with real Redis clients. Needs python3; installs redis-py and redis-benchmark where it can.
set -euo pipefail
cd "$(dirname "$0")"
environment="${CARGO_TARGET_DIR:-../../../target}/python"
if [ ! -x "$environment/bin/python" ]; then
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet 'redis>=8,<9'
fi
if ! command -v redis-benchmark >/dev/null && [ "$(id -u)" = 0 ]; then
  apt-get update -qq && apt-get install -y -qq redis-tools >/dev/null
fi
"$environment/bin/python" redis_py.py
if command -v redis-benchmark >/dev/null; then
  "$environment/bin/python" redis_benchmark.py "${REQUESTS:-50000}"
else
  echo "redis-benchmark is not installed: its run is left out"
fi
