#!/usr/bin/env bash
# Links the library, default features off, into a no_std binary with a panic handler of its own, and runs it.
set -euo pipefail
cd "$(dirname "$0")"
cargo run --quiet
cargo run --quiet --release
