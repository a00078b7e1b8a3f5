#!/usr/bin/env bash
# Counts the instructions that the core executes for a step or an entry, and compares them with table.txt: more than 3 % either way
# is an error. Who made it faster writes the new figures down: QUORATE_UPDATE=1 benches/instructions/check.sh
#
# Another compiler, C library or valgrind counts otherwise: then the differences are printed, and are no error.
set -euo pipefail
cd "$(dirname "$0")/../.."
table=benches/instructions/table.txt
tolerance=3

if ! command -v valgrind >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends valgrind; } >/dev/null 2>&1 || true
fi
if ! command -v valgrind >/dev/null; then
  echo "valgrind is not installed: instructions are not counted"
  exit 0
fi

# With the driver, so that the library has the features, and is the build, of a release.
# What is built piece by piece is inlined otherwise, and counts otherwise.
export CARGO_INCREMENTAL=0
cargo build --release --quiet -p quorate-driver -p quorate-instructions
program="$(realpath "${CARGO_TARGET_DIR:-target}")/release/quorate-instructions"
counts="$(mktemp -d)"
trap 'rm -rf "$counts"' EXIT

count() {
  # The C library copies memory by what the processor can do: here by what all of them can.
  GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS \
    valgrind --tool=callgrind --collect-atstart=no --toggle-collect='quorate_instructions::measured*' \
    --callgrind-out-file=/dev/null --log-file="$2/$3.log" "$1" "$3" >"$2/$3.units"
  awk -v name="$3" -v units="$(cat "$2/$3.units")" \
    '/Collected :/ { printf "%-24s %9.1f\n", name, $4 / units }' "$2/$3.log" >"$2/$3"
}
export -f count

"$program" | xargs -P 2 -I{} bash -c 'count "$0" "$1" {}' "$program" "$counts"
{
  echo "# Instructions of one step, or for one entry, and what counted them: see check.sh."
  echo "# $(rustc --version)"
  echo "# $(getconf GNU_LIBC_VERSION 2>/dev/null || echo 'another C library'), $(valgrind --version), $(uname -m)"
  "$program" | while read -r name; do cat "$counts/$name"; done
} >"$counts/table"

if [ -n "${QUORATE_UPDATE:-}" ]; then
  cp "$counts/table" "$table"
  cat "$table"
  exit 0
fi

same_tools=yes
cmp -s <(grep '^#' "$table") <(grep '^#' "$counts/table") || same_tools=no
verdict=0
awk -v tolerance="$tolerance" '
  /^#/ { next }
  NR == FNR { known[$1] = $2; next }
  !($1 in known) { printf "%s is new: %s\n", $1, $2; wrong = 1; next }
  {
    change = ($2 / known[$1] - 1) * 100
    off = change > tolerance || change < -tolerance
    printf "%-24s %9.1f  %+6.2f %%%s\n", $1, $2, change, off ? "  <--" : ""
    wrong = wrong || off
    delete known[$1]
  }
  END { for (name in known) { printf "%s is gone\n", name; wrong = 1 } exit wrong }
' "$table" "$counts/table" || verdict=1
if [ "$same_tools" = no ]; then
  echo "not compared, because other tools counted $table:"
  diff <(grep '^#' "$table") <(grep '^#' "$counts/table") | grep '^[<>]' || true
elif [ "$verdict" = 1 ]; then
  echo "more than $tolerance % off $table: find the cause, or write it down with QUORATE_UPDATE=1 $0" >&2
  exit 1
fi
