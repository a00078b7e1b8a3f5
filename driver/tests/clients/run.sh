#!/usr/bin/env bash
# The scripts of this directory that CI runs, with real Redis clients. Needs python3 and a release build of quorate; says what is left out.
set -euo pipefail
cd "$(dirname "$0")"
target="$(realpath "${CARGO_TARGET_DIR:-../../../target}")"
export CARGO_TARGET_DIR="$target"
python="$target/python/bin/python"

left_out() {
  echo "$1 is left out: $2"
}

bash install.sh
"$python" survive.py redis-py "$python" redis_py.py
"$python" survive.py redis-rs "$target/redis_rs/debug/quorate-redis-rs"

if [ -d ioredis/node_modules ]; then
  "$python" survive.py ioredis node ioredis/main.js
else
  left_out ioredis "npm is missing, or cannot reach its registry"
fi

if [ -x "$target/go_redis" ]; then
  "$python" survive.py "go-redis 5" "$target/go_redis"
else
  left_out go-redis "Debian's go and golang-gopkg-redis.v5-dev are missing"
fi

left_out jedis "only Maven's central repository has it"

if command -v redis-benchmark >/dev/null; then
  "$python" redis_benchmark.py "${REQUESTS:-50000}"
  "$python" redis_cli.py
else
  left_out "redis-benchmark and redis-cli" "Debian's redis-tools is missing"
fi
