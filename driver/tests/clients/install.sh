#!/usr/bin/env bash
# Installs the clients that run.sh runs, where they are not there yet: into the target directory, and Debian's packages where root may install some. What
# cannot be had is not there afterwards, and run.sh leaves it out.
set -euo pipefail
cd "$(dirname "$0")"
target="$(realpath "${CARGO_TARGET_DIR:-../../../target}")"

debian() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >/dev/null 2>&1
}

if ! "$target/python/bin/python" -c 'import redis' 2>/dev/null; then
  python3 -m venv "$target/python"
  "$target/python/bin/pip" install --quiet 'redis>=8,<9'
fi

cargo build --quiet --manifest-path redis_rs/Cargo.toml --target-dir "$target/redis_rs" --locked

# npm leaves this file behind when all is there.
if [ ! ioredis/node_modules/.package-lock.json -nt ioredis/package-lock.json ] && { command -v npm >/dev/null || debian npm; }; then
  npm ci --silent --prefix ioredis || rm -rf ioredis/node_modules
fi

go_path=/usr/share/gocode
if { command -v go >/dev/null && [ -d $go_path/src/gopkg.in/redis.v5 ]; } || debian golang-go golang-gopkg-redis.v5-dev; then
  GO111MODULE=off GOPATH=$go_path GOCACHE="$target/go" go build -o "$target/go_redis" go_redis/main.go
fi

command -v redis-benchmark >/dev/null || debian redis-tools || true
