#!/usr/bin/env bash
# Links the library, default features off, into a no_std binary with a panic handler of its own, and runs it.
set -euo pipefail
cd "$(dirname "$0")"
# The debug build: an optimized one names less that may be missing.
cargo run --quiet
