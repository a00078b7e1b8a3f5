#!/usr/bin/env bash
# The scripts of this directory that CI runs, with real Redis clients. Needs python3 and a release build of quorate; installs the clients where it can, into the
# target directory, and says what is left out.
set -euo pipefail
cd "$(dirname "$0")"
target="$(realpath "${CARGO_TARGET_DIR:-../../../target}")"
export CARGO_TARGET_DIR="$target"
python="$target/python/bin/python"

# Whether a command is there, or the Debian packages that have it can be installed.
have() {
  local command="$1"
  shift
  command -v "$command" >/dev/null && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >/dev/null 2>&1 && command -v "$command" >/dev/null
}

left_out() {
  echo "$1 is left out: $2"
}

if [ ! -x "$python" ]; then
  python3 -m venv "$target/python"
  "$target/python/bin/pip" install --quiet 'redis>=8,<9'
fi
"$python" survive.py redis-py "$python" redis_py.py

cargo build --quiet --manifest-path redis_rs/Cargo.toml --target-dir "$target/redis_rs" --locked
"$python" survive.py redis-rs "$target/redis_rs/debug/quorate-redis-rs"

if have npm npm && npm ci --silent --prefix ioredis; then
  "$python" survive.py ioredis node ioredis/main.js
else
  left_out ioredis "npm is missing, or cannot reach its registry"
fi

go_path=/usr/share/gocode
if have go golang-go && { [ -d $go_path/src/gopkg.in/redis.v5 ] || apt-get install -y -qq golang-gopkg-redis.v5-dev >/dev/null 2>&1; }; then
  GO111MODULE=off GOPATH=$go_path GOCACHE="$target/go" go build -o "$target/go_redis" go_redis/main.go
  "$python" survive.py "go-redis 5" "$target/go_redis"
else
  left_out go-redis "Debian's go and golang-gopkg-redis.v5-dev are missing"
fi

left_out jedis "only Maven's central repository has it"

if have redis-benchmark redis-tools; then
  "$python" redis_benchmark.py "${REQUESTS:-50000}"
  "$python" redis_cli.py
else
  left_out "redis-benchmark and redis-cli" "Debian's redis-tools is missing"
fi
