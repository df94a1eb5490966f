#!/usr/bin/env bash
# Feeds every reader of files, or those that are named, with made-up bytes:
#   tests/fuzz/run.sh SECONDS [reader...]     SECONDS for each
# after cmake --preset fuzz && cmake --build --preset fuzz. Begins with
# tests/fuzz/corpus/READER and with what earlier runs found worth keeping
# (build/fuzz/corpus). An input that breaks a reader stays in
# build/fuzz/findings; its path is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if (($# < 1)) || [[ ! $1 =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: tests/fuzz/run.sh SECONDS [reader...]" >&2
  exit 2
fi
seconds=$1
shift
readers=("$@")
if ((${#readers[@]} == 0)); then
  for program in build/fuzz/bin/fuzz_*; do readers+=("${program##*/fuzz_}"); done
fi

# Clang's address sanitizer fails where the kernel randomizes more bits of an
# address than it knows of.
fixed=()
if setarch -R true 2>/dev/null; then fixed=(setarch -R); fi

failed=()
for reader in "${readers[@]}"; do
  program=build/fuzz/bin/fuzz_$reader
  if [[ ! -x $program ]]; then
    echo "run.sh: $program: not there; cmake --build --preset fuzz" >&2
    exit 2
  fi
  kept=build/fuzz/corpus/$reader log=build/fuzz/$reader.log
  mkdir -p "$kept" build/fuzz/findings
  if "${fixed[@]}" "$program" -max_total_time="$seconds" -timeout=10 \
    -rss_limit_mb=512 -malloc_limit_mb=128 -max_len=65536 -use_value_profile=1 \
    -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$reader-" \
    "$kept" "tests/fuzz/corpus/$reader" >"$log" 2>&1; then
    echo "$reader: ok: $(grep -oE '^Done [0-9]+ runs' "$log")," \
      "$(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -n 1)"
  else
    failed+=("$reader")
    echo "$reader: FAILED, the end of $log:"
    tail -n 40 "$log"
    grep -oE 'Test unit written to .*' "$log" || true
  fi
done
((${#failed[@]} == 0)) || { echo "run.sh: findings: ${failed[*]}" >&2; exit 1; }
