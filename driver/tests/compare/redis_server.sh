#!/usr/bin/env bash
# Puts a redis-server into a directory, for a PATH, where none is installed and root may install one.
#
# Debian's package redis-server is a service around a program that its package redis-tools has under another name:
# redis-check-rdb is the server when it is called so. No service is installed, and none is started.
set -euo pipefail
directory=$1
if command -v redis-server >/dev/null; then exit 0; fi
if ! command -v redis-check-rdb >/dev/null && [ "$(id -u)" = 0 ]; then
  apt-get update -qq && apt-get install -y -qq redis-tools >/dev/null
fi
if program=$(command -v redis-check-rdb); then
  mkdir -p "$directory"
  ln -sf "$program" "$directory/redis-server"
else
  echo "redis-server is not installed: the comparison with it is left out"
fi
