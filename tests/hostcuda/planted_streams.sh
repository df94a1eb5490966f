#!/usr/bin/env bash
# Runs the programs with errors in their use of streams and memory that a build
# can see, and the correct one, and says which reports are missing:
#   tests/hostcuda/planted_streams.sh PROGRAM
# What depends on the delays of the streams has to be seen under one of 40
# seeds; the correct program is silent under 5.
set -uo pipefail

program=$1
export TSAN_OPTIONS=halt_on_error=1 ASAN_OPTIONS=detect_leaks=1

failures=0 programs=0
while IFS=$'\t' read -r name mode report; do
  programs=$((programs + 1))
  silent=false && [[ $name == correct ]] && silent=true
  seeds=40 && $silent && seeds=5
  as_expected=0
  for ((seed = 0; seed < seeds; ++seed)); do
    output=$(TIMEPIPE_HOSTCUDA_STREAMS=$mode TIMEPIPE_HOSTCUDA_SEED=$seed \
      "$program" "$name" 2>&1; echo "status $?")
    if [[ $output =~ $report ]]; then
      as_expected=$((as_expected + 1))
      $silent || break
    elif $silent; then
      break
    fi
  done
  if [[ $as_expected -eq 0 ]] || { $silent && [[ $as_expected -lt $seeds ]]; }
  then
    echo "$name, $mode: not \"$report\" (seed $seed):"
    echo "$output" | head -20
    failures=$((failures + 1))
  else
    echo "$name, $mode: \"$report\", seed $seed"
  fi
done < <("$program")

echo "$programs programs, $failures not as expected"
((programs > 0 && failures == 0))
